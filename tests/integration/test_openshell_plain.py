"""Sandboxes on a gateway without certificates that others run, reached over a tunnel that ends on the loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.guests import Guests, relay
from tests.integration.openshell import until
from tests.integration.shells import HOST, Shells
from tests.lab.fixtures import started

CLIENT = "farm-2"
PORT, RELAYED = 17680, 27680
NAMESPACE = "plain"
PROGRAMS = "/usr/local/lib/pifleet/openshell"
# Another gateway beside pifleet's, by the same programs, as somebody would run it who lets everybody in.
SERVE = f"""
set -e; mkdir -p /srv/plain && cd /srv/plain
cat > gateway.toml <<END
[openshell]
version = 1
[openshell.gateway]
bind_address = "127.0.0.1:{PORT}"
compute_drivers = ["docker"]
disable_tls = true
[openshell.drivers.docker]
sandbox_namespace = "{NAMESPACE}"
supervisor_bin = "{PROGRAMS}/openshell-sandbox"
image_pull_policy = "IfNotPresent"
END
export HOME=$PWD XDG_CONFIG_HOME=$PWD/config XDG_STATE_HOME=$PWD/state
{PROGRAMS}/openshell-gateway generate-certs --output-dir state/openshell/tls --server-san host.openshell.internal
systemd-run --quiet --unit plain -E HOME -E XDG_CONFIG_HOME -E XDG_STATE_HOME \
  {PROGRAMS}/openshell-gateway --config /srv/plain/gateway.toml
"""


@pytest.fixture(scope="module")
def guests(shells: Shells, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    lab = started(shells.lab.name, CLIENT)
    folder = tmp_path_factory.mktemp("plain")
    shells.as_root(SERVE)
    relay(lab.host(HOST), "0.0.0.0", RELAYED, "127.0.0.1", PORT)
    relay(lab.host(CLIENT), "127.0.0.1", PORT, lab.host(HOST).address, RELAYED)
    yield Guests(lab, folder, {
        **shells.overlay, "pifleet_fleet": "plain", "pifleet_results": str(folder / "results"),
        "pifleet_models": {"lab": shells.overlay["pifleet_models"]["lab"]},
        "pifleet_developers": {"gil": {"repos": ["web"]}},
    }, client=CLIENT, gateway={"pifleet_gateway_url": f"http://127.0.0.1:{PORT}"})
    shells.as_root("systemctl stop plain; rm -rf /srv/plain")


@pytest.fixture(scope="module")
def working(guests: Guests) -> Guests:
    done = guests.provision()
    assert done.code == 0, done.err + done.out
    return guests


def made(shells: Shells) -> list[str]:
    """The containers of that gateway."""
    return shells.docker(HOST, "ps", "-aq", "--filter", f"label=openshell.ai/sandbox-namespace={NAMESPACE}").split()


def test_it_is_known_without_certificates_and_a_second_run_changes_nothing(working: Guests, shells: Shells) -> None:
    host = working.lab.host(CLIENT)
    where = str(host.inside("find", "/var/lib/pifleet/openshell/others", "-name", "metadata.json")).strip()
    known = json.loads(str(host.inside("cat", where)))

    assert (known["gateway_endpoint"], known["auth_mode"]) == (f"http://127.0.0.1:{PORT}", "plaintext")
    assert str(host.inside("find", "/var/lib/pifleet/openshell/others", "-name", "*.crt", "-o", "-name", "*.key")) == ""
    assert (working.plan().code, working.plan().json["steps"]) == (0, [])
    assert {row["result"] for row in working.provision().json["outcomes"]} == {"ok"}
    assert len(made(shells)) == 1


def test_pi_answers_its_work_comes_home_and_verify_passes(working: Guests) -> None:
    said = working.pifleet("run", "gil", "-p", "SAY the model answers")
    working.inside("gil", "echo draft > /workspace/web/new.txt")
    first, second = (working.pifleet("pull", "gil", "-o", "json").json["pulls"][0] for _ in range(2))
    proof = working.pifleet("verify")

    assert said.code == 0, said.out + said.err
    assert "the model answers" in said.out + said.err
    assert (first["result"], second["result"]) == ("new", "unchanged")
    assert (working.results / "gil" / "main" / "web" / "new.txt").read_text() == "draft\n"
    assert proof.code == 0, proof.out + proof.err


def test_where_the_tunnel_is_down_that_is_said_and_it_works_again_once_it_is_up(working: Guests) -> None:
    host = working.lab.host(CLIENT)
    host.inside("pkill", "-f", f"relay.py 127.0.0.1 {PORT}")
    named = {step["item"]: step["why"] for step in working.plan().json["steps"]}
    run, done = working.pifleet("exec", "gil", "--", "true"), working.provision()
    rows = [row for row in done.json["outcomes"] if row["result"] == "failed"]
    relay(host, "127.0.0.1", PORT, working.lab.host(HOST).address, RELAYED)

    assert "refused" in named["gateway of others"]
    assert "cannot be seen" in named["sandbox"]
    assert (run.code, done.code) == (255, 1)
    assert "OpenShell gateway does not answer" in run.err
    assert rows
    assert all("does not answer" in row["error"]["headline"] and row["error"]["try"] for row in rows)
    until(lambda: working.plan().json["steps"] == [], seconds=120)


def test_what_was_made_there_is_removed(working: Guests, shells: Shells) -> None:
    done = working.pifleet("remove", "gil", "--yes", "--discard", "gil")

    assert done.code == 0, done.out + done.err
    assert made(shells) == []
    assert shells.plan().json["steps"] == []
