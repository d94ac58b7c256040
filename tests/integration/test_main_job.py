"""The main job on two bare hosts: provisioned once, changed by nobody after that, safe inside, nothing leaked."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.hunt import Watch, in_engine, in_files, in_processes
from tests.integration.accounting import Accounting
from tests.integration.conftest import FirstRun, Poison
from tests.integration.farm import BIN, ROOT, Farm

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

    def test_no_file_of_controller_or_hosts_holds_one_but_the_gateways_key(
        self, provisioned: Farm, poison: Poison, first_run: FirstRun
    ) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pifleet"
        roots = [provisioned.folder, cache, *_new_in_temp(), Path.home() / ".ansible"]
        hits = in_files(poison.words, [root for root in roots if root.exists()])
        for host in provisioned.lab.hosts().values():
            hits |= _in_host(poison, host.container)

        assert {where for _, where in hits} == set()

    def test_the_key_lies_where_only_root_reads_it(self, provisioned: Farm, poison: Poison) -> None:
        host = provisioned.lab.host(provisioned.home_of("ana/main"))

        assert poison.model_key in host.inside("cat", "/etc/pifleet/gateway/keys/lab.conf")
        assert host.inside("stat", "-c", "%a %u %g", "/etc/pifleet/gateway/keys/lab.conf").strip() == "600 0 0"

    def test_neither_output_nor_json_shows_one(self, first_run: FirstRun, poison: Poison) -> None:
        assert not [word for word in poison.words if word in first_run.done.out + first_run.done.err]

    def test_no_container_image_or_log_holds_one(self, provisioned: Farm, poison: Poison) -> None:
        for host in provisioned.lab.hosts().values():
            assert in_engine(poison.words, ("docker", "exec", host.container, "docker")) == set()

    def test_the_hunt_finds_what_is_planted(self, provisioned: Farm, tmp_path: Path) -> None:
        word, host = "planted-7c1e", provisioned.lab.host("farm-1")
        (tmp_path / "note").write_text(f"x {word} y")
        subprocess.run(["zstd", "-q", str(tmp_path / "note"), "-o", str(tmp_path / "note.zst")], check=True)
        host.inside("sh", "-c", f"printf {word} > /var/log/planted")
        sleeper = subprocess.Popen(["sleep", "60"], env={"PLANTED": word})
        provisioned.docker("farm-1", "create", "--name", "planted", "-e", f"A={word}", _any_image(provisioned), "x")
        try:
            with Watch([word]) as watch:
                pass
            found = in_files([word], [tmp_path]) | in_processes([word]) | watch.hits
            found |= in_engine([word], ("docker", "exec", host.container, "docker"))
            planted = Poison(word, word, word)
            places = {where for _, where in found | _in_host(planted, host.container)}
        finally:
            sleeper.kill()
            sleeper.wait()
            provisioned.docker("farm-1", "rm", "planted")
            host.inside("rm", "/var/log/planted")

        assert {str(tmp_path / "note"), str(tmp_path / "note.zst"), "environ of sleep"} <= places
        assert any(where.endswith("/var/log/planted") for where in places)
        assert any(where.startswith("inspect of container") for where in places)


def _any_image(farm: Farm) -> str:
    return farm.docker("farm-1", "images", "-q").split()[0]


def _new_in_temp() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("pifleet-*"))


def _in_host(poison: Poison, container: str) -> set[tuple[str, str]]:
    """Files of a lab host, seen from outside through its first process's root, layers of its nested engine included."""
    pid = subprocess.run(
        ["docker", "inspect", "-f", "{{.State.Pid}}", container], capture_output=True, text=True, check=True
    ).stdout.strip()
    root = Path("/proc") / pid / "root"
    roots = [root / name for name in ("etc", "home", "opt", "root", "run", "srv", "tmp", "usr/local", "var")]
    return in_files(poison.words, roots, except_for=[root / "etc/pifleet/gateway/keys/lab.conf"])


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
        "bo": {"repos": ["web"], "cpus": 1, "memory": "1g", "host": homes["bo/main"]},
        "cy": {"sandboxes": {
            "kernel": {"repos": ["api"], "memory": "4g", "host": homes["cy/kernel"]},
            "review": {"repos": ["web"], "host": "farm-1", "artifacts": ["web/dist/**"]},
        }},
        "di": {"repos": ["api"], "pi": {"settings": {"quietStartup": True}}, "host": homes["di/main"]},
    }
    return json.dumps({"all": {"vars": {"pifleet_developers": developers}}})


def test_results_are_private(provisioned: Farm) -> None:
    assert stat.S_IMODE(provisioned.results.stat().st_mode) == 0o700
