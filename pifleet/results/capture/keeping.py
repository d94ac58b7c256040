"""Owns the form in which folders and the records of files are kept: paths first, then parts of known lengths.
It must not know whose they are.
"""

from __future__ import annotations

import json
import struct

from pifleet.results.capture.stats import RECORD
from pifleet.results.capture.survey import Big, Folder

_FOLDER = struct.Struct("<24sIQQcBIII")  # facts, seen, files, bytes, git, noted; lengths of inner, tree, big


def records_kept(files: dict[bytes, bytes]) -> list[bytes]:
    paths = b"\0".join(files)
    return [struct.pack("<Q", len(paths)), paths, *files.values()]


def records_in(data: bytes, at: int, count: int) -> tuple[dict[bytes, bytes], int]:
    size = struct.unpack_from("<Q", data, at)[0]
    paths = data[at + 8 : at + 8 + size].split(b"\0") if count else []
    at += 8 + size
    return dict(zip(paths, split(data[at : at + count * RECORD], RECORD))), at + count * RECORD  # noqa: B905 Python 3.9


def folders_kept(folders: dict[bytes, Folder]) -> list[bytes]:
    paths = b"\0".join(folders)
    fixed: list[bytes] = []
    rest: list[bytes] = []
    for folder in folders.values():
        inner = b"\0".join(folder.inner)
        big = json.dumps([(path.decode("latin-1"), mode, size, oid.hex()) for path, mode, size, oid in folder.big]
                         ).encode() if folder.big else b""
        fixed.append(_FOLDER.pack(folder.facts, folder.seen, folder.files, folder.bytes, folder.git or b" ",
                                  folder.noted, len(inner), len(folder.tree), len(big)))
        rest += (inner, folder.tree, big)
    return [struct.pack("<Q", len(paths)), paths, *fixed, *rest]


def folders_in(data: bytes, at: int, count: int) -> tuple[dict[bytes, Folder], int]:
    size = struct.unpack_from("<Q", data, at)[0]
    paths = data[at + 8 : at + 8 + size].split(b"\0") if count else []
    fixed = at + 8 + size
    at = fixed + count * _FOLDER.size
    found: dict[bytes, Folder] = {}
    for path in paths:
        facts, seen, files, weight, git, noted, inner, tree, big = _FOLDER.unpack_from(data, fixed)
        fixed += _FOLDER.size
        names = data[at : at + inner].split(b"\0") if inner else []
        at += inner
        found[path] = Folder(facts, names, seen, git.strip(), data[at : at + tree], files, weight,
                             _big_in(data[at + tree : at + tree + big]), noted=bool(noted))
        at += tree + big
    return found, at


def _big_in(data: bytes) -> list[Big]:
    return [(path.encode("latin-1"), mode, size, bytes.fromhex(oid))
            for path, mode, size, oid in (json.loads(data) if data else ())]


def split(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
