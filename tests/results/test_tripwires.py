"""Code of a sandbox runs nowhere, and nothing beside store and results changes: wires that would tell are planted."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pifleet.errors import PifleetError
from pifleet.results import apply, choose, compare, list_generations, listing, overview, patch, restore, verify
from tests.results.box import Box, everything
from tests.results.site import Site
from tests.results.tripwires import WIRES


@pytest.fixture
def site() -> Iterator[Site]:
    with TemporaryDirectory() as base:
        yield Site(Path(base))


@pytest.mark.parametrize("name", WIRES)
def test_each_wire_fires_when_it_is_sprung_by_hand(site: Site, name: str) -> None:
    WIRES[name].plant(site, name)
    assert site.fired() == []
    WIRES[name].spring(site, name)
    assert site.fired() in ([name], ["victim"])


@pytest.fixture
def planted(site: Site) -> Site:
    """All wires in one sandbox, each in its own repository."""
    for name, wire in WIRES.items():
        site.repo(name)
        wire.plant(site, name)
    assert site.fired() == []
    return site


def _around(site: Site) -> dict[str, object]:
    """Everything that is neither the results nor the memory that a capture keeps in the sandbox."""
    ours = ("box/results", "box/home/.cache")
    return {path: facts for path, facts in everything(site.victim.parent).items()
            if not path.startswith(ours) and path not in ("box", "box/home")}


@pytest.mark.slice
def test_no_wire_fires_when_its_sandbox_is_pulled_listed_and_removed(planted: Site) -> None:
    box = planted.box
    repos = ["api", *WIRES]
    before = _around(planted)
    first = box.pull(repos=repos)
    assert (first.result, first.trouble) == ("new", None), first.incomplete
    assert box.pull(repos=repos).result == "unchanged"
    shutil.rmtree(box.folder())
    assert box.pull(repos=repos).result == "unchanged"
    assert [one.number for one in list_generations(box.results, "ana-main")] == [1]
    assert _around(planted) == before
    for folder in (box.workspace, box.home):
        shutil.rmtree(folder)
    assert planted.fired() == []


def test_no_wire_fires_when_a_generation_is_looked_at_restored_applied_and_verified(planted: Site) -> None:
    box = planted.box
    repos = ["api", *WIRES]
    clones, restored = (planted.victim.parent / name for name in ("clones", "restored"))
    restored.mkdir()
    for name in repos:
        planted.careless(box.workspace, "git", "clone", "-q", "--no-local", name, str(clones / name))
    assert planted.fired() == []
    box.pull(repos=repos)
    for name in repos:
        (box.workspace / name / "more").write_text("more\n")
    box.pull(repos=repos)
    old, new = (choose(box.results, "ana-main", "ana/main", number) for number in (1, 2))
    assert len(overview(new)) > len(repos)
    assert compare(old, new)
    assert b"".join(patch(old, new))
    applied = []
    for name in repos:
        assert listing(new, name)
        assert restore(new, name, restored / name).files
        with suppress(PifleetError):
            applied.append(apply(new, name, clones / name))
    assert len(applied) > len(repos) / 2
    assert verify(box.results, "ana-main", "ana/main").good
    assert planted.fired() == []


def brought_home(box: Box) -> Path:
    """The plain files of a pull that is known to have brought some: what follows must not happen anywhere else."""
    done = box.pull(repos=["api", *WIRES])
    assert done.path == box.folder(), done.trouble
    return box.folder()


def test_no_wire_fires_when_a_person_uses_git_in_any_folder_of_the_results(planted: Site) -> None:
    box = planted.box
    folders = [path for path in brought_home(box).rglob("*") if path.is_dir() and not path.is_symlink()]
    assert {"embedded-repository", "gitfile", "commondir"} <= {folder.name for folder in folders}
    for folder in folders:
        planted.careless(folder, "git", "status")
        planted.careless(folder, "git", "log", "-p")
    assert planted.fired() == []


def test_writing_to_every_file_of_the_results_changes_nothing_outside(planted: Site) -> None:
    written = [path for path in brought_home(planted.box).rglob("*") if path.is_file()]
    assert len(written) > len(WIRES)
    for path in written:
        path.write_text("overwritten by a person\n")
    assert planted.fired() == []
    assert (planted.box.workspace / "hard-link/twin").read_text() == "untouched\n"
