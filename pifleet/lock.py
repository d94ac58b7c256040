"""Owns that one controller at a time changes a host, and one at a time moves a sandbox's work or ends it: locks on the
host that an open connection holds and that die with it, on a cluster its Leases. It must not know what is done."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pifleet.connection import Done, Link, connect, tail
from pifleet.errors import HostFailed, PifleetError, SandboxFailed, Trouble
from pifleet.fleet import Host, Sandbox
from pifleet.kube.client import Api, path
from pifleet.kube.lease import OURS, Busy, Lease
from pifleet.stream import Stream, StreamTimeout

PATIENCE = 30.0
Action = Callable[[], None]
_HELD = b"held\n"
_BUSY = 75

# Runs on the host: takes the named locks, says so, and becomes the program given, or waits for its input to end, which
# it does when the controller or the line dies. Only what a broken line has left of one's own, which is known by the
# store that it pulls into, may be ended: until the far end notices, it would look like somebody at work.
_HOLDER = """
import fcntl, json, os, signal, sys
mine, names, argv = json.loads(sys.argv[1]), sys.argv[2].split(), sys.argv[3:]
os.makedirs("/run/pifleet", 0o755, exist_ok=True)
for name in names:
    lock = os.open("/run/pifleet/" + name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.read(lock, 1000).decode()
        theirs = json.loads(said or "{}")
        if not mine["store"] or [theirs.get(key) for key in ("who", "store")] != [mine["who"], mine["store"]]:
            sys.stdout.write(name + " " + said)
            sys.exit(75)
        os.kill(theirs["holder"], signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(dict(mine, holder=os.getpid())).encode(), 0)
    os.set_inheritable(lock, True)
sys.stdout.write("held\\n")
sys.stdout.flush()
if argv:
    os.execvp(argv[0], argv)
sys.stdin.read()
"""


@contextmanager
def locked(
    hosts: Mapping[str, Host], ending: Mapping[str, Sequence[Sandbox]], what: str
) -> Iterator[dict[str, Trouble]]:
    """Hold the locks of these hosts, and of the sandboxes that are `ending` on them (by the host's name), while the
    block runs. `what` is told to whoever comes meanwhile. Yields why a host's locks could not be had, by its name."""
    troubles: dict[str, Trouble] = {}
    with ExitStack() as held:
        for name, host in hosts.items():
            try:
                held.enter_context(_held(host, ending.get(name, ()), what))
            except PifleetError as error:
                troubles[name] = error.trouble
        yield troubles


def claimed(link: Link, sandbox: Sandbox, argv: Sequence[str], what: str, store: Path) -> Stream:
    """Start `argv` as root on the host; while it runs nobody else moves the sandbox's work or ends the sandbox.

    A program that moved it to or from the same `store`, which has a lock of its own here, has lost its line: it is
    ended. `read` raises SandboxFailed when somebody else is at it: who, and since when. Raises HostFailed.
    """
    return _Claimed(link.stream(_holder(link.host, _me(what, store), [_lock_of(sandbox)], argv)), sandbox, link.host)


def run_claimed(link: Link, sandbox: Sandbox, argv: Sequence[str], what: str, seconds: float) -> Done:
    """Run `argv`, which moves the sandbox's work or ends it, as root on the host, while nobody else does either.

    Raises SandboxFailed when somebody else is at it: who, and since when. Raises HostFailed, also after `seconds`.
    """
    done = link.run(_holder(link.host, _me(what), [_lock_of(sandbox)], argv), timeout=seconds)
    if done.code == _BUSY and not done.stdout.startswith(_HELD):
        raise _said_busy(link.host, [sandbox], done.stdout)
    return Done(done.code, done.stdout.removeprefix(_HELD), done.stderr)


@contextmanager
def leased(
    api: Api, sandbox: Sandbox, what: str, store: Path | None = None, *, on_loss: Action = lambda: None
) -> Iterator[None]:
    """While the block runs nobody else moves the work of a cluster's sandbox, or ends it, by the same rules.

    `on_loss` is called when somebody has taken it over meanwhile, or the cluster was not reached for too long. Raises
    SandboxFailed when somebody else is at it: who, and since when. Raises HostFailed.
    """
    assert api.host.cluster
    namespace = api.host.cluster.namespace_of(sandbox.developer)
    with _lease(api, namespace, sandbox.container, _me(what, store), sandbox, on_loss):
        yield


class _Claimed:
    """The stream of a program that was started only if the locks could be had."""

    def __init__(self, stream: Stream, sandbox: Sandbox, host: Host) -> None:
        self._stream, self._sandbox, self._host = stream, sandbox, host
        self._said = b""
        self.send, self.end, self.wait = stream.send, stream.end, stream.wait
        self.stderr, self.close = stream.stderr, stream.close

    def read(self, size: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while self._said != _HELD:
            refused = not _HELD.startswith(self._said)
            more = self._stream.read(1000 if refused else len(_HELD) - len(self._said), deadline - time.monotonic())
            self._said += more
            if refused and not more:
                raise _said_busy(self._host, [self._sandbox], self._said)
            if not more:
                return b""
        return self._stream.read(size, deadline - time.monotonic())


@contextmanager
def _held(host: Host, ending: Sequence[Sandbox], what: str) -> Iterator[None]:
    if host.cluster:
        with _cluster_held(host, ending, what):
            yield
        return
    names = ["lock", *map(_lock_of, ending)]
    with connect(host) as link:
        stream = link.stream(_holder(host, _me(what), names, ()))
        try:
            said = stream.read(1000, PATIENCE)
            if not said:
                raise HostFailed(f"{host.name}: its lock could not be had", saw=tail(stream.stderr()))
            if said != _HELD:
                raise _said_busy(host, ending, said)
            yield
        except StreamTimeout:
            again = f"pifleet doctor --limit {host.name}"
            raise HostFailed(f"{host.name}: its lock gave no answer", try_=again) from None
        finally:
            stream.close()


@contextmanager
def _cluster_held(host: Host, ending: Sequence[Sandbox], what: str) -> Iterator[None]:
    assert host.cluster
    with Api(host) as api, ExitStack() as held:
        namespace = host.cluster.own_namespace
        if not api.get(path("v1", "namespaces", "", namespace)):  # a first provision locks before it makes anything
            made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": OURS}}
            api.apply(path("v1", "namespaces", "", namespace), made)
        held.enter_context(_lease(api, namespace, "provision", _me(what)))
        for sandbox in ending:
            held.enter_context(leased(api, sandbox, what))
        yield


@contextmanager
def _lease(
    api: Api, namespace: str, name: str, mine: Mapping[str, str], sandbox: Sandbox | None = None,
    on_loss: Action = lambda: None,
) -> Iterator[None]:
    lease = Lease(api, namespace, name, mine)
    try:
        lease.take(on_loss)
    except Busy as error:
        raise _busy(api.host, sandbox, error.holder) from None
    try:
        yield
    finally:
        lease.let_go()


def _holder(host: Host, mine: Mapping[str, str], names: Sequence[str], argv: Sequence[str]) -> list[str]:
    return [host.connection.python, "-IS", "-c", _HOLDER, json.dumps(mine), " ".join(names), *argv]


def _lock_of(sandbox: Sandbox) -> str:
    return f"{sandbox.id}.lock"


def _me(what: str, store: Path | None = None) -> dict[str, str]:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {"who": f"{getpass.getuser()}@{socket.gethostname()}", "pid": str(os.getpid()), "since": since, "what": what,
            "store": f"{store.absolute()} {store.stat().st_ino}" if store else ""}


def _said_busy(host: Host, sandboxes: Sequence[Sandbox], said: bytes) -> PifleetError:
    name, _, told = said.decode(errors="replace").partition(" ")
    try:
        holder = dict(json.loads(told))
    except (ValueError, TypeError):
        holder = {}
    return _busy(host, next((sandbox for sandbox in sandboxes if name == _lock_of(sandbox)), None), holder)


def _busy(host: Host, sandbox: Sandbox | None, holder: Mapping[str, str]) -> PifleetError:
    try:
        saw = f"{holder['what']} by {holder['who']} (process {holder['pid']}) since {holder['since']}"
    except KeyError:
        saw = "another controller"
    again, where = "wait until that has ended, then the same command again", f"host {host.name}"
    if sandbox:
        return SandboxFailed(f"{sandbox.title} is busy", saw=saw, where=where, try_=again)
    return HostFailed(f"{host.name} is being changed by somebody else", saw=saw, where=where, try_=again)
