"""A plain folder follows by what differs: the rest is neither read nor judged again, and comes out as if it were."""

import subprocess
import sys
from pathlib import Path

import pytest

from pifleet.results import Limits
from pifleet.results.limits import Refusal
from pifleet.results.plain.disk import holds
from pifleet.results.store.contents import Contents, File
from pifleet.results.store.trees import Objects
from tests.results.box import Box, git
from tests.results.shelf import Content, Shelf, link


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def tree(**changed: Content) -> dict[str, Content]:
    """Two thousand files in a hundred folders, with a few of them as given."""
    plain: dict[str, Content] = {f"a{at % 10}/b{at % 100}/{at}": b"%d" % at for at in range(2000)}
    return plain | {name.replace("_", "/"): content for name, content in changed.items()}


def test_only_folders_on_the_way_to_a_change_are_read(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.bring(1, tree())
    read: list[str] = []
    whole = Objects.tree

    def counted(self: Objects, name: str) -> tuple[str, list[tuple[int, bytes, str]]]:
        read.append(name)
        return whole(self, name)

    monkeypatch.setattr(Objects, "tree", counted)
    shelf.bring(2, tree(a1_b1_1=b"changed", a2_b2_new=b"new"))
    assert 0 < len(read) <= 2 * (1 + 2 + 2)
    assert shelf.there() == tree(a1_b1_1=b"changed", a2_b2_new=b"new")


def test_what_is_remembered_of_a_folder_does_not_grow_with_its_files(shelf: Shelf) -> None:
    shelf.bring(1, tree())
    assert shelf.memory.stat().st_size < 500


def test_a_file_of_a_history_beyond_the_limit_stays_in_the_store(box: Box) -> None:
    (box.api / "src").mkdir()
    (box.api / "src/large").write_bytes(b"large" * 1000)
    (box.api / "src/small").write_bytes(b"small")
    git(box.api, "add", "src")
    git(box.api, "commit", "-q", "-m", "large")
    git(box.api, "sparse-checkout", "set", "none")
    done = box.pull(limits=Limits(file=4000))
    assert (done.result, done.complete) == ("new", True)
    assert [(item.path, item.reason) for item in done.refused] == [("api/src/large", "limit.file")]
    assert [path.name for path in (box.folder() / "api/src").iterdir()] == ["small"]
    assert box.stored("snapshot", "src/large", 1) == "large" * 1000
    assert box.pull(limits=Limits(file=4000)).result == "unchanged"


def test_what_was_kept_back_is_told_again_as_long_as_it_is_there(box: Box) -> None:
    (box.api / "deep").mkdir()
    for name in ("out", "gone"):
        (box.api / "deep" / name).symlink_to("/etc/passwd")
    assert [(item.path, item.reason) for item in box.pull().refused] == [
        ("api/deep/gone", "link.outside"), ("api/deep/out", "link.outside")]
    box.commit("other.txt", "other\n")
    assert [item.path for item in box.pull().refused] == ["api/deep/gone", "api/deep/out"]
    (box.api / "deep/gone").unlink()
    assert [item.path for item in box.pull().refused] == ["api/deep/out"]
    (box.api / "deep/out").unlink()
    (box.api / "deep/out").write_text("harmless\n")
    done = box.pull()
    assert (done.refused, (box.folder() / "api/deep/out").read_text()) == ((), "harmless\n")


def test_a_head_goes_when_its_folder_becomes_one_that_git_would_obey_and_comes_back_after(shelf: Shelf) -> None:
    plain: dict[str, Content] = {"r/HEAD": b"ref: refs/heads/x\n", "r/objects/x": b"1"}
    shelf.bring(1, plain)
    assert shelf.there() == plain
    armed = plain | {"r/Refs/x": b"1"}
    shelf.bring(2, armed)
    assert shelf.there() == {path: content for path, content in armed.items() if path != "r/HEAD"}
    shelf.bring(3, plain)
    assert shelf.there() == plain


def test_an_artifact_in_the_way_of_a_folder_that_did_not_change_is_refused(shelf: Shelf) -> None:
    shelf.bring(1, {"a/b/c": b"1"})
    with pytest.raises(Refusal) as refusal:
        shelf.bring(2, {"a/b/c": b"1"}, artifacts=shelf.commit({"a/b": b"file"}))
    assert refusal.value.code == "name.conflict"


def test_more_files_than_the_limit_are_refused_however_few_are_new(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Limits(files=50))
    files: dict[str, Content] = {f"d{at}/f": b"1" for at in range(50)}
    shelf.bring(1, files)
    shelf.bring(2, {path: content for path, content in files.items() if path != "d1/f"} | {"new": b"1"})
    with pytest.raises(Refusal) as refusal:
        shelf.bring(3, files | {"new": b"1"})
    assert refusal.value.code == "limit.files"


def test_a_big_file_of_a_path_that_is_too_deep_is_kept_back_and_nothing_recurses_on_it(shelf: Shelf) -> None:
    deep = "/".join("d" * 1900)
    for number in (1, 2):
        shelf.bring(number, {"a": b"1"}, blocks=shelf.blocks({deep: [b"x" * number], "big": [b"1", b"2"]}))
        assert shelf.there() == {"a": b"1", "big": b"12"}


def test_a_list_of_big_files_costs_no_more_than_its_bytes(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pifleet.results.plain.layers._FOLDERS", 100)
    wide = shelf.blocks({f"{at}/x/x/x/x": [b"x"] for at in range(30)})
    with pytest.raises(Refusal) as refusal:
        shelf.bring(1, {}, blocks=wide)
    assert refusal.value.code == "limit.paths"
    with pytest.raises(Refusal) as refusal:
        shelf.bring(1, {}, blocks=shelf.blocks({"same": [b"x"]}, times=30))
    assert refusal.value.code == "name.conflict"


def test_a_large_file_is_not_read_again_unless_somebody_was_at_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []

    def noted(folder: int, name: bytes, file: File, contents: Contents) -> bool:
        read.append(name)
        return holds(folder, name, file, contents)

    monkeypatch.setattr("pifleet.results.plain.writer.holds", noted)
    big = shelf.api / "big"
    shelf.bring(1, {"big": b"1" * (2 << 20), "small": b"1"})
    assert shelf.bring(2, {"big": b"2" * (2 << 20), "small": b"2"}) == {}
    assert b"small" in read
    assert b"big" not in read
    big.write_bytes(b"m" * (2 << 20))
    assert shelf.bring(3, {"big": b"3" * (2 << 20), "small": b"3"}) == {"api/big": "changed.here"}
    assert big.read_bytes() == b"m" * (2 << 20)


def test_a_folder_whose_generation_the_store_has_lost_loses_nothing(shelf: Shelf) -> None:
    shelf.bring(1, {"a": b"1", "b": b"1", "l": link(b"a")})
    (shelf.api / "b").write_bytes(b"mine")
    shelf.lose()
    assert shelf.bring(2, {"a": b"1", "b": b"2", "c": b"2"}).keys() == {"api/b", "receipt.json"}
    assert shelf.there() == {"a": b"1", "b": b"mine", "b.generation-2": b"2", "c": b"2", "l": link(b"a")}
    assert shelf.bring(3, {"a": b"3", "b": b"2", "c": b"3"}) == {"receipt.json": "changed.here"}
    assert shelf.there() == {"a": b"3", "b": b"mine", "b.generation-2": b"2", "c": b"3", "l": link(b"a")}


def test_a_pull_imports_what_is_heavy_only_while_the_sandbox_is_at_work() -> None:
    told = "import sys; from pifleet.results import pull; print({'pydantic', 'sqlite3'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, check=True).stdout == b"set()\n"
