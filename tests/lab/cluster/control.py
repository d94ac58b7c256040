"""The parts of a control plane: the command line of each, and who each is to the API server.

Owns flags; must not know how programs are started or what runs on nodes.
"""

import json
from pathlib import Path
from typing import Any

from tests.lab.cluster.certificates import MASTERS, NODES, Authority, kubeconfig
from tests.lab.cluster.tokens import ISSUER

NODE, NODE_ADDRESS = "node-1", "198.18.77.1"
SERVICES, API_SERVICE = "198.18.96.0/24", "198.18.96.1"
PORT = 6443
SERVER = f"https://{NODE_ADDRESS}:{PORT}"
ETCD = "http://127.0.0.1:2379"
OPERATOR, LAB = "operator", "lab"
API_NAMES = ("127.0.0.1", NODE_ADDRESS, API_SERVICE, "localhost", "kubernetes.default.svc")
MANAGER, SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
# Two processors at most for each, so that a cluster does not starve what is tested.
GO = {"GOMAXPROCS": "2"}


def identify(folder: Path) -> None:
    """Sign for everybody anew, and write the kubeconfigs that are used inside."""
    authority = Authority(folder / "keys")
    authority.sign("apiserver", "kube-apiserver", MASTERS, API_NAMES)
    authority.sign("accounts", "accounts")
    authority.sign("node-server", NODE, names=(NODE_ADDRESS, NODE))
    authority.sign("operator", OPERATOR, MASTERS)
    for file, user, group in (
        ("lab", LAB, MASTERS), ("manager", MANAGER, ""), ("scheduler", SCHEDULER, ""),
        ("node", f"system:node:{NODE}", NODES),
    ):
        authority.sign(file, user, group)
        path = folder / f"{file}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(kubeconfig(folder / "keys", file, SERVER))


def audit_policy() -> dict[str, Any]:
    """Every request of anyone but the cluster itself: who, what, and what came of it; never a body."""
    own = {"users": [LAB, MANAGER, SCHEDULER, "system:apiserver", "kube-apiserver"]}
    groups = {"userGroups": [NODES, "system:serviceaccounts:kube-system"]}
    return {
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "None", **own}, {"level": "None", **groups}, {"level": "Metadata"}],
    }


def etcd(programs: Path, folder: Path) -> list[str]:
    peer = ETCD.replace("2379", "2380")
    return [
        f"{programs}/etcd", "--name=lab", f"--data-dir={folder}/etcd", "--log-level=warn", "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}", f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=lab={peer}",
    ]


def apiserver(programs: Path, folder: Path) -> list[str]:
    keys = folder / "keys"
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(audit_policy()))
    return [
        f"{programs}/kube-apiserver", f"--etcd-servers={ETCD}", "--bind-address=0.0.0.0", f"--secure-port={PORT}",
        f"--advertise-address={NODE_ADDRESS}", f"--service-cluster-ip-range={SERVICES}",
        f"--client-ca-file={keys}/ca.crt", f"--tls-cert-file={keys}/apiserver.pem",
        f"--tls-private-key-file={keys}/apiserver.pem", "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
        f"--kubelet-client-certificate={keys}/apiserver.pem", f"--kubelet-client-key={keys}/apiserver.pem",
        f"--kubelet-certificate-authority={keys}/ca.crt", "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={keys}/accounts.pem", f"--service-account-signing-key-file={keys}/accounts.pem",
        f"--service-account-issuer={ISSUER}", f"--audit-policy-file={policy}",
        f"--audit-log-path={folder}/audit.log", "--profiling=false",
    ]


def manager(programs: Path, folder: Path) -> list[str]:
    keys = folder / "keys"
    return [
        f"{programs}/kube-controller-manager", *client(folder, "manager"), "--use-service-account-credentials=true",
        f"--service-account-private-key-file={keys}/accounts.pem", f"--root-ca-file={keys}/ca.crt",
        f"--cluster-signing-cert-file={keys}/ca.crt", f"--cluster-signing-key-file={keys}/ca.pem",
    ]


def scheduler(programs: Path, folder: Path) -> list[str]:
    return [f"{programs}/kube-scheduler", *client(folder, "scheduler")]


def client(folder: Path, file: str) -> list[str]:
    """What those two have in common that serve beside calling; unhurried they would bind five pods a second."""
    config = f"{folder}/{file}.kubeconfig"
    return [
        f"--kubeconfig={config}", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
        f"--cert-dir={folder}/served/{file}", "--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false",
        "--kube-api-qps=200", "--kube-api-burst=400",
    ]
