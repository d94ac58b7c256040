"""The probe as it is shipped: one program on a bare Python, against paths that a hostile sandbox has prepared."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pifleet.observe import LOADER, payload
from pifleet.secret import Secret

SHA = "a" * 40


def spec(root: Path, **parts) -> dict:
    empty = {key: [] for key in ("users", "dirs", "files", "secrets", "packages", "services", "sockets", "filters",
                                 "clients", "sandboxes")}
    return {"fleet": "acme", "host": "here", "root": str(root), "image": {"name": "pifleet/pi:none"}, **empty, **parts}


def probed(wanted: dict, python: str = sys.executable, first: str = "") -> dict:
    """The probe's answer; `first` is done to it before it looks."""
    program = LOADER.replace("module.main", f"{first}; module.main") if first else LOADER
    done = subprocess.run([python, "-IS", "-c", program], input=payload(wanted, "nonce"), capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    before, _, answer = done.stdout.partition(b"\nnonce\n")
    assert before == b""
    return json.loads(answer)


def path_entry(path: Path) -> dict:
    return {"path": str(path), "content": "never sent", "part": "x"}


def heads(root: Path, names=("api",)) -> dict:
    box = {"id": "ana-main", "title": "ana/main", "container": {"name": "pi-ana-main"},
           "repos": [{"name": name} for name in names]}
    return probed(spec(root, sandboxes=[box]))["repos"]["ana/main"]


@pytest.fixture
def git(tmp_path) -> Path:
    folder = tmp_path / "sandboxes/ana-main/workspace/api/.git"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["this", "python3.9", "python3.13"])
def test_the_probe_runs_without_site_packages_and_says_what_machine_this_is(tmp_path, name):
    python = sys.executable if name == "this" else shutil.which(name)
    if not python or subprocess.run([python, "-V"], capture_output=True, check=False).returncode:
        pytest.skip(f"no {name} here")
    version = subprocess.check_output([python, "-c", "import platform; print(platform.python_version())"], text=True)
    seen = probed(spec(tmp_path / "not" / "made" / "yet"), python)
    assert seen["probe"] == 1
    assert seen["kernel"] == os.uname().release
    assert seen["python"] == version.strip()
    assert seen["memory"] > 1 << 28
    assert seen["disk"][str(tmp_path / "not" / "made" / "yet")]["size"] > 0


def test_paths_are_told_by_what_they_are_and_files_by_their_content(tmp_path):
    (tmp_path / "file").write_text("text", encoding="utf-8")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    names = ["file", "link", "missing"]
    seen = probed(spec(tmp_path, files=[path_entry(tmp_path / name) for name in names]))["paths"]
    assert seen[str(tmp_path / "file")] == {
        "type": "file", "mode": "0640", "uid": os.getuid(), "gid": os.getgid(),
        "sha256": hashlib.sha256(b"text").hexdigest()}
    assert seen[str(tmp_path / "link")]["type"] == "link"
    assert "sha256" not in seen[str(tmp_path / "link")]
    assert seen[str(tmp_path / "missing")] is None


def test_a_secret_is_answered_under_the_nonce_only(tmp_path):
    (tmp_path / "key.conf").write_text("key s3cret;\n", encoding="utf-8")
    seen = probed(spec(tmp_path, secrets=[path_entry(tmp_path / "key.conf")]))["paths"][str(tmp_path / "key.conf")]
    assert seen["hmac"] == Secret("s3cret").keyed_hash("nonce", "key {};\n")
    assert "sha256" not in seen


