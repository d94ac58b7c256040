"""Owns what lies in a git directory as files: a digest by which it is known again, and the repositories inside it.
It must not read what is in them, but for where they lead, or run git.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

_MOST = 20_000  # beyond, git itself is asked


def mark_of(git_dir: bytes, young: int) -> str:
    """The digest; "" where it is not to be believed: something is younger than `young`, in nanoseconds, or a link.

    That of a folder of objects says whether any has come or gone. What LFS keeps is looked at file by file elsewhere.
    """
    digest = hashlib.sha256()
    count = 0
    try:
        folders = [(top, b"") for top in _tops(git_dir)]
        while folders:
            full, kind = folders.pop()
            digest.update(b"%s\n" % full)
            children = sorted(os.scandir(full), key=lambda child: child.name)
            if not kind and {b"objects", b"refs"} <= {child.name for child in children}:
                kind = b"git"
            for child in children:
                seen = child.stat(follow_symlinks=False)
                count += 1
                if count > _MOST or child.is_symlink() or max(seen.st_mtime_ns, seen.st_ctime_ns) > young:
                    return ""
                facts = (seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
                digest.update(b"%s\0%d %d %d %d %d\n" % (child.name, *facts))
                inner = _kind(kind, child.name)
                if inner is not None and child.is_dir(follow_symlinks=False):
                    folders.append((child.path, inner))
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()


def _kind(outer: bytes, name: bytes) -> bytes | None:
    """What a folder is, by that around it: b"" may be a git directory of its own; None need not be looked into."""
    if outer == b"git":
        return {b"objects": name, b"refs": b"names", b"logs": b"names", b"hooks": None, b"lfs": None}.get(name, b"")
    if outer == b"objects":
        return b"names" if name == b"info" else None
    return outer


def _tops(git_dir: bytes) -> list[bytes]:
    """The git directory that is meant, and the one that a linked worktree shares. Raises OSError, ValueError."""
    if os.path.isfile(git_dir):
        git_dir = _led(git_dir, b"gitdir: ")
    shared = os.path.join(git_dir, b"commondir")
    return [git_dir, _led(shared, b"")] if os.path.isfile(shared) else [git_dir]


def _led(path: bytes, word: bytes) -> bytes:
    """Where a file of one line leads."""
    with open(path, "rb") as file:
        line = file.read(1 << 16).rstrip(b"\r\n")
    if not line.startswith(word):
        raise ValueError(path)
    return os.path.realpath(os.path.join(os.path.dirname(path), line[len(word) :]))


def git_folders(folder: bytes, depth: int) -> Iterator[bytes]:
    """Every folder below (not through links) that git would take for a repository."""
    try:
        children = [child for child in os.scandir(folder) if child.is_dir(follow_symlinks=False)]
    except OSError:
        return
    if {b"objects", b"refs"} <= {child.name for child in children}:
        yield folder
    elif depth:
        for child in children:
            yield from git_folders(child.path, depth - 1)
    if {b"objects", b"refs", b"modules"} <= {child.name for child in children} and depth:
        yield from git_folders(os.path.join(folder, b"modules"), depth - 1)


def plain_files(full: bytes, rel: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(path below `rel`, full path) of a file, or of all files in a folder, links left out."""
    if os.path.islink(full):
        return
    if os.path.isdir(full):
        for name in sorted(os.listdir(full)):
            yield from plain_files(os.path.join(full, name), rel + b"/" + name)
    elif os.path.isfile(full):
        yield rel, full
