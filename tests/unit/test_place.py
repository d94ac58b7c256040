"""Where sandboxes go, and when they may not go anywhere."""

from __future__ import annotations

from pifleet.fleet import Limits
from pifleet.place import may_be_on, place
from tests.unit.fleets import box, fleet

GB = 1 << 30
ROOMY = {"farm-1": 64 * GB, "farm-2": 64 * GB}
TWO = ("farm-1", "farm-2")


def test_a_new_sandbox_goes_to_the_emptiest_host() -> None:
    of = fleet(box("ana/main"), box("bo/main"), box("cy/main"), hosts=TWO)

    placed = place(of, {"farm-1": {}, "farm-2": {}}, ROOMY)

    assert placed.host_of == {"ana/main": "farm-1", "bo/main": "farm-2", "cy/main": "farm-1"}


def test_a_sandbox_stays_where_it_is_and_a_new_host_moves_nothing() -> None:
    of = fleet(box("ana/main"), box("bo/main"), hosts=TWO)

    placed = place(of, {"farm-1": {"ana/main": "container", "bo/main": "folder"}, "farm-2": {}}, ROOMY)

    assert set(placed.host_of.values()) == {"farm-1"}


def test_a_sandbox_seen_nowhere_waits_while_a_host_that_may_hold_it_is_silent() -> None:
    of = fleet(box("ana/main"), hosts=TWO)

    placed = place(of, {"farm-1": {}}, ROOMY)

    assert placed.host_of == {}
    assert placed.troubles["ana/main"].headline == "ana/main was seen on no host, and farm-2 did not answer"


def test_a_sandbox_that_is_seen_does_not_wait_for_other_hosts() -> None:
    of = fleet(box("ana/main"), hosts=TWO)

    assert place(of, {"farm-1": {"ana/main": "folder"}}, ROOMY).host_of == {"ana/main": "farm-1"}


def test_a_pinned_sandbox_does_not_wait_for_other_hosts() -> None:
    of = fleet(box("ana/main", host="farm-1"), hosts=TWO)

    assert place(of, {"farm-1": {}}, ROOMY).host_of == {"ana/main": "farm-1"}


def test_a_sandbox_pinned_away_from_where_it_lives_moves() -> None:
    of = fleet(box("ana/main", host="farm-2"), hosts=TWO)

    placed = place(of, {"farm-1": {"ana/main": "container"}, "farm-2": {}}, ROOMY)

    assert (placed.host_of, placed.troubles) == ({"ana/main": "farm-2"}, {})
    assert placed.moves == {"ana/main": "farm-1"}


def test_a_move_goes_on_as_long_as_something_is_left_on_the_old_host() -> None:
    of = fleet(box("ana/main", host="farm-2"), hosts=TWO)

    for left in ("container", "folder"):
        placed = place(of, {"farm-1": {"ana/main": left}, "farm-2": {"ana/main": "container"}}, ROOMY)
        assert placed.moves == {"ana/main": "farm-1"}
    assert place(of, {"farm-1": {}, "farm-2": {"ana/main": "container"}}, ROOMY).moves == {}


def test_a_host_without_room_is_taken_only_when_none_has_room() -> None:
    big = Limits(memory=8 * GB)
    of = fleet(box("ana/main", limits=big), hosts=TWO)

    placed = place(of, {"farm-1": {}, "farm-2": {}}, {"farm-1": 4 * GB, "farm-2": 16 * GB})

    assert placed.host_of["ana/main"] == "farm-2"


def test_a_look_asks_every_host_that_may_hold_a_sandbox() -> None:
    pinned, free = box("ana/main", host="farm-1"), box("bo/main")
    of = fleet(pinned, free, hosts=TWO)

    assert may_be_on(of, "farm-2") == (pinned, free)


def test_the_container_tells_more_than_a_folder_left_behind() -> None:
    of = fleet(box("ana/main"), hosts=TWO)

    placed = place(of, {"farm-1": {"ana/main": "folder"}, "farm-2": {"ana/main": "container"}}, ROOMY)

    assert placed.host_of == {"ana/main": "farm-2"}
