"""The main job on two bare hosts: provisioned once, changed by nobody after that, safe inside, nothing leaked."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.hunting import Ground, hunt
from tests.hunting.planting import planted
from tests.integration.accounting import Accounting
from tests.integration.conftest import FirstRun, Poison
from tests.integration.farm import BIN, ROOT, Farm
from tests.lab.hosts import Host

SANDBOXES = ("ana/main", "bo/main", "cy/kernel", "cy/review", "di/main")


class TestProvision:
    def test_two_bare_hosts_become_a_farm(self, provisioned: Farm, first_run: FirstRun) -> None:
        results = {row["sandbox"]: row["result"] for row in first_run.done.json["outcomes"] if row["sandbox"]}

        assert results == dict.fromkeys(SANDBOXES, "changed")

    def test_the_plan_is_then_empty(self, provisioned: Farm) -> None:
        done = provisioned.plan()

        assert (done.code, done.json["steps"]) == (0, [])
        assert done.json["summary"]["unchanged"] > 80

    def test_a_second_run_starts_no_playbook_and_no_module(self, provisioned: Farm, tmp_path: Path) -> None:
        with Accounting(tmp_path / "second") as second:
            done = provisioned.provision()

        assert done.code == 0
        assert {row["result"] for row in done.json["outcomes"]} == {"ok"}
        assert second.ended["ansible-playboo"] == 0
        # One probe on each host is all that ran there as root's python.
        assert second.ended["sudo"] <= 2 * len(provisioned.lab.hosts())

    def test_the_accounting_would_have_seen_them(self, provisioned: Farm, tmp_path: Path) -> None:
        """The control: the same command with one thing to repair."""
        provisioned.docker(provisioned.home_of("bo/main"), "stop", "-t", "1", "pi-bo-main")
        with Accounting(tmp_path / "control") as control:
            done = provisioned.provision()

        assert done.code == 0
        assert control.ended["ansible-playboo"] >= 1
        assert control.ended["sudo"] > 2 * len(provisioned.lab.hosts())


@pytest.fixture(scope="module")
def inside(provisioned: Farm) -> str:
    """One look around from inside a sandbox, by the sandbox's own user."""
    questions = (
        "id -u", "ls /sys/class/net", "grep CapEff /proc/self/status", "grep NoNewPrivs /proc/self/status", "env",
        "touch /x 2>&1", "touch /workspace/.probe && rm /workspace/.probe && echo workspace-writable",
        "cat /proc/*/cmdline | tr '\\0' ' '",
    )
    return provisioned.pifleet("exec", "ana", "--", "sh", "-c", "; ".join(questions)).out


class TestInside:
    def test_it_is_not_root_and_has_no_capability(self, inside: str) -> None:
        assert int(inside.splitlines()[0]) >= 1_900_000_000
        assert "CapEff:\t0000000000000000" in inside
        assert "NoNewPrivs:\t1" in inside

    def test_it_has_no_network_but_its_own_loopback(self, inside: str) -> None:
        assert inside.splitlines()[1] == "lo"
        assert inside.splitlines()[2].startswith("CapEff")

    def test_its_root_file_system_is_read_only_and_its_workspace_is_not(self, inside: str) -> None:
        assert "Read-only file system" in inside
        assert "workspace-writable" in inside

    def test_no_key_is_in_its_environment_or_arguments(self, inside: str, poison: Poison) -> None:
        assert not [word for word in poison.words if word in inside]

    def test_no_key_is_in_its_files(self, provisioned: Farm, poison: Poison) -> None:
        places = ("/workspace", "/home/pi", "/opt/pifleet", "/etc", "/tmp", "/run", "/usr/local/lib/pifleet")
        for word in poison.words:
            found = provisioned.pifleet("exec", "ana", "--", "grep", "-rlaF", "-f", "-", *places, stdin=word)
            assert found.out == ""

    def test_the_same_search_finds_what_is_there(self, provisioned: Farm) -> None:
        found = provisioned.pifleet("exec", "ana", "--", "grep", "-rlaF", "-f", "-", "/etc", stdin="pi-ana")

        assert "/etc/passwd" in found.out

    def test_the_repositories_are_clones_without_a_credential(self, provisioned: Farm) -> None:
        config = provisioned.pifleet("exec", "ana", "--", "cat", "/workspace/api/.git/config").out
        head = provisioned.pifleet("exec", "ana", "--", "git", "-C", "/workspace/api", "rev-parse", "HEAD").out

        assert f"url = {provisioned.lab.git.http_url('api')}" in config
        assert head.strip() == provisioned.lab.git.head("api")

    def test_the_model_answers_and_saw_the_real_key(self, provisioned: Farm, poison: Poison) -> None:
        provisioned.lab.model.forget()
        done = provisioned.pifleet("run", "ana", "-p", "SAY the model answers")

        assert done.code == 0, done.out + done.err
        assert "the model answers" in done.out + done.err
        assert poison.model_key in str(provisioned.lab.model.requests()[-1]["auth"])


