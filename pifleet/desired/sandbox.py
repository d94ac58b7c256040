"""Owns what one sandbox of pattern docker is on its host: folders, rendered files, repositories and its container.
It must not know other sandboxes or the host around it."""

from __future__ import annotations

import json
from typing import Any

from pifleet import fleet as names
from pifleet.fleet import Fleet, Model, Repo, Sandbox

MODEL_PORT = 8100
HOME = "/home/pi"
WORKSPACE = "/workspace"
TMP_BYTES = 256 << 20
PROVIDER = "pifleet"
TOOLS = ["read", "bash", "edit", "write", "grep", "find", "ls"]


def dirs(box: Sandbox) -> list[dict[str, Any]]:
    """The sandbox's folders. `net` opens to the sandbox's own group only: its sockets are its identity."""

    def one(path: object, mode: str, uid: int, gid: int) -> dict[str, Any]:
        return {"path": str(path), "mode": mode, "uid": uid, "gid": gid, "part": "developers", "sandbox": box.title}

    return [
        one(box.root, "0711", 0, 0),
        one(box.root / "etc", "0755", 0, 0),
        one(box.root / "net", "0750", 0, box.uid),
        one(box.root / "workspace", "0700", box.uid, box.uid),
        one(box.root / "home", "0700", box.uid, box.uid),
    ]


def files(box: Sandbox, model: Model) -> list[dict[str, Any]]:
    """The files that the sandbox reads and cannot change; those mounted one by one keep their inode when rewritten."""
    texts = {
        "passwd": _passwd(box),
        "group": f"root:x:0:\n{box.user}:x:{box.uid}:\n",
        "models.json": _json(pi_models(model)),
        "settings.json": _json(pi_settings(box, model)),
    }
    return [
        {
            "path": str(box.root / "etc" / name), "content": text, "mode": "0644", "part": "sandbox_docker",
            "sandbox": box.title, "in_place": name in ("passwd", "group"),
        }
        for name, text in texts.items()
    ]


def pi_models(model: Model) -> dict[str, Any]:
    """pi's models.json: one provider, reached through the sandbox's own forwarder.

    pi refuses a provider without a key, so it gets a word that opens nothing (facts: pi 0.87.1, docs/models.md).
    """
    return {
        "providers": {
            PROVIDER: {
                "baseUrl": f"http://127.0.0.1:{MODEL_PORT}",
                "api": model.wire_api,
                "apiKey": "unused",
                "models": [{"id": model_id} for model_id in model.model_ids],
            }
        }
    }


def pi_settings(box: Sandbox, model: Model) -> dict[str, Any]:
    """pi's settings.json: the developer's own settings over ours; the provider is not theirs to choose."""
    return {
        "defaultTools": TOOLS,
        "enableInstallTelemetry": False,
        **box.pi_settings,
        "defaultProvider": PROVIDER,
        "defaultModel": model.model_ids[0],
    }


def entry(fleet: Fleet, box: Sandbox) -> dict[str, Any]:
    """The sandbox in a spec: its container and the repositories it starts with."""
    return {
        "id": box.id,
        "title": box.title,
        "user": box.user,
        "uid": box.uid,
        "container": container(fleet, box),
        "repos": [_repo(fleet.repos[name]) for name in box.repos],
    }


def container(fleet: Fleet, box: Sandbox) -> dict[str, Any]:
    """The container in the form that module_utils/containers.py reads back from the engine."""
    owner = f"{box.uid}:{box.uid}"
    mounts = [
        (box.root / "etc" / "group", "/etc/group", "ro"),
        (box.root / "etc" / "passwd", "/etc/passwd", "ro"),
        (box.root / "home", HOME, "rw"),
        (box.root / "etc", "/opt/pifleet/etc", "ro"),
        (box.root / "net", "/run/pifleet", "ro"),
        (box.root / "workspace", WORKSPACE, "rw"),
    ]
    return {
        "name": box.container,
        "image": fleet.image.name,
        "user": owner,
        "entrypoint": [str(names.PROGRAMS / "keeper")],
        "command": [],
        "workdir": WORKSPACE,
        "hostname": box.id,
        "env": {"HOME": HOME, "PI_CODING_AGENT_DIR": f"{HOME}/.pi/agent", "NO_PROXY": "127.0.0.1,localhost"},
        "labels": {f"{names.LABEL}fleet": fleet.name, f"{names.LABEL}sandbox": box.title},
        "mounts": sorted(([str(s), t, m] for s, t, m in mounts), key=lambda mount: mount[1]),
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,size={TMP_BYTES},mode=1777"},  # noqa: S108
        "network": "none",
        "ports": [],
        "privileged": False,
        "cap_add": [],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "devices": [],
        "ipc": "private",
        "pid": "",
        "uts": "",
        "userns": "",
        "read_only": True,
        "memory": box.limits.memory,
        "memory_swap": box.limits.memory,
        "cpus": box.limits.cpus,
        "pids": box.limits.pids,
        "restart": "unless-stopped",
    }


def _repo(repo: Repo) -> dict[str, Any]:
    kind = "token" if repo.token else "ssh_key" if repo.ssh_key else ""
    secret = f"repo:{repo.name}:{kind}" if kind else ""
    return {"name": repo.name, "url": repo.url, "ref": repo.ref, "secret": secret, "known_hosts": repo.known_hosts}


def _passwd(box: Sandbox) -> str:
    return f"root:x:0:0:root:/root:/usr/sbin/nologin\n{box.user}:x:{box.uid}:{box.uid}::{HOME}:/bin/bash\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
