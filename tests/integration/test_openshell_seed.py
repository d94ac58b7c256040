"""What people type by hand against a gateway that pifleet provisioned, word for word."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from tests.integration.openshell import until
from tests.integration.openshell_outside import ASK, JSON
from tests.integration.shells import Shells

HOME = "/root/seed"
URL = "https://127.0.0.1:17670"
# A client brings its certificates itself: the command has none for a gateway of any name but its own.
CERTIFICATES = f"""
set -e; mtls={HOME}/.config/openshell/gateways/farm/mtls; mkdir -p $mtls {HOME}/repo; echo mine > {HOME}/repo/file
cp /var/lib/pifleet/openshell/client/config/openshell/gateways/pifleet/mtls/* $mtls
"""


class Person:
    """Somebody with a shell on the gateway's host."""

    def __init__(self, shells: Shells) -> None:
        self.shells = shells

    def type(self, line: str) -> str:
        return self.shells.as_root(f"cd {HOME} && HOME={HOME} NO_COLOR=1 {line} 2>&1 < /dev/null")


@pytest.fixture(scope="module")
def person(shells: Shells) -> Iterator[Person]:
    shells.as_root(CERTIFICATES)
    made = Person(shells)
    yield made
    shells.as_root(f"cd {HOME} && HOME={HOME} openshell sandbox delete pi-sandbox; rm -rf {HOME}")


def test_the_seeds_commands_work_as_they_are_written(person: Person) -> None:
    person.type(f"openshell gateway add {URL} --local --name farm")
    person.type("openshell gateway select farm")
    person.type("openshell sandbox create --name pi-sandbox --from pi -- pi")
    person.type("openshell sandbox upload pi-sandbox ./repo /workspace")
    person.type("openshell sandbox download pi-sandbox /workspace/repo ./back")

    assert "0.87.1" in person.type("openshell sandbox exec -n pi-sandbox -- pi --version")
    assert person.type("cat back/file") == "mine"
    until(lambda: "Ready" in person.type("openshell sandbox list"))


def test_a_provider_by_hand_keeps_its_key_outside(person: Person) -> None:
    model = person.shells.lab.model
    person.type(f"ANTHROPIC_API_KEY=by-hand openshell provider create --name mine --type anthropic "
                f"--credential ANTHROPIC_API_KEY --config ANTHROPIC_BASE_URL={model.url}")
    person.type("openshell inference set --provider mine --model by-hand-1 --no-verify")
    model.forget()
    body = json.dumps({"model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "SAY seed"}]})
    words = ["python3", "-c", ASK, "https://inference.local/v1/messages", body, json.dumps(JSON)]
    line = f"openshell sandbox exec -n pi-sandbox -- {shlex.join(words)}"
    until(lambda: person.type(line).startswith("200"), seconds=60)  # a route takes some seconds to arrive
    said = person.type(line)

    assert "seed" in said
    assert "by-hand" in str(model.requests()[-1]["auth"])
    assert "by-hand" not in person.type("openshell sandbox exec -n pi-sandbox -- env")


def test_the_fleets_own_sandboxes_are_not_disturbed(person: Person) -> None:
    assert person.shells.plan().json["steps"] == []
    assert "ana-main" in person.type("openshell sandbox list --all-workspaces")
