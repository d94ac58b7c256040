"""Ways into the OpenShell double's sandboxes: upload and download, plain ssh, a terminal; with the command's habits.

Each test is a fact that was seen with real binaries, and asks those where the environment names them.
"""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.openshell import Shell, until
from tests.lab.openshell.double import free_port

HOST = "openshell-box.default"
pytestmark = pytest.mark.usefixtures("box")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with an ignored file, an untracked one, a link and an executable."""
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / ".gitignore").write_text("ignored\n")
    (folder / "ignored").write_text("no\n")
    (folder / "link").symlink_to("run.sh")
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    (folder / "untracked").write_text("yes\n")
    return folder


def names(openshell: Shell, folder: str) -> set[str]:
    return set(openshell.exec("box", "ls", "-A", folder).text.split())


# Up and down


def test_an_upload_goes_through_git_unless_told_otherwise(openshell: Shell, repo: Path) -> None:
    openshell.ok("sandbox", "upload", "box", repo, "/workspace/filtered")
    assert names(openshell, "filtered/repo") == {"run.sh", ".gitignore", "link", "untracked"}
    openshell.ok("sandbox", "upload", "box", repo, "/workspace/whole", "--no-git-ignore")
    assert names(openshell, "whole/repo") == {"run.sh", ".gitignore", "link", "untracked", "ignored", ".git"}
    assert openshell.exec("box", "readlink", "whole/repo/link").text == "run.sh\n"
    assert openshell.exec("box", "stat", "-c", "%a", "whole/repo/run.sh").text == "755\n"


def test_an_upload_deletes_nothing(openshell: Shell, repo: Path) -> None:
    openshell.exec("box", "sh", "-c", "mkdir -p kept/repo && echo old > kept/repo/older")
    openshell.ok("sandbox", "upload", "box", repo, "/workspace/kept")
    assert "older" in names(openshell, "kept/repo")


def test_a_download_puts_contents_into_its_destination(openshell: Shell, tmp_path: Path) -> None:
    openshell.exec("box", "sh", "-c", "mkdir -p out/sub && echo a > out/sub/a && ln -s /etc/passwd out/link")
    (tmp_path / "down").mkdir()
    (tmp_path / "down" / "stale").write_text("stays\n")
    openshell.ok("sandbox", "download", "box", "/workspace/out", tmp_path / "down")
    assert (tmp_path / "down" / "sub" / "a").read_text() == "a\n"
    assert os.readlink(tmp_path / "down" / "link") == "/etc/passwd"
    assert (tmp_path / "down" / "stale").exists()


@pytest.mark.parametrize("source", ["/etc", "/workspace/../etc", "/workspace/escape"])
def test_nothing_outside_the_workspace_is_downloaded(openshell: Shell, tmp_path: Path, source: str) -> None:
    openshell.exec("box", "ln", "-sfn", "/etc", "escape")
    assert openshell("sandbox", "download", "box", source, tmp_path / "down").code == 1


def test_a_source_that_is_missing_is_an_error(openshell: Shell, tmp_path: Path) -> None:
    done = openshell("sandbox", "download", "box", "/workspace/nothing", tmp_path / "down")
    assert (done.code, "failed to resolve sandbox source path" in done.said) == (1, True)


# ssh


def test_the_printed_configuration_names_no_key_and_no_token(openshell: Shell) -> None:
    text = openshell.ssh_config("box").read_text()
    assert text.startswith(f"Host {HOST}\n")
    assert "ssh-proxy --gateway-name lab --name box --workspace default" in text
    assert "token" not in text.lower()


def test_ssh_keeps_exit_codes_and_any_amount_of_binary_input(openshell: Shell) -> None:
    assert openshell.ssh("box", HOST, "exit 7").code == 7
    assert openshell.ssh("box", HOST, "kill -9 $$").code == 1
    blob = os.urandom(3 << 20)
    assert openshell.ssh("box", HOST, "cat", given=blob).out == blob
    assert openshell.ssh("box", HOST, "true", given=blob).code == 0


def test_sftp_works(openshell: Shell, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("by sftp\n")
    done = openshell.run("sftp", "-q", "-F", openshell.ssh_config("box"), "-b", "-", HOST,
                         given=f"put {tmp_path}/up /workspace/sftp\n".encode())
    assert done.code == 0, done.err
    assert openshell.exec("box", "cat", "sftp").text == "by sftp\n"


def test_one_connection_carries_many_commands(openshell: Shell, tmp_path: Path) -> None:
    # A socket's path may not be long.
    socket_path = f"/tmp/pifleet-{os.getpid()}-master"
    share = ["-o", "ControlMaster=auto", "-o", f"ControlPath={socket_path}", "-o", "ControlPersist=20"]
    try:
        for number in range(30):
            assert openshell.ssh("box", *share, HOST, f"echo {number}").text == f"{number}\n"
    finally:
        openshell.ssh("box", *share, "-O", "exit", HOST)


def test_a_port_inside_is_reached_through_ssh(openshell: Shell) -> None:
    openshell.exec("box", "sh", "-c",
                   "setsid python3 -m http.server --bind 127.0.0.1 8999 >/dev/null 2>&1 </dev/null &")
    port = free_port()
    tunnel = subprocess.Popen(["ssh", "-F", openshell.ssh_config("box"), "-N", "-L", f"{port}:127.0.0.1:8999", HOST],
                              env=openshell.env())

    def answers() -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return False
            probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"200 OK" in probe.recv(4096)
    try:
        until(answers)
    finally:
        tunnel.kill()
        tunnel.wait()
        openshell.exec("box", "pkill", "-f", "http.server")


def test_there_are_twenty_connections_to_a_sandbox_and_no_more(openshell: Shell) -> None:
    held = [subprocess.Popen(["ssh", "-F", openshell.ssh_config("box"), HOST, "echo in; sleep 30"],
                             env=openshell.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL) for _ in range(23)]
    try:
        assert sorted(one.stdout.readline() for one in held if one.stdout) == [b""] * 3 + [b"in\n"] * 20
        done = openshell("sandbox", "upload", "box", openshell.ssh_config("box"), "/workspace/more")
        assert (done.code, "connection limit reached" in done.said) == (1, True)
    finally:
        for one in held:
            one.kill()
            one.wait()
    until(lambda: openshell.ssh("box", HOST, "true").code == 0)


def test_a_process_outlives_its_connection(openshell: Shell) -> None:
    client = subprocess.Popen(["ssh", "-tt", "-F", openshell.ssh_config("box"), HOST, "echo in; sleep 4545"],
                              env=openshell.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert client.stdout
    assert client.stdout.readline().strip() == b"in"
    client.kill()
    client.wait()
    time.sleep(1)
    assert openshell.exec("box", "pgrep", "-f", "sleep 4545").code == 0
    openshell.exec("box", "pkill", "-f", "sleep 4545")


# A terminal


def test_a_terminal_shows_the_main_process_and_leaves_it_running(openshell: Shell) -> None:
    words = [str(openshell.command), "sandbox", "create", "--name", "tui", "--from", "pi", "--", "pi"]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(openshell.home / "empty")
        os.execvpe(words[0], words, openshell.env())
    seen = b""

    def shown(what: bytes) -> bool:
        nonlocal seen
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 4096)
            except OSError:
                return True
        return what in seen

    until(lambda: shown(b"pi stands in"))
    os.write(terminal, b"\x10\x11")
    until(lambda: os.waitpid(child, os.WNOHANG)[0] == child or shown(b"\0never"))
    os.close(terminal)
    assert openshell.phase("tui") == "Ready"
    openshell.ok("sandbox", "delete", "tui")
