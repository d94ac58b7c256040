"""What the playbooks make of a real host, what they repair, what they leave alone, and what they remove.

One lab host with systemd and an engine of its own; each test leaves it as pifleet would find it after a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pifleet import content
from pifleet.converge import converge
from pifleet.converge.broker import Broker
from pifleet.converge.inventory import ansible_variables
from pifleet.desired import host_spec
from pifleet.events import Event
from pifleet.fleet import Connection, Fleet, Limits, Model, Repo, Sandbox
from pifleet.fleet import Host as FleetHost
from pifleet.patterns import patterns
from pifleet.secret import Secret, SecretSource
from tests.integration.boxes import image
from tests.lab import Lab
from tests.lab.engine import docker
from tests.lab.fixtures import started
from tests.lab.gitserver import PRIVATE, PUBLIC

NAME = "farm-1"
SANDBOX = "/var/lib/pifleet/sandboxes/ana-main"
SOURCE = SecretSource("env", "UNUSED")
POISON = "sk-poison-4f1d0c52"


def removal(fleet: Fleet, boxes: Sequence[Sandbox]) -> dict[str, Any]:
    """What the playbook that removes has to know of `boxes`, from every pattern."""
    every = [each.removal(fleet, NAME, boxes if name == "docker" else [], []) for name, each in patterns().items()]
    return {key: [{**entry, "paths": [f"/var/lib/pifleet/sandboxes/{entry['id']}"]} for entry in entries]
            for one in every for key, entries in one.items()}


class Farm:
    """A fleet of one lab host, and the playbooks run on it as pifleet runs them."""

    def __init__(self, lab: Lab) -> None:
        self.host, self.git, self.model, self.image = lab.host(NAME), lab.git, lab.model, image()[0]
        host, git = self.host, self.git
        connection = Connection(
            address=host.address, user="ops", key_file=str(host.key), known_hosts=str(host.known_hosts),
            python="/usr/bin/python3",
        )
        self.reached = FleetHost(NAME, ("pifleet_docker",), connection)
        self.secrets = {
            "model:keyed": Secret(POISON),
            "repo:token:token": Secret(git.token_file.read_text()),
            "repo:key:ssh_key": Secret(git.key.read_text()),
        }

    def fleet(self) -> Fleet:
        git = self.git
        repos = {
            "web": Repo("web", git.http_url(PUBLIC), "main"),
            "old": Repo("old", git.http_url(PUBLIC), "v1"),
            "token": Repo("token", git.http_url(PRIVATE), "main", token=SOURCE),
            "key": Repo("key", git.ssh_url(PRIVATE), "main", ssh_key=SOURCE, known_hosts=git.known_hosts.read_text()),
        }
        models = {
            "dry": Model("dry", "scripted"),
            "keyed": Model("keyed", "openai-completions", f"{self.model.keyed_url}/v1", SOURCE, ("m-1",)),
        }
        boxes = (
            Sandbox("ana", "main", "docker", "dry", Limits(2, 512 << 20, 256), tuple(repos)),
            Sandbox("bo", "main", "docker", "keyed", Limits(0.5, 256 << 20, 128), ("web",)),
        )
        return Fleet("acme", {NAME: self.reached}, boxes, repos, models)

    def spec(self, fleet: Fleet | None = None) -> dict[str, Any]:
        """The host's spec with the image that is at hand instead of one built from the recipe."""
        fleet = fleet or self.fleet()
        spec = host_spec(fleet, NAME, fleet.sandboxes, Path("/nonexistent"))
        spec["parts"] = [part for part in spec["parts"] if part != "pi_image"]
        for box in spec["sandboxes"]:
            box["container"]["image"] = self.image
        return spec

    def provision(self) -> None:
        """From nothing, the image carried over by hand once there is an engine."""
        self.run({**self.spec(), "parts": ["preflight", "docker"]})
        with subprocess.Popen(["docker", "save", self.image], stdout=subprocess.PIPE) as save:
            load = ["docker", "exec", "-i", self.host.container, "docker", "load"]
            subprocess.run(load, stdin=save.stdout, check=True)
        self.run()

    def telltales(self) -> list[str]:
        """One line of each secret that nothing else on a host looks like."""
        return [secret.reveal().strip().splitlines()[-2:][0] for secret in self.secrets.values()]

    def run(self, spec: dict[str, Any] | None = None, playbook: str = "site") -> list[str]:
        """Run a playbook; the names of the tasks that changed something. Fails the test when a task failed."""
        changed, done = self.attempt(spec, playbook)
        assert done.trouble is None, done.trouble
        return changed

    def attempt(self, spec: dict[str, Any] | None = None, playbook: str = "site") -> tuple[list[str], Any]:
        said: list[Event] = []
        done = converge({NAME: spec or self.spec()}, {NAME: self.reached}, self.secrets, playbook=playbook,
                        emit=said.append)
        return [e.text.removeprefix("changed: ") for e in said if e.text.startswith("changed: ")], done.hosts[NAME]

    def check(self, tmp: Path) -> str:
        """What plain ansible-playbook says in check mode, with pifleet's own spec and secrets at hand."""
        (tmp / "specs").mkdir()
        (tmp / "specs" / f"{NAME}.json").write_text(json.dumps(self.spec()))
        (tmp / "inventory.yml").write_text(json.dumps(
            {"pifleet_docker": {"hosts": {NAME: ansible_variables(self.reached.connection)}}}))
        with Broker(tmp / "secrets.sock", {name: secret.reveal() for name, secret in self.secrets.items()}):
            return subprocess.run(
                [
                    Path(sys.executable).with_name("ansible-playbook"), "--check", "--diff", "pifleet.fleet.site",
                    "-i", tmp / "inventory.yml", "-e", f"pifleet_specs={tmp}/specs",
                    "-e", f"pifleet_secrets={tmp}/secrets.sock",
                ],
                env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(content.link_collection(tmp / "collections"))},
                capture_output=True, text=True, check=True,
            ).stdout

    def inspect(self, name: str = "pi-ana-main") -> Any:
        return json.loads(self.host.inside("docker", "inspect", name))[0]

    def life(self, name: str) -> Any:
        """Which container it is, and its state since when: equal as long as nobody has touched it."""
        seen = self.inspect(name)
        return seen["Id"], seen["State"]

    def ask_pi(self, sandbox: str = "ana-main") -> str:
        return self.host.inside("docker", "exec", f"pi-{sandbox}", "pi", "-p", "SAY hello from the script")


