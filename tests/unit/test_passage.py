"""The way from a sandbox's socket to its gateway's: whose token is right gets through, and nobody else."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pifleet import content

PASSAGE = content.root() / "roles" / "cluster" / "files" / "passage"
TOKEN, OTHER = "0" * 63 + "1", "0" * 63 + "2"


def until(path: Path) -> None:
    for _ in range(200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


class Ways:
    """Both ends in a folder, with a listener where the gateway's socket of sandbox `ana-main` would be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("tokens", "out", "sandboxes/ana-main/net", "sandboxes/bo-main/net"):
            (folder / name).mkdir(parents=True)
        (folder / "tokens" / "ana-main").write_text(TOKEN)
        (folder / "token").write_text(TOKEN)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.behind = socket.socket(socket.AF_UNIX)
        self.behind.bind(str(folder / "sandboxes/ana-main/net/model.sock"))
        self.behind.listen()
        self.behind.settimeout(10)
        self.door = self._run("enter", "--port", str(self.port), "--tokens", str(folder / "tokens"), "--sandboxes",
                              str(folder / "sandboxes"), "--open", str(folder / "open"))
        self.way = self._run("leave", "--to", f"model=127.0.0.1:{self.port}", "--name", "ana-main", "--token",
                             str(folder / "token"), "--sockets", str(folder / "out"))
        until(folder / "open")
        until(folder / "out" / "model.sock")

    def _run(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-I", str(PASSAGE), *words], stdout=subprocess.DEVNULL)

    def near(self) -> socket.socket:
        """A connection such as the sandbox's keeper makes."""
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(10)
        made.connect(str(self.folder / "out" / "model.sock"))
        return made

    def said(self, line: bytes) -> bytes:
        """What comes back from the door for a first line."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as made:
            made.sendall(line)
            made.shutdown(socket.SHUT_WR)
            try:
                return made.recv(100)
            except ConnectionResetError:
                return b""

    def end(self) -> None:
        self.behind.close()
        for one in (self.way, self.door):
            one.kill()
            one.wait()


@pytest.fixture
def ways(tmp_path: Path) -> Iterator[Ways]:
    made = Ways(tmp_path)
    yield made
    made.end()


def test_bytes_go_both_ways_and_each_end_is_told(ways: Ways) -> None:
    with ways.near() as near:
        near.sendall(b"asked")
        near.shutdown(socket.SHUT_WR)
        far, _ = ways.behind.accept()
        with far:
            assert (far.recv(100), far.recv(100)) == (b"asked", b"")
            far.sendall(b"answer")
        assert (near.recv(100), near.recv(100)) == (b"answer", b"")


@pytest.mark.parametrize("line", [
    f"ana-main {OTHER} model\n", f"bo-main {TOKEN} model\n", f"ana-main {TOKEN} egress\n", f"../tokens {TOKEN} model\n",
    f"ana-main {TOKEN} model", "\n", "GET / HTTP/1.1\n", "x" * 200_000, "ana-main  model\n",
])
def test_who_shows_no_token_of_its_own_gets_nowhere(ways: Ways, line: str) -> None:
    assert ways.said(line.encode()) == b""
    ways.behind.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ways.behind.accept()


def test_a_token_that_was_changed_counts_at_once(ways: Ways) -> None:
    (ways.folder / "tokens" / "ana-main").write_text(OTHER)
    with ways.near() as near:
        assert near.recv(100) == b""
    (ways.folder / "token").write_text(OTHER)
    with ways.near():
        ways.behind.accept()[0].close()


def test_told_to_end_the_door_lets_out_who_is_inside_and_nobody_in(ways: Ways) -> None:
    with ways.near() as near:
        near.sendall(b"asked")
        far, _ = ways.behind.accept()
        os.kill(ways.door.pid, signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", ways.port, timeout=5).connect()
        assert (ways.folder / "open").exists()
        far.sendall(b"late answer")
        far.close()
        near.shutdown(socket.SHUT_WR)
        assert near.recv(100) == b"late answer"
    assert ways.door.wait(10) == 0
    assert not (ways.folder / "open").exists()


def test_the_way_out_ends_when_told(ways: Ways) -> None:
    ways.way.terminate()
    assert ways.way.wait(5) == 0
