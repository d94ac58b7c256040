"""Names, numbers and paths follow from a fleet's values alone, fit their limits and never meet unseen."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pifleet.fleet import (
    FIRST_UID,
    NAME_LIMIT,
    SERVICE_UID,
    UID_COUNT,
    Host,
    Image,
    Limits,
    Model,
    Sandbox,
    developer_uid,
    developer_user,
    digest,
    gecos,
)
from tests.unit.fleets import box, fleet

DEVELOPERS = st.from_regex(r"[a-z][a-z0-9-]{0,15}", fullmatch=True)
SANDBOXES = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)


def sandbox(developer: str, name: str) -> Sandbox:
    return Sandbox(developer, name, "docker", "dry", Limits())


def test_a_short_plain_title_is_its_own_id() -> None:
    assert box("ana/main").id == "ana-main"
    assert box("ana/main").container == "pi-ana-main"
    assert str(box("ana/main").root) == "/var/lib/pifleet/sandboxes/ana-main"
    assert str(box("ana/main").model_socket) == "/var/lib/pifleet/sandboxes/ana-main/net/model.sock"


def test_titles_that_would_meet_in_one_id_get_different_ones() -> None:
    assert sandbox("a-b", "c").id != sandbox("a", "b-c").id


@given(DEVELOPERS, SANDBOXES)
def test_an_id_is_a_dns_label_within_the_limit(developer: str, name: str) -> None:
    made = sandbox(developer, name).id
    assert len(made) <= NAME_LIMIT
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", made)


@given(DEVELOPERS)
def test_an_account_fits_what_useradd_takes_and_a_range_that_is_ours(developer: str) -> None:
    assert len(developer_user(developer)) <= 32
    assert FIRST_UID <= developer_uid(developer) < FIRST_UID + UID_COUNT < 2**31
    assert developer_uid(developer) != SERVICE_UID


def test_numbers_and_names_stay_the_same_over_versions() -> None:
    assert developer_uid("ana") == 2_099_582_578
    assert sandbox("ana", "a-long-name-of-a-sandbox").id == "ana-a-long-n-df60a6"
    assert gecos("acme") == "pifleet/acme"


def test_the_parts_of_a_digest_do_not_run_into_each_other() -> None:
    assert digest("a", "bc") != digest("ab", "c")


def test_a_sandbox_is_meant_by_its_title_or_its_developer() -> None:
    made = fleet(box("ana/main"), box("ana/review"), box("bo/kernel"), box("cy/x"), box("cy/y"))
    found = {name: made.sandbox(name) for name in ("ana", "ana/review", "bo", "cy", "cy/x", "nobody", "ana/nothing")}
    assert {name: one and one.title for name, one in found.items()} == {
        "ana": "ana/main", "ana/review": "ana/review", "bo": "bo/kernel", "cy": None, "cy/x": "cy/x",
        "nobody": None, "ana/nothing": None,
    }


def test_a_host_offers_the_patterns_of_its_groups() -> None:
    assert Host("farm-1", ("pifleet_docker", "pifleet_gondolin")).patterns == {"docker", "gondolin"}
    assert fleet(hosts=("a", "b")).hosts_offering("docker") == ("a", "b")
    assert fleet().hosts_offering("pod") == ()


def test_an_image_is_named_by_its_content_and_not_by_where_that_came_from() -> None:
    image = Image(packages=("vim", "jq"))
    assert image.name == f"pifleet/pi:{image.hash}"
    assert replace(image, packages=("jq", "vim", "git")).hash == image.hash
    assert replace(image, apt_mirror="http://mirror.lan", npm_registry="http://npm.lan").hash == image.hash
    for change in ({"suite": "trixie"}, {"date": "20260131T000000Z"}, {"ca": "PEM"}, {"pi_version": "0.80.0"},
                   {"node_version": "22.0.0"}, {"base": "x@sha256:0"}, {"recipe": "x"}, {"packages": ()}):
        assert replace(image, **change).hash != image.hash


def test_a_scripted_model_speaks_anthropics_api_and_has_a_name_for_pi() -> None:
    assert (Model("dry", "scripted").wire_api, Model("dry", "scripted").model_ids) == (
        "anthropic-messages", ("scripted-1",))
    assert Model("m", "openai-responses", "https://x", models=("a", "b")).model_ids == ("a", "b")
