"""Owns what happens to files in a sandbox without git: edits, names, modes, links, swaps, logs, what no pull can take.
It must not run git."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.results.agent import Agent

Act = Callable[[Agent], object]
BIG = 2 << 20
IGNORED_BYTES = 64 << 10  # the limits of every history's pulls
FILE_BYTES = 6 << 20


def create(agent: Agent) -> None:
    agent.write(agent.new_path(agent.repository()))


def edit(agent: Agent) -> None:
    agent.write(agent.file(agent.repository()))


def append(agent: Agent) -> None:
    with agent.file(agent.repository()).open("ab") as file:
        file.write(agent.content())


def edit_unseen(agent: Agent) -> None:
    """Neither the size nor the time of the file tells."""
    path = agent.file(agent.repository())
    before = path.stat()
    path.write_bytes(agent.chance.randbytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def create_big(agent: Agent) -> None:
    agent.new_path(agent.repository()).write_bytes(agent.chance.randbytes(BIG + agent.chance.randrange(3)))


def patch_big(agent: Agent) -> None:
    for path in agent.files(agent.repository()):
        if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_size >= BIG:
            with path.open("r+b") as file:
                file.seek(agent.chance.randrange(BIG))
                file.write(agent.chance.randbytes(3000))


def rename(agent: Agent) -> None:
    root = agent.repository()
    target = agent.new_path(root)
    agent.file(root).rename(target)


def delete(agent: Agent) -> None:
    agent.file(agent.repository()).unlink()


def delete_folder(agent: Agent) -> None:
    if folders := agent.folders(agent.repository()):
        shutil.rmtree(agent.chance.choice(folders))


def change_mode(agent: Agent) -> None:
    path = agent.file(agent.repository())
    path.chmod(path.stat().st_mode ^ 0o111)


def make_link(agent: Agent) -> None:
    targets = ["a", "../a", "/etc/passwd", "missing", ".", "x" * 300, os.fsdecode(b"caf\xe9")]
    agent.new_path(agent.repository()).symlink_to(agent.chance.choice(targets))


def file_becomes_folder(agent: Agent) -> None:
    path = agent.file(agent.repository())
    path.unlink()
    path.mkdir()
    agent.write(path / "inside")


def folder_becomes_file(agent: Agent) -> None:
    if folders := agent.folders(agent.repository()):
        folder = agent.chance.choice(folders)
        shutil.rmtree(folder)
        agent.write(folder)


def file_becomes_link(agent: Agent) -> None:
    path = agent.file(agent.repository())
    if path.name != ".gitmodules":  # that one cannot come home, which the corpus tells
        path.unlink()
        path.symlink_to("README.md")


def make_empty_folder(agent: Agent) -> None:
    (agent.repository() / "empty/inner").mkdir(parents=True, exist_ok=True)


def loose_file(agent: Agent) -> None:
    agent.write(agent.new_path(agent.box.workspace))


def new_session(agent: Agent) -> None:
    folder = agent.box.sessions / f"--workspace-{agent.chance.randrange(3)}--"
    folder.mkdir(exist_ok=True)
    agent.write(folder / f"{agent.chance.randrange(5)}.jsonl")


def log_grows(agent: Agent) -> None:
    with agent.file(agent.box.sessions).open("ab") as file:
        file.write(b'{"type": "message", "text": "%d"}\n' % agent.chance.randrange(1000) * 50)


def session_deleted(agent: Agent) -> None:
    agent.file(agent.box.sessions).unlink()


def ignore(agent: Agent) -> None:
    root = agent.repository()
    rules = ["*.log\nbuild/\nnode_modules/\n", "*\n", "node_modules\n", ""]
    _write_rules(root / ".gitignore", agent.chance.choice(rules))
    for name in ("x.log", "build/deep/out", "node_modules/m.js"):
        path = root / name
        if not any(place.exists() and not place.is_dir() for place in path.parents) and not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            agent.write(path)


def attributes(agent: Agent) -> None:
    lines = ["* text=auto\n", "*.txt ident\n", "* filter=shout\n", "*.md working-tree-encoding=UTF-16\n"]
    _write_rules(agent.repository() / ".gitattributes", agent.chance.choice(lines))


def move_repository(agent: Agent) -> None:
    root = agent.chance.choice(agent.repositories())
    if root not in (agent.box.api, agent.box.workspace):
        root.rename(agent.box.workspace / f"moved{agent.chance.randrange(1_000_000)}")


def delete_repository(agent: Agent) -> None:
    root = agent.chance.choice(agent.repositories())
    if root not in (agent.box.api, agent.box.workspace):
        shutil.rmtree(root)


def make_fifo(agent: Agent) -> None:
    os.mkfifo(agent.new_path(agent.repository()))


def make_oversize(agent: Agent) -> None:
    with agent.new_path(agent.repository()).open("wb") as file:
        file.truncate(FILE_BYTES + 1)


def ignore_too_much(agent: Agent) -> None:
    root = agent.repository()
    _write_rules(root / ".gitignore", "*.log\n")
    path = root / "huge.log"
    if not path.is_dir():
        path.write_bytes(agent.chance.randbytes(IGNORED_BYTES + 1))


def name_like_git(agent: Agent) -> None:
    folder = agent.repository() / ".GIT"
    if not folder.exists():
        folder.mkdir()
        agent.write(folder / "config")


def _write_rules(path: Path, text: str) -> None:
    """A file that git obeys; what an earlier act made of it, a folder or a link in a circle, stays."""
    with suppress(OSError):
        path.write_text(text)


def removed(workspace: Path, hurdle: bytes) -> None:
    """Take away what no pull can take along."""
    path = workspace / os.fsdecode(hurdle)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


ACTS: dict[Act, int] = {
    create: 10, edit: 10, append: 5, edit_unseen: 3, create_big: 1, patch_big: 1, rename: 4, delete: 4,
    delete_folder: 2, change_mode: 3, make_link: 3, file_becomes_folder: 2, folder_becomes_file: 2,
    file_becomes_link: 1, make_empty_folder: 1, loose_file: 3, new_session: 2, log_grows: 4, session_deleted: 1,
    ignore: 3, attributes: 2, move_repository: 1, delete_repository: 1,
}
HURDLES: dict[Act, int] = {make_fifo: 1, make_oversize: 1, ignore_too_much: 1, name_like_git: 1}
