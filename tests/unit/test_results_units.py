"""A unit as home tells it: written with a generation, read back for as long as the generation lives."""

from pifleet.results.units import Unit

OID = "1" * 40


def test_a_generation_of_an_earlier_version_without_upstream_is_still_read() -> None:
    told = {"kind": "repo", "path": "api", "state": "2" * 64, "refs": {}, "notes": [], "head": OID, "tips": "",
            "stashes": []}
    unit = Unit.from_json(told)
    assert unit.histories == {OID}
    assert unit.certain == {OID}
