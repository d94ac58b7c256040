"""Who a sandbox's processes are and where they work, from the image's USER and WORKDIR.

Owns the refusals that a real supervisor ends with; must not know how processes are started.
"""

import os
from dataclasses import dataclass


class Refused(Exception):
    """The image cannot be a sandbox; the text is the last line of the container's log."""


@dataclass(frozen=True)
class Identity:
    name: str
    uid: int
    gid: int
    groups: list[int]
    home: str


def identity(declared: str, workdir: str) -> Identity:
    """The image's own user; raises Refused as a real supervisor does: root, a bare number, a name without an entry."""
    user, _, group = declared.partition(":")
    rows = [line.split(":") for line in read("/etc/passwd")]
    found = next((row for row in rows if len(row) > 3 and user in (row[0], row[2])), None)
    if found is None and user.isdigit() and not group:
        raise Refused(f"OCI USER '{declared}' uses a numeric UID without an explicit group, "
                      "and /etc/passwd has no entry")
    if found is None and not user.isdigit():
        raise Refused(f"OCI USER '{declared}' was not found in /etc/passwd" if user else "OCI USER '' selects root")
    name, uid = (found[0], int(found[2])) if found else (user, int(user))
    gid = group_id(group) if group else int(found[3] if found else 0)
    if uid == 0:
        raise Refused(f"OCI USER '{declared}' selects root")
    if gid == 0:
        raise Refused(f"OCI USER '{declared}' selects root group")
    members = [line.split(":") for line in read("/etc/group")]
    groups = [int(row[2]) for row in members if len(row) > 3 and name in row[3].split(",")]
    return Identity(name, uid, gid, groups, workdir)


def group_id(group: str) -> int:
    if group.isdigit():
        return int(group)
    for line in read("/etc/group"):
        row = line.split(":")
        if row[0] == group:
            return int(row[2])
    raise Refused(f"OCI group '{group}' was not found in /etc/group")


def read(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def workspace(path: str, who: Identity) -> None:
    """Have the workspace: /sandbox is made, any other must be there and belong to the user's rights."""
    if path == "/sandbox":
        os.makedirs(path, exist_ok=True)
        os.chown(path, who.uid, who.gid)
        return
    if os.path.islink(path) or not os.path.isdir(path):
        raise Refused(f"OCI WorkingDir '{path}' is not a directory in the image")
    seen = os.stat(path)
    writable = (seen.st_uid == who.uid and seen.st_mode & 0o300 == 0o300) or (
        seen.st_gid in (who.gid, *who.groups) and seen.st_mode & 0o030 == 0o030) or seen.st_mode & 0o003 == 0o003
    if not writable:
        raise Refused(f"workspace path component '{path}' is not writable by the sandbox identity in the image")
