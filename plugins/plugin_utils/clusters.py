"""Owns how an action plugin reaches a cluster: from the controller, through the pifleet package beside ansible-core.
It must not know what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.errors import AnsibleActionFail


@contextmanager
def reached(name: str, cluster: Mapping[str, Any]) -> Iterator[Any]:
    """The API server of a spec's cluster; what goes wrong there fails the task with the same words as elsewhere."""
    try:
        from pifleet.errors import PifleetError
        from pifleet.fleet import Cluster, Host
        from pifleet.kube.client import Api
    except ImportError:
        raise AnsibleActionFail(
            "the pifleet package is not installed beside ansible-core; use: pifleet provision INVENTORY"
        ) from None
    host = Host(name, (), cluster=Cluster("", context=cluster["context"], kubeconfig=cluster["kubeconfig"]))
    try:
        with Api(host) as api:
            yield api
    except PifleetError as error:
        raise AnsibleActionFail(told(error.trouble)) from None


def told(trouble: Any) -> str:
    """A trouble in one line."""
    return "; ".join(filter(None, (trouble.headline, trouble.saw, trouble.try_)))
