"""The life of the OpenShell double itself: its start, its certificates, what survives its end and what does not.

Each test is a fact that was seen with real binaries, and asks those where the environment names them.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.openshell import Shell, container, operator, serving, until
from tests.lab.engine import LabError, docker, run
from tests.lab.openshell.double import Double

# Each test ends its gateway, so each has one.

@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Double]:
    with serving(tmp_path / "gateway") as made:
        yield made


@pytest.fixture
def openshell(gateway: Double, tmp_path: Path) -> Shell:
    return operator(tmp_path / "operator", gateway)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    """A gateway that wants certificates."""
    with serving(tmp_path_factory.mktemp("secure"), tls=True) as made:
        yield made


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# Its start


def test_a_gateway_says_its_version_and_health(gateway: Double, openshell: Shell) -> None:
    status = openshell.json("status")
    assert status["status"].lower() == "connected"
    assert get(gateway.health_port, "/healthz")[0] == 200
    code, body = get(gateway.health_port, "/readyz")
    ready = json.loads(body)
    assert (code, ready["version"], ready["checks"]["database"]["status"]) == (200, status["version"], "healthy")
    assert "openshell_server_grpc_requests_total{method=" in get(gateway.metrics_port, "/metrics")[1]


@pytest.mark.parametrize(("line", "why"), [
    ("surprise = 1", "unknown field `surprise`"),
    ('database_url = "sqlite:x"', "database_url"),
])
def test_a_gateway_does_not_start_with_what_it_does_not_know(tmp_path: Path, line: str, why: str) -> None:
    gateway = Double(tmp_path, "never")
    gateway.write()
    config = tmp_path / "config" / "openshell" / "gateway.toml"
    config.write_text(config.read_text().replace("[openshell.gateway]\n", f"[openshell.gateway]\n{line}\n"))
    with pytest.raises(LabError, match=why):
        run([*gateway.command, "--disable-tls"], env=gateway.environment)


def test_a_gateway_wants_certificates_unless_told_otherwise(tmp_path: Path) -> None:
    gateway = Double(tmp_path, "never", tls=True)
    gateway.write()
    with pytest.raises(LabError, match="--tls-cert is required when TLS is enabled"):
        run(gateway.command, env=gateway.environment)


# Certificates


def test_certificates_stay_until_a_name_is_missing(tmp_path: Path) -> None:
    gateway = Double(tmp_path, "never", tls=True)
    authority = tmp_path / "state" / "openshell" / "tls" / "ca.crt"
    gateway.certify("one.example.com")
    first = authority.read_bytes()
    gateway.certify("one.example.com")
    assert authority.read_bytes() == first
    gateway.certify("one.example.com", "two.example.com")
    assert authority.read_bytes() != first
    (authority.parent / "server" / "tls.key").unlink()
    with pytest.raises(LabError, match="rm -rf"):
        gateway.certify("one.example.com")


def test_a_certificate_opens_a_gateway_that_is_registered_by_files(secure: Double, tmp_path: Path) -> None:
    openshell = registered(tmp_path, secure)
    assert openshell.json("status")["status"].lower() == "connected"
    assert openshell.json("whoami")["subject"] == "openshell-client"
    openshell.ok("sandbox", "create", "--name", "safe", "--from", "pi", "--detach")
    assert openshell.ssh("safe", "openshell-safe.default", "echo in").text == "in\n"
    openshell.ok("sandbox", "delete", "safe")


def test_another_gateways_certificate_opens_nothing(secure: Double, tmp_path: Path) -> None:
    stranger = Double(tmp_path / "stranger", "never", tls=True)
    (tmp_path / "stranger").mkdir()
    stranger.certify()
    openshell = registered(tmp_path, secure)
    theirs = stranger.root / "config" / "openshell" / "gateways" / "openshell" / "mtls"
    ours = openshell.home / "config" / "openshell" / "gateways" / "lab" / "mtls"
    for name in ("tls.crt", "tls.key"):
        shutil.copy(theirs / name, ours / name)
    assert openshell("sandbox", "list").code == 1
    (ours / "tls.crt").unlink()
    assert openshell("sandbox", "list").code == 1


def registered(folder: Path, gateway: Double) -> Shell:
    """An operator with the gateway's client bundle and five words about it; `gateway add` was never called."""
    openshell = operator(folder / "operator", gateway)
    place = openshell.home / "config" / "openshell" / "gateways" / "lab"
    shutil.copytree(gateway.root / "config" / "openshell" / "gateways" / "openshell" / "mtls", place / "mtls")
    (place / "metadata.json").write_text(json.dumps({
        "name": "lab", "gateway_endpoint": gateway.url, "is_remote": False, "gateway_port": 0, "auth_mode": "mtls"}))
    openshell.environment["OPENSHELL_GATEWAY"] = "lab"
    return openshell


