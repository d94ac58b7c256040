"""Many files that are read in one go from a store come out as they are, in whatever order they are then wanted."""

import os
from pathlib import Path

import pytest

from pifleet.results import Limits
from pifleet.results.limits import Refusal
from pifleet.results.store.homegit import HomeGit
from pifleet.results.store.row import Row
from tests.results.box import git
from tests.results.shelf import Content, Shelf, link

MANY = 1_700  # more than git is asked for at once


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store.git"
    HomeGit.create(folder)
    return folder


def kept(store: Path, *contents: bytes) -> list[str]:
    """The ids under which the store then has these."""
    return [git(store, "hash-object", "-w", "--stdin", data=content).decode() for content in contents]


def row(store: Path, oids: list[str]) -> Row:
    return Row(HomeGit(store, Limits()), oids)


def copied(row: Row, oid: str, place: Path) -> bytes | None:
    """What came of it; None where it was none of the next ones."""
    descriptor = os.open(place / "copied", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        return (place / "copied").read_bytes() if row.copy(oid, descriptor) else None
    finally:
        os.close(descriptor)


def test_what_is_left_out_or_asked_for_twice_is_in_nobodys_way(store: Path, tmp_path: Path) -> None:
    contents = [b"", b"a\nb\n", b"\n" * 70_000, b"last"]
    oids = kept(store, *contents)
    with row(store, [*oids, oids[1]]) as made:
        assert copied(made, oids[0], tmp_path) == b""
        assert copied(made, oids[2], tmp_path) == contents[2]
        assert copied(made, oids[0], tmp_path) is None
        assert copied(made, oids[1], tmp_path) == contents[1]
        assert copied(made, oids[3], tmp_path) is None


def test_what_is_not_there_is_said(store: Path, tmp_path: Path) -> None:
    with row(store, ["0" * 40]) as made, pytest.raises(Refusal, match="is not a blob that is here"):
        copied(made, "0" * 40, tmp_path)


def test_a_tree_is_no_file(store: Path, tmp_path: Path) -> None:
    tree = git(store, "mktree", data=b"").decode()
    with row(store, [tree]) as made, pytest.raises(Refusal, match="is not a blob that is here"):
        copied(made, tree, tmp_path)


def test_an_object_that_was_written_over_ends_it(store: Path, tmp_path: Path) -> None:
    first, second = kept(store, os.urandom(100_000), b"second")
    loose = store / "objects" / first[:2] / first[2:]
    loose.chmod(0o644)
    loose.write_bytes(loose.read_bytes()[:50_000])
    with row(store, [first, second]) as made, pytest.raises(Refusal, match=r"git ended|not as long"):
        copied(made, first, tmp_path)


def test_a_folder_of_many_files_is_written_around_what_a_person_changed(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)

    def made(text: bytes) -> dict[str, Content]:
        return {f"{number % 7}/{number}": b"%d %s\n" % (number, text) for number in range(MANY)}

    shelf.bring(1, made(b"first"))
    (shelf.api / "3/10").write_bytes(b"mine")
    (shelf.api / "5").rename(shelf.api / "away")
    (shelf.api / "5").write_bytes(b"mine too")
    second: dict[str, Content] = {**made(b"second"), "0/link": link(b"0")}
    both = shelf.bring(2, second)
    there = shelf.there()

    assert both == {"api/3/10": "changed.here", "api/5": "changed.here"}
    assert (there.pop("3/10"), there.pop("5")) == (b"mine", b"mine too")
    beside = {path.replace(".generation-2", ""): content for path, content in there.items()
              if not path.startswith("away/")}
    assert beside == second
