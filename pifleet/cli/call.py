"""Owns what one invocation was told: the options that every verb shares, the fleet they name, the sandboxes they mean.
It must not do a verb's work."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pifleet.errors import Mistakes
from pifleet.fleet import Fleet, Sandbox
from pifleet.output import Output
from pifleet.secret import Secret
from pifleet.wording import choose, show

if TYPE_CHECKING:
    from pifleet.selection import Selection

DEFAULT_INVENTORY = "inventory.yml"


@dataclass(frozen=True)
class Call:
    """The shared options of one invocation; `fleet` reads and validates the inventory at first use."""

    inventory: tuple[str, ...] = ()
    limit: tuple[str, ...] = ()
    developer: tuple[str, ...] = ()
    pattern: tuple[str, ...] = ()
    yes: bool = False
    verbose: bool = False
    ask_become_pass: bool = False
    vault_id: tuple[str, ...] = ()
    vault_password_file: tuple[str, ...] = ()
    extra_vars: tuple[str, ...] = ()
    output_format: str = "text"

    @cached_property
    def output(self) -> Output:
        return Output(json=self.output_format == "json", verbose=self.verbose)

    @cached_property
    def sources(self) -> tuple[Path, ...]:
        """The inventory files: as given, else $PIFLEET_INVENTORY, else ./inventory.yml."""
        told = self.inventory or tuple(filter(None, [os.environ.get("PIFLEET_INVENTORY")])) or (DEFAULT_INVENTORY,)
        return tuple(Path(name) for name in told)

    @cached_property
    def fleet(self) -> Fleet:
        """The inventory's fleet. Raises BadInput with every mistake in it and in the selecting options."""
        from pifleet import inventory

        fleet = inventory.load(
            self.sources, extra_vars=self.extra_vars, vault_ids=self.vault_id,
            vault_password_files=self.vault_password_file, become_password=self._become_password(),
        )
        self._check_selection(fleet)
        return fleet

    @cached_property
    def selection(self) -> Selection:
        """Which part of the fleet the options mean."""
        from pifleet.selection import Selection

        return Selection(self.limit, self.developer, self.pattern)

    def sandboxes(self, titles: Sequence[str] = ()) -> tuple[Sandbox, ...]:
        """Those named, or all, narrowed by --developer and --pattern. Raises BadInput for a name that is none."""
        mistakes = Mistakes()
        named = [self._named(title, mistakes) for title in titles]
        mistakes.raise_any("no such sandbox")
        boxes: Iterable[Sandbox] = dict.fromkeys(box for box in named if box) if titles else self.fleet.sandboxes
        return tuple(filter(self.selection.has_sandbox, boxes))

    def sandbox(self, title: str) -> Sandbox:
        """The one sandbox of this name. Raises BadInput."""
        mistakes = Mistakes()
        box = self._named(title, mistakes)
        mistakes.raise_any("no such sandbox")
        assert box
        return box

    def _named(self, title: str, mistakes: Mistakes) -> Sandbox | None:
        box = self.fleet.sandbox(title)
        if box is None:
            own = [other.title for other in self.fleet.sandboxes if other.developer == title]
            wanted = f"name one of {', '.join(own)}" if own else choose(
                title, [name for other in self.fleet.sandboxes for name in (other.title, other.developer)]
            )
            mistakes.add("DEV", show(title), wanted)
        return box

    def _check_selection(self, fleet: Fleet) -> None:
        mistakes = Mistakes()
        known = {
            "--limit": (self.limit, list(fleet.hosts)),
            "--developer": (self.developer, [box.developer for box in fleet.sandboxes]),
            "--pattern": (self.pattern, sorted({name for host in fleet.hosts.values() for name in host.patterns})),
        }
        for option, (told, right) in known.items():
            for name in told:
                if not any(fnmatchcase(other, name) for other in right):
                    mistakes.add(option, show(name), choose(name, right))
        mistakes.raise_any("a selection names what the inventory does not have")

    def _become_password(self) -> Secret | None:
        if not self.ask_become_pass:
            return None
        return Secret(click.prompt("BECOME password", hide_input=True, err=True))


def near(path: Path) -> str:
    """A path as a person would type it: relative where it lies below the present folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _split(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for part in value for name in part.split(",") if name)


_SHARED = (
    click.option("-i", "--inventory", multiple=True, metavar="FILE", help="An inventory; may be given more than once."),
    click.option("--limit", multiple=True, metavar="HOST[,HOST]", callback=_split, help="Only these hosts."),
    click.option("--developer", multiple=True, metavar="DEV[,DEV]", callback=_split, help="Only their sandboxes."),
    click.option("--pattern", multiple=True, metavar="NAME", callback=_split, help="Only sandboxes of this pattern."),
    click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for the password that sudo wants on the hosts."),
    click.option("--vault-id", multiple=True, metavar="ID", help="As for ansible-playbook."),
    click.option("--vault-password-file", multiple=True, metavar="FILE", help="As for ansible-playbook."),
    click.option("-e", "--extra-vars", multiple=True, metavar="VARS", help="As for ansible-playbook."),
    click.option("-v", "--verbose", is_flag=True, help="Also show each task's line."),
)
_YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
_OUTPUT = click.option(
    "-o", "--output", "output_format", type=click.Choice(["text", "json"]), default="text",
    help="json: one document on standard output.",
)


def verb(*, asks: bool = False, reports: bool = True, positional: bool = False, **settings: Any) -> Callable[
    [Callable[..., int | None]], click.Command
]:
    """Make a command of a function that takes a Call first.

    `asks` adds --yes, `reports` adds -o, `positional` takes the first inventory as argument.
    """

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def wrapped(**params: Any) -> int | None:
            first = params.pop("first_inventory", None)
            shared = {name: params.pop(name) for name in Call.__dataclass_fields__ if name in params}
            if first:
                shared["inventory"] = (first, *shared["inventory"])
            return function(Call(**shared), **params)

        options = (*_SHARED, *([_YES] if asks else []), *([_OUTPUT] if reports else []))
        for option in reversed(options):
            wrapped = option(wrapped)
        if positional:
            wrapped = click.argument("first_inventory", metavar="[INVENTORY]", required=False)(wrapped)
        made: click.Command = click.command(**settings)(wrapped)
        return made

    return decorate
