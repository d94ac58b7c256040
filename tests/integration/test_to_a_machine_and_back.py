"""One host that offers both: sandboxes with unfinished work get a micro-VM for a container by a word, and come back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.integration.carried import EVERYTHING, NAMES, begin_work, carry_over_and_back
from tests.integration.micro_farm import HOST, ROOT, Micro, micro_of
from tests.lab.farm import Lab
from tests.lab.fixtures import started

# Root asks git of repositories that are others', and leaves their index as it is.
GIT = ("GIT_OPTIONAL_LOCKS=0", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")


@dataclass
class Both(Micro):
    """A farm of one host that offers two patterns."""

    @property
    def sources(self) -> list[str]:
        groups = {name: {"hosts": {HOST: {}}} for name in ("pifleet_docker", "pifleet_gondolin")}
        (self.folder / "addresses.yml").write_text(self.lab.inventory())
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"vars": self.overlay, "children": groups}}))
        return [str(self.folder / "inventory.json"), str(self.folder / "addresses.yml")]

    def of(self, pattern: str) -> Both:
        """The same farm, in which the one word is this one."""
        defaults = {**self.overlay["pifleet_defaults"], "pattern": pattern}
        return replace(self, overlay={**self.overlay, "pifleet_defaults": defaults})

    def everything(self) -> dict[str, str]:
        """As the host sees it: no command of a micro-VM can see pi's sessions."""
        found = {}
        for name in NAMES:
            folder = f"{ROOT}/{name.replace('/', '-')}"
            script = EVERYTHING.replace("/workspace", f"{folder}/workspace").replace("/home/pi", f"{folder}/home")
            found[name] = str(self.host.inside("env", *GIT, "sh", "-c", script))
        return found

    def there(self) -> dict[str, int]:
        """How many sandboxes of each pattern the host has."""
        containers = self.docker(HOST, "ps", "-aq", "--filter", "label=io.pifleet.fleet").split()
        units = self.sh("ls /etc/systemd/system").split()
        return {"docker": len(containers), "gondolin": sum(unit.startswith("pifleet-sandbox-") for unit in units)}


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The farm as pattern docker, with unfinished work and a session of pi's in each sandbox."""
    name = os.environ.get("PIFLEET_LAB", "machine")
    lab = started(name, HOST)
    alike = micro_of(lab, tmp_path_factory.mktemp("machine"), ())
    farm = Both(lab, alike.folder, {
        **alike.overlay,
        "pifleet_repos": {"web": {"url": lab.git.http_url("web"), "ref": "main"}},
        "pifleet_developers": {"ana": {"repos": ["web"]}, "bo": {"repos": ["web"]}},
    })
    begin_work(farm.of("docker"))
    yield farm.of("docker")
    Lab(name).down()


def test_one_word_carries_all_work_to_a_micro_vm_and_another_brings_it_back(working: Both) -> None:
    carry_over_and_back(working, "gondolin")
