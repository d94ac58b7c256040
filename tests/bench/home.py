"""Owns our side of a measurement as a program of its own: one pull, asked for as JSON on standard input.
It must not measure; whoever starts it does.

    python -m tests.bench.home < REQUEST
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pifleet.results import Limits, Pull, pull
from pifleet.results.plain.folder import RECEIPT
from pifleet.results.plain.index import Changes
from pifleet.results.plain.writer import Writer
from pifleet.stream import LocalStream, Stream
from tests.bench.place import Failed

TITLE, SANDBOX_ID = "bench/main", "bench-main"  # a sandbox that no inventory knows


def exec_into(home: str, link: Sequence[str] = ()) -> Callable[[Sequence[str]], Stream]:
    """An exec of a sandbox whose user has this home, behind a link; this machine's Python is the sandbox's."""

    def open_stream(argv: Sequence[str]) -> LocalStream:
        program = [sys.executable if argv[0] == "python3" else argv[0], *argv[1:]]
        return LocalStream([*link, *program], env={"PATH": os.environ["PATH"], "HOME": home})

    return open_stream


def bring(told: dict[str, Any], open_stream: Callable[[Sequence[str]], Stream] | None = None) -> Pull:
    """One pull as `told` (see methods.Ours) says. Raises Failed when it does not bring everything home."""
    done = attempt(told, open_stream)
    if done.result not in ("new", "unchanged"):
        raise Failed(f"the pull ended as {done.result}: {done.trouble or done.incomplete[:3]}")
    return done


def attempt(told: dict[str, Any], open_stream: Callable[[Sequence[str]], Stream] | None = None) -> Pull:
    """One pull, however it ends."""
    if not told["plain"]:
        leave_out_plain_files()
    return pull(
        open_stream or exec_into(told["home"], told["link"]), sandbox=TITLE, sandbox_id=SANDBOX_ID, repos=told["repos"],
        store=Path(told["results"]), workspace=told["workspace"], sessions=told["sessions"],
        limits=Limits(idle=120, total=3600))


def leave_out_plain_files() -> None:
    """For this process: the other tools write one copy, and ours is the store. Only the receipt lies in the folder."""
    Writer.apply = _receipt_only  # type: ignore[method-assign]


_apply = Writer.apply


def _receipt_only(self: Writer, changes: Changes) -> None:
    wanted = [file for file in changes.wanted if file.path == RECEIPT.encode()]
    _apply(self, replace(changes, wanted=wanted, gone=[]))


if __name__ == "__main__":
    bring(json.load(sys.stdin))
