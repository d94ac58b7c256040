"""Which program is behind a connection to the proxy, by what the kernel says of sockets and processes.

Owns the reading of /proc; must not know what programs may do.
"""

import os
import re

from . import kernel

SOCKET = re.compile(r"socket:\[(\d+)\]")


def programs(network: int, port: int) -> tuple[int, list[str]]:
    """Process id, then the paths of its executable and of those that started it, for a source port inside."""
    inode = kernel.in_thread(lambda: (kernel.enter(network), inode_of(port))[1])
    pid = owner(inode) if inode else 0
    found, current = [], pid
    while current > 1:
        try:
            found.append(os.readlink(f"/proc/{current}/exe"))
            with open(f"/proc/{current}/stat") as file:
                current = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            break
    return pid, found


def inode_of(port: int) -> str:
    with open("/proc/thread-self/net/tcp") as file:
        for line in file.readlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and int(fields[2].rpartition(":")[2], 16) == 3128:
                return fields[9]
    return ""


def owner(inode: str) -> int:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                found = SOCKET.fullmatch(os.readlink(f"/proc/{pid}/fd/{name}"))
                if found and found[1] == inode:
                    return int(pid)
        except OSError:
            continue
    return 0
