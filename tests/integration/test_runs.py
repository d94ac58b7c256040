"""`run` against a provider in every kind of trouble: one sentence, exit 1, and the work so far is at home."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.farm import Farm

WORK = 'CALL write {"path": "/workspace/web/so-far.txt", "content": "%s"}'


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("FAIL 401", "the model refused the key (401"),
        ("FAIL 429", "429"),
        ("FAIL 500", "the model's server failed, also after 3 retries (500"),
        ("CUT", ""),
        ("HANG", ""),
    ],
    ids=["401", "429", "500", "cut stream", "hang"],
)
def test_a_providers_trouble_is_one_sentence_and_the_work_so_far_is_pulled(
    provisioned: Farm, trouble: str, sentence: str
) -> None:
    words = f"written before {trouble}"
    prompt = f"Try this.\n{WORK % words}\n{trouble}"

    done = provisioned.pifleet("run", "bo", "-p", prompt, "--deadline", "60", "-o", "json")
    [run], [pull] = done.json["runs"], done.json["pulls"]

    assert done.code == 1
    assert (run["sandbox"], run["result"]) == ("bo/main", "failed")
    assert run["sentence"]
    assert "\n" not in run["sentence"]
    assert sentence in run["sentence"]
    assert (Path(pull["path"]) / "web" / "so-far.txt").read_text() == words


def test_a_task_is_done_and_its_result_comes_home(provisioned: Farm) -> None:
    done = provisioned.pifleet("run", "ana", "-p", WORK % "made by pi" + "\nSAY finished", "-o", "json")
    [run], [pull] = done.json["runs"], done.json["pulls"]

    assert (done.code, run["result"], run["answer"]) == (0, "ok", "finished")
    assert (Path(pull["path"]) / "web" / "so-far.txt").read_text() == "made by pi"
    assert list((Path(pull["path"]) / "sessions").rglob("*.jsonl"))


def test_the_work_is_the_agents_own_and_not_roots(provisioned: Farm) -> None:
    owner = provisioned.pifleet("exec", "ana", "--", "stat", "-c", "%u", "/workspace/web/so-far.txt").out

    assert int(owner) >= 1_900_000_000
