"""Owns the command line: the list of verbs, and the one place where an error becomes text and an exit code.
It must not import a verb before it is asked for, nor anything heavy: `pifleet --help` costs no more than click does."""

from __future__ import annotations

import gc
import itertools
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from pifleet import __version__
from pifleet.cli.verbs import Verbs

VERBS = {
    "init": "Write a commented starter inventory.",
    "schema": "Print the JSON Schema of inventories, for editors.",
    "doctor": "Check this machine and every host; change nothing.",
    "plan": "Look at every host and print what provision would change.",
    "provision": "Make the fleet as the inventory says; a second run changes nothing.",
    "verify": "Prove sandboxes from inside, at no model cost.",
    "status": "Show hosts and sandboxes as they really are.",
    "usage": "Show how much each developer used models, by day.",
    "attach": "Open pi in a terminal that survives disconnects.",
    "shell": "Open a shell in a sandbox.",
    "exec": "Run one command in a sandbox; its exit code is this one's.",
    "run": "Give pi a task, follow it, and bring the result home.",
    "logs": "Show what pi said in a sandbox's latest run.",
    "stop": "Stop sandboxes; their work stays.",
    "start": "Start stopped sandboxes.",
    "put": "Upload files into a sandbox; never over existing ones without --force.",
    "pull": "Download results: commits, changes, artifacts, session logs.",
    "results": "Look at earlier pulls, offline.",
    "kubeconfig": "Write a developer's own kubeconfig for the cluster that their sandbox is on.",
    "openshell": "Run the real openshell command against a fleet's gateway.",
    "remove": "Pull, then remove sandboxes and what pifleet made for them.",
}


# New objects after which Python looks for rings among them: a command makes many that stay and few rings, and looking
# after each 700 took a fifth of the time of a large fleet's plan.
_RINGS_AFTER = 50_000


class Pifleet(Verbs):
    """All verbs."""

    verbs, package = VERBS, "pifleet.cli"

    def main(  # type: ignore[override] # every end of a run is an exit
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run and exit: 0 good, 1 something failed, 2 bad input, 3 pending or not confirmed, 130 interrupted."""
        told = list(sys.argv[1:] if args is None else args)
        extra.pop("standalone_mode", None)
        gc.set_threshold(_RINGS_AFTER)
        try:
            code = super().main(told, prog_name or "pifleet", standalone_mode=False, **extra)
        except click.exceptions.Exit as stop:
            code = stop.exit_code
        except (click.Abort, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only break the way out
            click.echo("interrupted", err=True)
            code = 130
        except Exception as error:
            code = _failed(error, told)
        sys.exit(code or 0)


def _failed(error: Exception, args: Sequence[str]) -> int:
    from pifleet.cli.failure import show

    return show(error, as_json=_wants_json(args))


def _wants_json(args: Sequence[str]) -> bool:
    """Whether `-o json` was asked for; read from the bare words, since bad usage never gets as far as options."""
    own = list(args[: args.index("--")] if "--" in args else args)
    return not {"-ojson", "--output=json", "-o json", "--output json"}.isdisjoint(
        (*own, *(" ".join(pair) for pair in itertools.pairwise(own)))
    )


@click.group("pifleet", cls=Pifleet, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pifleet", message="%(prog)s %(version)s")
def main() -> None:
    """Fleets of policy-controlled pi coding agents, from one Ansible inventory.

    A sandbox is named DEV (a developer's only one, or the one called main) or DEV/SANDBOX.
    """
