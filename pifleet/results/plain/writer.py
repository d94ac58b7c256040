"""Owns bringing a plain folder up to date with a plan: it replaces and removes what we wrote, and nothing else.
It must not know units, receipts or git's refs.

What a person changed stays where it is. Ours then stands aside, beside it: a file as NAME.generation-N, and where
a person's own is in the way of a folder, that whole folder under such a name.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Sequence

from pifleet.results.names import shown
from pifleet.results.plain.disk import FOLDER, Blocked, Walk, holds, look, permissions, remove
from pifleet.results.plain.index import Changes, Record, facts_of, memorable, place
from pifleet.results.plain.journal import Journal
from pifleet.results.plain.placing import make, put
from pifleet.results.plain.update import Update
from pifleet.results.store.contents import Contents, File

_COMPONENT = 255
# Somebody has made something of that name meanwhile, or the names of two files are one here.
_THERE = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


class Writer:
    """One update of a folder to `generation`; what came of it is in `written`, `asides` and `both`."""

    def __init__(self, walk: Walk, update: Update, contents: Contents, generation: int, journal: Journal) -> None:
        self._walk, self._update, self._contents, self._journal = walk, update, contents, journal
        self._generation = generation
        self._records: dict[bytes, Record] = {}
        self._temporary = b""
        self.written: dict[bytes, bytes] = {}  # path -> facts that are worth remembering
        self.asides: dict[bytes, bytes] = {}
        self.both: dict[bytes, str] = {}  # place of a person's own -> the reason why it stays

    def apply(self, changes: Changes) -> None:
        """Raises OSError, Refusal; then what is done is done, and the next attempt goes on from there."""
        self._records, self.asides = changes.records, dict(changes.asides)
        self._tidy(changes)
        self._temporary = self._journal.begin(changes.wanted)
        for at, path in changes.gone:
            self._remove(at, path)
        with self._contents.ahead(changes.wanted):
            for number, file in enumerate(changes.wanted):
                if file.path not in self.written:
                    try:
                        fresh = self._walk.missing(file.path.rpartition(b"/")[0])
                        if not (fresh and self._grown(fresh, changes.wanted, number)):
                            self._write(file)
                    except Blocked as blocked:
                        self._set_aside(blocked.path, self._update.below(blocked.path))

    def _tidy(self, changes: Changes) -> None:
        """Remove what an attempt which broke off left on its way; whatever it noted down is among `changes`."""
        if not self._journal.temporary:
            return
        places = [file.path for file in changes.wanted] + [at for at, _ in changes.gone]
        folders = {path[:at] for path in places for at in range(len(path)) if path[at : at + 1] == b"/"}
        for outer in (b"", *sorted(folders)):
            for name in self._journal.temporary:
                with contextlib.suppress(FileNotFoundError, Blocked):
                    remove(self._walk.to(outer), name)

    def _match(self, folder: int, name: bytes, seen: os.stat_result, path: bytes, new: File | None) -> File | None:
        """Which of what we wrote or may have written at `path`, or want to, lies there; None for a person's own."""
        record = self._records.get(path)
        if record and record.facts == facts_of(seen):
            return record.file
        files = (*([record.file] if record else []), *([new] if new else []), *self._journal.files.get(path, []))
        return next((file for file in files if holds(folder, name, file, self._contents)), None)

    def _remove(self, at: bytes, path: bytes) -> None:
        outer, _, name = at.rpartition(b"/")
        try:
            folder = self._walk.to(outer)
            seen = look(folder, name)
            if seen and self._match(folder, name, seen, path, None):
                os.unlink(name, dir_fd=folder)
            elif seen:
                self.both[at] = "kept.here"
        except FileNotFoundError:
            pass
        except Blocked as blocked:
            self.both[blocked.path] = "kept.here"
        self._walk.prune(outer)

    def _grown(self, fresh: bytes, wanted: Sequence[File], first: int) -> bool:
        """Make a folder that is not there, with all from the `first` on that belong into it, beside its place, and move
        it there in one step: that costs a third of moving each file.

        False when something is in the way by now; then nothing has changed. Raises OSError, Refusal.
        """
        outer, _, name = fresh.rpartition(b"/")
        folder, written = self._walk.to(outer), dict[bytes, bytes]()
        os.mkdir(self._temporary, 0o700, dir_fd=folder)
        try:
            with Walk(os.open(self._temporary, FOLDER, dir_fd=folder)) as inside:
                for number in range(first, len(wanted)):
                    file = wanted[number]
                    if not file.path.startswith(fresh + b"/"):
                        break
                    below, _, own = file.path[len(fresh) + 1 :].rpartition(b"/")
                    made = make(inside.to(below, make=True), own, file, self._contents, permissions(file))
                    written[file.path] = memorable(facts_of(made))
                os.fchmod(inside.to(b""), 0o755)
            os.rename(self._temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException as error:
            with contextlib.suppress(FileNotFoundError):
                remove(folder, self._temporary)
            if isinstance(error, OSError) and error.errno in _THERE:
                return False
            raise
        self.written |= written
        return True

    def _write(self, file: File) -> None:
        """Raises Blocked."""
        outer, _, name = file.path.rpartition(b"/")
        facts = None
        while facts is None:
            folder, mode, found = self._walk.to(outer, make=True), permissions(file), None
            if seen := look(folder, name):
                found = self._match(folder, name, seen, file.path, file)
                if found is None:
                    return self._set_aside(file.path, [file])
                if found == file:
                    facts = facts_of(seen)
                    break
                if not found.link and stat.S_IMODE(seen.st_mode) != permissions(found):
                    mode = stat.S_IMODE(seen.st_mode) & 0o777  # a person's choice, which outlives the content
            facts = put(folder, name, file, self._contents, temporary=self._temporary, mode=mode, over=seen,
                        old=found)
        self.written[file.path] = memorable(facts)
        return None

    def _set_aside(self, home: bytes, files: list[File]) -> None:
        """Write beside what is in the way at `home` all that belongs at or below it."""
        self.both[home] = "changed.here"
        self.asides = {path: aside for path, aside in self.asides.items() if not path.startswith(home + b"/")}
        self.asides[home] = self._free(home)
        self._journal.aside(home, self.asides[home], files)
        for file in files:
            at = place(self.asides, file.path)
            outer, _, name = at.rpartition(b"/")
            facts = put(self._walk.to(outer, make=True), name, file, self._contents, temporary=self._temporary,
                        mode=permissions(file), over=None)
            if facts is None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), shown(at))
            self.written[file.path] = memorable(facts)

    def _free(self, home: bytes) -> bytes:
        """A path beside `home` that nobody has or will have."""
        outer, _, name = home.rpartition(b"/")
        folder = self._walk.to(outer, make=True)
        for attempt in itertools.count(1):
            end = b".generation-%d" % self._generation + (b"-%d" % attempt if attempt > 1 else b"")
            aside = name[: _COMPONENT - len(end)] + end
            path = outer + b"/" + aside if outer else aside
            if path not in self._update and look(folder, aside) is None:
                return path
        raise AssertionError
