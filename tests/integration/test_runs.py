"""`run` against a provider in every kind of trouble: one sentence, exit 1, and the work so far is at home."""

from __future__ import annotations

import pytest

from tests.integration.farm import Farm

WORK = 'CALL write {"path": "/workspace/web/so-far.txt", "content": "%s"}'


@pytest.mark.parametrize(
    ("trouble", "word"),
    [("FAIL 401", "401"), ("FAIL 429", "429"), ("FAIL 500", "500"), ("CUT", ""), ("HANG", "")],
    ids=["401", "429", "500", "cut stream", "hang"],
)
def test_a_providers_trouble_is_one_sentence_and_the_work_so_far_is_pulled(
    provisioned: Farm, trouble: str, word: str
) -> None:
    words = f"written before {trouble}"
    provisioned.pifleet("exec", "bo", "--", "sh", "-c", f"printf '{words}' > /workspace/web/so-far.txt")

    done = provisioned.pifleet("run", "bo", "-p", f"Try this.\n{trouble}", "--deadline", "90")

    assert done.code == 1
    sentences = [line for line in done.err.splitlines() if "bo/main" in line and line.startswith("error")]
    assert len(sentences) == 1
    assert word in sentences[0]
    newest = max((provisioned.results / "bo" / "main").glob("[0-9]*"), key=lambda path: int(path.name))
    assert (newest / "web" / "so-far.txt").read_text() == words


def test_a_task_is_done_and_its_result_comes_home(provisioned: Farm) -> None:
    done = provisioned.pifleet("run", "ana", "-p", WORK % "made by pi" + "\nSAY finished")
    newest = max((provisioned.results / "ana" / "main").glob("[0-9]*"), key=lambda path: int(path.name))

    assert done.code == 0, done.out + done.err
    assert (newest / "web" / "so-far.txt").read_text() == "made by pi"
    assert list((newest / "sessions").rglob("*.jsonl"))
