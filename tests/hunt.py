"""Owns the hunt for poison: planted secrets searched for in files, archives, process lists, containers and images.
It must not know what should be found where; whoever hunts names the one place in which a secret belongs."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

Hit = tuple[str, str]
"""Which poison, and where it was found."""

ARCHIVES = (".zst", ".gz")
UNPACK = {".zst": ["zstd", "-dcq", "--"], ".gz": ["gzip", "-dcq", "--"]}


def in_files(poison: Sequence[str], roots: Iterable[Path], *, except_for: Iterable[Path] = ()) -> set[Hit]:
    """Every file below `roots` that holds a poison, unpacked where it is a compressed archive; links are not followed."""
    allowed = {str(path) for path in except_for}
    hits: set[Hit] = set()
    for root in roots:
        for word in poison:
            # One file system: a host's /proc, and what is mounted into it from elsewhere, are looked at on their own.
            argv = ["grep", "-rlaF", "--devices=skip", "-e", word, "--", str(root)]
            found = subprocess.run(argv, capture_output=True, text=True, errors="replace").stdout.splitlines()
            hits |= {(word, path) for path in found if path not in allowed}
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
    """Every container's and image's description, and every container's log, as the engine that `docker` speaks to tells."""

    def ask(*words: str) -> str:
        done = subprocess.run([*docker, *words], capture_output=True, text=True, errors="replace")
        return done.stdout + done.stderr

    hits = set()
    for kind, names in (("container", ask("ps", "-aq").split()), ("image", ask("images", "-aq").split())):
        for name in dict.fromkeys(names):
            texts = {"inspect": ask(kind, "inspect", name)}
            texts |= {"logs": ask("logs", name)} if kind == "container" else {"history": ask("history", "--no-trunc", name)}
            hits |= {(word, f"{what} of {kind} {name}") for what, text in texts.items() for word in poison if word in text}
    return hits


class Watch:
    """Looks at the process list again and again while the `with` block runs; `hits` afterwards holds all it saw.

    `looks` counts the passes, so that a test can tell a clean run from one that nobody watched.
    """

    def __init__(self, poison: Sequence[str]) -> None:
        self.hits: set[Hit] = set()
        self.looks = 0
        self._poison = poison
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.is_set():
            self.hits |= in_processes(self._poison)
            self.looks += 1
            self._over.wait(0.02)

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
