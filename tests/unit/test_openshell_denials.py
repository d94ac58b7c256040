"""What a gateway's log says a sandbox asked for; its lines hold what a sandbox chose to write."""

from __future__ import annotations

import pytest

from pifleet.egress import Destination
from pifleet.patterns.openshell.denials import note
from pifleet.traffic import counted
from tests.unit.fleets import box

# As the real command printed them.
HEAD = "[1767225600.123] [sandbox] [OCSF ] [openshell_sandbox] "
DENIED = HEAD + "NET:OPEN [MED] DENIED /usr/bin/python3.11(77) -> a.com:443 [policy:- engine:opa] [reason:no policy]"
ALLOWED = HEAD + "NET:OPEN [INFO] ALLOWED /usr/lib/git-core/git-remote-http(9) -> git.com:443 [policy:clone engine:opa]"
PUSHED = HEAD + ("HTTP:POST [MED] DENIED POST https://git.com/web.git/git-receive-pack [policy:clone engine:l7] "
                 "[reason:no]")
TIME = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(("line", "said"), [
    (DENIED, (("a.com", 443, "refused"), TIME)),
    (ALLOWED, (("git.com", 443, "allowed"), TIME)),
    (PUSHED, (("git.com", 443, "refused"), TIME)),
    (PUSHED.replace("https://git.com", "http://GIT.com:8080"), (("git.com", 8080, "refused"), TIME)),
])
def test_connections_and_requests_are_notes(line: str, said: object) -> None:
    assert note(line) == said


@pytest.mark.parametrize("line", [
    "", HEAD, "DENIED /usr/bin/x(1) -> a.com:443 [", DENIED.replace("a.com", "a\x1b[31m.com"),
    DENIED.replace("443", ""), DENIED.replace("[sandbox]", "[gateway]"), PUSHED.replace("https://", "ftp://"),
    PUSHED.replace("git.com/", "[::/"),
    PUSHED.replace("git.com/", "git.com:99999999/"),
], ids=repr)
def test_every_other_line_says_nothing(line: str) -> None:
    assert note(line) is None


def test_a_push_that_was_refused_is_told_with_the_entry_that_would_let_it() -> None:
    notes = [one for one in map(note, (ALLOWED, PUSHED, DENIED)) if one]
    told = counted(box(egress=(Destination("git.com", 443, clone=True),)), notes)

    assert [(one.name, one.verdict, one.entry) for one in told] == [
        ("git.com", "refused", "git.com"), ("a.com", "refused", "a.com"), ("git.com", "allowed", "")]
