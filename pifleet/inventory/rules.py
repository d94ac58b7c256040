"""Owns which texts and numbers may reach a command line, a path or a configuration file, and the words for each rule.
It must not know in which variable a value stands."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

KEY_TYPES = (
    "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)
MEMORY_FLOOR = 64 << 20
UNITS = {"m": 1 << 20, "g": 1 << 30}


def refuse(wanted: str) -> PydanticCustomError:
    """The error that becomes a mistake's `wanted`."""
    return PydanticCustomError("rule", "{wanted}", {"wanted": wanted})


@dataclass(frozen=True)
class Text:
    """A text that matches `pattern` as a whole, is at most `limit` characters long and passes `also`."""

    pattern: str
    wanted: str
    limit: int = 255
    also: Callable[[str], bool] | None = None

    def allows(self, value: Any) -> bool:
        return (
            isinstance(value, str)
            and len(value) <= self.limit
            and re.fullmatch(self.pattern, value, re.ASCII) is not None
            and (self.also is None or self.also(value))
        )

    def check(self, value: Any) -> str:
        if not self.allows(value):
            raise refuse(self.wanted)
        return str(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, core_schema.str_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        text = {"type": "string", "pattern": f"^(?:{self.pattern})$", "maxLength": self.limit}
        return {**text, "description": self.wanted}


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`; a `whole` one has no fraction."""

    low: float
    high: float
    wanted: str
    whole: bool = False

    def check(self, value: Any) -> float:
        kinds = (int,) if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or math.isnan(value):
            raise refuse(self.wanted)
        if not self.low <= value <= self.high:
            raise refuse(self.wanted)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        kind = "integer" if self.whole else "number"
        return {"type": kind, "minimum": self.low, "maximum": self.high, "description": self.wanted}


def size_in_bytes(size: str) -> int:
    """Bytes of a size such as "2g" or "512m" (units of 1024, as Docker reads them)."""
    return int(size[:-1]) * UNITS[size[-1].lower()]


def is_git_ref(ref: str) -> bool:
    """The rules of git-check-ref-format(1) with --allow-onelevel that the characters alone do not tell."""
    return not (
        ".." in ref or "//" in ref or "@{" in ref or ref == "@" or ref.endswith((".", "/"))
        or any(part.startswith(".") or part.endswith(".lock") for part in ref.split("/"))
    )


def is_public_key(line: str) -> bool:
    """Whether the key's body is base64 and names the type that stands before it (RFC 4253, section 6.6)."""
    kind, body = line.split()[:2]
    try:
        blob = base64.b64decode(body, validate=True)
    except binascii.Error:
        return False
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")] == kind.encode() and len(blob) > 4 + len(kind)


def is_glob(pattern: str) -> bool:
    """Whether a pattern stays inside the workspace."""
    return ".." not in pattern.split("/")


def name(limit: int) -> Text:
    wanted = f"use lower-case letters, digits and hyphens, a letter first, at most {limit} characters"
    return Text(r"[a-z][a-z0-9-]*", wanted, limit)


_NAME = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])"
_HOST = rf"{_NAME}(?::[0-9]{{1,5}})?"
_PATH = r"[A-Za-z0-9._~/%+@:,=-]*"
_SSH_USER = r"[A-Za-z_][A-Za-z0-9_.-]*"

HTTP_URL = Text(
    rf"https?://{_HOST}(?:/{_PATH})?", "use http(s)://HOST/PATH without a user, a password or a query", 2000)
PROXY_URL = Text(rf"http://{_NAME}:[0-9]{{1,5}}/?", "use http://HOST:PORT of a proxy that does CONNECT", 300)
GIT_URL = Text(
    rf"https?://{_HOST}/{_PATH}|ssh://(?:{_SSH_USER}@)?{_HOST}/{_PATH}"
    rf"|{_SSH_USER}@[A-Za-z0-9][A-Za-z0-9.-]*:(?!-)[A-Za-z0-9._~/%+-]+|(?:file://)?/{_PATH}",
    "use https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or an absolute path, without a password", 2000,
)
GIT_REF = Text(
    r"[A-Za-z0-9_+@=%,.#/-]+", "use a branch, tag or commit by git's rules for names, not starting with a hyphen", 200,
    lambda ref: not ref.startswith(("-", "/")) and is_git_ref(ref),
)
FILE = Text(r"[^\x00-\x1f\x7f-][^\x00-\x1f\x7f]*", "use a path without control characters, not starting with a hyphen",
            4000)
HOST_NAME = Text(
    r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", "use letters, digits, dots, hyphens and underscores, no hyphen first", 253)

FleetName = Annotated[str, name(32)]
DeveloperName = Annotated[str, name(16)]
SandboxName = Annotated[str, name(32)]
ThingName = Annotated[str, name(32)]
FilePath = Annotated[str, FILE]
HttpUrl = Annotated[str, HTTP_URL]
ProxyUrl = Annotated[str, PROXY_URL]
GitUrl = Annotated[str, GIT_URL]
GitRef = Annotated[str, GIT_REF]
VariableName = Annotated[str, Text(r"[A-Za-z_][A-Za-z0-9_]*", "use the name of an environment variable")]
Argument = Annotated[str, Text(r"[^\x00-\x1f\x7f]+", "use text without control characters", 4000)]
ModelId = Annotated[str, Text(
    r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*", "use the provider's name of a model, such as claude-sonnet-4-5", 128)]
PublicKey = Annotated[str, Text(
    rf"(?:{'|'.join(map(re.escape, KEY_TYPES))}) [A-Za-z0-9+/]+=*(?: [^\x00-\x1f\x7f]*)?",
    "use one line of a public key file: TYPE BASE64 COMMENT", 8000, is_public_key)]
Glob = Annotated[str, Text(
    r"[^\x00-\x1f\x7f/-][^\x00-\x1f\x7f]*", 'use a pattern inside the workspace, such as "web/dist/**"', 1000, is_glob)]
Size = Annotated[str, Text(
    r"[0-9]{1,6}[mMgG]", 'use a size such as "2g" or "512m", at least "64m"', 7,
    lambda size: size_in_bytes(size) >= MEMORY_FLOOR)]
Amount = Annotated[str, Text(r"[0-9]{1,6}[mMgG]", 'use a size such as "8g" or "512m"', 7)]
Count = Annotated[int, Number(1, 50_000_000, "use a whole number from 1 to 50000000", whole=True)]
Seconds = Annotated[int, Number(1, 86_400, "use a whole number of seconds from 1 to 86400", whole=True)]
Cpus = Annotated[float, Number(0.1, 512, "use a number of cores from 0.1 to 512")]
# The kernel counts threads; pi alone needs some dozens. PID_MAX_LIMIT of 64-bit kernels is 4194304.
Pids = Annotated[int, Number(64, 4194304, "use a whole number of processes from 64 to 4194304", whole=True)]
AtOnce = Annotated[int, Number(1, 1000, "use a whole number of requests from 1 to 1000", whole=True)]
PerMinute = Annotated[int, Number(1, 100_000, "use a whole number of requests from 1 to 100000", whole=True)]
Version = Annotated[str, Text(
    r"[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*", 'use a whole version in quotes, such as "1.2.3"')]
OpenShellVersion = Annotated[str, Text(
    r"0\.0\.[0-9]+(?:-[A-Za-z0-9.+-]+)?",
    'use a version of generation 0.0.x, such as "0.0.111"; this version of pifleet does not drive 0.1.x', 60)]
Sha256 = Annotated[str, Text(r"[0-9a-f]{64}", "use the file's sha256: 64 hex digits", 64)]
ImageBase = Annotated[str, Text(
    r"debian|[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}", "use debian, or an image reference with @sha256:DIGEST")]
Suite = Annotated[str, Text(r"[a-z][a-z0-9-]*", "use the name of a release, such as bookworm", 32)]
SnapshotDate = Annotated[str, Text(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}T[0-9]{6}Z)?", "use a day such as 2026-01-31, or 20260131T120000Z")]
PackageName = Annotated[str, Text(r"[a-z0-9][a-z0-9+.-]+", "use the name of a Debian package", 100)]
KubeContext = Annotated[str, Text(
    r"[A-Za-z0-9][A-Za-z0-9_.:@/+-]*", "use the name of a context in the kubeconfig", 253)]
NamespacePrefix = Annotated[str, name(32)]
ClassName = Annotated[str, Text(
    r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", "use the name of a class that the cluster has", 253)]
LabelKey = Annotated[str, Text(
    r"(?:[a-z0-9][a-z0-9.-]*/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?",
    "use a label's key, such as kubernetes.io/arch", 317)]
LabelValue = Annotated[str, Text(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?", 'use a label\'s value as text, such as "true"', 63)]
DigestReference = Annotated[str, Text(
    r"[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}", "use an image reference with @sha256:DIGEST")]
