"""Owns the attempts to have more rights than a sandbox's user has: users, namespaces, mounts, system calls.
It must not use a right that it gets."""

from __future__ import annotations

import os
import platform
import stat
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pifleet.sandbox.escape.machine import made
from pifleet.sandbox.escape.trying import Attempt, called, in_child, libc

# CLONE_NEW* (linux/sched.h), MNT_EXPIRE (linux/mount.h).
NAMESPACES = {"user": 0x10000000, "mnt": 0x20000, "net": 0x40000000, "pid": 0x20000000}
EXPIRE = 4
# Numbers of system calls where libc has no function: x86_64 and aarch64 (their unistd.h).
SYSCALLS = {"init_module": (175, 105), "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219),
            "add_key": (248, 217), "kexec_load": (246, 104), "pivot_root": (155, 41), "fsopen": (430, 430),
            "open_by_handle_at": (304, 265)}


def privileges() -> Iterator[tuple[str, Attempt]]:
    yield "become root", partial(in_child, os.setresuid, 0, 0, 0)
    yield "become group root", partial(in_child, os.setresgid, 0, 0, 0)
    yield "another group", partial(in_child, os.setgroups, [0])
    for name, flag in NAMESPACES.items():
        yield f"a new {name} namespace", partial(in_child, called, libc.unshare, flag)
        yield f"the {name} namespace of process 1", partial(in_child, entered, name)
    # Here and below, arguments that no kernel takes: who may call gets another error than who may not.
    yield "mount", partial(called, libc.mount, b"x", b"/tmp", b"pifleet", 0, None)
    yield "unmount", partial(called, libc.umount2, b"/workspace", EXPIRE)
    yield "change the root", partial(in_child, os.chroot, "/tmp")  # noqa: S108
    for kind, mode, device in (("block", stat.S_IFBLK, os.makedev(8, 0)), ("memory", stat.S_IFCHR, os.makedev(1, 1))):
        node = partial(os.mknod, mode=mode | 0o600, device=device)
        yield f"a {kind} device", partial(made, Path(tempfile.gettempdir(), f"pifleet-{kind}"), node)
    yield "a program of root's", root_owned
    yield "the host's name", partial(called, libc.sethostname, None, 65536)
    yield "reboot", partial(called, libc.reboot, 0x7069666C)
    yield "swap", partial(called, libc.swapoff, None)
    yield "accounting", partial(called, libc.acct, b"/nonexistent/pifleet")
    for name, numbers in SYSCALLS.items():
        number = numbers[platform.machine() == "aarch64"]
        yield f"system call {name}", partial(called, libc.syscall, number, -1, 0, 0, 0, 0, 0)


def entered(name: str) -> str:
    held = os.open(f"/proc/1/ns/{name}", os.O_RDONLY)
    return called(libc.setns, held, 0)


def root_owned() -> str:
    with tempfile.NamedTemporaryFile() as file:
        os.chown(file.name, 0, 0)
        Path(file.name).chmod(0o4700)
    return "made"
