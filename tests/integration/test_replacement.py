"""The image's pin changes under sandboxes that hold unfinished work: rescued, replaced, and equal byte for byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.integration.farm import BIN, EXAMPLE, WORK, Farm

NAMES = ("ana/main", "bo/main", "di/main")
KILLS = 10


@pytest.fixture(scope="module")
def working(provisioned: Farm) -> Iterator[Farm]:
    """The farm with work in three sandboxes; afterwards with the image that it had."""
    for title, repo in zip(NAMES, ("web", "web", "api"), strict=True):
        done = provisioned.pifleet("exec", title, "--", "sh", "-c", WORK.format(repo=repo))
        assert done.code == 0, done.err
    yield provisioned
    assert provisioned.provision().code == 0


def pinned(farm: Farm, *packages: str) -> Farm:
    """The farm with these packages in its image: another image than without."""
    return replace(farm, overlay={**farm.overlay, "pifleet_image_packages": list(packages)})


def pinned_on(farm: Farm, host: str, **others: Any) -> Farm:
    """The farm with bo's sandbox on this host, and with `others` among its developers."""
    people = yaml.safe_load(EXAMPLE.read_text())["all"]["vars"]["pifleet_developers"]
    return replace(farm, overlay={
        **farm.overlay, "pifleet_developers": {**people, "bo": {**people["bo"], "host": host}, **others}})


def pulled(farm: Farm) -> dict[str, Any]:
    done = farm.pifleet("pull", *NAMES, "-o", "json")
    assert done.code == 0, done.out + done.err
    return {one["sandbox"]: one for one in done.json["pulls"]}


def images(farm: Farm) -> set[str]:
    ids = farm.pifleet("status", *NAMES, "-o", "json").json["sandboxes"]
    return {row["image"] for row in ids}


def test_a_changed_pin_replaces_the_sandboxes_and_keeps_all_their_work(working: Farm) -> None:
    before, image = pulled(working), images(working)
    other = pinned(working, "jq")

    done = other.provision()

    assert done.code == 0, done.out + done.err
    assert {one["sandbox"] for one in done.json["pulls"]} >= set(NAMES)
    assert all(one["result"] in ("new", "unchanged") and not one["incomplete"] for one in done.json["pulls"])
    assert not images(other) & image
    after = pulled(other)
    assert {name: (one["result"], one["generation"]) for name, one in after.items()} == {
        name: ("unchanged", one["generation"]) for name, one in before.items()}
    status = other.pifleet("exec", "ana", "--", "git", "-C", "web", "status").out
    assert "rebase in progress" in status
    assert other.pifleet("exec", "ana", "--", "git", "-C", "web", "stash", "list").out.count("stash@") == 2
    assert (other.plan().code, other.provision().code) == (0, 0)


def test_a_sandbox_whose_work_cannot_come_home_is_not_replaced_unless_it_is_given_up(working: Farm) -> None:
    made = working.pifleet("exec", "bo", "--", "mkfifo", "/workspace/web/pipe")
    assert made.code == 0
    container = working.docker(working.home_of("bo/main"), "inspect", "-f", "{{.Id}}", "pi-bo-main")

    refused = pinned(working).provision("--developer", "bo")
    kept = working.docker(working.home_of("bo/main"), "inspect", "-f", "{{.Id}}", "pi-bo-main")
    row = next(row for row in refused.json["outcomes"] if row["sandbox"] == "bo/main")
    given_up = pinned(working).provision("--developer", "bo", "--discard", "bo")

    assert (refused.code, row["result"]) == (1, "skipped")
    assert "web/pipe" in row["error"]["saw"]
    assert "--discard" in row["error"]["try"]
    assert kept == container
    assert given_up.code == 0, given_up.out + given_up.err
    assert working.docker(working.home_of("bo/main"), "inspect", "-f", "{{.Id}}", "pi-bo-main") != container
    assert working.pifleet("exec", "bo", "--", "rm", "/workspace/web/pipe").code == 0


