"""A Kubernetes cluster of one's own: up, down, and trouble on purpose.

Owns the order in which its parts start and what "up" means; must not know how any part is configured.
"""

import gzip
import io
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from tests.lab import engine
from tests.lab.cluster import audit, build, control, images, node, packages, policies, refuser
from tests.lab.cluster.api import API_ERRORS, Api, ApiError
from tests.lab.cluster.certificates import kubeconfig
from tests.lab.cluster.place import ROOT, Place
from tests.lab.cluster.tokens import token, with_token
from tests.lab.engine import CACHE, CannotCarry, LabError
from tests.lab.farm import checked

# Beside the folders of other labs, whose names have no dot.
FOLDER = ".lab/{}.cluster"
READY_SECONDS = 90.0
NODES = "/api/v1/nodes"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


class Cluster:
    """The cluster of this name. Callers use `kubeconfig`, as the user OPERATOR who may do everything."""

    def __init__(self, name: str = "main") -> None:
        self.name = checked(name)
        self.folder = ROOT / FOLDER.format(name)
        self.kubeconfig = self.folder / "kubeconfig"
        self.place = Place(self.folder, name)

    # Up and down

    def up(self, node: bool = True, owned: bool = False) -> None:
        """Have every part run, one that was stopped too; without a node, pods are only written down.

        An owned cluster ends with this process, however that ends. Raises CannotCarry where this machine cannot.
        """
        if os.geteuid() != 0:
            raise CannotCarry("a cluster needs root: it makes namespaces, mounts and cgroups")
        engine.install_missing(packages.INSTALLED)
        build.programs()
        if not self.place.pid():
            self.remove_files()
            self.prepare(owned)
        self.start_control()
        if node:
            self.start_node()

    def prepare(self, owned: bool) -> None:
        """Make the place and all keys; nothing of an earlier cluster is left to be used."""
        self.folder.mkdir(mode=0o700, parents=True)
        self.place.open(owned)
        control.identify(self.folder)
        self.place.run("ip", "link", "set", "lo", "up")
        self.place.run("ip", "address", "add", f"{control.NODE_ADDRESS}/32", "dev", "lo")
        # The API server wants a way out to exist; no packet may take one.
        self.place.run("ip", "route", "add", "unreachable", "default")

    def down(self) -> None:
        """End and remove everything of the cluster; the caches stay for the next one."""
        self.place.close()
        self.remove_files()
        with engine.locked(CACHE / "cluster-node.lock"):
            node.unfurnish()

    def remove_files(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)

    # Parts

    def start_control(self) -> None:
        self.start_missing("etcd", control.etcd)
        self.start_forward()
        self.start_api()
        self.start_missing("kube-controller-manager", control.manager)
        self.start_missing("kube-scheduler", control.scheduler)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.start_loop("volumes")
        self.until("the default service account", lambda: self.api("GET", account))

    def start_missing(self, part: str, command: Callable[[Path, Path], list[str]]) -> None:
        if not self.place.found(part):
            self.place.start(part, command(build.programs(), self.folder), control.GO)

    def start_forward(self) -> None:
        """Have a port of this machine's loopback that leads to the API server, for as long as the cluster is there."""
        if self.place.found("forward.py"):
            return
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
            server = f"https://127.0.0.1:{listening.getsockname()[1]}"
            program, number = Path(__file__).with_name("forward.py"), listening.fileno()
            self.place.start("forward", [sys.executable, program, number, control.PORT], inherits=[number])
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(kubeconfig(self.folder / "keys", "operator", server))

    def start_api(self) -> None:
        """Have the API server answer, as before it was stopped."""
        self.start_missing("kube-apiserver", control.apiserver)
        self.until("the API server", lambda: self.api("GET", "/readyz"))

    def stop_api(self) -> None:
        """Let the API server crash: every connection to it is cut, the rest of the cluster goes on without."""
        self.place.stop("kube-apiserver")

    def start_node(self) -> None:
        """Have the node Ready, its runtime with the small image in it, and Services that lead to pods."""
        runtime = packages.runtime()
        if not self.place.found("containerd"):
            with engine.locked(CACHE / "cluster-node.lock"):
                node.furnish(self.place, self.folder)
            node.start_runtime(self.place, self.folder, runtime)
            self.until("containerd", lambda: self.place.run(*self.ctr(), "version"))
            self.take_in(io.BytesIO(images.busybox(runtime / "bin/busybox")))
        self.start_loop("services")
        self.start_kubelet()

    def start_loop(self, name: str, *arguments: str) -> None:
        """Have one of this package's own controllers run inside."""
        module = f"tests.lab.cluster.{name}"
        if not self.place.found(module):
            self.place.start(name, [sys.executable, "-m", module, self.folder, *arguments])

    def start_kubelet(self) -> None:
        """Have the kubelet run and its node Ready."""
        if not self.place.found("kubelet"):
            node.start_kubelet(self.place, self.folder, build.programs(), packages.runtime())
        self.until("the node", lambda: node.ready(self.api("GET", f"{NODES}/{control.NODE}")))

    def stop_kubelet(self) -> None:
        """Let the kubelet crash: what runs goes on, nobody looks after it; the node is NotReady 40 s later."""
        self.place.stop("kubelet")

    def enforce_policies(self) -> None:
        """From now on every NetworkPolicy holds; before, none does, and a pod may reach any other."""
        self.start_loop("policies")

    def ignore_policies(self) -> None:
        """End what `enforce_policies` began, as on a cluster whose network knows no policies."""
        self.place.stop("tests.lab.cluster.policies")
        self.place.run("nft", "-f", "-", input=policies.NONE)

    def add_fakes(self, count: int) -> None:
        """Have this many nodes `fake-N`, labelled and tainted `pifleet.lab: fake`, whose pods are Running at once."""
        self.start_loop("fakes", str(count))
        paths = [f"{NODES}/fake-{number}" for number in range(count)]
        self.until("the fake nodes", lambda: all(node.ready(self.api("GET", path)) for path in paths))

    def refuse(self, **rule: list[str]) -> None:
        """Have a webhook refuse what this rule names, as `apiGroups=["apps"], resources=["statefulsets"]`."""
        self.start_loop("refuser")
        connect = f"import socket; socket.create_connection(('127.0.0.1', {refuser.PORT}))"
        self.until("the webhook", lambda: self.place.run(sys.executable, "-c", connect) == "")
        self.accept()
        self.api("POST", WEBHOOKS, refuser.registration((self.folder / "keys" / "ca.crt").read_bytes(), rule))

    def accept(self) -> None:
        """Take the refusing webhook away."""
        try:
            self.api("DELETE", f"{WEBHOOKS}/{refuser.NAME}")
        except ApiError as error:
            if error.status != 404:
                raise

    def until(self, what: str, holds: Callable[[], object]) -> None:
        """Wait until this holds; what it raises until then is said where it never does."""
        end, said = time.monotonic() + READY_SECONDS, "no error"
        while True:
            try:
                if holds():
                    return
            except (LabError, *API_ERRORS) as error:
                said = str(error)
            if time.monotonic() > end:
                raise LabError(f"{what} not ready within {READY_SECONDS:.0f} s: {said}; see {self.place.logs}")
            time.sleep(0.1)

    # Using it

    def api(self, method: str, path: str, body: object = None) -> Any:
        """One call as OPERATOR, its answer decoded; raises ApiError on a refusal."""
        return Api(self.kubeconfig).call(method, path, body)

    def short_lived(self, namespace: str, account: str, seconds: float) -> str:
        """The text of a kubeconfig with a token of an account's that is good for this long."""
        there = self.api("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}")
        return with_token(self.kubeconfig, token(self.folder / "keys", there, seconds))

    def load(self, archive: Path) -> str:
        """Import an image's archive, as `docker save` writes it, `.zst` and `.gz` too; what the runtime said of it."""
        with archive.open("rb") as file:
            match archive.suffix:
                case ".zst":
                    return self.take_in(zstandard.ZstdDecompressor().stream_reader(file))
                case ".gz":
                    return self.take_in(gzip.GzipFile(fileobj=file))
            return self.take_in(file)

    def take_in(self, image: Any) -> str:
        return self.place.feed(image, *self.ctr(), "images", "import", "-")

    def ctr(self) -> list[Any]:
        """The runtime's own client, as it is called inside for what Kubernetes keeps."""
        return [packages.runtime() / "usr/bin/ctr", f"--address={node.SOCKET}", "--namespace=k8s.io"]

    def enter(self, *command: Any) -> list[str]:
        """The command that runs this one inside, with kubectl and ctr at hand."""
        places = [str(build.programs()), *packages.path(packages.runtime()), os.environ["PATH"]]
        settings = {
            "PATH": ":".join(places), "KUBECONFIG": str(self.folder / "lab.kubeconfig"),
            "CONTAINERD_ADDRESS": node.SOCKET, "CONTAINERD_NAMESPACE": "k8s.io",
        }
        words = [f"{name}={value}" for name, value in settings.items()]
        return [*self.place.entering(), "env", *words, *map(str, command)]

    def status(self) -> str:
        """Every part and whether it runs, then where the kubeconfig lies."""
        parts = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet")
        lines = [f"{part:25} {'runs' if self.place.found(part) else 'is not there'}" for part in parts]
        return "\n".join([*lines, f"{'kubeconfig':25} {self.kubeconfig}"])

    def requests(self, user: str = control.OPERATOR) -> list[audit.Request]:
        """Every request of a user that the API server has answered, oldest first."""
        return audit.requests(self.folder / "audit.log", user)
