"""An attempt to get out of a sandbox that looks for processes of others finds those that stay, none on its way in."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can start processes of another user")
# A namespace of its own has no processes of this machine's.
ALONE = ("unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c")
LOOKS = """
import os, sys, time
from pifleet.sandbox.escape import machine
machine.SECONDS = 1
if not os.fork():
    os.seteuid(54321)
    time.sleep(float(sys.argv[1]))
    os.seteuid(0)
    time.sleep(60)
while not list(machine.others()):
    pass
try:
    print(machine.strangers())
except FileNotFoundError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize(("seconds", "said"), [("60", "1: uid 54321"), ("0.3", "nothing there")],
                         ids=["one that stays", "one on its way"])
def test_a_process_of_another_counts_when_it_stays(seconds: str, said: str) -> None:
    done = subprocess.run([*ALONE, LOOKS, seconds], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == said
