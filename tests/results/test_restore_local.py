"""Going back: a generation, or a part of it, as plain files in a new place; nothing is ever written over."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pifleet.errors import BadInput, PifleetError, Refused
from pifleet.results import Limits, Restored, choose, restore
from tests.results.box import Box, everything, files, git
from tests.results.forge import FILE, LINK, PROGRAM, Forge, replaying


def back(box: Box, typed: str, to: Path, number: int | None = None) -> Restored:
    return restore(choose(box.results, "ana-main", "ana/main", number), typed, to)


def test_an_earlier_generation_is_written_whole_with_modes_and_links(box: Box) -> None:
    (box.api / "run.sh").write_text("#!/bin/sh\n")
    (box.api / "run.sh").chmod(0o755)
    (box.api / "docs").mkdir()
    (box.api / "docs/top").symlink_to("../README.md")
    big = os.urandom(3 << 20)
    (box.api / "big.bin").write_bytes(big)
    (box.workspace / "loose.txt").write_text("beside\n")
    box.pull()
    shutil.rmtree(box.workspace)
    box.api.mkdir(parents=True)
    box.pull()
    done = back(box, "", box.base / "out", 1)
    assert files(box.base / "out") == {
        "api/README.md": b"hello\n", "api/run.sh": b"#!/bin/sh\n", "api/big.bin": big,
        "workspace/loose.txt": b"beside\n", "sessions/one.jsonl": b'{"type": "session"}\n'}
    assert (box.base / "out/api/docs/top").readlink() == Path("../README.md")
    assert (box.base / "out/api/run.sh").stat().st_mode & 0o777 == 0o755
    assert (done.files, done.left_out) == (6, ())


def test_ignored_files_and_artifacts_come_back_too(box: Box) -> None:
    box.commit(".gitignore", "*.log\ndist/\n")
    (box.api / "x.log").write_text("log\n")
    (box.api / "dist").mkdir()
    (box.api / "dist/wheel").write_text("wheel\n")
    box.pull(artifacts=["api/dist/**"])
    back(box, "api", box.base / "out")
    assert set(files(box.base / "out")) == {".gitignore", "README.md", "x.log", "dist/wheel"}


def test_a_folder_is_written_without_the_names_that_were_typed(box: Box) -> None:
    box.commit("src/deep/a.py", "1\n")
    inner = box.api / "src/lib"
    inner.mkdir()
    git(inner, "init", "-q", "-b", "main")
    box.commit("lib.c", "2\n", inner)
    box.pull()
    back(box, "api/src", box.base / "out")
    assert set(files(box.base / "out")) == {"deep/a.py", "lib/lib.c"}
    back(box, "api", box.base / "all")
    assert set(files(box.base / "all")) == {"README.md", "src/deep/a.py", "src/lib/lib.c"}
    back(box, "api/src/lib", box.base / "lib")
    assert set(files(box.base / "lib")) == {"lib.c"}


def test_a_folder_with_something_in_it_is_refused_and_an_empty_one_is_filled(box: Box) -> None:
    box.pull()
    there = box.base / "there"
    there.mkdir()
    (there / "mine").write_text("mine")
    (box.base / "link").symlink_to(box.base / "elsewhere")
    before = everything(box.base / "there")
    for taken in (there, there / "mine", box.base / "link"):
        with pytest.raises(Refused, match="nothing was written"):
            back(box, "", taken)
    assert everything(box.base / "there") == before
    assert not (box.base / "elsewhere").exists()
    (there / "mine").unlink()
    back(box, "", there)
    assert (there / "api/README.md").exists()


def test_one_file_gets_its_own_name_in_a_folder_or_the_name_that_was_said(box: Box) -> None:
    box.pull()
    (box.base / "here").mkdir()
    back(box, "api/README.md", box.base / "here")
    back(box, "api/README.md", box.base / "named.md")
    assert (box.base / "here/README.md").read_bytes() == (box.base / "named.md").read_bytes() == b"hello\n"
    for taken in ("here", "named.md"):
        with pytest.raises(Refused, match="is there already"):
            back(box, "api/README.md", box.base / taken)
    assert [path.name for path in (box.base / "here").iterdir()] == ["README.md"]


def test_one_file_of_any_generation_comes_back_in_well_under_a_second(box: Box) -> None:
    for number in range(400):
        (box.api / f"folder{number % 20}").mkdir(exist_ok=True)
        (box.api / f"folder{number % 20}/{number}").write_text(f"{number}\n")
    box.pull()
    (box.api / "folder1/1").write_text("changed\n")
    box.pull()
    started = time.monotonic()
    back(box, "api/folder1/1", box.base / "one", 1)
    assert time.monotonic() - started < 0.5
    assert (box.base / "one").read_text() == "1\n"


def test_what_is_not_there_writes_nothing(box: Box) -> None:
    box.pull()
    with pytest.raises(BadInput):
        back(box, "api/none", box.base / "out")
    with pytest.raises(PifleetError, match="could not be written") as error:
        back(box, "api/README.md", box.base / "no/such/folder/x")
    assert error.value.trouble.saw == "No such file or directory"
    assert not (box.base / "out").exists()


def test_a_damaged_store_writes_nothing(box: Box) -> None:
    box.pull()
    for pack in (box.results / ".store/ana-main.git/objects/pack").glob("*.pack"):
        data = bytearray(pack.read_bytes())
        data[12:-20] = bytes(len(data) - 32)
        pack.chmod(0o600)
        pack.write_bytes(data)
    with pytest.raises(PifleetError, match="damaged") as error:
        back(box, "", box.base / "out")
    assert error.value.trouble.try_ == "pifleet results verify ana/main"
    assert not list(box.base.glob("*out*"))


def link_out(forge: Forge) -> str:
    return forge.tree((FILE, b"fine", forge.blob()), (LINK, b"out", forge.blob(b"../../etc/passwd")))


def control_name(forge: Forge) -> str:
    return forge.tree((FILE, b"esc\x1b[2J", forge.blob()), (FILE, b"fine", forge.blob()))


def bare_repository(forge: Forge) -> str:
    inside = forge.tree((FILE, b"HEAD", forge.blob(b"ref: refs/heads/x\n")), (FILE, b"config", forge.blob()))
    objects = forge.tree((FILE, b"x", forge.blob()))
    entries = [(FILE, b"HEAD", forge.blob(b"ref: x\n")), ("40000", b"objects", objects), ("40000", b"refs", inside)]
    return forge.tree(("40000", b"evil", forge.tree(*entries)), (FILE, b"fine", forge.blob()))


@pytest.mark.parametrize(("tree", "reason"), [
    (link_out, "link.outside"), (control_name, "path.control"), (bare_repository, "path.repository"),
])
def test_dangerous_entries_are_left_out_and_named(box: Box, tree: Callable[[Forge], str], reason: str) -> None:
    forge = Forge()
    answer = forge.answer(forge.unit(tree(forge)))
    assert box.pull(open_stream=lambda argv: replaying(answer, box.base), limits=Limits()).generation == 1
    done = back(box, "", box.base / "out")
    assert [item.reason for item in done.left_out] == [reason]
    assert (box.base / "out/api/fine").exists()


def test_a_conflict_between_work_and_ignored_files_loses_neither_the_rest_nor_the_word(box: Box) -> None:
    forge = Forge()
    work = forge.tree((FILE, b"a", forge.blob(b"work\n")), (PROGRAM, b"fine", forge.blob()))
    ignored = forge.commit(forge.nested(b"a/b", FILE, forge.blob(b"ignored\n")))
    snapshot = forge.commit(work)
    unit = forge.unit(work, snapshot=snapshot, ignored=ignored, pack=forge.pack(snapshot, ignored))
    answer = forge.answer(unit)
    box.pull(open_stream=lambda argv: replaying(answer, box.base))
    done = back(box, "", box.base / "out")
    assert [(item.path, item.reason) for item in done.left_out] == [("api/a/b", "name.conflict")]
    assert files(box.base / "out/api") == {"a": b"work\n", "fine": b"evil\n"}
