"""A gateway in trouble at the worst moment: clear rows, no container left over, the same command finishes the rest."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.integration.farm import Done
from tests.integration.openshell import until
from tests.integration.shells import HOST, Shells

KILL = "systemctl kill -s KILL pifleet-openshell"
BIG = 48 << 20
# A repository whose way into a sandbox takes long enough to be hit.
MAKE_BIG = f"""
set -e; rm -rf /srv/git/big.git /tmp/big; git init -q --bare --initial-branch=main /srv/git/big.git
git init -q --initial-branch=main /tmp/big && cd /tmp/big && head -c {BIG} /dev/urandom > random && git add random
git -c user.name=a -c user.email=a@example.com commit -qm big && git push -q /srv/git/big.git main
touch /srv/git/big.git/git-daemon-export-ok && chown -R git:git /srv/git/big.git && rm -rf /tmp/big
"""
PROCESS = "ps -eo args | grep -v grep | grep -q -- '{}'"


@pytest.fixture(scope="module")
def farm(shells: Shells) -> Iterator[Shells]:
    """The farm with a repository of weight, before anybody has it."""
    shells.repaired()
    shells.lab.git.host.inside("sh", "-c", MAKE_BIG)
    repos = {**shells.overlay["pifleet_repos"], "big": {"url": shells.lab.git.http_url("big"), "ref": "main"}}
    yield Shells(shells.lab, shells.folder, {**shells.overlay, "pifleet_repos": repos})
    shells.repaired()


@contextmanager
def killed_when(farm: Shells, process: str, seconds: float = 300) -> Iterator[list[bool]]:
    """Kill the gateway as soon as a process like this runs on its host; holds whether that happened."""
    hit: list[bool] = []
    script = f"end=$(($(date +%s) + {seconds:.0f})); until {PROCESS.format(process)}; do " \
             f"[ $(date +%s) -lt $end ] || exit 1; sleep 0.02; done; {KILL}"
    waiting = threading.Thread(target=lambda: hit.append(
        subprocess.run(["docker", "exec", farm.lab.host(HOST).container, "sh", "-c", script],
                       capture_output=True, check=False).returncode == 0))
    waiting.start()
    yield hit
    waiting.join()


def failed_clearly(done: Done) -> None:
    """Every row that failed says what and what next."""
    rows = [row for row in done.json["outcomes"] if row["result"] == "failed"]
    assert (done.code, bool(rows)) in ((0, False), (1, True)), done.out + done.err
    assert all(row["error"]["headline"] and row["error"]["try"] for row in rows)


def nothing_left_over(farm: Shells) -> None:
    """As many containers as sandboxes, and no copy of any."""
    listed = farm.shell("sandbox", "list", "--all-workspaces", "--names").split()
    made = farm.docker(HOST, "ps", "-aq", "--filter", "label=openshell.ai/managed-by=openshell").split()
    assert len(made) == len(listed)
    assert "rescue" not in farm.docker(HOST, "ps", "-a") + farm.docker(HOST, "images")


def finished(farm: Shells) -> None:
    """The same command, at most twice: a gateway that has just begun again is still finding its sandboxes."""
    until(lambda: farm.provision().code == 0, seconds=600)
    assert farm.plan().json["steps"] == []
    nothing_left_over(farm)


def test_killed_while_a_sandbox_is_made(farm: Shells) -> None:
    farm.pifleet("openshell", HOST, "--", "sandbox", "delete", "cy-main", "--workspace", "pi-cy")
    with killed_when(farm, "sandbox create") as hit:
        done = farm.provision()

    failed_clearly(done)
    assert hit == [True]
    finished(farm)


def test_killed_while_a_command_runs(farm: Shells) -> None:
    """Whether the command itself lives on is the gateway's matter: the double's ends with its gateway."""
    container = farm.container("ana")
    with killed_when(farm, "sleep 7777") as hit:
        done = farm.pifleet("exec", "ana", "--", "sh", "-c", "sleep 7777; echo ended")

    assert hit == [True]
    assert done.code == 255
    assert "ended" not in done.out
    until(lambda: farm.phase("ana") == "Ready", seconds=120)
    assert farm.container("ana") == container
    until(lambda: farm.pifleet("exec", "ana", "--", "true").code == 0, seconds=120)


def test_killed_while_a_repository_comes_in(farm: Shells) -> None:
    more = farm.with_developers(ana={"repos": ["web", "api", "big"], "model": "dry"})
    with killed_when(more, "pifleet-incoming") as hit:
        done = more.provision()

    failed_clearly(done)
    assert hit == [True]
    finished(more)
    assert more.inside("ana", "git -C /workspace/big status --porcelain; wc -c < /workspace/big/random") == f"{BIG}\n"
    assert "incoming" not in more.inside("ana", "ls -A /workspace")


def test_killed_while_work_comes_home(farm: Shells) -> None:
    farm.inside("bo", f"head -c {BIG} /dev/urandom > /workspace/web/random")
    wanted = farm.inside("bo", "sha256sum /workspace/web/random").split()[0]
    with killed_when(farm, "ssh -F none -T .*bo-main") as hit:
        done = farm.pifleet("pull", "bo", "-o", "json")
    row = done.json["pulls"][0]

    assert hit == [True]
    assert row["result"] in ("new", "failed")
    until(lambda: farm.pifleet("pull", "bo").code == 0, seconds=120)
    kept = subprocess.run(["sha256sum", str(farm.results / "bo" / "main" / "web" / "random")], capture_output=True,
                          text=True, check=True)
    assert kept.stdout.split()[0] == wanted


@pytest.mark.parametrize("again", ["reboot", "power"])
def test_after_a_reboot_every_sandbox_is_there_with_its_work(farm: Shells, again: str) -> None:
    farm.inside("ana", "cd /workspace/web && echo kept > kept")
    host = farm.lab.host(HOST)
    if again == "power":
        host.kill()
    else:
        host.stop()
    host.start()
    finished(farm)

    assert farm.inside("ana", "cat /workspace/web/kept") == "kept\n"


def test_an_expired_certificate_is_said_and_a_new_one_reaches_everybody(farm: Shells) -> None:
    farm.expire_certificate()
    farm.as_root(f"{KILL}; systemctl restart pifleet-openshell")
    until(lambda: farm.phase("cy") == "missing", seconds=120)  # nothing is told any more
    run, pull = farm.pifleet("exec", "cy", "--", "true"), farm.pifleet("pull", "cy", "-o", "json")
    named = [step["after"] for step in farm.plan().json["steps"] if step["item"] == "openshell gateway"]

    assert run.code == 255
    assert "OpenShell gateway does not answer" in run.err
    assert [(row["result"], bool(row["error"]["try"])) for row in pull.json["pulls"]] == [("failed", True)]
    assert [step["certificates"] for step in named] == [True]
    finished(farm)
    assert farm.pifleet("exec", "cy", "--", "true").code == 0


def test_a_full_disk_is_said_and_the_rest_follows_when_there_is_room(farm: Shells) -> None:
    host = farm.lab.host(HOST)
    more = farm.with_developers(bo={"sandboxes": {"main": {"repos": ["web"]}, "more": {"repos": ["big"]}}, "repos": []})
    host.fill()
    try:
        done = more.provision()
    finally:
        host.unfill()

    assert done.code == 1
    failed_clearly(done)
    finished(more)
    more.pifleet("remove", "bo/more", "--yes")


def test_twenty_sandboxes_at_once(farm: Shells) -> None:
    names = [f"n{number}" for number in range(20)]
    many = farm.with_developers(cy={"sandboxes": {name: {"memory": "128m", "cpus": 0.2} for name in names},
                                    "repos": []})
    try:
        done = many.provision()
        assert done.code == 0, done.out + done.err
        finished(many)
        # An ssh server drops some of those who log in while 10 others do (sshd_config(5), MaxStartups).
        with ThreadPoolExecutor(5) as pool:
            said = list(pool.map(lambda name: many.pifleet("exec", f"cy/{name}", "--", "hostname"), names))
        assert [(one.code, one.err) for one in said if one.code] == []
    finally:
        removed = many.pifleet("remove", *(f"cy/{name}" for name in names), "--yes")
        finished(farm)
    assert removed.code == 0, removed.out + removed.err


HOLD = """
file=$(mktemp); cat > $file; chmod 644 $file; home=/var/lib/pifleet/openshell/client
for number in $(seq 25); do
  setpriv --reuid=_pifleet-client --regid=_pifleet-client --clear-groups env HOME=$home XDG_CONFIG_HOME=$home/config \
    ssh -F $file -o ControlPath=none openshell-cy-main.pi-cy sleep 600 > /dev/null 2>&1 &
done
"""


def test_at_the_limit_of_connections_it_is_said_and_it_works_again_afterwards(farm: Shells) -> None:
    host = farm.lab.host(HOST)
    config = farm.shell("sandbox", "ssh-config", "cy-main", "--workspace", "pi-cy")
    farm.as_root("pkill -u _pifleet-client -x ssh; true")  # pifleet's own masters, through which it would still get in
    host.inside("sh", "-c", HOLD, input=config)
    try:
        until(lambda: farm.as_root("pgrep -fc 'cy-main.pi-cy sleep 60[0]' || true").strip() == "20", seconds=120)
        run, pull = farm.pifleet("exec", "cy", "--", "true"), farm.pifleet("pull", "cy", "-o", "json")
    finally:
        farm.as_root("pkill -f 'cy-main.pi-cy sleep 60[0]'; true")

    assert run.code == 255
    assert [(row["result"], bool(row["error"]["try"])) for row in pull.json["pulls"]] == [("failed", True)]
    until(lambda: farm.pifleet("exec", "cy", "--", "true").code == 0, seconds=60)
