"""What a plan says to a person."""

from __future__ import annotations

import io

import pytest

from pifleet.cli.tables import show_plan
from pifleet.look import Look
from pifleet.output import Output
from pifleet.place import Placement
from pifleet.plan import Plan, Step
from pifleet.report import Check
from pifleet.selection import ALL
from tests.unit.fleets import box, fleet

NOTE = Check("prod", "policies", "note", "nothing is known here that enforces them")
HOST = Step("host", "prod", "", "namespace", "create", "missing", "cluster")
SANDBOX = Step("sandbox", "prod", "ana/main", "pod", "change", "replicas differ", "sandbox_pod")


@pytest.mark.parametrize("steps", [(HOST, SANDBOX), (SANDBOX,)], ids=["a host and its sandbox", "a sandbox alone"])
def test_what_a_host_is_noted_for_is_said_once_whatever_changes_there(steps: tuple[Step, ...]) -> None:
    out = io.StringIO()
    plan = Plan(steps, notes=(NOTE,))

    show_plan(Output(stdout=out, stderr=out), Look(fleet(box()), ALL, {}, Placement({}, {}, {}), {}, plan, {}))

    assert out.getvalue().count("nothing is known here that enforces them") == 1
    assert out.getvalue().index("prod") < out.getvalue().index("ana/main on prod")
