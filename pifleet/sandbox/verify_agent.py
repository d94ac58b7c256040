"""Owns what can be proved of a sandbox from inside: who runs, what limits it, whether its parts work, that pi answers.
It is sent over an exec and runs alone, on Python 3.9 and the standard library; workspace and home stay as they are.

One request, a line of JSON, arrives on standard input; the answer is a line of JSON with what was found, not judged.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 60
KEY_NAMES = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)", re.IGNORECASE)
GROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
PROOF = "six times seven"

Json = dict[str, Any]


def main(request: Json) -> Json:
    """Everything that was found; an entry is null where it could not be found out."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text(errors="replace").splitlines()
                  if ":\t" in line)
    return {
        "uid": os.getuid(),
        "capabilities": {name: status.get(name) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")},
        "no_new_privileges": status.get("NoNewPrivs") == "1",
        "seccomp": status.get("Seccomp") == "2",
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "read_only": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "keys": keys(),
        "outside": outside(),
        "limits": {"memory": memory(), "pids": pids(), "cpus": cpus()},
        "model": health(request["health"]) if request["health"] else None,
        "repos": {name: repository(Path(request["workspace"], name), base) for name, base in request["repos"].items()},
        **pi(request["scripted"], request["word"], request["patience"]),
    }


def outside() -> bool:
    """Whether a file can be made where the system lets everybody, and no sandbox has any business."""
    try:
        with tempfile.TemporaryFile(dir="/var/tmp"):
            return True
    except OSError:
        return False


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


def number(*places: str) -> int | None:
    """The first number in the first of these files of the control groups, of version 2 or 1, that is there."""
    for place in places:
        try:
            word = (GROUPS / place).read_text(encoding="ascii").split()[0]
        except (OSError, IndexError):
            continue
        return int(word) if word.lstrip("-").isdigit() and 0 < int(word) < UNLIMITED else None
    return None


def memory() -> int | None:
    return number("memory.max", "memory/memory.limit_in_bytes")


def pids() -> int | None:
    return number("pids.max", "pids/pids.max")


def cpus() -> float | None:
    """Cores, as the scheduler's quota in each period (cgroups(7))."""
    quota = number("cpu.max", "cpu/cpu.cfs_quota_us")
    try:
        period = int((GROUPS / "cpu.max").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        period = number("cpu/cpu.cfs_period_us") or 0
    return quota / period if quota and period else None


def health(url: str) -> str | None:
    """What the model gateway calls its configuration, asked through the sandbox's own socket."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as reply:
            return str(reply.read(200), "utf-8", "replace")
    except OSError:
        return None


def repository(path: Path, base: str) -> Json | None:
    """HEAD of a repository whose every object is there, and whether its base is among them; else null."""
    # Its own configuration may have git start programs, or fetch; the sandbox wrote it.
    quiet = ("-c", "core.fsmonitor=false", "-c", "protocol.allow=never")
    git = ["git", "--no-optional-locks", *quiet, "-C", str(path)]
    head = run([*git, "rev-parse", "--verify", "HEAD"])
    whole = run([*git, "fsck", "--connectivity-only", "--no-progress", "--no-dangling"]) is not None
    holds = run([*git, "cat-file", "-e", f"{base}^{{commit}}"]) is not None if base else None
    return {"head": head, "base": holds} if head and whole else None


def pi(url: str, word: str, patience: float) -> Json:
    """Its version, and what it says at last to a scripted model that lets it write a file and read it.

    Agent folder, home, session and working folder are all in one that goes afterwards: even `--version` touches them.
    """
    provider = {"baseUrl": url, "api": "anthropic-messages", "apiKey": "unused", "models": [{"id": "scripted-1"}]}
    settings = {"defaultProvider": "proof", "defaultModel": "scripted-1", "enableInstallTelemetry": False}
    script = "\n".join(("CALL write " + json.dumps({"path": "proof.txt", "content": PROOF}),
                        "CALL bash " + json.dumps({"command": "cat proof.txt"}), f"SAY {word}: {{last_result}}"))
    with tempfile.TemporaryDirectory() as folder:
        agent = Path(folder, "agent")
        agent.mkdir()
        (agent / "models.json").write_text(json.dumps({"providers": {"proof": provider}}), encoding="utf-8")
        (agent / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        place: Json = {"cwd": folder, "env": {**os.environ, "HOME": folder, "TMPDIR": folder,
                                              "PI_CODING_AGENT_DIR": str(agent)}}
        ask = ["pi", "-p", "--session-dir", str(agent / "sessions"), script]
        return {"pi": run(["pi", "--version"], **place), "answer": run(ask, seconds=patience, **place) if url else None}


def run(argv: list[str], seconds: float = SECONDS, **settings: Any) -> str | None:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=seconds, check=True, **settings)
    except (OSError, subprocess.SubprocessError):
        return None
    return str(done.stdout, "utf-8", "replace").strip()[:1000]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.stdin.buffer.readline()))))
