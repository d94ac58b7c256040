"""Owns where a play finds what should be on a host: in the folder of specs that it was given, else it asks pifleet.
It must not decide anything of it; the pifleet package does, or has done so already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail


def spec_of(task_vars: Mapping[str, Any]) -> Any:
    """The spec of the host that a task is for."""
    host, folder = str(task_vars["inventory_hostname"]), task_vars.get("pifleet_specs")
    return _from_folder(str(folder), host) if folder else _from_package(task_vars, host)


def _from_folder(folder: str, host: str) -> Any:
    if "/" in host:
        raise AnsibleActionFail(f"host name {host!r} cannot name a file")
    try:
        return json.loads(Path(folder, f"{host}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnsibleActionFail(f"pifleet_specs holds no spec of {host}: {error}") from None


def _from_package(task_vars: Mapping[str, Any], host: str) -> Any:
    try:
        from pifleet.playbook import spec_for_playbook
    except ImportError:
        raise AnsibleActionFail(
            "the pifleet package is not installed beside ansible-core; use: pifleet provision INVENTORY"
        ) from None
    from pifleet.errors import PifleetError

    try:
        return spec_for_playbook(task_vars["ansible_inventory_sources"], host)
    except PifleetError as error:
        trouble = error.trouble
        mistakes = "".join(f"; {mistake}" for mistake in getattr(error, "mistakes", ()))
        then = trouble.try_ or "pifleet provision INVENTORY"
        raise AnsibleActionFail(f"{trouble.headline}{mistakes}; use: {then}") from None
