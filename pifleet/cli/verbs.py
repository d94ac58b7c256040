"""Owns groups of verbs that are known by name and one-line help long before they are imported.
It must not import a verb that nobody asked for, nor anything but click."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import ClassVar, cast

import click


class Verbs(click.Group):
    """`verbs` maps each name to its help; the verb itself is `command` of the module of that name in `package`."""

    verbs: ClassVar[Mapping[str, str]] = {}
    package: ClassVar[str] = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        return cast(click.Command, importlib.import_module(f"{self.package}.{cmd_name}").command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.verbs and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], self.verbs, 1)
            ctx.fail(f"no verb {args[0]!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(self.verbs.items()))
