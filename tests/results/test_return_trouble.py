"""A return that breaks off, or meets what no honest end would send, leaves every place whole: as it was, or done."""

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pifleet.results import Limits, receipt
from pifleet.results.capture.framing import MAGIC
from pifleet.results.lock import held
from pifleet.stream import LocalStream
from tests.results.box import everything, git
from tests.results.forge import FILE, FOLDER, LINK, Forge, record, replaying, sealed
from tests.results.pair import Pair, leftovers, results


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Generation 1 has a file of a megabyte that does not get smaller, a stash, and loose files."""
    pair = Pair(tmp_path)
    (pair.old.api / "README.md").write_text("stashed\n")
    git(pair.old.api, "stash", "-q")
    (pair.old.api / "noise").write_bytes(os.urandom(1 << 20))
    (pair.old.workspace / "loose.txt").write_text("loose\n")
    pair.old.pull()
    return pair


class Faulty(LocalStream):
    """Until `after` bytes have been sent; then it is "cut", the far end is "killed", or one byte is "flipped"."""

    def __init__(self, argv: Sequence[str], home: Path, after: int, fault: str) -> None:
        super().__init__([sys.executable, *argv[1:]], {"PATH": os.environ["PATH"], "HOME": str(home)})
        self._left, self._fault = after, fault

    def send(self, data: bytes) -> None:
        if 0 <= self._left < len(data):
            if self._fault == "flipped":
                data = data[: self._left] + bytes([data[self._left] ^ 1]) + data[self._left + 1 :]
            else:
                super().send(data[: self._left])
                data = b""
            if self._fault == "killed":
                os.killpg(self._child.pid, signal.SIGKILL)
            elif self._fault == "cut":
                self.end()
        self._left -= len(data) or self._left + 1
        super().send(data)


@pytest.mark.parametrize(("place", "fault", "after"), [
    ("nothing", "cut", 300), ("nothing", "cut", 1_000_000), ("nothing", "flipped", 1_000_000),
    ("nothing", "killed", 1_000_000), ("clone", "cut", 500_000), ("clone", "flipped", 300),
    ("clone", "flipped", 500_000), ("clone", "killed", 500_000)])
def test_a_broken_stream_leaves_the_unit_as_it_was_and_the_next_one_brings_it(
        pair: Pair, place: str, fault: str, after: int) -> None:
    if place == "clone":
        pair.clone()
    pair.back(units=["sessions"])  # the program is there now, so that the fault is in what it is sent
    before = everything(pair.new.workspace)
    limits = Limits(idle=5, total=20)
    done = pair.back(open_stream=lambda argv: Faulty(argv, pair.new.home, after, fault), limits=limits)
    assert done.trouble
    assert (done.complete, done.units[0].result) == (False, "not reached")
    if fault != "killed":
        assert everything(pair.new.workspace) == before
        assert leftovers(pair.new) == []
    assert pair.back().complete
    assert leftovers(pair.new) == []
    assert pair.differences() == []


def test_what_was_put_back_before_a_cut_stays_and_is_not_sent_again(pair: Pair) -> None:
    streams: list[LocalStream] = []

    def opened(argv: Sequence[str]) -> LocalStream:
        streams.append(pair.new.open(argv))
        return streams[-1]

    def progress(what: str, sent: int) -> None:
        if what == "putting back sessions":
            streams[-1].end()

    done = pair.back(open_stream=opened, progress=progress)
    assert done.trouble
    assert [unit.result for unit in done.units] == ["restored", "not reached", "not reached"]
    again = pair.back()
    assert (results(again)["api"], again.bytes < 100_000) == ("equal", True)
    assert pair.differences() == []


@pytest.mark.parametrize("swapped", [False, True], ids=["before the new one", "after the new one"])
def test_one_that_was_killed_between_its_two_renames_is_ended_by_the_next(pair: Pair, swapped: bool) -> None:
    pair.old.commit(".gitignore", "*.log\n")
    git(pair.old.api, "push", "-q", str(pair.upstream), "main")
    pair.old.pull()
    pair.clone()
    git(pair.new.api, "config", "user.name", "somebody")
    (pair.new.api / "x.log").write_text("ignored\n")
    mark = hashlib.sha256(b"api").hexdigest()[:16]
    pair.new.api.rename(pair.new.workspace / f".pifleet-replaced-{mark}")
    (pair.new.workspace / f".pifleet-back-{mark}").mkdir()
    if swapped:
        git(pair.new.workspace, "clone", "-q", str(pair.upstream), "api")
        git(pair.new.api, "config", "user.name", "somebody")
    assert pair.back().complete
    assert git(pair.new.api, "config", "user.name") == b"somebody"
    assert (pair.new.api / "x.log").read_text() == "ignored\n"
    assert leftovers(pair.new) == []
    assert pair.differences(2) == ["api: ignored files"]  # those of the clone


def test_work_that_begins_while_a_generation_is_sent_is_not_harmed(pair: Pair) -> None:
    pair.clone()

    def progress(what: str, sent: int) -> None:
        if what == "putting back api" and sent:
            (pair.new.api / "mine.txt").write_text("mine\n")

    done = pair.back(progress=progress, units=["api"])
    assert results(done) == {"api": "refused"}
    assert (pair.new.api / "mine.txt").read_text() == "mine\n"
    assert (pair.new.api / "README.md").read_text() == "hello\n"
    assert leftovers(pair.new) == []


def forged(pair: Pair, *trees: tuple[str, str]) -> None:
    """Generation 2, whose repository has these trees as (part, tree), made past all checks of a reception."""
    store = pair.store
    told, _ = store.receipt(store.generations()[1])
    units = receipt.units_of(told)
    unit = next(unit for unit in units if unit.path == b"api")
    for part, tree in trees:
        unit.facts[part] = store.git.run("commit-tree", tree, data=b"forged").decode().strip()
    told["units"] = [unit.as_json() | {"folder": "x"} for unit in units]
    told["generation"] = 2
    store.commit(2, store.generations()[1], units, receipt.stored(told), "forged")


@pytest.mark.parametrize("path", [b"../outside", b"/outside", b"a/../../outside", b".git", b"a//b"])
def test_a_hostile_place_of_a_unit_is_not_taken(pair: Pair, path: bytes) -> None:
    store = pair.store
    told, _ = store.receipt(store.generations()[1])
    told["units"][0]["path"] = path.decode()
    told["generation"] = 2
    store.commit(2, store.generations()[1], receipt.units_of(told), receipt.stored(told), "forged")
    done = pair.back()
    assert [unit.result for unit in done.units if unit.name == path.decode()] == ["refused"]
    assert not [found for found in pair.new.base.rglob("*") if found.name in ("outside", ".git", "README.md")]


def names(forge: Forge, blob: str) -> dict[str, list[tuple[str, str]]]:
    """What a hostile store might hold, by what it tries."""
    up = forge.tree((FOLDER, b"..", forge.tree((FILE, b"escaped", blob))))
    link = forge.blob(b"../elsewhere")
    through = [("snapshot", forge.tree((LINK, b"way", link))),
               ("ignored", forge.tree((FOLDER, b"way", forge.tree((FILE, b"escaped", blob)))))]
    return {
        "a folder up": [("snapshot", up)],
        "a name with a slash": [("snapshot", forge.tree((FILE, b"../escaped", blob)))],
        "an absolute name": [("snapshot", forge.tree((FILE, b"/escaped", blob)))],
        "git's own folder": [("snapshot", forge.tree((FOLDER, b".GIT", forge.tree((FILE, b"config", blob)))))],
        "through a link": through,
        "a hook as a state": [("operation", forge.nested(b"git/hooks/post-checkout", FILE, blob))],
        "a state up": [("operation", forge.tree((FOLDER, b"git", up)))],
        "twice the same name": [("snapshot", forge.tree((FILE, b"a", blob), (FILE, b"a", blob)))],
        "an index of git's own": [("index", forge.tree((FOLDER, b".git", forge.tree((FILE, b"config", blob)))))],
    }


@pytest.mark.parametrize("attempt", ["a folder up", "a name with a slash", "an absolute name", "git's own folder",
                                     "through a link", "a hook as a state", "a state up", "twice the same name",
                                     "an index of git's own"])
def test_hostile_names_in_the_store_lead_nowhere(pair: Pair, attempt: str) -> None:
    forge = Forge()
    shutil.rmtree(forge.path / "objects")
    (forge.path / "objects").symlink_to(pair.store.folder / "objects")
    forged(pair, *names(forge, forge.blob())[attempt])
    forge.close()
    elsewhere = pair.new.base / "elsewhere"
    elsewhere.mkdir()
    done = pair.back()
    assert done.units[0].result == "failed", done
    assert not pair.new.api.exists()
    assert os.listdir(elsewhere) == []
    assert not [path for path in pair.new.base.rglob("*") if "escaped" in path.name]
    assert leftovers(pair.new) == []
    assert results(pair.back(generation=1))["api"] == "restored"


PUT = {"kind": "put", "path": "api", "result": "equal", "reason": "", "files": 0, "aside": "", "fresh": False,
       "more": 0}


@pytest.mark.parametrize(("answer", "word"), [
    (b"", "proto.cut"),
    (b"welcome to this shell\n", "proto.magic"),
    (MAGIC + record(kind="put", path="api"), "proto.schema"),
    (MAGIC + record(**(PUT | {"path": "web"})), "proto.schema"),
    (MAGIC + record(**PUT) + record(**PUT), "proto.schema"),
    (MAGIC + record(**(PUT | {"result": "\x1b[31m"})), "proto.schema"),
    (sealed(record(**PUT)), "proto.schema"),
    (MAGIC + record(kind="fatal", reason="capture.tool", text="git is not installed\x1b"), "capture.tool"),
], ids=["nothing", "a greeting", "half a record", "another unit", "twice", "another word", "too few", "no git"])
def test_an_answer_that_is_not_as_agreed_is_turned_down(pair: Pair, answer: bytes, word: str) -> None:
    done = pair.back(open_stream=lambda _: replaying(answer, pair.new.base))
    assert done.trouble
    assert done.trouble.saw.startswith(word)
    assert "\x1b" not in json.dumps(done.as_json())
    assert not done.complete


def test_two_at_a_time_do_not_meet(pair: Pair) -> None:
    with held(pair.old.results / ".store/ana-main.lock"):
        done = pair.back()
    assert done.trouble
    assert "busy" in done.trouble.saw
    assert {unit.result for unit in done.units} == {"not reached"}


def test_a_sandbox_without_a_workspace_says_so(pair: Pair) -> None:
    done = pair.back(workspace=str(pair.new.base / "none"))
    assert done.trouble
    assert replace(done.trouble, saw="").headline.startswith("generation 1 of ")
    assert "there is no folder" in done.trouble.saw
