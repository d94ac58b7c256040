"""Owns the commit that the files of a work tree become: trees without what is dangerous, big files whole again.
It must not know whose repository it is made in."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

from pifleet.results.capture.packs import KINDS, object_head, object_id
from pifleet.results.capture.trees import Made, nest, write
from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import path_problem, shown
from pifleet.results.plain.plan import Kept, Plan
from pifleet.results.store.contents import Contents, File
from pifleet.results.store.homegit import HomeGit, PackSink
from pifleet.results.store.packs import copy
from pifleet.results.store.trees import EXECUTABLE_MODE, GITLINK_MODE, LINK_MODE
from pifleet.results.units import Unit

_WHO = "pifleet <pifleet@localhost>"
Entry = tuple[int, bytes]  # mode, id


class Work:
    """The files of a unit's snapshot as one tree; `kept` is what is left out of it. Raises Refusal."""

    def __init__(self, unit: Unit, contents: Contents, limits: Limits) -> None:
        self._contents, self._limits = contents, limits
        plan = Plan(limits)
        plan.add(b"", contents.files(unit, ("snapshot",)), contents)
        self.kept: list[Kept] = plan.kept
        self._files = plan.files
        self._whole = {file.oid: self._id(file) for file in plan.files.values() if file.blocks}
        entries = {path: _entry(file, self._whole) for path, file in plan.files.items()}
        submodules = dict(self._submodules(unit, plan))
        self.trees: Made = []
        self.tree = write(nest([*entries.items(), *submodules.items()]), self.trees).hex()

    def commit(self, parents: Iterable[str], message: str, seconds: int) -> tuple[str, bytes]:
        """(id, content) of a commit of the tree by pifleet at this time (UTC, since 1970): always the same one."""
        date = f"{_WHO} {seconds} +0000"
        lines = [f"tree {self.tree}", *(f"parent {oid}" for oid in parents), f"author {date}", f"committer {date}"]
        content = ("\n".join(lines) + f"\n\n{message}\n").encode()
        return object_id("commit", content).hex(), content

    def send(self, source: HomeGit, target: HomeGit, commit: bytes) -> None:
        """Put the commit and what `target` lacks of its files and folders into `target`. Raises Refusal."""
        small = {file.oid for file in self._files.values() if not file.blocks}
        if new := sorted(small - target.sizes(small).keys()):
            copy(source, PackSink(target, self._limits), "".join(f"{oid}\n" for oid in new).encode())
        there = target.sizes([*self._whole.values(), *(oid.hex() for oid, _ in self.trees)])
        big = {self._whole[file.oid]: file for file in self._files.values() if file.blocks}
        wanted = [(oid, file) for oid, file in big.items() if oid not in there]
        trees = {content for oid, content in self.trees if oid.hex() not in there}
        sink = PackSink(target, self._limits)
        try:
            for data in _pack(len(wanted) + len(trees) + 1, self._objects(wanted, trees, commit)):
                sink.write(data)
            sink.finish()
        finally:
            sink.abort()

    def _objects(self, big: Iterable[tuple[str, File]], trees: Iterable[bytes], commit: bytes) -> Iterator[bytes]:
        for _, file in big:
            yield object_head(KINDS["blob"], file.size or 0)
            deflate = zlib.compressobj(1)
            yield from (deflate.compress(data) for data in self._bytes(file))
            yield deflate.flush()
        for tree in trees:
            yield object_head(KINDS["tree"], len(tree)) + zlib.compress(tree, 1)
        yield object_head(KINDS["commit"], len(commit)) + zlib.compress(commit, 1)

    def _id(self, file: File) -> str:
        """The blob that a file of blocks is as a whole."""
        digest, size = hashlib.sha1(b"blob %d\0" % (file.size or 0)), 0  # noqa: S324 git's own
        for data in self._bytes(file):
            digest.update(data)
            size += len(data)
        if size != file.size:
            raise Refusal("git.connectivity", "the blocks of a file do not add up to its size", shown(file.path))
        return digest.hexdigest()

    def _bytes(self, file: File) -> Iterator[bytes]:
        for oid in self._contents.blobs(file):
            yield from self._contents.objects.chunks(oid)

    def _submodules(self, unit: Unit, plan: Plan) -> Iterator[tuple[bytes, Entry]]:
        """The commits of submodules, which are no files; the submodules' own work lies in units of their own."""
        for path, mode, oid in self._contents.objects.entries(f"{unit.facts['snapshot']}^{{tree}}"):
            if mode == GITLINK_MODE:
                parents = [path[:at] for at in range(len(path)) if path[at : at + 1] == b"/"]
                conflict = path in plan or any(parent in plan.files for parent in parents)
                reason = path_problem(path, self._limits) or ("name.conflict" if conflict else "")
                if reason:
                    self.kept.append(Kept(shown(path), reason))
                else:
                    yield path, (GITLINK_MODE, bytes.fromhex(oid))


def _entry(file: File, whole: dict[str, str]) -> Entry:
    mode = file.mode if file.mode in (LINK_MODE, EXECUTABLE_MODE) else 0o100644
    return mode, bytes.fromhex(whole.get(file.oid, file.oid))


def _pack(number: int, objects: Iterable[bytes]) -> Iterator[bytes]:
    digest = hashlib.sha1()  # noqa: S324 git's own
    for data in chain((b"PACK" + struct.pack(">II", 2, number),), objects):
        digest.update(data)
        yield data
    yield digest.digest()
