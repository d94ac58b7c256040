"""Owns which names and links of a sandbox may appear in a folder of this machine, and how they are shown.
It must not touch a file system."""

from __future__ import annotations

import re
import unicodedata

from pifleet.results.capture.tool import names_git
from pifleet.results.limits import Limits

# Nearly every path there is; what this lets through has none of the problems, and the rest is looked at closely.
_PLAIN = re.compile(rb"(?:[A-Za-z0-9_+@=,][A-Za-z0-9._+@=,-]{0,200}/){0,100}[A-Za-z0-9_+@=,][A-Za-z0-9._+@=,-]{0,200}")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown(name: bytes) -> str:
    """For people and receipts: printable characters as they are, everything else as \\xNN."""
    text = name.decode("utf-8", "surrogateescape")
    return "".join(c if c.isprintable() and c != "\\" else _escaped(c) for c in text)


def said(text: str, limit: int = 300) -> str:
    """Words of a sandbox, made safe for a terminal and short enough for a line."""
    return shown(text.encode("utf-8", "surrogateescape"))[:limit]


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def path_problem(path: bytes, limits: Limits) -> str:
    """The reason word why a relative path is not written, or "" where it may be."""
    if _PLAIN.fullmatch(path) and b"git" not in path.lower() and len(path) <= min(limits.path, 255):
        return ""
    parts = path.split(b"/")
    if path.startswith(b"/"):
        return "path.absolute"
    if b".." in parts:
        return "path.traversal"
    if b"\0" in path or b"" in parts or b"." in parts:
        return "path.bad"
    if len(path) > limits.path or any(len(part) > limits.component for part in parts):
        return "path.too_long"
    if len(parts) > limits.depth:
        return "path.too_deep"
    if any(names_git(part) for part in parts):
        return "path.git"
    text = path.decode("utf-8", "surrogateescape")
    if any(unicodedata.category(c) == "Cc" for c in text) or _BIDI.search(text):
        return "path.control"
    return ""


def link_problem(path: bytes, target: bytes) -> str:
    """ "link.outside" unless a link at `path` stays below the root whatever other links of the same tree say.

    `..` may only lead, and at most as often as the link lies deep: a `..` after a name would step out of wherever a
    link of that name points, so a check of each link on its own would not do.
    """
    parts = target.split(b"/")
    up = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
    if not target or target.startswith(b"/") or b"\0" in target or b".." in parts[up:] or up > path.count(b"/"):
        return "link.outside"
    return ""
