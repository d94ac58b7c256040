"""Owns writing objects of our own into a store, each as a file of its own: durable before anything refers to them.
It must not know what they mean."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

from pifleet.results.capture.packs import object_id
from pifleet.results.store.packs import settle


def write(store: Path, objects: Iterable[tuple[str, bytes]]) -> None:
    """Put these, as (kind, content), into a store whose lock is held, in git's loose form. Raises OSError."""
    folders = {store / "objects"}
    for kind, content in objects:
        oid = object_id(kind, content).hex()
        place = store / "objects" / oid[:2] / oid[2:]
        place.parent.mkdir(exist_ok=True)
        new = place.with_name(f"tmp_obj_{oid[2:]}")  # as git calls it, which tidies such a one away
        with new.open("wb") as file:
            file.write(zlib.compress(b"%s %d\0%s" % (kind.encode(), len(content), content)))
            file.flush()
            os.fsync(file.fileno())
        new.chmod(0o444)
        new.replace(place)
        folders.add(place.parent)
    for folder in folders:
        settle(folder)
