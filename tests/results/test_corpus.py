"""Every named case of the corpus comes out as its row says, and none is named that nothing runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from pifleet.results import list_generations
from tests.results.box import Box, everything
from tests.results.corpus import CORPUS, OURS, Case

ROOT = Path(__file__).parents[2]
MADE = {name: case for name, case in CORPUS.items() if callable(case.shown_by)}
_PLANNED = """
dotdot absolute empty-component nul-in-name component-256 depth-1500 newline-name esc-name c1-control-name bidi-name
non-utf8-name dotgit-any-case dotgit-trailing-dot-space dotgit-zwnj dotgit-ntfs-stream git-tilde-1 windows-reserved
case-twins nfc-nfd-twins link-absolute link-dotdot-out link-through-link write-through-link link-replaces-dir
file-then-child same-path-twice hardlink-pair pathmax-chain fifo socket device setuid sparse-1TiB hole-file unreadable
empty-answer cut-mid-frame cut-after-last-data no-end-mark wrong-sha junk-after-end banner-noise frame-4GiB record-1MiB
nested-json type-confusion negative-size block-outside-file zip-bomb count-bomb zstd-skippable-frame append-prefix-lie
unknown-section stall-60s drip-1B/s exit-code-1-after-end tree-dotgit tree-dotdot tree-fullpath tree-gitmodules-link
tree-gitmodules-name tree-duplicate tree-link-out delta-bomb path-bomb tree-depth-100k missing-object refs-50k
ref-name-evil replace-ref tag-collision bundle-instead-of-pack config-and-hooks-present alternates-in-sandbox
shallow-no-base partial-clone-missing sha256-repo mid-merge mid-rebase detached-head unborn-head staged-vs-worktree
nested-repo nested-empty-repo submodule-dirty assume-unchanged exclude-star crlf-ident lfs-object three-stashes
dropped-stash reset-away-commit linked-worktree stale-index-lock trustctime-off dubious-owner repo-without-git-binary
writer-races-big-file file-vanishes file-grows host-disk-full kill-host-mid-apply two-pulls-at-once state-cache-lost
state-cache-lies cut-then-retry delete-everything
"""
PLANNED = set(_PLANNED.split())


@pytest.mark.parametrize("case", MADE.values(), ids=MADE)
def test_the_case_comes_out_as_its_row_says(box: Box, case: Case) -> None:
    assert callable(case.shown_by)
    assert box.pull().complete
    outside = {path.name for path in box.base.iterdir()}
    kept = everything(box.results / ".store")
    done = case.shown_by(box)
    said = done.trouble.saw if done.trouble else ""
    if case.outcome == "R":
        assert said.partition(":")[0] == case.reason
        assert [one.number for one in list_generations(box.results, "ana-main")] == [1]
        refs = "ana-main.git/packed-refs"
        assert everything(box.results / ".store")[refs][2] == kept[refs][2]
    else:
        assert (said, done.generation is None) == ("", False)
        assert done.complete == (case.outcome != "I"), done.incomplete
        named = done.refused if case.outcome == "E" else done.incomplete
        assert case.reason in [item.reason for item in named] or not case.reason
    assert box.stored("snapshot", "README.md", 1) == "hello"
    assert {path.name for path in box.base.iterdir()} - outside <= {"answer", "origin"}


def test_every_planned_case_has_a_row_and_more_than_forty_of_our_own_have() -> None:
    assert CORPUS.keys() >= PLANNED
    assert len(CORPUS.keys() - PLANNED) == len(OURS) > 40


def test_every_row_names_a_test_that_runs() -> None:
    named = {name: str(case.shown_by) for name, case in CORPUS.items() if name not in MADE}
    files = sorted({test.partition("::")[0] for test in named.values()})
    command = [sys.executable, "-m", "pytest", "-o", "addopts=-q", "--collect-only", "-p", "no:cacheprovider", *files]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [name for name, test in named.items() if not any(line.startswith(test) for line in shown)] == []
