"""Services kept by our own program, where there is no systemd; and the unit that systemd gets where there is one."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hostside import FOLDER, load, together

KEEP = FOLDER.parents[1] / "roles/service/files/keep"
AS_WANTED = {"running": True, "enabled": True, "defined": True}


@pytest.fixture
def services(tmp_path: Path) -> Any:
    """The module, with `keep` beside it, its folders below `tmp_path`, and a keep program that agrees."""
    module, keep = together("services", "keep")
    program = tmp_path / "keep"
    text = KEEP.read_text().replace('RUN = "/run/pifleet"', f'RUN = "{tmp_path}"')
    program.write_text(text.replace("PAUSE = 1", "PAUSE = 0.1"))
    keep.RUN = keep.LOGS = str(tmp_path)
    keep.KEEP = str(program)
    module.keep = keep
    return module


@pytest.fixture
def service(services: Any, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A service that writes its process id when it starts, and "hup" when it is told to reload."""
    said = tmp_path / "said"
    text = (
        f"import os, signal, time; out = open({str(said)!r}, 'a', buffering=1);"
        "signal.signal(signal.SIGHUP, lambda *_: out.write('hup\\n'));"
        "out.write(str(os.getpid()) + '\\n')\nwhile True: time.sleep(60)"
    )
    wanted = {"name": "s", "argv": [sys.executable, "-c", text], "user": "", "reload": "HUP"}
    yield wanted
    services.Keep().stop(wanted)


def said(tmp_path: Path) -> list[str]:
    return (tmp_path / "said").read_text().split() if (tmp_path / "said").exists() else []


def wait(ready: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_was_never_started_does_not_run(services: Any, service: dict[str, Any]) -> None:
    assert services.Keep().observe(service)["running"] is False


def test_a_started_service_is_seen_as_wanted(services: Any, service: dict[str, Any], tmp_path: Path) -> None:
    services.Keep().start(service)

    assert services.Keep().observe(service) == AS_WANTED


def test_a_crashed_process_comes_back(services: Any, service: dict[str, Any], tmp_path: Path) -> None:
    services.Keep().start(service)
    wait(lambda: said(tmp_path))
    os.kill(int(said(tmp_path)[0]), signal.SIGKILL)

    wait(lambda: len(said(tmp_path)) == 2)

    wait(lambda: services.Keep().observe(service) == AS_WANTED)


def test_a_killed_keeper_takes_its_process_along_and_is_seen_as_stopped(
    services: Any, service: dict[str, Any], tmp_path: Path
) -> None:
    services.Keep().start(service)
    wait(lambda: said(tmp_path))
    os.kill(int((tmp_path / "s.pid").read_text().split()[0]), signal.SIGKILL)

    wait(lambda: not Path(f"/proc/{said(tmp_path)[0]}").exists())

    assert services.Keep().observe(service)["running"] is False


def test_a_changed_definition_is_seen(services: Any, service: dict[str, Any]) -> None:
    services.Keep().start(service)

    assert services.Keep().observe({**service, "argv": [*service["argv"], "more"]})["defined"] is False


def test_a_reload_reaches_the_process(services: Any, service: dict[str, Any], tmp_path: Path) -> None:
    services.Keep().start(service)
    wait(lambda: said(tmp_path))

    services.Keep().reload(service)

    wait(lambda: "hup" in said(tmp_path))
    assert services.Keep().observe(service) == AS_WANTED


def test_a_stopped_service_leaves_no_process_and_no_pid_file(
    services: Any, service: dict[str, Any], tmp_path: Path
) -> None:
    services.Keep().start(service)
    wait(lambda: said(tmp_path))

    services.Keep().stop(service)

    assert not Path(f"/proc/{said(tmp_path)[0]}").exists()
    assert not (tmp_path / "s.pid").exists()


def test_somebody_elses_process_in_the_pid_file_is_not_ours(
    services: Any, service: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "s.pid").write_text(f"{os.getpid()} {os.getpid()}\n")

    assert services.Keep().observe(service)["running"] is False
    services.Keep().stop(service)  # and it is not ended: this test is it


def test_a_service_that_does_not_start_is_said_with_its_log(services: Any, tmp_path: Path) -> None:
    services.keep.SECONDS_TO_START = 0.5
    broken = {"name": "b", "argv": ["/nonexistent"], "user": "", "reload": ""}

    with pytest.raises(services.processes.ServiceError, match=r"b did not start; see .*/b\.log"):
        services.Keep().start(broken)

    wait(lambda: "cannot start /nonexistent" in (tmp_path / "b.log").read_text())
    services.Keep().stop(broken)
    assert not (tmp_path / "b.pid").exists()


@pytest.fixture
def reading(services: Any, service: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The service, which reads a file, started after that file was written."""
    (tmp_path / "conf").write_text("one")
    time.sleep(0.1)
    services.Keep().start(service)
    services.kept = services.Keep
    return {**service, "reads": [str(tmp_path / "conf")]}


def test_a_process_that_is_younger_than_its_files_knows_them(services: Any, reading: dict[str, Any]) -> None:
    assert services.observe(reading) == {**AS_WANTED, "current": True}


def test_a_file_that_changed_after_the_start_is_not_known(
    services: Any, reading: dict[str, Any], tmp_path: Path
) -> None:
    time.sleep(0.1)
    (tmp_path / "conf").write_text("two")
    os.utime(tmp_path / "conf", (0, 0))  # a time that anybody can set says nothing

    assert services.observe(reading) == {**AS_WANTED, "current": False}


def test_a_service_that_does_not_run_knows_nothing(services: Any, reading: dict[str, Any]) -> None:
    services.Keep().stop(reading)

    assert services.observe(reading)["current"] is False


def test_a_file_from_before_the_clock_was_set_back_says_nothing(
    services: Any, reading: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    time.sleep(0.1)
    (tmp_path / "conf").write_text("two")
    now = time.time()
    monkeypatch.setattr(services.time, "time", lambda: now - 3600)

    assert services.observe(reading)["current"] is True


def test_services_of_a_prefix_that_are_not_wanted_are_seen(services: Any, tmp_path: Path) -> None:
    services.kept = services.Keep
    for name in ("t-one", "t-two", "other"):
        (tmp_path / f"{name}.pid").write_text("1 1")

    assert services.others("t-", ["t-one"]) == ["t-two"]
    assert services.others("", []) == []


# The words of ExecStart, and how systemd.service(5) wants them written.
WORDS = {"plain": "plain", "two words": '"two words"', "50%": '"50%%"', "$HOME": '"$$HOME"', 'a"b': '"a\\"b"', "": '""'}


def test_systemd_gets_each_argument_as_one_word() -> None:
    text = load("systemd").unit({"name": "s", "argv": ["/bin/x", *WORDS], "user": "u", "reload": ""})

    assert f"ExecStart=/bin/x {' '.join(WORDS.values())}\n" in text
    assert "User=u\n" in text


def test_a_service_of_root_names_no_user() -> None:
    assert "User=" not in load("systemd").unit({"name": "s", "argv": ["/bin/x"], "user": "", "reload": ""})