def test_a_sandbox_that_is_pinned_to_another_host_moves_with_all_its_work(working: Farm) -> None:
    old = working.home_of("bo/main")
    new = next(name for name in working.lab.hosts() if name != old)
    pinned_to = pinned_on(working, new)
    before = pulled(working)["bo/main"]["generation"]

    planned = pinned_to.plan()
    done = pinned_to.provision()

    assert [(step["action"], step["host"]) for step in planned.json["steps"] if step["item"] == "sandbox"] == [
        ("remove", old)]
    assert done.code == 0, done.out + done.err
    assert working.home_of("bo/main") == new
    left = working.lab.host(old).inside("sh", "-c", "docker ps -a --format '{{.Names}}'; ls /var/lib/pifleet/sandboxes")
    assert "bo-main" not in left
    assert "rebase in progress" in pinned_to.pifleet("exec", "bo", "--", "git", "-C", "web", "status").out
    assert pinned_to.pifleet("exec", "bo", "--", "git", "-C", "web", "stash", "list").out.count("stash@") == 2
    assert pinned_to.pifleet("exec", "bo", "--", "cat", "web/staged", "web/ignored.log").out == "worktree\nignored\n"
    diff = pinned_to.pifleet("results", "diff", "bo", str(before), "-o", "json")
    assert diff.code == 0, diff.out + diff.err
    assert (pinned_to.plan().code, pinned_to.provision().code) == (0, 0)


def test_a_moving_sandbox_that_is_given_up_is_new_on_its_new_host_and_gone_from_the_old_one(working: Farm) -> None:
    old = working.home_of("bo/main")
    new = next(name for name in working.lab.hosts() if name != old)
    assert working.pifleet("exec", "bo", "--", "mkfifo", "/workspace/web/pipe").code == 0
    pinned_to = pinned_on(working, new)

    refused = pinned_to.provision()
    given_up = pinned_to.provision("--discard", "bo")
    moved_back = working.home_of("bo/main")

    assert refused.code == 1
    assert given_up.code == 0, given_up.out + given_up.err
    assert moved_back == new
    left = working.lab.host(old).inside("sh", "-c", "docker ps -a --format '{{.Names}}'; ls /var/lib/pifleet/sandboxes")
    assert "bo-main" not in left
    assert pinned_to.pifleet("exec", "bo", "--", "git", "-C", "web", "status", "--porcelain").out == ""
    assert (pinned_to.plan().code, pinned_to.provision().code) == (0, 0)


def test_a_sandbox_that_may_not_move_yet_is_served_where_it_is_and_in_nobodys_way(working: Farm) -> None:
    old = working.home_of("bo/main")
    new = next(name for name in working.lab.hosts() if name != old)
    assert working.pifleet("exec", "bo", "--", "mkfifo", "/workspace/web/pipe").code == 0
    newcomers = {f"new{at}": {"model": "dry", "host": host} for at, host in enumerate((old, new))}

    done = pinned_on(working, new, **newcomers).provision()
    row = {row["sandbox"] or row["host"]: row["result"] for row in done.json["outcomes"]}
    served = working.pifleet("verify", "bo")
    removed = pinned_on(working, new, **newcomers).pifleet("remove", *newcomers, "--yes")

    assert (done.code, row["bo/main"]) == (1, "skipped")
    assert {row[name] for name in ("new0/main", "new1/main", old, new)} == {"changed"}
    assert working.home_of("bo/main") == old
    assert served.code == 0, served.out + served.err
    assert removed.code == 0, removed.out + removed.err
    assert working.pifleet("exec", "bo", "--", "rm", "/workspace/web/pipe").code == 0


def test_killed_anywhere_and_run_again_it_ends_with_the_same_work(working: Farm) -> None:
    seed = int(os.environ.get("PIFLEET_SEED", time.time()))
    print(f"PIFLEET_SEED={seed}")
    chance = random.Random(seed)
    before = {name: one["generation"] for name, one in pulled(working).items()}
    for attempt in range(KILLS):
        other = pinned(working, *(["jq"] if attempt % 2 else []))
        sources = [part for source in other.sources for part in ("-i", source)]
        child = subprocess.Popen(
            [str(BIN / "pifleet"), "provision", "--yes", *sources], cwd=other.folder, start_new_session=True,
            env={**os.environ, "NO_COLOR": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(1, 20))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

        done = other.provision()

        assert done.code == 0, done.out + done.err
        after = pulled(other)
        assert {name: (one["result"], one["generation"]) for name, one in after.items()} == {
            name: ("unchanged", number) for name, number in before.items()}, (seed, attempt)
