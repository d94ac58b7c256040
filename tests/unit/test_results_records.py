"""What a sandbox may say in words: everything else is one refusal, never a traceback."""

import json
from typing import Any

import pytest

from pifleet.results.incoming import records
from pifleet.results.limits import Limits, Refusal

RECORD = Limits().record
OID = "1" * 40
UNIT: dict[str, Any] = {
    "kind": "unit", "unit": "repo", "path": "api", "state": "2" * 64, "head_ref": "refs/heads/main", "head": OID,
    "snapshot": OID, "index": "", "ignored": "", "artifacts": "", "blocks": "", "operation": "", "tips": "",
    "stashes": [], "upstream": [], "operation_name": "",
    "files": 3, "bytes": 17, "more": 0,
}
GOOD = {
    "unit": UNIT,
    "unborn": UNIT | {"head": "", "head_ref": "refs/heads/main"},
    "a path that is not UTF-8": UNIT | {"path": "caf\xe9"},
    "refs": {"kind": "refs", "items": [["refs/heads/main", OID]]},
    "notes": {"kind": "notes", "items": [["a\xff", "special", 0]]},
    "alive": {"kind": "alive", "doing": "reading api"},
    "a question": {"kind": "ask", "known": True},
    "nothing new": {"kind": "unchanged"},
}
BAD: dict[str, Any] = {
    "bool-size": UNIT | {"files": True},
    "float-size": UNIT | {"files": 3.0},
    "string-size": UNIT | {"files": "3"},
    "negative-size": UNIT | {"bytes": -5},
    "enormous-size": UNIT | {"bytes": 1 << 70},
    "missing-key": {name: UNIT[name] for name in UNIT if name != "snapshot"},
    "unknown-key": UNIT | {"mode": "0644"},
    "unknown-section": UNIT | {"kind": "bundle"},
    "unknown-unit": UNIT | {"unit": "tar"},
    "unknown-reason": {"kind": "notes", "items": [["a", "because", 0]]},
    "no-kind": {"path": "api"},
    "path-number": UNIT | {"path": 5},
    "path-null": UNIT | {"path": None},
    "path-beyond-bytes": UNIT | {"path": "\u0100"},
    "path-surrogate": UNIT | {"path": "\udc80"},
    "path-long": UNIT | {"path": "x" * 4097},
    "oid-short": UNIT | {"snapshot": "1" * 39},
    "oid-option": UNIT | {"snapshot": "--upload-pack=touch /tmp/x"},
    "oid-newline": UNIT | {"snapshot": OID + "\n"},
    "oid-upper-case": UNIT | {"snapshot": "A" * 40},
    "oid-empty": UNIT | {"snapshot": ""},
    "stashes-not-a-list": UNIT | {"stashes": OID},
    "too-many-stashes": UNIT | {"stashes": [OID] * 501},
    "ref-without-id": {"kind": "refs", "items": [["refs/heads/main"]]},
    "ref-with-more": {"kind": "refs", "items": [["refs/heads/main", OID, OID]]},
    "refs-as-object": {"kind": "refs", "items": {"refs/heads/main": OID}},
    "an array": [],
    "a number": 5,
    "null": None,
}
RAW = {
    "not-json": b"hello",
    "empty": b"",
    "cut": json.dumps(UNIT).encode()[:-1],
    "two-records": b'{"kind":"alive"}{"kind":"alive"}',
    "not-utf8": b'{"kind":"\xff"}',
    "nested-json": b'{"kind":' * 5000,
    "nested-arrays": b"[" * 60000,
    "not-a-number": json.dumps(UNIT).replace("17", "NaN").encode(),
}


@pytest.mark.parametrize("payload", GOOD.values(), ids=GOOD)
def test_an_agreed_record_is_taken(payload: dict[str, Any]) -> None:
    assert records.record(json.dumps(payload).encode(), RECORD).kind == payload["kind"]


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD)
def test_type_confusion_is_refused(payload: object) -> None:
    with pytest.raises(Refusal) as refusal:
        records.record(json.dumps(payload).encode(), RECORD)
    assert refusal.value.code == "proto.schema"


@pytest.mark.parametrize("payload", RAW.values(), ids=RAW)
def test_what_is_no_record_at_all_is_refused(payload: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        records.record(payload, RECORD)
    assert refusal.value.code == "proto.schema"


def test_a_refusal_quotes_nothing_that_the_sandbox_wrote() -> None:
    with pytest.raises(Refusal) as refusal:
        records.record(json.dumps(UNIT | {"\x1b[31mevil": 1}).encode(), RECORD)
    assert "\x1b" not in str(refusal.value)


def test_a_record_of_a_megabyte_is_refused_unread() -> None:
    with pytest.raises(Refusal) as refusal:
        records.record(b" " * (1 << 20), RECORD)
    assert refusal.value.code == "limit.record"
