"""What the test double's gateway refuses before it does anything: names, sizes, labels, environment, log filters.

Owns limits and texts, as the real gateway has them; must not know the store.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from .protocol import invalid

NAME, PROVIDERS, VARIABLES, KEY, VALUE = 19, 32, 128, 256, 8192
POLICY, ARGUMENTS, ARGUMENT, COMMAND = 256 << 10, 1024, 32 << 10, 256 << 10
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")


def name(text: str, field: str = "name") -> None:
    """A DNS label of at most 19 characters without `--`."""
    if len(text) > NAME:
        raise invalid(f"{field} exceeds maximum length ({len(text)} > {NAME})")
    if not re.fullmatch(r"[a-z0-9-]*", text):
        raise invalid(f"{field} must contain only lowercase alphanumeric characters or hyphens")
    if text.startswith("-") or text.endswith("-"):
        raise invalid(f"{field} must not start or end with a hyphen")
    if "--" in text:
        raise invalid(f"{field} must not contain consecutive hyphens")


def sandbox(called: str, spec: Any) -> None:
    name(called)
    if len(spec.providers) > PROVIDERS:
        raise invalid(f"providers list exceeds maximum ({len(spec.providers)} > {PROVIDERS})")
    variables(spec.environment, "spec.environment")
    variables(spec.template.environment, "spec.template.environment")
    if spec.policy.ByteSize() > POLICY:
        raise invalid(f"policy serialized size exceeds maximum ({spec.policy.ByteSize()} > {POLICY})")


def variables(given: Any, field: str) -> None:
    if len(given) > VARIABLES:
        raise invalid(f"{field} exceeds maximum entries ({len(given)} > {VARIABLES})")
    for key, value in given.items():
        if len(key) > KEY:
            raise invalid(f"{field} key exceeds maximum length ({len(key)} > {KEY})")
        if len(value) > VALUE:
            raise invalid(f"{field} value exceeds maximum length ({len(value)} > {VALUE})")
        if not WORD.fullmatch(key):
            raise invalid(f"{field} keys must match ^[A-Za-z_][A-Za-z0-9_]*$")
        if key.startswith("OPENSHELL_"):
            raise invalid(f"{field} key '{key}' uses reserved 'OPENSHELL_' prefix")


def labels(given: Any) -> None:
    for key, value in given.items():
        if not key:
            raise invalid("label key cannot be empty")
        if not re.fullmatch(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", key):
            raise invalid(f"label key name segment contains invalid characters (must be alphanumeric, '-', '_', or "
                          f"'.'): '{key}'")
        if len(value) > 63:
            raise invalid(f"label value exceeds 63 characters: '{value}'")


def command(request: Any) -> None:
    """An exec request's command, variables and folder."""
    if not request.sandbox_id:
        raise invalid("sandbox_id is required")
    if not request.command:
        raise invalid("command is required")
    if any(not WORD.fullmatch(key) for key in request.environment):
        raise invalid("environment keys must match ^[A-Za-z_][A-Za-z0-9_]*$")
    if len(request.command) > ARGUMENTS:
        raise invalid(f"command array exceeds {ARGUMENTS} argument limit")
    for number, argument in enumerate(request.command):
        if len(argument.encode()) > ARGUMENT:
            raise invalid(f"command argument {number} exceeds {ARGUMENT} byte limit")
        if "\0" in argument:
            raise invalid(f"command argument {number} contains null bytes")
    for field, value in [*((f"environment value for '{k}'", v) for k, v in request.environment.items()),
                         ("workdir", request.workdir)]:
        if "\n" in value or "\r" in value:
            raise invalid(f"{field} contains newline or carriage return characters")


def lines(kept: Iterable[Any], request: Any, last: int) -> Iterator[Any]:
    """The last lines of a log that a request wants: by time, source and level."""
    least = LEVELS.index(request.log_min_level.upper()) if request.log_min_level.upper() in LEVELS else 0
    wanted = [line for line in kept
              if line.timestamp_ms >= request.log_since_ms
              and (not request.log_sources or "all" in request.log_sources or line.source in request.log_sources)
              and (line.level not in LEVELS or LEVELS.index(line.level) >= least)]
    return islice(wanted, max(len(wanted) - last, 0), None)
