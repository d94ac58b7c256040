"""Whether a network policy lets a program reach a place, and a request through: pure, no connection is made here.

Owns matching as the real gateway's documents describe it; must not know how bytes travel.
"""

import fnmatch
import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

PRESETS = {"read-only": ("GET", "HEAD", "OPTIONS"),
           "read-write": ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"), "full": ("*",)}
UNMATCHED = "no matching policy"


@dataclass(frozen=True)
class Verdict:
    """Which rule and endpoint let something through, or why none does."""

    allowed: bool
    policy: str = "-"
    reason: str = ""
    endpoint: dict[str, Any] | None = None


def place(policies: dict[str, Any], host: str, port: int, programs: list[str]) -> Verdict:
    """Whether a program, or one that started it, may connect there. A rule without binaries lets nothing through."""
    reason = UNMATCHED
    for name, rule in policies.items():
        for endpoint in rule.get("endpoints", []):
            if not (host_matches(endpoint.get("host", ""), host) and port in ports(endpoint)):
                continue
            globs = [one["path"] for one in rule.get("binaries", [])]
            if any(glob_matches(glob, program) for glob in globs for program in programs):
                return Verdict(True, name, "", endpoint)
            first = programs[0] if programs else "-"
            reason = f"binary '{first}' not allowed in policy '{name}' (ancestors: [{', '.join(programs[1:])}])"
    return Verdict(False, "-", reason)


def request(verdict: Verdict, method: str, target: str) -> Verdict:
    """Whether a request may pass an endpoint that is inspected; what `audit` would only note passes, with a reason."""
    endpoint = verdict.endpoint or {}
    parts = urlsplit(target)
    query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    denied = any(rule_matches(rule, method, parts.path, query) for rule in endpoint.get("denyRules", []))
    if not denied and allowed_by(endpoint, method, parts.path, query):
        return verdict
    reason = f"{method} {parts.path} not permitted by policy"
    passes = endpoint.get("enforcement") != "enforce"
    return Verdict(passes, verdict.policy, reason, endpoint)


def allowed_by(endpoint: dict[str, Any], method: str, path: str, query: dict[str, str]) -> bool:
    preset = PRESETS.get(endpoint.get("access", ""))
    if preset:
        return "*" in preset or method in preset
    return any(rule_matches(rule.get("allow", {}), method, path, query) for rule in endpoint.get("rules", []))


def rule_matches(rule: dict[str, Any], method: str, path: str, query: dict[str, str]) -> bool:
    if rule.get("method", "*") not in ("*", method) or not glob_matches(rule.get("path") or "**", path):
        return False
    for key, wanted in rule.get("query", {}).items():
        globs = [wanted["glob"]] if wanted.get("glob") else wanted.get("any", [])
        if key not in query or not any(glob_matches(glob, query[key]) for glob in globs):
            return False
    return True


def host_matches(pattern: str, host: str) -> bool:
    """Exact, or `*.` for one first label and `**.` for any number."""
    pattern, host = pattern.lower(), host.lower()
    if pattern.startswith("**."):
        return host.endswith(pattern[2:])
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host


def ports(endpoint: dict[str, Any]) -> list[int]:
    return list(endpoint.get("ports") or [endpoint.get("port") or 443])


def glob_matches(glob: str, text: str) -> bool:
    """In this generation a star crosses slashes."""
    return fnmatch.fnmatchcase(text, glob)


def address_refused(address: str, endpoint: dict[str, Any]) -> str:
    """Why an address may not be connected to, or nothing: some never, private ones only for hosts named exactly."""
    ip = ipaddress.ip_address(address)
    if ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast:
        return "resolves to always-blocked address"
    if ip.is_private and "*" in endpoint.get("host", ""):
        allowed = [ipaddress.ip_network(one, strict=False) for one in endpoint.get("allowedIps", [])]
        return "" if any(ip in one for one in allowed) else "resolves to internal address"
    return ""
