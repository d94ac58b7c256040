"""Packs the test double as the real release is packed: the same names, one file a program, checksums beside them.

Owns archives and the Debian package; must not know what the programs do. Python and its C library come from the host.
"""

import gzip
import hashlib
import io
import os
import platform
import shutil
import sys
import tarfile
import tempfile
import zipapp
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tests.lab.engine import CACHE, CannotCarry, LabError, locked, run
from tests.lab.farm import ROOT
from tests.lab.openshell import wheel

PYTHON = "3.13"  # of the lab's hosts; a compiled library fits one version only
LIBRARIES = ("asyncssh", "cffi", "cryptography", "grpcio", "protobuf", "pycparser", "typing-extensions")
SOURCE = Path(__file__).parent
PACKAGE = "openshell_double"
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
EPOCH = 315619200  # the second day that a zip archive can name
PROGRAMS = ("openshell", "openshell-gateway", "openshell-sandbox")

SUPERVISOR = b"""#!/bin/sh
# The test double's supervisor: run by the Python of the gateway's host, which is mounted beside it.
PYTHONHOME="$OPENSHELL_DOUBLE_HOME" exec $OPENSHELL_DOUBLE_PYTHON "$0" "$@"
"""
GATEWAY = """#!/bin/sh
# The test double's gateway: what follows the last line of this script is an archive of Python, unpacked once.
set -e
here="${{XDG_STATE_HOME:-$HOME/.local/state}}/openshell-double/{digest}"
if [ ! -d "$here" ]; then
    mkdir -p "$here.$$"
    sed '1,/^exit 0$/d' "$0" | tar xz -C "$here.$$"
    mv -T "$here.$$" "$here" 2>/dev/null || rm -rf "$here.$$"
fi
OPENSHELL_DOUBLE_SELF="$0" PYTHONPATH="$here" exec "${{OPENSHELL_DOUBLE_PYTHON3:-python3}}" -m {package}.gateway "$@"
exit 0
"""
CONTROL = """Package: openshell
Version: {version}
Architecture: {architecture}
Maintainer: pifleet tests <tests@example.com>
Section: utils
Priority: optional
Description: Test double of OpenShell: the real command, and a gateway that stands in for the real one
"""
UNIT = """[Unit]
Description=OpenShell Gateway (test double)
After=default.target

[Service]
Type=simple
StateDirectory=openshell/gateway
Environment=OPENSHELL_LOCAL_TLS_DIR=%h/.local/state/openshell/tls
EnvironmentFile=-%E/openshell/gateway.env
ExecStartPre=/usr/bin/openshell-gateway generate-certs --output-dir ${OPENSHELL_LOCAL_TLS_DIR} \
--server-san host.openshell.internal
ExecStart=/usr/bin/openshell-gateway
Restart=on-failure
RestartSec=5s
PrivateTmp=true
UMask=0077

[Install]
WantedBy=default.target
"""


def supervisor(place: Path) -> Path:
    """Write `openshell-sandbox`: one file, an archive of Python behind a line of shell."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        shutil.copytree(SOURCE / "supervisor", source / f"{PACKAGE}_supervisor",
                        ignore=shutil.ignore_patterns("__pycache__"))
        (source / "__main__.py").write_text(
            f"import sys\nfrom {PACKAGE}_supervisor.__main__ import main\nsys.exit(main())\n")
        for path in source.rglob("*"):
            os.utime(path, (EPOCH, EPOCH))
        archive = Path(scratch, "archive")
        zipapp.create_archive(source, archive)
        return executable(place, SUPERVISOR + archive.read_bytes())


def gateway(place: Path, python: str = PYTHON) -> Path:
    """Write `openshell-gateway`: one file, with all its libraries for one version of Python."""
    buffer = io.BytesIO()
    with packing(buffer) as archive:
        archive.add(wheel.folder() / "lib" / "openshell_proto", "openshell_proto", filter=plain)
        for path in sorted(libraries(python).iterdir()):
            archive.add(path, path.name, filter=plain)
        for name in ("__init__.py", "gateway", "supervisor"):
            archive.add(SOURCE / name, f"{PACKAGE}/{name}", filter=plain)
    payload = buffer.getvalue()
    stub = GATEWAY.format(digest=hashlib.sha256(payload).hexdigest()[:16], package=PACKAGE)
    return executable(place, stub.encode() + payload)


@contextmanager
def packing(file: BinaryIO) -> Iterator[tarfile.TarFile]:
    """A compressed archive that is the same for the same contents."""
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        yield archive


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """An entry without owner and time, and nothing that Python compiled."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = "root"
    return None if "__pycache__" in entry.name else entry


def libraries(python: str) -> Path:
    """The gateway's libraries as the lock file names them, installed for another Python. Raises CannotCarry."""
    wanted = locked_lines()
    place = CACHE / f"openshell-libraries-{python}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    with locked(CACHE / "openshell-libraries.lock"):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                Path(scratch, "wanted.txt").write_text(wanted)
                tags = [f"--platform=manylinux{tag}_{platform.machine()}" for tag in ("2014", "_2_28", "_2_34")]
                try:
                    run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
                         "--require-hashes", "--only-binary=:all:", f"--python-version={python}", *tags,
                         "--target", f"{scratch}/made", "--requirement", f"{scratch}/wanted.txt"])
                except LabError as error:
                    raise CannotCarry(f"libraries for Python {python} are not to be had: {error}") from error
                shutil.copytree(f"{scratch}/made", place)
    return place


def locked_lines() -> str:
    """The lock file's entries, with their hashes, for the gateway's libraries."""
    entries, current = {}, ""
    for line in (ROOT / "requirements-dev.txt").read_text().splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            current = line.partition("==")[0]
        entries[current] = entries.get(current, "") + line
    return "".join(entries[name] for name in LIBRARIES)


def executable(place: Path, content: bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    place.chmod(0o755)
    return place


def release(place: Path, python: str = PYTHON) -> Path:
    """Write a folder like a release: three archives, a Debian package, and a file of checksums for each program."""
    machine = platform.machine()
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        programs = Path(scratch, "bin")
        executable(programs / "openshell", (wheel.folder() / "bin" / "openshell.as-shipped").read_bytes())
        gateway(programs / "openshell-gateway", python)
        supervisor(programs / "openshell-sandbox")
        made = {}
        for name in PROGRAMS:
            kind = "musl" if name == "openshell" else "gnu"
            archive = place / f"{name}-{machine}-unknown-linux-{kind}.tar.gz"
            with archive.open("wb") as file, packing(file) as tar:
                tar.add(programs / name, name, filter=plain)
            made[name] = [archive]
        made["openshell"].append(deb(place, programs))
        for name, files in made.items():
            lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
            (place / f"{name}-checksums-sha256.txt").write_text("".join(lines))
    return place


def deb(place: Path, programs: Path) -> Path:
    """The Debian package: command, gateway and the user's unit. Like the real one it brings no supervisor."""
    architecture = DEBIAN[platform.machine()]
    package = place / f"openshell_{wheel.VERSION}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        for name in ("openshell", "openshell-gateway"):
            executable(Path(scratch, "usr/bin", name), (programs / name).read_bytes())
        for path, text in (("usr/lib/systemd/user/openshell-gateway.service", UNIT),
                           ("DEBIAN/control", CONTROL.format(version=wheel.VERSION, architecture=architecture))):
            Path(scratch, path).parent.mkdir(parents=True, exist_ok=True)
            Path(scratch, path).write_text(text)
        run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", scratch, package],
            env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
    return package
