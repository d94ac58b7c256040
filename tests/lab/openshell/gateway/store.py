"""Everything that outlives a gateway, in one SQLite file of the test double: each object a protobuf message.

Owns names, ids and versions of objects; must not know what they mean.
"""

import os
import sqlite3
import uuid
from pathlib import Path
from typing import Any

from .protocol import exists, now

SCHEMA = """
create table if not exists objects (
  object_type text not null, id text not null, name text not null, workspace text not null, payload blob not null,
  created_at_ms integer not null, updated_at_ms integer not null, resource_version integer not null,
  primary key (object_type, id), unique (object_type, workspace, name))
"""


class Store:
    """Messages that carry an `ObjectMeta`, by kind, workspace and name."""

    def __init__(self, path: Path, *more: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self.path = path
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("pragma journal_mode=wal")
        self.database.executescript(";".join([SCHEMA, *more]))

    def add(self, message: Any, what: str) -> Any:
        """Keep a new object; raises Refusal (already exists) for a name that is taken."""
        meta = message.metadata
        meta.id = meta.id or str(uuid.uuid4())
        meta.created_at_ms, meta.resource_version = now(), 1
        try:
            self.database.execute(
                "insert into objects values (?,?,?,?,?,?,?,1)",
                (kind(message), meta.id, meta.name, meta.workspace, message.SerializeToString(), now(), now()))
        except sqlite3.IntegrityError:
            raise exists(f"{what} already exists") from None
        return message

    def save(self, message: Any) -> Any:
        """Replace an object, one version on. An object that is gone stays gone."""
        meta = message.metadata
        meta.resource_version += 1
        self.database.execute(
            "update objects set payload=?, updated_at_ms=?, resource_version=? where object_type=? and id=?",
            (message.SerializeToString(), now(), meta.resource_version, kind(message), meta.id))
        return message

    def remove(self, message: Any) -> bool:
        done = self.database.execute("delete from objects where object_type=? and id=?",
                                     (kind(message), message.metadata.id))
        return done.rowcount > 0

    def named(self, type_: Any, workspace: str, name: str) -> Any | None:
        return next(self._read(type_, "workspace=? and name=?", workspace, name), None)

    def by_id(self, type_: Any, id_: str) -> Any | None:
        return next(self._read(type_, "id=?", id_), None)

    def all(self, type_: Any, workspace: str | None = None) -> list[Any]:
        """Objects of a kind, of one workspace or of all, oldest first."""
        if workspace is None:
            return list(self._read(type_, "1=1"))
        return list(self._read(type_, "workspace=?", workspace))

    def _read(self, type_: Any, where: str, *values: str) -> Any:
        rows = self.database.execute(
            f"select payload from objects where object_type=? and {where} order by created_at_ms, rowid",
            (type_.DESCRIPTOR.name, *values)).fetchall()
        return (type_.FromString(row[0]) for row in rows)


def kind(message: Any) -> str:
    return str(message.DESCRIPTOR.name)
