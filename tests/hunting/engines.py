"""Owns looking for words in what a container engine holds: descriptions, logs, histories and the layers of images."""

from __future__ import annotations

import subprocess
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from tests.hunting.files import Hit

CHUNK = 1 << 20


def containers(docker: Sequence[str], label: str) -> list[str]:
    """The whole ids of running containers with a label."""
    argv = [*docker, "ps", "-q", "--no-trunc", "--filter", f"label={label}"]
    return subprocess.run(argv, capture_output=True, text=True).stdout.split()


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


def in_images(poison: Sequence[str], docker: Sequence[str], images: Sequence[str] | None = None) -> set[Hit]:
    """Every image whose layers, packed or not, hold a poison; all of the engine's where none are named."""
    if images is None:
        listed = subprocess.run([*docker, "images", "-q"], capture_output=True, text=True).stdout.split()
        images = list(dict.fromkeys(listed))
    hits = set()
    for image in images:
        with subprocess.Popen([*docker, "save", image], stdout=subprocess.PIPE) as saved:
            assert saved.stdout
            hits |= {(word, f"layer of image {image}") for word in _in_archive(poison, saved.stdout)}
            while saved.stdout.read(CHUNK):  # the blocks after the archive's end
                pass
    return hits


def _in_archive(poison: Sequence[str], archive: IO[bytes]) -> set[str]:
    """The words in names and contents of a tar's files; a file that is a tar itself is looked into."""
    found = set()
    with tarfile.open(fileobj=archive, mode="r|*") as members:
        for member in members:
            found |= {word for word in poison if word in member.name}
            content = members.extractfile(member) if member.isfile() else None
            if content and member.name.endswith((".tar", ".tar.gz")):
                found |= _in_archive(poison, content)
            elif content:
                found |= _in_stream(poison, content)
    return found


def _in_stream(poison: Sequence[str], content: IO[bytes]) -> set[str]:
    found, before, packed = set(), b"", None
    while chunk := content.read(CHUNK):
        if not before and chunk.startswith(b"\x1f\x8b"):
            packed = zlib.decompressobj(31)
        text = before + (packed.decompress(chunk) if packed else chunk)
        found |= {word for word in poison if word.encode() in text}
        before = text[-256:]
    return found
