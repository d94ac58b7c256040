"""Owns sandboxes of a bare kind in the lab's cluster: a StatefulSet with two volumes, made without pifleet's plan.
It must not know what a test does in one; its image is a Debian with Python and git, made once and kept."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pifleet.fleet import KUBE_LABEL, Host, Limits, Sandbox
from pifleet.fleet import Cluster as Access
from pifleet.kube.client import Api, path
from pifleet.sandbox.pod import PodDriver
from pifleet.stream import Stream
from tests.lab.cluster import Cluster
from tests.lab.cluster.images import IMAGE as BUSYBOX
from tests.lab.cluster.images import add
from tests.lab.engine import CACHE, run
from tests.lab.image import SUITE, apt_settings, digest, mirror

IMAGE = "localhost/pifleet-test/python:1"
PACKAGES = ("python3", "git", "procps")
ENVIRONMENT = ("PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/pi", "LANG=C.UTF-8")
CLOSED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
USER = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"}}


@dataclass
class Pods:
    """A developer's namespace in a cluster with one sandbox that runs, `ana/main`, and a driver for it."""

    cluster: Cluster
    developer: str = "ana"
    box: Sandbox = field(init=False)

    def __post_init__(self) -> None:
        self.box = Sandbox(self.developer, "main", "pod", "dry", Limits(), repos=("api",))
        access = Access("test", "lab", str(self.cluster.kubeconfig))
        self.host = Host("lab", ("pifleet_clusters",), cluster=access)
        self.namespace = access.namespace_of(self.developer)
        self.api = Api(self.host)
        self.driver = PodDriver(self.host)

    def make(self, image: str = IMAGE) -> None:
        """Make it, and wait until it runs."""
        names = {"app": self.box.container}
        mounts = [{"name": "workspace", "mountPath": "/workspace"}, {"name": "agent", "mountPath": "/home/pi"}]
        container = {"name": "pi", "image": image, "imagePullPolicy": "Never", "command": ["sleep", "infinity"],
                     "securityContext": CLOSED, "volumeMounts": mounts}
        pod = {"terminationGracePeriodSeconds": 2, "dnsPolicy": "Default", "automountServiceAccountToken": False,
               "securityContext": USER, "containers": [container]}
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
        volumes = [{"metadata": {"name": mount["name"]}, "spec": asked} for mount in mounts]
        self.apply("v1", "Namespace", "namespaces", self.namespace, {})
        named = {"name": self.box.container, "annotations": {f"{KUBE_LABEL}title": self.box.title}}
        self.apply("apps/v1", "StatefulSet", "statefulsets", self.box.container, {"metadata": named, "spec": {
            "replicas": 1, "serviceName": self.box.container, "selector": {"matchLabels": names},
            "template": {"metadata": {"labels": names}, "spec": pod}, "volumeClaimTemplates": volumes,
        }})
        self.driver.start(self.box)

    def let_in(self, account: str) -> None:
        """Give an account the rights that a developer has on their own sandboxes."""
        rights = {
            ("", "pods"): ["get", "list"], ("", "pods/exec"): ["get", "create"], ("apps", "statefulsets"): ["get"],
            ("apps", "statefulsets/scale"): ["get", "patch"],
            ("coordination.k8s.io", "leases"): ["get", "create", "update", "delete"],
        }
        group = "rbac.authorization.k8s.io"
        self.apply("v1", "ServiceAccount", "serviceaccounts", account, {})
        self.apply(f"{group}/v1", "Role", "roles", account, {"rules": [
            {"apiGroups": [where], "resources": [what], "verbs": verbs} for (where, what), verbs in rights.items()]})
        self.apply(f"{group}/v1", "RoleBinding", "rolebindings", account, {
            "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}]})

    def apply(self, group: str, kind: str, resource: str, name: str, rest: dict[str, Any]) -> None:
        namespace = "" if kind == "Namespace" else self.namespace
        body = {"apiVersion": group, "kind": kind, "metadata": {"name": name}, **rest}
        self.api.apply(path(group, resource, namespace, name), body)

    def run(self, *argv: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
        """Exit code, output and errors of a program in the sandbox that is given `data`."""
        with closing(self.driver.stream(self.box, argv)) as stream:
            threading.Thread(target=feed, args=(stream, data), daemon=True).start()
            output = everything(stream)
            return stream.wait(60), output, stream.stderr()

    def running(self, word: str) -> bool:
        """Whether a program with this word in its arguments runs in the sandbox."""
        return self.run("pgrep", "-f", f"[{word[0]}]{word[1:]}")[0] == 0


def feed(stream: Stream, data: bytes) -> None:
    with suppress(BrokenPipeError):
        stream.send(data)
        stream.end()


def everything(stream: Stream) -> bytes:
    parts = []
    while part := stream.read(1 << 20, 120):
        parts.append(part)
    return b"".join(parts)


def image() -> Path:
    """The archive of IMAGE, as `docker save` writes it."""
    options = [*(f"--aptopt={line}" for line in apt_settings()), f"--include={','.join(PACKAGES)}"]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", *options, SUITE]
    archive = CACHE / f"pod-{digest(' '.join(command))}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        tree, whole = archive.with_suffix(".tree.tar"), archive.with_suffix(".part")
        run([*command, tree, *mirror()])
        _pack(tree, whole)
        tree.unlink()
        whole.rename(archive)
    return archive


def _pack(tree: Path, whole: Path) -> None:
    folders = io.BytesIO()
    with tarfile.open(fileobj=folders, mode="w") as layer:
        for name in ("workspace", "home/pi"):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, 0o755, 1000, 1000
            layer.addfile(member)
    with tree.open("rb") as file:
        layers = [hashlib.file_digest(file, "sha256").hexdigest(), hashlib.sha256(folders.getvalue()).hexdigest()]
    settings = {"Cmd": ["sleep", "infinity"], "Env": list(ENVIRONMENT), "WorkingDir": "/workspace", "User": "1000:1000"}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": settings,
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in layers]}}).encode()
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["tree.tar", "folders.tar"]}]
    with tarfile.open(whole, "w") as archive:
        archive.add(tree, "tree.tar")
        add(archive, "folders.tar", folders.getvalue(), 0o644)
        add(archive, "config.json", config, 0o644)
        add(archive, "manifest.json", json.dumps(manifest).encode(), 0o644)


__all__ = ["BUSYBOX", "IMAGE", "Pods", "everything", "feed", "image"]
