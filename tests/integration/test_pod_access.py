"""A developer's own kubeconfig on a real cluster: it reaches their sandbox and no other, until it ends."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pifleet.errors import HostFailed, SandboxFailed
from pifleet.fleet import DEVELOPER_ACCOUNT, Host
from pifleet.kube.access import grant, revoke
from pifleet.kube.client import Api, ApiRefused, path
from pifleet.sandbox.pod import PodDriver
from tests.conftest import Run
from tests.integration.pods import Pods, everything, image
from tests.lab.cluster import Cluster

INVENTORY = """
all:
  vars:
    pifleet_fleet: test
    pifleet_defaults: {{pattern: pod, model: dry}}
    pifleet_models: {{dry: {{api: scripted}}}}
    pifleet_developers:
      ana: {{ssh_keys: []}}
      bo: {{ssh_keys: []}}
  children:
    pifleet_clusters:
      hosts: {{lab: {{pifleet_kube_context: lab, pifleet_kubeconfig: {kubeconfig}}}}}
"""


@pytest.fixture(scope="module")
def both(cluster: Cluster) -> tuple[Pods, Pods]:
    """Ana's sandbox and bo's, each with the account and the rights that a developer gets."""
    cluster.load(image())
    made = Pods(cluster), Pods(cluster, "bo")
    for pods in made:
        pods.make()
        pods.let_in(DEVELOPER_ACCOUNT)
    return made


@pytest.fixture
def own(both: tuple[Pods, Pods], tmp_path: Path) -> Host:
    """The cluster as ana reaches it."""
    return reached(both[0], tmp_path / "ana.kubeconfig")


def reached(pods: Pods, file: Path) -> Host:
    file.write_text(grant(pods.api, pods.developer, 600).text.reveal())
    assert pods.host.cluster
    return replace(pods.host, cluster=replace(pods.host.cluster, kubeconfig=str(file)))


def test_the_own_sandbox_is_worked_in_moved_stopped_and_started(both, own, tmp_path):
    box = both[0].box
    with PodDriver(own) as driver:
        driver.require_running(box)
        with closing(driver.claimed(box, ["echo", "mine"], "pull", tmp_path)) as stream:
            assert (everything(stream), stream.wait(20)) == (b"mine\n", 0)
        driver.stop(box)
        assert driver.state(box) == "stopped"
        driver.start(box)
        program = driver.terminal_argv(box, ["echo", "again"], tty=False)
    assert subprocess.run(program, capture_output=True, check=True).stdout == b"again\n"


def test_nothing_of_others_is_reached(both, own):
    other = both[1]
    pod = ("v1", "pods", other.namespace, other.box.pod)
    with PodDriver(own) as driver, pytest.raises(HostFailed) as caught:
        driver.stream(other.box, ["true"])
    assert caught.value.trouble.headline == "lab: no right to get pods/exec in namespace test-bo"

    with Api(own) as api:
        for method, at in (
            ("GET", path("v1", "pods", other.namespace)), ("GET", path(*pod)), ("GET", path(*pod, "log")),
            ("POST", path(*pod, "portforward")), ("PATCH", path(*pod, "ephemeralcontainers")),
            ("GET", path("v1", "secrets", other.namespace)), ("GET", path("v1", "secrets", both[0].namespace)),
            ("PATCH", path(*pod[:2], both[0].namespace, both[0].box.pod, "ephemeralcontainers")),
            ("POST", path("v1", "pods", both[0].namespace)), ("GET", path("v1", "namespaces")),
        ):
            with pytest.raises(ApiRefused) as refused:
                api.request(method, at, {} if method != "GET" else None)
            assert refused.value.code == 403, (method, at)


def test_a_token_is_short_lived_renewed_and_ended_at_once(both, own, tmp_path):
    pods = both[0]
    seconds = (grant(pods.api, "ana", 600).until - datetime.now(UTC)).total_seconds()
    assert 500 < seconds < 700
    again = reached(pods, tmp_path / "renewed")

    revoke(pods.api, "ana")

    for host in (own, again):
        end = time.monotonic() + 60  # an API server believes what it has just seen for a few seconds
        with PodDriver(host) as driver:
            with suppress(HostFailed):
                while time.monotonic() < end:
                    driver.state(pods.box)
                    time.sleep(0.5)
            with pytest.raises(HostFailed) as caught:
                driver.state(pods.box)
        assert caught.value.trouble.headline == "lab: its API server does not take our credentials"
    with PodDriver(reached(pods, tmp_path / "new")) as driver:
        assert driver.state(pods.box) == "running"


def test_a_developer_without_an_account_is_told_what_makes_one(both):
    for act in (lambda: grant(both[0].api, "cy", 600), lambda: revoke(both[0].api, "cy")):
        with pytest.raises(SandboxFailed) as caught:
            act()
        assert caught.value.trouble.try_ == "pifleet provision"


def test_the_verb_writes_a_file_for_its_owner_and_verbs_work_with_it(both, run: Run, tmp_path):
    kubeconfig = both[0].cluster.kubeconfig
    (tmp_path / "inventory.yml").write_text(INVENTORY.format(kubeconfig=kubeconfig))

    written = run("kubeconfig", "ana", "--hours", "1")

    assert written.exit_code == 0, written.output
    assert "ana.kubeconfig: ana on lab, until " in written.output
    assert (tmp_path / "ana.kubeconfig").stat().st_mode & 0o777 == 0o600
    (tmp_path / "inventory.yml").write_text(INVENTORY.format(kubeconfig="ana.kubeconfig"))
    assert run("stop", "ana").exit_code == 0
    assert run("start", "ana").exit_code == 0

    shown = run("status", "-o", "json")
    assert shown.exit_code == 0, shown.output
    said = {box["sandbox"]: box["state"] for box in json.loads(shown.stdout)["sandboxes"]}
    assert said == {"ana/main": "running", "bo/main": "unknown"}
    planned = run("plan")
    assert planned.exit_code == 1
    assert "rights: a kubeconfig that sees its own sandboxes only" in planned.output
