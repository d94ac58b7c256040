"""Owns a developer's own access to a cluster: a kubeconfig with a short-lived token of their account, and its end.
It must not know what the account may do: that is what provision makes."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from pifleet.errors import SandboxFailed
from pifleet.fleet import DEVELOPER_ACCOUNT
from pifleet.kube.client import Api, ApiRefused, path
from pifleet.secret import Secret

TOKEN = "authentication.k8s.io/v1"  # noqa: S105 - the name of an API


@dataclass(frozen=True)
class Access:
    """A kubeconfig's whole text, and until when its token holds."""

    text: Secret
    until: datetime


def grant(api: Api, developer: str, seconds: int) -> Access:
    """A kubeconfig that reaches the developer's namespace as their account; its context is named as the inventory's.

    The server may give less time than `seconds`, and gives at least 600. Raises SandboxFailed, HostFailed.
    """
    assert api.host.cluster
    namespace = api.host.cluster.namespace_of(developer)
    asked = {"apiVersion": TOKEN, "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
    try:
        at = path("v1", "serviceaccounts", namespace, DEVELOPER_ACCOUNT, "token")
        status = api.request("POST", at, asked)["status"]
    except ApiRefused as error:
        if error.code != 404:
            raise
        raise _no_account(api, developer) from None
    context = api.host.cluster.context or api.host.name
    text = _kubeconfig(api, context, namespace, str(status["token"]))
    return Access(Secret(text), datetime.fromisoformat(status["expirationTimestamp"]))


def revoke(api: Api, developer: str) -> None:
    """End every token of the developer's account: each holds for that one account, which is made anew.

    Raises SandboxFailed, HostFailed.
    """
    assert api.host.cluster
    at = path("v1", "serviceaccounts", api.host.cluster.namespace_of(developer), DEVELOPER_ACCOUNT)
    there = api.get(at)
    if not there:
        raise _no_account(api, developer)
    api.delete(at)
    api.apply(at, {"apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": False,
                   "metadata": {"name": DEVELOPER_ACCOUNT, "labels": there["metadata"].get("labels") or {}}})


def _kubeconfig(api: Api, context: str, namespace: str, token: str) -> str:
    configuration = api.configuration()
    cluster: dict[str, Any] = {"server": configuration.host}
    if api.authorities:
        cluster["certificate-authority-data"] = base64.b64encode(api.authorities.encode()).decode()
    if not configuration.verify_ssl:
        cluster["insecure-skip-tls-verify"] = True
    if configuration.tls_server_name:
        cluster["tls-server-name"] = configuration.tls_server_name
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": context,
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": namespace, "user": {"token": token}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": namespace, "namespace": namespace}}],
    })


def _no_account(api: Api, developer: str) -> SandboxFailed:
    return SandboxFailed(f"{developer} has no account on {api.host.name} yet", try_="pifleet provision")
