"""Keys of a provisioned cluster are where they belong: no pod, object, log or file of the controller has one but the
gateway's own Secret, and the hunt that says so finds what is planted."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.hunting import Hit, Watch, in_files, in_memory, in_processes, processes_of
from tests.integration.cluster_farm import ClusterFarm
from tests.lab.cluster import Cluster
from tests.lab.farm import Lab
from tests.lab.fixtures import started

FLEET, PLACE, POD = "hunt", "hunt-eve", "pi-eve-main-0"
KINDS = "pods,configmaps,secrets,statefulsets,deployments,services,roles,serviceaccounts,events,leases,replicasets"
FOLDERS = ("workspace", "home/pi", "tmp", "run", "etc", "dev/shm")
# Holds the reversed word in its memory for as long as a file is there.
HOLDS = """
import os, sys, time
kept = sys.argv[1][::-1]
while os.path.exists("/tmp/held"): time.sleep(0.2)
"""


@dataclass
class Ground:
    """A fleet with a model's key and a git server's token, and where both could have got."""

    farm: ClusterFarm
    cluster: Cluster
    words: tuple[str, str]
    watch: Watch

    def pids(self) -> list[int]:
        uid = self.farm.kubectl("get", "pod", POD, f"--namespace={PLACE}", "--output=jsonpath={.metadata.uid}")
        found = processes_of(uid)
        assert found
        return found

    def hunt(self, words: Sequence[str]) -> set[Hit]:
        """Every place of the pod, the cluster's logs and the controller in which one of the words is."""
        pids = self.pids()
        rooms = {os.readlink(f"/proc/{pid}/ns/mnt"): pid for pid in pids}  # one for each of its containers
        inside = [Path("/proc", str(pid), "root", name) for pid in rooms.values() for name in FOLDERS]
        logs = [self.cluster.folder / name for name in ("audit.log", "log", "pod-logs")]
        runs = Path("/tmp").glob("pifleet-*")
        files = in_files(words, [path for path in (*inside, *logs, self.farm.folder, *runs) if path.exists()])
        return files | in_memory(words, pids) | in_processes(words) | self.objects(words)

    def objects(self, words: Sequence[str]) -> set[Hit]:
        """Every object of the whole cluster, Secrets in clear."""
        hits: set[Hit] = set()
        for one in json.loads(self.farm.kubectl("get", KINDS, "--all-namespaces", "--output=json"))["items"]:
            text = json.dumps(one)
            if one["kind"] == "Secret":
                text += " ".join(base64.b64decode(value).decode(errors="replace")
                                 for value in (one.get("data") or {}).values())
            metadata = one["metadata"]
            hits |= {(word, f"{one['kind']} {metadata['namespace']}/{metadata['name']}") for word in words
                     if word in text}
        return hits


@pytest.fixture(scope="module")
def ground(bare_pods: ClusterFarm, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    name = f"{os.environ.get('PIFLEET_LAB', 'main')}-hunt"  # others of this run have hosts in theirs
    lab = started(name)
    key, token = f"poison-{uuid.uuid4().hex}", lab.git.token_file.read_text().strip()
    file = tmp_path_factory.mktemp("keys") / "model"
    file.write_text(key)
    farm = replace(bare_pods, folder=tmp_path_factory.mktemp("hunt"), overlay={
        **bare_pods.overlay, "pifleet_fleet": FLEET, "pifleet_results": str(tmp_path_factory.mktemp("results")),
        "default_model": "keyed",
        "pifleet_models": {"dry": {"api": "scripted"}, "keyed": {
            "api": "anthropic-messages", "base_url": "https://llm.example.com", "key": {"file": str(file)},
            "models": ["lab-1"]}},
        "pifleet_repos": {"api": {"url": lab.git.http_url("api"), "ref": "main",
                                  "auth": {"token": {"file": str(lab.git.token_file)}}}},
        "pifleet_developers": {"eve": {"repos": ["api"]}},
    }, variables={**bare_pods.variables, "pifleet_namespace": FLEET})
    with Watch((key, token)) as watch:
        done = farm.provision()
        assert done.code == 0, done.out + done.err
        assert farm.pifleet("verify", "eve").code in (0, 1)  # pi at work, with its scripted model
        assert farm.pifleet("pull", "eve").code == 0
    yield Ground(farm, cluster, (key, token), watch)
    farm.kubectl("delete", "namespaces", "--wait=false", "--ignore-not-found", f"{FLEET}-pifleet", PLACE)
    Lab(name).down()


def test_no_key_is_anywhere_but_in_the_gateways_secret(ground: Ground) -> None:
    key, _ = ground.words

    assert ground.hunt(ground.words) == {(key, f"Secret {FLEET}-pifleet/gateway-keys")}
    assert ground.watch.hits == set()
    assert ground.watch.seen > 20


def test_a_developers_own_kubeconfig_reads_neither(ground: Ground) -> None:
    assert ground.farm.pifleet("kubeconfig", "eve").code == 0
    [own] = ground.farm.folder.glob("*.kubeconfig")
    eve = replace(ground.farm, kubeconfig=own)
    for words in (("get", "secrets", f"--namespace={FLEET}-pifleet"), ("get", "secrets", f"--namespace={PLACE}"),
                  ("get", "secret", "gateway-keys", f"--namespace={FLEET}-pifleet"),
                  ("exec", "deployment/gateway", f"--namespace={FLEET}-pifleet", "--", "true"),
                  ("get", "configmaps", f"--namespace={PLACE}"), ("get", "nodes")):
        assert "Forbidden" in eve.kubectl(*words, check=False), words
    assert POD in eve.kubectl("get", "pods", f"--namespace={PLACE}")


def test_the_hunt_finds_what_is_planted(ground: Ground) -> None:
    words = {place: f"planted-{uuid.uuid4().hex}" for place in (
        "environ of python3", "cmdline of python3", "memory of python3", "workspace/planted", "tmp/planted",
        f"ConfigMap {PLACE}/planted", f"Secret {PLACE}/planted", "pod-logs", "audit.log", "a-run")}
    inside = ("exec", f"--namespace={PLACE}", POD, "--container=pi", "--")
    kubectl = ground.farm.kubectl

    def sh(script: str, *given: str) -> None:
        kubectl(*inside, "sh", "-c", script, "sh", *given)

    background = f"touch /tmp/held; A=$1 python3 -c '{HOLDS}' $2 >/dev/null 2>&1 &"
    sh(background, words["environ of python3"], "x")
    sh(background, "x", words["cmdline of python3"])
    sh(background, "x", words["memory of python3"][::-1])
    sh("echo $1 > /workspace/planted; echo $2 > /tmp/planted; echo $3 > /proc/1/fd/1", words["workspace/planted"],
       words["tmp/planted"], words["pod-logs"])
    for kind, name in (("configmap", "ConfigMap"), ("secret generic", "Secret")):
        kubectl("create", *kind.split(), "planted", f"--namespace={PLACE}",
                f"--from-literal=a={words[f'{name} {PLACE}/planted']}")
    kubectl("get", "configmap", words["audit.log"], f"--namespace={PLACE}", check=False)
    (ground.farm.folder / "a-run").write_text(words["a-run"])

    def missing() -> set[str]:
        hits = ground.hunt(tuple(words.values()))
        return {place for place, word in words.items()
                if not any(hit == word and place in where for hit, where in hits)}

    try:
        lacking = missing() and missing()  # logs are written a little later
        assert not lacking
    finally:
        sh("rm -f /workspace/planted /tmp/planted /tmp/held")
        kubectl("delete", "configmap/planted", "secret/planted", f"--namespace={PLACE}")
