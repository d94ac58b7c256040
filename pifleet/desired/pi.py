"""Owns what pi and its repositories are told, whatever contains pi: its models, its settings, where to clone from.
It must not know patterns, folders of a host or a key's value."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pifleet.fleet import Model, Repo, Sandbox

TOOLS = ["read", "bash", "edit", "write", "grep", "find", "ls"]


def provider_of(model: Model) -> str:
    # A plain "openai" would add all that pi knows of that provider itself.
    return f"pifleet-{model.name}"


def models(reached: Iterable[tuple[Model, str]]) -> dict[str, Any]:
    """pi's models.json: one provider for each model, with the base URL at which pi reaches it.

    pi refuses a provider without a key, so it gets a word that opens nothing (facts: pi 0.87.1, docs/models.md).
    """
    return {"providers": {
        provider_of(model): {"baseUrl": base, "api": model.wire_api, "apiKey": "unused",
                             "models": [{"id": model_id} for model_id in model.model_ids]}
        for model, base in reached
    }}


def settings(box: Sandbox, model: Model) -> dict[str, Any]:
    """pi's settings.json: the developer's own settings over ours; the provider is not theirs to choose."""
    return {
        "defaultTools": TOOLS,
        "enableInstallTelemetry": False,
        **box.pi_settings,
        "defaultProvider": provider_of(model),
        "defaultModel": model.model_ids[0],
    }


def repo_entry(repo: Repo) -> dict[str, Any]:
    """A repository in a spec; its credential by name."""
    kind = "token" if repo.token else "ssh_key" if repo.ssh_key else ""
    secret = f"repo:{repo.name}:{kind}" if kind else ""
    return {"name": repo.name, "url": repo.url, "ref": repo.ref, "secret": secret, "known_hosts": repo.known_hosts}


def as_json(value: Any) -> str:
    """The text of a JSON file that people may read too."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
