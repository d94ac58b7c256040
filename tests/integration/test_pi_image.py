"""The role pi_image on this machine's engine: how a small stand-in for the image is found, moved, saved and loaded, and
what the fleet's own image is like, by hand and as a sandbox's."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pifleet import content
from pifleet.fleet import Image
from pifleet.look import image_cache


def run(*argv: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, **how)


def engine_answers() -> bool:
    return os.getuid() == 0 and bool(shutil.which("docker")) and run("docker", "info").returncode == 0


pytestmark = pytest.mark.skipif(not engine_answers(), reason="needs root and a Docker engine that answers")

HASH = "f00dfacef00d"
NAME = f"pifleet-test/pi:{HASH}"
MADE_FROM = f"pifleet-test/made-from:{HASH}"
BUILD_ROOT = Path("/var/lib/pifleet/build")


class Result:
    """What a run of the role said and counted."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.text = done.stdout + done.stderr
        self.ok = done.returncode == 0
        self.changed = sum(int(count) for count in re.findall(r" changed=(\d+)", done.stdout))


class Role:
    """The role as a playbook runs it, on this machine."""

    def __init__(self, folder: Path, variables: dict[str, Any]) -> None:
        self.folder, self.variables = folder, variables
        content.link_collection(folder / "collections")

    def __call__(self, *arguments: str, tasks: str = "main") -> Result:
        host = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
        inventory, play = self.folder / "inventory.json", self.folder / "play.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"here": host}}}))
        task = {"include_role": {"name": "pifleet.fleet.pi_image", "tasks_from": tasks}}
        variables = {"pifleet_image": self.variables}
        play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": [task]}]))
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), *arguments, str(play)]
        return Result(
            run(
                *argv,
                env={
                    **os.environ,
                    "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
                    "ANSIBLE_PIPELINING": "1",
                },
            )
        )


