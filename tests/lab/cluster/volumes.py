"""The lab's default StorageClass: a claim gets a volume of its size in memory, which is full when it is full.

Owns PersistentVolumes of type `local`, the only one without a driver to which the kubelet applies fsGroup; must not
know which pods use them.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.cluster.api import API_ERRORS, Api, ApiError
from tests.lab.cluster.control import NODE

CLASS = "lab"
MAKER = "pifleet.invalid/lab"
CLAIMS, VOLUMES = "/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size(quantity: str) -> int:
    """A quantity of storage as Kubernetes writes it, in bytes."""
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * factor)
    return int(float(quantity))


def volume(claim: dict[str, Any], path: Path) -> dict[str, Any]:
    """The PersistentVolume at this folder that satisfies this claim and no other."""
    metadata, spec = claim["metadata"], claim["spec"]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": f"pv-{metadata['uid']}", "annotations": {"pv.kubernetes.io/provisioned-by": MAKER}},
        "spec": {
            "capacity": spec["resources"]["requests"], "accessModes": spec["accessModes"], "storageClassName": CLASS,
            "volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Delete", "local": {"path": str(path)},
            "claimRef": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def wanted(claim: dict[str, Any]) -> bool:
    spec = claim["spec"]
    going = claim["metadata"].get("deletionTimestamp")
    return spec.get("storageClassName") == CLASS and not spec.get("volumeName") and not going


def make(api: Api, claim: dict[str, Any], path: Path) -> None:
    bytes_ = size(claim["spec"]["resources"]["requests"]["storage"])
    if not path.is_mount():
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={bytes_},mode=755", "lab-volume", path], check=True)
    try:
        api.call("POST", VOLUMES, volume(claim, path))
    except ApiError as error:
        if error.status != 409:
            raise


def remove(api: Api, released: dict[str, Any]) -> None:
    path = Path(released["spec"]["local"]["path"])
    if path.is_mount():
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()
    api.call("DELETE", f"{VOLUMES}/{released['metadata']['name']}")


def reconcile(api: Api, folder: Path) -> None:
    for claim in filter(wanted, api.items(CLAIMS)):
        make(api, claim, folder / claim["metadata"]["uid"])
    for found in api.items(VOLUMES):
        if found["spec"].get("storageClassName") == CLASS and found["status"].get("phase") == "Released":
            remove(api, found)


def have_class(api: Api) -> None:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    try:
        api.call("POST", CLASSES, {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": MAKER,
            "metadata": {"name": CLASS, "annotations": default},
        })
    except ApiError as error:
        if error.status != 409:
            raise


def main(folder: Path) -> None:
    api = Api(folder / "lab.kubeconfig")
    have_class(api)
    for _ in api.changes(CLAIMS, VOLUMES):
        try:
            reconcile(api, folder / "volumes")
        except (*API_ERRORS, subprocess.CalledProcessError) as error:
            print("volumes:", error, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
