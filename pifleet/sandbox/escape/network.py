"""Owns the attempts to get out of a sandbox by the network, with the sandbox's own proxy or past it.
It must not know a host: names, addresses and ports come with the request."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pifleet.sandbox.escape.trying import SECONDS, Attempt, Json, allowed, connect, those


def targets(request: Json) -> Iterator[tuple[str, Attempt]]:
    """What the request names: straight, through the proxy, and by name."""
    for name, host, port in request["tcp"]:
        yield f"tcp to {name}", partial(connect, (host, port))
    for name, host, port in request["proxied"]:
        yield f"proxy to {name}", partial(proxied, tuple(request["proxy"]), f"{host}:{port}")
    for name in request["names"]:
        yield f"look up {name}", partial(socket.gethostbyname, name)


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