class StandIn:
    """A tiny image in the shape of the real one, and its archive as the role saved it, ready to be spoilt."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "image.tar.zst"
        self.record = Path(f"{self.archive}.sha256")
        variables = {**wanted(Image()), "name": NAME, "hash": HASH, "archive": str(self.archive), "builder": False}
        self.role = Role(folder, variables)

    def make(self, name: str, image_hash: str = HASH) -> str:
        """Import an image with layers of its own; returns its id."""
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as writer:
            file = tarfile.TarInfo("content")
            file.size = 16
            writer.addfile(file, io.BytesIO(os.urandom(16)))
        shape = ('ENTRYPOINT ["pi"]', "WORKDIR /workspace", f"LABEL io.pifleet.image={image_hash}")
        changes = [part for change in shape for part in ("--change", change)]
        argv = ["docker", "import", *changes, "-", name]
        return subprocess.run(argv, input=tar.getvalue(), capture_output=True, check=True).stdout.decode().strip()

    def seen(self) -> str:
        return run("docker", "inspect", "--format", "{{.Id}}", NAME).stdout.strip()

    def recorded(self) -> str:
        return re.findall("^# image (.*)$", self.record.read_text(), re.MULTILINE)[0]

    def spoil(self, field: str, value: str) -> None:
        record = self.record.read_text()
        self.record.write_text(re.sub(f"^# ({field}) .*$", rf"# \g<1> {value}", record, flags=re.MULTILINE))


def forget() -> None:
    """Remove every image that a test here made or loaded."""
    ids = run("docker", "images", "--quiet", "--no-trunc", "--filter", f"label=io.pifleet.image={HASH}").stdout.split()
    run("docker", "rmi", "--force", NAME, MADE_FROM, *ids)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("saved")
    stand_in = StandIn(folder)
    stand_in.make(NAME)
    result = stand_in.role(tasks="save")
    assert result.ok, result.text
    yield folder
    forget()


@pytest.fixture
def stand_in(saved: Path, tmp_path: Path) -> Iterator[StandIn]:
    """The archive and its record are there, the engine has nothing yet."""
    for file in saved.glob("image.*"):
        shutil.copy(file, tmp_path)
    forget()
    yield StandIn(tmp_path)
    forget()


def wanted(image: Image) -> dict[str, Any]:
    """The role's variable for an image, as a fleet's spec has it."""
    parts = {key: value for key, value in asdict(image).items() if key != "recipe"}
    return {**parts, "packages": sorted({*image.PACKAGES, *image.packages}), "name": image.name, "hash": image.hash}


def test_a_missing_image_is_loaded_and_then_left_alone(stand_in: StandIn) -> None:
    first, second = stand_in.role(), stand_in.role()
    assert first.ok, first.text
    assert stand_in.seen() == stand_in.recorded()
    assert (second.ok, second.changed) == (True, 0), second.text
    assert list(BUILD_ROOT.iterdir()) == []


def test_the_record_of_an_archive_is_read_by_sha256sum(stand_in: StandIn) -> None:
    assert run("sha256sum", "--check", "--strict", stand_in.record.name, cwd=stand_in.archive.parent).returncode == 0


def test_saving_leaves_an_archive_and_its_record_and_nothing_else(saved: Path) -> None:
    assert sorted(path.name for path in saved.glob("image*")) == ["image.tar.zst", "image.tar.zst.sha256"]


def test_a_gzip_archive_serves_as_well(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in.role.variables["archive"] = str(tmp_path / "other.tar.gz")
    made = stand_in.make(NAME)
    assert stand_in.role(tasks="save").ok
    forget()
    assert stand_in.role().ok
    assert stand_in.seen() == made


def test_a_tag_that_points_elsewhere_is_moved_back_without_an_archive(stand_in: StandIn) -> None:
    stand_in.archive.unlink()
    right = stand_in.make(MADE_FROM)
    wrong = stand_in.make(NAME, "another")
    result = stand_in.role()
    run("docker", "rmi", wrong)
    assert result.changed == 1
    assert stand_in.seen() == right


def test_an_image_made_from_ours_does_not_pass_for_ours(stand_in: StandIn) -> None:
    stand_in.role()
    run("docker", "tag", NAME, MADE_FROM)
    dockerfile = f"FROM {MADE_FROM}\nENV PI_OFFLINE=0\n"
    built = run("docker", "build", "-q", "-t", NAME, "-", input=dockerfile, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    assert built.returncode == 0, built.stderr
    assert stand_in.seen() != stand_in.recorded()
    assert stand_in.role().changed == 1
    assert stand_in.seen() == stand_in.recorded()


def test_a_damaged_archive_is_refused_before_it_reaches_the_engine(stand_in: StandIn) -> None:
    with stand_in.archive.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\xff")
    result = stand_in.role()
    assert "the image archive is damaged: its sha256 is" in result.text
    assert (result.ok, stand_in.seen()) == (False, "")
    assert list(BUILD_ROOT.iterdir()) == []


def test_an_archive_of_another_image_is_refused_and_gets_no_name(stand_in: StandIn) -> None:
    held = stand_in.recorded()
    stand_in.spoil("image|layers", "sha256:" + "0" * 64)
    result = stand_in.role()
    assert f"the image archive held {held}" in result.text
    assert (result.ok, stand_in.seen()) == (False, "")


def test_an_archive_for_another_architecture_is_refused(stand_in: StandIn) -> None:
    stand_in.spoil("architecture", "m68k")
    result = stand_in.role()
    assert "the image is for m68k and this host is" in result.text
    assert (result.ok, stand_in.seen()) == (False, "")


def test_an_archive_without_its_record_is_refused(stand_in: StandIn) -> None:
    stand_in.record.unlink()
    result = stand_in.role()
    assert "has no complete image.tar.zst.sha256 beside it" in result.text
    assert (result.ok, stand_in.seen()) == (False, "")


def test_a_host_that_neither_has_nor_gets_nor_builds_the_image_says_so(stand_in: StandIn) -> None:
    stand_in.archive.unlink()
    result = stand_in.role()
    assert f"{NAME} is neither in this host's engine nor in {stand_in.archive}" in result.text
    assert not result.ok


def test_a_disk_without_room_is_told_before_anything_is_carried(stand_in: StandIn) -> None:
    stand_in.spoil("size", str(1 << 60))
    result = stand_in.role()
    assert "Loading the image needs" in result.text
    assert (result.ok, stand_in.seen()) == (False, "")


def test_check_mode_says_what_would_happen_and_does_nothing(stand_in: StandIn) -> None:
    result = stand_in.role("--check", "--diff")
    assert (result.ok, result.changed) == (True, 1)
    assert f"-{NAME}: no such image\n+{NAME}: the image in the archive\n" in result.text
    assert stand_in.seen() == ""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of a fleet with nothing but defaults; built if neither the engine nor the cache has it."""
    image = Image(recipe=content.image_recipe())
    archive = image_cache() / f"{image.hash}.tar.zst"
    role = Role(tmp_path_factory.mktemp("real"), {**wanted(image), "archive": str(archive), "builder": True})
    result = role()
    assert result.ok, result.text
    assert role().changed == 0
    return image.name


