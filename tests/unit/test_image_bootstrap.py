"""What mmdebstrap is told, from what this host's apt says of itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from pifleet import content

PARAMS = {"suite": "bookworm", "target": "/build/rootfs.tar", "packages": ["git", "less"]}
DUMP = """Acquire "";
Acquire::http::Proxy "http://user:word@proxy.example:3128";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::Packages::Optional "0";
Acquire::Changelogs::URI::Origin::Debian "https://changelogs.example";
Acquire::Languages:: "none";
Dir::Cache "var/cache/apt";
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    sys.path.insert(0, str(content.root() / "plugins" / "modules"))
    try:
        import image_bootstrap
    finally:
        sys.path.pop(0)
    return image_bootstrap


def target(release: str, component: str = "main", origin: str = "Debian", host: str = "mirror.example") -> str:
    return f"{origin}|http://{host}/debian/|{release}|{component}"


def test_acquire_options_of_the_host_are_carried_over_and_nothing_else(module: ModuleType) -> None:
    assert module.apt_options(DUMP) == [
        'Acquire::http::Proxy "http://user:word@proxy.example:3128";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::Languages:: "none";',
    ]


def test_the_hosts_own_mirror_of_the_suite_is_used_with_updates_and_security(module: ModuleType) -> None:
    targets = [target("bookworm"), target("bookworm", "contrib"), target("bookworm-security"), target("trixie")]
    assert module.own_mirrors("\n".join(targets), "bookworm") == [
        "deb http://mirror.example/debian/ bookworm main contrib",
        "deb http://mirror.example/debian/ bookworm-security main",
    ]


@pytest.mark.parametrize(
    "targets",
    [
        "",
        target("trixie"),
        target("bookworm", origin="Docker", host="other.example"),
        target("bookworm-updates"),
    ],
    ids=["no sources", "another release", "another vendor", "updates alone"],
)
def test_a_host_that_does_not_serve_the_suite_leaves_the_choice_to_mmdebstrap(module: ModuleType, targets: str) -> None:
    assert module.own_mirrors(targets, "bookworm") == []
    assert module.argv(PARAMS, "/private/apt.conf", "")[-3:] == ["--", "bookworm", "/build/rootfs.tar"]


def test_a_host_without_package_lists_is_believed_about_its_sources(module: ModuleType) -> None:
    targets = target("bookworm", origin="$(ORIGIN)")
    assert module.own_mirrors(targets, "bookworm") == ["deb http://mirror.example/debian/ bookworm main"]


@pytest.mark.parametrize(
    ("mirror", "lines"),
    [
        ("", []),
        ("http://m.example/{date}/debian", ["deb http://m.example/20260101T000000Z/debian bookworm main"]),
        ("deb http://m.example/{date} x y\ndeb [trusted=yes] file:/m ./", [
            "deb http://m.example/20260101T000000Z x y", "deb [trusted=yes] file:/m ./"]),
    ],
)  # fmt: skip
def test_a_mirror_is_a_uri_or_lines_of_a_sources_list(module: ModuleType, mirror: str, lines: list[str]) -> None:
    assert module.given_mirrors(mirror, "20260101T000000Z", "bookworm") == lines


def test_options_and_mirrors_reach_mmdebstrap_as_files(module: ModuleType, tmp_path: Path) -> None:
    options = module.written(str(tmp_path), "apt.conf", module.apt_options(DUMP))
    argv = module.argv(PARAMS, options, "/private/sources.list")
    assert f"--aptopt={tmp_path}/apt.conf" in argv
    assert argv[-4:] == ["--", "bookworm", "/build/rootfs.tar", "/private/sources.list"]
    assert "user:word" in Path(options).read_text()
    assert not any("user:word" in part for part in argv)
