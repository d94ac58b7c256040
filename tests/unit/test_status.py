"""What status says of a sandbox's work, asked by the real program inside."""

import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from pifleet.results import Generation, RepoResult
from pifleet.sandbox.status_agent import main
from pifleet.status import _unsaved


def git(folder, *words):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", folder, *words], check=True,
                   capture_output=True)


@pytest.fixture
def workspace(tmp_path):
    origin, folder = tmp_path / "origin", tmp_path / "workspace"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    (origin / "file").write_text("1\n")
    git(origin, "add", ".")
    git(origin, "commit", "-q", "-m", "one")
    folder.mkdir()
    git(tmp_path, "clone", "-q", str(origin), str(folder / "web"))
    return folder


@pytest.fixture
def asked(workspace, tmp_path):
    def ask():
        return main({"workspace": str(workspace), "home": str(tmp_path), "repos": ["web", "gone"]})

    return ask


class TestInside:
    def test_a_fresh_clone_has_nothing_to_lose(self, asked):
        web = asked()["repos"]["web"]

        assert (web["branch"], web["dirty"], web["ahead"]) == ("main", False, False)
        assert len(web["head"]) == 40

    @pytest.mark.parametrize("setting", [
        "core.fsmonitor", "filter.wire.clean", "filter.wire.process", "core.sshCommand", "alias.status",
    ])
    def test_nothing_that_its_configuration_names_is_started(self, asked, workspace, tmp_path, setting):
        web, sprung = workspace / "web", tmp_path / "sprung"
        wire = tmp_path / "wire"
        wire.write_text(f"#!/bin/sh\ntouch {sprung}\ncat\n")
        wire.chmod(0o755)
        (web / ".gitattributes").write_text("* filter=wire\n")
        git(web, "config", setting, str(wire))
        (web / "file").write_text("2\n")

        assert asked()["repos"]["web"]["dirty"]
        assert not sprung.exists()

    def test_such_a_wire_springs_when_git_is_asked_without_care(self, workspace, tmp_path):
        sprung = tmp_path / "sprung"
        git(workspace / "web", "config", "core.fsmonitor", f"touch {sprung}; false")
        git(workspace / "web", "status")

        assert sprung.exists()

    def test_a_missing_repository_is_null(self, asked):
        assert asked()["repos"]["gone"] is None

    @pytest.mark.parametrize("change", [
        lambda web: (web / "new file").write_text("x"),
        lambda web: (web / "file").write_text("2\n"),
        lambda web: (web / "file").unlink(),
    ])
    def test_what_is_not_committed_is_dirty(self, asked, workspace, change):
        change(workspace / "web")

        web = asked()["repos"]["web"]

        assert web["dirty"]
        assert 0 <= web["age"] < 30

    def test_commits_and_stashes_that_the_origin_does_not_have_are_ahead(self, asked, workspace):
        (workspace / "web" / "file").write_text("2\n")
        git(workspace / "web", "stash")

        web = asked()["repos"]["web"]

        assert (web["dirty"], web["ahead"]) == (False, True)

    def test_looking_does_not_touch_the_repository(self, asked, workspace):
        (workspace / "web" / "file").touch()
        before = (workspace / "web" / ".git" / "index").stat()

        asked()

        assert (workspace / "web" / ".git" / "index").stat() == before

    def test_disk_is_counted(self, asked):
        assert asked()["disk"] > 0


def pulled(minutes_ago, head):
    created = (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat(timespec="seconds")
    return Generation(1, created, True, "ana/main", (RepoResult("web", head, "s", 1),), (), None)


@pytest.mark.parametrize(("said", "generation", "unsaved"), [
    ({"dirty": False, "ahead": False}, None, False),
    ({"dirty": True, "ahead": False, "age": 10}, None, True),
    ({"dirty": True, "ahead": False, "age": 10}, pulled(5, "h"), True),
    ({"dirty": True, "ahead": True, "age": 3600}, pulled(5, "h"), False),
    ({"dirty": False, "ahead": True, "age": 3600}, pulled(5, "other"), True),
    ({"dirty": True, "ahead": False, "age": "nonsense"}, pulled(5, "h"), True),
])
def test_work_is_saved_when_the_origin_or_the_last_pull_has_it(said, generation, unsaved):
    assert _unsaved("web", "h", said, generation) is unsaved