@pytest.fixture(scope="module")
def farm() -> Farm:
    """A lab host, provisioned from bare."""
    if not image()[0]:
        pytest.skip("no sandbox image on this machine; the role pi_image or scripts/demo makes one")
    lab = started(os.environ.get("PIFLEET_LAB", "roles"), NAME)
    lab.reset([NAME])
    lab.model.require(POISON)
    farm = Farm(lab)
    farm.provision()
    return farm


def test_a_bare_host_gets_sandboxes_in_which_pi_answers(farm: Farm) -> None:
    assert "hello from the script" in farm.ask_pi()


def test_a_second_run_changes_nothing(farm: Farm) -> None:
    assert farm.run() == []


def test_check_mode_names_what_a_run_would_do_and_touches_nothing(farm: Farm, tmp_path: Path) -> None:
    farm.host.inside("docker", "rm", "-f", "pi-bo-main")
    farm.host.inside("rm", "-r", f"{SANDBOX}/workspace/old")

    said = farm.check(tmp_path)

    assert "changed=2 " in said
    assert "pi-bo-main" not in farm.host.inside("docker", "ps", "-a", "--format", "{{.Names}}")
    assert farm.run() == ["Have the repositories", "Have the containers"]


def test_repositories_come_whole_at_their_ref_without_credentials(farm: Farm) -> None:
    def git(repo: str, *words: str) -> str:
        return farm.host.inside("docker", "exec", "pi-ana-main", "git", "-C", f"/workspace/{repo}", *words)

    for repo, source in (("web", PUBLIC), ("token", PRIVATE), ("key", PRIVATE)):
        assert git(repo, "rev-parse", "HEAD") == farm.git.head(source)
        assert git(repo, "status", "--porcelain", "--branch") == "## main...origin/main"
        assert git(repo, "rev-parse", "--is-shallow-repository") == "false"
    assert git("old", "rev-parse", "HEAD") == farm.git.head(PUBLIC, "v1")
    assert git("old", "branch", "--show-current") == ""
    recorded = json.loads(farm.host.inside("cat", f"{SANDBOX}/repos.json"))
    assert recorded["token"] == {"url": farm.git.http_url(PRIVATE), "ref": "main", "base": farm.git.head(PRIVATE)}