class TestProof:
    def test_verify_proves_every_sandbox_from_inside_and_from_its_host(self, provisioned: Farm) -> None:
        done = provisioned.pifleet("verify", "-o", "json")
        verdicts = {(check["place"], check["check"].strip()): check["verdict"]
                    for box in done.json["sandboxes"] for check in box["checks"]}

        assert done.code == 0, [name for name, verdict in verdicts.items() if verdict not in ("pass", "note")]
        assert {place for place, _ in verdicts} == set(SANDBOXES)
        assert {verdicts[title, name] for title in SANDBOXES for name in ("keys", "ways out", "pi at work")} == {"pass"}

    def test_the_model_that_costs_is_asked_nothing_by_it(self, provisioned: Farm) -> None:
        provisioned.lab.model.forget()
        provisioned.pifleet("verify", "ana")

        assert provisioned.lab.model.requests() == []

    def test_usage_and_last_activity_are_what_the_gateway_saw(self, provisioned: Farm) -> None:
        provisioned.pifleet("run", "di", "-p", "SAY counted")
        rows = provisioned.pifleet("usage", "di", "-o", "json").json["usage"]
        active = provisioned.pifleet("status", "di", "-o", "json").json["sandboxes"][0]["last_activity"]

        assert [row["developer"] for row in rows] == ["di"]
        assert rows[0]["requests"] >= 1
        assert rows[0]["sent"] > 100
        assert rows[0]["tokens_by_the_sandboxes_word"]["input"] >= 10
        assert (datetime.now(UTC) - datetime.fromisoformat(active)).total_seconds() < 600


class TestByHand:
    def test_docker_run_of_the_fleets_image_starts_pi(self, provisioned: Farm, tmp_path: Path) -> None:
        """As the seed shows it: docker run --rm -it -v "$PWD:/workspace" IMAGE."""
        host = provisioned.home_of("ana/main")
        image = provisioned.docker(host, "inspect", "-f", "{{.Config.Image}}", "pi-ana-main").strip()
        line = f"docker run --rm -it -v /tmp:/workspace {image} --version"
        printed = provisioned.lab.host(host).inside("script", "-qec", line, "/dev/null")

        assert "0.87.1" in printed


