"""Owns what a way to a host can do once it is open: running programs there, as root or as the login user.
It must not know how the way was opened; the machine that pifleet runs on needs no opening and is here."""

from __future__ import annotations

import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pifleet.connection.client import where
from pifleet.errors import HostFailed
from pifleet.fleet import Host
from pifleet.stream import LocalStream, Stream, StreamTimeout

OUTPUT_LIMIT = 64 << 20

# What the login shell gets is always one of these fixed texts; what to run follows as positional parameters.
_AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec "$@"; fi; exec sudo -n -- "$@"'
_AS_ROOT_AT_TERMINAL = 'if [ "$(id -u)" = 0 ]; then exec "$@"; fi; exec sudo -- "$@"'
_AS_ROOT_ASKING = 'if [ "$(id -u)" = 0 ]; then exec "$@"; fi; exec sudo -S -p "" -- "$@"'
# sudo takes the password line only when it wants one, so the program starts after a mark, whoever read the line.
_AFTER_MARK = 'while IFS= read -r line; do if [ "$line" = "$0" ]; then exec "$@"; fi; done; exit 1'


@dataclass(frozen=True)
class Done:
    """A program that has ended: its exit code (255 when the connection broke) and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes


class Link(ABC):
    """An open way to one host; close it, or use it as a context manager. Safe for use from several threads."""

    def __init__(self, host: Host) -> None:
        self.host = host

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether programs can be started over it, as far as this end knows."""

    @abstractmethod
    def _start(self, argv: Sequence[str]) -> Stream: ...

    @abstractmethod
    def close(self) -> None:
        """End every program that still runs over the link and free everything; safe to call twice."""

    def stream(self, argv: Sequence[str], root: bool = True) -> Stream:
        """Start `argv` as root, or as the login user. Raises HostFailed when it cannot be started."""
        if not root:
            return self._start(argv)
        password = self.host.connection.become_password
        if password is None:
            return self._start(["sh", "-c", _AS_ROOT, "sh", *argv])
        mark = secrets.token_hex(16)
        stream = self._start(["sh", "-c", _AS_ROOT_ASKING, "sh", "sh", "-c", _AFTER_MARK, mark, *argv])
        with suppress(BrokenPipeError):
            stream.send(f"{password.reveal()}\n{mark}\n".encode())
        return stream

    def run(self, argv: Sequence[str], stdin: bytes = b"", root: bool = True, timeout: float = 60) -> Done:
        """Run `argv` to its end with `stdin` as its input, within `timeout` seconds.

        Raises HostFailed when it does not end in time, writes more than 64 MiB, or root is refused.
        """
        stream = self.stream(argv, root)
        feeder = threading.Thread(target=_feed, args=(stream, stdin), daemon=True)
        feeder.start()
        try:
            output, code = _collect(stream, time.monotonic() + timeout)
        except StreamTimeout:
            raise self._failed(f"{argv[0]} did not end within {timeout:g} s", saw=tail(stream.stderr())) from None
        except OverflowError:
            raise self._failed(f"{argv[0]} wrote more than {OUTPUT_LIMIT >> 20} MiB") from None
        finally:
            stderr = stream.stderr()
            stream.close()
        if root and code in (1, 127) and not output:
            self._check_root(stderr)
        return Done(code, output, stderr)

    def _check_root(self, stderr: bytes) -> None:
        lines = stderr.decode(errors="replace").splitlines()
        said = [line for line in lines if line.startswith("sudo:") or "sudo: not found" in line or "sudoers" in line]
        if said:
            raise self._failed("becoming root was refused", saw=said[-1],
                               try_="give the become password with -K, or set ansible_become_password")

    def _failed(self, what: str, saw: str = "", try_: str = "", unreachable: bool = False) -> HostFailed:
        return HostFailed(f"{self.host.name}: {what}", saw=saw, where=where(self.host), try_=try_,
                          unreachable=unreachable)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalLink(Link):
    """The machine that pifleet itself runs on."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._streams: list[Stream] = []

    @property
    def alive(self) -> bool:
        return True

    def _start(self, argv: Sequence[str]) -> Stream:
        try:
            stream = LocalStream(argv)
        except OSError as error:
            raise self._failed(f"{argv[0]} did not start", saw=str(error)) from None
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


def root_argv(argv: Sequence[str]) -> list[str]:
    """`argv` as root from a terminal, where sudo itself asks for the password that it may need."""
    return ["sh", "-c", _AS_ROOT_AT_TERMINAL, "sh", *argv]


def tail(data: bytes) -> str:
    """The last three lines that say anything, in one."""
    lines = [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:])


def _feed(stream: Stream, data: bytes) -> None:
    with suppress(OSError, ValueError):
        stream.send(data)
        stream.end()


def _collect(stream: Stream, deadline: float) -> tuple[bytes, int]:
    output = bytearray()
    while chunk := stream.read(1 << 16, max(0.0, deadline - time.monotonic())):
        output += chunk
        if len(output) > OUTPUT_LIMIT:
            raise OverflowError
    return bytes(output), stream.wait(max(0.0, deadline - time.monotonic()))
