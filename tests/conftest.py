"""Owns what holds for every test: properties are judged by what they find, not by how busy the machine is; and
pifleet called as a person calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings

settings.register_profile("pifleet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pifleet")

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command of pifleet, in the test's own folder, with no other inventory than what lies there, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIFLEET_INVENTORY", raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*args: str, **options: Any) -> Result:
        from pifleet.cli import main

        return CliRunner().invoke(main, args, **options)

    return call
