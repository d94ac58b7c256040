"""A farm to test on: hosts with systemd, sshd and an engine of their own, a git server, a scripted model.

`python -m tests.lab up` starts it, tests import `Lab`; it must not know what pifleet does to the hosts.
"""

from tests.lab.engine import CannotCarry, LabError
from tests.lab.farm import Lab
from tests.lab.hosts import Host

__all__ = ["CannotCarry", "Host", "Lab", "LabError"]
