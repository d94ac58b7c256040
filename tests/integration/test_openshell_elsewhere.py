"""Sandboxes of one fleet on a gateway that another one runs, reached from a bare host with nothing but the client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.integration.guests import Guests, relay
from tests.integration.shells import HOST, TLS, Shells
from tests.lab.fixtures import started

CLIENT = "farm-1"
PORT, RELAYED = 17670, 27670
NAMES = ("dora/main", "ed/main")
MTLS = "/var/lib/pifleet/openshell/client/config/openshell/gateways/pifleet/mtls"
# A certificate for the client's own key by the right authority, which ended a year ago.
ENDED = f"""
cd {TLS} && openssl req -new -key client/tls.key -subj /CN=openshell-client -out /tmp/old.csr &&
openssl x509 -req -in /tmp/old.csr -CA ca.crt -CAkey ca.key -not_before 20250101000000Z -not_after 20250102000000Z &&
rm /tmp/old.csr
"""


@pytest.fixture(scope="module")
def guests(shells: Shells, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    lab = started(shells.lab.name, CLIENT)
    folder = tmp_path_factory.mktemp("guests")
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (folder / name).write_text(str(lab.host(HOST).inside("cat", f"{MTLS}/{name}")) + "\n")
    relay(lab.host(HOST), "0.0.0.0", RELAYED, "127.0.0.1", PORT)
    relay(lab.host(CLIENT), "127.0.0.1", PORT, lab.host(HOST).address, RELAYED)
    tls = {"ca": str(folder / "ca.crt"), "cert": str(folder / "tls.crt"), "key": str(folder / "tls.key")}
    made = Guests(lab, folder, {
        **shells.overlay, "pifleet_fleet": "guests", "pifleet_results": str(folder / "results"),
        "pifleet_models": {"lab": shells.overlay["pifleet_models"]["lab"]},
        "pifleet_developers": {"dora": {"repos": ["web"]}, "ed": {"repos": ["web"]}},
    }, client=CLIENT, gateway={"pifleet_gateway_url": f"https://127.0.0.1:{PORT}", "pifleet_gateway_tls": tls})
    yield made
    made.pifleet("remove", *NAMES, "--yes", "--discard", "dora", "--discard", "ed")


@pytest.fixture(scope="module")
def working(guests: Guests) -> Guests:
    done = guests.provision()
    assert done.code == 0, done.err + done.out
    return guests


def test_a_second_run_changes_nothing_and_the_gateway_is_as_whoever_runs_it_wants_it(
    working: Guests, shells: Shells
) -> None:
    plan = working.plan()

    assert (plan.code, plan.json["steps"]) == (0, [])
    assert {row["result"] for row in working.provision().json["outcomes"]} == {"ok"}
    assert shells.plan().json["steps"] == []


def test_the_client_is_pifleets_own_and_knows_the_gateway_in_a_private_folder(working: Guests) -> None:
    host = working.lab.host(CLIENT)
    found = str(host.inside("find", "/", "-xdev", "-name", "metadata.json", "-path", "*openshell*"))
    programs = str(host.inside("sh", "-c", "command -v openshell openshell-gateway docker nginx squid || true"))

    assert len(found.split()) == 1
    assert found.startswith("/var/lib/pifleet/openshell/others/")
    assert programs == ""


def test_pi_answers_and_its_work_comes_home(working: Guests) -> None:
    said = working.pifleet("run", "dora", "-p", "SAY the model answers")
    working.inside("dora", "echo draft > /workspace/web/new.txt")
    first, second = (working.pifleet("pull", "dora", "-o", "json").json["pulls"][0] for _ in range(2))

    assert said.code == 0, said.out + said.err
    assert "the model answers" in said.out + said.err
    assert (first["result"], second["result"]) == ("new", "unchanged")
    assert (working.results / "dora" / "main" / "web" / "new.txt").read_text() == "draft\n"


def test_verify_passes_and_status_names_what_is_there(working: Guests) -> None:
    proof = working.pifleet("verify")
    rows = working.pifleet("status", "-o", "json").json["sandboxes"]

    assert proof.code == 0, proof.out + proof.err
    assert {row["sandbox"]: row["state"] for row in rows} == dict.fromkeys(NAMES, "running")


def test_another_version_is_refused_before_anything_is_changed_and_both_are_named(working: Guests) -> None:
    version = working.overlay["pifleet_openshell"]["version"]
    pinned = {**working.overlay["pifleet_openshell"], "version": "0.0.99"}
    developers = {**working.overlay["pifleet_developers"], "fay": {}}
    done = working.with_overlay(pifleet_openshell=pinned, pifleet_developers=developers).provision()

    assert done.code == 1
    assert "0.0.99" in str(done.json["outcomes"])
    assert version in str(done.json["outcomes"])
    assert "pi-fay" not in working.pifleet("openshell", CLIENT, "--", "workspace", "list").out
    working.repaired()


def test_that_a_clients_certificate_has_ended_is_said_and_a_new_one_is_brought(
    working: Guests, shells: Shells
) -> None:
    (working.folder / "ended.crt").write_text(shells.as_root(ENDED))
    files = {**working.gateway["pifleet_gateway_tls"], "cert": str(working.folder / "ended.crt")}
    ended = replace(working, gateway={**working.gateway, "pifleet_gateway_tls": files})
    refused, plan, doctor = ended.provision(), ended.plan(), ended.pifleet("doctor")
    said = "the client's certificate ended on 2025-01-02"

    assert refused.code == 1
    assert said in str(refused.json["outcomes"])
    assert {step["item"]: said in step["why"] for step in plan.json["steps"]} == {
        "gateway of others": True, "sandbox": True, "web": False}
    assert said in " ".join(doctor.out.split())
    working.repaired()
    assert working.pifleet("exec", "dora", "--", "true").code == 0


def test_a_workspace_of_somebody_else_is_left_alone(working: Guests, shells: Shells) -> None:
    developers = {**working.overlay["pifleet_developers"], "bo": {}}
    done = working.with_overlay(pifleet_developers=developers).provision()

    assert done.code == 1
    assert "not of fleet guests" in str(done.json["outcomes"])
    assert shells.plan().json["steps"] == []
    working.repaired()


def test_what_was_changed_by_hand_is_put_right(working: Guests) -> None:
    working.inside("ed", "echo {} > /home/pi/.pi/agent/settings.json")
    working.pifleet("openshell", CLIENT, "--", "sandbox", "stop", "dora-main", "--workspace", "pi-dora")
    named = {(step["sandbox"], step["why"]) for step in working.plan().json["steps"]}
    working.repaired()

    assert named == {("ed/main", "settings differs"), ("dora/main", "sandbox is Stopped")}


def test_another_limit_means_a_new_sandbox_with_the_same_work(working: Guests) -> None:
    working.inside("ed", "echo kept > /workspace/web/kept.txt")
    developers = working.overlay["pifleet_developers"]
    changed = working.with_overlay(pifleet_developers={**developers, "ed": {**developers["ed"], "memory": "1g"}})
    done = changed.provision()

    assert done.code == 0, done.err + done.out
    assert changed.inside("ed", "cat /workspace/web/kept.txt") == "kept\n"
    working.repaired()


def test_a_broken_sandbox_is_said_to_be_out_of_reach_and_made_anew_only_when_it_is_given_up(
    working: Guests, shells: Shells
) -> None:
    shells.docker(HOST, "kill", shells.container("ed"))
    refused = working.provision()
    row = next(row for row in refused.json["outcomes"] if row["sandbox"] == "ed/main")
    given_up = working.provision("--discard", "ed")

    assert (refused.code, row["result"]) == (1, "skipped")
    assert "others run the gateway" in row["error"]["saw"]
    assert given_up.code == 0, given_up.err + given_up.out
    assert working.plan().json["steps"] == []
