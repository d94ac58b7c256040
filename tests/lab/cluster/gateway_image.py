"""The image of a cluster's gateways: the fleet's own with nginx and squid, from this machine's Debian packages.

Owns how one archive becomes another with a layer more; must not know how a runtime takes it in.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.lab import engine
from tests.lab.cluster.images import add
from tests.lab.engine import CACHE, run
from tests.lab.image import digest

# With the libraries that they need and the fleet's image has not.
PACKAGES = ("nginx", "nginx-common", "libnginx-mod-stream", "squid", "squid-common", "libecap3", "libltdl7",
            "libnetfilter-conntrack3", "libnfnetlink0")


def gateway_image(archive: Path, name: str) -> Path:
    """An archive of the image `name`, made from that of the fleet's image; kept in the lab's cache."""
    made = CACHE / "cluster" / f"{name.replace('/', '-').replace(':', '-')}-{digest(' '.join(PACKAGES))}.tar"
    with engine.locked(CACHE / "cluster-gateway.lock"):
        if not made.exists():
            partial = made.with_suffix(".part")
            _write(archive, name, _programs(), partial)
            partial.rename(made)
    return made


def _programs() -> bytes:
    """A layer with the files of the packages."""
    with tempfile.TemporaryDirectory() as folder:
        downloads, tree = Path(folder, "debs"), Path(folder, "tree")
        downloads.mkdir()
        run(["apt-get", "-q", "download", *PACKAGES], cwd=downloads)
        for one in sorted(downloads.glob("*.deb")):
            run(["dpkg-deb", "-x", one, tree])
        for useless in ("usr/share/doc", "lib"):  # /lib is a link in the image
            shutil.rmtree(tree / useless, ignore_errors=True)
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w") as layer:
            for path in sorted(tree.rglob("*")):
                if not path.is_dir() or path.is_symlink():
                    layer.add(path, str(path.relative_to(tree)), recursive=False)
        return whole.getvalue()


def _write(archive: Path, name: str, layer: bytes, made: Path) -> None:
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        plain = Path(folder, "image.tar")
        with plain.open("wb") as file:
            subprocess.run(["zstd", "-dcq", archive], stdout=file, check=True)
        with tarfile.open(plain) as old, tarfile.open(made, "w") as new:
            one = json.load(_file(old, "manifest.json"))[0]
            config = json.load(_file(old, one["Config"]))
            for path in one["Layers"]:
                new.addfile(old.getmember(path), _file(old, path))
            config["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(layer).hexdigest()}")
            config.pop("history", None)
            manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [*one["Layers"], "programs.tar"]}]
            files = {"programs.tar": layer, "config.json": json.dumps(config).encode(),
                     "manifest.json": json.dumps(manifest).encode()}
            for path, content in files.items():
                add(new, path, content, 0o644)


def _file(archive: tarfile.TarFile, name: str) -> io.BufferedIOBase:
    file = archive.extractfile(name)
    assert file, f"{name} is no file"
    return file
