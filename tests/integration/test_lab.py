"""The lab itself: what the other tests believe about their hosts, their git server and their trouble is true.

Uses a lab of its own, so that a shared one is not disturbed.
"""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import Host, Lab, LabError
from tests.lab.engine import docker
from tests.lab.farm import ROOT
from tests.lab.fixtures import started
from tests.lab.gitserver import PRIVATE, PUBLIC

NAME = "test"
BARE, DISK, CAREFUL = "bare", "disk", "careful"
PASSWORD = "lab password"
Trouble = Callable[[Host], None]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = started(NAME, BARE)
    started(NAME, DISK, data="300M")
    yield lab
    lab.down()


@pytest.fixture
def bare(lab: Lab) -> Host:
    lab.host(BARE).start()
    return lab.host(BARE)


def ask(host: Host, url: str, key: str) -> str:
    """From inside a host: the status and the text of one request to a model."""
    body = {"messages": [{"role": "user", "content": "SAY hello"}]}
    script = (
        "import sys, urllib.error, urllib.request as r\n"
        "request = r.Request(sys.argv[1], sys.argv[2].encode(), {'x-api-key': sys.argv[3]})\n"
        "try: answer = r.urlopen(request, timeout=20)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "print(answer.status, answer.read().decode())"
    )
    return str(host.ssh("python3", "-c", script, f"{url}/v1/messages", json.dumps(body), key).stdout)


def clone(url: str, folder: Path, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        "git",
        *(word for setting in settings for word in ("-c", setting)),
        "clone",
        "--quiet",
        "--",
        url,
        str(folder),
    ]
    clean = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": "/dev/null", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=clean, timeout=120, check=False)


def test_a_host_runs_systemd_and_holds_nothing_that_a_role_would_install(bare: Host) -> None:
    assert bare.ssh("systemctl", "is-system-running", "--wait").stdout.strip() == "running"
    for program in ("docker", "nginx", "git"):
        assert bare.ssh("which", program, check=False).returncode == 1


def test_a_login_is_refused_when_the_host_shows_another_key(bare: Host) -> None:
    right = bare.known_hosts.read_text()
    other = (bare.state / "git_ed25519.pub").read_text().split()[1]
    bare.known_hosts.write_text(f"{bare.address} ssh-ed25519 {other}\n")
    try:
        refused = bare.ssh("true", check=False)
    finally:
        bare.known_hosts.write_text(right)
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr
    assert bare.ssh("id", "-un").stdout.strip() == "ops"


def test_sudo_asks_nothing_or_a_password_as_the_host_was_made(lab: Lab, bare: Host) -> None:
    assert bare.sudo("id", "-u").stdout.strip() == "0"
    careful = started(NAME, CAREFUL, sudo_password=PASSWORD).host(CAREFUL)
    assert careful.sudo("id", "-u", check=False).returncode == 1
    assert careful.ssh("sudo", "-S", "-p", "", "id", "-u", input=f"{PASSWORD}\n").stdout.strip() == "0"
    careful.reset()
    assert careful.ssh("sudo", "-S", "-p", "", "id", "-u", input=f"{PASSWORD}\n").stdout.strip() == "0"
    careful.remove()


def test_a_host_installs_packages_from_its_mirror(bare: Host) -> None:
    bare.sudo("apt-get", "-q", "update")
    bare.sudo("apt-get", "-q", "install", "-y", "--no-install-recommends", "tree")
    assert bare.ssh("tree", "--version").stdout.startswith("tree v")


def test_a_host_runs_an_engine_of_its_own_with_limits_that_hold(bare: Host) -> None:
    bare.sudo("apt-get", "-q", "update")
    packages = ("docker.io", "docker-cli", "busybox-static")
    bare.sudo("apt-get", "-q", "install", "-y", "--no-install-recommends", *packages)
    assert bare.sudo("docker", "info", "--format", "{{.Driver}}").stdout.strip() == "overlay2"
    bare.sudo("sh", "-c", "tar -C / -c usr/bin/busybox | docker import - box")
    limits = ("--memory=64m", "--cpus=0.5", "--pids-limit=64", "--network=none", "--read-only")
    inside = bare.sudo("docker", "run", "--rm", *limits, "box", "busybox", "ls", "/sys/class/net")
    assert inside.stdout.split() == ["lo"]
    eat = ("busybox", "awk", 'BEGIN { text = sprintf("%1000000s", 1); while (1) kept[n++] = text n }')
    assert bare.sudo("docker", "run", "--rm", *limits, "box", *eat, check=False).returncode == 137
    bare.reset()


