"""Owns opening the way to a host by ssh: host keys verified, every wait bounded, each failure told in a sentence.
It must not know what runs over it; it is the only module that imports fabric, and does so at first use."""

from __future__ import annotations

import logging
import random
import shlex
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pifleet.connection import client as openssh
from pifleet.connection.channel import SshStream
from pifleet.connection.client import CONNECT_SECONDS, KEEPALIVE_SECONDS, address_of, known_files, login_of
from pifleet.connection.link import Link, tail
from pifleet.errors import HostFailed
from pifleet.fleet import Connection, Host
from pifleet.stream import Stream

if TYPE_CHECKING:
    import paramiko

LOGIN_SECONDS = 15
DEAD_PEER_SECONDS = 45
# A server takes 10 sessions on one connection (sshd_config(5), MaxSessions), and counts each until its program has
# ended, which it may learn after we do.
ROOM_SECONDS = 60
# It also drops some of those who log in when 10 others do just now (sshd_config(5), MaxStartups).
BUSY_SECONDS = 10


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
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return self._log_in()
            except HostFailed:
                raise
            except Exception as error:  # paramiko raises whatever it meets, down to EOFError and AttributeError
                if self._proxy or not _hung_up(error) or time.monotonic() > until:
                    raise self._explain(error) from None
            self._drop()
            time.sleep(random.uniform(0.3, 1))  # noqa: S311 - only so that not all come back at once

    def _log_in(self) -> None:
        import fabric
        import paramiko

        # With no handler at all, Python itself would print paramiko's complaints; ours say the same.
        logging.getLogger("paramiko").addHandler(logging.NullHandler())
        logging.getLogger("paramiko").propagate = False
        connection = self.host.connection
        self._socket = self._dial()
        with _deadline(CONNECT_SECONDS + 2 * LOGIN_SECONDS, self._hang_up):
            # Fabric would read the operator's ssh_config and accept unknown host keys; ours does neither.
            config = fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig())
            self._fabric = fabric.Connection(
                address_of(self.host), user=login_of(connection), port=connection.port or 22, config=config,
                connect_kwargs=self._login(connection),
            )
            _trust(self._fabric.client, connection)
            self._fabric.open()
            self._fabric.transport.set_keepalive(KEEPALIVE_SECONDS)

    def _login(self, connection: Connection) -> dict[str, Any]:
        login: dict[str, Any] = {
            "sock": self._socket, "banner_timeout": LOGIN_SECONDS, "auth_timeout": LOGIN_SECONDS,
            "channel_timeout": LOGIN_SECONDS, "timeout": LOGIN_SECONDS, "transport_factory": _transport,
            "allow_agent": True, "look_for_keys": not connection.key_file,
        }
        if connection.key_file:
            login["key_filename"] = str(Path(connection.key_file).expanduser())
        if connection.password:
            login["password"] = connection.password.reveal()
        return login

    def _dial(self) -> socket.socket:
        command = openssh.proxy_command_for(self.host)
        if not command:
            port = self.host.connection.port or 22
            direct = socket.create_connection((address_of(self.host), port), timeout=CONNECT_SECONDS)
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

    @property
    def alive(self) -> bool:
        return bool(self._fabric.is_connected)

    def _start(self, argv: Sequence[str]) -> Stream:
        try:
            channel = self._session()
            with _deadline(LOGIN_SECONDS, self._hang_up):
                channel.exec_command(shlex.join(argv))
        except HostFailed:
            raise
        except Exception as error:  # as above
            raise self._explain(error) from None
        return SshStream(channel)

    def _session(self) -> paramiko.Channel:
        """A new channel, as soon as the server has room for one. Raises HostFailed when it never has."""
        import paramiko

        transport, until = self._fabric.transport, time.monotonic() + ROOM_SECONDS
        while True:
            with _deadline(LOGIN_SECONDS, self._hang_up):
                try:
                    channel: paramiko.Channel = transport.open_session(timeout=LOGIN_SECONDS)
                    return channel
                except paramiko.SSHException as error:  # which one it is may be another thread's: it keeps one for all
                    if not transport.is_active():
                        raise
                    refused = _one_line(error)
            if time.monotonic() > until:
                raise self._failed("its ssh server takes no more sessions on one connection", refused,
                                   "set MaxSessions to 10 or more in its sshd_config, or end what still runs there")
            time.sleep(0.2)

    def _drop(self) -> None:
        if fabric_connection := getattr(self, "_fabric", None):
            with suppress(Exception):
                fabric_connection.client.close()
        if self._socket:
            self._socket.close()

    def close(self) -> None:
        self._drop()
        if self._proxy:
            self._proxy.kill()
            self._proxy.wait()
        self._proxy_said.close()

    def _explain(self, error: Exception) -> HostFailed:
        import paramiko

        connection = self.host.connection
        login = f"{login_of(connection)}@{address_of(self.host)}"
        saw = _one_line(error)
        by_hand = shlex.join([*openssh.ssh_argv(self.host, tty=False), "true"])
        if isinstance(error, _UnknownKey):
            return self._failed("its host key is not known", error.saw, openssh.accept_command(self.host), True)
        if isinstance(error, paramiko.BadHostKeyException):
            forget = shlex.join(["ssh-keygen", "-R", openssh.known_name(self.host), "-f", known_files(connection)[0]])
            return self._failed(
                "its host key has changed: another machine answers, or it was installed anew",
                f"{_fingerprint(error.key)}, known is {_fingerprint(error.expected_key)}",
                f"find out why; if it is right: {forget}; {openssh.accept_command(self.host)}", True)
        if isinstance(error, paramiko.AuthenticationException):
            return self._failed(f"login as {login} was refused", saw, by_hand, True)
        if self._proxy:
            with suppress(OSError, ValueError):
                self._proxy_said.seek(0)
                saw = tail(self._proxy_said.read()) or saw
            return self._failed("could not be reached through its proxy", saw, by_hand, True)
        if _hung_up(error):
            saw = f"{saw}; a server does so when many log in at once (sshd_config(5), MaxStartups)"
            return self._failed("closed the connection before the login", saw, by_hand, True)
        if isinstance(error, socket.gaierror):
            return self._failed(f"no address is known for {address_of(self.host)}", saw,
                                f"set ansible_host of {self.host.name}", True)
        if self._socket:
            return self._failed("accepted the connection, but did not speak ssh in time", saw, by_hand, True)
        port = connection.port or 22
        return self._failed(f"did not answer at {address_of(self.host)} port {port}", saw, by_hand, True)


class _UnknownKey(Exception):
    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__("unknown host key")
        self.saw = _fingerprint(key)


def _transport(sock: socket.socket, **options: Any) -> paramiko.Transport:
    """One that asks for AES-GCM first: of other ciphers paramiko compares each packet's MAC byte by byte in Python,
    which takes half of a download's time."""
    import paramiko

    made = paramiko.Transport(sock, **options)
    security = made.get_security_options()
    security.ciphers = tuple(sorted(security.ciphers, key=lambda name: "gcm" not in name))
    return made


def _trust(client: paramiko.SSHClient, connection: Connection) -> None:
    import paramiko

    class Refuse(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
            raise _UnknownKey(key)

    for name in known_files(connection):
        with suppress(FileNotFoundError):
            client.load_system_host_keys(name)
    client.set_missing_host_key_policy(Refuse)


def _hung_up(error: Exception) -> bool:
    """Whether the server closed the connection before it said who it is."""
    import paramiko

    return isinstance(error, paramiko.SSHException) and isinstance(error.__context__, (EOFError, ConnectionError))


def _fingerprint(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"


@contextmanager
def _deadline(seconds: float, stop: Callable[[], None]) -> Iterator[None]:
    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
