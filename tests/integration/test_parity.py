"""The same acts on a sandbox of each pattern, but for what differs by nature, which is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.cluster_farm import ClusterFarm
from tests.integration.farm import small_farm
from tests.integration.micro_farm import ROOT, Micro
from tests.integration.parity import (
    ACTS,
    Box,
    it_has_no_power,
    pi_is_the_pinned_one,
)
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


@pytest.fixture(scope="module")
def gondolin(micro: Micro) -> Box:
    micro.repaired()
    return Box(micro, "gondolin")


@pytest.fixture(scope="module")
def pod(pods: ClusterFarm) -> Box:
    pods.repaired()
    return Box(pods, "pod")


Act = Callable[[Box], None]
# A command is root's, in a guest of its own in which there is no pi: see TestGondolinByNature. A pod's user is the same
# in every pod: see TestPodByNature.
DIFFERS = {"gondolin": (it_has_no_power, pi_is_the_pinned_one), "pod": (it_has_no_power,)}
CASES = [(pattern, act) for pattern in ("docker", "openshell", "gondolin", "pod") for act in ACTS
         if act not in DIFFERS.get(pattern, ())]


@pytest.mark.parametrize(("pattern", "act"), CASES, ids=lambda word: getattr(word, "__name__", word))
def test_every_pattern_does_the_same(pattern: str, act: Act, request: pytest.FixtureRequest) -> None:
    box: Box = request.getfixturevalue(pattern)

    act(box)


class TestPodByNature:
    """What differs there, as docs/kubernetes.md and `verify` say it."""

    def test_its_user_has_no_power_and_is_the_same_in_every_pod(self, pod: Box) -> None:
        uid, *sets = pod.sh("id -u; grep -E 'CapEff|CapBnd' /proc/self/status | awk '{print $2}'").split()

        assert (uid, {int(one, 16) for one in sets}) == ("1000", {0})


class TestGondolinByNature:
    """What differs there, as docs/gondolin.md and `verify` say it."""

    def test_a_mode_and_an_owner_are_not_changed_and_nothing_says_so(self, gondolin: Box) -> None:
        change = "cd /workspace; touch plain; {} plain; echo $?; stat -c '%a %u' plain; rm plain"

        kept = gondolin.sh(change.format("true"))
        assert kept.startswith("0\n644 ")
        assert [gondolin.sh(change.format(word)) for word in ("chmod 755", "chown 65534:65534")] == [kept, kept]

    def test_a_mode_that_was_there_is_kept(self, gondolin: Box) -> None:
        made = "import os; os.close(os.open('/workspace/tool', os.O_CREAT | os.O_WRONLY, 0o755))"

        gondolin.exec("python3", "-c", made)
        assert gondolin.sh("echo 'echo works' > tool; ./tool; rm tool") == "works\n"

    def test_a_command_is_roots_of_the_guest_where_there_is_no_pi(self, gondolin: Box) -> None:
        assert gondolin.sh("id -u; command -v pi || echo none").split() == ["0", "none"]

    def test_what_a_command_writes_is_the_developers_who_has_no_power(self, gondolin: Box, micro: Micro) -> None:
        gondolin.sh("echo made > /workspace/made")

        assert micro.host.inside("stat", "-c", "%U", f"{ROOT}/ana-main/workspace/made").strip() == "pi-ana"
        rows = self.proof(gondolin)
        assert {rows[name]["verdict"] for name in ("user", "capabilities", "privileges", "pi")} == {"pass"}

    def test_verify_names_each_of_them(self, gondolin: Box) -> None:
        rows = self.proof(gondolin)

        modes, root = rows["not enforced: modes"], rows["not enforced: root"]
        assert "chmod and chown" in modes["text"]
        assert "micro-VM" in root["text"]
        assert modes["verdict"] == root["verdict"] == "note"

    def proof(self, box: Box) -> dict[str, dict[str, str]]:
        [found] = box.farm.pifleet("verify", "ana", "-o", "json").json["sandboxes"]
        return {row["check"]: row for row in found["checks"]}
