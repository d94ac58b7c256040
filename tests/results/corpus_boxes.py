"""Owns the boxes of the corpus that no other test makes: each is pulled as its case says.
It must not judge the outcome, which is the table's; it checks what only it knows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pifleet.results import Pull
from pifleet.stream import LocalStream
from tests.results.box import Box, everything, git
from tests.results.forge import FILE, FOLDER, LINK, Forge, replaying

NOBODY = 65534


def _forged(box: Box, make: Callable[[Forge], bytes]) -> Pull:
    forge = Forge()
    try:
        return box.pull(open_stream=lambda _: replaying(make(forge), box.base))
    finally:
        forge.close()


def no_zero_in_names(box: Box) -> Pull:
    (box.api / "a").write_text("a\n")
    done = box.pull()
    assert b"\0" not in b"".join(os.listdir(os.fsencode(box.api)))
    return done


def depth_1500(box: Box) -> Pull:
    folder = os.open(box.api, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    try:
        return box.pull()
    finally:
        subprocess.run(["rm", "-r", box.api / "d"], check=True)  # deeper than Python's own rmtree can go


def c1_control_name(box: Box) -> Pull:
    (box.api / "a\x9b31mb").write_text("x\n")
    return box.pull()


def windows_reserved(box: Box) -> Pull:
    for name in ("CON", "nul.txt", "COM1", "a:b", "what?"):
        (box.api / name).write_text(name)
    done = box.pull()
    assert box.stored("snapshot", "nul.txt", 2) == "nul.txt"
    return done


def nfc_nfd_twins(box: Box) -> Pull:
    (box.api / "\u00e9").write_text("composed")
    (box.api / "e\u0301").write_text("decomposed")
    done = box.pull()
    assert (box.stored("snapshot", "\u00e9", 2), box.stored("snapshot", "e\u0301", 2)) == ("composed", "decomposed")
    return done


def link_through_link(box: Box) -> Pull:
    (box.api / "deep/er").mkdir(parents=True)
    (box.api / "deep/er/up").symlink_to("../..")
    (box.api / "lnk").symlink_to("deep/er/up")
    (box.api / "esc").symlink_to("lnk/../x")
    return box.pull()


def link_replaces_folder(box: Box) -> Pull:
    (box.api / "place").mkdir()
    (box.api / "place/file").write_text("kept\n")
    box.pull()
    shutil.rmtree(box.api / "place")
    (box.api / "place").symlink_to("README.md")
    done = box.pull()
    assert (box.stored("snapshot", "place/file", 2), box.stored("snapshot", "place", 3)) == ("kept", "README.md")
    return done


def hard_link_pair(box: Box) -> Pull:
    os.link(box.api / "README.md", box.api / "twin")
    done = box.pull()
    assert box.stored("snapshot", "twin", 2) == "hello"
    return done


def pathmax_chain(box: Box) -> Pull:
    """A path that grows beyond what the system resolves, so that a careless check of its end sees nothing."""
    def make(forge: Forge) -> bytes:
        tree = forge.tree((LINK, b"escape", forge.blob(b"/".join([b"l"] * 14) + b"/.." * 14 + b"/../victim")))
        for _ in range(14):
            tree = forge.tree((FOLDER, b"d" * 240, tree), (LINK, b"l", forge.blob(b"d" * 240)))
        return forge.answer(forge.unit(tree))
    return _forged(box, make)


def device(box: Box) -> Pull:
    if os.getuid():
        pytest.skip("a device is made by root only")
    os.mknod(box.api / "null", 0o20666, os.makedev(1, 3))
    return box.pull()


@contextmanager
def _of_another_user(box: Box) -> Iterator[Callable[..., LocalStream]]:
    """An exec as a user without rights, in a copy of the box that this user may read."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if os.getuid() or not python or not shutil.which("setpriv"):
        pytest.skip("another user is played by root only, with setpriv and the system's Python")
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o755)
        for folder in (box.workspace, box.home):
            shutil.move(folder, base)
        box.workspace, box.home = Path(base, "workspace"), Path(base, "home")
        box.sessions, box.api = box.home / ".pi/agent/sessions", box.workspace / "api"
        for path in (box.home, *box.home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python]
        yield lambda argv: LocalStream([*become, *argv[1:]], env={"PATH": "/usr/bin:/bin", "HOME": str(box.home)})


