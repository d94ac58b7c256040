"""Owns what a host has that reaches a gateway which others run: the client's files, and what is kept to know it by.
It must not know what pifleet makes on a gateway, and changes nothing of the gateway itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pifleet import fleet as names
from pifleet.fleet import Fleet, Gateway, Host
from pifleet.patterns.openshell.client import (
    BIN_ALONE,
    CLIENT_UID,
    CLIENT_USER,
    GATEWAY,
    OTHERS,
    ROOT,
    client_of,
    folder_of,
)

CLIENT_PART = "openshell_client"


def extend(spec: dict[str, Any], fleet: Fleet, host: Host, of: Gateway) -> None:
    """Add the client, its folders, and certificates where the gateway has some."""
    spec["users"].append({"name": CLIENT_USER, "uid": CLIENT_UID, "gecos": names.gecos(fleet.name), "system": True})
    spec["dirs"] += _dirs(host)
    trust = folder_of(host) / "trust"
    texts = {"ca.crt": of.ca, "tls.crt": of.certificate}
    spec["files"] += [
        {"path": str(trust / name), "content": text, "mode": "0644", "part": CLIENT_PART, "sandbox": "",
         "in_place": False}
        for name, text in texts.items() if of.key
    ]
    if of.key:
        spec["secrets"].append({"path": str(trust / "tls.key"), "mode": "0600", "template": "{}\n", "lines": True,
                                "secret": f"gateway:{host.name}:key", "part": CLIENT_PART})


def gateway(fleet: Fleet, host: Host, of: Gateway) -> dict[str, Any]:
    """The gateway in a spec."""
    trust = folder_of(host) / "trust"
    return {
        "own": False, "name": GATEWAY, "version": fleet.openshell.version, "endpoint": of.url,
        "auth": "mtls" if of.key else "plaintext", "until": of.until,
        "trust": {name: str(trust / name) for name in ("ca.crt", "tls.crt", "tls.key") if of.key},
        "packages_dir": str(ROOT / "packages"), "bin": str(BIN_ALONE), "client": str(client_of(host).folder),
        "client_user": CLIENT_USER, "incoming": str(ROOT / "incoming"),
        "image": {"name": of.image or fleet.image.openshell_name},
    }


def _dirs(host: Host) -> list[dict[str, Any]]:
    def one(path: object, mode: str, uid: int = 0) -> dict[str, Any]:
        return {"path": str(path), "mode": mode, "uid": uid, "gid": uid, "part": CLIENT_PART, "sandbox": ""}

    def every() -> Iterator[dict[str, Any]]:
        yield from (one(path, "0755") for path in (BIN_ALONE, ROOT, ROOT / "packages", OTHERS, folder_of(host)))
        yield from (one(path, "0700") for path in (folder_of(host) / "trust", ROOT / "incoming"))
        folder = client_of(host).folder
        yield from (one(path, "0700", CLIENT_UID) for path in (folder, folder / "empty"))

    return list(every())
