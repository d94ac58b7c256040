"""Small fleets for tests, as values."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pifleet.desired import host_spec
from pifleet.fleet import Connection, Fleet, Host, Limits, Model, Repo, Sandbox


def box(title: str = "ana/main", **changes: Any) -> Sandbox:
    developer, _, name = title.partition("/")
    plain = {"pattern": "docker", "model": "dry", "limits": Limits(), "repos": ("web",)}
    return Sandbox(developer, name, **{**plain, **changes})


def fleet(*sandboxes: Sandbox, hosts: tuple[str, ...] = ("farm-1",), **changes: Any) -> Fleet:
    made = {name: Host(name, ("pifleet_docker",), Connection(address=name)) for name in hosts}
    plain: dict[str, Any] = {
        "repos": {"web": Repo("web", "https://git.example.com/acme/web.git", "main")},
        "models": {"dry": Model("dry", "scripted")},
    }
    return Fleet("acme", made, sandboxes or (box(),), **{**plain, **changes})


def spec(of: Fleet, host: str = "farm-1") -> dict[str, Any]:
    """A host's spec with the hashes that a look fills in."""
    made = host_spec(of, host, of.sandboxes, Path("/cache"))
    for file in made["files"]:
        file["sha256"] = hashlib.sha256(file["content"].encode()).hexdigest()
    for secret in made["secrets"]:
        secret["hmac"] = f"hmac of {secret['secret']}"
    return made


def as_it_should_be(wanted: dict[str, Any]) -> dict[str, Any]:
    """What the probe answers for a host on which everything is as its spec says."""
    plain_file = {"type": "file", "uid": 0, "gid": 0}
    paths = {d["path"]: {"type": "dir", "mode": d["mode"], "uid": d["uid"], "gid": d["gid"]} for d in wanted["dirs"]}
    paths |= {f["path"]: {**plain_file, "mode": f["mode"], "sha256": f["sha256"]} for f in wanted["files"]}
    paths |= {s["path"]: {**plain_file, "mode": s["mode"], "hmac": s["hmac"]} for s in wanted["secrets"]}
    image = wanted["image"]
    made = {"id": "sha256:1", "hash": image["hash"], "entrypoint": ["pi"], "workdir": "/workspace"}
    return {
        "engine": {"answers": True, "version": "26.1.5", "live_restore": True},
        "images": {image["name"]: made},
        "users": {u["name"]: {"uid": u["uid"], "gid": u["uid"], "gecos": u["gecos"]} for u in wanted["users"]},
        "packages": {package["name"]: True for package in wanted["packages"]},
        "services": {s["name"]: dict.fromkeys(("running", "enabled", "defined", "current"), True)
                     for s in wanted["services"]},
        "sockets": {s["path"]: {"answers": True, "answer": s["answer"]} for s in wanted["sockets"]},
        "filters": {f["rules"]: {"loaded": True, "why": ""} for f in wanted["filters"]},
        "clients": {name: {"urls": [f"https://{name}.example.com/"], "files": [], "why": ""}
                    for name in wanted["clients"]},
        "containers": {
            b["container"]["name"]: {"spec": {**b["container"], "image": "sha256:1"}, "state": "running", "agent": {}}
            for b in wanted["sandboxes"]
        },
        "repos": {b["title"]: {r["name"]: {"head": "1" * 40} for r in b["repos"]} for b in wanted["sandboxes"]},
        "paths": paths,
        "openshell": {},
    }
