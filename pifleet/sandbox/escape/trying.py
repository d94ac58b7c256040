"""Owns what attempts to get out of a sandbox are made of: how one ends as a refusal, and the acts that several share.
It must not know what is attempted."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

SECONDS = 3
UNAVAILABLE = {errno.EPERM, errno.EACCES, errno.ENOSYS}

Json = dict[str, Any]
Attempt = Callable[[], str]
libc = ctypes.CDLL(None, use_errno=True)


def connect(address: Any, family: int = 0) -> str:
    if not family:
        family, _, _, _, address = socket.getaddrinfo(address[0], address[1], type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        client.connect(address)
    return f"connected to {address}"


def touched(path: str, how: int) -> str:
    """Open only: nothing is read from it or written into it."""
    os.close(os.open(path, how | os.O_NONBLOCK | os.O_NOCTTY))
    return "opened"


def those(names: Iterable[str]) -> str:
    """The first of what was found; finding nothing is a refusal."""
    found = sorted(set(names))
    if not found:
        raise FileNotFoundError(errno.ENOENT, "nothing there")
    return f"{len(found)}: {', '.join(found[:5])}"


def called(function: Callable[..., int], *arguments: object) -> str:
    """A function of libc, told by its error where it fails."""
    return allowed(ctypes.get_errno()) if function(*arguments) == -1 else "succeeded"


def allowed(code: int) -> str:
    """Raises OSError for an error that means "you may not"; any other came after that question."""
    if code in UNAVAILABLE:
        raise OSError(code, os.strerror(code))
    return f"allowed ({errno.errorcode.get(code, code)})"


def in_child(attempt: Callable[..., object], *arguments: object) -> str:
    """In a process of its own, so that what succeeds goes away with it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, b"+" + str(attempt(*arguments) or "done").encode())
        except OSError as error:
            os.write(writer, str(error.errno).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    if said.startswith("+"):
        return said[1:]
    raise OSError(int(said), os.strerror(int(said)))
