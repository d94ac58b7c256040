"""Owns what the far end of a return may say in words: the records of its answer, strictly typed and bounded.
It must not know frames, git or files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pifleet.results.incoming.records import Alive, Count, Name, Oid, Text, _parsed


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Have(_Record):
    """Commits and tags that the place of the next unit that is `ready` has, with all that they reach."""

    kind: Literal["have"]
    items: list[Oid]


class Ready(_Record):
    """The packs of this unit are awaited."""

    kind: Literal["ready"]
    path: Name


class Kept(_Record):
    """Files of the next unit that is `put` in whose place something else was, and what became of them."""

    kind: Literal["kept"]
    items: list[tuple[Name, Text]]


class Put(_Record):
    """What became of one unit; `aside` is where that is which was in its place."""

    kind: Literal["put"]
    path: Name
    result: Literal["restored", "equal", "refused", "failed"]
    reason: Text
    files: Count
    aside: Name
    fresh: bool
    more: Count


class Fatal(_Record):
    kind: Literal["fatal"]
    reason: Annotated[str, Field(pattern=r"^[a-z.]{1,40}\z")]
    text: Text


AnyRecord = Alive | Have | Ready | Kept | Put | Fatal
_RECORD: TypeAdapter[Any] = TypeAdapter(Annotated[AnyRecord, Field(discriminator="kind")])


def record(payload: bytes, limit: int) -> AnyRecord:
    """Raises Refusal: limit.record, proto.schema."""
    parsed: AnyRecord = _parsed(_RECORD, payload, limit)
    return parsed
