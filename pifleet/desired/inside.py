"""Owns what a whole pi in a container finds around it, whatever runs the container: places, ports, variables, files.
It must not know how any of it gets there."""

from __future__ import annotations

from collections.abc import Sequence

from pifleet.desired import clients as client_config
from pifleet.desired import pi
from pifleet.desired.egress import Clients
from pifleet.fleet import Model, Sandbox

HOME = "/home/pi"
WORKSPACE = "/workspace"
ETC = client_config.FOLDER
# Where the two sockets lie that lead out, and the ports on loopback that the image's keeper leads to them.
NET = "/run/pifleet"
MODEL_PORT = 8100
EGRESS_PORT = 8101
TMP_BYTES = 256 << 20


def environment() -> dict[str, str]:
    """The variables of every process inside."""
    return {"HOME": HOME, "PI_CODING_AGENT_DIR": f"{HOME}/.pi/agent", **_proxy(), **client_config.ENVIRONMENT}


def files(box: Sandbox, uid: int, models: Sequence[Model], clients: Clients) -> dict[str, str]:
    """Name and text of each file in ETC; `passwd` and `group`, which know the sandbox's `uid`, belong into /etc.

    `clients` is what the probe saw of the host's own pip and npm.
    """
    return {
        "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\n{box.user}:x:{uid}:{uid}::{HOME}:/bin/bash\n",
        "group": f"root:x:0:\n{box.user}:x:{uid}:\n",
        "models.json": pi.as_json(pi.models((m, f"http://127.0.0.1:{MODEL_PORT}/{m.name}") for m in models)),
        "settings.json": pi.as_json(pi.settings(box, models[0])),
        **client_config.files(box, clients),
    }


def _proxy() -> dict[str, str]:
    """What programs of all kinds read: some only know the one case (git and curl: http_proxy), some the other."""
    proxy = f"http://127.0.0.1:{EGRESS_PORT}"
    plain = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost"}
    return {**plain, **{name.lower(): value for name, value in plain.items()}}
