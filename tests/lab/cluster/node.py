"""A node: what its container runtime and its kubelet are told, and the mounts that keep both off this machine.

Owns their configuration; must not know how the control plane is run.
"""

import json
from pathlib import Path
from typing import Any

from tests.lab.cluster import packages
from tests.lab.cluster.control import GO, NODE, NODE_ADDRESS
from tests.lab.cluster.images import IMAGE
from tests.lab.cluster.place import Place

PODS = "198.18.80.0/22"
SOCKET = "/run/containerd/containerd.sock"
KUBELET = "/var/lib/kubelet"
# Where these programs write, whatever they are told.
FIXED = ("/run/containerd", "/run/netns", "/var/lib/cni", "/var/log/containers", KUBELET)
# A kubelet sets these of the whole machine when it starts, unless it reads that they are set.
SYSCTLS = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}


def furnish(place: Place, folder: Path) -> None:
    """Give the place forwarding, and its own of every folder at a fixed path."""
    place.make_cgroups()
    lines = [f"mountpoint -q {KUBELET} && exit", "echo 1 > /proc/sys/net/ipv4/ip_forward"]
    for path in FIXED:
        lines += [f"mkdir -p {path}", f"mount -t tmpfs -o size=64m lab {path}"]
    (folder / "kubelet").mkdir(exist_ok=True)
    # Volumes that the kubelet mounts must be seen by the runtime.
    lines += [f"mount --bind {folder}/kubelet {KUBELET}", "mount --make-rshared /"]
    place.run("sh", "-ec", "\n".join(lines))


def unfurnish() -> None:
    """Remove what `furnish` had to make on this machine itself, where no other cluster has a mount on it."""
    mounted = "".join(text(path) for path in Path("/proc").glob("[0-9]*/mountinfo"))
    for path in FIXED:
        if f" {path} " not in mounted and Path(path).is_dir() and not any(Path(path).iterdir()):
            Path(path).rmdir()


def ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def start_runtime(place: Place, folder: Path, runtime: Path) -> None:
    network = folder / "network"
    network.mkdir(exist_ok=True)
    (network / "10-lab.conflist").write_text(json.dumps(network_plugins(folder)))
    config = folder / "containerd.toml"
    config.write_text(runtime_config(folder, runtime))
    command = [runtime / "usr/bin/containerd", f"--config={config}", "--log-level=warn"]
    place.start("containerd", command, programs_path(runtime))


def start_kubelet(place: Place, folder: Path, programs: Path, runtime: Path) -> None:
    config = folder / "kubelet.json"
    config.write_text(json.dumps(kubelet_config(folder, place.cgroup)))
    (folder / "resolv.conf").touch()
    # Only the kubelet may see these files: with a mount below /proc no pod can have a user namespace of its own.
    lines = ["mount --make-rprivate /proc"]
    for name, value in SYSCTLS.items():
        file = folder / f"sysctl-{name.replace('/', '.')}"
        file.write_text(f"{value}\n")
        lines.append(f"mount --bind {file} /proc/sys/{name}")
    command = [
        *("unshare", "--mount", "--propagation=unchanged", "sh", "-ec", "\n".join([*lines, 'exec "$@"']), "sh"),
        *(f"{programs}/kubelet", f"--config={config}", f"--kubeconfig={folder}/node.kubeconfig"),
        *(f"--root-dir={KUBELET}", f"--cert-dir={folder}/served/node"),
        *(f"--hostname-override={NODE}", f"--node-ip={NODE_ADDRESS}"),
    ]
    place.start("kubelet", command, {**programs_path(runtime), **GO})


def programs_path(runtime: Path) -> dict[str, str]:
    return {"PATH": ":".join([*packages.path(runtime), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])}


def network_plugins(folder: Path) -> dict[str, object]:
    """Each pod on a wire of its own: what pods send one another is routed, so that the rules of netfilter see it."""
    addresses = {
        "type": "host-local", "dataDir": f"{folder}/network/taken", "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": addresses}]}


def runtime_config(folder: Path, runtime: Path) -> str:
    """containerd's, in the version that all of 1.6 to 2.x read. Without CAP_SYS_RESOURCE nobody's OOM score falls."""
    return f"""\
version = 2
root = "{folder}/containerd"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{runtime}/usr/lib/cni"
    conf_dir = "{folder}/network"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def kubelet_config(folder: Path, cgroup: str) -> dict[str, object]:
    keys = folder / "keys"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{keys}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{keys}/node-server.pem", "tlsPrivateKeyFile": f"{keys}/node-server.pem",
        "address": NODE_ADDRESS, "healthzPort": 0, "readOnlyPort": 0,
        "containerRuntimeEndpoint": f"unix://{SOCKET}", "resolvConf": f"{folder}/resolv.conf",
        "podLogsDir": f"{folder}/pod-logs", "volumePluginDir": f"{folder}/volume-plugins",
        "failCgroupV1": False, "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{cgroup}", "failSwapOn": False,
        "makeIPTablesUtilChains": False, "oomScoreAdj": 0, "maxPods": 200, "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }
