"""Images without a registry: a small one of busybox, which also holds the namespaces of every pod.

Owns the archive's form; must not know how a runtime takes it in.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

IMAGE = "localhost/pifleet-lab/busybox:1"
FOLDERS = {"bin": 0o755, "etc": 0o755, "root": 0o700, "proc": 0o755, "sys": 0o755, "dev": 0o755, "tmp": 0o1777}
USERS = b"root:x:0:0::/root:/bin/sh\npi:x:1000:1000::/tmp:/bin/sh\n"
GROUPS = b"root:x:0:\npi:x:1000:\n"
WAIT = ["/bin/sleep", "2147483647"]


def busybox(program: Path) -> bytes:
    """An archive as `docker save` writes it, of IMAGE: a static busybox's commands; it waits when told nothing."""
    tree = layer(program)
    difference = hashlib.sha256(tree).hexdigest()
    settings = {"Cmd": WAIT, "Env": ["PATH=/bin"]}
    root = {"type": "layers", "diff_ids": [f"sha256:{difference}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": settings, "rootfs": root}).encode()
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    files = {"config.json": config, "layer.tar": tree, "manifest.json": json.dumps(manifest).encode()}
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, content in files.items():
            add(archive, name, content, 0o644)
    return whole.getvalue()


def layer(program: Path) -> bytes:
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for folder, mode in FOLDERS.items():
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, mode
            archive.addfile(member)
        add(archive, "bin/busybox", program.read_bytes(), 0o755)
        add(archive, "etc/passwd", USERS, 0o644)
        add(archive, "etc/group", GROUPS, 0o644)
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
    return whole.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))
