"""Owns taking an answer apart: the order of its frames, what each unit announced, its pack into the quarantine.
It must not believe an announcement: that is looked at afterwards, and the store decides when anything is visible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pifleet.results.capture.terms import storable
from pifleet.results.incoming import records
from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import path_problem, said, shown
from pifleet.results.store.files import Files
from pifleet.results.store.homegit import HomeGit, PackSink
from pifleet.results.units import TREES, Unit

Progress = Callable[[str, int], None]


class Reception:
    """Feed it every frame in order, then `close` it; `units` is what arrived. `files` takes the packs of files.

    `known` are the units of the newest generation by key, `state` the digest of all of them. `answer` is called once,
    with whether the far end remembers that state, when it asks what home has.
    """

    def __init__(self, git: HomeGit, files: Files, limits: Limits, known: Mapping[str, Unit], state: str,
                 answer: Callable[[bool], None], progress: Progress | None) -> None:
        self.units: dict[bytes, Unit] = {}
        self._git, self._files, self._limits, self._known, self._state = git, files, limits, known, state
        self._answer, self._progress = answer, progress
        self._open: Unit | None = None
        self._sink: PackSink | None = None
        self._asked = self._whole = False
        # One room for all sections: memory that is new costs more than what is put there.
        self._section, self._section_bytes = bytearray(limits.section), 0

    def take(self, kind: bytes, payload: bytes | memoryview, received: int) -> None:
        """One frame. Raises Refusal."""
        doing = "receiving"
        if kind == b"J":
            record = records.record(bytes(payload), self._limits.record)
            doing = said(record.doing, 60) if isinstance(record, records.Alive) else doing
            self._record(record)
        elif kind == b"D":
            self._data(payload)
        elif kind == b"E" and self._section_bytes:
            self._section_end(records.section_end(bytes(payload), self._limits.record))
        else:
            raise Refusal("proto.schema", f"a frame of type {shown(kind)} out of order")
        if self._progress:
            self._progress(doing, received)

    def close(self) -> None:
        """Raises Refusal proto.schema when something announced did not follow."""
        if self._open or self._sink or self._section_bytes:
            raise Refusal("proto.schema", "the answer ended inside a unit or a pack")
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
        if self._whole and not isinstance(record, records.Alive):
            raise Refusal("proto.schema", f"a record of kind {record.kind} after the word that all is unchanged")
        match record:
            case records.Alive():
                pass
            case records.Fatal():
                raise Refusal(record.reason, f"the capture gave up: {said(record.text)}")
            case records.Ask():
                self._ask(record.known)
            case records.Unchanged():
                self._unchanged()
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

    def _ask(self, known: bool) -> None:
        if self._asked:
            raise Refusal("proto.schema", "a second question")
        self._asked = True
        self._answer(known)

    def _in_unit(self) -> Unit:
        if self._open is None:
            raise Refusal("proto.schema", "a list outside of a unit")
        return self._open

    def _new_path(self, kind: str, text: str) -> bytes:
        path = text.encode("latin-1")
        if kind == "tree" and text not in TREES:
            raise Refusal("proto.schema", f"an unknown tree {shown(path)}")
        if kind == "repo" and path != b"." and (problem := path_problem(path, self._limits)):
            raise Refusal(problem, "a repository in a place that is not taken over", shown(path))
        if self._open or path in self.units:
            # Also a repository called "workspace" beside the tree of that name.
            raise Refusal("name.conflict", f"{shown(path)} is announced twice or inside another unit", shown(path))
        if len(self.units) >= self._limits.units:
            raise Refusal("limit.units", f"more than {self._limits.units} repositories")
        return path

    def _unchanged(self) -> None:
        if not self._state or self._asked or self.units:
            raise Refusal("proto.base", "all is called unchanged, but home does not hold that state")
        self.units = {unit.path: unit for unit in self._known.values()}
        self._whole = True

    def _same(self, record: records.Same) -> None:
        path = self._new_path(record.unit, record.path)
        old = self._known.get(f"{record.unit}:{record.path}")
        if old is None or old.state != record.state:
            raise Refusal("proto.base", f"{shown(path)} is called unchanged, but home does not hold that state")
        self.units[path] = old

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

    def _data(self, payload: bytes | memoryview) -> None:
        if self._open or self._whole:
            raise Refusal("proto.schema", "data inside of a unit")
        begin, self._section_bytes = self._section_bytes, self._section_bytes + len(payload)
        if self._section_bytes > self._limits.section or not payload:
            raise Refusal("limit.section", f"a section of more than {self._limits.section} bytes, or an empty frame")
        self._section[begin : self._section_bytes] = payload

    def _section_end(self, end: records.SectionEnd) -> None:
        section = memoryview(self._section)[: self._section_bytes]
        if end.bytes != len(section):
            raise Refusal("proto.schema", f"a section of {len(section)} bytes that says {end.bytes}")
        self._section_bytes = 0
        if end.pack == "broken":
            self.abort()
        elif end.pack == "files":
            if self._sink:
                raise Refusal("proto.schema", "a pack of files inside of a pack")
            self._files.take(section)
        else:
            self._sunk(section, whole=end.pack == "whole")

    def _sunk(self, section: memoryview, *, whole: bool) -> None:
        if self._sink is None:
            self._sink = PackSink(self._git, self._limits)
        self._sink.write(section)
        if whole:
            sink, self._sink = self._sink, None
            sink.finish()

    def _done(self, record: records.Done) -> None:
        if self._open is None or self._open.path != record.path.encode("latin-1"):
            raise Refusal("proto.schema", "the end of a unit that was not begun")
        folders = {name[:at] for name in self._open.refs for at in range(len(name)) if name[at] == "/"}
        if both := sorted(folders & self._open.refs.keys()):
            raise Refusal("name.conflict", f"{both[0]} is both a ref and a folder of refs", both[0])
        self.units[self._open.path] = self._open
        self._open = None
