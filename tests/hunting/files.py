"""Owns looking for words in files and in what is packed in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
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
