"""Owns asking a program of ours inside a sandbox: sent over one exec, given one request, its answers bounded.
It must not know what is asked, and believes nothing that comes back beyond its size and that it is JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pifleet.errors import SandboxFailed
from pifleet.fleet import Sandbox
from pifleet.sandbox import Driver, Place
from pifleet.stream import Stream, StreamTimeout

ANSWER_LIMIT = 8 << 20
# The programs inside give a pulse every 5 seconds, or end within this time.
SILENCE_SECONDS = 30
# Isolated and without site, so that nothing in the sandbox's home is imported; the program is the first line of input:
# its modules by name, each of which needs only those before it, and itself at last.
_START = """\
import json, sys, types
for name, text in json.loads(sys.stdin.buffer.readline()):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)"""
ARGV = ("python3", "-I", "-S", "-c", _START)
# The modules of programs that have a room of their own.
_ROOMS = {"escape": ("trying", "network", "machine", "privileges")}


def ask(
    driver: Driver, sandbox: Sandbox, program: str, request: Mapping[str, Any], *,
    body: Iterable[bytes] = (), silence: float = 0, place: Place = "work",
) -> Iterator[dict[str, Any]]:
    """Run `<program>_agent.py` inside and yield its answers; `body` is sent when it answers `{"go": true}`.

    Raises SandboxFailed, also for an answer `{"error": ...}` and after `silence` seconds (0: SILENCE_SECONDS) without
    one; HostFailed.
    """
    silence = silence or SILENCE_SECONDS
    stream = driver.stream(sandbox, ARGV, place=place)
    try:
        stream.send(call(program, request))
        if not body:
            stream.end()
        for line in _lines(stream, sandbox, silence):
            answer = parsed(line)
            if answer is None:
                raise misshapen(sandbox)
            if isinstance(answer.get("error"), str):
                raise SandboxFailed(f"{sandbox.title}: {answer['error'][:200]}")
            if answer.get("go") is True:
                _send(stream, body)
            else:
                yield answer
        _check_end(stream, sandbox)
    except StreamTimeout:
        raise SandboxFailed(f"{sandbox.title} did not answer for {silence:g} s") from None
    except BrokenPipeError:
        _check_end(stream, sandbox)
        raise SandboxFailed(f"{sandbox.title} did not take the request") from None
    finally:
        stream.close()


def call(program: str, request: Mapping[str, Any]) -> bytes:
    """What ARGV has to be given for one request to `<program>_agent.py`."""
    here = Path(__file__).parent
    files = {f"pifleet.sandbox.{program}.{name}": here / program / f"{name}.py" for name in _ROOMS.get(program, ())}
    files["__main__"] = here / f"{program}_agent.py"
    sources = [(name, path.read_text(encoding="utf-8")) for name, path in files.items()]
    return f"{json.dumps(sources)}\n{json.dumps(request)}\n".encode()


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line as the JSON object that it should be, or None."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def misshapen(sandbox: Sandbox) -> SandboxFailed:
    """What to raise for an answer that is none."""
    return SandboxFailed(f"{sandbox.title} gave an answer of a wrong shape",
                         saw="something inside stands in pifleet's way", try_=f"pifleet shell {sandbox.title}")


def _send(stream: Stream, body: Iterable[bytes]) -> None:
    # A program that stopped reading has said why.
    with suppress(BrokenPipeError):
        for chunk in body:
            stream.send(chunk)
        stream.end()


def _lines(stream: Stream, sandbox: Sandbox, silence: float) -> Iterator[bytes]:
    buffer = b""
    while chunk := stream.read(1 << 20, silence):
        *whole, buffer = (buffer + chunk).split(b"\n")
        yield from whole
        if len(buffer) > ANSWER_LIMIT:
            raise misshapen(sandbox)
    if buffer:
        raise misshapen(sandbox)


def _check_end(stream: Stream, sandbox: Sandbox) -> None:
    code = stream.wait(SILENCE_SECONDS)
    if code:
        said = stream.stderr().decode(errors="replace").strip().splitlines()
        raise SandboxFailed(f"{sandbox.title} could not be asked", saw=said[-1] if said else f"exit code {code}",
                            try_=f"pifleet status {sandbox.title}")
