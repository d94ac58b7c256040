"""Owns what can be proved of a sandbox from inside: who runs, what it may do, what it reaches, whether its parts work.
It is sent over an exec and runs alone, on Python 3.9 and the standard library; workspace and home stay as they are.

One request, a line of JSON, arrives on standard input; the answer is a line of JSON with what was found, not judged.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 60
KEY_NAMES = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)", re.IGNORECASE)

Json = dict[str, Any]


def main(request: Json) -> Json:
    """Everything that was found; an entry is null where it could not be found out."""
    return {
        "uid": os.getuid(),
        "capabilities": capabilities(),
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "read_only": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "keys": keys(),
        "model": health(request["health"]),
        "pi": run(["pi", "--version"]),
        "repos": {name: repository(Path(request["workspace"], name)) for name in request["repos"]},
        "answer": answer(request["agent"], request["prompt"]) if request["prompt"] else None,
    }


def capabilities() -> str | None:
    """The effective capabilities of this process (proc(5), CapEff)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return line.split()[1]
    return None


def keys() -> list[str]:
    """The names of environment variables, of any process that can be seen, that look like they hold a credential."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pairs = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        named = (pair.partition(b"=") for pair in pairs)
        found |= {name.decode("utf-8", "replace") for name, _, value in named
                  if value and KEY_NAMES.search(name.decode("utf-8", "replace"))}
    return sorted(found)


def health(url: str) -> str | None:
    """What the model gateway calls its configuration, asked through the sandbox's own socket."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as reply:
            return str(reply.read(200), "utf-8", "replace")
    except OSError:
        return None


def repository(path: Path) -> str | None:
    """HEAD of a repository whose every object is there, else null."""
    git = ["git", "--no-optional-locks", "-C", str(path)]
    head = run([*git, "rev-parse", "--verify", "HEAD"])
    whole = run([*git, "fsck", "--connectivity-only", "--no-progress", "--no-dangling"]) is not None
    return head if whole else None


def answer(agent: str, prompt: str) -> str | None:
    """What pi answers to a prompt that its scripted model plays; in a folder of its own, so that nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("models.json", "settings.json"):
            if Path(agent, name).exists():
                shutil.copy(Path(agent, name), folder)
        return run(["pi", "-p", "--no-session", "--no-tools", prompt], cwd=folder,
                   env={**os.environ, "PI_CODING_AGENT_DIR": folder})


def run(argv: list[str], **settings: Any) -> str | None:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=SECONDS, check=True, **settings)
    except (OSError, subprocess.SubprocessError):
        return None
    return str(done.stdout, "utf-8", "replace").strip()[:1000]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.stdin.buffer.readline()))))
