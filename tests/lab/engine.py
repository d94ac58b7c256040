"""The Docker engine under the lab, found or started, and the one way to run commands.

Owns what this machine must have installed; must not know what runs on the engine.
"""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pifleet-lab"
NEEDED = {
    "docker": "docker.io",
    "dockerd": "docker.io",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "git": "git",
    "mkfs.ext4": "e2fsprogs",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
START_SECONDS = 60.0


class LabError(Exception):
    """The lab could not do what was asked."""


class CannotCarry(LabError):
    """This machine cannot carry a lab; tests that need one are skipped with this reason."""


def run(command: Sequence[Any], check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command and give its output back; raises LabError with the end of that output where it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise LabError(f"{' '.join(words[:6])} ... ended with {done.returncode}: {said}")
    return done


def docker(*arguments: Any, check: bool = True, **options: Any) -> str:
    """What a docker command says; the classic builder, because BuildKit needs a plugin that Debian ships apart."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    return run(["docker", *arguments], check, env=environment, **options).stdout.strip()


def version() -> tuple[int, ...]:
    """The engine's version, or () where none answers."""
    if not shutil.which("docker"):
        return ()
    said = docker("version", "--format", "{{.Server.Version}}", check=False)
    return tuple(int(part) for part in said.split("+")[0].split(".")[:2]) if said[:1].isdigit() else ()


def ensure() -> None:
    """Have an engine that answers; raises CannotCarry where this machine cannot."""
    if os.geteuid() != 0:
        raise CannotCarry("the lab needs root: it makes a bridge, loop devices and a root file system")
    install_missing(NEEDED)
    if not version():
        start()


def install_missing(needed: Mapping[str, str]) -> None:
    """Have these programs and files, each by the package named with it; raises CannotCarry where none come."""
    packages = sorted({package for name, package in needed.items() if not (shutil.which(name) or Path(name).exists())})
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise CannotCarry(f"the lab needs {', '.join(packages)} and finds no apt-get to install them")
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run([*apt, "update"], env=environment)
        # Debian 13 ships the client apart, and only as a recommendation.
        if "docker.io" in packages and run(["apt-cache", "show", "docker-cli"], check=False).returncode == 0:
            packages.append("docker-cli")
        run([*apt, "install", "-y", "--no-install-recommends", *packages], env=environment)
    except LabError as error:
        raise CannotCarry(f"the lab needs {', '.join(packages)}: {error}") from error


def start() -> None:
    """Start the engine: by systemd where that is PID 1, else as a process that outlives this one."""
    log = CACHE / "dockerd.log"
    if Path("/run/systemd/system").is_dir():
        run(["systemctl", "start", "docker"])
    else:
        if not os.path.ismount("/sys/fs/cgroup"):
            run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])
        CACHE.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            daemon = ["dockerd", "--log-level", "warn"]
            subprocess.Popen(daemon, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    end = time.monotonic() + START_SECONDS
    while not version():
        if time.monotonic() > end:
            said = log.read_text()[-1000:] if log.exists() else "see journalctl -u docker"
            raise CannotCarry(f"dockerd did not answer within {START_SECONDS:.0f} s: {said}")
        time.sleep(0.2)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one thread of one process at a time past this point; not to be entered twice by the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
