"""Owns what a sandbox may say in words: the records of an answer, strictly typed and bounded.
It must not know frames, git or files."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pifleet.results.limits import Refusal

Oid = Annotated[str, Field(pattern=r"^[0-9a-f]{40}\z")]
OptionalOid = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{40})?\z")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]
Name = Annotated[str, Field(max_length=4096, pattern=r"^[\x00-\xff]*\z")]  # one character per byte
Text = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Field(ge=0, le=1 << 62)]
Kind = Literal["repo", "tree"]
# Reasons for which something stayed behind, or came home without its name (those of WAIVED are no loss of work).
Reason = Literal["waived", "empty", "ref.name", "ignored", "special", "changed", "capture.denied", "path.git",
                 "path.too_deep", "path.too_long", "limit.file", "ref.namespace", "worktree.outside", "git.broken",
                 "git.format", "git.shallow", "git.connectivity"]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Alive(_Record):
    kind: Literal["alive"]
    doing: Annotated[str, Field(max_length=200)]


class Ask(_Record):
    """What of the histories does home have? `known`: the far end remembers the state that home named."""

    kind: Literal["ask"]
    known: bool


class Unchanged(_Record):
    """Everything is as in the state that home named."""

    kind: Literal["unchanged"]


class Same(_Record):
    """One unit is as in the state that home named."""

    kind: Literal["same"]
    unit: Kind
    path: Name
    state: Sha256


class UnitRecord(_Record):
    """One repository or tree; commits that do not exist are empty strings."""

    kind: Literal["unit"]
    unit: Kind
    path: Name
    state: Sha256
    head_ref: Annotated[str, Field(max_length=1000)]
    head: OptionalOid
    snapshot: Oid
    index: OptionalOid
    ignored: OptionalOid
    artifacts: OptionalOid
    blocks: OptionalOid
    operation: OptionalOid
    tips: OptionalOid
    stashes: Annotated[list[Oid], Field(max_length=500)]
    upstream: Annotated[list[Oid], Field(max_length=500)]
    operation_name: Literal["", "merge", "rebase", "cherry-pick", "revert", "bisect"]
    files: Count
    bytes: Count
    more: Count


class Refs(_Record):
    kind: Literal["refs"]
    items: list[tuple[Text, Oid]]


class Notes(_Record):
    kind: Literal["notes"]
    items: list[tuple[Name, Reason, Count]]


class Done(_Record):
    kind: Literal["done"]
    path: Name


class Fatal(_Record):
    kind: Literal["fatal"]
    reason: Literal["capture.tool", "capture.workspace", "limit.files", "git.broken", "git.connectivity"]
    text: Text


class SectionEnd(_Record):
    bytes: Count
    pack: Literal["more", "whole", "broken", "files"]


class End(_Record):
    sha256: Sha256


AnyRecord = Alive | Ask | Unchanged | Same | UnitRecord | Refs | Notes | Done | Fatal
_RECORD: TypeAdapter[Any] = TypeAdapter(Annotated[AnyRecord, Field(discriminator="kind")])
_SECTION: TypeAdapter[Any] = TypeAdapter(SectionEnd)
_END: TypeAdapter[Any] = TypeAdapter(End)


def _parsed(shape: TypeAdapter[Any], payload: bytes, limit: int) -> Any:
    if len(payload) > limit:
        raise Refusal("limit.record", f"a record of {len(payload)} bytes; at most {limit} are taken")
    try:
        return shape.validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = json.dumps(".".join(str(part) for part in first["loc"]))[:100]
        raise Refusal("proto.schema", f"a record is not as agreed: {first['type']} at {where}") from None


def record(payload: bytes, limit: int) -> AnyRecord:
    """Raises Refusal: limit.record, proto.schema."""
    parsed: AnyRecord = _parsed(_RECORD, payload, limit)
    return parsed


def section_end(payload: bytes, limit: int) -> SectionEnd:
    parsed: SectionEnd = _parsed(_SECTION, payload, limit)
    return parsed


def end(payload: bytes, limit: int) -> End:
    parsed: End = _parsed(_END, payload, limit)
    return parsed