class TestNothingLeaks:
    def test_no_process_ever_showed_a_secret(self, first_run: FirstRun) -> None:
        assert first_run.watch.looks > 50
        assert first_run.watch.seen > 200
        assert first_run.watch.hits == set()

    def test_nothing_of_controller_hosts_and_sandboxes_holds_one_but_the_gateways_key(
        self, provisioned: Farm, poison: Poison, first_run: FirstRun
    ) -> None:
        """Files, run artifacts, logs, results, process lists, containers, image layers, and the sandboxes' memory."""
        provisioned.pifleet("run", "ana", "-p", "SAY hello", OPERATORS_OWN=poison.environment)
        provisioned.pifleet("pull", "ana", OPERATORS_OWN=poison.environment)

        assert hunt(poison.everything, _ground(provisioned)) == set()

    def test_what_is_planted_in_each_of_these_places_is_found_there(self, provisioned: Farm) -> None:
        host = provisioned.lab.host(provisioned.home_of("ana/main"))
        engine = ("docker", "exec", "-i", host.container, "docker")
        with planted(engine, "pi-ana-main", _root(host), provisioned.folder) as words:
            hits = hunt(list(words.values()), _ground(provisioned))

        found = {where for where, word in words.items() for hit, at in hits if word == hit and where in at}
        assert found == set(words)
        assert len(words) > 12

    def test_the_key_lies_where_only_root_reads_it(self, provisioned: Farm, poison: Poison) -> None:
        host = provisioned.lab.host(provisioned.home_of("ana/main"))

        assert poison.model_key in host.inside("cat", "/etc/pifleet/gateway/keys/lab.conf")
        assert host.inside("stat", "-c", "%a %u %g", "/etc/pifleet/gateway/keys/lab.conf").strip() == "600 0 0"

    def test_neither_output_nor_json_shows_one(self, first_run: FirstRun, poison: Poison) -> None:
        assert not [word for word in poison.words if word in first_run.done.out + first_run.done.err]


def _ground(farm: Farm) -> Ground:
    """Controller and hosts whole; a lab host's files are seen through the root of its first process."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pifleet"
    folders = [farm.folder, cache, *_new_in_temp(), Path.home() / ".ansible"]
    engines, keys = [], []
    for host in farm.lab.hosts().values():
        root = _root(host)
        folders += [root / name for name in ("etc", "home", "opt", "root", "run", "srv", "tmp", "usr/local", "var")]
        keys.append(root / "etc/pifleet/gateway/keys/lab.conf")
        engines.append(("docker", "exec", host.container, "docker"))
    return Ground(folders, engines, except_for=keys)


def _root(host: Host) -> Path:
    argv = ["docker", "inspect", "-f", "{{.State.Pid}}", host.container]
    return Path("/proc", subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip(), "root")


def _new_in_temp() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("pifleet-*"))


def test_the_collections_own_playbook_agrees_with_pifleet(provisioned: Farm, tmp_path: Path) -> None:
    """Plain ansible-playbook, the collection found by name: nothing to change on a provisioned host."""
    pinned = tmp_path / "pinned.json"
    homes = {title: provisioned.home_of(title) for title in SANDBOXES}
    pinned.write_text(_pinned(homes))
    collections = tmp_path / "collections" / "ansible_collections" / "pifleet"
    collections.mkdir(parents=True)
    (collections / "fleet").symlink_to(ROOT)
    sources = [word for source in [*provisioned.sources, str(pinned)] for word in ("-i", source)]
    # Ansible by itself takes known host keys from the ssh client's own places.
    trust = f"--ssh-common-args=-oUserKnownHostsFile={provisioned.lab.state / 'known_hosts'}"
    done = subprocess.run(
        [BIN / "ansible-playbook", *sources, trust, "pifleet.fleet.site"], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"), "ANSIBLE_NOCOLOR": "1"},
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    recap = [line for line in done.stdout.splitlines() if "changed=" in line]
    assert len(recap) == 2
    assert all("changed=0" in line and "failed=0" in line for line in recap)


def _pinned(homes: dict[str, str]) -> str:
    import json

    developers = {
        "ana": {"repos": ["web", "api"], "host": homes["ana/main"]},
        "bo": {"repos": ["web"], "cpus": 1, "memory": "1g", "host": homes["bo/main"],
               "egress": ["docs.example.com", {"to": "git.lan:443", "private": True}]},
        "cy": {"sandboxes": {
            "kernel": {"repos": ["api"], "memory": "4g", "host": homes["cy/kernel"]},
            "review": {"repos": ["web"], "host": "farm-1", "artifacts": ["web/dist/**"]},
        }},
        "di": {"repos": ["api"], "pi": {"settings": {"quietStartup": True}}, "host": homes["di/main"]},
    }
    return json.dumps({"all": {"vars": {"pifleet_developers": developers}}})


def test_results_are_private(provisioned: Farm) -> None:
    assert stat.S_IMODE(provisioned.results.stat().st_mode) == 0o700