def test_no_secret_lies_on_the_host_but_the_key_where_the_gateway_reads_it(farm: Farm) -> None:
    journal = farm.host.inside("journalctl", "--no-pager")
    for word in farm.telltales():
        found = farm.host.inside(
            "grep", "-rlF", "-f", "-", "/etc", "/var/lib/pifleet", "/var/log", "/run/pifleet", "/tmp", "/home", "/root",
            input=word, check=False,
        ).split()
        assert found == (["/etc/pifleet/gateway/keys/keyed.conf"] if word == POISON else [])
        assert word not in journal
        assert word not in json.dumps([farm.inspect(), farm.inspect("pi-bo-main")])


def test_an_unknown_git_host_key_stops_the_clone_and_nothing_else(farm: Farm) -> None:
    fleet = farm.fleet()
    stranger = replace(fleet.repos["key"], name="stranger", known_hosts="example.org ssh-ed25519 AAAA")
    boxes = tuple(replace(box, repos=(*box.repos, "stranger")) for box in fleet.sandboxes)
    fleet = replace(fleet, repos={**fleet.repos, "stranger": stranger}, sandboxes=boxes)
    farm.secrets["repo:stranger:ssh_key"] = farm.secrets["repo:key:ssh_key"]
    farm.host.inside("docker", "rm", "-f", "pi-bo-main")

    changed, done = farm.attempt(farm.spec(fleet))

    assert done.trouble is not None
    assert "stranger: git: " in done.trouble.headline
    assert "Host key verification failed" in done.trouble.headline
    assert changed == ["Have the containers"]
    assert farm.host.inside("ls", f"{SANDBOX}/workspace").split() == ["key", "old", "token", "web"]
    assert farm.host.inside("ls", "/var/lib/pifleet/clones") == ""