def unreadable(box: Box) -> Pull:
    with _of_another_user(box) as stream:
        (box.api / "locked").write_text("secret\n")
        (box.api / "locked").chmod(0o600)
        return box.pull(open_stream=stream)


def folder_without_rights(box: Box) -> Pull:
    with _of_another_user(box) as stream:
        (box.api / "locked").mkdir(mode=0o700)
        (box.api / "locked/file").write_text("secret\n")
        return box.pull(open_stream=stream)


def owned_by_another(box: Box) -> Pull:
    with _of_another_user(box) as stream:
        (box.api / "README.md").write_text("changed\n")
        return box.pull(open_stream=stream)


def no_git(box: Box) -> Pull:
    python = str(Path(shutil.which("python3") or "python3"))
    return box.pull(open_stream=lambda argv: LocalStream([python, *argv[1:]], env={"PATH": "/nonexistent",
                                                                                   "HOME": str(box.home)}))


def zstd_frame(box: Box) -> Pull:
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    return _forged(box, lambda forge: skippable + forge.answer(forge.unit(forge.tree())))


def tag_like_ours(box: Box) -> Pull:
    git(box.api, "tag", "v1")
    git(box.api, "update-ref", "refs/heads/sandbox/ana-main/gen/1/generation", "HEAD")
    done = box.pull()
    names = box.home_git("for-each-ref", "--format=%(refname)").splitlines()
    assert all(name.startswith("refs/sandbox/ana-main/gen/") for name in names)
    return done


def _meanwhile(box: Box, act: Callable[[int], None]) -> Pull:
    """A pull while something else keeps acting, then a quiet one: complete, or what changed is named."""
    stop = threading.Event()

    def work() -> None:
        turn = 0
        while not stop.is_set():
            act(turn)
            turn += 1

    worker = threading.Thread(target=work)
    worker.start()
    first = box.pull()
    stop.set()
    worker.join()
    assert first.complete or {item.reason for item in first.incomplete} == {"changed"}
    return box.pull()


def file_comes_and_goes(box: Box) -> Pull:
    def act(turn: int) -> None:
        path = box.api / f"file{turn % 50}"
        path.write_text("x" * turn)
        path.unlink()
    return _meanwhile(box, act)


def log_grows_meanwhile(box: Box) -> Pull:
    def act(turn: int) -> None:
        with (box.sessions / "one.jsonl").open("a") as log:
            log.write(f'{{"turn": {turn}}}\n')
    return _meanwhile(box, act)


def everything_deleted(box: Box) -> Pull:
    for folder in (box.workspace, box.sessions):
        shutil.rmtree(folder)
        folder.mkdir()
    done = box.pull()
    receipt = json.loads(box.home_git("cat-file", "blob", "refs/sandbox/ana-main/gen/2/generation:receipt.json"))
    assert (done.generation, receipt["gone"], box.stored("snapshot", "README.md", 1)) == (2, ["api"], "hello")
    return done


def attributes_folder(box: Box) -> Pull:
    (box.api / ".gitattributes").mkdir()
    (box.api / ".gitattributes/file").write_text("odd\n")
    return box.pull()


def attributes_long_line(box: Box) -> Pull:
    (box.api / ".gitattributes").write_text("x " * 2000 + "\n")
    return box.pull()


def modules_folder(box: Box) -> Pull:
    (box.api / ".gitmodules").mkdir()
    (box.api / ".gitmodules/file").write_text("odd\n")
    return box.pull()


def modules_bad_name(box: Box) -> Pull:
    (box.api / ".gitmodules").write_text('[submodule "../../x"]\n\tpath = a\n\turl = -u./evil\n')
    return box.pull()


