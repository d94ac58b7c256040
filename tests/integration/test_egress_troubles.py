"""Lists change, gateway, proxy and engine break while sandboxes work: nothing opens, what is broken is named, and it is
repaired."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.egress_place import EGRESS_DOOR, EMPTY, LISTS, MODEL_DOOR, Place, place, plain, tunnel
from tests.integration.outside import METADATA, reached

__all__ = ["place"]


def test_a_second_provision_changes_nothing(place: Place) -> None:
    assert place.plan().json["steps"] == []
    assert {row["result"] for row in place.provision().json["outcomes"]} == {"ok"}


def test_a_changed_list_holds_at_once_and_replaces_no_sandbox(place: Place) -> None:
    before = place.ids()
    try:
        place.overlay = {**LISTS, EMPTY: ["open.test"]}
        opened = place.provision()
        reached_it = place.ask(EMPTY, tunnel("open.test:443"))
    finally:
        place.overlay = LISTS
        closed = place.provision()

    assert (opened.code, closed.code) == (0, 0)
    assert reached(reached_it[0])
    assert not reached(place.ask(EMPTY, tunnel("open.test:443"))[0])
    assert place.ids() == before


STREAM = """
import socket, sys, threading
made, failed = 0, []
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()
while not over.is_set():
    try:
        peer = socket.create_connection(("127.0.0.1", 8101), 20)
        peer.sendall(b"CONNECT open.test:443 HTTP/1.1\\r\\nHost: open.test:443\\r\\n\\r\\n")
        said = peer.recv(999)
        made += 1
        if b" 200 " not in said[:20]:
            failed.append(repr(said))
    except OSError as error:
        failed.append(repr(error))
    if made == 20:
        print("ready", flush=True)
