"""Owns how a gateway's own command is started on the host that reaches it: as whom, where, in which surroundings.
It must not know what is asked of a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from pifleet import fleet as names
from pifleet.fleet import Host

# The gateway may use the engine, which makes it as good as root; who only calls it may not.
CLIENT_USER, CLIENT_UID = "_pifleet-client", names.FIRST_UID - 12
# What a client calls its gateway; each has a folder of its own, so that they do not meet.
GATEWAY = "pifleet"
ROOT = names.ROOT / "openshell"
BIN = names.PROGRAMS / "openshell"
# What a host needs that only reaches a gateway is not what one has that runs one.
BIN_ALONE = names.PROGRAMS / "openshell-client"
OTHERS = ROOT / "others"


@dataclass(frozen=True)
class Client:
    """The client of one gateway: its folder, which holds the registration, and where its programs are."""

    folder: PurePosixPath = ROOT / "client"
    bin: PurePosixPath = BIN

    def environment(self) -> dict[str, str]:
        """What it runs with."""
        return {
            "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "PATH": f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "OPENSHELL_GATEWAY": GATEWAY, "NO_COLOR": "1", "OPENSHELL_TELEMETRY_ENABLED": "false",
        }

    def argv(self, *words: str) -> list[str]:
        """What root starts on the host to run `words` as the client."""
        return [
            "setpriv", f"--reuid={CLIENT_USER}", f"--regid={CLIENT_USER}", "--clear-groups", "env", "-i",
            f"--chdir={self.folder / 'empty'}", *(f"{name}={value}" for name, value in self.environment().items()),
            *words,
        ]

    def command(self, *words: str) -> list[str]:
        """The same for the openshell command."""
        return self.argv(str(self.bin / "openshell"), *words)


def client_of(host: Host) -> Client:
    """The client on a host: of the gateway there, or of somebody else's that it reaches."""
    return Client(folder_of(host) / "client", BIN_ALONE) if host.gateway else Client()


def folder_of(host: Host) -> PurePosixPath:
    """What a host has of a gateway that it only reaches. A host's name may be longer than a socket's path."""
    return OTHERS / names.digest("gateway", host.name)[:12]
