"""What the test double's gateway was told, and the keys that gateway.toml may have.

Owns the names of settings, which are the real binary's; must not know what they do.
"""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GATEWAY = {
    "bind_address", "health_bind_address", "metrics_bind_address", "log_level", "compute_drivers",
    "credential_drivers", "default_credential_driver", "credential_storage", "sandbox_namespace",
    "ssh_session_ttl_secs", "grpc_rate_limit_requests", "grpc_rate_limit_window_seconds",
    "policy_validation_failure_mode", "server_sans", "enable_loopback_service_http", "default_image",
    "supervisor_image", "client_tls_secret_name", "service_account_name", "host_gateway_ip",
    "enable_user_namespaces", "sa_token_ttl_secs", "guest_tls_ca", "guest_tls_cert", "guest_tls_key", "disable_tls",
    "tls", "oidc", "auth", "interceptors", "provider_profile_sources", "mtls_auth", "gateway_jwt", "otlp",
}
DOCKER = {
    "socket_path", "default_image", "image_pull_policy", "sandbox_namespace", "grpc_endpoint", "supervisor_bin",
    "supervisor_image", "guest_tls_ca", "guest_tls_cert", "guest_tls_key", "network_name", "host_gateway_ip",
    "ssh_socket_path", "sandbox_pids_limit", "enable_bind_mounts",
}
# Keys of the gateway's table that a driver's table takes over.
INHERITED = {"default_image", "supervisor_image", "host_gateway_ip", "guest_tls_ca", "guest_tls_cert", "guest_tls_key",
             "sandbox_namespace"}
NESTED = {
    "tls": {"cert_path", "key_path", "client_ca_path", "external_cert_path", "external_key_path",
            "external_server_names"},
    "gateway_jwt": {"signing_key_path", "public_key_path", "kid_path", "gateway_id", "ttl_secs"},
    "mtls_auth": {"enabled"},
    "auth": {"allow_unauthenticated_users"},
}
TOP = {"version", "gateway", "supervisor", "drivers", "credential_drivers"}
VERSION = 1


@dataclass(frozen=True)
class Config:
    host: str = "127.0.0.1"
    port: int = 17670
    health: tuple[str, int] | None = None
    metrics: tuple[str, int] | None = None
    log_level: str = "info"
    state: Path = Path()
    database: Path = Path()
    tls: tuple[Path, Path, Path] | None = None  # certificate, key, CA of clients
    tokens: bool = False  # whether there are keys to sign sandboxes' tokens with
    session_ttl: int = 86400
    docker: dict[str, Any] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def namespace(self) -> str:
        return str(self.docker.get("sandbox_namespace", "default"))

    @property
    def network(self) -> str:
        return str(self.docker.get("network_name", "openshell-docker"))


def xdg(name: str, default: str) -> Path:
    return Path(os.environ.get(name) or Path.home() / default) / "openshell"


def address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`; raises SystemExit for anything else."""
    host, _, number = str(text).rpartition(":")
    if not host or not number.isdigit():
        raise SystemExit(f"Error:   x invalid socket address '{text}'")
    return host.strip("[]"), int(number)


def read(path: Path) -> dict[str, Any]:
    """gateway.toml's `openshell` table; raises SystemExit for a file, a key or a version that the real one refuses."""
    try:
        text = path.read_text()
    except OSError as error:
        raise SystemExit(f"Error:   x failed to read gateway config file '{path}': {error.strerror}") from error
    try:
        table = dict(tomllib.loads(text)["openshell"])
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise SystemExit(f"Error:   x failed to parse gateway config file '{path}': {error}") from error
    known(path, table, TOP)
    known(path, gateway := table.get("gateway", {}), GATEWAY | {"database_url"})
    known(path, table.get("drivers", {}).get("docker", {}), DOCKER)
    for name, keys in NESTED.items():
        known(path, gateway.get(name, {}), keys)
    if "database_url" in gateway:
        refuse("gateway.database_url", "set it by OPENSHELL_DB_URL instead")
    if table.get("version", VERSION) != VERSION:
        refuse("version", f"unsupported version {table['version']}, this gateway reads version {VERSION}")
    return table


def known(path: Path, table: dict[str, Any], keys: set[str]) -> None:
    for key in table:
        if key not in keys:
            raise SystemExit(f"Error:   x failed to parse gateway config file '{path}': unknown field `{key}`, "
                             f"expected one of {', '.join(f'`{name}`' for name in sorted(keys))}")


def refuse(key: str, why: str) -> None:
    raise SystemExit(f"Error:   x invalid gateway config field `{key}`: {why}")
