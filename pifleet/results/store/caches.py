"""Owns the caches that stores borrow from: what the upstream of a repository holds, once for all sandboxes.
It must not know a sandbox. A cache never loses an object, since stores rely on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def caches(stores: Path) -> list[Path]:
    """The bare repositories `upstream/<repository>.git` in the folder of all stores."""
    return sorted(path for path in (stores / "upstream").glob("*.git") if path.is_dir())


def borrow(store: Path, lenders: Iterable[Path]) -> None:
    """Let a store use the lenders' objects, wherever the folder of all stores is moved to."""
    lines = "".join(f"../../upstream/{lender.name}/objects\n" for lender in lenders)
    path = store / "objects" / "info" / "alternates"
    if lines != (path.read_text(encoding="utf-8") if path.exists() else ""):
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(lines, encoding="utf-8")
        fresh.replace(path)
