"""Owns turning the roles' templates into text, with the Jinja settings that Ansible itself uses.
It must not know hosts or sandboxes: whoever calls it says what goes in."""

from __future__ import annotations

import functools
from typing import Any

from pifleet import content


@functools.cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Configuration files, not pages: HTML escaping would corrupt them.
    return Environment(
        loader=FileSystemLoader(content.root() / "roles"), trim_blocks=True, keep_trailing_newline=True,
        undefined=StrictUndefined, autoescape=False,  # noqa: S701
    )


def render(template: str, **variables: Any) -> str:
    """The text of a template named from the roles folder, e.g. "model_gateway/templates/nginx.conf.j2"."""
    return str(_environment().get_template(template).render(**variables))
