"""Owns giving the caller's own terminal or streams to a program in a sandbox.
It must not know what runs there."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from pifleet.cli.act import opened
from pifleet.cli.call import Call
from pifleet.errors import BadInput
from pifleet.fleet import Sandbox
from pifleet.sandbox import Driver
from pifleet.stream import Stream, StreamTimeout

CHUNK = 1 << 16


def become(call: Call, name: str, argv: Callable[[Driver, Sandbox], list[str]]) -> NoReturn:
    """Turn this process into the program that shows the sandbox on the terminal. Raises BadInput without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("this verb needs a terminal", try_=f"pifleet exec {name} -- COMMAND")
    with opened(call, name) as (driver, box, _):
        program = argv(driver, box)
    os.execvp(program[0], program)  # noqa: S606 - an argument list of ours, and no shell wanted


def run_inside(call: Call, name: str, command: Sequence[str]) -> int:
    """Run a command with this process's streams; its exit code is returned, or becomes this process's own."""
    with opened(call, name) as (driver, box, host):
        if host.connection.password or host.connection.become_password:
            return pump(driver.stream(box, command))
        program = driver.terminal_argv(box, command, tty=False)
    sys.stdout.flush()
    return os.execvp(program[0], program)  # noqa: S606 - as above


def pump(stream: Stream) -> int:
    """Carry bytes both ways where only pifleet can give the password; standard error comes at the end, 64 KiB of it."""
    threading.Thread(target=_feed, args=(stream,), daemon=True).start()
    try:
        while True:
            with suppress(StreamTimeout):
                chunk = stream.read(CHUNK, 3600)
                if not chunk:
                    break
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
        code = stream.wait(60)
        sys.stderr.buffer.write(stream.stderr())
        return code
    finally:
        stream.close()


def _feed(stream: Stream) -> None:
    with suppress(BrokenPipeError):
        while chunk := os.read(0, CHUNK):
            stream.send(chunk)
        stream.end()
