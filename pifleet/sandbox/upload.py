"""Owns uploads: what of this machine is sent into a sandbox, and what came of it.
It must not follow a link here; inside, everything is done as the sandbox's own user."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pifleet.errors import BadInput, Mistakes, Refused
from pifleet.fleet import Sandbox
from pifleet.sandbox import WORKSPACE, Driver
from pifleet.sandbox.inside import ask, misshapen

CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One thing to send: `path` below the destination, `local` here; `size` in bytes of a file, `target` of a link."""

    path: str
    local: Path
    kind: str
    mode: int
    size: int = 0
    target: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "kind": self.kind, "mode": self.mode, "size": self.size, "target": self.target}


def entries_of(local: Path) -> tuple[Entry, ...]:
    """A file, or a folder with everything in it, under its own name. Raises BadInput for what cannot be sent."""
    mistakes = Mistakes()
    found = tuple(_entries(local, local.absolute().name, mistakes))
    mistakes.raise_any("not everything there can be uploaded")
    return found


def put(driver: Driver, sandbox: Sandbox, entries: Sequence[Entry], dest: str = "", *, force: bool = False) -> str:
    """Write the entries into the folder `dest` inside (relative: to the workspace), which is made when it is missing.

    Returns the folder. Raises Refused, with nothing written, when files are in the way and not `force`; SandboxFailed.
    """
    folder = str(PurePosixPath(WORKSPACE, dest))
    request = {"dest": folder, "force": force, "entries": [entry.as_json() for entry in entries]}
    answer = next(ask(driver, sandbox, "put", request, body=_Bytes(entries)), {})
    there, more = answer.get("exists"), answer.get("more")
    if isinstance(there, list):
        also = f"\nand {more} more" if isinstance(more, int) and more > 0 else ""
        raise Refused(f"{sandbox.title} has such files already; nothing was written", where=folder,
                      saw="\n".join(map(str, there)) + also, try_="the same command with --force")
    if answer.get("written") != sum(entry.kind != "dir" for entry in entries):
        raise misshapen(sandbox)
    return folder


class _Bytes:
    """The files' bytes, read as they are sent; each file exactly as long as it was said to be."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[bytes]:
        for entry in self._entries:
            if entry.kind == "file":
                yield from _read(entry)


def _read(entry: Entry) -> Iterator[bytes]:
    left = entry.size
    with os.fdopen(os.open(entry.local, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise BadInput(f"{entry.local} became shorter while it was read", try_="the same command again")
            left -= len(chunk)
            yield chunk


def _entries(local: Path, path: str, mistakes: Mistakes) -> Iterator[Entry]:
    try:
        status = local.lstat()
        mode = stat.S_IMODE(status.st_mode) & 0o777
        if stat.S_ISREG(status.st_mode):
            local.open("rb").close()
            yield Entry(path, local, "file", mode, status.st_size)
        elif stat.S_ISLNK(status.st_mode):
            yield Entry(path, local, "link", mode, target=str(local.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            yield Entry(path, local, "dir", mode | 0o700)
            for child in sorted(local.iterdir()):
                yield from _entries(child, f"{path}/{child.name}", mistakes)
        else:
            mistakes.add(str(local), "a device, socket or pipe", "upload files, folders and links")
    except OSError as error:
        mistakes.add(str(local), str(error.strerror), "name a file or folder that can be read")
