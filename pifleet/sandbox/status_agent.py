"""Owns what only the inside of a sandbox can say of itself: unsaved work, disk used.
It is sent over an exec and runs alone, on Python 3.9 and the standard library, for every pattern; it changes nothing.

One request, a line of JSON, arrives on standard input; the answer is a line of JSON. Times are ages in seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

GIT_SECONDS = 10
DISK_SECONDS = 10

# What a repository's own configuration may have git start or fetch (git-config(1)): the sandbox wrote it, and not every
# pattern asks where the sandbox's own commands run.
QUIET = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "core.sshCommand=false", "protocol.allow=never")

Json = dict[str, Any]


def main(request: Json) -> Json:
    """The answer: repos by name, disk in bytes (null: not counted in time)."""
    workspace = Path(request["workspace"])
    return {
        "repos": {name: repository(workspace / name) for name in request["repos"]},
        "disk": disk([request["workspace"], request["home"]]),
    }


def repository(path: Path) -> Json | None:
    """HEAD, branch, whether something is not committed or not of the origin, the age of the newest change; or null."""
    try:
        filters = [word for one in without_filters(path) for word in ("-c", one)]
        changed = git(path, *filters, "status", "--porcelain", "-z", "--untracked-files=all").split("\0")
        head = git(path, "rev-parse", "--verify", "--quiet", "HEAD", fails=True).strip()
        ahead = git(path, "rev-list", "--max-count=1", "--all", "HEAD", "--not", "--remotes", "--tags", fails=True)
        branch = git(path, "symbolic-ref", "--short", "--quiet", "HEAD", fails=True).strip()
    except (OSError, subprocess.SubprocessError):
        return None
    dirty = [line[3:] for line in changed if len(line) > 3]
    seen = [path / name for name in dirty] + [path / ".git" / name for name in ("HEAD", "logs/HEAD")]
    return {"head": head, "branch": branch, "dirty": bool(dirty), "ahead": bool(ahead.strip()),
            "age": min(age(each) for each in seen)}


def without_filters(path: Path) -> list[str]:
    """Settings that switch off every filter that is configured for a repository."""
    named = git(path, "config", "--name-only", "-z", "--get-regexp", r"^filter\..*\..*", fails=True).split("\0")
    drivers = sorted({name.rpartition(".")[0] for name in named if name})
    return [f"{driver}.{key}=" for driver in drivers for key in ("clean", "smudge", "process")] + [
        f"{driver}.required=false" for driver in drivers]


def git(path: Path, *words: str, fails: bool = False) -> str:
    # Without optional locks, so that looking does not write the index.
    settings = [word for one in QUIET for word in ("-c", one)]
    done = subprocess.run(
        ["git", "--no-optional-locks", *settings, "-C", str(path), *words], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=GIT_SECONDS, check=not fails,
    )
    return done.stdout.decode("utf-8", "surrogateescape")


def age(path: Path) -> float:
    """Seconds since something changed there; where it is gone, since its folder did."""
    while True:
        try:
            return time.time() - path.lstat().st_ctime
        except OSError:
            if path == path.parent:
                return 0.0
            path = path.parent


def disk(paths: list[str]) -> int | None:
    try:
        done = subprocess.run(["du", "-scx", "--block-size=1", "--", *paths], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=DISK_SECONDS, check=False)
        return int(done.stdout.split()[-2])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.stdin.buffer.readline()))))
