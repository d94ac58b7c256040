"""The corpus of what a sandbox may hold or say, out of a pod of a real cluster: each case comes out as on a host.

A case's box is made here and carried into the pod, where the real capture runs; what a hostile sandbox says, a program
in the pod says. All of it comes by way of the kubelet and the API server.
"""
# ruff: noqa: F401 - the same tests and fixtures, with this file's boxes

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pifleet.results import Pull
from pifleet.stream import Stream
from tests.integration.pods import Pods, image
from tests.lab.cluster import Cluster
from tests.results import corpus_boxes, test_corpus, test_hostile
from tests.results.box import Box
from tests.results.corpus import Case
from tests.results.test_hostile import (
    forge,
    honest,
    test_a_flipped_byte_anywhere_lands_nothing,
    test_a_hostile_answer_lands_nothing,
    test_a_stream_cut_anywhere_lands_nothing,
    test_odd_modes_become_plain_files_and_case_twins_both_land,
    test_the_forge_can_make_an_answer_that_lands,
    test_what_is_dangerous_only_as_a_file_is_stored_named_and_not_written,
)

INSIDE = "/workspace/box"
# What another user or root makes in a box, who is not in a pod; what acts while the capture runs, where it runs.
NOT_CARRIED = {
    "device", "unreadable", "folder-without-rights", "dubious-owner", "repo-without-git-binary", "file-vanishes",
    "file-grows",
}
CARRIED = {name: case for name, case in test_corpus.MADE.items() if name not in NOT_CARRIED}


class PodBox(Box):
    """A box of which each pull reads what was carried into the pod just before."""

    def __init__(self, base: Path, pods: Pods) -> None:
        self.pods = pods
        super().__init__(base)

    def open(self, argv: Sequence[str]) -> Stream:  # type: ignore[override]
        packed = subprocess.run(["tar", "-C", self.base, "-cf", "-", "workspace", "home"], capture_output=True,
                                check=True).stdout
        script = 'chmod -R u+rwX "$1"; rm -rf "$1" && mkdir "$1" && tar -C "$1" -xpf - --no-same-owner'
        code, _, errors = self.pods.run("sh", "-c", script, "sh", INSIDE, data=packed)
        assert code == 0, errors
        return self.pods.driver.stream(self.pods.box, ["env", f"HOME={INSIDE}/home", *argv])

    def pull(self, **changed: Any) -> Pull:
        inside = {"workspace": f"{INSIDE}/workspace", "sessions": f"{INSIDE}/home/.pi/agent/sessions"}
        return super().pull(**(inside | changed))


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Pods:
    cluster.load(image())
    made = Pods(cluster, "corpus")
    made.make()
    return made


@pytest.fixture
def box(tmp_path: Path, pods: Pods) -> PodBox:
    return PodBox(tmp_path, pods)


@pytest.fixture(autouse=True)
def answers_of_the_pod(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile answer is kept in the pod, and said by a program there."""

    def said(answer: bytes, folder: Path, code: int = 0) -> Stream:
        assert pods.run("sh", "-c", "cat > /workspace/answer; exit $?", data=answer)[0] == 0
        script = 'read -r _; cat /workspace/answer; exit "$1"'
        return pods.driver.stream(pods.box, ["sh", "-c", script, "sh", str(code)])

    for module in (test_hostile, corpus_boxes):
        monkeypatch.setattr(module, "replaying", said)


@pytest.mark.parametrize("case", CARRIED.values(), ids=CARRIED)
def test_the_case_comes_out_as_on_a_host(box: PodBox, case: Case) -> None:
    test_corpus.test_the_case_comes_out_as_its_row_says(box, case)
