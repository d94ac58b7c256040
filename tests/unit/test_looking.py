"""A part of a look ends in time, and one that asks others many things has the time that it was given for that."""

from __future__ import annotations

import time

import pytest

from tests.unit.hostside import together

(looking,) = together("looking")


def test_a_part_may_take_longer_where_it_was_given_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly() -> str:
        time.sleep(0.5)
        return "seen"

    monkeypatch.setattr(looking, "SECTION_SECONDS", 0.1)
    look = looking.Look()

    assert look.one("short", slowly) is None
    assert look.one("long", slowly, more=30) == "seen"
    assert list(look.unknown) == ["short"]
