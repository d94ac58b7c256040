"""Two operators with a store each and one sandbox: whoever comes second is told who is at it, and since when."""

from __future__ import annotations

import getpass
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pifleet.errors import SandboxFailed
from pifleet.fleet import Host
from pifleet.lock import locked
from pifleet.results import Pull, pull
from pifleet.sandbox import Driver, driver_for
from pifleet.stream import Stream
from tests.integration import boxes
from tests.integration.boxes import Box
from tests.integration.sshd import SSHD, Sshd

pytestmark = pytest.mark.skipif(not boxes.image()[0], reason="no sandbox image on this engine: scripts/demo makes one")
HERE = re.escape(f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()}) since 20")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with pytest.MonkeyPatch.context() as patch, boxes.running(tmp_path_factory.mktemp("box"), patch) as made:
        yield made


@pytest.fixture(scope="module", params=["local", "ssh"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if request.param == "local":
        yield boxes.LOCAL
        return
    if SSHD is None:
        pytest.skip("openssh-server is not installed: apt-get install openssh-server")
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server.host
    server.stop()


@pytest.fixture
def ana(host: Host) -> Iterator[Driver]:
    with driver_for("docker")(host) as driver:
        yield driver


@pytest.fixture
def bo(host: Host) -> Iterator[Driver]:
    with driver_for("docker")(host) as driver:
        yield driver


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("ana", "bo"):
        (tmp_path / name).mkdir()
    return tmp_path / "ana", tmp_path / "bo"


def under_way(driver: Driver, box: Box, store: Path) -> Stream:
    """A pull that has begun, and ends with its line."""
    stream = driver.claimed(box.sandbox, ["sh", "-c", "echo begun; exec cat"], "pull", store)
    assert stream.read(100, 20) == b"begun\n"
    return stream


def pulled(driver: Driver, box: Box, store: Path) -> Pull:
    return pull(lambda argv: driver.claimed(box.sandbox, argv, "pull", store), sandbox=box.sandbox.title,
                sandbox_id=box.sandbox.id, repos=(), store=store)


@pytest.mark.slice
def test_of_two_pulls_into_two_stores_the_second_is_told_whose_pull_goes_on(
    ana: Driver, bo: Driver, box: Box, stores: tuple[Path, Path]
) -> None:
    first = under_way(ana, box, stores[0])
    refused = pulled(bo, box, stores[1])
    first.close()
    wait_until_free(bo, box, stores[1])
    after = pulled(bo, box, stores[1])

    assert (refused.result, refused.generation) == ("failed", None)
    assert refused.trouble
    assert refused.trouble.headline == f"{box.sandbox.title} is busy"
    assert re.match(f"pull by {HERE}", refused.trouble.saw)
    assert (after.result, after.generation) == ("new", 1)


def test_while_a_sandbox_is_removed_nobody_pulls_it(
    ana: Driver, host: Host, box: Box, stores: tuple[Path, Path]
) -> None:
    with locked({host.name: host}, {host.name: [box.sandbox]}, "removal") as troubles:
        refused = pulled(ana, box, stores[0])

    assert troubles == {}
    assert refused.trouble
    assert re.match(f"removal by {HERE}", refused.trouble.saw)
    assert pulled(ana, box, stores[0]).result == "new"


def test_while_others_of_its_host_are_changed_it_is_pulled(
    ana: Driver, host: Host, box: Box, stores: tuple[Path, Path]
) -> None:
    with locked({host.name: host}, {}, "provision"):
        assert pulled(ana, box, stores[0]).result == "new"


def test_while_a_sandbox_is_pulled_nobody_removes_it(
    ana: Driver, host: Host, box: Box, stores: tuple[Path, Path]
) -> None:
    first = under_way(ana, box, stores[0])
    with locked({host.name: host}, {host.name: [box.sandbox]}, "removal") as troubles:
        pass
    first.close()

    assert troubles[host.name].headline == f"{box.sandbox.title} is busy"
    assert re.match(f"pull by {HERE}", troubles[host.name].saw)


def test_while_a_sandbox_is_pulled_nobody_stops_it(
    ana: Driver, bo: Driver, box: Box, stores: tuple[Path, Path]
) -> None:
    first = under_way(ana, box, stores[0])
    with pytest.raises(SandboxFailed) as refused:
        bo.stop(box.sandbox)
    running = bo.state(box.sandbox)
    first.close()

    assert refused.value.trouble.headline == f"{box.sandbox.title} is busy"
    assert re.match(f"pull by {HERE}", refused.value.trouble.saw)
    assert running == "running"


def test_when_nobody_pulls_it_a_sandbox_stops_and_starts_again(
    ana: Driver, bo: Driver, box: Box, stores: tuple[Path, Path]
) -> None:
    wait_until_free(ana, box, stores[0])
    bo.stop(box.sandbox)
    stopped = bo.state(box.sandbox)
    bo.start(box.sandbox)

    assert stopped == "stopped"
    assert pulled(ana, box, stores[0]).result == "new"


def test_two_changes_of_a_host_do_not_run_at_once(host: Host) -> None:
    with locked({host.name: host}, {}, "provision"), locked({host.name: host}, {}, "removal") as troubles:
        pass

    assert troubles[host.name].headline == f"{host.name} is being changed by somebody else"
    assert re.match(f"provision by {HERE}", troubles[host.name].saw)


def test_a_pull_that_lost_its_line_does_not_keep_its_own_store_from_the_next(
    ana: Driver, bo: Driver, box: Box, stores: tuple[Path, Path]
) -> None:
    """The far end of a line that was cut in silence looks for minutes as if it were at work."""
    lost = under_way(ana, box, stores[0])
    again = pulled(bo, box, stores[0])

    assert (again.result, again.trouble) == ("new", None)
    assert lost.read(100, 20) == b""


def test_what_a_sandbox_says_is_not_taken_for_a_word_about_the_lock(
    ana: Driver, box: Box, stores: tuple[Path, Path]
) -> None:
    said = f'{box.sandbox.id}.lock {{"who": "nobody"}}'
    stream = ana.claimed(box.sandbox, ["sh", "-c", 'printf %s "$1"; exit 75', "sh", said], "pull", stores[0])

    assert stream.read(1000, 20) == said.encode()
    assert stream.wait(20) == 75


def wait_until_free(driver: Driver, box: Box, store: Path) -> None:
    """A program that lost its line ends a moment later."""
    for _ in range(100):
        stream = driver.claimed(box.sandbox, ["true"], "pull", store)
        try:
            stream.read(1, 20)
        except SandboxFailed:
            time.sleep(0.1)
            continue
        finally:
            stream.close()
        return
    raise AssertionError("the lock is still held")
