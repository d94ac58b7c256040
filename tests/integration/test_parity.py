"""The same acts on a sandbox of each pattern."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.farm import small_farm
from tests.integration.parity import ACTS, Box
from tests.integration.shells import Shells
from tests.lab.farm import HOSTS
from tests.lab.fixtures import started


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    lab = started("parity", HOSTS[0])
    farm = small_farm(lab, tmp_path_factory.mktemp("parity"), ana={"repos": ["api"]})
    done = farm.provision()
    assert done.code == 0, done.out + done.err
    yield Box(farm, "docker")
    lab.down()


@pytest.fixture(scope="module")
def openshell(shells: Shells) -> Box:
    shells.repaired()
    return Box(shells, "openshell")


PATTERNS = ["docker", "openshell"]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_does_the_same(pattern: str, act: Callable[[Box], None], request: pytest.FixtureRequest) -> None:
    box: Box = request.getfixturevalue(pattern)

    act(box)
