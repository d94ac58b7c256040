"""Owns trying to get out of a sandbox, in every way that needs no luck, and telling how each attempt ended.
It is sent over an exec with the modules of its room, and runs on Python 3.9 and the standard library; what it
reaches, it leaves as it was.

One request, a line of JSON, arrives on standard input: `tcp` and `proxied` (lists of [name, host, port]), `names`,
`proxy` (its host and port), `own` (names that may lie beside the sandbox's sockets), `kinds` of attempts besides
(network, machine, privileges). The answer is a line of JSON: each attempt by name, with `refused` and `how`: the
error's name, or else what was reached.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial

from pifleet.sandbox.escape.machine import machine
from pifleet.sandbox.escape.network import network, targets
from pifleet.sandbox.escape.privileges import privileges
from pifleet.sandbox.escape.trying import Attempt, Json


def main(request: Json) -> Json:
    """Every attempt, one after the other."""
    found = {}
    for name, attempt in attempts(request):
        try:
            found[name] = {"refused": False, "how": attempt()}
        except OSError as error:
            known = error.errno if isinstance(error.errno, int) else None
            found[name] = {"refused": True, "how": errno.errorcode.get(known or 0, type(error).__name__)}
    return found


def attempts(request: Json) -> Iterator[tuple[str, Attempt]]:
    """Each by its name."""
    yield from targets(request)
    kinds: dict[str, Callable[[], Iterator[tuple[str, Attempt]]]] = {
        "network": network, "machine": partial(machine, set(request["own"])), "privileges": privileges,
    }
    for kind in request["kinds"]:
        yield from kinds[kind]()


if __name__ == "__main__":
    print(json.dumps({"attempts": main(json.loads(sys.stdin.buffer.readline()))}))
