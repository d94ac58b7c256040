"""What the sandbox's processes are bound by, asked of the kernel: Landlock, namespaces, capabilities.

Owns the system calls; must not know policies' form.
"""

import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 0x40000, 2
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
LAST_CAPABILITY = 63
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
# Rights of Landlock's first version that apply to files alone, to reading, and all of them; then refer and truncate.
READ_FILE, WRITE_FILE, EXECUTE, READ_DIR = 1 << 2, 1 << 1, 1 << 0, 1 << 3
ALL_V1, REFER, TRUNCATE = (1 << 13) - 1, 1 << 13, 1 << 14


def checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def new_network() -> int:
    """A descriptor of a new network namespace, made by a thread that ends with the call."""
    return in_thread(lambda: (checked(libc.unshare(CLONE_NEWNET), "unshare"), own_network())[1])


def own_network() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(descriptor: int) -> None:
    """Move the calling thread into a network namespace."""
    checked(libc.setns(descriptor, CLONE_NEWNET), "setns")


def in_thread(act):  # type: ignore[no-untyped-def]
    """What `act` gives in a thread of its own, whose namespaces nobody else sees."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


def hide(*folders: str) -> None:
    """Take mounts away from the calling process and its children."""
    checked(libc.unshare(CLONE_NEWNS), "unshare")
    checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    for folder in folders:
        checked(libc.umount2(folder.encode(), MNT_DETACH), f"umount {folder}")


def landlock_abi() -> int:
    """Landlock's version here, 0 where there is none."""
    return max(libc.syscall(LANDLOCK_CREATE, None, 0, 1), 0)


def ruleset(read_only: list[str], read_write: list[str]) -> int:
    """A Landlock ruleset with these paths; missing ones are left out. Raises OSError without Landlock."""
    abi = landlock_abi()
    handled = ALL_V1 | (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0)
    attribute = struct.pack("<Q", handled)
    rules = checked(libc.syscall(LANDLOCK_CREATE, attribute, len(attribute), 0), "landlock_create_ruleset")
    reading = READ_FILE | READ_DIR | EXECUTE
    for path, rights in [*((p, reading) for p in read_only), *((p, handled) for p in read_write)]:
        try:
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not os.path.isdir(path):
            rights &= READ_FILE | WRITE_FILE | EXECUTE | (TRUNCATE if abi >= 3 else 0)
        rule = struct.pack("<Qi", rights & handled, beneath)
        checked(libc.syscall(LANDLOCK_ADD, rules, 1, rule, 0), f"landlock_add_rule {path}")
        os.close(beneath)
    return rules


def renounce(uid: int, gid: int, groups: list[int], rules: int | None) -> None:
    """Become a user for good: no capability, no new privilege, no path outside the ruleset."""
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if rules is not None:
        checked(libc.syscall(LANDLOCK_RESTRICT, rules, 0), "landlock_restrict_self")
