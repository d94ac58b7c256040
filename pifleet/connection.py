"""Owns the way to a host: opening it with verified keys and deadlines, becoming root there, running programs over it.
It must not know what runs over a link, or why; it is the only module that imports fabric, and does so at first use."""

from __future__ import annotations

import getpass
import logging
import secrets
import select
import shlex
import socket
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pifleet.errors import HostFailed
from pifleet.fleet import Connection, Host
from pifleet.stream import STDERR_KEPT, LocalStream, Stream, StreamTimeout

if TYPE_CHECKING:
    import paramiko

CONNECT_SECONDS = 10
LOGIN_SECONDS = 15
KEEPALIVE_SECONDS = 15
DEAD_PEER_SECONDS = 45
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
            raise self._failed(f"{argv[0]} did not end within {timeout:g} s", saw=_tail(stream.stderr())) from None
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
        return HostFailed(f"{self.host.name}: {what}", saw=saw, where=_where(self.host), try_=try_,
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


class SshLink(Link):
    """A host reached by ssh: one connection, one channel for each program."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._proxy: subprocess.Popen[bytes] | None = None
        self._proxy_said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._socket: socket.socket | None = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        import fabric
        import paramiko

        logging.getLogger("paramiko").propagate = False
        connection = self.host.connection
        try:
            self._socket = self._dial()
            with _deadline(CONNECT_SECONDS + 2 * LOGIN_SECONDS, self._hang_up):
                # Fabric would read the operator's ssh_config and accept unknown host keys; ours does neither.
                config = fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig())
                self._fabric = fabric.Connection(
                    _address(self.host), user=_user(connection), port=connection.port or 22, config=config,
                    connect_kwargs=self._login(connection),
                )
                _trust(self._fabric.client, connection)
                self._fabric.open()
                self._fabric.transport.set_keepalive(KEEPALIVE_SECONDS)
        except HostFailed:
            raise
        except Exception as error:  # paramiko raises whatever it meets, down to EOFError and AttributeError
            raise self._explain(error) from None

    def _login(self, connection: Connection) -> dict[str, Any]:
        login: dict[str, Any] = {
            "sock": self._socket, "banner_timeout": LOGIN_SECONDS, "auth_timeout": LOGIN_SECONDS,
            "channel_timeout": LOGIN_SECONDS, "timeout": LOGIN_SECONDS,
            "allow_agent": True, "look_for_keys": not connection.key_file,
        }
        if connection.key_file:
            login["key_filename"] = str(Path(connection.key_file).expanduser())
        if connection.password:
            login["password"] = connection.password.reveal()
        return login

    def _dial(self) -> socket.socket:
        command = _proxy_command(self.host)
        if not command:
            port = self.host.connection.port or 22
            direct = socket.create_connection((_address(self.host), port), timeout=CONNECT_SECONDS)
            direct.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_SECONDS * 1000)
            return direct
        ours, theirs = socket.socketpair()
        with theirs:
            # A ProxyCommand is a shell's text by definition (ssh_config(5)).
            self._proxy = subprocess.Popen(
                ["sh", "-c", f"exec {command}"], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._proxy_said,
                start_new_session=True,
            )
        return ours

    def _hang_up(self) -> None:
        if self._socket:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _start(self, argv: Sequence[str]) -> Stream:
        try:
            with _deadline(LOGIN_SECONDS, self._hang_up):
                channel = self._fabric.transport.open_session(timeout=LOGIN_SECONDS)
                channel.exec_command(shlex.join(argv))
        except Exception as error:  # as above
            raise self._explain(error) from None
        return SshStream(channel)

    def close(self) -> None:
        if fabric_connection := getattr(self, "_fabric", None):
            with suppress(Exception):
                fabric_connection.client.close()
        if self._socket:
            self._socket.close()
        if self._proxy:
            self._proxy.kill()
            self._proxy.wait()
        self._proxy_said.close()

    def _explain(self, error: Exception) -> HostFailed:
        import paramiko

        connection = self.host.connection
        login = f"{_user(connection)}@{_address(self.host)}"
        saw = _one_line(error)
        by_hand = shlex.join([*ssh_argv(self.host, tty=False), "true"])
        if isinstance(error, _UnknownKey):
            return self._failed("its host key is not known", error.saw, _accept_command(self.host), True)
        if isinstance(error, paramiko.BadHostKeyException):
            forget = shlex.join(["ssh-keygen", "-R", _known_name(self.host), "-f", _known_files(connection)[0]])
            return self._failed(
                "its host key has changed: another machine answers, or it was installed anew",
                f"{_fingerprint(error.key)}, known is {_fingerprint(error.expected_key)}",
                f"find out why; if it is right: {forget}; {_accept_command(self.host)}", True)
        if isinstance(error, paramiko.AuthenticationException):
            return self._failed(f"login as {login} was refused", saw, by_hand, True)
        if self._proxy:
            with suppress(OSError, ValueError):
                self._proxy_said.seek(0)
                saw = _tail(self._proxy_said.read()) or saw
            return self._failed("could not be reached through its proxy", saw, by_hand, True)
        if isinstance(error, socket.gaierror):
            return self._failed(f"no address is known for {_address(self.host)}", saw,
                                f"set ansible_host of {self.host.name}", True)
        if self._socket:
            return self._failed("accepted the connection, but did not speak ssh in time", saw, by_hand, True)
        return self._failed(f"did not answer at {_address(self.host)} port {connection.port or 22}", saw, by_hand, True)


class SshStream:
    """A Stream over one ssh channel."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._ready = select.poll()
        self._ready.register(channel.fileno(), select.POLLIN)
        self._stderr = b""

    def send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except OSError as error:
            raise BrokenPipeError(str(error)) from None

    def end(self) -> None:
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def read(self, size: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            ended = self._channel.eof_received or self._channel.closed
            self._drain_stderr()
            if ended or self._channel.recv_ready():
                return self._channel.recv(size)
            left = deadline - time.monotonic()
            if left <= 0 or not self._ready.poll(left * 1000):
                raise StreamTimeout

    def wait(self, timeout: float) -> int:
        if not self._channel.status_event.wait(timeout):
            raise StreamTimeout
        return self._channel.exit_status if self._channel.exit_status >= 0 else 255

    def stderr(self) -> bytes:
        self._drain_stderr()
        return self._stderr

    def close(self) -> None:
        self._channel.close()

    def _drain_stderr(self) -> None:
        while self._channel.recv_stderr_ready():
            self._stderr = (self._stderr + self._channel.recv_stderr(STDERR_KEPT))[-STDERR_KEPT:]


def connect(host: Host) -> Link:
    """Open the way to `host`: connected within 10 s, logged in within 15 s more.

    Raises HostFailed(unreachable=True) saying what to do.
    """
    return LocalLink(host) if host.connection.local else SshLink(host)


def ssh_argv(host: Host, tty: bool) -> list[str]:
    """The OpenSSH client's argument list up to and with the address, for people; empty for a local host.

    The same identity, port, proxy and strictly checked known hosts as `connect`; what follows is one argument more
    for the remote shell.
    """
    connection = host.connection
    if connection.local:
        return []
    options = _client_options(connection)
    if command := _proxy_command(host):
        options += ["-o", f"ProxyCommand={command.replace('%', '%%')}"]
    if connection.key_file:
        options += ["-i", connection.key_file]
    return ["ssh", "-F", "none", "-t" if tty else "-T", *options, "-p", str(connection.port or 22),
            "-l", _user(connection), "--", _address(host)]


def root_argv(argv: Sequence[str]) -> list[str]:
    """`argv` as root from a terminal, where sudo itself asks for the password that it may need."""
    return ["sh", "-c", _AS_ROOT_AT_TERMINAL, "sh", *argv]


class _UnknownKey(Exception):
    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__("unknown host key")
        self.saw = _fingerprint(key)


def _trust(client: paramiko.SSHClient, connection: Connection) -> None:
    import paramiko

    class Refuse(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
            raise _UnknownKey(key)

    for name in _known_files(connection):
        with suppress(FileNotFoundError):
            client.load_system_host_keys(name)
    client.set_missing_host_key_policy(Refuse)


def _known_files(connection: Connection) -> list[str]:
    if connection.known_hosts:
        return [str(Path(connection.known_hosts).expanduser())]
    return [str(Path("~/.ssh/known_hosts").expanduser()), "/etc/ssh/ssh_known_hosts"]


def _known_name(host: Host) -> str:
    port = host.connection.port or 22
    return _address(host) if port == 22 else f"[{_address(host)}]:{port}"


def _client_options(connection: Connection, check: str = "yes") -> list[str]:
    files = " ".join(f'"{name}"' for name in _known_files(connection))
    only = ["-o", "GlobalKnownHostsFile=none"] if connection.known_hosts else []
    return ["-o", f"StrictHostKeyChecking={check}", "-o", f"UserKnownHostsFile={files}", *only,
            "-o", f"ConnectTimeout={CONNECT_SECONDS}", "-o", f"ServerAliveInterval={KEEPALIVE_SECONDS}"]


def _proxy_command(host: Host) -> str:
    """The shell text that carries the connection, or empty; a jump is what OpenSSH makes of it (ssh -W)."""
    connection = host.connection
    port = connection.port or 22
    if connection.proxy_command:
        text = connection.proxy_command.replace("%%", "\0").replace("%h", _address(host))
        return text.replace("%p", str(port)).replace("%r", _user(connection)).replace("\0", "%")
    if not connection.proxy_jump:
        return ""
    *before, last = connection.proxy_jump.split(",")
    user, _, address = last.rpartition("@")
    address, jump_port = _split_port(address)
    return shlex.join([
        "ssh", *_client_options(connection), "-o", "BatchMode=yes", *(["-J", ",".join(before)] if before else []),
        *(["-l", user] if user else []), *(["-p", jump_port] if jump_port else []),
        "-W", f"[{_address(host)}]:{port}", "--", address,
    ])


def _split_port(address: str) -> tuple[str, str]:
    if address.startswith("["):
        inner, _, rest = address[1:].partition("]")
        return inner, rest.lstrip(":")
    name, _, port = address.partition(":")
    return (address, "") if ":" in port else (name, port)


def _accept_command(host: Host) -> str:
    plain = ssh_argv(host, tty=False)
    return shlex.join([*(word.replace("StrictHostKeyChecking=yes", "StrictHostKeyChecking=ask")
                         if not word.startswith("ProxyCommand=") else word for word in plain), "true"])


def _fingerprint(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"


def _address(host: Host) -> str:
    return host.connection.address or host.name


def _user(connection: Connection) -> str:
    return connection.user or getpass.getuser()


def _where(host: Host) -> str:
    if host.connection.local:
        return f"inventory: hosts > {host.name} (this machine)"
    port = host.connection.port or 22
    return f"inventory: hosts > {host.name} ({_user(host.connection)}@{_address(host)}, port {port})"


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


@contextmanager
def _deadline(seconds: float, stop: Any) -> Iterator[None]:
    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tail(data: bytes) -> str:
    lines = [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
