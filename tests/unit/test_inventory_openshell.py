"""What an inventory says of OpenShell: what it becomes, and every refusal word for word."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from pifleet.desired import host_spec
from pifleet.errors import BadInput
from pifleet.fleet import OPENSHELL, Fleet
from tests.unit.inventories import ABSENT, fleet

SUM = "0" * 64
URL = "https://mirror.example.com/openshell_0.0.111_amd64.deb"
GOOD: dict[str, Any] = {
    "groups/pifleet_openshell": {"hosts": {"farm-3": {}}},
    "vars/pifleet_openshell": {"version": "0.0.111", "packages": [{"url": URL, "sha256": SUM}]},
    "developers/ana/pattern": "openshell",
}
GENERATION = 'use a version of generation 0.0.x, such as "0.0.111"; this version of pifleet does not drive 0.1.x'
DRIVER = "use docker; this version of pifleet does not drive podman, vm or kubernetes"
FILE = "use one of file and url, ending in .deb or .tar.gz"


def test_a_host_of_the_group_offers_the_pattern_and_gets_the_packages(tmp_path: Path) -> None:
    made = fleet(tmp_path, copy.deepcopy(GOOD))

    assert made.hosts_offering(OPENSHELL) == ("farm-3",)
    assert made.openshell.version == "0.0.111"
    assert [(one.url, one.name) for one in made.openshell.packages] == [(URL, f"{SUM}.deb")]


def test_a_package_beside_the_inventory_is_found_from_there(tmp_path: Path) -> None:
    (tmp_path / "shell.tar.gz").touch()
    packages = [{"file": "shell.tar.gz", "sha256": SUM}]
    made = fleet(tmp_path, {**GOOD, "vars/pifleet_openshell": {"version": "0.0.111", "packages": packages}})

    assert [(one.file, one.name) for one in made.openshell.packages] == [
        (str(tmp_path / "shell.tar.gz"), f"{SUM}.tar.gz")]


KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQIN\n-----END PGP PUBLIC KEY BLOCK-----\n"
SOURCE = {"url": "https://mirror.example.com/docker", "suite": "trixie", "key": "docker.asc"}


def test_hosts_without_an_engine_get_one_from_the_source_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "docker.asc").write_text(KEY)
    made = fleet(tmp_path, {**copy.deepcopy(GOOD), "vars/pifleet_engine_source": SOURCE})
    engine = host_spec(made, "farm-3", (), Path("/cache"))["engine"]

    assert engine["minimum"] == "28.0.0"
    assert engine["source"]["packages"] == ["docker-ce", "docker-ce-cli", "containerd.io"]
    assert engine["source"]["text"] == (
        "Types: deb\nURIs: https://mirror.example.com/docker\nSuites: trixie\nComponents: stable\nSigned-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQIN\n -----END PGP PUBLIC KEY BLOCK-----\n")


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "docker.asc").write_text("-----BEGIN PGP PRIVATE KEY BLOCK-----")
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path, {**copy.deepcopy(GOOD), "vars/pifleet_engine_source": SOURCE})

    assert [str(mistake) for mistake in raised.value.mistakes] == [
        'pifleet_engine_source.key: saw "docker.asc"; name a file with a PGP public key as text']


ADDRESS = "use https://HOST:PORT, or http://127.0.0.1:PORT where the host itself reaches it so"
# One that was good for the first day of 2025.
ENDS = 1735776000
CERTIFICATE = """
-----BEGIN CERTIFICATE-----
MIIBBzCBraADAgECAgEBMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMMAnBpMB4XDTI1
MDEwMTAwMDAwMFoXDTI1MDEwMjAwMDAwMFowDTELMAkGA1UEAwwCcGkwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAQrv4vAZnV+kiohF8xcaWKA/4G98bNpRdIHSDTE
0VJ3NQr3VCFedYxer1PJij7g28Qr+klGjmi/WWkVuJ2mGA8sMAoGCCqGSM49BAMC
A0kAMEYCIQDBoFM9PTfogEnPFO/RC42Dubakq5gYLuqGZEaLSdvvkAIhAI1vFHsm
ydhYnytOaqmPqefIMWPPBeJaVzcIkF1vLgV7
-----END CERTIFICATE-----
"""
TLS = "name the three files of a client of this gateway: {ca: PATH, cert: PATH, key: PATH}"


def others(**variables: Any) -> dict[str, Any]:
    return {"groups/pifleet_openshell_gateways": {"hosts": {"lab": variables}}, "developers/ana/model": "claude"}


def with_certificate(folder: Path, text: str) -> Fleet:
    """The fleet of a gateway whose client's certificate this is."""
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nca\n")
    (folder / "tls.crt").write_text(text)
    files = {"ca": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
    return fleet(folder, {**copy.deepcopy(GOOD), **others(
        pifleet_gateway_url="https://gw.example.com:17670", pifleet_gateway_tls=files), "developers/ana/host": "lab"})


def test_a_gateway_that_others_run_is_known_by_files_and_offers_the_pattern(tmp_path: Path) -> None:
    made = with_certificate(tmp_path, CERTIFICATE)
    spec = host_spec(made, "lab", made.sandboxes[:1], Path("/cache"))

    assert made.hosts_offering(OPENSHELL) == ("farm-3", "lab")
    assert spec["parts"] == ["preflight", "developers", "openshell_client", "sandbox_openshell"]
    assert spec["openshell"]["gateway"]["endpoint"] == "https://gw.example.com:17670"
    assert [entry["secret"] for entry in spec["secrets"]] == ["gateway:lab:key"]
    assert spec["openshell"]["gateway"]["client"].startswith("/var/lib/pifleet/")
    assert spec["openshell"]["gateway"]["until"] == ENDS
    assert spec["services"] == []


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as raised:
        with_certificate(tmp_path, "-----BEGIN CERTIFICATE-----\nclient\n")

    assert [str(mistake) for mistake in raised.value.mistakes] == [
        'hosts.lab.pifleet_gateway_tls.cert: saw "tls.crt"; name a file with the client\'s certificate, as PEM']


REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a later generation", {"vars/pifleet_openshell/version": "0.1.5"},
     [f'pifleet_openshell.version: saw "0.1.5"; {GENERATION}']),
    ("another driver", {"groups/pifleet_openshell/hosts/farm-3": {"pifleet_openshell_driver": "podman"}},
     [f'hosts.farm-3.pifleet_openshell_driver: saw "podman"; {DRIVER}']),
    ("a gateway of others without an address", {"groups/pifleet_openshell_gateways": {"hosts": {"lab": {}}}},
     [f"hosts.lab.pifleet_gateway_url: saw nothing; {ADDRESS}"]),
    ("a gateway of others in clear over a network", others(pifleet_gateway_url="http://gw.example.com:17670"),
     [f'hosts.lab.pifleet_gateway_url: saw "http://gw.example.com:17670"; {ADDRESS}']),
    ("a gateway of others without certificates", others(pifleet_gateway_url="https://gw.example.com:17670"),
     [f"hosts.lab.pifleet_gateway_tls: saw nothing; {TLS}"]),
    ("an image that is not named whole",
     others(pifleet_gateway_url="http://127.0.0.1:17670", pifleet_gateway_image="pi"),
     ['hosts.lab.pifleet_gateway_image: saw "pi"; use the whole name of an image, such as HOST/NAME:TAG']),
    ("a host that has a gateway and reaches another",
     {"groups/pifleet_openshell_gateways": {"hosts": {"farm-3": {"pifleet_gateway_url": "http://127.0.0.1:17670"}}},
      "developers/ana/model": "claude"},
     ["hosts.farm-3: saw in pifleet_openshell and in pifleet_openshell_gateways; leave it in one of them"]),
    ("an address on a host of another group",
     {"groups/pifleet_openshell": {"hosts": {"farm-3": {"pifleet_gateway_url": "http://127.0.0.1:17670"}}}},
     ["hosts.farm-3.pifleet_gateway_url: saw a gateway of others; "
      "put farm-3 into pifleet_openshell_gateways, or remove it"]),
    ("a script where nobody of ours could play it",
     {**others(pifleet_gateway_url="http://127.0.0.1:17670"), "developers/ana/host": "lab",
      "developers/ana/model": "dry"},
     ['pifleet_developers.ana.sandboxes.main.model: saw "dry"; '
      "use a model with an address: scripts are played on hosts where pifleet runs the gateway"]),
    ("no packages", {"vars/pifleet_openshell": ABSENT},
     ["pifleet_openshell: saw nothing; say what the hosts of this group get: {version: ..., packages: [...]}"]),
    ("a package that is neither file nor url",
     {"vars/pifleet_openshell/packages": [{"sha256": SUM}]},
     [f'pifleet_openshell.packages.0: saw nothing; {FILE}']),
    ("a package of an unknown kind",
     {"vars/pifleet_openshell/packages": [{"url": "https://mirror.example.com/x.rpm", "sha256": SUM}]},
     [f'pifleet_openshell.packages.0: saw "https://mirror.example.com/x.rpm"; {FILE}']),
    ("a package that is not there", {"vars/pifleet_openshell/packages": [{"file": "x.deb", "sha256": SUM}]},
     ['pifleet_openshell.packages.0.file: saw "x.deb"; name a file that is there']),
    ("two models of one developer",
     {"developers/cy/sandboxes/kernel": {"pattern": "openshell", "model": "dry"},
      "developers/cy/sandboxes/review": {"pattern": "openshell", "model": "claude"}},
     ['pifleet_developers.cy.sandboxes.review.model: saw "claude"; '
      "use dry: a developer's sandboxes of pattern openshell share one model"]),
    ("a whole domain that leads to private addresses",
     {"developers/ana/egress": [{"to": ".corp.example.com:443", "private": True}]},
     ['pifleet_developers.ana.sandboxes.main.egress: saw ".corp.example.com:443"; '
      "name each host: pattern openshell lets no whole domain lead to private addresses"]),
    ("clones only, where nobody looks into a tunnel",
     {"developers/ana/pattern": "docker", "developers/ana/egress": [{"to": "git.example.com", "clone": True}]},
     ['pifleet_developers.ana.sandboxes.main.egress: saw "git.example.com:443"; '
      "leave out clone: true, or use pattern openshell: docker does not tell a clone from a push"]),
]


@pytest.mark.parametrize(("changes", "wanted"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_pifleet_does_not_drive_is_refused_with_a_clear_word(
    tmp_path: Path, changes: dict[str, Any], wanted: list[str]
) -> None:
    good = copy.deepcopy({key: value for key, value in GOOD.items() if changes.get(key) is not ABSENT})
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path, {**good, **{key: value for key, value in changes.items() if value is not ABSENT}})

    assert [str(mistake) for mistake in raised.value.mistakes] == wanted
