"""Owns taking an answer apart: the order of its frames, what each unit announced, its pack into the quarantine.
It must not believe an announcement; `verified` looks for itself, and the store decides when anything is visible."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from pifleet.results.capture.repository import storable
from pifleet.results.incoming import records
from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import path_problem, said, shown
from pifleet.results.store.homegit import HomeGit, PackSink
from pifleet.results.store.trees import Objects
from pifleet.results.units import TREES, Unit

Progress = Callable[[str, int], None]


class Reception:
    """Feed it every frame in order, then `close` it; `units` is what arrived, `unchanged` how many of them are old."""

    def __init__(self, git: HomeGit, limits: Limits, known: Mapping[str, Unit], progress: Progress | None) -> None:
        self.units: dict[bytes, Unit] = {}
        self.unchanged = 0
        self._git, self._limits, self._known, self._progress = git, limits, known, progress
        self._open: Unit | None = None
        self._sink: PackSink | None = None
        self._failed: set[bytes] = set()
        self._section, self._section_bytes = hashlib.sha256(), 0

    def take(self, kind: bytes, payload: bytes, received: int) -> None:
        """One frame. Raises Refusal."""
        if kind == b"J":
            self._record(records.record(payload, self._limits.record))
        elif kind == b"D" and self._open:
            self._data(payload)
        elif kind == b"E" and self._section_bytes:
            self._section_end(records.section_end(payload, self._limits.record))
        else:
            raise Refusal("proto.schema", f"a frame of type {shown(kind)} out of order")
        if self._progress and self._open:
            self._progress(shown(self._open.path), received)

    def close(self) -> None:
        """Raises Refusal proto.schema when something announced did not follow."""
        if self._open or self._failed - self.units.keys():
            raise Refusal("proto.schema", "the answer ended inside a unit")
        needed = {b"sessions"} | ({b"workspace"} if b"." not in self.units else set())
        trees = {unit.path for unit in self.units.values() if unit.kind == "tree"}
        if trees != needed:
            raise Refusal("proto.schema", "the answer lacks the workspace's own files or the session logs")

    def abort(self) -> None:
        if self._sink:
            self._sink.abort()
            self._sink = None

    def _record(self, record: records.AnyRecord) -> None:
        if self._section_bytes and not isinstance(record, records.Alive):
            raise Refusal("proto.schema", f"a record of kind {record.kind} inside a section")
        match record:
            case records.Alive():
                pass
            case records.Fatal():
                raise Refusal(record.reason, f"the capture gave up: {said(record.text)}")
            case records.Same():
                self._same(record)
            case records.UnitRecord():
                self._begin(record)
            case records.Refs():
                self._refs(record.items)
            case records.Notes():
                self._in_unit().notes += [(name.encode("latin-1"), why, size) for name, why, size in record.items]
            case records.Done():
                self._done(record)
            case records.Failed():
                self._fail(record)

    def _in_unit(self) -> Unit:
        if self._open is None or self._sink is not None:
            raise Refusal("proto.schema", "a list outside the head of a unit")
        return self._open

    def _new_path(self, kind: str, text: str) -> bytes:
        path = text.encode("latin-1")
        if kind == "tree" and text not in TREES:
            raise Refusal("proto.schema", f"an unknown tree {shown(path)}")
        if kind == "repo" and path != b"." and (problem := path_problem(path, self._limits)):
            raise Refusal(problem, "a repository in a place that is not taken over", shown(path))
        if self._open or (path in self.units and self.units[path].kind == kind):
            raise Refusal("name.conflict", f"{shown(path)} is announced twice or inside another unit", shown(path))
        if len(self.units) >= self._limits.units:
            raise Refusal("limit.units", f"more than {self._limits.units} repositories")
        return path

    def _same(self, record: records.Same) -> None:
        path = self._new_path(record.unit, record.path)
        old = self._known.get(f"{record.unit}:{record.path}")
        if old is None or old.state != record.state:
            raise Refusal("proto.base", f"{shown(path)} is called unchanged, but home does not hold that state")
        self._add(old)
        self.unchanged += 1

    def _begin(self, record: records.UnitRecord) -> None:
        path = self._new_path(record.unit, record.path)
        facts = record.model_dump(exclude={"kind", "unit", "path", "state"})
        self._open = Unit(record.unit, path, record.state, facts)

    def _refs(self, items: Iterable[tuple[str, str]]) -> None:
        unit = self._in_unit()
        for name, oid in items:
            if not name.startswith(("refs/heads/", "refs/tags/", "refs/notes/", "refs/stash")):
                raise Refusal("ref.namespace", f"{said(name)} is not among the refs that are taken over", said(name))
            if not storable(name):
                raise Refusal("ref.name", f"{said(name)} is not a name that is taken over", said(name))
            if name in unit.refs:
                raise Refusal("name.conflict", f"{said(name)} is there twice", said(name))
            unit.refs[name] = oid
        if len(unit.refs) > self._limits.refs:
            raise Refusal("limit.refs", f"more than {self._limits.refs} refs in {shown(unit.path)}", shown(unit.path))

    def _data(self, payload: bytes) -> None:
        self._section_bytes += len(payload)
        if self._section_bytes > self._limits.section or not payload:
            raise Refusal("limit.section", f"a section of more than {self._limits.section} bytes, or an empty frame")
        self._section.update(payload)
        if self._sink is None:
            self._sink = PackSink(self._git, self._limits)
        self._sink.write(payload)

    def _section_end(self, end: records.SectionEnd) -> None:
        if (end.bytes, end.sha256) != (self._section_bytes, self._section.hexdigest()):
            raise Refusal("proto.digest", "the digest of a section differs")
        self._section, self._section_bytes = hashlib.sha256(), 0

    def _done(self, record: records.Done) -> None:
        if self._open is None or self._open.path != record.path.encode("latin-1"):
            raise Refusal("proto.schema", "the end of a unit that was not begun")
        folders = {name[:at] for name in self._open.refs for at in range(len(name)) if name[at] == "/"}
        if both := sorted(folders & self._open.refs.keys()):
            raise Refusal("name.conflict", f"{both[0]} is both a ref and a folder of refs", both[0])
        if self._sink:
            sink, self._sink = self._sink, None
            sink.finish()
        self._add(self._open)
        self._open = None

    def _fail(self, record: records.Failed) -> None:
        """The capture could not read a repository; it begins again with its plain files and a note that says why."""
        path = record.path.encode("latin-1")
        if self._open and self._open.path != path:
            raise Refusal("proto.schema", "the failure of a unit that was not begun")
        self.abort()
        self._open = None
        self._failed.add(path)

    def _add(self, unit: Unit) -> None:
        if unit.path in self.units:
            # A repository called "workspace" beside the tree of that name.
            raise Refusal("name.conflict", f"{shown(unit.path)} is there twice", shown(unit.path))
        self.units[unit.path] = unit


def verified(git: HomeGit, units: Iterable[Unit], objects: Objects) -> None:
    """Look at what landed: every id is there and of its kind, no tree is a bomb, everything reachable is whole.

    Raises Refusal: git.connectivity, limit.paths, limit.depth, git.limit. The bounded walk comes first, because git's
    own walk dies on a tree nested 100,000 deep.
    """
    wanted: set[str] = set()
    for unit in units:
        found = git.sizes(unit.ids)
        branches = {oid for name, oid in unit.refs.items() if name.startswith(("refs/heads/", "refs/stash"))}
        commits = unit.certain | branches
        bad = sorted(oid for oid in unit.ids if oid not in found or (oid in commits and found[oid][0] != "commit"))
        if bad:
            raise Refusal("git.connectivity", f"{shown(unit.path)} announced {bad[0]}, which did not arrive as such")
        for oid in sorted(unit.ids):
            if found[oid][0] in ("commit", "tree"):
                objects.measure(f"{oid}^{{tree}}")
        wanted |= unit.ids
    git.run("rev-list", "--objects", "--quiet", "--stdin", "--not", "--all",
            data="".join(f"{oid}\n" for oid in sorted(wanted)).encode())
