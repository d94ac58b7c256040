"""Owns git's tree and commit objects as bytes: entries in git's order, nested folders from paths, commits of ours.
It must not read a file or a repository."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from pifleet.results.capture.packs import object_id

Entry = tuple[int, bytes]  # mode, id
Made = list[tuple[bytes, bytes]]  # (id, content) of trees, those inside before those around
TREE = 0o40000
EMPTY = object_id("tree", b"")
_WHO = "pifleet <pifleet@localhost>"


def tree_content(entries: Mapping[bytes, Entry]) -> bytes:
    """A tree's content; git sorts a folder as if its name ended in a slash."""
    order = sorted((name + b"/" if mode == TREE else name, mode, name, oid) for name, (mode, oid) in entries.items())
    return b"".join([b"%o %s\0%s" % (mode, name, oid) for _, mode, name, oid in order])


def entries_of(content: bytes) -> dict[bytes, Entry]:
    """The entries of a tree's content."""
    found = {}
    at = 0
    while at < len(content):
        end = content.index(b"\0", at)
        mode, _, name = content[at:end].partition(b" ")
        found[name] = int(mode, 8), content[end + 1 : end + 21]
        at = end + 21
    return found


def nest(files: Iterable[tuple[bytes, Entry]]) -> dict[bytes, Any]:
    """Paths as nested folders: name -> Entry, or a dict for a folder."""
    root: dict[bytes, Any] = {}
    for path, entry in files:
        *folders, name = path.split(b"/")
        inner = root
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = entry
    return root


def write(nested: Mapping[bytes, Any], made: Made) -> bytes:
    """The id of a nested folder's tree; it and all trees in it are added to `made`."""
    entries = {name: (TREE, write(entry, made)) if isinstance(entry, dict) else entry for name, entry in nested.items()}
    content = tree_content(entries)
    made.append((object_id("tree", content), content))
    return made[-1][0]


def commit_content(tree: bytes, parents: Iterable[str], name: str) -> bytes:
    """A commit of ours; its time is now."""
    now = f"{_WHO} {time.time():.0f} +0000"
    lines = [f"tree {tree.hex()}", *(f"parent {oid}" for oid in parents), f"author {now}", f"committer {now}"]
    return ("\n".join(lines) + f"\n\n{name}\n").encode()