# Its end


def working(openshell: Shell, name: str) -> None:
    """A sandbox with a file and a process in it."""
    openshell.ok("sandbox", "create", "--name", name, "--from", "pi", "--detach")
    openshell.exec(name, "sh", "-c", "echo work > file; setsid sleep 4646 >/dev/null 2>&1 </dev/null &")


def busy(openshell: Shell, name: str) -> bool:
    return openshell.exec(name, "pgrep", "-f", "sleep 4646").code == 0


def test_a_graceful_end_takes_its_time_keeps_files_and_ends_processes(gateway: Double, openshell: Shell) -> None:
    working(openshell, "on")
    openshell.ok("sandbox", "create", "--name", "off", "--from", "pi", "--detach")
    openshell.ok("sandbox", "stop", "off")
    began = time.monotonic()
    gateway.stop(signal.SIGTERM)
    assert time.monotonic() - began >= 9
    assert docker("inspect", "--format", "{{.State.Running}}", container(gateway, "on")) == "false"
    gateway.start()
    until(lambda: openshell.phase("on") == "Ready")
    assert openshell.phase("off") == "Stopped"
    assert openshell.exec("on", "cat", "file").text == "work\n"
    assert not busy(openshell, "on")


def test_a_killed_gateway_leaves_processes_alone(gateway: Double, openshell: Shell) -> None:
    working(openshell, "on")
    gateway.stop(signal.SIGKILL)
    assert openshell("sandbox", "list").code == 1
    gateway.start()
    until(lambda: openshell.phase("on") == "Ready")
    assert busy(openshell, "on")
    assert openshell.ssh("on", "openshell-on.default", "cat file").text == "work\n"


def test_after_each_power_cut_sandboxes_are_started_again(gateway: Double, openshell: Shell) -> None:
    """Several, because a gateway that watches before it has looked around takes some for sandboxes that failed."""
    working(openshell, "on")
    for _ in range(10):
        gateway.stop(signal.SIGKILL)
        docker("kill", container(gateway, "on"))
        gateway.start()
        until(lambda: openshell.phase("on") == "Ready")
        assert openshell.exec("on", "cat", "file").text == "work\n"


def test_a_container_that_went_while_the_gateway_was_away_is_an_error(gateway: Double, openshell: Shell) -> None:
    working(openshell, "gone")
    gateway.stop(signal.SIGKILL)
    docker("rm", "--force", container(gateway, "gone"))
    gateway.start()
    until(lambda: openshell.phase("gone") == "Error")
    assert openshell("sandbox", "delete", "gone").code == 0
    assert openshell.phase("gone") == "missing"


def test_twelve_sandboxes_at_once_are_all_ready_and_all_go(gateway: Double, openshell: Shell) -> None:
    def make(number: int) -> int:
        return openshell("sandbox", "create", "--name", f"many-{number}", "--from", "pi", "--detach").code

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(make, range(12))) == [0] * 12
    assert [one["phase"] for one in openshell.json("sandbox", "list")] == ["Ready"] * 12
    openshell.ok("sandbox", "delete", "--all")
    assert openshell.json("sandbox", "list") == []
    assert docker("ps", "--all", "--quiet", "--filter", f"label=openshell.ai/sandbox-namespace={gateway.name}") == ""
