"""Owns how a plain folder gets from what it holds to what it is to hold: only what differs is looked at.
It must not touch a disk, and knows no refs, generations or receipts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pifleet.results.limits import Limits
from pifleet.results.names import shown
from pifleet.results.plain.layers import NOTHING, Entry, Layer, Node, Overlay, file_of, inner_path, leaves
from pifleet.results.plain.plan import Kept, armed, both, by_folder, reason_against, too_many, twice
from pifleet.results.store.contents import Contents, File

_NO_HEAD = (False, False)
_BATCH = 10_000


@dataclass(frozen=True)
class Shape:
    """What a folder holds: the files of these layers but those that are `kept` back, by path with the reason.

    `count` is the number of all of them.
    """

    layers: tuple[Layer, ...] = ()
    kept: Mapping[bytes, str] = field(default_factory=dict)
    count: int = 0


class Update:
    """From the shape `before` to one of these layers. Raises Refusal: name.conflict, limit.files, git.connectivity.

    `old` and `new` are the files of either by path, as far as they differ or lie at, above or below one of the paths
    `near`. Folders that both have alike are not read: what is in them was judged when it came. `bytes` is how much is
    to be written.
    """

    def __init__(self, before: Shape, layers: Sequence[Layer], contents: Contents, limits: Limits,
                 near: Collection[bytes] = ()) -> None:
        self.before, self._layers = before, tuple(layers)
        self._contents, self._limits, self._near = contents, limits, frozenset(near)
        self._ways = {path[:at] for path in near for at in range(len(path)) if path[at : at + 1] == b"/"} | {b""}
        self._kept, self._seen, self._found = dict(before.kept), 0, 0
        self.old: dict[bytes, File] = {}
        self.new: dict[bytes, File] = {}
        self._was, self._is = Overlay(before.layers, contents), Overlay(layers, contents)
        self._walk(b"", self._was.root, self._is.root)
        if self.after.count > limits.files:
            raise too_many(limits)
        self.bytes = self._weighed()

    @property
    def after(self) -> Shape:
        return Shape(self._layers, self._kept, self.before.count - self._seen + self._found)

    @property
    def kept(self) -> list[Kept]:
        """What of the new shape is kept back."""
        return [Kept(shown(path), reason) for path, reason in sorted(self._kept.items())]

    @property
    def changed(self) -> list[File]:
        """The files that the folder has not, or has otherwise."""
        return [file for path, file in self.new.items() if self.old.get(path) != file]

    def complete(self, path: bytes, oid: str, contents: Contents) -> None:
        """Add one more file, at the top, and read from `contents` from now on."""
        self._layers = (*self._layers, Layer(path, "file", oid))
        self._is = Overlay(self._layers, contents)
        self.new[path] = File(path, 0o100644, oid)
        self._found += 1

    def __contains__(self, path: bytes) -> bool:
        """Whether the new shape has a file or a folder of this path."""
        return self._is.at(path) != NOTHING and path not in self._kept

    def below(self, folder: bytes) -> list[File]:
        """The files of the new shape in a folder."""
        found = self._is.below(folder, self._is.at(folder))
        return sorted((file for file in found if file.path not in self._kept), key=by_folder)

    def _weighed(self) -> int:
        """Bytes of what is to be written. A file beyond the limit is kept back: an index or a history may name one."""
        total = 0
        for batch in batches(self.changed):
            sizes = self._contents.sizes(batch)
            for file in batch:
                if sizes[file.oid] > self._limits.file:
                    self._kept[file.path] = "limit.file"
                    del self.new[file.path]
                else:
                    total += sizes[file.oid]
        return total

    def _walk(self, path: bytes, old: Node, new: Node, inside: bool = False,
              head: tuple[bool, bool] = _NO_HEAD) -> None:
        """`head` is whether it would be the HEAD of a repository, in the old shape and in the new one."""
        inside = inside or path in self._near
        if old == new and head[0] == head[1] and not inside and path not in self._ways:
            return
        was, now = leaves(old), leaves(new)
        if was:
            self._seen += 1
            if not self._kept.pop(path, ""):
                self.old[path] = file_of(path, was[0])
        there = bool(now) and self._claim(path, now, head=head[1])
        if len(was) == len(old) and len(now) == len(new):
            return
        before, after = self._was.inside(old), self._is.inside(new)
        if there and after:
            raise both(path, path)
        arms = armed(before), armed(after)
        for name in before.keys() | after.keys():
            self._walk(inner_path(path, name), before.get(name, NOTHING), after.get(name, NOTHING), inside,
                       arms if name.lower() == b"head" else _NO_HEAD)

    def _claim(self, path: bytes, entries: Sequence[Entry], *, head: bool) -> bool:
        """A file may come twice, as part of the work and as an artifact, but then it is the same."""
        self._found += 1
        if self._found > self._limits.files:
            raise too_many(self._limits)
        found = [file_of(path, entry) for entry in entries]
        for file, entry in zip(found, entries, strict=True):
            reason = reason_against(path[entry.start :], file, self._contents, self._limits)
            if reason or head:
                self._kept[path] = reason or "path.repository"
                return False
        if any(file != found[0] for file in found[1:]):
            raise twice(path)
        self.new[path] = found[0]
        return True


def batches(files: Sequence[File]) -> Iterator[Sequence[File]]:
    """So many files that looking up their sizes needs little memory."""
    return (files[at : at + _BATCH] for at in range(0, len(files), _BATCH))
