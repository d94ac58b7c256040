"""Several models of different providers in one sandbox: the real pi speaks each API through the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pifleet.fleet import Model
from pifleet.operate import ALL
from pifleet.secret import SecretSource
from pifleet.usage import usage
from tests.gateway.place import ROLE, Place, place, usable, wait
from tests.integration import boxes
from tests.integration.kept import KEY, Kept, kept

pytestmark = pytest.mark.skipif(
    not boxes.image()[0] or not usable(), reason="no sandbox image (io.pifleet.image) on this engine, or no nginx")

APIS = {"claude": "anthropic-messages", "gpt": "openai-completions", "next": "openai-responses"}


def provider(here: Place) -> int:
    """A scripted model on a port, which takes one key only and writes down what it was asked."""
    (here.root / "key").write_text(KEY)
    process = here.spawn(
        sys.executable, ROLE / "scripted_model.py", "--port", "0", "--log", here.root / "asked", "--require-key",
        here.root / "key", stdout=subprocess.PIPE, text=True)
    return int(process.stdout.readline().rpartition(":")[2])


@pytest.fixture(scope="module")
def box() -> Iterator[Kept]:
    with place() as here:
        port = provider(here)
        models = [Model(name, api, f"http://127.0.0.1:{port}/v1" if "openai" in api else f"http://127.0.0.1:{port}",
                        SecretSource("env", "KEY"), (f"{name}-1", f"{name}-2")) for name, api in APIS.items()]
        with kept(here, models) as made:
            yield made


def written(box: Kept) -> list[dict[str, Any]]:
    """The gateway's log, once it has a line for each request that the provider saw."""
    wait(lambda: len(box.here.log()) == len(asked(box)))
    return box.here.log()


def asked(box: Kept) -> list[dict[str, str]]:
    lines = Path(box.here.root, "asked").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", APIS)
def test_pi_reaches_each_model_with_the_key_that_it_never_sees(box, name):
    said = box.inside("pi", "-p", "--no-session", "--provider", f"pifleet-{name}", "--model", f"{name}-2",
                      f"SAY hello from {name}")

    last = asked(box)[-1]
    assert f"hello from {name}" in said
    assert last["model"] == f"{name}-2"
    assert KEY in str(last["auth"])
    assert KEY not in box.inside("sh", "-c", "env; cat /opt/pifleet/etc/*.json")


def test_pi_starts_with_the_first_and_lists_all(box):
    box.inside("pi", "-p", "--no-session", "SAY hello")

    assert asked(box)[-1]["model"] == "claude-1"
    listed = box.inside("pi", "--list-models")
    assert all(f"{name}-{number}" in listed for name in APIS for number in (1, 2))


def test_each_request_is_in_the_log_by_its_model(box):
    before = written(box)
    box.inside("pi", "-p", "--no-session", "--provider", "pifleet-gpt", "--model", "gpt-1", "SAY hello")

    [line] = written(box)[len(before):]
    assert (line["model"], line["path"], line["status"]) == ("gpt", "/chat/completions", 200)


def test_usage_tells_what_the_gateway_counted_and_what_pi_says(box):
    box.inside("pi", "-p", "SAY hello with a session")
    lines = written(box)

    found = usage(box.fleet, [box.sandbox], ALL)

    [row] = found.rows
    assert found.troubles == []
    assert (row.developer, row.failed) == (box.sandbox.developer, 0)
    assert row.requests == len(lines)
    assert row.tokens == {"input": 10, "output": 5, "cache_read": 0, "cache_write": 0}
