"""How programs are started in OpenShell's sandboxes: by the stanza that the command prints, through one master each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from pifleet.connection import Done
from pifleet.errors import HostFailed, SandboxFailed
from pifleet.fleet import Connection, Host
from pifleet.fleet import Gateway as Others
from pifleet.sandbox.openshell import OpenShellDriver
from tests.unit.fleets import box

STANZA = """Host openshell-{name}.{workspace}
    User sandbox
    ProxyCommand /usr/bin/openshell ssh-proxy --gateway-name pifleet --name {name} --workspace {workspace}
"""
UNIX_PATH = 108  # sun_path, unix(7)


class Gateway:
    """A link to a gateway's host on which only the openshell command answers, as 0.0.111 prints it."""

    alive = True

    def __init__(self, *ids: str, code: int = 0) -> None:
        self.ids, self.code = list(ids), code

    def run(self, argv: Sequence[str], **_: Any) -> Done:
        words = list(argv)
        if self.code:
            return Done(self.code, b"", b"Error:   x connection refused\n")
        if "ssh-config" in words:
            return Done(0, STANZA.format(name=words[-1], workspace=words[words.index("--workspace") + 1]).encode(), b"")
        names = [("ana-main", "Ready"), ("ana-two", "Stopped")]
        return Done(0, json.dumps([{"name": name, "workspace": "pi-ana", "phase": phase, "id": found}
                                   for (name, phase), found in zip(names, self.ids, strict=False)]).encode(), b"")

    def stream(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def close(self) -> None:
        pass


OWN = Host("farm-3", ("pifleet_openshell",), Connection(local=True))
OTHERS = Host("a" * 200, ("pifleet_openshell_gateways",), Connection(local=True), Others("http://127.0.0.1:17670"))


def driver(gateway: Gateway, host: Host = OWN) -> OpenShellDriver:
    made = OpenShellDriver(host)
    made._link = gateway  # type: ignore[assignment]
    return made


def options(gateway: Gateway, title: str, host: Host = OWN) -> dict[str, str]:
    argv = driver(gateway, host).terminal_argv(box(title, pattern="openshell"), ["true"], tty=False)
    said = [word for number, word in enumerate(argv) if argv[number - 1] == "-o"]
    return dict(word.split("=", 1) for word in said)


def test_every_sandbox_has_a_master_of_its_own_and_one_made_anew_has_another() -> None:
    ids = ("11111111-aaaa", "22222222-bbbb")
    first, other = (options(Gateway(*ids), title)["ControlPath"] for title in ("ana/main", "ana/two"))
    again = options(Gateway("33333333-cccc"), "ana/main")["ControlPath"]

    assert len({first, other, again}) == 3
    assert options(Gateway(*ids), "ana/main")["ControlPath"] == first


@pytest.mark.parametrize("host", [OWN, OTHERS], ids=["own", "others"])
def test_a_masters_path_fits_into_a_sockets_name(host: Host) -> None:
    path = options(Gateway("11111111-2222-3333-4444-555555555555"), "ana/main", host)["ControlPath"]

    assert "%" not in path
    assert len(path) + 17 < UNIX_PATH  # ssh writes a name of its own with 17 more characters first


@pytest.mark.parametrize("ids", [(), ("11111111-aaaa",)], ids=["gone", "in phase Error"])
def test_what_is_broken_on_a_gateway_of_others_is_said_to_be_out_of_reach(ids: tuple[str, ...]) -> None:
    class Broken(Gateway):
        def run(self, argv: Sequence[str], **options: Any) -> Done:
            done = super().run(argv, **options)
            return Done(0, done.stdout.replace(b"Ready", b"Error"), b"")

    with pytest.raises(SandboxFailed) as raised:
        driver(Broken(*ids), OTHERS).open_again(box("ana/main", pattern="openshell"))

    assert "others run the gateway" in raised.value.trouble.saw


def test_compression_is_never_asked_for_and_no_question_either() -> None:
    found = options(Gateway("1"), "ana/main")

    assert found["BatchMode"] == "yes"
    assert "Compression" not in found
    assert found["ProxyCommand"].endswith("--name ana-main --workspace pi-ana")


def test_words_arrive_as_one_quoted_line_after_the_alias() -> None:
    argv = driver(Gateway("1")).terminal_argv(box("ana/main", pattern="openshell"), ["printf", "a b", "$x"], tty=False)

    assert argv[argv.index("--") + 1 :][-2] == "openshell-ana-main.pi-ana"
    assert argv[-1].endswith("printf 'a b' '$x'")


def test_a_program_of_ours_ends_itself_and_a_persons_command_has_no_end_but_its_own() -> None:
    sandbox = box("ana/main", pattern="openshell")
    ours: Any = driver(Gateway("1")).stream(sandbox, ["python3", "-c", "pass"])
    theirs = driver(Gateway("1")).terminal_argv(sandbox, ["sleep", "100000"], tty=False)

    assert "timeout --kill-after=10 90000 python3 -c pass" in ours[-1]
    assert "timeout" not in theirs[-1]


@pytest.mark.parametrize(("title", "state"), [
    ("ana/main", "running"), ("ana/two", "stopped"), ("ana/three", "missing")])
def test_the_gateways_phases_are_told_in_our_words(title: str, state: str) -> None:
    assert driver(Gateway("1", "2")).state(box(title, pattern="openshell")) == state


def test_one_that_does_not_run_is_refused_with_what_to_type() -> None:
    with pytest.raises(SandboxFailed) as refused:
        driver(Gateway("1", "2")).require_running(box("ana/two", pattern="openshell"))

    assert refused.value.trouble.try_ == "pifleet start ana/two"


def test_a_gateway_that_does_not_answer_is_the_hosts_failure() -> None:
    with pytest.raises(HostFailed) as failed:
        driver(Gateway(code=1)).state(box("ana/main", pattern="openshell"))

    assert "connection refused" in failed.value.trouble.saw