def test_a_fifo_a_device_and_a_huge_file_neither_hang_nor_mislead(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    names = [tmp_path / "fifo", tmp_path / "huge", Path("/dev/zero")]
    began = time.monotonic()
    seen = probed(spec(tmp_path, files=[path_entry(name) for name in names]))["paths"]
    assert time.monotonic() - began < 10
    assert seen[str(tmp_path / "fifo")]["type"] == "other"
    assert seen[str(tmp_path / "huge")]["sha256"] == "too large"
    assert seen["/dev/zero"]["type"] == "other"


def test_a_link_on_the_way_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x", encoding="utf-8")
    (tmp_path / "alias").symlink_to("real")
    seen = probed(spec(tmp_path, files=[path_entry(tmp_path / "alias" / "file")]))["paths"]
    assert seen[str(tmp_path / "alias" / "file")]["type"] == "link"


def test_the_head_of_a_real_repository_is_read_without_git(tmp_path):
    work = tmp_path / "sandboxes/ana-main/workspace/api"
    work.mkdir(parents=True)

    def git(*words: str) -> str:
        return subprocess.check_output(["git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@b", *words],
                                       text=True, stderr=subprocess.DEVNULL).strip()

    git("init", "-b", "feature/x")
    assert heads(tmp_path) == {"api": {"head": "", "branch": "feature/x"}}
    git("commit", "--allow-empty", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert heads(tmp_path) == {"api": {"head": commit, "branch": "feature/x"}}
    git("pack-refs", "--all")
    assert heads(tmp_path) == {"api": {"head": commit, "branch": "feature/x"}}
    git("checkout", "--detach")
    assert heads(tmp_path) == {"api": {"head": commit, "branch": ""}}


def test_a_repository_that_was_never_cloned_is_null(tmp_path):
    assert heads(tmp_path) == {"api": None}


def test_a_head_that_cannot_be_believed_says_nothing(tmp_path):
    workspace = tmp_path / "sandboxes/ana-main/workspace"
    hostile = [
        "ref: ../../../../secret", "ref: refs/heads/../../../../secret", "ref: refs/heads/a//b", "x" * 100_000,
        "ref: refs/heads/\x1b[31m", "g" * 40, "", "\0", "ref: refs/heads/" + "a" * 300, "ref: /etc/hostname",
    ]
    for number, text in enumerate(hostile):
        (workspace / str(number) / ".git").mkdir(parents=True)
        (workspace / str(number) / ".git/HEAD").write_text(text, encoding="utf-8")
    (workspace / "secret").write_text(SHA, encoding="utf-8")
    names = [str(number) for number in range(len(hostile))]
    assert heads(tmp_path, names) == {name: {"head": "", "branch": ""} for name in names}


def test_a_head_or_ref_that_is_a_link_or_a_fifo_is_not_read(tmp_path, git):
    (tmp_path / "outside").write_text(SHA, encoding="utf-8")
    (git / "HEAD").symlink_to(tmp_path / "outside")
    assert heads(tmp_path) == {"api": {"head": "", "branch": ""}}
    (git / "HEAD").unlink()
    (git / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/main").symlink_to(tmp_path / "outside")
    assert heads(tmp_path) == {"api": {"head": "", "branch": "main"}}
    (git / "refs/heads/main").unlink()
    os.mkfifo(git / "refs/heads/main")
    assert heads(tmp_path) == {"api": {"head": "", "branch": "main"}}


def test_a_git_folder_that_is_a_file_pointing_elsewhere_is_not_followed(tmp_path, git):
    git.rmdir()
    git.write_text(f"gitdir: {tmp_path}\n", encoding="utf-8")
    (tmp_path / "HEAD").write_text(SHA, encoding="utf-8")
    assert heads(tmp_path) == {"api": {"head": "", "branch": ""}}


@pytest.fixture
def listener(tmp_path):
    """A unix socket that answers each connection with the given function."""
    servers = []

    def listen(answer) -> Path:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / "model.sock"))
        server.listen()
        servers.append(server)

        def serve() -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                answer(peer)

        threading.Thread(target=serve, daemon=True).start()
        return tmp_path / "model.sock"

    yield listen
    for server in servers:
        server.close()


def health(path: Path, root: Path, first: str = "") -> dict:
    wanted = spec(root, sockets=[{"path": str(path), "ask": "/health", "status": 200}])
    return probed(wanted, first=first)["sockets"][str(path)]


def test_a_model_socket_is_asked_for_its_health(tmp_path, listener):
    path = listener(lambda peer: peer.recv(999) and peer.sendall(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nabc123\n"))
    assert health(path, tmp_path) == {"answers": True, "answer": "abc123"}


@pytest.mark.parametrize("reply", [b"HTTP/1.1 502 Bad\r\n\r\nabc", b"", b"\xff" * 9000, b"HTTP/1.1"])
def test_a_model_socket_that_does_not_answer_200_does_not_answer(tmp_path, listener, reply):
    assert health(listener(lambda peer: peer.sendall(reply)), tmp_path) == {"answers": False, "answer": ""}


def test_a_model_socket_that_hangs_or_drips_is_given_up(tmp_path, listener):
    def drip(peer) -> None:
        for _ in range(100):
            peer.sendall(b"H")
            time.sleep(0.2)

    seen = health(listener(drip), tmp_path, first="module.SOCKET_SECONDS = 0.5")
    assert seen == {"answers": False, "answer": ""}


def test_a_plain_file_in_place_of_a_socket_does_not_answer(tmp_path):
    (tmp_path / "model.sock").write_text("HTTP/1.1 200 OK", encoding="utf-8")
    assert health(tmp_path / "model.sock", tmp_path) == {"answers": False, "answer": ""}


def test_accounts_are_seen_and_those_of_others_are_named(tmp_path):
    users = [{"name": "root", "uid": 1900000001, "gecos": "pifleet:acme", "system": False},
             {"name": "pi-nobody-here", "uid": 0, "gecos": "pifleet:acme", "system": False}]
    seen = probed(spec(tmp_path, users=users))
    assert seen["users"]["root"]["uid"] == 0
    assert seen["users"]["pi-nobody-here"] is None
    assert seen["foreign"] == [
        "account root exists and is not this fleet's (its comment is 'root')",
        "uid 0 of pi-nobody-here belongs to account root"]


def test_commands_are_looked_for_where_root_would_find_them(tmp_path):
    packages = [{"name": "coreutils", "command": "ls"}, {"name": "nothing", "command": "no-such-command"}]
    assert probed(spec(tmp_path, packages=packages))["packages"] == {"coreutils": True, "nothing": False}


def test_what_cannot_be_seen_is_null_with_a_reason(tmp_path):
    seen = probed(spec(tmp_path, users=[{"name": "a\0b", "uid": 1900000001, "gecos": "x"}]))
    assert seen["users"] == {"a\0b": None}
    assert "embedded null" in seen["unknown"]["users/a\0b"]


def test_a_part_that_takes_too_long_is_unknown_and_the_others_are_seen(tmp_path):
    wanted = spec(tmp_path, users=[{"name": "root", "uid": 0, "gecos": ""}, {"name": "x", "uid": 1, "gecos": ""}],
                  packages=[{"name": "coreutils", "command": "ls"}])
    slow = "import time; module.looking.SECTION_SECONDS = 0.2; module._user = lambda name: time.sleep(60)"
    seen = probed(wanted, first=slow)
    assert seen["users"] == {"root": None, "x": None}
    assert "took more than" in seen["unknown"]["users/root"]
    assert seen["packages"] == {"coreutils": True}
