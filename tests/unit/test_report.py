"""What a finished run means to whoever reads its exit code, its JSON or its errors."""

import pytest

from pifleet.errors import BadInput, HostFailed, Mistake, PifleetError, Refused, SandboxFailed, Trouble
from pifleet.report import Outcome, document, error_document, exit_code, exit_code_of, merge, merge_outcomes

OK = Outcome("farm-1", "", "ok")
FAILED = Outcome("farm-2", "", "failed", error=Trouble("disk is full"))
UNREACHABLE = Outcome("farm-3", "", "unreachable", error=Trouble("no answer"))
AT_WORK = Outcome("farm-1", "ana/main", "skipped", error=Trouble("agent at work"))
NOT_WANTED = Outcome("farm-1", "bo/main", "skipped")


class TestExitCode:
    @pytest.mark.parametrize(("outcomes", "pending", "code"), [
        pytest.param([], False, 0, id="nothing happened"),
        pytest.param([OK, NOT_WANTED], False, 0, id="all good"),
        pytest.param([], True, 3, id="changes pending"),
        pytest.param([OK, FAILED], False, 1, id="one host failed"),
        pytest.param([UNREACHABLE], True, 1, id="not observed beats pending"),
        pytest.param([OK, AT_WORK], False, 1, id="skipped for a reason that is left to solve"),
    ])
    def test_one_beats_three_beats_zero(self, outcomes, pending, code):
        assert code == exit_code(outcomes, pending=pending)

    @pytest.mark.parametrize(("error", "code"), [
        (BadInput("x"), 2), (Refused("x"), 3), (HostFailed("x"), 1), (SandboxFailed("x"), 1), (PifleetError("x"), 1),
    ])
    def test_an_error_that_ends_the_verb_has_the_code_of_its_class(self, error, code):
        assert code == exit_code_of(error)


class TestMerge:
    def test_the_same_error_on_forty_hosts_is_one_error_with_forty_places(self):
        troubles = [((f"farm-{n}",), Trouble("no route to host", where=f"hosts > farm-{n}")) for n in range(40)]

        (merged,) = merge(troubles)

        assert len(merged.places) == 40
        assert merged.trouble.where == "hosts > farm-0"

    def test_errors_that_differ_in_more_than_the_name_stay_apart(self):
        merged = merge([(("a",), Trouble("a is full")), (("b",), Trouble("b is off"))])

        assert [one.trouble.headline for one in merged] == ["a is full", "b is off"]

    def test_a_short_host_name_does_not_eat_the_letters_of_a_word(self):
        merged = merge([(("a",), Trouble("cat")), (("c",), Trouble("*at"))])

        assert len(merged) == 2

    def test_a_sandbox_is_shown_by_its_title_and_compared_without_its_host(self):
        outcomes = [
            Outcome("farm-1", "ana/main", "failed", error=Trouble("pi is gone on farm-1", where="developers.ana")),
            Outcome("farm-2", "bo/main", "failed", error=Trouble("pi is gone on farm-2", where="developers.bo")),
        ]

        (merged,) = merge_outcomes(outcomes)

        assert merged.places == ("ana/main", "bo/main")


class TestDocuments:
    def test_names_its_schema_first(self):
        assert next(iter(document("plan", steps=[]).items())) == ("schema", "pifleet.plan/1")

    def test_an_outcome_has_the_agreed_keys(self):
        assert Outcome("h", "ana/main", "failed", 1.26, Trouble("a", "b", "c", "d")).as_json() == {
            "host": "h", "sandbox": "ana/main", "result": "failed", "seconds": 1.3,
            "error": {"headline": "a", "saw": "b", "where": "c", "try": "d"},
        }

    def test_bad_input_lists_every_mistake(self):
        error = BadInput("no", (Mistake("a.b", "1", "2"), Mistake("c", "3", "4")))

        assert error_document(error)["mistakes"] == [
            {"path": "a.b", "seen": "1", "wanted": "2"}, {"path": "c", "seen": "3", "wanted": "4"},
        ]
