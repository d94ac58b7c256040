"""Looking at hosts: what a host that misbehaves becomes, and what never leaves the controller."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import pytest

from pifleet.errors import Trouble
from pifleet.events import Event
from pifleet.fleet import Connection, Host
from pifleet.observe import SHAPE, Observed, observe, payload

EMPTY = {key: [] for key in ("users", "dirs", "files", "secrets", "packages", "services", "sockets", "filters",
                             "clients", "sandboxes")}
SPEC = {"fleet": "acme", "host": "here", "root": "/var/lib/pifleet", "image": {"name": "pifleet/pi:none"}, **EMPTY}
LOCAL = Host("here", ("pifleet_docker",), Connection(local=True))
RIGHT = {"probe": 1, **{key: kind() for key, kind in SHAPE.items()}}


@pytest.fixture
def python(tmp_path, monkeypatch):
    """A host whose python3 is a shell script of the test's choice; root needs no sudo there."""
    def answering(script: str) -> Host:
        for name, text in {"id": "echo 0", "its-python": script}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return replace(LOCAL, connection=replace(LOCAL.connection, python="its-python"))
    return answering


def looked(host: Host) -> Observed | Trouble:
    return observe({"here": SPEC}, {"here": host}, nonce="n0nce")["here"]


def saying(data: object, before: str = "") -> str:
    return f"cat >/dev/null; printf '%s\\nn0nce\\n%s' '{before}' '{json.dumps(data)}'"


def test_an_answer_of_the_right_shape_is_what_was_observed(python):
    assert looked(python(saying(RIGHT))) == Observed("here", RIGHT)


def test_a_greeting_before_the_answer_is_skipped(python):
    assert looked(python(saying(RIGHT, before="Welcome!"))) == Observed("here", RIGHT)


@pytest.mark.parametrize(("data", "saw"), [
    ({**RIGHT, "probe": 2}, "not an answer of probe 1"),
    ([], "not an answer of probe 1"),
    ({**RIGHT, "memory": "4 GB"}, "memory is no int"),
    ({key: value for key, value in RIGHT.items() if key != "users"}, "users is no dict"),
])
def test_an_answer_of_a_wrong_shape_is_a_trouble(python, data, saw):
    answer = looked(python(saying(data)))
    assert isinstance(answer, Trouble)
    assert (answer.headline, answer.saw) == ("here: the probe's answer has a wrong shape", saw)


def test_a_torn_answer_is_a_trouble(python):
    answer = looked(python("cat >/dev/null; printf '\\nn0nce\\n{\"probe\": 1,'"))
    assert isinstance(answer, Trouble)
    assert answer.saw == "no JSON document"


def test_a_host_without_python_says_what_to_install(python):
    host = python("true")
    answer = looked(replace(host, connection=replace(host.connection, python="no-such-python")))
    assert isinstance(answer, Trouble)
    assert answer.headline == "here: no-such-python is not there"
    assert answer.try_.startswith("install python3 on here")


def test_a_probe_that_fails_is_quoted_by_its_last_line(python):
    answer = looked(python("cat >/dev/null; echo Traceback >&2; echo 'OSError: no space' >&2; exit 1"))
    assert isinstance(answer, Trouble)
    assert (answer.headline, answer.saw) == ("here: the probe did not run", "OSError: no space")


def test_a_connection_that_breaks_is_told_as_such(python):
    answer = looked(python("cat >/dev/null; exit 255"))
    assert isinstance(answer, Trouble)
    assert answer.headline == "here: the connection broke while the host was looked at"


def test_one_host_that_fails_leaves_the_others_and_the_order_alone(python):
    host = python(saying(RIGHT))
    hosts = {"a": replace(host, name="a"), "b": Host("b", (), Connection(address="no-such-host.invalid")),
             "c": replace(host, name="c")}
    said: list[Event] = []
    answers = observe(dict.fromkeys(hosts, SPEC), hosts, on_event=said.append, nonce="n0nce")
    assert list(answers) == ["a", "b", "c"]
    assert [type(answer) for answer in answers.values()] == [Observed, Trouble, Observed]
    assert {(event.host, event.state) for event in said if event.state != "working"} == {
        ("a", "ok"), ("b", "unreachable"), ("c", "ok")}


def test_no_hosts_give_no_answers():
    assert observe({}, {}) == {}


def test_the_contents_of_files_stay_on_the_controller():
    sent = zlib.decompress(payload({**SPEC, "files": [{"path": "/x", "content": "long text"}]}, "n0nce"))
    assert json.loads(sent)["request"]["spec"]["files"] == [{"path": "/x"}]
    assert b"long text" not in sent
