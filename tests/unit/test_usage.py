"""What the gateway and pi's session logs say of the use of models, and what becomes of a hostile word."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pifleet.operate import Did
from pifleet.sandbox.usage_agent import main
from pifleet.usage import MOST, Row, _said
from tests.unit.fleets import box
from tests.unit.hostside import load

log = load("gatewaylog")


def line(sandbox: str = "ana/main", when: str = "2026-01-31T12:00:00+00:00", status: int = 200, model: str = "paid",
         received: int = 100, sent: int = 1000) -> str:
    """As templates/nginx.conf.j2 makes it."""
    return (f'{{"time":"{when}","sandbox":"{sandbox}","model":"{model}","path":"/v1/messages","status":{status},'
            f'"received":{received},"sent":{sent},"first_byte":0.1,"seconds":0.2}}\n')


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


class TestActivity:
    def test_no_log_is_nobody(self, path):
        assert log.activity(str(path)) == {}

    def test_the_last_line_of_each_sandbox_counts(self, path):
        path.write_text(line("ana/main", ago(500)) + line("bo/main", ago(90)) + line("ana/main", ago(60)))

        found = log.activity(str(path))

        assert found["ana/main"] == pytest.approx(60, abs=3)
        assert found["bo/main"] == pytest.approx(90, abs=3)

    def test_a_log_that_was_just_rotated_is_read_on_in_the_one_before(self, path):
        Path(f"{path}.1").write_text(line("ana/main", ago(500)))
        path.write_text(line("bo/main", ago(60)))

        assert set(log.activity(str(path))) == {"ana/main", "bo/main"}

    def test_what_reached_no_model_is_no_activity(self, path):
        path.write_text(line(model=""))

        assert log.activity(str(path)) == {}

    def test_a_time_to_come_is_now(self, path):
        path.write_text(line(when=ago(-500)))

        assert log.activity(str(path)) == {"ana/main": 0.0}

    def test_of_a_huge_log_only_the_end_is_read(self, path):
        path.write_text(line("old/main") + line("bo/main") * 120_000)
        assert path.stat().st_size > log.TAIL

        started = time.monotonic()
        found = log.activity(str(path))

        assert set(found) == {"bo/main"}
        assert time.monotonic() - started < 5


class TestTotals:
    def test_days_are_those_of_utc_over_all_files(self, path):
        Path(f"{path}.1").write_text(line(when="2026-01-31T23:30:00-02:00", status=429))
        path.write_text(line(when="2026-02-01T12:00:00+00:00") + "x\n{}\n"
                        + line("bo/main", "2026-02-01T12:00:00+00:00"))

        assert sorted(log.totals(str(path))) == [
            ["2026-02-01", "ana/main", "paid", 2, 1, 200, 2000], ["2026-02-01", "bo/main", "paid", 1, 0, 100, 1000]]

    def test_what_reached_no_model_is_not_counted(self, path):
        path.write_text(line(model=""))

        assert log.totals(str(path)) == []

    def test_the_answer_follows_its_nonce(self, path, capsys):
        path.write_text(line())

        log.main({"log": str(path), "nonce": "n0nce"})

        assert json.loads(capsys.readouterr().out.partition("\nn0nce\n")[2])[0][:2] == ["2026-01-31", "ana/main"]


def message(**usage: Any) -> str:
    return json.dumps({"type": "message", "timestamp": "2026-01-31T12:00:00.000Z",
                       "message": {"role": "assistant", "usage": usage}}) + "\n"


class TestTokens:
    def test_all_messages_of_all_sessions_are_added_by_day(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "one.jsonl").write_text(message(input=10, output=5) + message(input=1, cacheRead=7))
        (tmp_path / "two.jsonl").write_text(message(input=100, output=50) + "{}\n")

        assert main(str(tmp_path)) == {
            "2026-01-31": {"input": 111, "output": 55, "cache_read": 7, "cache_write": 0}}

    @pytest.mark.parametrize("content", [
        '{"usage"', '"usage"\n', '{"message": {"usage": 3}, "timestamp": "2026-01-31"}\n', message(input="x"),
        '{"message": {"usage": {"input": 1}}, "timestamp": "../../etc"}\n', message(input=float("inf")),
    ])
    def test_lines_that_are_none_are_passed_over(self, tmp_path, content):
        (tmp_path / "one.jsonl").write_text(content)

        assert main(str(tmp_path)) == {}

    def test_a_link_is_not_followed(self, tmp_path):
        (tmp_path / "elsewhere").write_text(message(input=10))
        (tmp_path / "sessions").mkdir()
        (tmp_path / "sessions" / "one.jsonl").symlink_to(tmp_path / "elsewhere")

        assert main(str(tmp_path / "sessions")) == {}


@pytest.mark.parametrize(("said", "believed"), [
    (None, []), ([], []), ({"nonsense": {"input": 1}}, []), ({"2026-01-31": 7}, []),
    ({"2026-01-31": {"input": 1, "evil": 2}}, [("2026-01-31", {"input": 1})]),
    ({"2026-01-31": {"input": -5, "output": 1 << 80}}, [("2026-01-31", {"input": 0, "output": MOST})]),
    ({"2026-01-31": {"input": True, "output": "9"}}, [("2026-01-31", {})]),
])
def test_a_sandboxs_word_is_cut_down_to_what_can_be_numbers(said, believed):
    assert list(_said(Did(box(), "farm-1", said))) == believed


def test_a_sandboxs_word_is_marked_and_kept_apart_from_what_the_gateway_counted():
    row = Row("2026-01-31", "ana")
    row.add(2, 1, 300, 4000)
    row.say({"input": 5})
    row.say({"input": 6, "output": 1})

    assert row.as_json() == {
        "day": "2026-01-31", "developer": "ana", "requests": 2, "failed": 1, "received": 300, "sent": 4000,
        "tokens_by_the_sandboxes_word": {"input": 11, "output": 1}}
