"""What becomes of a run, judged from what pi 0.87.1 really said (pi_events/: recorded with the scripted model in a
sandbox; system prompts, partial messages and pi's closing copy of all messages are left out)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pifleet.sandbox.outcome import End, Outcome, judge

RECORDED = Path(__file__).parent / "pi_events"


def recorded(name: str) -> list[dict]:
    return [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def saying(**message: object) -> list[dict]:
    return [{"type": "message_end", "message": {"role": "assistant", **message}}, {"type": "agent_settled"}]


def failing(text: str) -> str:
    return judge(saying(stopReason="error", errorMessage=text, content=[]), End()).sentence


def test_a_run_with_an_answer_is_good_and_gives_it():
    assert judge(recorded("ok"), End()) == Outcome(True, "pi answered", "done")


def test_a_tool_that_failed_is_the_agents_affair():
    assert judge(recorded("toolfail"), End()) == Outcome(True, "pi answered", "it failed")


@pytest.mark.parametrize(("name", "sentence"), [
    ("f401", "the model refused the key (401: scripted failure 401)"),
    ("f429", "the model's rate limit was reached, also after 3 retries (429: scripted failure 429)"),
    ("f500", "the model's server failed, also after 3 retries (500: scripted failure 500)"),
    ("cut", "the connection to the model broke, also after 3 retries: terminated"),
    ("workthen500", "the model's server failed, also after 3 retries (500: scripted failure 500)"),
])
def test_a_provider_that_failed_is_named_although_pi_exits_0(name, sentence):
    assert judge(recorded(name), End(code=0)) == Outcome(False, sentence)


@pytest.mark.parametrize(("text", "sentence"), [
    ('403 {"error": "no"}', "the model refused the key (403: no)"),
    ("400 bad thing", "the model refused the request (400: bad thing)"),
    ("529", "the model's server failed (529)"),
    ("Connection error.", "the connection to the model broke: Connection error."),
    ("something odd", "the model could not be used: something odd"),
    ("", "the model could not be used: no reason was given"),
])
def test_what_a_provider_says_becomes_one_sentence(text, sentence):
    assert failing(text) == sentence


def test_a_failure_that_a_retry_healed_is_none():
    events = [*recorded("f500")[:-2], {"type": "auto_retry_end", "success": True, "attempt": 3}, *recorded("ok")]
    assert judge(events, End()).ok


@pytest.mark.parametrize(("end", "sentence"), [
    (End(None, "deadline", seconds=600.4), "pi did not end within 600 s and was stopped"),
    (End(None, "stopped"), "the run was stopped"),
    (End(None, "lost"), "the run was cut off: its sandbox stopped or ran out of memory"),
    (End(None, error="[Errno 2] No such file or directory: 'pi'"),
     "pi did not start: [Errno 2] No such file or directory: 'pi'"),
    (End(-9), "pi was killed by signal 9, perhaps for want of memory"),
    (End(-11), "pi was killed by signal 11"),
    (End(1, stderr="Warning\nUnknown provider \"x\"\n"), 'pi ended with exit code 1: Unknown provider "x"'),
    (End(0), "pi ended without an answer"),
])
def test_a_run_that_did_not_settle_says_how_it_ended(end, sentence):
    unsettled = recorded("workthen500")[:12]
    assert judge(unsettled, end) == Outcome(False, sentence)
    assert judge([], end) == Outcome(False, sentence)


def test_a_run_that_settled_without_text_has_no_answer():
    for content in ([], [{"type": "text", "text": " \n"}], [{"type": "toolCall", "name": "bash"}], None, "text", [1]):
        assert judge(saying(stopReason="stop", content=content), End()) == Outcome(False, "pi ended without an answer")


def test_an_answer_that_was_cut_or_stopped_is_not_good_but_kept():
    content = [{"type": "text", "text": "half"}]
    assert judge(saying(stopReason="length", content=content), End()) == Outcome(
        False, "the model's answer was cut at its length limit", "half")
    assert judge(saying(stopReason="aborted", content=content), End()) == Outcome(False, "the run was stopped", "half")


@pytest.mark.parametrize("event", [
    {}, {"type": []}, {"type": "message_end"}, {"type": "message_end", "message": "x"},
    {"type": "message_end", "message": {"role": "assistant", "stopReason": {}, "errorMessage": 7}},
])
def test_events_of_any_shape_are_survived(event):
    assert not judge([event], End()).ok


def test_a_strangers_words_become_one_short_printable_line():
    sentence = failing("500 \x1b[31mred\nnext\u202e" + "x" * 5000)
    assert sentence.isprintable()
    assert len(sentence) < 300
