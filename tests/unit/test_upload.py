"""Uploads, through the real program inside, into a folder of this machine."""

import os
import sys

import pytest

from pifleet.errors import BadInput, Refused, SandboxFailed
from pifleet.fleet import Limits, Sandbox
from pifleet.sandbox import upload
from pifleet.sandbox.upload import entries_of, put
from pifleet.stream import LocalStream

ANA = Sandbox("ana", "main", "docker", "dry", Limits())


class Here:
    """A driver whose inside is this machine."""

    def stream(self, sandbox, argv, workdir="/", place="work"):
        return LocalStream([sys.executable, *argv[1:]])


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.setattr(upload, "WORKSPACE", str(folder))
    return folder


@pytest.fixture
def local(tmp_path):
    folder = tmp_path / "local" / "up"
    (folder / "sub").mkdir(parents=True)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "sub" / "big").write_bytes(os.urandom(3 << 20))
    (folder / "empty").touch()
    (folder / "link").symlink_to("/etc/passwd")
    return folder


def test_a_folder_arrives_whole_with_its_modes_and_links(workspace, local):
    assert put(Here(), ANA, entries_of(local)) == str(workspace)

    there = workspace / "up"
    assert (there / "sub" / "big").read_bytes() == (local / "sub" / "big").read_bytes()
    assert (there / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (there / "link").readlink() == (local / "link").readlink()
    assert sorted(path.name for path in there.iterdir()) == ["empty", "link", "run.sh", "sub"]


def test_a_destination_is_made_and_is_relative_to_the_workspace(workspace, local):
    put(Here(), ANA, entries_of(local / "run.sh"), "docs/new")

    assert (workspace / "docs" / "new" / "run.sh").exists()


def test_existing_files_are_named_and_nothing_is_written(workspace, local):
    (workspace / "up" / "sub").mkdir(parents=True)
    (workspace / "up" / "sub" / "big").write_text("precious")

    with pytest.raises(Refused) as caught:
        put(Here(), ANA, entries_of(local))

    assert caught.value.trouble.saw == "up/sub/big"
    assert "--force" in caught.value.trouble.try_
    assert [path.name for path in (workspace / "up").iterdir()] == ["sub"]
    assert (workspace / "up" / "sub" / "big").read_text() == "precious"


def test_force_writes_over_files(workspace, local):
    (workspace / "run.sh").write_text("old")

    put(Here(), ANA, entries_of(local / "run.sh"), force=True)

    assert (workspace / "run.sh").read_text() == "#!/bin/sh\n"


def test_a_link_inside_is_replaced_and_not_written_through(workspace, local, tmp_path):
    (tmp_path / "outside").write_text("untouched")
    (workspace / "run.sh").symlink_to(tmp_path / "outside")

    put(Here(), ANA, entries_of(local / "run.sh"), force=True)

    assert (tmp_path / "outside").read_text() == "untouched"
    assert not (workspace / "run.sh").is_symlink()


def test_a_folder_that_cannot_be_written_is_said(workspace, local):
    (workspace / "file").touch()

    with pytest.raises(SandboxFailed, match=r"Not a directory|File exists"):
        put(Here(), ANA, entries_of(local), "file")


def test_what_cannot_be_uploaded_is_named_all_at_once(local):
    os.mkfifo(local / "pipe")
    os.mkfifo(local / "sub" / "pipe")

    with pytest.raises(BadInput) as caught:
        entries_of(local)

    assert [mistake.path for mistake in caught.value.mistakes] == [str(local / "pipe"), str(local / "sub" / "pipe")]
