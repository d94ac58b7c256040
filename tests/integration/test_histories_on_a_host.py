"""Random histories of a real sandbox, its host rebooted, full, cut off or killed: at the end every byte is at home.

A failure prints its seed and number; PIFLEET_SEED=SEED PIFLEET_HISTORIES=NUMBER-NUMBER runs it again.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace

import pytest

from tests.integration.farm import Farm
from tests.integration.host_history import HostHistory

SEED = os.environ.get("PIFLEET_SEED", str(int(time.time())))
FIRST, LAST = map(int, os.environ.get("PIFLEET_HISTORIES", "0-9").split("-"))


@pytest.mark.parametrize("number", range(FIRST, LAST + 1))
def test_after_any_history_on_a_host_every_byte_is_at_home(small: Farm, number: int) -> None:
    folder = small.folder / f"history-{number}"
    folder.mkdir()
    farm = replace(small, folder=folder, overlay={**small.overlay, "pifleet_results": str(folder / "results")})
    history = HostHistory(farm, SEED, number)
    try:
        history.run()
    finally:
        again = f"PIFLEET_SEED={SEED} PIFLEET_HISTORIES={number}-{number}"
        print(f"{again}\n  " + "\n  ".join(history.journal))
    shutil.rmtree(folder)
