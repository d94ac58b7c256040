"""Owns trying to get out of a sandbox, in every way that needs no luck, and telling how each attempt ended.
It is sent over an exec and runs alone, on Python 3.9 and the standard library; what it reaches, it leaves as it was.

One request, a line of JSON, arrives on standard input: `tcp` and `proxied` (lists of [name, host, port]), `names`,
`proxy` (its host and port), `own` (names that may lie beside the sandbox's sockets), `kinds` of attempts besides
(network, machine, privileges). The answer is a line of JSON: each attempt by name, with `refused` and `how`: the
error's name, or else what was reached.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

SECONDS = 3
SOCKETS, SANDBOXES = Path("/run/pifleet"), Path("/var/lib/pifleet/sandboxes")
PROBE = "pifleet-probe"
# CLONE_NEW* (linux/sched.h), MNT_EXPIRE (linux/mount.h).
NAMESPACES = {"user": 0x10000000, "mnt": 0x20000, "net": 0x40000000, "pid": 0x20000000}
EXPIRE = 4
# Numbers of system calls where libc has no function: x86_64 and aarch64 (their unistd.h).
SYSCALLS = {"init_module": (175, 105), "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219),
            "add_key": (248, 217), "kexec_load": (246, 104), "pivot_root": (155, 41), "fsopen": (430, 430),
            "open_by_handle_at": (304, 265)}
UNAVAILABLE = {errno.EPERM, errno.EACCES, errno.ENOSYS}

Json = dict[str, Any]
Attempt = Callable[[], str]
libc = ctypes.CDLL(None, use_errno=True)


def main(request: Json) -> Json:
    """Every attempt, one after the other."""
    found = {}
    for name, attempt in attempts(request):
        try:
            found[name] = {"refused": False, "how": attempt()}
        except OSError as error:
            known = error.errno if isinstance(error.errno, int) else None
            found[name] = {"refused": True, "how": errno.errorcode.get(known or 0, type(error).__name__)}
    return found


def attempts(request: Json) -> Iterator[tuple[str, Attempt]]:
    for name, host, port in request["tcp"]:
        yield f"tcp to {name}", partial(connect, (host, port))
    for name, host, port in request["proxied"]:
        yield f"proxy to {name}", partial(proxied, tuple(request["proxy"]), f"{host}:{port}")
    for name in request["names"]:
        yield f"look up {name}", partial(socket.gethostbyname, name)
    kinds: dict[str, Callable[[], Iterator[tuple[str, Attempt]]]] = {
        "network": network, "machine": partial(machine, set(request["own"])), "privileges": privileges,
    }
    for kind in request["kinds"]:
        yield from kinds[kind]()


# The network


def network() -> Iterator[tuple[str, Attempt]]:
    query = b"\x13\x37\x01\x00\x00\x01" + bytes(6) + b"\x00\x00\x02\x00\x01"  # the root's name servers (RFC 1035)
    for name, family, address in (
        ("dns by udp", socket.AF_INET, ("198.41.0.4", 53)), ("the engine's dns", socket.AF_INET, ("127.0.0.11", 53)),
        ("dns by udp over ipv6", socket.AF_INET6, ("2001:503:ba3e::2:30", 53)),
        ("multicast", socket.AF_INET, ("224.0.0.251", 5353)),
        ("broadcast", socket.AF_INET, ("255.255.255.255", 9)),
    ):
        yield name, partial(udp, family, address, query)
    yield "raw icmp", partial(opened, socket.AF_INET, socket.IPPROTO_ICMP)
    yield "raw ip", partial(opened, socket.AF_INET, socket.IPPROTO_RAW)
    yield "raw packets", partial(opened, socket.AF_PACKET, 3)
    yield "a new interface", new_interface
    yield "the hypervisor's socket", partial(connect, (2, 1), socket.AF_VSOCK)
    yield "abstract sockets of others", abstract


def connect(address: Any, family: int = 0) -> str:
    if not family:
        family, _, _, _, address = socket.getaddrinfo(address[0], address[1], type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        client.connect(address)
    return f"connected to {address}"


def proxied(proxy: tuple[str, int], target: str) -> str:
    """CONNECT through the sandbox's own egress; anything but a 2xx is a refusal."""
    with socket.create_connection(proxy, SECONDS) as client:
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        said = client.recv(4096).split(b" ")
    if said[1:2] and said[1].startswith(b"2"):
        return f"a way to {target}"
    raise OSError(errno.ECONNREFUSED, target)


def udp(family: int, address: Any, data: bytes) -> str:
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.connect(address)
        client.send(data)
        return f"sent to {address}" if address[1] != 53 else f"{len(client.recv(512))} bytes from {address}"


def opened(family: int, protocol: int) -> str:
    socket.socket(family, socket.SOCK_RAW, protocol).close()
    return "opened"


def new_interface() -> str:
    """Ask the kernel by netlink for an interface of no known kind: refused before that is looked at, or after."""
    # RTM_NEWLINK with NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, an empty ifinfomsg (rtnetlink(7)).
    message = struct.pack("=IHHII16s", 32, 16, 0x405, 1, 0, b"")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.settimeout(SECONDS)
        kernel.send(message)
        code = -int.from_bytes(kernel.recv(4096)[16:20], sys.byteorder, signed=True)
    return allowed(code)


def abstract() -> str:
    names = [line.split(" ")[-1] for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()]
    return those(name for name in names if name.startswith("@"))


# The host


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


def touched(path: str, how: int) -> str:
    """Open only: nothing is read from it or written into it."""
    os.close(os.open(path, how | os.O_NONBLOCK | os.O_NOCTTY))
    return "opened"


def block_devices() -> str:
    return those(path.name for path in Path("/dev").iterdir() if stat.S_ISBLK(path.lstat().st_mode))


def strangers() -> str:
    return those(f"uid {uid}" for _, uid in others())


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


def those(names: Iterable[str]) -> str:
    """The first of what was found; finding nothing is a refusal."""
    found = sorted(set(names))
    if not found:
        raise FileNotFoundError(errno.ENOENT, "nothing there")
    return f"{len(found)}: {', '.join(found[:5])}"


# Privileges


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


def called(function: Callable[..., int], *arguments: object) -> str:
    """A function of libc, told by its error where it fails."""
    return allowed(ctypes.get_errno()) if function(*arguments) == -1 else "succeeded"


def allowed(code: int) -> str:
    """Raises OSError for an error that means "you may not"; any other came after that question."""
    if code in UNAVAILABLE:
        raise OSError(code, os.strerror(code))
    return f"allowed ({errno.errorcode.get(code, code)})"


def entered(name: str) -> str:
    held = os.open(f"/proc/1/ns/{name}", os.O_RDONLY)
    return called(libc.setns, held, 0)


def in_child(attempt: Callable[..., object], *arguments: object) -> str:
    """In a process of its own, so that what succeeds goes away with it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, b"+" + str(attempt(*arguments) or "done").encode())
        except OSError as error:
            os.write(writer, str(error.errno).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    if said.startswith("+"):
        return said[1:]
    raise OSError(int(said), os.strerror(int(said)))


def root_owned() -> str:
    with tempfile.NamedTemporaryFile() as file:
        os.chown(file.name, 0, 0)
        Path(file.name).chmod(0o4700)
    return "made"


if __name__ == "__main__":
    print(json.dumps({"attempts": main(json.loads(sys.stdin.buffer.readline()))}))
