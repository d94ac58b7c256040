"""The packed OpenShell double, put on a bare lab host as the real release is: checksums, package, a user of its own.

The gateway runs unprivileged on the host's engine, by mutual TLS, and the real command on the host drives it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.openshell import until
from tests.lab import Host, Lab
from tests.lab.engine import CannotCarry
from tests.lab.fixtures import started
from tests.lab.openshell import package
from tests.lab.openshell.double import sandbox_image

LAB, NAME = "shell", "shell-1"
GATEWAY = """[openshell]
version = 1

[openshell.gateway]
bind_address = "127.0.0.1:17670"
health_bind_address = "127.0.0.1:17671"
compute_drivers = ["docker"]
"""
INSTALL = """
set -e
cd /root/release
sha256sum --check --quiet ./*-checksums-sha256.txt
dpkg --install ./openshell_*.deb
tar xzf openshell-sandbox-*.tar.gz -C /usr/bin
useradd --system --create-home --home-dir /var/lib/openshell --groups docker openshell
install -d -o openshell -m 700 /var/lib/openshell/.config /var/lib/openshell/.config/openshell
cat > /var/lib/openshell/.config/openshell/gateway.toml
"""
TLS = "/var/lib/openshell/.local/state/openshell/tls"
SERVE = f"""
openshell-gateway generate-certs --output-dir {TLS} --server-san host.openshell.internal
setsid nohup openshell-gateway >/var/lib/openshell/gateway.log 2>&1 </dev/null &
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return package.release(tmp_path_factory.mktemp("release"))
    except CannotCarry as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def host(release: Path) -> Iterator[Host]:
    """A host with an engine of its own, the sandboxes' image on it, and the release installed."""
    Lab(LAB).down()
    lab = started(LAB, NAME)
    made = lab.host(NAME)
    made.inside("sh", "-c", "apt-get -q update && apt-get -q install -y --no-install-recommends docker.io docker-cli")
    send(["docker", "save", sandbox_image()], made, "docker load && docker tag "
         f"{sandbox_image()} pifleet-lab/pi:latest")
    send(["tar", "c", "-C", release, "."], made, "mkdir -p /root/release && tar x -C /root/release")
    made.inside("sh", "-c", INSTALL, input=GATEWAY)
    yield made
    lab.down()


def send(source: list[str | Path], host: Host, command: str) -> None:
    """Pour what one command says into another on the host."""
    pouring = subprocess.Popen(source, stdout=subprocess.PIPE)
    subprocess.run([*host.ssh_command(), "sudo", "sh", "-c", f"'{command}'"], stdin=pouring.stdout, check=True,
                   capture_output=True)
    assert pouring.wait() == 0


def as_gateway(host: Host, script: str, check: bool = True) -> str:
    """Run a script as the gateway's user, from an empty folder."""
    return str(host.inside("runuser", "-u", "openshell", "--", "env", "HOME=/var/lib/openshell",
                           "OPENSHELL_COMMUNITY_REGISTRY=pifleet-lab", "NO_COLOR=1", "sh", "-c",
                           f"cd /var/empty 2>/dev/null || cd /; {script}", check=check))


def test_a_release_is_the_same_twice(release: Path, tmp_path: Path) -> None:
    again = package.release(tmp_path)
    for name in package.PROGRAMS:
        path = f"{name}-checksums-sha256.txt"
        assert (again / path).read_text() == (release / path).read_text()


def test_the_installed_gateway_runs_sandboxes_for_the_installed_command(host: Host) -> None:
    as_gateway(host, SERVE)
    until(lambda: "healthy" in as_gateway(host, "python3 -c 'import urllib.request as r; print(r.urlopen("
                                                "\"http://127.0.0.1:17671/readyz\").read())'", check=False), 60)
    as_gateway(host, "openshell gateway add https://127.0.0.1:17670 --local --name openshell")
    as_gateway(host, "openshell sandbox create --name pi-sandbox --from pi --detach -- pi </dev/null")
    assert as_gateway(host, "openshell sandbox exec -n pi-sandbox -- id -un </dev/null") == "pi"
    as_gateway(host, "openshell sandbox exec -n pi-sandbox -- sh -c 'echo work > file' </dev/null")
    as_gateway(host, "openshell sandbox download pi-sandbox /workspace /tmp/back")
    assert host.inside("cat", "/tmp/back/file") == "work"
    assert "openshell" in host.inside("ps", "-o", "user=", "-C", "python3")
    as_gateway(host, "openshell sandbox delete pi-sandbox")
    assert host.inside("docker", "ps", "--all", "--quiet") == ""
