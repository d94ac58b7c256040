"""A workspace of pattern gondolin full of wires: each springs by hand, and none when pifleet handles the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.integration.gondolin_wires import BAITS, HOME, PREPARE, WATCH, WIRES, WORKSPACE, mark
from tests.integration.micro_farm import ROOT, Micro

BOX = "mal-main"
FOLDER = f"{ROOT}/{BOX}"
BAIT = {name: f"{BAITS}/{wire.bait}" for name, wire in WIRES.items() if wire.bait}
# Each with what it says when it has done its work: one that gave up before would spring nothing either.
VERBS: dict[Sequence[str], Callable[[Any], bool]] = {
    ("plan",): lambda told: told["steps"] == [],
    ("status", "mal"): lambda told: [row["state"] for row in told["sandboxes"]] == ["running"],
    ("run", "mal", "-p", "SAY hello"): lambda told: [run["answer"] for run in told["runs"]] == ["hello"],
    ("pull", "mal"): lambda told: [repo["name"] for repo in told["pulls"][0]["repos"]] == ["api"],
    ("verify", "mal"): lambda told: bool(told["sandboxes"][0]["checks"]),
}


@pytest.fixture(scope="module")
def trapped(micro: Micro) -> Iterator[Micro]:
    """On a host where what is planted would lead somewhere: names of the guest are there too, and the baits."""
    micro.repaired()
    micro.sh(f"mkdir -p {HOME} && chmod 1777 {HOME} && ln -sfn {FOLDER}/workspace {WORKSPACE}")
    for path in BAIT.values():
        micro.sh(f"mkdir -p $(dirname {path}); touch {path}")
    watched = [word for name, path in BAIT.items() for word in (path, mark(name))]
    micro.host.inside("systemd-run", "--quiet", "--unit=lab-baits", "python3", "-c", WATCH, *watched)
    yield micro
    micro.sh(f"systemctl stop lab-baits; rm -rf {WORKSPACE} {HOME}")
    micro.repaired()


@pytest.fixture(scope="module")
def wired(trapped: Micro) -> Micro:
    """With every wire planted from inside, as an agent would."""
    plant(trapped)
    return trapped


@pytest.fixture(scope="module")
def armed(wired: Micro) -> Micro:
    """With every wire as if none had been sprung yet."""
    clear(wired)
    plant(wired)
    return wired


def plant(farm: Micro) -> None:
    script = "; ".join(["set -e", PREPARE, *(wire.plant for wire in WIRES.values())])
    done = farm.pifleet("exec", "mal", "--", "sh", "-c", script)
    assert done.code == 0, done.err


def sprung(farm: Micro) -> set[str]:
    """The wires that left a mark, in the sandbox's home or in the host's folder of the same name."""
    names = farm.sh(f"ls {HOME} {FOLDER}/home 2>/dev/null; :").split()
    return {name.removeprefix("sprung-") for name in names if name.startswith("sprung-")}


def clear(farm: Micro) -> None:
    farm.sh(f"rm -rf {HOME}/sprung-* {FOLDER}/home/sprung-*")


def on_host(farm: Micro, script: str) -> None:
    """What a careless program would do as the developer's user, with nothing between it and the host."""
    uid = farm.sh(f"stat -c %u {FOLDER}/workspace").strip()
    agent = f"{HOME}/agent"
    farm.sh(f"mkdir -p -m 1777 {agent}; [ -e {agent}/models.json ] || cp {FOLDER}/etc/models.json {agent}/")
    path = f"{farm.runtime()}/tools:{farm.runtime()}/bin:/usr/bin:/bin"
    farm.host.inside(
        "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "env", "-i", f"HOME={HOME}", f"PATH={path}",
        f"PI_CODING_AGENT_DIR={agent}", "PI_OFFLINE=1", "timeout", "60", "sh", "-c", script, check=False)


@pytest.mark.parametrize("name", WIRES)
def test_each_wire_springs_by_hand_on_the_host(wired: Micro, name: str) -> None:
    clear(wired)
    on_host(wired, WIRES[name].spring)

    assert name in sprung(wired)


@pytest.mark.parametrize("name", [name for name in WIRES if name not in BAIT])
def test_each_program_springs_by_hand_where_pifleets_own_programs_work(wired: Micro, name: str) -> None:
    clear(wired)
    wired.in_place("work", "sh", "-c", f"{WIRES[name].spring} >/dev/null 2>&1; :", sandbox=BOX)

    assert name in sprung(wired)


@pytest.mark.parametrize("verb", VERBS, ids=lambda words: words[0])
def test_no_verb_runs_reads_or_follows_what_a_workspace_names(armed: Micro, verb: Sequence[str]) -> None:
    done = armed.pifleet(*verb, "-o", "json")

    assert done.code == 0, done.err
    assert VERBS[verb](done.json), done.out
    assert sprung(armed) == set()


def test_a_link_to_a_file_of_the_host_is_one_of_the_guest(armed: Micro) -> None:
    armed.pifleet("exec", "mal", "--", "ln", "-sf", "/etc/hostname", f"{WORKSPACE}/link")

    assert armed.pifleet("exec", "mal", "--", "cat", "link").out == "sandbox\n"


def test_removal_runs_reads_and_follows_none_either(armed: Micro) -> None:
    baits = armed.sh(f"find {BAITS} | sort")
    done = armed.pifleet("remove", "mal", "--yes")

    assert done.code == 0, done.out + done.err
    assert armed.sh(f"ls {ROOT}").split().count(BOX) == 0
    assert sprung(armed) == set()
    assert armed.sh(f"find {BAITS} | sort") == baits
