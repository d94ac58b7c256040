"""Owns writing uploaded files inside a sandbox, as its user: what is in the way is named before any writing.
It is sent over an exec and runs alone, on Python 3.9 and the standard library, for every pattern.

One request, a line of JSON, arrives on standard input, then the files' bytes, one after the other.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

NAMED = 20
CHUNK = 1 << 20

Json = dict[str, Any]


def main(request: Json, source: BinaryIO) -> None:
    """Write the request's entries below `dest`, existing files only with `force`."""
    base, entries = Path(request["dest"]), request["entries"]
    there = [entry["path"] for entry in entries if in_the_way(base / entry["path"], entry["kind"])]
    if there and not request["force"]:
        return say({"exists": there[:NAMED], "more": max(0, len(there) - NAMED)})
    say({"go": True})
    try:
        base.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            write(base / entry["path"], entry, source, force=request["force"])
    except OSError as error:
        return say({"error": f"{error.filename or base}: {error.strerror or error}"})
    return say({"written": sum(entry["kind"] != "dir" for entry in entries)})


def in_the_way(path: Path, kind: str) -> bool:
    """Whether something is there that writing would replace; a folder is not in the way of a folder."""
    return os.path.lexists(path) and not (kind == "dir" and path.is_dir())


def write(path: Path, entry: Json, source: BinaryIO, *, force: bool) -> None:
    """Make one entry; a file appears whole or not at all."""
    if entry["kind"] == "dir":
        path.mkdir(mode=entry["mode"], exist_ok=True)
        return
    fresh = path.with_name(f".{path.name[:100]}.{os.getpid()}.new")
    try:
        if entry["kind"] == "link":
            fresh.symlink_to(entry["target"])
        else:
            copy(source, fresh, entry["size"], entry["mode"])
        if force:
            fresh.replace(path)
        else:
            os.link(fresh, path, follow_symlinks=False)
    finally:
        fresh.unlink(missing_ok=True)


def copy(source: BinaryIO, path: Path, size: int, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        while size:
            chunk = source.read(min(CHUNK, size))
            if not chunk:
                raise OSError(0, "the upload was cut off", str(path))
            file.write(chunk)
            size -= len(chunk)


def say(answer: Json) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer)
