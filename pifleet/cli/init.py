"""Owns the verb init.
It must not know what an inventory says."""

from __future__ import annotations

from pathlib import Path

import click

from pifleet.errors import Refused


@click.command()
@click.argument("file", default="inventory.yml", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Write a commented starter inventory.

    To FILE (inventory.yml), never over an existing one, or to standard output when FILE is -.
    """
    from pifleet.inventory.starter import TEXT

    if str(file) == "-":
        click.echo(TEXT, nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as made:
            made.write(TEXT)
    except FileExistsError:
        raise Refused(f"{file} exists and is left as it is", try_="pifleet init OTHER.yml") from None
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from None
    click.echo(f"wrote {file}; next: edit it, then pifleet plan {file}")
