"""Owns the attempts to get at the host: its sockets, files, devices, settings and processes, and other sandboxes.
It must not change what it gets at."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from pifleet.sandbox.escape.trying import SECONDS, Attempt, connect, those, touched

SOCKETS, SANDBOXES = Path("/run/pifleet"), Path("/var/lib/pifleet/sandboxes")
PROBE = "pifleet-probe"


def machine(own: set[str]) -> Iterator[tuple[str, Attempt]]:
    for path in ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
                 "/run/dbus/system_bus_socket", "/run/systemd/private"):
        yield f"socket {path}", partial(connect, path, socket.AF_UNIX)
    yield "sockets of other sandboxes", partial(listed, SOCKETS, own)
    for name, folder in (("beside the sockets", SOCKETS), ("in the root", "/"), ("among the programs", "/usr/bin")):
        yield f"a file {name}", partial(made, Path(folder, PROBE))
    for folder in ("/etc/pifleet", "/var/lib/pifleet", "/var/lib/docker", "/var/log/pifleet", "/sys/firmware/efi"):
        yield f"folder {folder}", partial(listed, Path(folder), set())
    for path in ("/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/net/tun", "/dev/kvm"):
        yield f"read {path}", partial(touched, path, os.O_RDONLY)
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
                 "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
                 "/sys/kernel/mm/ksm/run", "/sys/fs/cgroup/cgroup.procs"):
        yield f"write {path}", partial(touched, path, os.O_WRONLY)
    yield "block devices", block_devices
    yield "a new cgroup", partial(made, Path("/sys/fs/cgroup", PROBE), Path.mkdir)
    yield "processes of others", strangers
    yield "the memory of others", memory_of_others
    yield "a socket of another sandbox", socket_of_others


def listed(folder: Path, own: set[str]) -> str:
    return those({path.name for path in folder.iterdir()} - own)


def made(path: Path, make: Callable[[Path], object] = Path.touch) -> str:
    make(path)
    path.rmdir() if path.is_dir() else path.unlink()
    return "made"


def block_devices() -> str:
    return those(path.name for path in Path("/dev").iterdir() if stat.S_ISBLK(path.lstat().st_mode))


def strangers() -> str:
    """Those that stay: whom an engine sends in, such as a probe, is root's for a moment before it is the sandbox's."""
    found = set(others())
    if found:
        time.sleep(SECONDS)
    return those(f"uid {uid}" for _, uid in found & set(others()))


def others() -> Iterator[tuple[Path, int]]:
    """Processes of other users, with these."""
    for path in Path("/proc").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended in the meantime
            uid = path.stat().st_uid
            if path.name.isdigit() and uid != os.getuid():
                yield path, uid


def memory_of_others() -> str:
    for path, _ in others():
        return touched(str(path / "mem"), os.O_RDONLY)
    return those([])


def socket_of_others() -> str:
    """One of those that the host leads into its sandboxes, where these lie on it."""
    for path in sorted(SANDBOXES.glob("*/net/*.sock")):
        return connect(str(path), socket.AF_UNIX)
    return those([])