def _submodule(box: Box) -> Path:
    origin = box.base / "origin"
    origin.mkdir()
    git(origin, "init", "-q")
    box.commit("sub.txt", "sub\n", origin)
    git(box.api, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin), "sub")
    return box.api / "sub"


def modules_in_conflict(box: Box) -> Pull:
    _submodule(box)
    (box.api / ".gitmodules").write_text("<<<<<<< ours\n=======\n>>>>>>> theirs\n")
    return box.pull()


def _at_home(box: Box, oid: str, done: Pull) -> Pull:
    """The commit is there, or the pull says that it is not complete."""
    asked = ["git", "--git-dir", str(box.results / ".store/ana-main.git"), "cat-file", "-e", oid]
    assert subprocess.run(asked, check=False).returncode == 0 or not done.complete, f"{oid} is lost and nobody says so"
    return done


def stash_packed_then_dropped(box: Box) -> Pull:
    (box.api / "README.md").write_text("stashed\n")
    git(box.api, "stash", "-q")
    oid = git(box.api, "rev-parse", "stash").decode()
    git(box.api, "gc", "-q")
    git(box.api, "stash", "drop", "-q")
    return _at_home(box, oid, box.pull())


def branch_packed_then_deleted(box: Box) -> Pull:
    git(box.api, "worktree", "add", "-q", "-b", "side", "../side")
    oid = box.commit("work", "work\n", box.workspace / "side")
    git(box.api, "gc", "-q")
    git(box.api, "worktree", "remove", "--force", "../side")
    git(box.api, "branch", "-q", "-D", "side")
    return _at_home(box, oid, box.pull())


def submodule_deinitialized(box: Box) -> Pull:
    oid = box.commit("work", "work\n", _submodule(box))
    git(box.api, "commit", "-q", "-m", "a submodule")
    git(box.api, "submodule", "deinit", "-q", "-f", "sub")
    return _at_home(box, oid, box.pull())


def split_index(box: Box) -> Pull:
    git(box.api, "update-index", "--split-index")
    (box.api / "new").write_text("new\n")
    git(box.api, "add", "new")
    os.utime(next(box.api.glob(".git/sharedindex.*")), (1, 1))
    before = everything(box.workspace)
    done = box.pull()
    assert everything(box.workspace) == before
    return done


def annotated_tag_of_odd_name(box: Box) -> Pull:
    git(box.api, "tag", "-a", "-m", "a note", "odd'tag")
    return box.pull()


def workspace_is_a_file(box: Box) -> Pull:
    shutil.rmtree(box.workspace)
    box.workspace.write_text("a file\n")
    return box.pull()


def _blocks(forge: Forge, listed: bytes, mode: str = FILE) -> bytes:
    """An answer with one big file of the block "evil"; in the list, TREE stands for the tree of its blocks."""
    blocks = forge.nested(b"000000/00", mode, forge.blob())
    entries = [(FOLDER, blocks.encode(), blocks), (FILE, b"list", forge.blob(listed.replace(b"TREE", blocks.encode())))]
    made = forge.commit(forge.tree(*entries))
    snapshot = forge.commit(forge.tree())
    return forge.answer(forge.unit("", snapshot=snapshot, blocks=made, pack=forge.pack(snapshot, made)))


def block_list_of_noise(box: Box) -> Pull:
    return _forged(box, lambda forge: _blocks(forge, b"\xff\xff{"))


def block_list_names_a_stranger(box: Box) -> Pull:
    return _forged(box, lambda forge: _blocks(forge, b'[["snapshot", "big", 33188, 5, "%s"]]' % (b"1" * 40)))


def block_list_size_lies(box: Box) -> Pull:
    return _forged(box, lambda forge: _blocks(forge, b'[["snapshot", "big", 33188, 5000000, "TREE"]]'))


def block_list_leaves_the_tree(box: Box) -> Pull:
    return _forged(box, lambda forge: _blocks(forge, b'[["snapshot", "../../escaped", 33188, 5, "TREE"]]'))


def block_is_a_link(box: Box) -> Pull:
    return _forged(box, lambda forge: _blocks(forge, b'[["snapshot", "big", 33188, 5, "TREE"]]', LINK))
