"""Owns trees of a store laid over each other, each at its place: read as one tree, folder by folder.
It must not judge a name or a link, nor touch a disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from pifleet.results.limits import Refusal
from pifleet.results.plain.plan import twice
from pifleet.results.store.contents import SHOWN, Contents, File
from pifleet.results.store.trees import GITLINK_MODE, TREE_MODE

# A list of big files is a sandbox's word: bounds beyond all that is real, so that it costs no more than its bytes.
_DEEPEST = 300  # names of a path; one of more is too deep for any folder, and nothing shall recurse on it
_FOLDERS = 200_000
_AT_ONE_PLACE = 8


class Layer(NamedTuple):
    """What lies at `place`: a tree, the files that a tree of blocks lists, or one file; `oid` names it."""

    place: bytes
    kind: Literal["tree", "blocks", "file"]
    oid: str


class Entry(NamedTuple):
    """A folder, file or link as one layer has it; `start` is where in its path that which the layer's unit says begins.

    `size` is known of big files only, see contents.File.
    """

    mode: int
    oid: str
    size: int | None
    start: int


# What all layers have at one path: entries, and names that only lead to the places of other layers or to big files.
# Equal ones of two overlays hold equal files. (A recursive type; dict[bytes, Node] is what is meant.)
Node = tuple[Entry | dict[bytes, Any], ...]
NOTHING: Node = ()


class Overlay:
    """Reads from `contents` as it goes. Raises Refusal where something is missing there."""

    def __init__(self, layers: Iterable[Layer], contents: Contents) -> None:
        self._contents, self._folders = contents, 0
        top: dict[bytes, Any] = {}
        for layer in layers:
            if layer.kind == "blocks":
                for part, file in contents.listed(layer.oid):
                    if part in SHOWN:
                        entry = Entry(file.mode, file.oid, file.size, len(layer.place) + 1)
                        self._put(top, b"/".join((layer.place, file.path)), entry)
            else:
                mode = TREE_MODE if layer.kind == "tree" else 0o100644
                self._put(top, layer.place, Entry(mode, layer.oid, None, len(layer.place) + 1))
        self.root: Node = (top,) if top else NOTHING

    def _put(self, top: dict[bytes, Any], path: bytes, entry: Entry) -> None:
        *folders, name = path.split(b"/", _DEEPEST)
        inner = top
        for folder in folders:
            node: Node = inner.get(folder, NOTHING)
            below = next((part for part in node if isinstance(part, dict)), None)
            if below is None:
                below = {}
                inner[folder] = (*node, below)
                self._folders += 1
            inner = below
        there: Node = inner.get(name, NOTHING)
        if len(there) >= _AT_ONE_PLACE:
            raise twice(path)
        if self._folders > _FOLDERS:
            raise Refusal("limit.paths", f"big files in more than {_FOLDERS} folders")
        inner[name] = (*there, entry)

    def inside(self, node: Node) -> dict[bytes, Node]:
        """The nodes in a folder by name; nothing for what is none."""
        if len(node) == 1 and isinstance(node[0], dict):
            return node[0]
        found: dict[bytes, Node] = {}
        for part in node:
            if isinstance(part, dict):
                for name, below in part.items():
                    found[name] = found.get(name, NOTHING) + below
            elif part.mode == TREE_MODE:
                start = part.start
                for mode, name, oid in self._contents.objects.tree(part.oid)[1]:
                    if mode != GITLINK_MODE:
                        found[name] = (*found.get(name, ()), Entry(mode, oid, None, start))
        return found

    def at(self, path: bytes) -> Node:
        node = self.root
        for name in path.split(b"/"):
            node = self.inside(node).get(name, NOTHING)
        return node

    def below(self, path: bytes, node: Node) -> Iterator[File]:
        """Every file at or below `path`, where `node` is."""
        yield from (file_of(path, entry) for entry in leaves(node)[:1])
        for name, inner in self.inside(node).items():
            yield from self.below(inner_path(path, name), inner)


def inner_path(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def leaves(node: Node) -> list[Entry]:
    """What of a node is no folder."""
    return [part for part in node if type(part) is Entry and part.mode != TREE_MODE]


def file_of(path: bytes, entry: Entry) -> File:
    return File(path, entry.mode, entry.oid, entry.size)

