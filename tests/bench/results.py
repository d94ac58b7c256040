"""Owns the table of what bringing results home costs, beside rsync, git fetch and tar | zstd.
It must not know how any of them works: it makes the work, lets them take turns and sets the bars."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from tests.bench import cuts, memory, workloads
from tests.bench.link import Link, Run
from tests.bench.methods import GitFetch, Ours, Sandbox, rsync, tar_zstd
from tests.bench.place import clear, git
from tests.bench.table import Row, ratio, worst

RUNS = 5
LONG_RUNS = 3
FILES = 100_000
LOOSE = 45_000
DELAYS = (0, 50)  # milliseconds there and back

Turns = Sequence[tuple[Run, ...]]  # in each ours first, then what it is compared with


def in_turn(runs: int, link: Link, turn: Callable[[Link], tuple[Run, ...]]) -> Turns:
    return [turn(link) for _ in range(runs)]


def seconds(turns: Turns, theirs: int = 1) -> list[tuple[float, float]]:
    return [(turn[0].seconds, turn[theirs].seconds) for turn in turns]


def sizes(turns: Turns, theirs: int = 1) -> list[tuple[float, float]]:
    return [(turn[0].bytes, turn[theirs].bytes) for turn in turns]


class Bench:
    """Makes each workload once and measures on it; every public method is a case."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seeds = itertools.count(100)
        self._links = [Link(rtt, folder) for rtt in DELAYS]

    @cached_property
    def _big_repository(self) -> Sandbox:
        box = Sandbox(self._folder / "big-repository")
        workloads.repository(box.workspace / "app", FILES, workloads.Content(11, 1500))
        return box

    @cached_property
    def _loose(self) -> Sandbox:
        box = Sandbox(self._folder / "loose")
        workloads.tree(box.workspace / "data", LOOSE, workloads.Content(12, 4500))
        return box

    def _home(self, name: str) -> Path:
        """An empty folder at home."""
        path = self._folder / "home" / name
        clear(path)
        path.mkdir(parents=True)
        return path

    def unchanged_repo(self) -> Iterator[Row]:
        """Nothing is new in a repository of 100,000 files."""
        yield from self._unchanged("repo 100k", self._big_repository, "app", ["app"])

    def unchanged_tree(self) -> Iterator[Row]:
        """Nothing is new in 45,000 loose files."""
        yield from self._unchanged("tree 45k", self._loose, "data", [])

    def _unchanged(self, what: str, box: Sandbox, folder: str, repos: list[str]) -> Iterator[Row]:
        ours, target = Ours(box, self._home("ours"), repos), self._home("rsync")

        def turn(link: Link) -> tuple[Run, ...]:
            return ours.pull(link), rsync(link, box.workspace / folder, target)

        ours.forget()
        turn(self._links[0])
        for link in self._links:
            turns = in_turn(RUNS, link, turn)
            yield ratio(f"unchanged {what}: rsync, {link.name}", "s", seconds(turns), 0.5 if link.rtt else None)
        yield worst(f"unchanged {what}: bytes both ways", "B", [turn[0].bytes for turn in turns], 1000)

    def changed_repo(self) -> Iterator[Row]:
        """20 changed files in a repository of 100,000, without and with the plain folder."""
        box = self._big_repository
        source = box.workspace / "app"
        ours, copy, bare = Ours(box, self._home("ours"), ["app"]), self._home("rsync"), self._home("git")
        git(bare, "init", "-q", "--bare")
        fetch = GitFetch(source, bare, self._folder / "beside")

        def turn(link: Link) -> tuple[Run, ...]:
            workloads.change_lines(source, 20, FILES, next(self._seeds))
            return ours.pull(link), fetch.fetch(link, snapshot=True), rsync(link, source, copy)

        ours.forget()
        turn(self._links[0])
        for link in self._links:
            turns = in_turn(RUNS, link, turn)
            yield ratio(f"20 changed, repo 100k: git, {link.name}", "s", seconds(turns), 1.5)
            yield ratio(f"20 changed, repo 100k: rsync, {link.name}", "s", seconds(turns, 2), None)
        yield ratio("20 changed, repo 100k: git, bytes", "B", sizes(turns), None)
        yield ratio("20 changed, repo 100k: rsync, bytes", "B", sizes(turns, 2), 0.1)
        plain = Ours(box, self._home("plain"), ["app"], plain=True)

        def with_files(link: Link) -> tuple[Run, ...]:
            workloads.change_lines(source, 20, FILES, next(self._seeds))
            return plain.pull(link), fetch.fetch(link, snapshot=True)

        plain.forget()
        with_files(self._links[0])
        turns = in_turn(RUNS, self._links[0], with_files)
        yield ratio("20 changed and plain, repo 100k: git, quiet", "s", seconds(turns), None)

    def known_upstream(self) -> Iterator[Row]:
        """First pull of a repository whose upstream home has: 4,400 files, 100 MB of history, an agent's commits."""
        upstream, box = self._folder / "upstream", Sandbox(self._folder / "known")
        source, fetched, beside = box.workspace / "api", self._folder / "fetched", self._folder / "beside"
        assets = workloads.Content(14, 200_000, every=1)
        workloads.repository(upstream, 4400, workloads.Content(13, 6000), commits=400, assets=assets)
        git(self._folder, "clone", "-q", upstream, source)
        workloads.agent_at_work(source, commits=20, each=44)
        ours = Ours(box, self._folder / "home" / "ours", ["api"])

        def known(target: Path) -> Path:
            clear(target)
            git(self._folder, "clone", "-q", "--bare", upstream, target)
            return target

        def turn(link: Link) -> tuple[Run, ...]:
            ours.forget()
            known(ours.upstream("api"))
            runs = [ours.pull(link)]
            for snapshot in (False, True):
                runs.append(GitFetch(source, known(fetched), beside).fetch(link, snapshot=snapshot))
            return tuple(runs)

        for link in self._links:
            turns = in_turn(RUNS, link, turn)
            yield ratio(f"first, known upstream: fetch, {link.name}", "s", seconds(turns), 1.3)
            yield ratio(f"  against snapshot + fetch, {link.name}", "s", seconds(turns, 2), None)
        yield ratio("  against snapshot + fetch, bytes", "B", sizes(turns, 2), None)

    def first_tree(self) -> Iterator[Row]:
        """First pull of 45,000 loose files."""
        box, target = self._loose, self._folder / "home" / "target"
        source, ours = box.workspace / "data", Ours(box, self._folder / "home" / "ours")

        def turn(link: Link) -> tuple[Run, ...]:
            ours.forget()
            mine, packed = ours.pull(link), tar_zstd(link, source, target)
            clear(target)
            return mine, packed, rsync(link, source, target)

        for link in self._links:
            turns = in_turn(LONG_RUNS, link, turn)
            yield ratio(f"first, tree 45k: tar | zstd, {link.name}", "s", seconds(turns), 2)
            yield ratio(f"first, tree 45k: rsync, {link.name}", "s", seconds(turns, 2), 1 if link.rtt else None)
        yield ratio("first, tree 45k: tar | zstd, bytes", "B", sizes(turns), None)

    def big_file(self) -> Iterator[Row]:
        """20 overwritten MiB in a file of 2 GiB, without and with the plain folder."""
        box = Sandbox(self._folder / "big-file")
        source = box.workspace / "data"
        source.mkdir()
        workloads.big_file(source / "disk.img", 2048)
        for plain in (False, True):
            yield from self._big_file(Ours(box, self._home("ours"), plain=plain), source)

    def _big_file(self, ours: Ours, source: Path) -> Iterator[Row]:
        copy, name = self._home("rsync"), f"20 MiB of 2 GiB{' and plain' if ours.plain else ''}: rsync"

        def turn(link: Link) -> tuple[Run, ...]:
            workloads.overwrite(source / "disk.img", 20, next(self._seeds))
            return ours.pull(link), rsync(link, source, copy)

        ours.forget()
        turn(self._links[0])
        for link in self._links:
            turns = in_turn(LONG_RUNS, link, turn)
            yield ratio(f"{name}, {link.name}", "s", seconds(turns), 1.5)
        yield ratio(f"{name}, bytes", "B", sizes(turns), None)

    def memory(self) -> Iterator[Row]:
        """What both ends need at 100,000 files."""
        box = self._big_repository
        yield from memory.rows(
            Ours(box, self._home("ours"), ["app"]), self._links[0],
            lambda: workloads.change_lines(box.workspace / "app", 20, FILES, next(self._seeds)))

    def cuts(self) -> Iterator[Row]:
        """A pull of 300 MB cut at ten random points."""
        yield from cuts.rows(Sandbox(self._folder / "cuts"), self._home("ours"))


def cases(folder: Path) -> dict[str, Callable[[], Iterator[Row]]]:
    """The cases by name, in the order of the table."""
    bench = Bench(folder)
    return {name.replace("_", "-"): getattr(bench, name) for name in vars(Bench) if not name.startswith("_")}