def sandbox(image: str, *command: str, how: str = "--rm") -> list[str]:
    """A container as closed as a sandbox's, as nobody."""
    return [
        "docker", "run", how, "--network", "none", "--read-only", "--cap-drop", "ALL", "--user", "65534:65534",
        "--security-opt", "no-new-privileges", "--tmpfs", "/tmp", "--tmpfs", "/home/pi:uid=65534",
        "--env", "HOME=/home/pi", "--entrypoint", command[0], image, *command[1:],
    ]  # fmt: skip


@pytest.mark.slice
def test_pi_starts_by_hand_in_the_mounted_folder(real: str, tmp_path: Path) -> None:
    mounted = ("docker", "run", "--rm", "--volume", f"{tmp_path}:/workspace", real)
    assert run(*mounted, "--version").stdout == "0.87.1\n"
    without_key = run(*mounted, "-p", "hello")
    assert without_key.returncode == 1
    assert "No API key found" in without_key.stderr


def test_the_manifest_names_every_version(real: str) -> None:
    manifest = json.loads(run(*sandbox(real, "cat", "/usr/local/share/pifleet/manifest.json")).stdout)
    assert (manifest["suite"], manifest["node"], manifest["pi"]) == ("bookworm", "24.21.0", "0.87.1")
    assert set(Image.PACKAGES) <= set(manifest["packages"])
    installed = run(*sandbox(real, "dpkg-query", "-W", "-f", "${Package} ${Version}\n")).stdout
    assert dict(line.split() for line in installed.splitlines()) == manifest["packages"]


@pytest.mark.parametrize("command", ["bash", "fd", "git", "less", "node", "pi", "python3", "rg", "ssh", "tmux", "zstd"])
def test_the_image_has_the_command(real: str, command: str) -> None:
    argument = "-V" if command in ("ssh", "tmux") else "--version"
    done = run(*sandbox(real, command, argument))
    assert done.returncode == 0, done.stderr


@pytest.mark.slice
def test_fd_takes_what_pis_find_tool_asks_outside_of_repositories(real: str) -> None:
    asked = "fd --glob --color=never --hidden --no-require-git --max-results 5 -- '*.py' /tmp"
    done = run(*sandbox(real, "sh", "-c", f"touch /tmp/one.py '/tmp/two words.py' /tmp/three; {asked} | sort"))
    assert (done.stdout, done.stderr) == ("/tmp/one.py\n/tmp/two words.py\n", "")


def test_the_image_brings_nothing_of_the_builder(real: str) -> None:
    """No apt options (a proxy may hold a password), no npm configuration or cache, no git configuration."""
    looked_for = "/etc/apt/apt.conf.d/99mmdebstrap /etc/gitconfig /root/.npmrc /root/.npm /usr/local/etc/npmrc"
    found = run(*sandbox(real, "sh", "-c", f"ls -d {looked_for} 2>/dev/null; find / -xdev -name .npmrc 2>/dev/null"))
    assert found.stdout == ""


def test_the_keeper_is_process_1_and_ends_in_order(real: str) -> None:
    name = run(*sandbox(real, "/usr/local/lib/pifleet/keeper", how="--detach")).stdout.strip()

    def inside(script: str) -> str:
        return run("docker", "exec", name, "timeout", "20", "sh", "-c", script).stdout

    try:
        link = "/home/pi/.pi/agent/models.json"
        assert inside(f"until readlink {link}; do sleep 0.1; done") == "/opt/pifleet/etc/models.json\n"
        orphans_left = "grep -l 'State:.Z' /proc/[0-9]*/status"
        assert inside(f"(sleep 0.3 &) ; sleep 1; {orphans_left}") == ""
        assert run("docker", "exec", "--detach", name, "sleep", "300").returncode == 0
        assert run("docker", "stop", "--time", "30", name).returncode == 0
        assert run("docker", "inspect", "--format", "{{.State.ExitCode}}", name).stdout == "0\n"
        assert "keeper: ending" in run("docker", "logs", name).stdout
    finally:
        run("docker", "rm", "--force", name)