print(made, failed)
"""


def test_a_reload_lets_other_sandboxes_connections_wait_and_not_fail(place: Place) -> None:
    sources = [word for source in place.sources for word in ("-i", source)]
    argv = [str(Path(sys.executable).parent / "pifleet"), "exec", *sources, "ana", "--", "python3", "-c", STREAM]
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdout
    assert client.stdout.readline() == "ready\n"
    for _ in range(4):
        place.outside.host.inside("sleep", "2")
        place.outside.host.inside("systemctl", "kill", "--kill-who=main", "--signal=HUP", "pifleet-egress-proxy")
    made, _, failed = client.communicate(timeout=60)[0].strip().partition(" ")

    assert failed == "[]"
    assert int(made) > 40


ESCAPES = [tunnel("other.test:443"), tunnel(f"{METADATA}:443"), tunnel("inner.test:443"), tunnel("bo.test:443"),
           tunnel("127.0.0.1:443"), plain("http://other.test/", "Host: plain.test")]
ASTRAY = [tunnel("other.test:443"), plain("http://other.test/"), plain("/other/v1/models"), plain("/other/v1/messages")]
EVERYWHERE = [(EGRESS_DOOR, ESCAPES), (MODEL_DOOR, ASTRAY)]
CONF, RULES, FRONT_CONF = (f"/etc/pifleet/egress/{name}" for name in ("squid.conf", "rules.nft", "front.conf"))
BREAK_CONF = f"printf 'http_access allow all\\nnonsense here\\n' >> {CONF}"
GATE_CONF = "/etc/pifleet/gateway/nginx.conf"
PROXY, NGINX, GATEWAY = "pifleet-egress-proxy", "pifleet-egress", "pifleet-gateway"
SOON = {f"service {PROXY}", f"service {NGINX}", f"service {GATEWAY}", "egress socket", "model socket", "engine",
        "packet filter"}
# What is done on the host, and an item that the plan then names; without one it comes back by itself.
TROUBLES: dict[str, tuple[str, str]] = {
    "squid killed": (f"pkill -9 -P $(systemctl show -P MainPID {PROXY})", ""),
    "its guard killed": (f"systemctl kill --kill-who=main --signal=KILL {PROXY}", ""),
    "both stopped": (f"systemctl stop {PROXY}", f"service {PROXY}"),
    "nginx killed": (f"systemctl kill --signal=KILL {NGINX}", ""),
    "nginx stopped": (f"systemctl stop {NGINX}", f"service {NGINX}"),
    "the table of rules deleted": ("nft delete table inet pifleet", ""),
    "one rule deleted": ("nft flush chain inet pifleet output", ""),
    "a rule added": ("nft insert rule inet pifleet squid accept", ""),
    "the rules deleted while nobody guards": (
        f"systemctl stop {PROXY}; nft delete table inet pifleet", "packet filter"),
    "squid's configuration broken and reloaded": (
        f"{BREAK_CONF}; systemctl kill --kill-who=main --signal=HUP {PROXY}", CONF),
    "squid's configuration broken and started": (f"{BREAK_CONF}; systemctl restart {PROXY}", CONF),
    "squid's configuration emptied and started": (f"truncate -s 0 {CONF}; systemctl restart {PROXY}", CONF),
    "the rules broken and started": (f"echo nonsense >> {RULES}; systemctl restart {PROXY}", RULES),
    "the sockets deleted": ("rm /var/lib/pifleet/sandboxes/*/net/egress.sock", "egress socket"),
    "nginx's configuration broken and started": (
        f"echo nonsense >> {FRONT_CONF}; systemctl restart {NGINX}", FRONT_CONF),
    "the model gateway killed": (f"systemctl kill --signal=KILL {GATEWAY}", ""),
    "the model gateway stopped": (f"systemctl stop {GATEWAY}", f"service {GATEWAY}"),
    "the model gateway's configuration broken and reloaded": (
        f"echo nonsense >> {GATE_CONF}; systemctl kill --kill-who=main --signal=HUP {GATEWAY}", GATE_CONF),
    "the model gateway's configuration broken and started": (
        f"echo nonsense >> {GATE_CONF}; systemctl restart {GATEWAY}", GATE_CONF),
    "the models' sockets deleted": ("rm /var/lib/pifleet/sandboxes/*/net/model.sock", "model socket"),
    "the engine killed": ("systemctl kill --signal=KILL docker", ""),
    "the engine stopped": ("systemctl stop docker docker.socket", "engine"),
}


@pytest.mark.parametrize("what", TROUBLES)
def test_in_trouble_nothing_opens_and_provision_repairs_it(place: Place, what: str) -> None:
    damage, item = TROUBLES[what]
    before = place.running()
    with place.watched("ana", EVERYWHERE) as during:
        place.outside.host.inside("sh", "-c", damage, check=False)  # some of these fail to start, as they have to
        planned = {step["item"] for step in place.plan().json["steps"]}
        repaired = place.provision()

    assert repaired.code == 0, repaired.out[-2000:] + repaired.err[-2000:]
    assert len(during) > len(ESCAPES + ASTRAY)
    assert [said for said in during if reached(said)] == []
    assert item in planned if item else planned <= SOON
    assert reached(place.ask("ana", tunnel("open.test:443"))[0])
    assert place.models_answer("ana")
    assert place.running() == before


def test_after_a_reboot_the_rules_are_there_before_squid_and_everything_works(place: Place) -> None:
    host = place.outside.host
    before = place.ids()
    host.stop()
    host.start()
    place.outside.lead()
    # squid reads /etc/hosts when it starts, and the lab's names came later.
    host.inside("systemctl", "kill", "--kill-who=main", "--signal=HUP", "pifleet-egress-proxy")
    host.inside("timeout", "120", "sh", "-c", "until [ $(docker ps -q | wc -l) = 3 ]; do sleep 0.5; done")
    with place.watched("ana", EVERYWHERE) as during:
        repaired = place.provision()

    assert repaired.code == 0, repaired.out[-2000:] + repaired.err[-2000:]
    assert len(during) > len(ESCAPES + ASTRAY)
    assert [said for said in during if reached(said)] == []
    assert reached(place.ask("ana", tunnel("open.test:443"))[0])
    assert place.models_answer("ana")
    assert place.ids() == before
    assert place.plan().json["steps"] == []


def test_the_controls_see_what_is_reached(place: Place) -> None:
    """The targets that were not reached in trouble are there all the time."""
    for name, port in (("other.test", 443), (METADATA, 443), ("inner.test", 443), ("bo.test", 443), ("127.0.0.1", 443)):
        assert reached(place.outside.reaches(name, port))
