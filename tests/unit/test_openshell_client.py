"""How a gateway's answers are read on its host: texts as the real 0.0.111 command prints them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.hostside import together

openshell, openshell_seen = together("openshell", "openshell_seen")

ROUTE = """\x1b[1m\x1b[36mInference:\x1b[39m\x1b[0m

  \x1b[2mWorkspace:\x1b[0m pi-ana
  \x1b[2mProvider:\x1b[0m pifleet-0123456789ab
  \x1b[2mModel:\x1b[0m claude-sonnet-4-5
  \x1b[2mVersion:\x1b[0m 3
  \x1b[2mTimeout:\x1b[0m 60s (default)

\x1b[1m\x1b[36mSystem inference:\x1b[39m\x1b[0m

  \x1b[2mProvider:\x1b[0m somebody-elses
  \x1b[2mModel:\x1b[0m another
"""
OWN, SYSTEM = ROUTE.index("  \x1b[2mWorkspace"), ROUTE.index("\n\x1b[1m\x1b[36mSys")
NO_ROUTE = f"{ROUTE[:OWN]}  Not configured\n{ROUTE[SYSTEM:]}"
STANZA = """Host openshell-ana-main.pi-ana
    User sandbox
    StrictHostKeyChecking no
    ProxyCommand /usr/bin/openshell ssh-proxy --gateway-name pifleet --name ana-main --workspace pi-ana
"""


class Answering(openshell.Client):  # type: ignore[misc,name-defined]
    """A client whose command answers with a text."""

    def __init__(self, text: str) -> None:
        super().__init__({"bin": "/nonexistent", "name": "pifleet"})
        self.text = text

    def call(self, *_: str, **__: Any) -> str:
        return self.text


def test_the_route_of_a_workspace_is_read_and_not_that_of_the_system() -> None:
    assert Answering(ROUTE).route("pi-ana") == {"provider": "pifleet-0123456789ab", "model": "claude-sonnet-4-5"}


def test_no_route_is_none_whatever_the_system_has() -> None:
    assert Answering(NO_ROUTE).route("pi-ana") is None


def test_ssh_gets_the_stanza_as_options_and_the_command_as_one_argument() -> None:
    argv = Answering(STANZA).ssh("pi-ana", "ana-main", "true")

    assert argv[-3:] == ["--", "openshell-ana-main.pi-ana", "true"]
    assert "StrictHostKeyChecking=no" in argv
    assert any(word.startswith("ProxyCommand=/usr/bin/openshell ssh-proxy ") for word in argv)


@pytest.mark.parametrize(("text", "wanted"), [
    (b"Error:   \x1b[31m\xc3\x97\x1b[0m sandbox is not ready\n", "Error: sandbox is not ready"),
    (b"a\x1b]0;title\x07b\n", "a ]0;title b"),
    (b"", ""),
])
def test_an_error_is_shown_without_colours_and_control_characters(text: bytes, wanted: str) -> None:
    assert " ".join(openshell.said(text).split()) == wanted


class Starting(openshell.Client):  # type: ignore[misc,name-defined]
    """A client of a gateway that answers after some questions, and then finds its sandboxes again, one each time."""

    def __init__(self, silent: int, found_again: int, version: str = "0.0.111") -> None:
        super().__init__({"bin": "/nonexistent", "version": "0.0.111", "generation": "0.0"})
        self.silent, self.lost, self.version, self.asked = silent, found_again, version, 0

    def status(self) -> dict[str, object]:
        self.silent -= 1
        return {"answers": self.silent < 0, "version": self.version, "error": "not yet"}

    def require(self) -> None:
        if not self.status()["answers"]:
            raise openshell.ShellError("the gateway does not answer")

    def sandboxes(self) -> list[dict[str, str]]:
        self.asked, self.lost = self.asked + 1, self.lost - 1
        return [{"name": "ana-main", "phase": "Ready" if self.lost < 0 else "Provisioning"}]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openshell, "PAUSE", 0)


@pytest.mark.usefixtures("no_pause")
def test_a_gateway_that_starts_again_is_waited_for_until_its_sandboxes_are_there() -> None:
    gateway = Starting(silent=2, found_again=3)
    gateway.settle(60)

    assert (gateway.silent < 0, gateway.asked) == (True, 4)


@pytest.mark.usefixtures("no_pause")
def test_a_gateway_that_stays_silent_is_an_error_and_a_slow_sandbox_is_none() -> None:
    with pytest.raises(openshell.ShellError):
        Starting(silent=10**9, found_again=0).settle(0.01)
    Starting(silent=0, found_again=10**9).settle(0.01)


NOWHERE = {"bin": "/nonexistent", "name": "x", "client": "/", "client_user": "nobody-here", "until": 0}


def test_a_command_that_is_not_there_is_an_error_and_no_answer() -> None:
    with pytest.raises(openshell.ShellError):
        openshell.Client(NOWHERE).call("status")


@pytest.mark.parametrize(("until", "error"), [
    (1735776000, "the client's certificate ended on 2025-01-02: name a new one in pifleet_gateway_tls"),
    (0, "the openshell command did not start"), (99999999999, "the openshell command did not start"),
])
def test_a_gateway_that_does_not_answer_a_client_whose_certificate_has_ended_is_known_by_that(
    until: int, error: str
) -> None:
    said = openshell.Client({**NOWHERE, "until": until}).status()

    assert not said["answers"]
    assert said["error"].startswith(error)


@pytest.mark.parametrize(("text", "words", "wanted"), [
    ('{"scope": "global", "settings": {}}', ("--global",), {}),
    ('{"scope": "global", "settings": {"ocsf_json_enabled": true}}', ("--global",), {"ocsf_json_enabled": True}),
    ('{"settings": {"a": {"scope": "unset", "value": "<unset>"}, "b": {"scope": "sandbox", "value": "auto"}, '
     '"c": {"scope": "global", "value": "true"}}}', ("ana-main",), {"b": "auto"}),
])
def test_only_what_somebody_set_there_is_told(text: str, words: tuple[str, ...], wanted: dict[str, object]) -> None:
    assert Answering(text).settings(*words) == wanted


def test_the_order_of_paths_in_a_policy_means_nothing() -> None:
    one, other = ({"filesystem_policy": {"read_only": paths}} for paths in (["/a", "/b"], ["/b", "/a"]))

    assert openshell_seen.fixed(one) == openshell_seen.fixed(other)
    assert openshell_seen.fixed(one) != openshell_seen.fixed({"filesystem_policy": {"read_only": ["/a"]}})
