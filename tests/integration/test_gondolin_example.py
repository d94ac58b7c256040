"""On a host of pattern gondolin, pi's own example extension works as one installs it by hand, with no variable set."""

from __future__ import annotations

from tests.integration import gondolin_example as example
from tests.integration.micro_farm import PATIENCE, Micro

SCRIPT = """CALL bash {"command": "uname -r > by-bash.txt; id -u >> by-bash.txt"}
CALL write {"path": "by-write.txt", "content": "written"}
SAY done"""


def test_the_example_extension_installed_by_hand_works_with_no_variable_set(micro: Micro) -> None:
    example.install(micro)
    micro.host.inside("timeout", str(PATIENCE), *example.pi(micro, "project", "-p", SCRIPT))

    project = f"{example.HOME}/project"
    release, uid = micro.sh(f"cat {project}/by-bash.txt").split()
    assert (release != micro.sh("uname -r").strip(), uid) == (True, "0")
    said = micro.sh(f"stat -c %U {project}/*; cat {project}/by-write.txt").split()
    assert said == [example.USER, example.USER, "written"]
