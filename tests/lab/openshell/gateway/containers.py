"""A sandbox as a Docker container: what the test double asks of the engine, with the real driver's labels and names.

Owns the container's body; must not know the sandbox's phase. The double mounts its host's /usr and Python besides, for
the supervisor is Python, and lifts seccomp, for old engines' default profile knows no Landlock.
"""

import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from .config import Config
from .protocol import invalid, precondition

LABEL = "openshell.ai"
DOUBLE = "io.pifleet.test.openshell-double"
SUPERVISOR = "/opt/openshell/bin/openshell-sandbox"
HOST, PYTHON, RUN = "/opt/openshell/host", "/opt/openshell/python", "/run/openshell-double"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CAPABILITIES = ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYSLOG"]
PIDS = 2048
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30,
         "Ti": 1 << 40}


def name(sandbox: Any) -> str:
    meta = sandbox.metadata
    return f"openshell-{meta.workspace}--{meta.name}-{meta.id}"


def labels(config: Config, sandbox: Any) -> dict[str, str]:
    meta = sandbox.metadata
    return {
        f"{LABEL}/managed-by": "openshell",
        f"{LABEL}/sandbox-id": meta.id,
        f"{LABEL}/sandbox-name": meta.name,
        f"{LABEL}/sandbox-namespace": config.namespace,
        f"{LABEL}/sandbox-workspace": meta.workspace,
        DOUBLE: config.namespace,
    }


def filters(config: Config, *more: str) -> dict[str, Any]:
    """What finds this gateway's containers, and this double's only."""
    wanted = [f"{LABEL}/managed-by=openshell", f"{LABEL}/sandbox-namespace={config.namespace}", DOUBLE, *more]
    return {"all": "true", "filters": {"label": wanted}}


def workspace(image: dict[str, Any]) -> str:
    """The workspace's root: the image's WORKDIR, else /sandbox. Raises Refusal where a volume lies on it."""
    workdir = image["Config"].get("WorkingDir") or "/"
    root = "/sandbox" if workdir == "/" else workdir.rstrip("/")
    for volume in image["Config"].get("Volumes") or {}:
        if root == volume or root.startswith(f"{volume}/"):
            raise precondition(f"image-declared volume '{volume}' masks OCI WorkingDir '{root}' before workspace "
                               "validation")
    return root


def body(config: Config, sandbox: Any, image: dict[str, Any], supervisor: Path, folder: Path) -> dict[str, Any]:
    """The engine's request for a sandbox's container; raises Refusal for limits and mounts that are none."""
    spec, root = sandbox.spec, workspace(image)
    limits = MessageToDict(spec.template.resources).get("limits", {})
    return {
        "Image": image["Id"],
        "User": "0",
        "WorkingDir": "/",
        "Env": [f"{key}={value}" for key, value in sorted(environment(config, sandbox, image).items())],
        "Entrypoint": [SUPERVISOR],
        "Cmd": ["--workdir", root],
        "Labels": {**dict(spec.template.labels), **labels(config, sandbox)},
        "HostConfig": {
            "NanoCpus": cpu(limits.get("cpu", "")),
            "Memory": memory(limits.get("memory", "")),
            "PidsLimit": int(config.docker.get("sandbox_pids_limit", PIDS)),
            "Binds": [f"{supervisor}:{SUPERVISOR}:ro", f"/usr:{HOST}:ro", f"{sys.base_prefix}:{PYTHON}:ro",
                      f"{folder}:{RUN}"],
            "Mounts": mounts(config, sandbox, root),
            "CapAdd": CAPABILITIES,
            "SecurityOpt": ["apparmor=unconfined", "seccomp=unconfined"],
            "NetworkMode": config.network,
            "ExtraHosts": [f"host.{alias}.internal:host-gateway" for alias in ("openshell", "docker")],
        },
    }


def environment(config: Config, sandbox: Any, image: dict[str, Any]) -> dict[str, str]:
    """The container's own environment, which the supervisor reads; `--env` values are in it, as with the real one."""
    spec = sandbox.spec
    given = {**spec.template.environment, **spec.environment}
    return {
        **given,
        **({"OPENSHELL_USER_ENVIRONMENT": json.dumps(given)} if given else {}),
        "HOME": "/root",
        "PATH": PATH,
        "TERM": "xterm",
        "OPENSHELL_LOG_LEVEL": spec.log_level or config.log_level,
        "OPENSHELL_ENDPOINT": f"{config.scheme}://host.openshell.internal:{config.port}",
        "OPENSHELL_SANDBOX_ID": sandbox.metadata.id,
        "OPENSHELL_SANDBOX": sandbox.metadata.name,
        "OPENSHELL_SSH_SOCKET_PATH": "/run/openshell/ssh.sock",
        "OPENSHELL_MAIN_PROCESS_SPEC": json.dumps({"command": list(spec.command), "tty": spec.tty}),
        "OPENSHELL_TELEMETRY_ENABLED": "false",
        "OPENSHELL_OCI_IMAGE_USER": image["Config"].get("User") or "",
        "OPENSHELL_SANDBOX_UID": "",
        "OPENSHELL_SANDBOX_GID": "",
        "OPENSHELL_DOUBLE_PYTHON": python(),
        "OPENSHELL_DOUBLE_HOME": PYTHON,
    }


def python() -> str:
    """The host's Python as a command inside a container: its loader, its libraries, itself."""
    triple = f"{platform.machine()}-linux-gnu"
    loader = os.path.realpath(next(Path("/usr/lib", triple).glob("ld-linux-*.so.*")))
    binary = Path(os.path.realpath(sys.executable)).relative_to(os.path.realpath(sys.base_prefix))
    libraries = f"{PYTHON}/lib:{HOST}/lib/{triple}"
    return f"{HOST}/{Path(loader).relative_to('/usr')} --library-path {libraries} {PYTHON}/{binary}"


def cpu(text: str) -> int:
    """Billionths of a core: `2`, `0.5` and `500m`."""
    if not re.fullmatch(r"(\d+(\.\d+)?|\d+m)?", text):
        raise precondition(f"invalid docker cpu limit '{text}'")
    return int(text[:-1]) * 10**6 if text.endswith("m") else int(float(text or 0) * 10**9)


def memory(text: str) -> int:
    """Bytes: `2Gi`, `512M`, plain numbers."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]i?)?", text) if text else None
    if text and not found:
        raise precondition(f"invalid docker memory limit '{text}'")
    return int(float(found[1]) * UNITS[found[2] or ""]) if found else 0


def mounts(config: Config, sandbox: Any, root: str) -> list[dict[str, Any]]:
    """`--driver-config-json`'s mounts; raises Refusal for a bind that is not enabled, and for the workspace itself."""
    wanted = MessageToDict(sandbox.spec.template.driver_config).get("docker", {})
    made = []
    for mount in wanted.get("mounts", []):
        if mount.get("type") == "bind" and not config.docker.get("enable_bind_mounts"):
            raise precondition("docker bind mounts require enable_bind_mounts = true in [openshell.drivers.docker]")
        if mount["target"].rstrip("/") == root:
            raise precondition(f"mount target '{mount['target']}' is reserved for the OpenShell workspace")
        if mount.get("type") not in ("bind", "volume"):
            raise invalid(f"unknown mount type '{mount.get('type')}'")
        made.append({"Type": mount["type"], "Source": mount["source"], "Target": mount["target"],
                     "ReadOnly": bool(mount.get("read_only"))})
    return made
