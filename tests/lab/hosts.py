"""One lab host: made, entered, brought into trouble and out of it again.

Owns the container behind a host, its disk and its trust; must not know which hosts a lab has or what they are for.
"""

import ipaddress
import json
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.lab import engine, network
from tests.lab.engine import LabError, docker, run

USER = "ops"
LOGIN_SECONDS = 120.0
# In the kernel's order of bits (include/uapi/linux/capability.h).
CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
# What a host with a disk of its own keeps there: the engine's data and pifleet's.
ON_DISK = {"docker": "/var/lib/docker", "containerd": "/var/lib/containerd", "pifleet": "/var/lib/pifleet"}


@dataclass(frozen=True)
class Settings:
    """How a host was asked for; a reset makes it so again. `data` is the size of its disk, as `600M` or `3G`."""

    image: str
    data: str | None = None
    sudo_password: str | None = None


@dataclass(frozen=True)
class Host:
    """A host by its address. `state` is the lab's folder, with the keys in it."""

    lab: str
    name: str
    address: str
    state: Path

    @property
    def container(self) -> str:
        return f"{network.name_of(self.lab)}-{self.name}"

    @property
    def key(self) -> Path:
        return self.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.state / "known_hosts"

    # Made and removed

    def ensure(self, wanted: Settings, exactly: bool) -> None:
        """Have the host up: as it is if it was once finished, or `exactly` as wanted."""
        found = self.settings()
        if found and self.state_now() and (found == wanted or not exactly):
            self.start()
        else:
            self.make(wanted)

    def make(self, settings: Settings, *preparations: Callable[[], None]) -> None:
        """Make the host anew; only one that was finished and prepared counts as made."""
        self.remove()
        self.create(settings)
        for prepare in preparations:
            prepare()
        path = self.state / f"{self.name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(settings)))

    def reset(self) -> None:
        """Make the host anew, as it was asked for."""
        settings = self.settings()
        if settings is None:
            raise LabError(f"{self.name} was never finished: `up` makes it")
        self.make(settings)

    def create(self, settings: Settings) -> None:
        create = ["create", "--name", self.container, "--hostname", self.name, "--restart", "unless-stopped"]
        create += [f"--label=pifleet.lab={self.lab}", f"--label=pifleet.lab.host={self.name}"]
        create += [f"--label=pifleet.lab.address={self.address}"]
        create += ["--network", network.name_of(self.lab), "--ip", self.address, "--env", f"LAB_DNS={nameservers()}"]
        create += ["--cgroupns=private", "--tmpfs=/run:exec,mode=755", "--tmpfs=/run/lock", *privileges()]
        docker(*create, *self.volumes(settings), settings.image)
        docker("cp", f"{self.key}.pub", f"{self.container}:/home/{USER}/.ssh/authorized_keys")
        self.start()
        if settings.sudo_password:
            self.inside("chpasswd", input=f"{USER}:{settings.sudo_password}\n")
            self.inside("tee", "/etc/sudoers.d/ops", input=f"{USER} ALL=(ALL) ALL\n")

    def volumes(self, settings: Settings) -> list[str]:
        """The engine's folders must not lie on an overlay: it would fall back to copying whole layers."""
        if not settings.data:
            return ["--volume=/var/lib/docker", "--volume=/var/lib/containerd"]
        self.mount_disk(settings.data)
        for name in ON_DISK:
            (self.disk / name).mkdir(mode=0o755, exist_ok=True)
        return [f"--volume={self.disk / name}:{place}" for name, place in ON_DISK.items()]

    def remove(self) -> None:
        """Remove the host with all that was on it."""
        thaw = "docker ps --quiet --filter status=paused | xargs -r docker unpause"
        docker("exec", self.container, "sh", "-c", thaw, check=False)  # a frozen process cannot be killed
        docker("rm", "--force", "--volumes", self.container, check=False)
        if os.path.ismount(self.disk):
            run(["umount", self.disk])
        self.disk.with_suffix(".img").unlink(missing_ok=True)
        (self.state / f"{self.name}.json").unlink(missing_ok=True)

    def settings(self) -> Settings | None:
        """How the host was made, or None while it is not finished."""
        path = self.state / f"{self.name}.json"
        return Settings(**json.loads(path.read_text())) if path.exists() else None

    # Entered

    def ssh(self, *command: str, check: bool = True, timeout: float = 300, **options: Any) -> Any:
        """Run a command over ssh as `ops`, with the host's key verified; gives the completed process back."""
        return run([*self.ssh_command(), shlex.join(command)], check, timeout=timeout, **options)

    def sudo(self, *command: str, check: bool = True, **options: Any) -> Any:
        """The same as root; for hosts whose sudo asks no password."""
        return self.ssh("sudo", "-n", *command, check=check, **options)

    def inside(self, *command: str, **options: Any) -> str:
        """Run a command in the host as root past ssh, as its makers may; gives its output back."""
        return docker("exec", *(["--interactive"] if "input" in options else []), self.container, *command, **options)

    def ssh_command(self) -> list[str]:
        options = {"BatchMode": "yes", "ConnectTimeout": "5", "StrictHostKeyChecking": "yes", "LogLevel": "ERROR"}
        options["UserKnownHostsFile"] = str(self.known_hosts)
        given = [f"-o{name}={value}" for name, value in options.items()]
        return ["ssh", "-F", "none", "-i", str(self.key), *given, "--", f"{USER}@{self.address}"]

    def wait(self) -> None:
        """Wait until a login works; raises LabError after two minutes."""
        end = time.monotonic() + LOGIN_SECONDS
        while time.monotonic() < end:
            if self.trust() and run([*self.ssh_command(), "true"], check=False).returncode == 0:
                return
            time.sleep(0.2)
        raise LabError(f"no login on {self.name} within {LOGIN_SECONDS:.0f} s: {docker('logs', self.container)[-800:]}")

    def trust(self) -> bool:
        """Take the host's key from inside it into the lab's known_hosts; False while it has none."""
        key = self.inside("cat", "/etc/ssh/ssh_host_ed25519_key.pub", check=False).split()[:2]
        if len(key) < 2:
            return False
        with engine.locked(self.known_hosts.with_suffix(".lock")):
            lines = self.known_hosts.read_text().splitlines() if self.known_hosts.exists() else []
            kept = [line for line in lines if line.split(" ")[0] != self.address]
            new = self.known_hosts.with_suffix(".new")
            new.write_text("\n".join([*kept, f"{self.address} {' '.join(key)}"]) + "\n")
            new.rename(self.known_hosts)
        return True

    # Trouble on purpose, and back

    def state_now(self) -> str:
        """What the engine says: running, exited, paused or restarting; nothing where there is no such container."""
        return docker("inspect", "--format", "{{.State.Status}}", self.container, check=False)

    def stop(self) -> None:
        """Switch the host off in good order; it stays off."""
        docker("stop", "--time", "20", self.container)

    def kill(self) -> None:
        """Pull the plug; the host stays off."""
        docker("kill", self.container)

    def start(self) -> None:
        """Switch the host on, end whatever trouble it is in, and wait for a login."""
        settings = self.settings()
        if settings and settings.data:
            self.mount_disk(settings.data)
            self.unfill()
        if self.state_now() == "paused":
            self.unpause()
        docker("start", self.container)
        self.heal()
        self.wait()

    def pause(self) -> None:
        """Make the host hang: it still accepts connections and answers nothing."""
        docker("pause", self.container)

    def unpause(self) -> None:
        """Let a hanging host go on where it stopped."""
        docker("unpause", self.container)

    def cut(self) -> None:
        """Drop every packet from and to the host; no error comes back to anybody."""
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} priority -300; {own} counter drop; }}\n"
            for hook, own in (("input", "iif lo accept;"), ("output", "oif lo accept;"), ("forward", ""))
        )
        self.packet_filter(f"table inet lab\ndelete table inet lab\ntable inet lab {{\n{chains}}}\n")

    def heal(self) -> None:
        """Let the packets through again."""
        self.packet_filter("table inet lab\ndelete table inet lab\n")

    def fill(self) -> None:
        """Fill the host's own disk to the last block; only a host made with `data` has one."""
        if not os.path.ismount(self.disk):
            raise LabError(f"{self.name} has no disk of its own to fill: start it with a size for `data`")
        free = os.statvfs(self.disk)
        with (self.disk / "fill").open("ab", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, max(1, (free.f_bavail - 256) * free.f_bsize))
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                os.sync()

    def unfill(self) -> None:
        """Free what `fill` took."""
        (self.disk / "fill").unlink(missing_ok=True)

    def snapshot(self, tag: str) -> str:
        """Keep the host's files, without its engine's data, as an image that `up` takes; gives its name back."""
        image = f"pifleet-lab/{self.lab}:{tag}"
        docker("commit", "--change", f"LABEL pifleet.lab={self.lab}", self.container, image)
        return image

    @property
    def disk(self) -> Path:
        """Where this machine mounts the host's own disk."""
        return self.state / "disks" / self.name

    def mount_disk(self, size: str) -> None:
        """A file system of bounded size in a file: the container's own root shares this machine's disk."""
        image = self.disk.with_suffix(".img")
        self.disk.mkdir(parents=True, exist_ok=True)
        if not image.exists():
            run(["truncate", "--size", size.upper(), image])
            run(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", image])
        if not os.path.ismount(self.disk):
            run(["mount", "-o", "loop", image, self.disk])

    def packet_filter(self, rules: str) -> None:
        process = docker("inspect", "--format", "{{.State.Pid}}", self.container)
        run(["nsenter", "--target", process, "--net", "nft", "-f", "-"], input=rules)


def privileges() -> Sequence[str]:
    """What systemd and an engine inside need.

    `--privileged` fails where this machine itself lacks a capability, up to Docker 20.10; later engines leave that
    one out themselves and refuse to hear it named.
    """
    options = ["--cap-add=ALL", "--device-cgroup-rule=a *:* rwm"]
    options += [f"--security-opt={name}=unconfined" for name in ("seccomp", "apparmor", "systempaths")]
    if engine.version() < (23,):
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
        bounds = int(line.split()[1], 16)
        options += [f"--cap-drop={name}" for bit, name in enumerate(CAPABILITIES.split()) if not bounds >> bit & 1]
    return options


def nameservers() -> str:
    """This machine's nameservers, those on loopback left out: a host cannot reach them."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    found = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    return " ".join(address for address in found if not ipaddress.ip_address(address.split("%")[0]).is_loopback)
