"""The egress proxy's programs on a host: its log, with what a sandbox can make squid say, and the resolvers' rules."""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILES = Path(__file__).parents[2] / "roles/egress_proxy/files"


def logged(folder: Path, *lines: Any) -> None:
    """Hand lines to the daemon as squid does: `L` before each, other commands in between."""
    words = "".join(f"L{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    subprocess.run([sys.executable, "-I", FILES / "egress_log", folder], input=f"b1\nr1\n{words}F\nR\nO\n", text=True,
                   check=True)


def note(**changes: Any) -> dict[str, Any]:
    return {"time": "2026-01-01T00:00:00+00:00", "sandbox": "ana/main", "id": "ana-main", "name": "a.com", **changes}


def test_each_sandbox_has_a_log_of_its_own(tmp_path: Path) -> None:
    logged(tmp_path, note(), note(id="bo-main", name="b.com"), note())

    assert {path.name for path in tmp_path.iterdir()} == {"ana-main.jsonl", "bo-main.jsonl"}
    lines = (tmp_path / "ana-main.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{k: v for k, v in note().items() if k != "id"}] * 2


def test_a_log_keeps_two_megabytes_at_most_and_the_newest(tmp_path: Path) -> None:
    logged(tmp_path, *(note(name="x" * 1000 + str(number)) for number in range(4000)))

    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) < 2.1 * (1 << 20)
    assert "x3999" in (tmp_path / "ana-main.jsonl").read_text()


@pytest.mark.parametrize("own", ["../../etc/passwd", "/etc/x", "", "-", "a" * 40, "a\nb", None, 7.5, ["x"]])
def test_no_id_leads_out_of_the_folder(tmp_path: Path, own: Any) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    logged(folder, note(id=own))

    assert [path.name for path in folder.iterdir()] == ["unknown.jsonl"]
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_what_is_no_note_is_left_out_and_the_next_one_is_not(tmp_path: Path) -> None:
    logged(tmp_path, "{", "[]", "7", "", '"x"', note())

    assert [len(path.read_text().splitlines()) for path in tmp_path.iterdir()] == [1]


@pytest.fixture(scope="module")
def proxy() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("egress_proxy", str(FILES / "egress_proxy"))
    spec = importlib.util.spec_from_loader("egress_proxy", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(("text", "told"), [
    ("nameserver 10.0.0.2\nsearch x\nnameserver 127.0.0.53\n", ("10.0.0.2, 127.0.0.53", "::1")),
    ("nameserver fd00::1%eth0\n", ("127.0.0.1", "fd00::1")),
    ("# nothing\nnameserver\nnameserver x.com\noptions y\n", ("127.0.0.1", "::1")),
    (None, ("127.0.0.1", "::1")),
])
def test_the_rules_open_the_hosts_resolvers_and_nothing_else_there(
    proxy: ModuleType, monkeypatch: pytest.MonkeyPatch, text: str | None, told: tuple[str, str]
) -> None:
    def opened(*_: Any, **__: Any) -> io.StringIO:
        if text is None:
            raise FileNotFoundError
        return io.StringIO(text)

    monkeypatch.setattr(builtins, "open", opened)

    assert proxy.defined("RESOLVERS", proxy.resolvers()) == (
        "define RESOLVERS4 = {{ {} }}\ndefine RESOLVERS6 = {{ {} }}\n".format(*told))


@pytest.mark.parametrize(("text", "told"), [
    ("\n", ("", "", False)), ("proxy.lan:3128\n", ("proxy.lan", "3128", False)),
    ("[fd00::1]:3128 login\n", ("fd00::1", "3128", True)),
])
def test_the_proxy_on_the_way_out_is_read_from_its_file(
    proxy: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, told: tuple[str, str, bool]
) -> None:
    monkeypatch.setattr(proxy, "PARENT", str(tmp_path / "parent"))
    (tmp_path / "parent").write_text(text)

    assert proxy.parent() == told


def test_addresses_that_a_name_leads_to_by_turns_are_all_remembered_and_those_of_another_name_are_not(
    proxy: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = {"proxy.lan": iter(["192.0.2.1", "192.0.2.2", None]), "other.lan": iter(["192.0.2.3"])}

    def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
        address = next(answers[name])
        if address is None:
            raise OSError
        return [(None, None, None, None, (address, 0))]

    def looked(name: str) -> frozenset[str]:
        (tmp_path / "parent").write_text(f"{name}:3128\n")
        parent.look(name)
        return frozenset(parent.addresses())

    monkeypatch.setattr(proxy, "PARENT", str(tmp_path / "parent"))
    monkeypatch.setattr(proxy.socket, "getaddrinfo", getaddrinfo)
    parent = proxy.Parent()

    assert [looked(name) for name in ("proxy.lan", "proxy.lan", "proxy.lan", "other.lan")] == [
        {"192.0.2.1"}, {"192.0.2.1", "192.0.2.2"}, {"192.0.2.1", "192.0.2.2"}, {"192.0.2.3"}]
    (tmp_path / "parent").write_text("third.lan:3128\n")
    assert parent.addresses() == frozenset()


def test_a_login_goes_to_squid_in_a_file_of_its_own_with_what_would_mean_something_else_encoded(
    proxy: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PARENT", "LOGIN", "PARENT_CONF"):
        monkeypatch.setattr(proxy, name, str(tmp_path / name))
    monkeypatch.setattr(proxy, "USER", "root")
    (tmp_path / "PARENT").write_text("proxy.lan:3128 login\n")
    (tmp_path / "LOGIN").write_text('login "ana:p s:%@#";\n')
    monkeypatch.setattr(proxy.os, "fchown", lambda *_: None)

    proxy.write_parent()

    assert (tmp_path / "PARENT_CONF").read_text() == (
        "cache_peer proxy.lan parent 3128 0 no-query no-digest default login=ana:p%20s%3A%25%40%23\n")
    assert oct((tmp_path / "PARENT_CONF").stat().st_mode)[-3:] == "640"
