"""Owns writing: runs a playbook through ansible-runner on the hosts and parts that a plan names, and tells how it went.
It must not decide what is to be done, and nothing that it hands to Ansible carries a secret's value."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pifleet import content
from pifleet.converge import launch
from pifleet.converge.broker import Broker
from pifleet.converge.inventory import ansible_inventory, inventory_script
from pifleet.converge.listen import HostRun, Listener
from pifleet.desired import Spec
from pifleet.errors import HostFailed
from pifleet.events import Emit
from pifleet.fleet import Host
from pifleet.secret import Secret

# What a playbook run may inherit: enough to find programs, the home and an ssh agent. Keys live in other variables.
INHERITED = (
    "HOME", "KUBECONFIG", "LANG", "LC_ALL", "LOGNAME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "TERM", "TMPDIR",
    "USER", "XDG_RUNTIME_DIR",
)
FORKS = 20
SSH_ARGS = "-o ControlMaster=auto -o ControlPersist=30s -o ServerAliveInterval=10 -o ServerAliveCountMax=3"


@dataclass(frozen=True)
class Run:
    """What one playbook run did: a HostRun for every host asked for, and where it is kept (None: removed)."""

    hosts: Mapping[str, HostRun]
    kept: Path | None


def converge(
    specs: Mapping[str, Spec], hosts: Mapping[str, Host], secrets: Mapping[str, Secret], *,
    playbook: str = "site", emit: Emit, keep: bool = False,
) -> Run:
    """Run `pifleet.fleet.<playbook>` on the hosts of `specs`, each doing the parts that its spec names.

    Raises KeyboardInterrupt when the run was interrupted; a failing host is a HostRun, never an exception.
    """
    started = time.monotonic()
    listener = Listener(list(specs), emit)
    with _run_dir(keep) as folder:
        _write_specs(folder / "specs", specs)
        answers = {name: secret.reveal() for name, secret in secrets.items()}
        answers["inventory"] = json.dumps(ansible_inventory({name: hosts[name] for name in specs}))
        with Broker(folder / "broker.sock", answers):
            runner = _runner(folder, playbook, listener)
            with _signals_restored():
                runner.run()
        if runner.status == "canceled":
            raise KeyboardInterrupt
        listener.finish(_last_words(folder) if not listener.ended else "", time.monotonic() - started)
        return Run(listener.hosts, folder if keep else None)


def _runner(folder: Path, playbook: str, listener: Listener) -> Any:
    import ansible_runner.interface

    content.link_collection(folder / "collections")
    before = dict(os.environ)
    try:
        runner = ansible_runner.interface.init_runner(
            private_data_dir=str(folder),
            playbook=f"pifleet.fleet.{playbook}",
            inventory=str(inventory_script(folder)),
            extravars={"pifleet_specs": str(folder / "specs"), "pifleet_secrets": str(folder / "broker.sock")},
            event_handler=listener.hear,
            suppress_env_files=True,
            quiet=True,
        )
    except ansible_runner.exceptions.ConfigurationError as error:
        raise HostFailed("ansible-runner cannot start", saw=str(error), try_="pifleet doctor") from error
    # ansible-runner copies this process's whole environment, and writes it into its artifacts.
    own = {key: value for key, value in runner.config.env.items() if before.get(key) != value}
    runner.config.env = {**own, **_environment(folder)}
    runner.config.cwd = str(Path.cwd())
    runner.config.command = [sys.executable, "-IS", launch.__file__, str(os.getpid()), *runner.config.command]
    return runner


def _environment(folder: Path) -> dict[str, str]:
    inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
    scripts = sysconfig.get_path("scripts")
    return {
        "LANG": "C.UTF-8",
        **inherited,
        "PATH": f"{scripts}:{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_SSH_ARGS": SSH_ARGS,
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_TIMEOUT": "15",
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_ENABLED": "script",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
    }


def _write_specs(folder: Path, specs: Mapping[str, Spec]) -> None:
    folder.mkdir()
    for host, spec in specs.items():
        (folder / f"{host}.json").write_text(json.dumps(spec), encoding="utf-8")


def _last_words(folder: Path) -> str:
    """The end of what ansible-playbook printed, for a run that died before it had anything to report."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("artifacts/*/std*")]
    return "\n".join("".join(texts).strip().splitlines()[-8:])


@contextmanager
def _run_dir(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pifleet-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _signals_restored() -> Iterator[None]:
    """ansible-runner takes SIGINT and SIGTERM over and never gives them back."""
    saved = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)