def test_ansible_reaches_the_hosts_by_the_second_inventory(lab: Lab, bare: Host, tmp_path: Path) -> None:
    inventory = tmp_path / "lab.yml"
    inventory.write_text(lab.inventory())
    # ansible itself does not know pifleet's variable for host keys.
    trust = f"-o UserKnownHostsFile={bare.known_hosts} -o StrictHostKeyChecking=yes"
    command = ["-i", str(inventory), f"--ssh-common-args={trust}", "-m", "ansible.builtin.ping", "all"]
    done = subprocess.run([Path(sys.executable).with_name("ansible"), *command], capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("SUCCESS")) == (0, len(lab.hosts())), done.stdout + done.stderr


def test_the_public_repository_is_open_over_http(lab: Lab, tmp_path: Path) -> None:
    done = clone(lab.git.http_url(PUBLIC), tmp_path / "web")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "web" / "index.html").read_text() == "<h1>Hello!</h1>\n"
    assert os.access(tmp_path / "web" / "build.sh", os.X_OK)
    assert (tmp_path / "web" / "latest").readlink() == Path("pages/grüße.html")
    # The same commits in every lab, so that tests can name them.
    assert lab.git.head(PUBLIC) == lab.git.head(PUBLIC, "next")
    assert lab.git.head(PUBLIC, "v1") != lab.git.head(PUBLIC, "v2")


def test_the_private_repository_wants_the_token_over_http(lab: Lab, tmp_path: Path) -> None:
    url, token = lab.git.http_url(PRIVATE), lab.git.token_file.read_text()
    assert "could not read Username" in clone(url, tmp_path / "none").stderr
    for number, (sent, opens) in enumerate([("wrong", False), (token[:-1], False), (token, True)]):
        header = base64.b64encode(f"git:{sent}".encode()).decode()
        done = clone(url, tmp_path / str(number), f"http.extraHeader=Authorization: Basic {header}")
        assert (done.returncode == 0) is opens, done.stderr
    done = clone(url, tmp_path / "bearer", f"http.extraHeader=Authorization: Bearer {token}")
    assert done.returncode == 0, done.stderr
    assert "return 42" in (tmp_path / "bearer" / "app.py").read_text()


def test_every_repository_is_open_over_ssh_to_the_key_and_to_no_other(lab: Lab, tmp_path: Path) -> None:
    def by(key: Path) -> str:
        return f"ssh -F none -i {key} -oIdentitiesOnly=yes -oBatchMode=yes -oUserKnownHostsFile={lab.git.known_hosts}"

    for repository in (PUBLIC, PRIVATE):
        done = clone(lab.git.ssh_url(repository), tmp_path / repository, GIT_SSH_COMMAND=by(lab.git.key))
        assert done.returncode == 0, done.stderr
    operator = lab.host(BARE).key
    refused = clone(lab.git.ssh_url(PRIVATE), tmp_path / "no", GIT_SSH_COMMAND=by(operator))
    assert "Permission denied" in refused.stderr
    shell = [*by(lab.git.key).split(" "), lab.git.ssh_url("").split(":")[0], "id"]
    assert subprocess.run(shell, capture_output=True, check=False).returncode == 128


