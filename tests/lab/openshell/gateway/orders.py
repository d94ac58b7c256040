"""What the test double's gateway tells each supervisor, and when: all at once, as often as a real one asks for it.

Owns the orders' form and the certificates in them; must not know processes.
"""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf.json_format import MessageToDict

from . import certificates
from .inference import Inference
from .protocol import Refusal, m
from .service import Service
from .state import Phase, State, default_policy

POLL_SECONDS = 5.0
INSPECTED = "rest"


class Orders:
    """Orders for all sandboxes of a gateway."""

    def __init__(self, state: State, service: Service, inference: Inference) -> None:
        self.state, self.service, self.inference = state, service, inference
        self.told: dict[str, str] = {}
        self.authority = authority(state.config.state / "double-ca")
        self.leaves: dict[str, dict[str, str]] = {}

    async def begin(self, id_: str) -> None:
        """The first orders; a sandbox without a policy gets the default, and each the baseline besides. Raises
        Refusal, EOFError or OSError where the supervisor does not answer."""
        baseline = await self.state.supervisors.tell(id_, "hello")
        self.told.pop(id_, None)  # a supervisor that starts again knows nothing
        sandbox = self.state.sandbox_by_id(id_)
        policy = self.service.own_policy(sandbox) or default_policy()
        listed = [*policy.filesystem.read_only, *policy.filesystem.read_write]
        added = {field: [path for path in baseline[field] if path not in listed] for field in baseline}
        for field, paths in added.items():
            getattr(policy.filesystem, field).extend(paths)
        if any(added.values()) or not self.service.latest(id_):
            self.service.revise(id_, policy, m.POLICY_STATUS_PENDING)
        if not sandbox.spec.HasField("policy"):
            sandbox.spec.policy.CopyFrom(policy)
            self.state.changed(sandbox)
        await self.tell(id_)

    async def tell(self, id_: str) -> None:
        sandbox = self.state.sandbox_by_id(id_)
        orders, latest = self.orders(sandbox), self.service.latest(id_)
        digest = hashlib.sha256(json.dumps(orders, sort_keys=True).encode()).hexdigest()
        if self.told.get(id_) != digest:
            await self.state.supervisors.tell(id_, "begin", orders=orders)
            self.told[id_] = digest
        if latest and latest.status == m.POLICY_STATUS_PENDING:
            self.service.loaded(id_, latest.version)

    async def keep(self) -> None:
        """Tell every ready sandbox what changed, as long as the gateway lives."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for sandbox in self.state.store.all(m.Sandbox):
                if sandbox.status.phase == Phase.SANDBOX_PHASE_READY:
                    try:
                        await self.tell(sandbox.metadata.id)
                    except (Refusal, EOFError, OSError):
                        continue

    def orders(self, sandbox: Any) -> dict[str, Any]:
        policy = self.service.effective(sandbox) or default_policy()
        placeholders, secrets = self.service.placeholders(sandbox)
        rules = {name: MessageToDict(rule) for name, rule in policy.network_policies.items()}
        hosts = {one["host"] for rule in rules.values() for one in rule.get("endpoints", [])
                 if one.get("protocol") == INSPECTED}
        return {
            "files": {"workdir": policy.filesystem.include_workdir, "read_only": list(policy.filesystem.read_only),
                      "read_write": list(policy.filesystem.read_write)},
            "env": {**sandbox.spec.template.environment, **sandbox.spec.environment, **placeholders},
            "network": rules,
            "secrets": secrets,
            "inference": self.inference.route(sandbox.metadata.workspace),
            "tls": {"authority": certificates.certificate_pem(self.authority).decode(),
                    "leaves": {host: self.leaf(host) for host in sorted({"inference.local", *hosts})}},
        }

    def leaf(self, host: str) -> dict[str, str]:
        if host not in self.leaves:
            pair = certificates.make(host, self.authority, [host])
            self.leaves[host] = {"certificate": certificates.certificate_pem(pair).decode(),
                                 "key": certificates.key_pem(pair).decode()}
        return self.leaves[host]


def authority(folder: Path) -> certificates.Pair:
    """The authority that sandboxes trust; kept, for what runs has read it. (A real one makes one per sandbox.)"""
    if not (folder / "ca.key").exists():
        pair = certificates.make("OpenShell Sandbox CA (test double)", None)
        certificates.write(folder / "ca.crt", certificates.certificate_pem(pair))
        certificates.write(folder / "ca.key", certificates.key_pem(pair))
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    return x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes()), key  # type: ignore[return-value]
