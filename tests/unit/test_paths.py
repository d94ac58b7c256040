"""Looking at and writing paths on a host, in folders that somebody hostile has prepared."""

import hashlib
import hmac
import os
import socket
from pathlib import Path

import pytest

from tests.unit.hostside import load

paths = load("paths")
MINE = {"uid": os.getuid(), "gid": os.getgid()}


def test_nothing_is_seen_as_nothing(tmp_path: Path) -> None:
    assert paths.look(str(tmp_path / "no" / "such")) is None
    assert paths.look(str(tmp_path / "none")) is None


def test_a_file_is_seen_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"text")
    (tmp_path / "f").chmod(0o640)

    sha256 = hashlib.sha256(b"text").hexdigest()
    assert paths.look(str(tmp_path / "f")) == {"type": "file", "mode": "0640", **MINE, "sha256": sha256}


def test_a_secret_is_told_by_a_keyed_hash_only(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"secret")

    seen = paths.look(str(tmp_path / "f"), "nonce")

    assert "sha256" not in seen
    assert seen["hmac"] == hmac.new(b"nonce", b"secret", hashlib.sha256).hexdigest()


def test_a_link_is_seen_as_a_link_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to("folder")

    assert paths.look(str(tmp_path / "link"))["type"] == "link"
    assert paths.look(str(tmp_path / "way" / "below"))["type"] == "link"
    assert paths.read_file(str(tmp_path / "link")) is None


def test_folders_sockets_and_fifos_are_told_apart_and_hold_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(tmp_path)
        server.bind("s")

    assert [paths.look(str(tmp_path / name))["type"] for name in ("d", "fifo", "s")] == ["dir", "other", "socket"]
    assert paths.read_file(str(tmp_path / "fifo")) is None


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")

    assert paths.look(str(tmp_path / "f"), largest=4)["sha256"] == "too large"
    assert paths.look(str(tmp_path / "f"), largest=5)["sha256"] == hashlib.sha256(b"12345").hexdigest()


def test_a_folder_is_made_and_repaired_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    place = tmp_path / "d"
    for mode in (0o750, 0o711):
        paths.make_dir(str(place), mode, **MINE)
        (place / "kept").touch()
        assert place.stat().st_mode & 0o7777 == mode
    assert (place / "kept").exists()


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_folder_is_not_made_where_something_else_is(tmp_path: Path, what: str) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    if what == "link":
        (tmp_path / "d").symlink_to("elsewhere")
    else:
        (tmp_path / "d").touch()

    with pytest.raises(paths.PathError, match="is a link or no folder; move it away"):
        paths.make_dir(str(tmp_path / "d"), 0o777, **MINE)

    assert (tmp_path / "elsewhere").stat().st_mode & 0o7777 == 0o700


def test_a_file_is_replaced_whole_and_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("victim")
    (tmp_path / "f").symlink_to("victim")

    paths.write_file(str(tmp_path / "f"), b"new", 0o600, **MINE)

    assert (tmp_path / "victim").read_text() == "victim"
    assert not (tmp_path / "f").is_symlink()
    assert (tmp_path / "f").read_text() == "new"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f", "victim"]


def test_a_file_written_in_place_stays_the_same_file(tmp_path: Path) -> None:
    place = tmp_path / "f"
    place.write_text("a longer text")
    before = place.stat().st_ino

    paths.write_file(str(place), b"short", 0o644, **MINE, in_place=True)

    assert (place.read_text(), place.stat().st_ino) == ("short", before)


def test_in_place_is_not_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("victim")
    (tmp_path / "f").symlink_to("victim")

    paths.write_file(str(tmp_path / "f"), b"new", 0o644, **MINE, in_place=True)

    assert (tmp_path / "victim").read_text() == "victim"
    assert (tmp_path / "f").read_text() == "new"


def test_no_file_is_written_over_a_folder_or_below_a_link(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "way").symlink_to("d")

    with pytest.raises(paths.PathError, match="is a folder where a file has to be"):
        paths.write_file(str(tmp_path / "d"), b"", 0o644, **MINE)
    with pytest.raises(paths.PathError, match="is a link or no folder"):
        paths.write_file(str(tmp_path / "way" / "f"), b"", 0o644, **MINE)
    assert list((tmp_path / "d").iterdir()) == []


def test_a_rename_never_takes_a_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "taken").symlink_to("/nonexistent")
    held = paths.open_dir(str(tmp_path))

    with pytest.raises(FileExistsError):
        paths.rename_new(held, "new", held, "taken")
    paths.rename_new(held, "new", held, "free")

    os.close(held)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["free", "taken"]


def test_a_tree_with_a_file_of_two_names_is_not_given_away(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    (tmp_path / "tree").mkdir()
    os.link(tmp_path / "mine", tmp_path / "tree" / "also")
    held = paths.open_dir(str(tmp_path / "tree"))

    with pytest.raises(paths.PathError, match="has more than one name"):
        paths.chown_tree(held, **MINE)

    os.close(held)
