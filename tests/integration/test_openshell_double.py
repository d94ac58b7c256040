"""The OpenShell double is believed only as far as the real `openshell` command, generation 0.0.x, believes it.

With PIFLEET_TEST_OPENSHELL_GATEWAY, _CLI and _SUPERVISOR the same tests ask the real binaries: each test is a fact that
was seen with them, and nothing here may pass with the double only.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.openshell import Shell, container, operator
from tests.lab.engine import docker
from tests.lab.openshell.double import Double


@pytest.mark.slice
def test_the_seeds_commands_work_as_they_are_typed(gateway: Double, tmp_path: Path) -> None:
    openshell = operator(tmp_path, gateway)
    openshell.typed(f"openshell gateway add {gateway.url} --name seed")
    openshell.typed("openshell gateway select seed")
    openshell.typed("openshell sandbox create --name pi-sandbox --from pi -- pi")
    assert openshell.phase("pi-sandbox") == "Ready"
    (tmp_path / "empty" / "repo").mkdir()
    (tmp_path / "empty" / "repo" / "README.md").write_text("ours\n")
    openshell.typed("openshell sandbox upload pi-sandbox ./repo /workspace")
    assert openshell.exec("pi-sandbox", "sh", "-c", "echo more >> repo/README.md").code == 0
    openshell.typed("openshell sandbox download pi-sandbox /workspace/repo ./back")
    assert (tmp_path / "empty" / "back" / "README.md").read_text() == "ours\nmore\n"
    openshell.typed("openshell sandbox delete pi-sandbox")
    assert openshell.phase("pi-sandbox") == "missing"
    assert container(gateway, "pi-sandbox") == ""


# What is refused before anything happens


@pytest.mark.parametrize(("name", "why"), [
    ("a" * 20, "exceeds maximum length (20 > 19)"),
    ("a--b", "must not contain consecutive hyphens"),
    ("Box", "must contain only lowercase alphanumeric characters or hyphens"),
])
def test_a_name_is_a_short_dns_label(openshell: Shell, name: str, why: str) -> None:
    done = openshell("sandbox", "create", "--name", name, "--from", "pi", "--detach")
    assert done.code == 1
    assert why in done.said


def test_a_name_is_taken_once(openshell: Shell, box: str) -> None:
    done = openshell("sandbox", "create", "--name", box, "--from", "pi", "--detach")
    assert (done.code, "already exists" in done.said) == (1, True)


def test_a_folder_of_that_name_stands_in_the_way_of_an_image(openshell: Shell) -> None:
    (openshell.home / "empty" / "pi").mkdir(parents=True)
    try:
        done = openshell("sandbox", "create", "--name", "folder", "--from", "pi", "--detach")
        assert (done.code, "No Dockerfile found" in done.said) == (1, True)
    finally:
        (openshell.home / "empty" / "pi").rmdir()


def test_a_sandbox_that_is_not_there_is_an_error(openshell: Shell) -> None:
    assert openshell("sandbox", "get", "nobody").code == 1
    assert openshell.exec("nobody", "true").code == 1


def test_delete_stops_at_the_first_name_that_is_missing(openshell: Shell) -> None:
    openshell.ok("sandbox", "create", "--name", "last", "--from", "pi", "--detach")
    assert openshell("sandbox", "delete", "nobody", "last").code == 1
    assert openshell.phase("last") == "Ready"
    openshell.ok("sandbox", "delete", "last")


# Commands inside


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_a_command_keeps_its_exit_code(openshell: Shell, box: str, code: int) -> None:
    assert openshell.exec(box, "sh", "-c", f"exit {code}").code == code


def test_output_and_errors_stay_apart_and_are_exact(openshell: Shell, box: str) -> None:
    done = openshell.exec(box, "sh", "-c", r"printf '\000\377out'; echo err >&2")
    assert (done.out, done.err) == (b"\x00\xffout", "err\n")


def test_words_arrive_as_they_were_given(openshell: Shell, box: str) -> None:
    words = ["a b", "'quoted'", "two\nlines", "grüße", "", "$HOME", "*"]
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    assert json.loads(openshell.exec(box, "python3", "-c", script, *words).text) == words


def test_a_killed_command_is_1_and_a_missing_one_127(openshell: Shell, box: str) -> None:
    assert openshell.exec(box, "sh", "-c", "kill -9 $$").code == 1
    assert openshell.exec(box, "no-such-command").code == 127


def test_input_is_read_to_its_end_up_to_a_megabyte(openshell: Shell, box: str) -> None:
    assert openshell.exec(box, "wc", "-c", given=b"x" * 1_048_000).text.strip() == "1048000"
    done = openshell.exec(box, "wc", "-c", given=b"x" * 1_100_000)
    assert (done.code, "decoded message length too large" in done.said) == (1, True)


def test_a_timeout_is_124_and_the_command_lives_on(openshell: Shell, box: str) -> None:
    done = openshell("sandbox", "exec", "-n", box, "--timeout", "1", "--", "sleep", "4242")
    assert done.code == 124
    assert openshell.exec(box, "pgrep", "-f", "sleep 4242").code == 0
    openshell.exec(box, "pkill", "-f", "sleep 4242")


def test_a_working_directory_that_is_missing_is_1(openshell: Shell, box: str) -> None:
    assert openshell("sandbox", "exec", "-n", box, "--workdir", "/workspace", "--", "pwd").text == "/workspace\n"
    assert openshell("sandbox", "exec", "-n", box, "--workdir", "/nowhere", "--", "pwd").code == 1


def test_a_background_job_does_not_hold_a_command_for_ever(openshell: Shell, box: str) -> None:
    assert openshell.exec(box, "sh", "-c", "sleep 4343 & echo started", seconds=10).text == "started\n"
    assert openshell.exec(box, "pgrep", "-f", "sleep 4343").code == 0
    openshell.exec(box, "pkill", "-f", "sleep 4343")


def test_values_of_exec_env_land_in_the_gateways_log(gateway: Double, openshell: Shell, box: str) -> None:
    openshell.ok("sandbox", "exec", "-n", box, "--env", "TOKEN=seen-by-all", "--", "true")
    assert "seen-by-all" in gateway.log.read_text()


# What a sandbox is


def test_a_sandbox_is_the_images_user_without_any_power(openshell: Shell, box: str) -> None:
    assert openshell.exec(box, "id", "-un").text == "pi\n"
    status = openshell.exec(box, "cat", "/proc/self/status").text
    assert {line.split()[1] for line in status.splitlines() if line.startswith("Cap")} == {"0" * 16}
    assert "NoNewPrivs:\t1" in status


def test_home_is_the_workspace_and_the_environment_points_at_the_proxy(openshell: Shell, box: str) -> None:
    seen = dict(line.split("=", 1) for line in openshell.exec(box, "env").text.splitlines() if "=" in line)
    wanted = {"HOME": "/workspace", "OPENSHELL_SANDBOX": "1", "USER": "pi", "HTTPS_PROXY": "http://10.200.0.1:3128",
              "NO_PROXY": "127.0.0.1,localhost,::1", "NODE_USE_ENV_PROXY": "1"}
    assert {name: seen[name] for name in wanted} == wanted


def test_what_the_policy_does_not_list_cannot_be_opened(openshell: Shell, box: str) -> None:
    for path in ("/opt/elsewhere/file", "/home/pi", "/dev/zero", "/run"):
        assert "Permission denied" in openshell.exec(box, "sh", "-c", f"ls {path}/ 2>&1; cat {path}").said, path
    assert openshell.exec(box, "touch", "/workspace/mine", "/tmp/mine").code == 0


def test_limits_reach_the_container(gateway: Double, openshell: Shell) -> None:
    openshell.ok("sandbox", "create", "--name", "small", "--from", "pi", "--cpu", "500m", "--memory", "256Mi",
                 "--detach")
    limits = json.loads(docker("inspect", container(gateway, "small")))[0]["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"], limits["PidsLimit"]) == (500_000_000, 256 << 20, 2048)
    openshell.ok("sandbox", "delete", "small")


def test_a_container_says_by_labels_whose_it_is(gateway: Double, box: str) -> None:
    labels = json.loads(docker("inspect", container(gateway, box)))[0]["Config"]["Labels"]
    assert labels["openshell.ai/sandbox-name"] == box
    assert labels["openshell.ai/sandbox-workspace"] == "default"
    assert labels["openshell.ai/sandbox-namespace"] == gateway.name


def test_a_volume_below_the_workspace_outlives_the_sandbox(gateway: Double, openshell: Shell) -> None:
    volume = f"{gateway.name}-keep"

    def make(target: str) -> int:
        mount = {"type": "volume", "source": volume, "target": target, "read_only": False}
        return openshell("sandbox", "create", "--name", "keep", "--from", "pi", "--detach", "--driver-config-json",
                         json.dumps({"docker": {"mounts": [mount]}})).code

    assert make("/workspace") == 1
    openshell("sandbox", "delete", "keep")
    try:
        assert make("/workspace/keep") == 0
        docker("exec", "--user", "0", container(gateway, "keep"), "chown", "pi", "/workspace/keep")
        assert openshell.exec("keep", "sh", "-c", "echo kept > keep/file").code == 0
        openshell.ok("sandbox", "delete", "keep")
        assert make("/workspace/keep") == 0
        assert openshell.exec("keep", "cat", "keep/file").text == "kept\n"
    finally:
        openshell("sandbox", "delete", "keep")
        docker("volume", "rm", volume, check=False)
