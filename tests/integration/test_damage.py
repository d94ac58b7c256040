"""Damage made by hand on a provisioned farm: named by plan, repaired by provision, nothing else touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.integration.farm import Farm
from tests.lab.hosts import Host

ROOT = "/var/lib/pifleet/sandboxes"
CONF = "/etc/pifleet/gateway/nginx.conf"
BOX = "pi-bo-main"


@dataclass(frozen=True)
class Damage:
    """What is done to bo's host, and the item that the plan must name for it."""

    name: str
    do: Callable[[Host], object]
    item: str


def sh(script: str) -> Callable[[Host], object]:
    return lambda host: host.inside("sh", "-ec", script)


RECREATE = f"""
image=$(docker inspect -f '{{{{.Config.Image}}}}' {BOX}); user=$(docker inspect -f '{{{{.Config.User}}}}' {BOX})
docker rm -f {BOX}
docker run -d --name {BOX} --user $user --network none --cap-drop ALL --security-opt no-new-privileges --read-only \
  --label io.pifleet.fleet=farm --label io.pifleet.sandbox=bo/main --entrypoint /usr/local/lib/pifleet/keeper"""
MOUNTS = "".join(
    f" -v {ROOT}/bo-main/{source}:{target}"
    for source, target in (
        ("workspace", "/workspace"), ("home", "/home/pi"), ("net", "/run/pifleet:ro"), ("etc", "/opt/pifleet/etc:ro"))
)

MODELS = f"{ROOT}/bo-main/etc/models.json"
KEY = "/etc/pifleet/gateway/keys/lab.conf"
WORKSPACE = f"{ROOT}/bo-main/workspace"
BIND = "import socket; socket.socket(socket.AF_UNIX).bind('model.sock')"
IMAGE = f"image=$(docker inspect -f '{{{{.Config.Image}}}}' {BOX})"

DAMAGES = [
    Damage("container removed", sh(f"docker rm -f {BOX}"), "container"),
    Damage("container stopped", sh(f"docker stop -t 1 {BOX}"), "container"),
    Damage("container paused", sh(f"docker pause {BOX}"), "container"),
    Damage("container re-created with one more mount", sh(f"{RECREATE} {MOUNTS} -v /etc:/host $image"), "container"),
    Damage("container with other limits", sh(f"docker update --memory 300m --memory-swap 300m {BOX}"), "container"),
    Damage("image tag moved", sh(f"{IMAGE}; docker tag $(tar c /etc/hostname | docker import -) $image"), "pifleet/pi"),
    Damage(
        "file edited with size and mtime kept",
        sh(f"cp -p {MODELS} /tmp/m; sed -i s/8100/8109/ {MODELS}; touch -r /tmp/m {MODELS}; rm /tmp/m"),
        "etc/models.json",
    ),
    Damage("user removed", sh("userdel pi-bo"), "user pi-bo"),
    Damage("gateway killed", sh("systemctl kill -s KILL pifleet-gateway; systemctl stop pifleet-gateway"), "-gateway"),
    Damage("gateway's configuration edited", sh(f"sed -i s/64m/65m/ {CONF}"), CONF),
    Damage(
        "gateway's configuration edited and loaded",
        sh(f"sed -i 's/return 200 \"/&x/' {CONF}; systemctl kill -s HUP pifleet-gateway"), CONF,
    ),
    Damage("gateway's key replaced", sh(f"echo 'proxy_set_header x-api-key \"other\";' > {KEY}"), "keys/lab.conf"),
    Damage("gateway not told of its key", sh(f"cp -p {KEY} /tmp/k; cp -p /tmp/k {KEY}; rm /tmp/k"), "-gateway"),
    Damage(
        "gateway told of a broken file",
        sh(f"echo broken >> {CONF}; systemctl kill --kill-who=main -s HUP pifleet-gateway; sleep 1"), CONF,
    ),
    Damage("every socket removed", sh(f"rm {ROOT}/*/net/model.sock"), "model socket"),
    Damage("socket replaced", sh(f'cd {ROOT}/bo-main/net; rm model.sock; python3 -c "{BIND}"'), "model socket"),
    Damage("engine stopped", sh("systemctl stop docker.socket docker.service"), "engine"),
    Damage("workspace owner changed", sh(f"chown root:root {WORKSPACE}"), WORKSPACE),
    Damage("workspace opened to all", sh(f"chmod 777 {WORKSPACE}"), WORKSPACE),
    Damage("repository removed", sh(f"rm -rf {WORKSPACE}/web"), "web"),
]


def untouched(farm: Farm) -> dict[str, str]:
    """What must stay as it is: the other sandboxes' containers since when they run, and their files."""
    found = {}
    for name, host in farm.lab.hosts().items():
        running = host.inside("docker", "ps", "-a", "--format", "{{.Names}} {{.ID}}").splitlines()
        found |= {line: name for line in running if BOX not in line}
        # What a pull remembers for the next one is no change: sandboxes are pulled before they may be replaced.
        left_out = "\\( -path '*bo-main*' -o -path '*/home/.cache' \\) -prune"
        script = f"find {ROOT} {left_out} -o -type f -printf '%p %i %T@\\n' | sort"
        found |= dict.fromkeys(host.inside("sh", "-c", script).splitlines(), name)
    return found


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_named_repaired_and_nothing_else_is_touched(provisioned: Farm, damage: Damage) -> None:
    before = untouched(provisioned)
    home = provisioned.home_of("bo/main")

    damage.do(provisioned.lab.host(home))
    planned = provisioned.plan()
    done = provisioned.provision()
    after = provisioned.plan()

    assert planned.code == 3
    assert any(damage.item in step["item"] for step in planned.json["steps"]), planned.json["steps"]
    assert {step["host"] for step in planned.json["steps"]} == {home}
    assert done.code == 0, done.out + done.err
    assert (after.code, after.json["steps"]) == (0, [])
    assert untouched(provisioned) == before
    assert provisioned.pifleet("exec", "bo", "--", "git", "-C", "web", "rev-parse", "HEAD").code == 0
