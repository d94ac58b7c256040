"""Stop, start and the phase that nothing heals, in the OpenShell double.

Each test is a fact that was seen with real binaries, and asks those where the environment names them.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.integration.openshell import Shell, container, until
from tests.lab.engine import docker
from tests.lab.openshell.double import Double


def test_stop_and_start_keep_files_and_end_processes(openshell: Shell) -> None:
    openshell.ok("sandbox", "create", "--name", "stops", "--from", "pi", "--detach")
    openshell.exec("stops", "sh", "-c", "echo work > file; setsid sleep 4444 >/dev/null 2>&1 &")
    openshell.ok("sandbox", "stop", "stops")
    openshell.ok("sandbox", "stop", "stops")
    assert openshell.phase("stops") == "Stopped"
    assert openshell.exec("stops", "true").code == 1
    openshell.ok("sandbox", "start", "stops")
    until(lambda: openshell.phase("stops") == "Ready")
    assert openshell.exec("stops", "cat", "file").text == "work\n"
    assert openshell.exec("stops", "pgrep", "-f", "sleep 4444").code == 1
    openshell.ok("sandbox", "delete", "stops")


@pytest.mark.parametrize("blow", ["end", "kill", "pause"])
def test_error_is_final(gateway: Double, openshell: Shell, blow: str) -> None:
    name = f"err-{blow}"
    openshell.ok("sandbox", "create", "--name", name, "--from", "pi", "--detach")
    openshell.exec(name, "sh", "-c", "echo work > file")
    if blow == "end":
        openshell.exec(name, "pkill", "bash")
    else:
        docker(blow, container(gateway, name))
    until(lambda: openshell.phase(name) == "Error")
    if blow == "pause":
        docker("unpause", container(gateway, name))
    docker("start", container(gateway, name), check=False)
    assert openshell("sandbox", "start", name).code == 1
    assert openshell("sandbox", "stop", name).code == 1
    assert openshell.exec(name, "true").code == 1
    assert openshell.phase(name) == "Error"
    assert docker("cp", f"{container(gateway, name)}:/workspace/file", "-").count("work") == 1
    openshell.ok("sandbox", "delete", name)


def test_a_main_process_that_ends_well_is_an_error_too(openshell: Shell) -> None:
    openshell("sandbox", "create", "--name", "short", "--from", "pi", "--detach", "--", "pi", "--version")
    until(lambda: openshell.phase("short") == "Error")
    openshell.ok("sandbox", "delete", "short")


def test_an_image_that_is_nowhere_leaves_a_record_in_error(openshell: Shell) -> None:
    words = ("sandbox", "create", "--name", "noimage", "--from", "pifleet-lab/none:gone", "--detach")
    done = openshell(*words)
    assert (done.code, "ImagePullFailed" in done.said) == (1, True)
    assert "already exists" in openshell(*words).said
    openshell.ok("sandbox", "delete", "noimage")


def test_why_a_main_process_could_not_start_is_the_last_line_of_the_containers_log(
        gateway: Double, openshell: Shell) -> None:
    openshell("sandbox", "create", "--name", "closed", "--from", "pi", "--detach", "--", "/opt/elsewhere/file")
    until(lambda: openshell.phase("closed") == "Error")
    done = subprocess.run(["docker", "logs", container(gateway, "closed")], capture_output=True, text=True, check=True)
    assert "Permission denied (os error 13)" in (done.stdout + done.stderr).splitlines()[-1]
    openshell.ok("sandbox", "delete", "closed")
