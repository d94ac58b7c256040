"""Owns a real sshd on a loopback port with throwaway keys. It must not touch the machine's own ssh configuration."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from pifleet.fleet import Connection, Host

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")


class Sshd:
    """A running server; `host` reaches it with the right key and known_hosts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        for name in ("host_key", "user_key"):
            keygen(folder / name)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\n", encoding="utf-8")
        self.known_hosts = folder / "known_hosts"
        self.know((folder / "host_key.pub").read_text(encoding="utf-8"))
        self.host = Host("farm-1", ("pifleet_docker",), Connection(
            address="127.0.0.1", port=self.port, user=getpass.getuser(), key_file=str(folder / "user_key"),
            known_hosts=str(self.known_hosts)))
        self.start()

    def know(self, public_key: str) -> None:
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public_key}", encoding="utf-8")

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log)
        wait_for_port(self.port)

    def restart(self, config: str) -> None:
        """Go on with these lines added to its configuration."""
        self.stop()
        with (self.folder / "sshd_config").open("a", encoding="utf-8") as file:
            file.write(config)
        self.start()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def reached(self, **changes: object) -> Host:
        """The host with other connection settings."""
        return replace(self.host, connection=replace(self.host.connection, **changes))  # type: ignore[arg-type]


def keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("sshd did not start")
