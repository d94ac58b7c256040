"""The main job on a bare host of pattern openshell: a gateway, sandboxes, work in them, and that nothing leaks."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.hunting import Watch, containers, in_engine, in_files, in_memory, in_processes, of_users, processes_of
from tests.integration.farm import Done
from tests.integration.openshell import until
from tests.integration.shells import ANA, BO, CY, HOST, Shells
from tests.lab.engine import docker

# Has the word in its memory only, for a while.
HOLDS = "import sys, time; kept = sys.argv[1][::-1]; time.sleep(120)"
COMMIT = "cd /workspace/web && git -c user.name=a -c user.email=a@example.com commit -qam work --allow-empty"


def test_a_bare_host_becomes_a_gateway_with_a_sandbox_for_each_developer(
    shells: Shells, first_of_shells: tuple[Done, Watch]
) -> None:
    results = {row["sandbox"]: row["result"] for row in first_of_shells[0].json["outcomes"] if row["sandbox"]}

    assert results == dict.fromkeys((ANA, BO, CY), "changed")
    assert [shells.sandbox(name)["phase"] for name in ("ana", "bo", "cy")] == ["Ready"] * 3


def test_a_second_run_changes_nothing(shells: Shells) -> None:
    plan = shells.plan()

    assert (plan.code, plan.json["steps"]) == (0, [])
    assert {row["result"] for row in shells.provision().json["outcomes"]} == {"ok"}


def test_verify_passes_and_status_names_what_is_there(shells: Shells) -> None:
    proof = shells.pifleet("verify", "-o", "json")
    assert proof.code == 0, proof.out
    assert "ways out" in proof.out
    rows = shells.pifleet("status", "-o", "json").json["sandboxes"]
    assert {row["sandbox"]: row["state"] for row in rows} == dict.fromkeys((ANA, BO, CY), "running")


def test_verify_finds_the_models_key_where_a_sandbox_got_hold_of_it(
    shells: Shells, shell_words: tuple[str, str]
) -> None:
    """No key has ever been in there; one that is planted is named with its place, and gone, all is well again.

    It goes in by standard input: sudo writes every command line into its host's journal.
    """
    shells.pifleet("exec", "bo", "--", "sh", "-c", "cat > /workspace/leaked", stdin=shell_words[0])
    leaked = shells.pifleet("verify", "bo")
    shells.inside("bo", "rm /workspace/leaked")
    clean = shells.pifleet("verify", "bo")

    assert (leaked.code, clean.code) == (1, 0), leaked.out + clean.out
    assert "/workspace/leaked" in leaked.out + leaked.err
    assert "none of 1 in" in clean.out


def test_the_repositories_came_with_their_history_and_without_a_credential(shells: Shells) -> None:
    head, config = shells.inside("ana", "cd /workspace/api; git rev-parse HEAD; cat .git/config").split("\n", 1)

    assert head == shells.lab.git.head("api")
    assert shells.lab.git.token_file.read_text().strip() not in config
    assert int(shells.inside("ana", "git -C /workspace/api rev-list --count HEAD")) > 1


@pytest.mark.parametrize("developer", ["ana", "bo"])
def test_pi_answers_through_inference_local(shells: Shells, developer: str) -> None:
    done = shells.pifleet("run", developer, "-p", "SAY the model answers")

    assert done.code == 0, done.out + done.err
    assert "the model answers" in done.out + done.err


def test_the_model_saw_the_key_that_no_sandbox_has(shells: Shells, shell_words: tuple[str, str]) -> None:
    shells.lab.model.forget()
    shells.pifleet("run", "bo", "-p", "SAY hello")

    assert shell_words[0] in str(shells.lab.model.requests()[-1]["auth"])
    seen = shells.inside("bo", "cat /proc/*/environ | tr '\\0' '\\n'; cat /home/pi/.pi/agent/*.json")
    assert shell_words[0] not in seen


def test_what_an_agent_did_comes_home_and_an_unchanged_pull_is_small(shells: Shells) -> None:
    shells.inside("ana", f"{COMMIT}; echo draft > /workspace/web/new.txt")
    first, second = (shells.pifleet("pull", "ana", "-o", "json").json["pulls"][0] for _ in range(2))

    assert (first["result"], second["result"]) == ("new", "unchanged")
    assert second["bytes"] < 1000
    assert (shells.results / "ana" / "main" / "web" / "new.txt").read_text() == "draft\n"


def test_stop_and_start_keep_the_work(shells: Shells) -> None:
    before = shells.inside("ana", "cd /workspace/web; git rev-parse HEAD; git status --porcelain")
    stopped = shells.pifleet("stop", "ana")
    phase = shells.sandbox("ana")["phase"]
    again = shells.pifleet("start", "ana")

    assert (stopped.code, phase, again.code) == (0, "Stopped", 0)
    assert shells.inside("ana", "cd /workspace/web; git rev-parse HEAD; git status --porcelain") == before


def test_a_killed_container_is_rescued_replaced_and_holds_its_work_again(shells: Shells) -> None:
    shells.inside("bo", f"{COMMIT}; echo precious > /workspace/web/precious.txt")
    head = shells.inside("bo", "git -C /workspace/web rev-parse HEAD")
    shells.docker(HOST, "kill", shells.container("bo"))
    until(lambda: shells.phase("bo") == "Error", seconds=60)
    steps = [step for step in shells.plan().json["steps"] if step["kind"] == "sandbox"]
    shells.repaired()

    assert [(step["action"], step["before"]["phase"]) for step in steps] == [("replace", "Error")]
    assert shells.inside("bo", "git -C /workspace/web rev-parse HEAD; cat /workspace/web/precious.txt") == (
        f"{head}precious\n")
    assert "rescue" not in shells.docker(HOST, "ps", "-a") + shells.docker(HOST, "images")


def test_another_limit_means_a_new_sandbox_with_the_same_work(shells: Shells) -> None:
    head = shells.inside("bo", "git -C /workspace/web rev-parse HEAD")
    developers = {**shells.overlay["pifleet_developers"], "bo": {"repos": ["web"], "memory": "1g"}}
    changed = Shells(shells.lab, shells.folder, {**shells.overlay, "pifleet_developers": developers})
    done = changed.provision()

    assert done.code == 0, done.out + done.err
    memory = changed.docker(HOST, "inspect", "-f", "{{.HostConfig.Memory}}", changed.container("bo"))
    assert int(memory) == 1 << 30
    assert changed.inside("bo", "git -C /workspace/web rev-parse HEAD") == head
    shells.repaired()


def test_another_key_reaches_the_provider_and_the_old_one_goes(
    shells: Shells, shell_key: Path, shell_words: tuple[str, str]
) -> None:
    shell_key.write_text(shell_words[1])
    shells.lab.model.require(shell_words[1])
    named = {step["item"] for step in shells.plan().json["steps"]}
    shells.repaired()

    assert named == {"provider pi-bo", "route pi-bo", "provider pi-cy", "route pi-cy"}
    assert shells.shell("provider", "list", "--workspace", "pi-bo", "--names").count("pifleet-") == 1


def test_another_version_is_refused_before_anything_is_changed_and_both_are_named(shells: Shells) -> None:
    pinned = {**shells.overlay["pifleet_openshell"], "version": "0.0.99"}
    done = Shells(shells.lab, shells.folder, {**shells.overlay, "pifleet_openshell": pinned}).provision()

    assert done.code == 1
    text = str(done.json["outcomes"])
    assert "0.0.99" in text
    assert shells.overlay["pifleet_openshell"]["version"] in text
    assert [shells.sandbox(name)["phase"] for name in ("ana", "bo", "cy")] == ["Ready"] * 3
    shells.repaired()


def test_the_seeds_command_finds_the_fleets_image_by_its_short_name(shells: Shells) -> None:
    shells.shell("sandbox", "create", "--name", "pi-sandbox", "--from", "pi", "--detach", "--", "sleep", "600")
    try:
        version = shells.shell("sandbox", "exec", "-n", "pi-sandbox", "--", "pi", "--version")
    finally:
        shells.shell("sandbox", "delete", "pi-sandbox")

    assert "0.87.1" in version


class TestNothingLeaks:
    def test_no_process_ever_showed_a_secret(self, first_of_shells: tuple[Done, Watch]) -> None:
        _, watch = first_of_shells
        assert watch.looks > 50
        assert {hit for hit in watch.hits if not hit[1].startswith("environ of openshell")} == set()

    def test_neither_host_nor_controller_nor_a_sandbox_holds_one(
        self, shells: Shells, shell_words: tuple[str, str]
    ) -> None:
        """Gateway's log and database, registrations, ssh's configuration, files and environments of sandboxes."""
        secrets = [*shell_words, shells.lab.git.token_file.read_text().strip()]

        assert in_files(secrets, [shells.folder, *places(shells)]) == set()
        assert in_engine(secrets, engine(shells)) | in_processes(secrets) == set()

    def test_the_memory_of_what_runs_in_a_sandbox_holds_none(
        self, shells: Shells, shell_words: tuple[str, str]
    ) -> None:
        """Supervisors put the keys in and are not asked; what is only in memory is found there."""
        word = f"poison-{uuid.uuid4().hex}"
        shells.inside("bo", f"setsid python3 -c '{HOLDS}' {word[::-1]} >/dev/null 2>&1 </dev/null &")
        pids = [pid for one in containers(engine(shells), "openshell.ai/sandbox-name") for pid in processes_of(one)]
        secrets = [*shell_words, shells.lab.git.token_file.read_text().strip()]

        assert len(of_users(pids)) > 3
        assert in_memory(secrets, of_users(pids)) == set()
        assert in_memory([word], of_users(pids)) != set()

    def test_the_hunt_finds_what_is_planted_there(self, shells: Shells) -> None:
        word = f"poison-{uuid.uuid4().hex}"
        shells.lab.host(HOST).inside("tee", "/var/lib/pifleet/openshell/client/planted", input=word)
        shells.inside("ana", f"echo {word} > /workspace/planted")
        hits = {where.rpartition("/")[0].rpartition("/")[2] for _, where in in_files([word], places(shells))}
        shells.as_root("rm /var/lib/pifleet/openshell/client/planted")
        shells.inside("ana", "rm /workspace/planted")

        assert {"client", "workspace"} <= hits


def engine(shells: Shells) -> tuple[str, ...]:
    """The words that speak to the engine of the gateway's host."""
    return ("docker", "exec", shells.lab.host(HOST).container, "docker")


def places(shells: Shells) -> list[Path]:
    """A lab host's folders, seen through the root of its first process."""
    pid = docker("inspect", "-f", "{{.State.Pid}}", shells.lab.host(HOST).container)
    names = ("etc", "home", "opt", "root", "run", "srv", "tmp", "usr/local", "var")
    return [Path("/proc", pid, "root", name) for name in names]


def test_removed_is_gone_and_the_others_stay(shells: Shells) -> None:
    done = shells.pifleet("remove", "cy", "--yes", "-o", "json")

    assert done.code == 0, done.out + done.err
    assert shells.container("cy") == ""
    assert shells.sandbox("ana")["phase"] == "Ready"
    shells.repaired()  # the inventory still wants it