# One row a damage: the part that plan names for it, what is done as root, and the tasks that must repair it, no others.
KEYS = "Have the models' keys"
CONTAINERS, GATEWAY = "Have the containers", "Keep the services running"
FILES = "Have the gateway's programs and configuration, and no key that it does not need"
PROXY = "Have the proxy's programs and configuration"
FOLDERS = "Have the folders of host and sandboxes"
CONF, SOCKET = "/etc/pifleet/gateway/nginx.conf", f"{SANDBOX}/net/model.sock"
DAMAGES = {
    "container removed": ("sandbox_docker", "docker rm -f pi-ana-main", [CONTAINERS]),
    "container stopped": ("sandbox_docker", "docker stop -t 1 pi-ana-main", [CONTAINERS]),
    "container paused": ("sandbox_docker", "docker pause pi-ana-main", [CONTAINERS]),
    "container made again with one more mount": (
        "sandbox_docker",
        "docker inspect -f {{.Config.Image}} pi-ana-main > /tmp/i; docker rm -f pi-ana-main; docker run -d --name"
        " pi-ana-main -v /etc:/host --label io.pifleet.fleet=acme --entrypoint sleep $(cat /tmp/i) 999",
        [CONTAINERS],
    ),
    "container on another network": (
        "sandbox_docker",
        "docker network disconnect none pi-ana-main; docker network connect bridge pi-ana-main",
        [CONTAINERS],
    ),
    "other limits": (
        "sandbox_docker",
        "docker update --cpus 1 --memory 300m --memory-swap 300m --pids-limit 9 pi-ana-main",
        [CONTAINERS],
    ),
    "settings edited": (
        "sandbox_docker", f"echo x >> {SANDBOX}/etc/passwd", ["Have the sandboxes' folders and settings"]
    ),
    "configuration edited, size and time kept": (
        "model_gateway",
        f"touch -r {CONF} /tmp/t; sed -i 's/600s/601s/' {CONF}; touch -r /tmp/t {CONF}",
        [FILES, GATEWAY],
    ),
    "key file readable": (
        "model_gateway", "chmod 644 /etc/pifleet/gateway/keys/keyed.conf", [KEYS, GATEWAY]
    ),
    "gateway not told of a key": (
        "model_gateway", "cd /etc/pifleet/gateway/keys; cp -p keyed.conf /tmp/k; cp -p /tmp/k keyed.conf; rm /tmp/k",
        [GATEWAY],
    ),
    "gateway told of a broken file": (
        "model_gateway", f"echo broken >> {CONF}; systemctl kill --kill-who=main -s HUP pifleet-gateway",
        [FILES, GATEWAY],
    ),
    "a tunnel that nobody needs": (
        "model_gateway",
        "cd /etc/systemd/system; cp pifleet-scripted-model.service pifleet-tunnel-old.service", [GATEWAY],
    ),
    "gateway stopped": ("model_gateway", "systemctl disable --now pifleet-gateway", [GATEWAY]),
    "gateway's unit edited": (
        "model_gateway", "echo '# x' >> /etc/systemd/system/pifleet-gateway.service", [GATEWAY]
    ),
    "socket removed": ("model_gateway", f"rm {SOCKET}", [GATEWAY]),
    "socket replaced": (
        "model_gateway",
        f"rm {SOCKET}; nohup python3 -c 'import socket, time; s = socket.socket(1); s.bind(\"{SOCKET}\"); s.listen();"
        " time.sleep(120)' >/dev/null 2>&1 & sleep 2",
        [GATEWAY],
    ),
    "workspace given away": (
        "developers", f"chown root:root {SANDBOX}/workspace; chmod 777 {SANDBOX}/home", [FOLDERS]
    ),
    "account removed": ("developers", "userdel pi-ana", ["Have the developers' accounts"]),
    "engine stopped": (
        "docker", "systemctl stop docker.socket docker", ["Have the engine answer, with live-restore"]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_repaired_and_nothing_else_is_touched(farm: Farm, damage: str) -> None:
    part, command, repairs = DAMAGES[damage]
    neighbour = farm.life("pi-bo-main")
    farm.host.inside("sh", "-c", command)

    assert farm.run({**farm.spec(), "parts": [part]}) == repairs

    assert "hello from the script" in farm.ask_pi()
    assert farm.life("pi-bo-main") == neighbour


def test_limits_change_while_the_sandbox_runs(farm: Farm) -> None:
    before = farm.life("pi-ana-main")
    farm.host.inside("docker", "update", "--cpus", "1", "pi-ana-main")

    farm.run()

    assert farm.life("pi-ana-main") == before
    assert farm.inspect()["HostConfig"]["NanoCpus"] == 2_000_000_000


def test_a_changed_configuration_is_told_to_the_gateway_and_ends_nothing_beside_it(farm: Farm) -> None:
    show = ("systemctl", "show", "--value", "-p", "MainPID", "pifleet-scripted-model", "pifleet-gateway")
    before = farm.host.inside(*show)
    fleet = farm.fleet()
    ana, bo = fleet.sandboxes
    less = replace(fleet, sandboxes=(ana, replace(bo, limits=replace(bo.limits, requests_per_minute=7))))

    assert farm.run({**farm.spec(less), "parts": ["model_gateway"]}) == [FILES, GATEWAY]
    assert farm.run({**farm.spec(), "parts": ["model_gateway"]}) == [FILES, GATEWAY]

    assert farm.host.inside(*show) == before


def test_a_changed_program_is_started_anew(farm: Farm) -> None:
    show = ("systemctl", "show", "--value", "-p", "MainPID", "pifleet-scripted-model")
    before = farm.host.inside(*show)
    farm.host.inside("sh", "-c", "echo '# x' >> /usr/local/lib/pifleet/scripted_model.py")

    assert farm.run({**farm.spec(), "parts": ["model_gateway"]}) == [FILES, GATEWAY]

    assert farm.host.inside(*show) != before
    assert "hello from the script" in farm.ask_pi()


def test_workers_of_a_killed_master_do_not_serve_on(farm: Farm) -> None:
    farm.host.inside("systemctl", "mask", "--runtime", "--now", "pifleet-gateway")
    # The worker is there before its master is killed, and serves on without it.
    left = farm.host.inside(
        "sh", "-c",
        "/usr/local/lib/pifleet/gateway /etc/pifleet/gateway/nginx.conf >/dev/null 2>&1 & "
        "for _ in $(seq 100); do workers=$(pgrep -P $!) && break; sleep 0.1; done; kill -9 $!; echo $workers",
    ).split()
    assert left
    assert set(left) <= set(farm.host.inside("pgrep", "-x", "nginx").split())
    farm.host.inside("systemctl", "unmask", "--runtime", "pifleet-gateway")

    farm.run()

    assert not set(left) & set(farm.host.inside("pgrep", "-x", "nginx").split())


def test_only_the_models_own_paths_pass_the_gateway(farm: Farm) -> None:
    def status(method: str, path: str) -> str:
        code = (
            "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8100);"
            f"c.request('{method}', '{path}', '{{}}'); print(c.getresponse().status)"
        )
        return farm.host.inside("docker", "exec", "pi-ana-main", "python3", "-c", code)

    assert status("GET", "/dry/v1/messages") == "405"
    assert status("POST", "/dry/v1/files") == "404"
    assert status("POST", "/dry/v1/messages/../files") == "404"
    assert status("POST", "/dry/v1/messages") == "200"


def test_the_gateway_puts_in_the_key_and_lets_none_of_the_sandboxs_own_through(farm: Farm) -> None:
    farm.model.forget()

    assert "hello from the script" in farm.ask_pi("bo-main")

    assert [request["auth"] for request in farm.model.requests()] == [{"authorization": f"Bearer {POISON}"}]
    assert POISON not in farm.host.inside("docker", "exec", "pi-bo-main", "sh", "-c", "env; cat /proc/*/environ")


def test_each_request_is_one_line_in_the_log_without_key_or_content(farm: Farm) -> None:
    farm.ask_pi("bo-main")

    line = json.loads(farm.host.inside("tail", "-n1", "/var/log/pifleet/model_gateway.jsonl"))

    assert (line["sandbox"], line["path"], line["status"]) == ("bo/main", "/chat/completions", 200)
    assert set(line) == {
        "time", "sandbox", "model", "path", "status", "received", "sent", "first_byte", "seconds",
    }


def test_a_foreign_account_stops_the_run_before_anything_changes(farm: Farm) -> None:
    farm.host.inside("usermod", "--comment", "Ana Somebody", "pi-ana")
    farm.host.inside("docker", "stop", "-t", "1", "pi-bo-main")

    changed, done = farm.attempt()

    farm.host.inside("usermod", "--comment", "pifleet/acme", "pi-ana")
    assert changed == []
    assert done.trouble.headline == (
        "account pi-ana exists and is not of this fleet (comment 'Ana Somebody'): rename it or the developer"
    )
    assert farm.run() == [CONTAINERS]


def test_a_sandbox_that_left_the_inventory_is_stopped_and_keeps_its_data(farm: Farm) -> None:
    fleet = farm.fleet()
    spec = {**farm.spec(replace(fleet, sandboxes=fleet.sandboxes[:1])), "orphans": ["bo/main"]}

    assert "Stop the sandboxes that have left the inventory" in farm.run(spec)

    assert farm.inspect("pi-bo-main")["State"]["Status"] == "exited"
    assert farm.host.inside("ls", "/var/lib/pifleet/sandboxes/bo-main/workspace") == "web"
    assert farm.run() == [FILES, KEYS, GATEWAY, PROXY, GATEWAY, CONTAINERS]


def test_a_removed_sandbox_leaves_nothing_and_its_neighbour_runs_on(farm: Farm) -> None:
    fleet, before = farm.fleet(), farm.life("pi-ana-main")
    bo = fleet.sandboxes[1]
    users = [user for user in farm.spec()["users"] if user["name"] == bo.user]
    gone = {"host": False, "users": users, **removal(fleet, [bo])}

    farm.run({**farm.spec(replace(fleet, sandboxes=fleet.sandboxes[:1])), "remove": gone}, "remove")

    assert farm.host.inside("docker", "ps", "-a", "--format", "{{.Names}}") == "pi-ana-main"
    assert farm.host.inside("ls", "/var/lib/pifleet/sandboxes") == "ana-main"
    assert "pi-bo" not in farm.host.inside("getent", "passwd")
    assert farm.life("pi-ana-main") == before
    assert "hello from the script" in farm.ask_pi()


def test_a_removed_host_keeps_nothing_that_pifleet_made(farm: Farm) -> None:
    farm.run({**farm.spec(), "remove": {"host": True, "users": [], **removal(farm.fleet(), [])}}, "remove")

    assert farm.host.inside("docker", "ps", "-aq") == ""
    assert farm.host.inside("docker", "images", "-q") == ""
    assert "pi-" not in farm.host.inside("cut", "-d:", "-f1", "/etc/passwd", "/etc/group")
    assert farm.host.inside("sh", "-c", "ls -d /etc/pifleet /var/*/pifleet /usr/local/lib/pifleet /run/pifleet 2>&1 |"
                            " grep -v 'No such'; ls /etc/systemd/system | grep pifleet", check=False) == ""


# A mount namespace in which a host with systemd looks like one without, and an interpreter that works in it.
HIDE = "mount -t tmpfs none /run/systemd; echo $$ > /run/alone; exec sleep infinity"
WITHOUT_SYSTEMD = """#!/bin/sh
exec nsenter --target "$(cat /run/alone)" --mount /usr/bin/python3 "$@"
"""


def test_a_host_without_systemd_is_provisioned_and_repaired_as_well(farm: Farm) -> None:
    farm.host.inside("systemctl", "disable", "--now", "docker.socket", "docker", "containerd")
    docker("exec", "--detach", farm.host.container, "unshare", "--mount", "sh", "-c", HIDE)
    farm.host.inside("tee", "/usr/local/bin/python-alone", input=WITHOUT_SYSTEMD)
    farm.host.inside("chmod", "755", "/usr/local/bin/python-alone")
    connection = replace(farm.reached.connection, python="/usr/local/bin/python-alone")
    farm.reached = replace(farm.reached, connection=connection)

    farm.provision()

    assert "hello from the script" in farm.ask_pi()
    assert farm.run() == []
    before = farm.life("pi-ana-main")
    for service in ("docker", "pifleet-gateway", "pifleet-gateway-log", "pifleet-scripted-model"):
        farm.host.inside("sh", "-c", f"kill -9 $(cut -d' ' -f1 /run/pifleet/{service}.pid)")
    assert farm.run() == ["Have the engine answer, with live-restore", GATEWAY]
    assert "hello from the script" in farm.ask_pi()
    assert farm.life("pi-ana-main") == before
