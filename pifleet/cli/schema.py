"""Owns the verb schema.
It must not know what is in a schema."""

from __future__ import annotations

import json

import click


@click.command()
def command() -> None:
    """Print the JSON Schema of inventories, for editors."""
    from pifleet.inventory.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
