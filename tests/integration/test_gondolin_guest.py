"""A guest image in the form in which Gondolin publishes its own, from a server, in place of one that is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.farm import Done
from tests.integration.micro_farm import RUNTIMES, Micro

SERVED, PORT = "/srv/guest", 8199
# What the vendor's registry leads to: the four files of an image, at the top of a .tar.gz (Gondolin 0.12, images.ts).
PUBLISH = f"""
set -e
mkdir -p {SERVED}
tar --create --gzip --sparse --file {SERVED}/guest.tar.gz --directory "$(readlink -f "$0"/guest)" .
sha256sum {SERVED}/guest.tar.gz | cut -d ' ' -f 1
"""


@pytest.fixture(scope="module")
def published(micro: Micro) -> Iterator[str]:
    """The sha256 of an archive that the host's own web server offers."""
    micro.repaired()
    own = micro.runtime()
    sha256 = micro.host.inside("sh", "-c", PUBLISH, own).strip()
    serve = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", SERVED, str(PORT))
    micro.host.inside("systemd-run", "--quiet", "--unit=lab-guests", *serve)
    yield sha256
    micro.repaired()
    micro.sh(f"systemctl stop lab-guests; rm -r {SERVED}")
    micro.sh(f"ls -d {RUNTIMES}/*/guest | grep -v {own} | xargs -r dirname | xargs -r rm -r")


def provisioned(farm: Micro, folder: Path, sha256: str) -> Done:
    """By a controller that keeps no runtime yet."""
    guest = {"url": f"http://127.0.0.1:{PORT}/guest.tar.gz", "sha256": sha256}
    other = Micro(farm.lab, folder, {**farm.overlay, "pifleet_gondolin_guest": guest}, farm.base)
    return other.pifleet("provision", "--yes", "-o", "json", timeout=3000, XDG_CACHE_HOME=str(folder))


def runtime_of(farm: Micro) -> str:
    """What a sandbox runs with."""
    return str(json.loads(farm.in_place("work", "cat", "/opt/pifleet/etc/place.json"))["runtime"])


def test_an_image_that_is_not_the_one_named_is_refused(micro: Micro, published: str, tmp_path: Path) -> None:
    refused = provisioned(micro, tmp_path, "0" * 64)

    assert refused.code == 1
    assert f"the guest image hashes to {published} and not to {'0' * 64}" in refused.err
    assert micro.plan().json["steps"] == []


def test_a_published_image_is_what_machines_boot_with(micro: Micro, published: str, tmp_path: Path) -> None:
    before = runtime_of(micro)
    done = provisioned(micro, tmp_path, published)

    assert done.code == 0, done.err
    assert runtime_of(micro) != before
    assert micro.pifleet("exec", "ana", "--", "cat", "/etc/hostname").out == "sandbox\n"
