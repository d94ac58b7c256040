"""Owns the hunt for poison: planted secrets searched for in files, archives, process lists, containers and images.
It must not know what should be found where; whoever hunts names the one place in which a secret belongs."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

Hit = tuple[str, str]
"""Which poison, and where it was found."""

ARCHIVES = (".zst", ".gz")
UNPACK = {".zst": ["zstd", "-dcq", "--"], ".gz": ["gzip", "-dcq", "--"]}


def in_files(poison: Sequence[str], roots: Iterable[Path], *, except_for: Iterable[Path] = ()) -> set[Hit]:
    """Every file below `roots` that holds a poison, archives unpacked, links not followed."""
    allowed = {str(path) for path in except_for}
    hits: set[Hit] = set()
    for root in roots:
        for word in poison:
            # The word goes in by stdin: as an argument it would itself be a hit in the process list.
            argv = ["grep", "-rlaF", "--devices=skip", "-f", "-", "--", str(root)]
            found = subprocess.run(argv, input=word, capture_output=True, text=True, errors="replace").stdout
            hits |= {(word, path) for path in found.splitlines() if path not in allowed}
        hits |= _in_archives(poison, root)
    return hits


def _in_archives(poison: Sequence[str], root: Path) -> set[Hit]:
    hits = set()
    for folder, _, names in os.walk(root):
        for name in names:
            unpack = UNPACK.get(Path(name).suffix)
            if unpack:
                path = Path(folder, name)
                content = subprocess.run([*unpack, str(path)], capture_output=True).stdout
                hits |= {(word, str(path)) for word in poison if word.encode() in content}
    return hits


def in_processes(poison: Sequence[str]) -> set[Hit]:
    """Every process whose arguments or environment hold a poison, except this one."""
    hits = set()
    for proc in Path("/proc").glob("[0-9]*"):
        if proc.name == str(os.getpid()):
            continue
        for what in ("cmdline", "environ"):
            try:
                content = (proc / what).read_bytes()
            except OSError:
                continue
            hits |= {(word, f"{what} of {_name(proc)}") for word in poison if word.encode() in content}
    return hits


def in_engine(poison: Sequence[str], docker: Sequence[str] = ("docker",)) -> set[Hit]:
    """Every container's and image's description, history and log, as told by the engine that `docker` speaks to."""
    hits = set()
    for what, argv in _questions(docker):
        done = subprocess.run([*docker, *argv], capture_output=True, text=True, errors="replace")
        hits |= {(word, what) for word in poison if word in done.stdout + done.stderr}
    return hits


def _questions(docker: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    def ids(*words: str) -> list[str]:
        return subprocess.run([*docker, *words], capture_output=True, text=True).stdout.split()

    for name in ids("ps", "-aq"):
        yield f"inspect of container {name}", ["container", "inspect", name]
        yield f"log of container {name}", ["logs", name]
    for name in dict.fromkeys(ids("images", "-aq")):
        yield f"inspect of image {name}", ["image", "inspect", name]
        yield f"history of image {name}", ["history", "--no-trunc", name]


class Watch:
    """Looks at the process list again and again while the `with` block runs; `hits` afterwards holds all it saw.

    `looks` counts the passes and `seen` the programs looked into, so that a test can tell a clean run from one that
    nobody watched.
    """

    def __init__(self, poison: Sequence[str]) -> None:
        self.hits: set[Hit] = set()
        self.looks = self.seen = 0
        self._poison = [word.encode() for word in poison]
        self._known: dict[str, bytes] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.is_set():
            for name in filter(str.isdigit, os.listdir("/proc")):
                if name != str(os.getpid()):
                    self._look(name)
            self.looks += 1
            self._over.wait(0.05)

    def _look(self, name: str) -> None:
        """Look into a process that is new, or has become another program; the rest were looked into before."""
        try:
            arguments = Path("/proc", name, "cmdline").read_bytes()
            if self._known.get(name) == arguments:
                return
            self._known[name] = arguments
            content = {"cmdline": arguments, "environ": Path("/proc", name, "environ").read_bytes()}
        except OSError:
            return
        self.seen += 1
        for what, text in content.items():
            self.hits |= {(w.decode(), f"{what} of {_name(Path('/proc', name))}") for w in self._poison if w in text}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _name(proc: Path) -> str:
    try:
        return (proc / "comm").read_text().strip()
    except OSError:
        return proc.name
