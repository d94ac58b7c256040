"""The lab's StorageClasses: a claim of `lab` gets as much memory as it asks for, one of `fake` nothing but is bound.

Owns PersistentVolumes, the real ones of type `local`: only to these does a kubelet apply fsGroup without a driver; must
not know which pods use them.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.cluster.api import API_ERRORS, Api, ApiError
from tests.lab.cluster.control import NODE

REAL, FAKE = "lab", "fake"
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
    """The PersistentVolume that satisfies this claim and no other: at this folder of the node, or nowhere."""
    metadata, spec = claim["metadata"], claim["spec"]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    only_here = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    real = {"local": {"path": str(path)}, "nodeAffinity": only_here}
    source = real if spec["storageClassName"] == REAL else {"hostPath": {"path": "/nowhere"}}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": f"pv-{metadata['uid']}", "annotations": {"pv.kubernetes.io/provisioned-by": MAKER}},
        "spec": {
            **source, "capacity": spec["resources"]["requests"], "accessModes": spec["accessModes"],
            "storageClassName": spec["storageClassName"], "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]},
        },
    }


def wanted(claim: dict[str, Any]) -> bool:
    spec = claim["spec"]
    going = claim["metadata"].get("deletionTimestamp")
    return spec.get("storageClassName") in (REAL, FAKE) and not spec.get("volumeName") and not going


def released(volume: dict[str, Any]) -> bool:
    ours = volume["spec"].get("storageClassName") in (REAL, FAKE)
    return ours and volume["status"].get("phase") == "Released" and not volume["metadata"].get("deletionTimestamp")


def make(api: Api, claim: dict[str, Any], path: Path) -> None:
    bytes_ = size(claim["spec"]["resources"]["requests"]["storage"])
    if claim["spec"]["storageClassName"] == REAL and not path.is_mount():
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={bytes_},mode=755", "lab-volume", path], check=True)
    try:
        api.call("POST", VOLUMES, volume(claim, path))
    except ApiError as error:
        if error.status != 409:
            raise


def remove(api: Api, volume: dict[str, Any]) -> None:
    path = volume["spec"].get("local", {}).get("path")
    if path and Path(path).is_mount():
        subprocess.run(["umount", "--lazy", path], check=True)
        Path(path).rmdir()
    api.call("DELETE", f"{VOLUMES}/{volume['metadata']['name']}")


def reconcile(api: Api, folder: Path) -> None:
    claims, volumes = api.items(CLAIMS), api.items(VOLUMES)
    made = {found["spec"].get("claimRef", {}).get("uid") for found in volumes}
    for claim in filter(wanted, claims):
        if claim["metadata"]["uid"] not in made:  # the cluster's own controller takes its time to bind it
            make(api, claim, folder / claim["metadata"]["uid"])
    for found in filter(released, volumes):
        remove(api, found)


def have_class(api: Api, name: str) -> None:
    default = {"storageclass.kubernetes.io/is-default-class": str(name == REAL).lower()}
    try:
        api.call("POST", CLASSES, {"provisioner": MAKER, "metadata": {"name": name, "annotations": default}})
    except ApiError as error:
        if error.status != 409:
            raise


def main(folder: Path) -> None:
    api = Api(folder / "lab.kubeconfig")
    for name in (REAL, FAKE):
        have_class(api, name)
    for _ in api.changes(CLAIMS, VOLUMES):
        try:
            reconcile(api, folder / "volumes")
        except (*API_ERRORS, subprocess.CalledProcessError) as error:
            print("volumes:", error, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
