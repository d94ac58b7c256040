"""Old generations go by rule; what is kept is untouched, and never goes the newest or the newest complete one."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pifleet.errors import PifleetError
from pifleet.results import Rule, aged, choose, forget, list_generations, one_file, verify
from pifleet.results.store.prune import Dated, spared
from pifleet.stream import LocalStream
from tests.results.box import Box

TODAY = date(2026, 3, 31)


def dated(*days: int, torn: Sequence[int] = ()) -> list[Dated]:
    """Generations 1, 2, ... made so many days ago."""
    return [Dated(number, f"{TODAY - timedelta(days=ago)}T12:00:00+00:00", number not in torn)
            for number, ago in enumerate(days, 1)]


@pytest.mark.parametrize(("generations", "rule", "kept"), [
    (dated(), Rule(), set()),
    (dated(3, 2, 1, 0), Rule(2, 0), {3, 4}),
    (dated(3, 2, 1, 0), Rule(0, 0), {4}),
    (dated(9, 9, 9, torn=(2, 3)), Rule(0, 0), {1, 3}),
    (dated(2, 2, 1, 1, 0, 0), Rule(1, 2), {4, 6}),
    (dated(2, 2, 1, 1, 0, 0), Rule(1, 30), {2, 4, 6}),
    (dated(40, 30, 29, 0), Rule(1, 30), {3, 4}),
])
def test_the_rule(generations: list[Dated], rule: Rule, kept: set[int]) -> None:
    assert spared(generations, rule, TODAY) == kept


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=20), st.integers(0, 5),
       st.integers(0, 9))
def test_the_newest_and_the_newest_complete_one_stay(facts: list[tuple[int, bool]], last: int, daily: int) -> None:
    days = sorted((ago for ago, _ in facts), reverse=True)
    torn = [number for number, (_, complete) in enumerate(facts, 1) if not complete]
    made = dated(*days, torn=torn)
    kept = spared(made, Rule(last, daily), TODAY)
    whole = [one.number for one in made if one.complete]
    assert made[-1].number in kept
    assert not whole or whole[-1] in kept
    assert kept >= {one.number for one in made[len(made) - last :]}


def five(box: Box) -> None:
    for number in range(5):
        (box.api / "noise").write_bytes(os.urandom(100_000))
        box.commit("counter", f"{number}\n")
        box.pull()


def numbers(box: Box) -> list[int]:
    return [one.number for one in list_generations(box.results, "ana-main")]


def test_what_goes_frees_its_room_and_what_stays_is_whole(box: Box) -> None:
    five(box)
    today = datetime.now(UTC).date()
    going = [one.number for one, keep in aged(box.results, "ana-main", "ana/main", Rule(2, 0), today) if not keep]
    assert going == [1, 2, 3]
    freed = forget(box.results, "ana-main", "ana/main", going)
    assert 250_000 < freed < 400_000
    assert numbers(box) == [4, 5]
    assert verify(box.results, "ana-main", "ana/main").good
    for number in (4, 5):
        file = one_file(choose(box.results, "ana-main", "ana/main", number), "api/counter")
        assert file
        assert file.read() == b"%d\n" % (number - 1)
    assert box.home_git("for-each-ref", "refs/sandbox/ana-main/gen/1/", "refs/sandbox/ana-main/gen/3/") == ""


def test_the_receipt_of_a_kept_generation_still_names_the_one_before_it(box: Box) -> None:
    five(box)
    before = box.home_git("rev-parse", "refs/sandbox/ana-main/gen/3/generation")
    forget(box.results, "ana-main", "ana/main", [1, 2, 3])
    assert f"previous: {before}" in box.home_git("log", "-1", "--format=%B", "refs/sandbox/ana-main/gen/4/generation")
    assert box.home_git("log", "--format=%P", "refs/sandbox/ana-main/gen/4/generation") == ""


def test_pulls_go_on_after_it_with_the_next_number_and_send_only_what_is_new(box: Box) -> None:
    five(box)
    forget(box.results, "ana-main", "ana/main", [1, 2, 3, 4])
    assert box.pull().result == "unchanged"
    (box.api / "small").write_text("small\n")
    done = box.pull()
    assert (done.generation, done.result) == (6, "new")
    assert done.bytes < 10_000


def test_a_number_that_is_not_there_is_let_be(box: Box) -> None:
    box.pull()
    forget(box.results, "ana-main", "ana/main", [7])
    assert numbers(box) == [1]


def test_it_waits_for_no_pull_but_says_who_is_at_it(box: Box) -> None:
    five(box)
    inside, leave = threading.Event(), threading.Event()

    def slow(argv: Sequence[str]) -> LocalStream:
        inside.set()
        leave.wait(20)
        return box.open(argv)

    puller = threading.Thread(target=box.pull, kwargs={"open_stream": slow})
    puller.start()
    inside.wait(20)
    with pytest.raises(PifleetError, match="could not be removed") as error:
        forget(box.results, "ana-main", "ana/main", [1])
    leave.set()
    puller.join()
    assert f"process {os.getpid()}" in error.value.trouble.saw
    assert numbers(box) == [1, 2, 3, 4, 5]


def test_killed_at_any_moment_each_generation_is_whole_or_gone(box: Box) -> None:
    five(box)
    script = ("import sys; from pathlib import Path; from pifleet.results import forget;"
              "forget(Path(sys.argv[1]), 'ana-main', 'ana/main', [int(sys.argv[2])])")
    for attempt in range(4):
        child = subprocess.Popen([sys.executable, "-c", script, str(box.results), str(attempt + 1)],
                                 start_new_session=True)
        try:
            child.wait(0.3 + attempt * 0.03)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()
        assert {*numbers(box)} >= {*range(attempt + 2, 6)}
        assert verify(box.results, "ana-main", "ana/main").good
    box.pull()
    whole = numbers(box)
    left = {int(line.split("/")[4]) for line in box.home_git("for-each-ref", "--format=%(refname)").splitlines()}
    assert left == {*whole}


def test_what_a_killed_git_left_of_its_list_of_refs_is_in_nobodys_way(box: Box) -> None:
    five(box)
    (box.results / ".store" / "ana-main.git" / "packed-refs.new").touch()
    forget(box.results, "ana-main", "ana/main", [1])
    assert numbers(box) == [2, 3, 4, 5]
