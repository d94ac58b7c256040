"""Owns the acts that every pattern can do alike, each through pifleet's command line on a provisioned sandbox.

It must not know a pattern: what an act may not say of one does not belong here. They stand in the order in which they
are done; one that changes something leaves the sandbox as it found it, but for work in its workspace.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.farm import BIN, Done, Operator

REPO = "api"
COMMIT = "git -c user.name=a -c user.email=a@example.com commit -qam"


@dataclass(frozen=True)
class Box:
    """One sandbox `ana/main` with repository `api` and a scripted model, whatever contains it."""

    farm: Operator
    pattern: str

    def exec(self, *words: str, stdin: str = "") -> Done:
        return self.farm.pifleet("exec", "ana", "--", *words, stdin=stdin)

    def sh(self, script: str) -> str:
        done = self.exec("sh", "-c", script)
        assert done.code == 0, done.err
        return done.out

    def state(self) -> str:
        rows = self.farm.pifleet("status", "ana", "-o", "json").json["sandboxes"]
        assert rows[0]["pattern"] == self.pattern
        return str(rows[0]["state"])


def it_is_there_and_says_how_it_is(box: Box) -> None:
    assert box.state() == "running"


def a_second_provision_changes_nothing(box: Box) -> None:
    done = box.farm.provision()
    assert (done.code, {row["result"] for row in done.json["outcomes"]}) == (0, {"ok"})


def pi_is_the_pinned_one(box: Box) -> None:
    assert "0.87.1" in box.sh("pi --version 2>&1")


def it_has_no_power(box: Box) -> None:
    uid, *sets = box.sh("id -u; grep -E 'CapEff|CapBnd' /proc/self/status | awk '{print $2}'").split()
    assert int(uid) > 1_000_000
    assert {int(one, 16) for one in sets} == {0}


def a_commands_words_arrive_as_they_are(box: Box) -> None:
    words = ["a b", "$HOME", "it's", '"', "ünï", "", "-x", "two\nlines"]
    assert box.exec("printf", "%s\\0", *words).out == "".join(f"{word}\0" for word in words)


def a_commands_exit_code_is_its_own(box: Box) -> None:
    assert [box.exec("sh", "-c", f"exit {code}").code for code in (0, 1, 7, 255)] == [0, 1, 7, 255]
    assert box.exec("no-such-command").code in (126, 127)


def errors_stay_apart_from_answers(box: Box) -> None:
    done = box.exec("sh", "-c", "echo out; echo err >&2")
    assert (done.out, "err" in done.err) == ("out\n", True)


def bytes_go_in_and_come_out_as_they_are(box: Box) -> None:
    data = os.urandom(3 << 20)
    sources = [part for source in box.farm.sources for part in ("-i", source)]
    done = subprocess.run([str(BIN / "pifleet"), "exec", *sources, "ana", "--", "cat"], input=data, check=True,
                          capture_output=True, cwd=box.farm.folder, timeout=300)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def the_repository_is_whole(box: Box) -> None:
    said = box.sh(f"cd /workspace/{REPO}; git rev-parse HEAD; git status --porcelain; git fsck 2>&1")
    assert re.fullmatch("[0-9a-f]{40}", said.strip()), said


def pi_works_with_its_model_and_the_log_tells_it_again(box: Box) -> None:
    done = box.farm.pifleet("run", "ana", "-p", "SAY parity holds")
    assert done.code == 0, done.out + done.err
    assert "parity holds" in done.out + done.err
    assert "parity holds" in box.farm.pifleet("logs", "ana").out


def nothing_else_is_reached(box: Box) -> None:
    ask = "import urllib.request as r; r.urlopen('http://example.com/', timeout=20)"
    assert box.exec("python3", "-c", ask).code == 1
    assert box.exec("python3", "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 5)").code == 1


def a_file_is_put_in_and_never_over_another(box: Box) -> None:
    path = box.farm.folder / "given"
    path.write_text("first\n")
    put = [box.farm.pifleet("put", "ana", str(path), *words).code for words in ([], [], ["--force"])]
    assert put[0] == put[2] == 0
    assert put[1] != 0
    assert box.sh("cat /workspace/given; rm /workspace/given") == "first\n"


def work_comes_home_and_an_unchanged_pull_is_small(box: Box) -> None:
    box.sh(f"cd /workspace/{REPO}; echo one > one; git add one; {COMMIT} one; echo two > one; echo new > untracked")
    first, second = (box.farm.pifleet("pull", "ana", "-o", "json").json["pulls"][0] for _ in range(2))
    assert (first["result"], first["incomplete"], second["result"]) == ("new", [], "unchanged")
    assert second["bytes"] < 1000
    home = box.farm.results / "ana" / "main" / REPO
    assert ((home / "one").read_text(), (home / "untracked").read_text()) == ("two\n", "new\n")


def stopping_and_starting_keeps_the_work(box: Box) -> None:
    look = f"cd /workspace/{REPO}; git rev-parse HEAD; git status --porcelain; cat one untracked"
    before = box.sh(look)
    assert box.farm.pifleet("stop", "ana").code == 0
    assert box.state() == "stopped"
    refused = box.exec("true")
    assert (refused.code, "pifleet start ana" in refused.err) == (255, True)
    assert box.farm.pifleet("start", "ana").code == 0
    assert box.sh(look) == before


def it_can_be_proven(box: Box) -> None:
    done = box.farm.pifleet("verify", "ana")
    assert done.code == 0, done.out


ACTS: list[Callable[[Box], None]] = [
    it_is_there_and_says_how_it_is, a_second_provision_changes_nothing, pi_is_the_pinned_one, it_has_no_power,
    a_commands_words_arrive_as_they_are, a_commands_exit_code_is_its_own, errors_stay_apart_from_answers,
    bytes_go_in_and_come_out_as_they_are, the_repository_is_whole, pi_works_with_its_model_and_the_log_tells_it_again,
    nothing_else_is_reached, a_file_is_put_in_and_never_over_another, work_comes_home_and_an_unchanged_pull_is_small,
    stopping_and_starting_keeps_the_work, it_can_be_proven,
]
