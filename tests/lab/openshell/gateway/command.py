"""The command line of the test double's `openshell-gateway`: flag before environment before gateway.toml, then default.

Owns which setting wins; must not know what a gateway does.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .certificates import JWT, TLS, generate
from .config import INHERITED, Config, address, read, xdg
from .protocol import VERSION

# Flags that take a value, with their variables. Those of drivers and features that the double lacks are not accepted.
FLAGS = {
    "config": "OPENSHELL_GATEWAY_CONFIG", "bind-address": "OPENSHELL_BIND_ADDRESS", "port": "OPENSHELL_SERVER_PORT",
    "health-port": "OPENSHELL_HEALTH_PORT", "metrics-port": "OPENSHELL_METRICS_PORT",
    "log-level": "OPENSHELL_LOG_LEVEL", "db-url": "OPENSHELL_DB_URL", "drivers": "OPENSHELL_DRIVERS",
    "tls-cert": "OPENSHELL_TLS_CERT", "tls-key": "OPENSHELL_TLS_KEY", "tls-client-ca": "OPENSHELL_TLS_CLIENT_CA",
    "server-san": "OPENSHELL_SERVER_SAN",
}
SWITCHES = {"disable-tls": "OPENSHELL_DISABLE_TLS", "enable-mtls-auth": "OPENSHELL_ENABLE_MTLS_AUTH"}
TRUE = ("1", "true", "yes", "on")


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="openshell-gateway", description="OpenShell gateway (test double)")
    main.add_argument("--version", action="version", version=f"openshell-gateway {VERSION}")
    for name, variable in FLAGS.items():
        main.add_argument(f"--{name}", default=os.environ.get(variable))
    for name, variable in SWITCHES.items():
        main.add_argument(f"--{name}", action="store_true", default=os.environ.get(variable, "").lower() in TRUE)
    verbs = main.add_subparsers(dest="verb")
    certs = verbs.add_parser("generate-certs", help="write a CA, certificates and signing keys")
    certs.add_argument("--output-dir", type=Path, required=True)
    # A destination of its own, or the gateway's flag of the same name would be overwritten.
    certs.add_argument("--server-san", action="append", default=[], dest="sans")
    return main


def run(words: list[str]) -> Config | str:
    """The configuration to serve with, or what `generate-certs` has to say. Raises SystemExit with a sentence."""
    given = parser().parse_args(words)
    if given.verb:
        client = xdg("XDG_CONFIG_HOME", ".config") / "gateways" / "openshell" / "mtls"
        return generate(given.output_dir, given.sans, client)
    return configured(given)


def configured(given: argparse.Namespace) -> Config:
    default = xdg("XDG_CONFIG_HOME", ".config") / "gateway.toml"
    path = Path(given.config) if given.config else default
    table = read(path) if given.config or path.is_file() else {}
    gateway = table.get("gateway", {})
    drivers = given.drivers.split(",") if given.drivers else gateway.get("compute_drivers", ["docker"])
    if drivers != ["docker"]:
        raise SystemExit(f"Error:   x the test double has the docker driver only, not {', '.join(drivers)}")
    host, port = address(gateway.get("bind_address", "127.0.0.1:17670"))
    host, port = given.bind_address or host, int(given.port or port)
    state = xdg("XDG_STATE_HOME", ".local/state")
    inherited = {key: gateway[key] for key in INHERITED if key in gateway}
    config = Config(
        host=host, port=port,
        health=listener(given.health_port, gateway.get("health_bind_address"), host),
        metrics=listener(given.metrics_port, gateway.get("metrics_bind_address"), host),
        log_level=given.log_level or gateway.get("log_level", "info"),
        state=state,
        database=database(given.db_url, state),
        tls=None if given.disable_tls or gateway.get("disable_tls") else certificates(given, gateway, state),
        tokens="gateway_jwt" in gateway or complete(local(state), JWT, "sandbox JWT"),
        session_ttl=int(gateway.get("ssh_session_ttl_secs", 86400)),
        docker=inherited | table.get("drivers", {}).get("docker", {}),
    )
    for flag, other in (("health", config.health), ("metrics", config.metrics)):
        if other and other[1] == port:
            raise SystemExit(f"Error:   x --port and --{flag}-port must be different (both set to {port})")
    return config


def listener(port: str | None, written: str | None, host: str) -> tuple[str, int] | None:
    if port is not None:
        return (host, int(port)) if int(port) else None
    return address(written) if written else None


def database(url: str | None, state: Path) -> Path:
    if url and not url.startswith("sqlite:"):
        raise SystemExit(f"Error:   x the test double keeps SQLite files only, not {url}")
    return Path(url.removeprefix("sqlite:").split("?")[0]) if url else state / "gateway" / "openshell.db"


def local(state: Path) -> Path:
    """Where `generate-certs` was asked to write, as the packaged unit asks it."""
    return Path(os.environ.get("OPENSHELL_LOCAL_TLS_DIR") or state / "tls")


def complete(folder: Path, names: Sequence[str], what: str) -> bool:
    """Whether all of these files are there; raises SystemExit for some of them."""
    present = sum((folder / name).is_file() for name in names)
    if present not in (0, len(names)):
        raise SystemExit(f"Error:   x partial local {what} state in {folder}: expected {', '.join(names)}")
    return present > 0


def certificates(given: argparse.Namespace, gateway: dict[str, Any], state: Path) -> tuple[Path, Path, Path]:
    """Certificate, key and CA: named, or the bundle that `generate-certs` left. Raises SystemExit without any."""
    table = gateway.get("tls", {})
    named = [given.tls_cert or table.get("cert_path"), given.tls_key or table.get("key_path"),
             given.tls_client_ca or table.get("client_ca_path")]
    if not any(named) and complete(local(state), [name for name in TLS if name != "ca.key"], "TLS"):
        named = [str(local(state) / name) for name in ("server/tls.crt", "server/tls.key", "ca.crt")]
    for flag, path in zip(("--tls-cert", "--tls-key"), named, strict=False):
        if not path:
            raise SystemExit(f"Error:   x {flag} is required when TLS is enabled (use --disable-tls to skip)")
    if not named[2]:
        raise SystemExit("Error:   x mTLS user authentication requires --tls-client-ca so client certificates can be "
                         "verified.")
    return Path(named[0]), Path(named[1]), Path(named[2])
