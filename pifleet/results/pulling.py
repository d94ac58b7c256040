"""Owns a pull as it is asked for: who may begin one and when, and what a person is told when it ends early.
It must not know patterns or hosts: a stream is all it gets."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pifleet.errors import PifleetError, Trouble
from pifleet.results.incoming.program import ARGV
from pifleet.results.limits import FULL, Limits, Refusal
from pifleet.results.lock import held
from pifleet.results.outcome import Item, Pull, Result
from pifleet.results.store.generations import Store
from pifleet.stream import Stream

if TYPE_CHECKING:
    from pifleet.results.incoming.reception import Progress

# Ignored folders that a command of the project makes again; everything else that is ignored is work.
WAIVED_FOLDERS = ("node_modules", "__pycache__", ".venv", ".tox", ".nox", ".pytest_cache", ".mypy_cache",
                  ".ruff_cache", ".gradle", ".cache", ".next", ".turbo")
_SANDBOX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def pull(open_stream: Callable[[Sequence[str]], Stream], *, sandbox: str, sandbox_id: str, repos: Sequence[str],
         store: Path, workspace: str = "/workspace", sessions: str = "/home/pi/.pi/agent/sessions",
         artifacts: Sequence[str] = (), limits: Limits | None = None, progress: Progress | None = None) -> Pull:
    """Bring home what a sandbox holds, as one new generation or not at all.

    `open_stream` starts an argument list inside the sandbox as its user. `sandbox` is "developer/name", `repos` the
    names of the repositories that should be in `workspace`, `store` the folder of all results, `artifacts` patterns of
    ignored files that are wanted (relative to `workspace`, `**` for any number of folders). `progress` is called
    with what is being received and the bytes so far. Never raises for anything that the sandbox, a connection or a
    disk did: then `result` is "refused" or "failed" and `trouble` says why. Raises ValueError for names that are none.
    """
    if not _SANDBOX.fullmatch(sandbox) or ".." in sandbox:
        raise ValueError(f"not developer/name: {sandbox!r}")
    limits, began, received = limits or Limits(), time.monotonic(), 0
    kept = Store(store, sandbox_id, limits)
    settings = capture_settings(workspace, sessions, artifacts, limits)
    try:
        _private(store)
        _private(store / ".store")
        with held(store / ".store" / f"{sandbox_id}.lock"), closing(open_stream(ARGV)) as stream:
            from pifleet.results.course import Course  # while the far end begins
            from pifleet.results.plain.folder import Folder

            course = Course(sandbox, kept, Folder.of(store, sandbox, sandbox_id, repos, limits), began)
            try:
                return course.run(stream, settings, progress)
            finally:
                received = course.received
    except Refusal as refusal:
        ended = refusal
    except PifleetError as error:
        return Pull(sandbox, None, "failed", time.monotonic() - began, received, trouble=error.trouble)
    except OSError as error:
        ended = Refusal("io.space" if error.errno in FULL else "io.failed", str(error))
    word, trouble = _told(ended, sandbox, store)
    refused = (Item(trouble.where, ended.code),) if ended.hostile else ()
    return Pull(sandbox, None, word, time.monotonic() - began, received, refused=refused, trouble=trouble)


def _told(ended: Refusal, sandbox: str, store: Path) -> tuple[Result, Trouble]:
    """What a person is told: nothing landed, why, and what to do."""
    word: Result = "refused" if ended.hostile else "failed"
    tries = {"busy": "wait until that pull has ended", "io.space": f"make room in {store}"}
    return word, Trouble(f"pull of {sandbox} {word}, nothing was changed at home", f"{ended.code}: {ended}",
                         ended.where or sandbox, tries.get(ended.code, f"pifleet pull {sandbox}"))


def capture_settings(workspace: str, sessions: str, artifacts: Sequence[str], limits: Limits) -> dict[str, Any]:
    """The settings of capture/agent.py."""
    return {"workspace": workspace, "sessions": sessions, "artifacts": list(artifacts),
            "waived": list(WAIVED_FOLDERS), "files": limits.files, "file": limits.file,
            "ignored_files": limits.ignored_files, "ignored_bytes": limits.ignored_bytes}


def _private(folder: Path) -> None:
    """Session logs hold secrets, so results are their owner's only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