def test_a_push_is_refused_over_http(lab: Lab, tmp_path: Path) -> None:
    assert clone(lab.git.http_url(PUBLIC), tmp_path / "web").returncode == 0
    push = ["git", "-C", str(tmp_path / "web"), "push", "--quiet", "origin", "HEAD:refs/heads/mine"]
    done = subprocess.run(push, capture_output=True, text=True, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"})
    assert (done.returncode, "403" in done.stderr) == (128, True), done.stderr


def test_the_model_answers_hosts_and_keeps_the_keys_that_arrived(lab: Lab, bare: Host) -> None:
    lab.model.forget()
    assert ask(bare, lab.model.url, "any").startswith("200 ")
    assert ask(bare, lab.model.keyed_url, "any").startswith("401 ")
    lab.model.require("the-key")
    assert ask(bare, lab.model.keyed_url, "the-key").startswith("200 ")
    assert [request["auth"]["x-api-key"] for request in lab.model.requests()] == ["any", "any", "the-key"]


def test_hosts_reach_each_other(lab: Lab, bare: Host) -> None:
    probe = "import socket, sys; socket.create_connection((sys.argv[1], 22), timeout=20)"
    bare.ssh("python3", "-c", probe, lab.host(DISK).address)


def test_a_reset_brings_a_fresh_host_to_the_same_address(lab: Lab, bare: Host) -> None:
    bare.sudo("touch", "/etc/changed")
    before = bare.known_hosts.read_text()
    begun = time.monotonic()
    lab.reset([BARE])
    took = time.monotonic() - begun
    assert bare.ssh("test", "-e", "/etc/changed", check=False).returncode == 1
    assert (lab.host(BARE).address, bare.known_hosts.read_text() == before) == (bare.address, False)
    assert took < 60


def test_up_keeps_a_host_that_is_there(lab: Lab, bare: Host) -> None:
    bare.sudo("touch", "/etc/kept")
    lab.up([BARE])
    bare.ssh("test", "-e", "/etc/kept")


@pytest.mark.parametrize("off", [Host.stop, Host.kill], ids=["stop", "kill"])
def test_a_host_that_was_switched_off_comes_back_with_its_files(bare: Host, off: Trouble) -> None:
    bare.sudo("touch", "/etc/kept")
    bare.sudo("sync")
    off(bare)
    assert bare.state_now() == "exited"
    assert bare.ssh("true", check=False).returncode == 255
    bare.start()
    bare.ssh("test", "-e", "/etc/kept")


def test_a_reboot_gives_a_new_boot_id_and_the_host_comes_back(bare: Host) -> None:
    boot_id = ("cat", "/proc/sys/kernel/random/boot_id")
    before = bare.ssh(*boot_id).stdout
    bare.sudo("systemctl", "reboot", check=False)
    end = time.monotonic() + 60
    while bare.ssh(*boot_id, check=False).stdout in ("", before) and time.monotonic() < end:
        time.sleep(0.5)
    assert bare.ssh(*boot_id).stdout != before


@pytest.mark.parametrize(
    ("begin", "end", "seen"),
    [(Host.pause, Host.unpause, "banner exchange"), (Host.cut, Host.heal, "Connection timed out")],
    ids=["hanging", "cut off"],
)
def test_a_host_in_trouble_times_out_and_then_goes_on(bare: Host, begin: Trouble, end: Trouble, seen: str) -> None:
    begin(bare)
    refused = bare.ssh("true", check=False)
    end(bare)
    assert (refused.returncode, seen in refused.stderr) == (255, True), refused.stderr
    assert bare.ssh("echo", "back").stdout == "back\n"


def test_a_full_disk_refuses_every_byte_until_it_is_freed(lab: Lab) -> None:
    disk = lab.host(DISK)
    write = ("sudo", "-n", "dd", "if=/dev/zero", "of=/var/lib/pifleet/file", "bs=64k", "count=1")
    disk.ssh(*write)
    disk.sudo("rm", "/var/lib/pifleet/file")
    disk.fill()
    try:
        full = disk.ssh(*write, check=False)
    finally:
        disk.unfill()
    assert "No space left on device" in full.stderr
    disk.ssh(*write)


def test_only_a_host_with_a_disk_of_its_own_can_be_filled(bare: Host) -> None:
    with pytest.raises(LabError, match="bare has no disk of its own to fill"):
        bare.fill()


def test_a_snapshot_starts_as_another_host_with_the_same_files(lab: Lab, bare: Host) -> None:
    bare.sudo("touch", "/etc/from-snapshot")
    machine_id = bare.ssh("cat", "/etc/machine-id").stdout
    lab.up(["copy"], snapshot=bare.snapshot("prepared"))
    copy = lab.host("copy")
    copy.ssh("test", "-e", "/etc/from-snapshot")
    assert copy.ssh("cat", "/etc/machine-id").stdout != machine_id
    keys = {line.split(" ")[2] for line in bare.known_hosts.read_text().splitlines()}
    assert len(keys) == len(bare.known_hosts.read_text().splitlines())


def test_down_leaves_nothing_that_carries_the_lab_s_name() -> None:
    gone = started("gone")
    assert list(gone.machines()) == ["services"]
    gone.down()
    for kind in (["ps", "--all"], ["network", "ls"], ["image", "ls"]):
        assert docker(*kind, "--quiet", "--filter", "label=pifleet.lab=gone") == ""
    assert not (ROOT / ".lab" / "gone").exists()


def test_a_lab_s_name_cannot_be_a_path_or_an_option() -> None:
    for name in ("../x", "-x", "", "A", "a" * 22):
        with pytest.raises(LabError, match="short and lower case"):
            Lab(name)
