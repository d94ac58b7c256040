"""What the egress log says a sandbox asked for; its lines hold what a sandbox chose to write."""

from __future__ import annotations

import json
from typing import Any

from pifleet.egress import Destination
from pifleet.traffic import counted, proxy_note
from tests.unit.fleets import box


def line(name: str = "a.com", port: Any = "443", result: str = "TCP_DENIED", status: Any = 403, second: int = 1) -> str:
    return json.dumps({"time": f"2026-01-01T00:00:0{second}+00:00", "sandbox": "ana/main", "method": "CONNECT",
                       "name": name, "port": port, "status": status, "result": result})


def told(*lines: str, **list_of: Any) -> list[tuple[str, int, str, int, str]]:
    notes = filter(None, map(proxy_note, lines))
    return [(one.name, one.port, one.verdict, one.count, one.entry) for one in counted(box(**list_of), notes)]


def test_requests_are_counted_by_destination_and_the_refused_come_first() -> None:
    allowed, plain = line("ok.com", result="TCP_TUNNEL", status=200), line("b.com", "80", second=3)

    assert told(allowed, line(), line(second=2), plain) == [
        ("b.com", 80, "refused", 1, "b.com:80"), ("a.com", 443, "refused", 2, "a.com"),
        ("ok.com", 443, "allowed", 1, ""),
    ]


def test_what_was_let_through_and_led_nowhere_has_failed() -> None:
    assert told(line(result="TCP_MISS", status=503)) == [("a.com", 443, "failed", 1, "")]


def test_a_listed_name_that_was_refused_leads_to_a_private_address() -> None:
    asked = told(line("git.lan"), egress=(Destination("git.lan", 443),))
    below = told(line("git.lan.org"), egress=(Destination(".lan.org", 443),))

    assert asked == [("git.lan", 443, "refused", 1, '{to: "git.lan:443", private: true}')]
    assert below == [("git.lan.org", 443, "refused", 1, '{to: "git.lan.org:443", private: true}')]


def test_a_private_address_needs_an_entry_that_says_so() -> None:
    assert told(line("10.1.2.3", "8443")) == [
        ("10.1.2.3", 8443, "refused", 1, '{to: "10.1.2.3:8443", private: true}')]


def test_lines_that_are_no_notes_are_left_out() -> None:
    broken = ["", "{", "7", "null", "[]", '{"name":"a"}', line(port="x"), line(status="-"), line(port=None), "\x1b[31m"]

    assert told(*broken, line()) == [("a.com", 443, "refused", 1, "a.com")]
