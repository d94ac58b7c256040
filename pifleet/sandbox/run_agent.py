"""Owns a run of pi inside a sandbox: started apart from any connection, written down, followed, listed and stopped.
It is sent over an exec and runs alone, on Python 3.9 and the standard library, for every pattern; it judges nothing.

One request, a line of JSON, arrives on standard input; answers are lines of JSON on standard output.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

RUNS = Path(os.environ.get("HOME", "/home/pi"), ".pifleet", "runs")
LISTED = 200
LINE_LIMIT = 1 << 20
TAIL = 2000
POLL_SECONDS = 0.2
PULSE_SECONDS = 5
GRACE_SECONDS = 10

Json = dict[str, Any]


class Stopped(Exception):
    """Somebody asked the run to end."""


def start(request: Json) -> None:
    """Start `argv` with the prompt as its input, `deadline` seconds at most (0: no limit), and return."""
    folder = RUNS / request["run"]
    RUNS.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    (folder / "prompt.txt").write_text(request["prompt"], encoding="utf-8")
    # The lock is the run's life: the kernel drops it when the supervisor ends, however that happens.
    with (folder / "alive").open("w", encoding="ascii") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        if child := os.fork():
            # It is gone as soon as the supervisor is out of reach of whoever ends this exec.
            os.waitpid(child, 0)
            return say({"started": request["run"]})
        try:
            _leave()
            alive.write(str(os.getpid()))
            alive.flush()
            fresh = folder / "exit.json.new"
            fresh.write_text(json.dumps(_supervise(folder, request)), encoding="utf-8")
            fresh.rename(folder / "exit.json")
        finally:
            os._exit(0)


def _leave() -> None:
    """Belong to no exec, terminal or session any more (daemon(7))."""
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)


def _supervise(folder: Path, request: Json) -> Json:
    def stop(*_: object) -> None:
        raise Stopped

    began, why, code, error = time.time(), "", None, ""
    signal.signal(signal.SIGTERM, stop)
    try:
        with (folder / "prompt.txt").open("rb") as prompt, (folder / "events.jsonl").open("wb") as events, \
                (folder / "stderr.txt").open("wb") as stderr:
            child = subprocess.Popen(request["argv"], stdin=prompt, stdout=events, stderr=stderr,
                                     cwd=request["workdir"], start_new_session=True)
        try:
            code = child.wait(request["deadline"] or None)
        except subprocess.TimeoutExpired:
            why = "deadline"
        except Stopped:
            why = "stopped"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if why:
            code = _end(child)
    except OSError as failure:
        error = str(failure)
    return {"code": code, "why": why, "error": error, "began": began, "ended": time.time()}


def _end(child: subprocess.Popen[bytes]) -> int:
    """End the child's process group: asked first, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            return child.wait(GRACE_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    return child.wait()


def follow(request: Json) -> None:
    """Say every line of the run's events after byte `offset`, a pulse while there is none, and at last its end."""
    folder, offset = RUNS / request["run"], request["offset"]
    if not folder.is_dir():
        return say({"error": "there is no such run"})
    said = time.monotonic()
    while True:
        ended = not _alive(folder)
        after = _say_lines(folder / "events.jsonl", offset, ended)
        if after != offset:
            offset, said = after, time.monotonic()
        elif ended:
            return say({"end": _exit(folder), "stderr": _tail(folder / "stderr.txt")})
        else:
            if time.monotonic() - said > PULSE_SECONDS:
                say({"at": offset})
                said = time.monotonic()
            time.sleep(POLL_SECONDS)


def _say_lines(path: Path, offset: int, last: bool) -> int:
    """Say what whole lines there are after `offset`, at the `last` look also a torn one; the new offset."""
    try:
        file = path.open("rb")
    except OSError:
        return offset
    with file:
        file.seek(offset)
        while line := file.readline(LINE_LIMIT):
            whole = line.endswith(b"\n")
            if not whole and len(line) == LINE_LIMIT:
                whole = _skip_line(file)
                answer: Json = {"skipped": file.tell() - offset}
            else:
                answer = {"line": line.decode("utf-8", "replace")}
            if not whole and not last:
                break
            offset = file.tell()
            say({"at": offset, **answer})
    return offset


def _skip_line(file: BinaryIO) -> bool:
    """Read on to the end of a line that is too long to be sent; whether it has one."""
    part = b""
    while more := file.readline(LINE_LIMIT):
        part = more
        if part.endswith(b"\n"):
            break
    return part.endswith(b"\n")


def listing(request: Json) -> None:
    """Say each of the newest runs, oldest first."""
    for folder in sorted(RUNS.iterdir())[-LISTED:] if RUNS.is_dir() else []:
        try:
            with (folder / "prompt.txt").open(encoding="utf-8", errors="replace") as file:
                prompt = file.read(TAIL)
        except OSError:
            continue
        alive = _alive(folder)
        say({"run": folder.name, "running": alive, "prompt": prompt, "end": None if alive else _exit(folder)})


def stop(request: Json) -> None:
    """End the run and wait until it has ended."""
    folder = RUNS / request["run"]
    if not folder.is_dir():
        return say({"error": "there is no such run"})
    end, asked = time.monotonic() + 3 * GRACE_SECONDS, False
    while _alive(folder):
        pid = (folder / "alive").read_text(encoding="ascii")
        if pid and not asked:
            os.kill(int(pid), signal.SIGTERM)
            asked = True
        if time.monotonic() > end:
            return say({"error": "the run does not end"})
        time.sleep(POLL_SECONDS)
    return say({"stopped": asked})


def _alive(folder: Path) -> bool:
    try:
        with (folder / "alive").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _exit(folder: Path) -> object:
    """How the run ended, or None where nothing was left to write that down."""
    try:
        return json.loads((folder / "exit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read(TAIL).decode("utf-8", "replace")
    except OSError:
        return ""


def say(answer: Json) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asked = json.loads(sys.stdin.buffer.readline())
    {"start": start, "follow": follow, "list": listing, "stop": stop}[asked["do"]](asked)
