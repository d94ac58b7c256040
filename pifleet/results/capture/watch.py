"""Owns which files of a place are as they were when they were read; git compares most of them, by an index of ours.
It must not read a file. Nothing in a repository can mislead it, for that index is compared beside all repositories.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from heapq import merge

from pifleet.results.capture.stats import FACTS, UNKNOWN, entry, facts_of, parsed, written
from pifleet.results.capture.survey import Survey
from pifleet.results.capture.tool import ENV, GIT

MANY = 1000  # files that the index does not know, or knows as they are no more: then it is made anew
# A file system's clock may be this coarse, and git compares seconds: what is younger is read again next time.
YOUNG_NS = 2_000_000_000
_LOOK = ("diff-files", "--name-only", "--no-renames", "--ignore-submodules=none", "-z")
Known = tuple[bytes, bytes]  # kind, id
_SIZE = FACTS.size
# Should git ever read a file in order to compare it, then byte for byte.
_ATTRIBUTES = "* -text -crlf -eol -ident -filter -working-tree-encoding -diff -merge\n"


def private_git(scratch: bytes) -> bytes:
    """A git directory with nothing in it, beside which no repository's configuration or attributes count."""
    folder = os.path.join(scratch, b"git")
    for name in (b"objects", b"refs", b"info"):
        os.makedirs(os.path.join(folder, name))
    for path, text in ((b"HEAD", "ref: refs/heads/none\n"), (b"info/attributes", _ATTRIBUTES)):
        with open(os.path.join(folder, path), "w", encoding="ascii") as file:
            file.write(text)
    return folder


class Watch:
    """`index` is the path of an index of ours, b"" for none; `old` are the records of files read since it was made.

    Git compares from now on, beside what else is done. `young`: see YOUNG_NS.
    """

    def __init__(self, root: bytes, index: bytes, old: dict[bytes, bytes], git_dir: bytes, young: int) -> None:
        self.read: dict[bytes, bytes] = {}  # path -> record
        self.moved: set[bytes] = set()
        self.failed = False
        self.old, self._index, self._young = old, index, young
        self._changed: set[bytes] = set()
        self._git: subprocess.Popen[bytes] | None = None
        if index and os.path.isdir(root):
            command: list[str | bytes] = [*GIT, b"--git-dir=" + git_dir, b"--work-tree=" + root, *_LOOK]
            env = {**ENV, "GIT_INDEX_FILE": os.fsdecode(index)}
            try:
                self._git = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root,
                                             env=env)
            except OSError:  # nobody may enter the folder any more
                self.failed = True

    @property
    def changed(self) -> set[bytes]:
        """Files that are not as the index says, or have gone."""
        if self._git:
            told = self._git.communicate()[0]
            self._changed = set(told.split(b"\0")[:-1])
            self.failed = self._git.returncode != 0
            self._git = None
        return self._changed

    def stale(self, survey: Survey) -> Iterator[bytes]:
        """The folders that hold a file which is not as it was; `moved` are these files."""
        self.moved = {path for path in self.changed if path not in self.old}
        for path, record in self.old.items():
            try:
                if os.path.dirname(path) in survey.folders and record[:_SIZE] == facts_of(os.lstat(survey.full(path))):
                    continue
            except OSError:
                pass
            self.moved.add(path)
        yield from (os.path.dirname(path) for path in self.moved)
        if self.failed:
            yield from survey.folders

    def as_before(self, path: bytes, seen: os.stat_result, old: Known | None) -> Known | None:
        """What a file is, if it has not changed since; `old` is what it was in its folder then."""
        record = self.old.get(path)
        if record is not None:
            same = record[:_SIZE] == facts_of(seen)
            return (record[_SIZE : _SIZE + 1], record[-20:]) if same else None
        return None if old is None or path in self.changed or self.failed else old

    def put(self, path: bytes, facts: bytes, kind: bytes, oid: bytes) -> None:
        self.read[path] = facts + kind + oid

    def kept(self, survey: Survey) -> tuple[bytes, dict[bytes, bytes], bytes | bytearray]:
        """What to remember: the path of the index and records of other files, or the content of a new index."""
        clean = survey.folders.keys() - survey.dirty
        records = {path: record for path, record in self.old.items() if os.path.dirname(path) in clean}
        records.update(self.read)
        if self.failed:
            self._index = b""
        if len(records) + len(self.changed) <= MANY:
            return self._index, records, b""
        before: Iterable[tuple[bytes, bytes]] = ()
        if self._index:
            with open(self._index, "rb") as file:
                before = parsed(file.read())
        # One by one, for all at once are the most memory that a capture needs.
        same = (pair for pair in before if pair[0] not in self._changed and pair[0] not in records)
        return b"", {}, written(merge(same, ((path, entry(records[path])) for path in sorted(records))))

    def believed(self, seen: os.stat_result, facts: bytes) -> bytes:
        """The facts by which a file that was read may be known again."""
        return UNKNOWN if max(seen.st_mtime_ns, seen.st_ctime_ns) > self._young else facts
