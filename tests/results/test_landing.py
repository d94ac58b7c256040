"""What landed is looked at once: what a store has is not walked again, and is no way around a limit either."""

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pifleet.results import Limits, Pull
from pifleet.results.limits import Refusal
from pifleet.results.store import packed
from pifleet.results.store.trees import Objects
from tests.results.box import Box, git
from tests.results.forge import FILE, FOLDER, Forge, replaying

QUICK = Limits(idle=20, total=60, files=100, depth=20)


@pytest.fixture
def forge() -> Iterator[Forge]:
    made = Forge()
    yield made
    made.close()


def pulled(box: Box, forge: Forge, tree: str, tmp_path: Path) -> Pull:
    answer = forge.answer(forge.unit(tree, state=f"{tree:0>64}"))
    return box.pull(open_stream=lambda _: replaying(answer, tmp_path), limits=QUICK)


def code(done: Pull) -> str:
    assert done.trouble
    return done.trouble.saw.partition(":")[0]


def measured(box: Box) -> Path:
    return box.results / ".store/ana-main.git/measured"


def test_a_path_bomb_out_of_folders_that_are_home_already_is_refused(box: Box, forge: Forge, tmp_path: Path) -> None:
    folder = forge.tree(*((FILE, b"%03d" % at, forge.blob()) for at in range(60)))
    assert pulled(box, forge, forge.tree((FOLDER, b"one", folder)), tmp_path).result == "new"
    bomb = forge.tree(*((FOLDER, b"%d" % at, folder) for at in range(9)))
    assert code(pulled(box, forge, bomb, tmp_path)) == "limit.paths"


def test_folders_that_are_home_already_are_not_nested_too_deep(box: Box, forge: Forge, tmp_path: Path) -> None:
    folder = forge.nested(b"/".join([b"d"] * 15), FILE, forge.blob())
    assert pulled(box, forge, folder, tmp_path).result == "new"
    for _ in range(10):
        folder = forge.tree((FOLDER, b"d", folder))
    assert code(pulled(box, forge, folder, tmp_path)) == "limit.depth"


def test_only_new_folders_are_read(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(300):
        (box.api / f"{at}").mkdir()
        (box.api / f"{at}/file").write_text(f"{at}\n")
    box.pull()
    read: list[str] = []
    whole = Objects.tree

    def counted(self: Objects, name: str) -> tuple[str, list[tuple[int, bytes, str]]]:
        read.append(name)
        return whole(self, name)

    monkeypatch.setattr(Objects, "tree", counted)
    (box.api / "7/file").write_text("changed\n")
    assert box.pull().result == "new"
    assert 0 < len(read) < 12
    assert (box.folder() / "api/7/file").read_text() == "changed\n"


@pytest.mark.parametrize("damage", [b"", b"nonsense" * 1000, None], ids=["empty", "noise", "cut"])
def test_sizes_that_are_lost_are_found_again(box: Box, damage: bytes | None) -> None:
    for number, text in enumerate(("one\n", "two\n"), 1):
        (box.api / "d").mkdir(exist_ok=True)
        (box.api / "d/file").write_text(text)
        assert box.pull().generation == number
        measured(box).write_bytes(measured(box).read_bytes()[:-3000] if damage is None else damage)
    (box.api / "d/file").write_text("three\n")
    assert (box.pull().result, (box.folder() / "api/d/file").read_text()) == ("new", "three\n")
    with sqlite3.connect(measured(box)) as base:
        assert base.execute("SELECT count(*) FROM measured").fetchone()[0] > 0


def test_a_refused_answer_leaves_no_size_behind(box: Box, forge: Forge, tmp_path: Path) -> None:
    box.pull()
    before = measured(box).read_bytes()
    assert code(pulled(box, forge, forge.nested(b"/".join([b"x"] * 30), FILE, forge.blob()), tmp_path)) == "limit.depth"
    assert measured(box).read_bytes() == before


def refs(box: Box) -> dict[str, str]:
    lines = box.home_git("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)").splitlines()
    return {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines}


def test_git_reads_the_refs_of_a_generation_as_it_would_have_written_them(box: Box) -> None:
    git(box.api, "tag", "-a", "-m", "one", "v1")
    for name in ("b", "a.b", "a", "a-b", "a+b/c"):
        git(box.api, "branch", name)
    box.pull()
    box.commit("more.txt", "more\n")
    box.pull()
    before = refs(box)
    assert len(before) > 20
    assert before["refs/sandbox/ana-main/gen/1/repo/api/tags/v1"].split()[1] == before[
        "refs/sandbox/ana-main/gen/1/repo/api/heads/b"].strip()
    box.home_git("pack-refs", "--all")
    assert refs(box) == before
    assert box.home_git("fsck", "--no-dangling") == ""
    (box.api / "more.txt").write_text("even more\n")
    box.pull()
    assert {name: before[name] for name in refs(box) if "/gen/3/" not in name} == before


@pytest.mark.parametrize("name", ["refs/heads/a b", "refs/heads/a\nb", "refs/heads/-x", "refs/.x/a", "HEAD", "refs/a/"])
def test_what_is_no_name_of_a_ref_is_never_written(box: Box, name: str) -> None:
    box.pull()
    store = box.results / ".store/ana-main.git"
    before = (store / "packed-refs").read_bytes()
    with pytest.raises(Refusal) as refusal:
        packed.add(store, {"refs/heads/good": "1" * 40, name: "1" * 40})
    assert refusal.value.code == "ref.name"
    assert (store / "packed-refs").read_bytes() == before


def test_a_lock_that_a_killed_pull_left_is_no_hindrance(box: Box) -> None:
    box.pull()
    (box.results / ".store/ana-main.git/packed-refs.lock").write_bytes(b"half")
    box.commit("more.txt", "more\n")
    assert box.pull().result == "new"
    subprocess.run(["git", "--git-dir", box.results / ".store/ana-main.git", "fsck"], check=True, capture_output=True)
