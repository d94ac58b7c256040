"""Starts and ends a gateway of the test double by hand or for a test, as a process on this machine.

Owns its folder and its clean end; must not know what is asked of it.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.lab import image
from tests.lab.engine import LabError, docker, run
from tests.lab.farm import ROOT
from tests.lab.openshell import package, wheel

# Both kinds of gateway put the first on each container; the second is on the double's network only.
NAMESPACE, LABEL = "openshell.ai/sandbox-namespace", "io.pifleet.test.openshell-double"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Double:
    """One gateway: its home below `root`, its port, its process."""

    def __init__(self, root: Path, name: str, tls: bool = False) -> None:
        self.root, self.name, self.tls = root, name, tls
        self.port, self.health_port, self.metrics_port = free_port(), free_port(), free_port()
        self.docker: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = root / "gateway.log"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.root), "XDG_CONFIG_HOME": str(self.root / "config"),
                "XDG_STATE_HOME": str(self.root / "state"),
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(wheel.folder() / "lib")])}

    @property
    def command(self) -> list[str]:
        """The double, or the real gateway that the environment names."""
        real = os.environ.get("PIFLEET_TEST_OPENSHELL_GATEWAY")
        return [real] if real else [sys.executable, "-m", "tests.lab.openshell.gateway"]

    def write(self) -> None:
        """gateway.toml, as an operator would write it."""
        real = os.environ.get("PIFLEET_TEST_OPENSHELL_SUPERVISOR")
        binary = real or package.supervisor(self.root / "bin" / "openshell-sandbox")
        config = self.root / "config" / "openshell"
        config.mkdir(parents=True, exist_ok=True)
        (config / "gateway.toml").write_text(f"""[openshell]
version = 1

[openshell.gateway]
bind_address = "127.0.0.1:{self.port}"
health_bind_address = "127.0.0.1:{self.health_port}"
metrics_bind_address = "127.0.0.1:{self.metrics_port}"
compute_drivers = ["docker"]
disable_tls = {str(not self.tls).lower()}

[openshell.drivers.docker]
sandbox_namespace = "{self.name}"
supervisor_bin = "{binary}"
{"".join(f"{key} = {value}" + chr(10) for key, value in self.docker.items())}""")

    def certify(self, *names: str) -> str:
        """Have keys and certificates with these names, as the packaged unit has them made before each start."""
        tls = self.root / "state" / "openshell" / "tls"
        sans = [word for name in names for word in ("--server-san", name)]
        done = run([*self.command, "generate-certs", "--output-dir", tls, *sans], env=self.environment)
        return done.stdout + done.stderr

    def start(self, seconds: float = 20.0) -> None:
        """Start the process and wait until it listens; raises LabError with its last words."""
        self.write()
        self.certify("host.openshell.internal")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.root, env=self.environment, stdout=log, stderr=log,
                                            start_new_session=True)
        end = time.monotonic() + seconds
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > end:
                raise LabError(f"the gateway does not listen: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the process by a signal and wait for its end."""
        if self.process:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def clean(self) -> None:
        """Kill the process and remove every container it made; the network goes when nobody uses it."""
        self.stop(signal.SIGKILL)
        clean(self.name)


def clean(name: str) -> None:
    found = docker("ps", "--all", "--quiet", "--filter", f"label={NAMESPACE}={name}").split()
    if found:
        docker("rm", "--force", "--volumes", *found, check=False)
    networks = docker("network", "ls", "--quiet", "--filter", f"label={LABEL}=network").split()
    if networks:
        docker("network", "rm", *networks, check=False)


def sandbox_image(prefix: str = "pifleet-lab") -> str:
    """What `--from pi` finds under `OPENSHELL_COMMUNITY_REGISTRY=<prefix>`; made where it is missing."""
    built = image.build("sandbox", {"pi": (image.FOLDER / "pi").read_bytes()}, {"SERVICES": image.services_image()})
    docker("tag", built, f"{prefix}/pi:latest")
    return built
