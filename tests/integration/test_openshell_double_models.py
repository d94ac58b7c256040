"""Models behind `inference.local` in the OpenShell double's sandboxes, with keys that stay outside.

Each test is a fact that was seen with real binaries, and asks those where the environment names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.openshell import Shell, until
from tests.integration.openshell_outside import JSON, Model, ask, model, provide
from tests.lab.openshell.double import Double

MESSAGES = json.dumps({"model": "whatever", "max_tokens": 64,
                       "messages": [{"role": "user", "content": "SAY hello from outside"}]})


@pytest.fixture(scope="module")
def outside(gateway: Double, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with model(tmp_path_factory.mktemp("model")) as made:
        yield made


def test_a_sandbox_reaches_its_model_with_a_key_that_it_never_sees(
        openshell: Shell, gateway: Double, outside: Model, box: str) -> None:
    provide(openshell, "ours", "anthropic", f"{outside.url}/v1", "key-kept-outside")
    said = openshell.ok("inference", "set", "--provider", "ours", "--model", "model-1").said
    assert f"{outside.url}/v1/messages" in said
    until(lambda: "hello from outside" in ask(openshell, box, "https://inference.local/v1/messages", MESSAGES, JSON))
    last = outside.requests()[-1]
    assert "key-kept-outside" in json.dumps(last["auth"])
    assert "model-1" in json.dumps(last)
    assert "key-kept-outside" not in openshell.exec(box, "env").text
    for path in gateway.root.rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            assert b"key-kept-outside" not in path.read_bytes(), path


def test_another_wire_format_is_refused(openshell: Shell, box: str) -> None:
    said = ask(openshell, box, "https://inference.local/v1/chat/completions", MESSAGES, JSON)
    assert said.startswith("400 ")
    assert "no compatible inference route available" in said


def test_what_is_no_model_request_is_refused(openshell: Shell, box: str) -> None:
    assert ask(openshell, box, "https://inference.local/admin", MESSAGES, JSON).startswith("403 ")


def test_a_route_is_verified_from_the_gateways_host_unless_told_not_to(openshell: Shell) -> None:
    provide(openshell, "nowhere", "openai", "http://127.0.0.1:1/v1", "any")
    done = openshell("inference", "set", "--provider", "nowhere", "--model", "m", "--system")
    assert (done.code, "failed to verify inference endpoint" in done.said) == (1, True)
    openshell.ok("inference", "set", "--provider", "nowhere", "--model", "m", "--system", "--no-verify")


def test_each_workspace_has_its_own_key_and_model(openshell: Shell, outside: Model) -> None:
    place = ("--workspace", "ana")
    openshell.ok("workspace", "create", "--name", "ana")
    assert "already exists" in openshell("workspace", "create", "--name", "ana").said
    provide(openshell, "ours", "anthropic", outside.url, "key-of-ana", *place)
    openshell.ok("inference", "set", "--provider", "ours", "--model", "model-ana", *place)
    openshell.ok("sandbox", "create", "--name", "box", "--from", "pi", "--detach", *place)
    until(lambda: "hello" in ask(openshell, "box", "https://inference.local/v1/messages", MESSAGES, JSON, *place))
    assert "key-of-ana" in json.dumps(outside.requests()[-1])
    openshell.ok("inference", "set", "--provider", "ours", "--model", "model-new", *place)

    def uses_it() -> bool:
        ask(openshell, "box", "https://inference.local/v1/messages", MESSAGES, JSON, *place)
        return "model-new" in json.dumps(outside.requests()[-1])

    until(uses_it)
    done = openshell("workspace", "delete", "ana")
    assert (done.code, "still contains resources: sandbox, provider" in done.said) == (1, True)
    late = openshell("sandbox", "create", "--name", "late", "--from", "pi", "--detach", *place)
    assert "is being deleted" in late.said
    openshell.ok("sandbox", "delete", "box", *place)
    openshell.ok("provider", "delete", "ours", *place)
    openshell.ok("workspace", "delete", "ana")
