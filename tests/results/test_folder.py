"""The plain folder follows the newest generation and never takes away what a person did in it."""

import io
import itertools
import os
import random
import shutil
import signal
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pifleet.cli.home import failed, show_pulls
from pifleet.errors import Trouble
from pifleet.output import Output
from pifleet.results import Item, Pull, list_generations
from pifleet.results.limits import Refusal
from tests.results.box import Box, everything, files
from tests.results.shelf import Content, Shelf, link, program


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def untouched(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes as soon as a file is written again: by path, inode and time of change."""
    return {str(path.relative_to(folder)): (path.lstat().st_ino, path.lstat().st_ctime_ns)
            for path in folder.rglob("*") if not path.is_dir()}


# What a person did stays


def test_a_persons_edit_stays_and_what_is_new_lies_beside_it_pull_after_pull(box: Box) -> None:
    box.commit("a.txt", "one\n")
    box.pull()
    mine, home = box.folder() / "api/a.txt", box.folder() / "api"
    mine.write_text("mine\n")
    box.commit("other.txt", "other\n")
    assert box.pull().both_kept == ()
    for number in (3, 4):
        box.commit("a.txt", f"version {number}\n")
        done = box.pull()
        assert [(item.path, item.reason) for item in done.both_kept] == [("api/a.txt", "changed.here")]
        assert (done.result, done.complete, done.trouble) == ("new", True, None)
        assert files(home) == {"README.md": b"hello\n", "a.txt": b"mine\n", "other.txt": b"other\n",
                               f"a.txt.generation-{number}": b"version %d\n" % number}
    done = box.pull()
    assert (done.result, done.both_kept, mine.read_text()) == ("unchanged", (), "mine\n")


def test_a_file_beside_that_a_person_goes_on_with_stays_too(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1"})
    (shelf.api / "a").write_bytes(b"mine")
    shelf.bring(2, {"a": b"2"})
    (shelf.api / "a.generation-2").write_bytes(b"merged")
    assert shelf.bring(3, {"a": b"3"}) == {"api/a": "changed.here", "api/a.generation-2": "kept.here"}
    assert shelf.there() == {"a": b"mine", "a.generation-2": b"merged", "a.generation-3": b"3"}


def test_taking_over_what_lies_beside_ends_the_matter(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1"})
    (shelf.api / "a").write_bytes(b"mine")
    shelf.bring(2, {"a": b"2"})
    (shelf.api / "a.generation-2").rename(shelf.api / "a")
    assert shelf.bring(3, {"a": b"3"}) == {}
    assert shelf.there() == {"a": b"3"}


def test_a_person_who_came_to_the_same_text_has_no_second_file(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1"})
    (shelf.api / "a").write_bytes(b"2")
    assert shelf.bring(2, {"a": b"2"}) == {}
    assert shelf.there() == {"a": b"2"}
    assert shelf.bring(3, {"a": b"3"}) == {}
    assert shelf.there() == {"a": b"3"}


def test_an_edit_of_equal_size_with_the_time_put_back_is_seen(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"ours"})
    facts = (shelf.api / "a").stat()
    (shelf.api / "a").write_bytes(b"mine")
    os.utime(shelf.api / "a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert shelf.bring(2, {"a": b"new"}) == {"api/a": "changed.here"}
    assert (shelf.api / "a").read_bytes() == b"mine"


def test_a_file_that_was_only_copied_about_is_still_ours(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1", "l": link(b"a")})
    shutil.copytree(shelf.path, shelf.path.with_name("copy"), symlinks=True)
    shutil.rmtree(shelf.path)
    shelf.path.with_name("copy").rename(shelf.path)
    assert shelf.bring(2, {"a": b"2", "l": link(b"b")}) == {}
    assert shelf.there() == {"a": b"2", "l": link(b"b")}


def test_a_deleted_file_stays_deleted_until_the_sandbox_has_another(shelf: Shelf) -> None:
    shelf.bring(1, {"d/a": b"1", "d/b": b"1", "c": b"1"})
    shutil.rmtree(shelf.api / "d")
    assert shelf.bring(2, {"d/a": b"1", "d/b": b"1", "c": b"2"}) == {}
    assert shelf.there() == {"c": b"2"}
    assert shelf.bring(3, {"d/a": b"3", "d/b": b"1", "c": b"2"}) == {}
    assert shelf.there() == {"c": b"2", "d/a": b"3"}


def test_a_persons_files_are_never_touched_also_when_a_repository_goes(box: Box) -> None:
    box.pull()
    (box.folder() / "api/mine").mkdir()
    (box.folder() / "api/mine/note.txt").write_text("mine\n")
    (box.folder() / "todo").write_text("mine\n")
    box.api.rename(box.base / "gone")
    assert box.pull().both_kept == ()
    kept = files(box.folder())
    assert {path for path in kept if path != "receipt.json"} == {"api/mine/note.txt", "todo", "sessions/one.jsonl"}


def test_a_persons_change_stays_where_the_sandbox_deleted_the_file(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1", "b": b"1"})
    (shelf.api / "a").write_bytes(b"mine")
    assert shelf.bring(2, {}) == {"api/a": "kept.here"}
    assert shelf.there() == {"a": b"mine"}
    assert shelf.bring(3, {"a": b"3"}) == {"api/a": "changed.here"}
    assert shelf.there() == {"a": b"mine", "a.generation-3": b"3"}


def test_a_persons_new_file_where_the_sandbox_wants_one_stays(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1"})
    (shelf.api / "b").write_bytes(b"mine")
    (shelf.api / "c").symlink_to("/etc/passwd")
    assert shelf.bring(2, {"a": b"1", "b": b"2", "c": b"2"}) == {"api/b": "changed.here", "api/c": "changed.here"}
    assert shelf.there() == {"a": b"1", "b": b"mine", "b.generation-2": b"2",
                             "c": link(b"/etc/passwd"), "c.generation-2": b"2"}


def test_a_folder_in_the_place_of_a_file_stays(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1"})
    (shelf.api / "a").unlink()
    (shelf.api / "a").mkdir()
    (shelf.api / "a/mine").write_bytes(b"mine")
    assert shelf.bring(2, {"a": b"2"}) == {"api/a": "changed.here"}
    assert shelf.there() == {"a/mine": b"mine", "a.generation-2": b"2"}
    assert shelf.bring(3, {}) == {"api/a": "kept.here"}
    assert shelf.there() == {"a/mine": b"mine"}


def test_a_file_in_the_place_of_a_folder_stays_and_the_whole_folder_lies_beside(shelf: Shelf) -> None:
    shelf.bring(1, {"d/a": b"1", "d/e/b": b"1"})
    shutil.rmtree(shelf.api / "d")
    (shelf.api / "d").write_bytes(b"mine")
    assert shelf.bring(2, {"d/a": b"1", "d/e/b": b"1"}) == {}
    assert shelf.bring(3, {"d/a": b"3", "d/e/b": b"1"}) == {"api/d": "changed.here"}
    assert shelf.there() == {"d": b"mine", "d.generation-3/a": b"3", "d.generation-3/e/b": b"1"}
    (shelf.api / "d.generation-3/a").write_bytes(b"mine too")
    assert shelf.bring(4, {"d/a": b"3", "d/e/b": b"4"}) == {
        "api/d": "changed.here", "api/d.generation-3/a": "kept.here"}
    assert shelf.there() == {"d": b"mine", "d.generation-3/a": b"mine too", "d.generation-4/a": b"3",
                             "d.generation-4/e/b": b"4"}
    (shelf.api / "d").unlink()
    assert shelf.bring(5, {"d/a": b"3", "d/e/b": b"5"}) == {}
    assert shelf.there() == {"d/a": b"3", "d/e/b": b"5", "d.generation-3/a": b"mine too"}


def test_a_link_in_the_place_of_a_folder_is_not_followed(box: Box, tmp_path: Path) -> None:
    (box.api / "d").mkdir()
    for name in ("a", "b", "c"):
        (box.api / "d" / name).write_text("1\n")
    box.pull()
    outside = tmp_path / "outside"
    shutil.copytree(box.folder() / "api/d", outside)
    shutil.rmtree(box.folder() / "api/d")
    (box.folder() / "api/d").symlink_to(outside)
    before = everything(outside)
    (box.api / "d/a").write_text("2\n")
    (box.api / "d/b").unlink()
    (box.api / "d/new").write_text("2\n")
    assert [(item.path, item.reason) for item in box.pull().both_kept] == [("api/d", "changed.here")]
    assert files(box.folder() / "api/d.generation-2") == {"a": b"2\n", "c": b"1\n", "new": b"2\n"}
    shutil.rmtree(box.api / "d")
    assert [(item.path, item.reason) for item in box.pull().both_kept] == [("api/d", "kept.here")]
    assert everything(outside) == before
    assert os.readlink(box.folder() / "api/d") == str(outside)
    assert not (box.folder() / "api/d.generation-2").exists()


def test_a_change_of_mode_outlives_the_content(shelf: Shelf) -> None:
    shelf.bring(1, {"secret": b"1", "tool": b"1", "a": b"1"})
    (shelf.api / "secret").chmod(0o600)
    (shelf.api / "tool").chmod(0o755)
    assert shelf.bring(2, {"secret": b"2", "tool": b"1", "a": program(b"1")}) == {}
    assert shelf.bring(3, {"secret": b"3", "tool": b"3", "a": b"1"}) == {}
    modes = {path.name: path.stat().st_mode & 0o7777 for path in shelf.api.iterdir()}
    assert modes == {"secret": 0o600, "tool": 0o755, "a": 0o644}
    assert (shelf.api / "secret").read_bytes() == b"3"


@pytest.mark.parametrize("taken", [{"a.generation-2": b"the sandbox's"}, {}])
def test_a_name_beside_that_is_taken_is_left_alone(shelf: Shelf, taken: dict[str, Content]) -> None:
    shelf.bring(1, {"a": b"1"})
    (shelf.api / "a").write_bytes(b"mine")
    if not taken:
        (shelf.api / "a.generation-2").write_bytes(b"mine too")
    shelf.bring(2, {"a": b"2"} | taken)
    expected = taken or {"a.generation-2": b"mine too"}
    assert shelf.there() == {"a": b"mine", "a.generation-2-2": b"2"} | expected


def test_the_longest_name_has_room_beside_it(shelf: Shelf) -> None:
    name = "n" * 255
    shelf.bring(1, {name: b"1"})
    (shelf.api / name).write_bytes(b"mine")
    assert shelf.bring(2, {name: b"2"}) == {f"api/{name}": "changed.here"}
    assert shelf.there() == {name: b"mine", "n" * 242 + ".generation-2": b"2"}


def test_a_changed_receipt_stays(box: Box) -> None:
    box.pull()
    (box.folder() / "receipt.json").write_text("mine\n")
    box.commit("a.txt", "a\n")
    assert [item.path for item in box.pull().both_kept] == ["receipt.json"]
    assert (box.folder() / "receipt.json").read_text() == "mine\n"
    assert b'"generation": 2' in (box.folder() / "receipt.json.generation-2").read_bytes()


def test_a_lost_or_damaged_memory_takes_nothing_for_ours_that_differs(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1", "b": b"1", "gone": b"1"})
    (shelf.api / "a").write_bytes(b"mine")
    for damage in (b"", b"{}\n", b"[]\n", shelf.memory.read_bytes()[:-1]):
        shelf.memory.write_bytes(damage)
        assert shelf.folder.number() == 1
        assert not shelf.folder.holds(1)
    assert shelf.bring(2, {"a": b"2", "b": b"1"}) == {"api/a": "changed.here", "receipt.json": "changed.here"}
    assert shelf.there() == {"a": b"mine", "a.generation-2": b"2", "b": b"1", "gone": b"1"}


# What the sandbox did comes


SHAPES: list[dict[str, Content]] = [
    {"a": b"1", "d/x": b"1", "d/y": b"1", "l": link(b"a"), "run": program(b"1"), "deep/er/still/x": b"1"},
    {"a/x": b"2", "d": b"2", "l/x": b"2", "run": b"1", "deep/er/x": b"1"},
    {"a": link(b"d/x"), "d/x": program(b"3"), "l": b"3", "deep": b"", "run/run/run": b"3"},
    {},
    {"a": b"1"},
]


def test_files_folders_links_and_programs_turn_into_each_other(shelf: Shelf) -> None:
    for number, shape in enumerate([*SHAPES, *reversed(SHAPES), SHAPES[2]], 1):
        assert shelf.bring(number, shape) == {}
        assert shelf.there() == shape
        folders = {path for path in shelf.path.rglob("*") if path.is_dir() and not path.is_symlink()}
        assert not [folder for folder in folders if not any(folder.iterdir())]
        assert {path.stat().st_mode & 0o7777 for path in folders} <= {0o755}


def test_twenty_changes_among_ten_thousand_files_touch_only_those(shelf: Shelf) -> None:
    tree: dict[str, Content] = {f"{at % 97}/{at}.txt": b"%d" % at for at in range(10_000)}
    shelf.bring(1, tree)
    before = untouched(shelf.path)
    (shelf.api / "1/98.txt").write_bytes(b"mine, and not looked at")
    changed = {f"{at % 97}/{at}.txt": b"changed" for at in range(0, 10_000, 500)}
    assert shelf.bring(2, tree | changed) == {}
    after = untouched(shelf.path)
    expected = {f"api/{path}" for path in changed} | {"receipt.json", "api/1/98.txt"}
    assert {path for path in before if after[path] != before[path]} == expected
    assert shelf.there() == tree | changed | {"1/98.txt": b"mine, and not looked at"}


def test_big_files_are_put_together_from_their_blocks(shelf: Shelf) -> None:
    blocks = [os.urandom(100_000), os.urandom(100_000), b"end"]
    shelf.bring(1, {"a": b"1"}, blocks=shelf.blocks({"big": blocks, "other": blocks}))
    assert shelf.there() == {"a": b"1", "big": b"".join(blocks), "other": b"".join(blocks)}
    before = untouched(shelf.api)
    assert shelf.bring(2, {"a": b"2"}, blocks=shelf.blocks({"big": blocks, "other": blocks})) == {}
    assert {path for path, facts in untouched(shelf.api).items() if facts != before[path]} == {"a"}
    for name in ("big", "other"):
        (shelf.api / name).touch()
    with (shelf.api / "other").open("r+b") as file:
        file.seek(150_000)
        file.write(b"mine")
    newer = [blocks[0], b"changed", b"end"]
    assert shelf.bring(3, {"a": b"2"}, blocks=shelf.blocks({"big": newer, "other": newer})) == {
        "api/other": "changed.here"}
    assert (shelf.api / "big").read_bytes() == (shelf.api / "other.generation-3").read_bytes() == b"".join(newer)
    (shelf.api / "big").unlink()
    (shelf.api / "big").write_bytes(b"".join(blocks))
    assert shelf.bring(4, {"a": b"2"}, blocks=shelf.blocks({"big": blocks})) == {"api/other": "kept.here"}
    assert shelf.there().keys() == {"a", "big", "other"}
    assert shelf.bring(5, {"a": b"2", "big": b"small"}) == {}
    assert shelf.there()["big"] == b"small"


def test_a_big_file_takes_from_the_one_before_it_what_did_not_change(shelf: Shelf) -> None:
    blocks = [os.urandom(100_000) for _ in range(4)]
    newer = [b"new at the front", blocks[2], b"between", blocks[0], blocks[0], b"end"]
    shelf.bring(1, {}, blocks=shelf.blocks({"big": blocks}))
    update = shelf.blocks({"big": newer})
    shelf.cut_short(blocks[0])
    shelf.cut_short(blocks[2])
    assert shelf.bring(2, {}, blocks=update) == {}
    assert (shelf.api / "big").read_bytes() == b"".join(newer)


def test_a_big_file_takes_nothing_from_one_that_a_person_changed(shelf: Shelf) -> None:
    blocks = [os.urandom(100_000), os.urandom(100_000)]
    shelf.bring(1, {}, blocks=shelf.blocks({"big": blocks}))
    with (shelf.api / "big").open("r+b") as file:
        file.write(b"mine")
    assert shelf.bring(2, {}, blocks=shelf.blocks({"big": [*blocks, b"end"]})) == {"api/big": "changed.here"}
    assert (shelf.api / "big.generation-2").read_bytes() == b"".join([*blocks, b"end"])
    assert (shelf.api / "big").read_bytes() == b"mine" + b"".join(blocks)[4:]


def test_an_artifact_that_is_part_of_the_work_is_one_file(shelf: Shelf) -> None:
    artifacts = shelf.commit({"out": b"made", "more": b"made"})
    shelf.bring(1, {"out": b"made"}, artifacts=artifacts)
    assert shelf.there() == {"out": b"made", "more": b"made"}
    with pytest.raises(Refusal) as refusal:
        shelf.bring(2, {"out": b"another"}, artifacts=artifacts)
    assert refusal.value.code == "name.conflict"
    assert shelf.there() == {"out": b"made", "more": b"made"}


# What goes wrong


def killed_at(act: int, shelf: Shelf, number: int, shape: dict[str, Content]) -> bool:
    """Bring a generation in a process that is killed before its act of this number; False when it has less of them."""
    child = os.fork()
    if not child:
        left = act

        def hook(event: str, args: tuple[object, ...]) -> None:
            nonlocal left
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod"):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        unit = shelf.unit(snapshot=shelf.commit(shape))
        try:
            sys.addaudithook(hook)
            shelf.bring_unit(number, unit)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def crowded(number: int) -> dict[str, Content]:
    """A generation that differs from every other one in all that can differ."""
    version = b"%d " % number * 3000
    odd: dict[str, Content] = {"turns": version} if number % 2 else {"turns/x": version, "turns/y": version}
    return {"mine": version, "blocked/a": version, "blocked/b/c": b"always", "same": b"always", "d/e/f": version,
            f"only/{number}": version, "link": link(b"%d" % number), "run": program(version)} | odd


def changed_by_a_person(shelf: Shelf) -> None:
    (shelf.api / "mine").write_bytes(b"mine")
    shutil.rmtree(shelf.api / "blocked")
    (shelf.api / "blocked").write_bytes(b"mine")


def settled(number: int) -> dict[str, Content]:
    """What is there when such a generation is, and what the person did."""
    shape = crowded(number)
    aside = {f"{path.replace('blocked/', f'blocked.generation-{number}/')}": shape[path] for path in shape
             if path.startswith("blocked/")}
    return {path: content for path, content in shape.items() if not path.startswith("blocked/")} | aside | {
        "mine": b"mine", f"mine.generation-{number}": shape["mine"], "blocked": b"mine"}


@pytest.mark.parametrize("start", range(3))
def test_a_pull_killed_anywhere_leaves_whole_files_and_the_next_one_ends_it(tmp_path: Path, start: int) -> None:
    chance, whole = random.Random(start), {content for number in range(5) for content in crowded(number).values()}
    at = start
    while True:
        shelf = Shelf(tmp_path / str(at))
        shelf.bring(1, crowded(1))
        changed_by_a_person(shelf)
        if not killed_at(at, shelf, 2, crowded(2)):
            break
        last = chance.choice((2, 3, 4))
        for number in range(3, last + 1):
            killed_at(chance.randrange(at + 1), shelf, number, crowded(number))
        found = {path: content for path, content in shelf.there().items() if ".pifleet-" not in path}
        assert set(found.values()) <= whole | {b"mine"}
        assert {"same", "run", "link", "d/e/f"} <= found.keys()
        assert (found["mine"], found["blocked"]) == (b"mine", b"mine")
        shelf.bring(last, crowded(last))
        assert (at, shelf.there()) == (at, settled(last))
        assert shelf.bring(last + 1, crowded(last)).keys() <= {"api/mine"}
        at += 3 + chance.randrange(4)
    assert at > 60


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    shape: dict[str, Content] = {f"{at % 3}/in/{at}": b"%d\n" % at for at in range(6)} | {"run": program(b"run\n")}
    for at in itertools.count(step=3):
        shelf = Shelf(tmp_path / str(at))
        if not killed_at(at, shelf, 1, shape):
            break
        found = {path: content for path, content in shelf.there().items() if ".pifleet-" not in path}
        assert found in ({}, shape)
        later = {path: b"later\n" for path in shape if path != "run"}
        assert shelf.bring(2, later) == {}
        assert shelf.there() == later
        assert [path.name for path in shelf.path.rglob("*") if ".pifleet-" in path.name] == []
    assert at > 20


def test_a_folder_that_somebody_makes_meanwhile_keeps_what_is_in_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.bring(1, {"a": b"a\n"})
    really = os.rename

    def rename(source: Any, target: Any, **at: Any) -> None:
        monkeypatch.setattr("os.rename", really)
        (shelf.api / "new").mkdir()
        (shelf.api / "new/mine").write_bytes(b"mine\n")
        (shelf.api / "new/ours").write_bytes(b"theirs\n")
        really(source, target, **at)

    monkeypatch.setattr("os.rename", rename)
    both = shelf.bring(2, {"a": b"a\n", "new/ours": b"ours\n", "new/x": b"x\n"})
    assert both == {"api/new/ours": "changed.here"}
    assert shelf.there() == {"a": b"a\n", "new/mine": b"mine\n", "new/ours": b"theirs\n", "new/x": b"x\n",
                             "new/ours.generation-2": b"ours\n"}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_permissions_do_not_depend_on_the_umask(shelf: Shelf, umask: int) -> None:
    before = os.umask(umask)
    try:
        shelf.bring(1, {"new/a": b"a\n", "new/run": program(b"run\n")})
        shelf.bring(2, {"new/a": b"b\n", "new/run": program(b"run\n"), "new/b": b"b\n"})
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (shelf.api, *shelf.api.rglob("*"))}
    assert modes == {"api": 0o755, "new": 0o755, "a": 0o644, "b": 0o644, "run": 0o755}


def test_a_folder_that_is_a_link_is_said_and_caught_up_when_it_is_none(box: Box, tmp_path: Path) -> None:
    box.pull()
    box.folder().rename(tmp_path / "elsewhere")
    box.folder().symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path / "elsewhere")
    box.commit("a.txt", "a\n")
    for result in ("new", "unchanged"):
        done = box.pull()
        assert done.trouble
        assert (done.result, done.generation, done.complete) == (result, 2, True)
        assert "generation 2 of ana/main is in the store, but its plain folder is behind" in done.trouble.headline
        assert (done.trouble.where, done.trouble.try_) == (str(box.folder()), "pifleet pull ana/main")
    assert everything(tmp_path / "elsewhere") == before
    assert [one.path for one in list_generations(box.results, "ana-main")] == [None, None]
    box.folder().unlink()
    (tmp_path / "elsewhere").rename(box.folder())
    done = box.pull()
    assert (done.result, done.trouble) == ("unchanged", None)
    assert (box.folder() / "api/a.txt").read_text() == "a\n"
    assert [one.path for one in list_generations(box.results, "ana-main")] == [None, box.folder()]


def test_a_folder_that_was_emptied_is_written_again(box: Box) -> None:
    box.pull()
    before = files(box.folder())
    for path in box.folder().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert box.pull().result == "unchanged"
    assert files(box.folder()) == before


def test_a_number_that_only_the_folder_knows_is_not_used_again(box: Box) -> None:
    box.pull()
    receipt = box.folder() / "receipt.json"
    receipt.write_text(receipt.read_text().replace('"generation": 1,', '"generation": 7,'))
    shutil.rmtree(box.results / ".store")
    done = box.pull()
    assert (done.generation, [item.path for item in done.both_kept]) == (8, ["receipt.json"])
    assert (box.folder() / "api/README.md").read_text() == "hello\n"


@pytest.mark.parametrize("number", [b"99999999999999999999", b"-1", b"true", b"\xff"])
def test_a_receipt_that_says_no_number_is_none(shelf: Shelf, number: bytes) -> None:
    shelf.path.mkdir(parents=True)
    (shelf.path / "receipt.json").write_bytes(b'{\n "generation": %s,\n}' % number)
    assert shelf.folder.number() == 0


def test_a_pull_says_what_of_a_person_stayed_and_fails_only_when_the_folder_is_behind() -> None:
    stayed = (Item("api/a.txt", "changed.here"),)
    done = Pull("ana/main", 3, "new", 1.0, 10, both_kept=stayed, path=Path("results/ana/main"))
    said = io.StringIO()
    show_pulls(Output(stdout=said), [done])
    assert "generation 3 in results/ana/main" in said.getvalue()
    assert "  ana/main  both kept: api/a.txt  changed.here\n" in said.getvalue()
    assert not failed([done])
    assert failed([replace(done, trouble=Trouble("behind"))])


def test_a_pull_that_failed_names_no_folder_which_could_be_taken_for_the_present_one() -> None:
    done = Pull("ana/main", None, "failed", 1.0, 0, trouble=Trouble("no connection"))
    assert (done.path, done.as_json()["path"]) == (None, None)
    said = io.StringIO()
    show_pulls(Output(stdout=said), [done])
    assert " in " not in said.getvalue()
