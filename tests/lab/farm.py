"""A lab: its hosts and services, started, described and removed together by its name.

Owns which machines there are and their addresses; must not know how one is made inside.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab import engine, image, network
from tests.lab.engine import LabError, docker, run
from tests.lab.gitserver import GitServer
from tests.lab.hosts import USER, Host, Settings
from tests.lab.model import ModelServer

ROOT = Path(__file__).parents[2]
HOSTS = ("farm-1", "farm-2")
SERVICES = "services"
NUMBERS = range(11, 250)
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,20}")


class Lab:
    """Everything that carries the label `pifleet.lab=<name>`, and the folder `.lab/<name>`."""

    def __init__(self, name: str = "main") -> None:
        self.name = checked(name)
        self.state = ROOT / ".lab" / name

    # What there is

    def machines(self) -> dict[str, Host]:
        """The lab's machines by name, as the engine lists them: running or not, the services' one among them."""
        form = '{{.Label "pifleet.lab.host"}} {{.Label "pifleet.lab.address"}}'
        listed = docker("ps", "--all", "--filter", f"label=pifleet.lab={self.name}", "--format", form)
        pairs = sorted(line.split() for line in listed.splitlines())
        return {name: Host(self.name, name, address, self.state) for name, address in pairs}

    def hosts(self) -> dict[str, Host]:
        """The lab's farm hosts by name."""
        return {name: host for name, host in self.machines().items() if name != SERVICES}

    def host(self, name: str) -> Host:
        found = self.machines().get(name)
        if found is None:
            raise LabError(f"lab {self.name} has no host {name}: `python -m tests.lab --lab {self.name} up {name}`")
        return found

    @property
    def git(self) -> GitServer:
        return GitServer(self.host(SERVICES))

    @property
    def model(self) -> ModelServer:
        return ModelServer(self.host(SERVICES))

    def inventory(self) -> str:
        """A second inventory for `-i`: how the farm hosts are reached, and nothing about what they are for."""
        lines = ["all:", "  vars:", f"    pifleet_known_hosts: {self.state / 'known_hosts'}", "  hosts:"]
        for name, host in self.hosts().items():
            lines += [f"    {name}:", f"      ansible_host: {host.address}", f"      ansible_user: {USER}"]
            lines += [f"      ansible_ssh_private_key_file: {host.key}"]
            lines += ["      ansible_python_interpreter: /usr/bin/python3"]
        return "\n".join(lines) + "\n"

    # Up and down

    def up(
        self,
        names: Sequence[str] = HOSTS,
        snapshot: str | None = None,
        data: str | None = None,
        sudo_password: str | None = None,
    ) -> None:
        """Have the services and these hosts up. A host that is there stays as it is, unless asked for otherwise.

        `snapshot` is an image that `Host.snapshot` named, `data` the size of a disk of the host's own (as `600M`; at
        most 8 such hosts), `sudo_password` makes sudo ask for one. Raises CannotCarry where this machine cannot.
        """
        with engine.locked(engine.CACHE / "lock"):
            engine.ensure()
            self.make_key()
            network.ensure(self.name)
            self.up_services()
            wanted = Settings(snapshot or image.host_image(), data, sudo_password)
            exactly = bool(snapshot or data or sudo_password)
            every(lambda machine: machine.ensure(wanted, exactly), self.places(names))

    def up_services(self) -> None:
        """Have the services up, with the programs of today in them."""
        wanted, machine = Settings(image.services_image()), self.places([SERVICES])[0]
        if machine.settings() == wanted and machine.state_now():
            machine.start()
        else:
            machine.make(wanted, GitServer(machine).prepare, ModelServer(machine).prepare)

    def places(self, names: Sequence[str]) -> list[Host]:
        """The machines of these names: those that are there, and each other one at the next free address."""
        there, subnet = self.machines(), network.subnet_of(self.name)
        taken = {machine.address for machine in there.values()}
        free = (address for address in (str(subnet[number]) for number in NUMBERS) if address not in taken)
        return [there.get(name) or Host(self.name, checked(name), next(free), self.state) for name in names]

    def reset(self, names: Sequence[str]) -> None:
        """Bring hosts back to how they were first made, at their addresses, with host keys of their own."""
        with engine.locked(engine.CACHE / "lock"):
            every(Host.reset, [self.host(name) for name in names])

    def down(self) -> None:
        """Remove hosts, services, bridge, snapshots and state; the caches stay for the next time."""
        with engine.locked(engine.CACHE / "lock"):
            every(Host.remove, self.machines().values())
            network.remove(self.name)
            images = docker("image", "ls", "--quiet", "--filter", f"label=pifleet.lab={self.name}").split()
            if images:
                docker("image", "rm", "--force", *sorted(set(images)))
            shutil.rmtree(self.state, ignore_errors=True)

    def make_key(self) -> None:
        key = self.state / "id_ed25519"
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {self.name}", "-f", key])


def every(act: Callable[[Host], None], machines: Iterable[Host]) -> None:
    """Do the same to several machines at once; the first failure is raised when all are through."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done in [pool.submit(act, machine) for machine in machines]:
            done.result()


def checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise LabError(f"names in a lab are short and lower case, not {name!r}")
    return name
