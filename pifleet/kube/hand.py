"""Owns handing a folder of this machine into a sandbox's workspace: whole and verified, or not at all.
It must not know what is in it, and touches nothing that has its name there already."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path

from pifleet.errors import HostFailed, SandboxFailed
from pifleet.kube.client import Api, path
from pifleet.kube.ending import BROKEN
from pifleet.kube.exec import Pod, start
from pifleet.kube.pods import OWNER, state_of, trouble_of, waits_for
from pifleet.kube.warnings import warning
from pifleet.stream import Stream, StreamTimeout

CHUNK = 1 << 18
SECONDS = 600
BUSY = 3
# Takes an archive of a told size and hash, and gives its content a name that nobody has.
_TAKE = """
import hashlib, os, shutil, sys, tarfile
name, size, sha256 = sys.argv[1], int(sys.argv[2]), sys.argv[3]
end, coming = os.path.join("/workspace", name), "/workspace/.coming." + name
if os.path.lexists(end):
    sys.exit(3)
shutil.rmtree(coming, ignore_errors=True)
os.mkdir(coming)
class Counted:
    total, seen = hashlib.sha256(), 0
    def read(self, size):
        data = sys.stdin.buffer.read(size)
        self.total.update(data)
        self.seen += len(data)
        return data
source = Counted()
try:
    with tarfile.open(fileobj=source, mode="r|") as archive:
        archive.extractall(os.path.join(coming, "it"))
except OSError as error:
    shutil.rmtree(coming, ignore_errors=True)
    sys.exit("%s: %s" % (error.filename or end, error.strerror or error))
while source.read(65536):
    pass
if (source.seen, source.total.hexdigest()) != (size, sha256):
    sys.exit("what arrived is not what was sent")
os.rename(os.path.join(coming, "it"), end)
os.rmdir(coming)
"""


def is_there(api: Api, pod: Pod, name: str) -> bool:
    """Whether anything has this name in the workspace. Raises HostFailed, SandboxFailed where the pod does not run."""
    seen = api.get(path("v1", "pods", pod.namespace, pod.name))
    if state_of(OWNER, seen) != "running":
        why = trouble_of(seen) or waits_for(seen) if seen else warning(api, pod.namespace, pod.name)
        raise SandboxFailed(f"pod {pod.namespace}/{pod.name} does not run", saw=why or "it is not there")
    code, said = _ended(api, start(api, pod, ["test", "-e", f"/workspace/{name}"], "/"))
    if code not in (0, 1):
        raise SandboxFailed(f"{pod.name}: nobody could look into its workspace", saw=said)
    return code == 0


def hand_over(api: Api, pod: Pod, tree: Path, name: str) -> bool:
    """Put a folder into the workspace under a name; False where something has that name. May be done again after it
    failed, however far it came. Raises HostFailed, SandboxFailed."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            archive.add(tree, "", filter=_nobodys)
        size = file.tell()
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        stream = start(api, pod, ["python3", "-I", "-c", _TAKE, name, str(size), sha256], "/")
        try:
            while data := file.read(CHUNK):
                stream.send(data)
            stream.end()
        except BrokenPipeError:
            pass  # it ended before it had all: its code says why
        code, said = _ended(api, stream)
    if code not in (0, BUSY):
        raise SandboxFailed(f"{pod.name}: {name} did not arrive", saw=said, try_="pifleet provision")
    return code == 0


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _ended(api: Api, stream: Stream) -> tuple[int, str]:
    """The code of a program that came to its end, and what it said. Raises HostFailed where the connection ended."""
    try:
        code = stream.wait(SECONDS)
        said = stream.stderr().decode(errors="replace").strip()
    except StreamTimeout:
        return -1, f"no answer within {SECONDS} s"
    finally:
        stream.close()
    if code == BROKEN:
        raise HostFailed(f"{api.host.name}: the connection to a pod broke", saw=said, unreachable=True,
                         try_="the same command again")
    return code, said
