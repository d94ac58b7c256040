"""Owns the corpus: every named case that a pull must stand, what comes of it, and what shows that.
It must not hold a case that nothing runs: a row names a test of another file, or brings the box that is pulled.

Outcomes: OK lands complete; E an entry is safe in the store, named and not written; I lands, incomplete, and named;
R nothing lands, one reason, the old generation stays. A `why` tells where a row is not as first planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pifleet.results import Pull
from tests.results import corpus_boxes as boxes
from tests.results.box import Box

Outcome = Literal["OK", "E", "I", "R"]
CAPTURE, HOSTILE = "tests/results/test_capture.py::", "tests/results/test_hostile.py::"
PULL, MEMORY = "tests/results/test_pull.py::", "tests/results/test_memory.py::"
TRANSFER, RECORDS = "tests/unit/test_results_transfer.py::", "tests/unit/test_results_records.py::"
_ANSWER, _STORED = f"{HOSTILE}test_a_hostile_answer_lands_nothing", f"{HOSTILE}test_what_is_dangerous_only_as_a_file"
_SHAPE = f"{CAPTURE}test_every_state_comes_home_complete_and_nothing_of_it_is_touched"
_STREAM = f"{TRANSFER}test_an_answer_that_is_not_whole_is_refused"


@dataclass(frozen=True)
class Case:
    """`shown_by` is how the id of a test begins, or a function that pulls a box which has one generation at home."""

    outcome: Outcome
    reason: str
    shown_by: str | Callable[[Box], Pull]
    why: str = ""


def answer(reason: str, name: str, why: str = "") -> Case:
    return Case("R", reason, f"{_ANSWER}[{name}]", why)


def stream(reason: str, name: str, why: str = "") -> Case:
    return Case("R", reason, f"{_STREAM}[{name}]", why)


def stored(reason: str, name: str) -> Case:
    return Case("E", reason, f"{_STORED}_is_stored_named_and_not_written[{name}]")


def shape(name: str, why: str = "") -> Case:
    return Case("OK", "", f"{_SHAPE}[{name}]", why)


_FSCK = "git refuses a pack with such a tree, which no honest capture sends: that names the entry (path.git)"

PATHS = {
    "dotdot": answer("git.fsck", "tree-dotdot", _FSCK),
    "absolute": answer("git.fsck", "tree-absolute", _FSCK),
    "empty-component": answer("git.fsck", "tree-empty-name", _FSCK),
    "nul-in-name": Case("OK", "", boxes.no_zero_in_names, "a tree ends each name with a zero, so none can hold one"),
    "component-256": stored("path.too_long", "component-256"),
    "depth-1500": Case("I", "path.too_deep", boxes.depth_1500, "what lies deeper than a tree may is left, and named"),
    "newline-name": stored("path.control", "newline-name"),
    "esc-name": stored("path.control", "esc-name"),
    "c1-control-name": Case("E", "path.control", boxes.c1_control_name),
    "bidi-name": stored("path.control", "bidi-name"),
    "non-utf8-name": shape("non_utf8_name"),
    "dotgit-any-case": answer("git.fsck", "tree-DotGit", _FSCK),
    "dotgit-trailing-dot-space": answer("git.fsck", "tree-dotgit-trailing-dot", _FSCK),
    "dotgit-zwnj": answer("git.fsck", "tree-dotgit-zwnj", _FSCK),
    "dotgit-ntfs-stream": answer("git.fsck", "tree-dotgit-ntfs-stream", _FSCK),
    "git-tilde-1": answer("git.fsck", "tree-git-tilde-1", _FSCK),
    "windows-reserved": Case("OK", "", boxes.windows_reserved, "controllers run Linux or macOS, where these are names"),
    "case-twins": Case("OK", "", f"{HOSTILE}test_odd_modes_become_plain_files_and_case_twins_both_land"),
    "nfc-nfd-twins": Case("OK", "", boxes.nfc_nfd_twins),
}

LINKS = {
    "link-absolute": stored("link.outside", "link-absolute"),
    "link-dotdot-out": stored("link.outside", "tree-link-out"),
    "link-through-link": Case("E", "link.outside", boxes.link_through_link),
    "write-through-link": answer("name.conflict", "write-through-link"),
    "link-replaces-dir": Case("OK", "", boxes.link_replaces_folder, "nothing is replaced: it is a new generation"),
    "file-then-child": answer("name.conflict", "file-then-child"),
    "same-path-twice": answer("git.fsck", "same-path-twice", "git refuses the tree before we look at its names"),
    "hardlink-pair": Case("OK", "", boxes.hard_link_pair),
    "pathmax-chain": Case("E", "link.outside", boxes.pathmax_chain),
}

TYPES = {
    "fifo": Case("I", "special", f"{CAPTURE}test_fifos_sockets_and_unreadable_things_are_named"),
    "socket": Case("I", "special", f"{CAPTURE}test_fifos_sockets_and_unreadable_things_are_named"),
    "device": Case("I", "special", boxes.device, "no stream can carry one; the capture names it"),
    "setuid": Case("OK", "", f"{CAPTURE}test_an_executable_is_one_and_a_setuid_file_is_no_more_than_that"),
    "sparse-1TiB": Case("I", "limit.file", f"{PULL}test_a_file_beyond_the_limit_is_named_and_the_rest_comes_home",
                        "the capture knows the limit, so that the rest can come home"),
    "hole-file": Case("OK", "", f"{PULL}test_files_larger_than_memory_allows_are_streamed"),
    "unreadable": Case("I", "capture.denied", boxes.unreadable),
}

STREAMS = {
    "empty-answer": Case("R", "proto.cut", f"{TRANSFER}test_silence_says_why_where_the_far_end_said_it"),
    "cut-mid-frame": stream("proto.cut", "cut-mid-frame"),
    "cut-after-last-data": stream("proto.cut", "cut-after-last-data"),
    "no-end-mark": stream("proto.cut", "no-end-mark"),
    "wrong-sha": stream("proto.digest", "wrong-sha"),
    "junk-after-end": stream("proto.junk", "junk-after-end"),
    "banner-noise": stream("proto.magic", "banner-noise"),
    "frame-4GiB": stream("limit.frame", "frame-4GiB"),
    "record-1MiB": Case("R", "limit.record", f"{RECORDS}test_a_record_of_a_megabyte_is_refused_unread"),
    "nested-json": Case("R", "proto.schema", f"{RECORDS}test_what_is_no_record_at_all_is_refused"),
    "type-confusion": Case("R", "proto.schema", f"{RECORDS}test_type_confusion_is_refused"),
    "negative-size": Case("R", "proto.schema", f"{RECORDS}test_type_confusion_is_refused"),
    "block-outside-file": Case("R", "git.connectivity", boxes.block_list_names_a_stranger,
                               "blocks are the leaves of a tree, so they have no offset that could lie"),
    "zip-bomb": answer("limit.unpacked", "zip-bomb"),
    "count-bomb": answer("limit.paths", "count-bomb", "counted in the tree, before a file of it is looked at"),
    "zstd-skippable-frame": Case("R", "proto.magic", boxes.zstd_frame, "packs are deflated; there is no zstd"),
    "append-prefix-lie": answer("proto.base", "state-cache-lies", "nothing is ever appended to a file at home"),
    "unknown-section": answer("proto.schema", "unknown-frame"),
    "stall-60s": Case("R", "timeout.idle", f"{TRANSFER}test_stall_is_cut_off"),
    "drip-1B/s": Case("R", "timeout.total", f"{TRANSFER}test_drip_of_one_byte_at_a_time_is_cut_off"),
    "exit-code-1-after-end": Case("R", "proto.exit",
                                  f"{TRANSFER}test_an_exit_code_after_the_end_mark_is_a_failure"),
}

GIT = {
    "tree-dotgit": answer("git.fsck", "tree-dotgit"),
    "tree-dotdot": answer("git.fsck", "tree-dotdot"),
    "tree-fullpath": answer("git.fsck", "tree-fullpath"),
    "tree-gitmodules-link": answer("git.fsck", "tree-gitmodules-link"),
    "tree-gitmodules-name": answer("git.fsck", "tree-gitmodules-name"),
    "tree-duplicate": answer("git.fsck", "same-path-twice"),
    "tree-link-out": stored("link.outside", "tree-link-out"),
    "delta-bomb": answer("git.limit", "delta-bomb"),
    "path-bomb": answer("limit.paths", "path-bomb"),
    "tree-depth-100k": answer("limit.depth", "tree-depth-20k", "a fifth of it already kills git's own walk"),
    "missing-object": answer("git.connectivity", "missing-blob"),
    "refs-50k": answer("limit.refs", "refs-50k"),
    "ref-name-evil": answer("ref.name", "ref-name-option", "a capture that sends such a name is not ours"),
    "replace-ref": answer("ref.namespace", "replace-ref", "a capture that sends such a name is not ours"),
    "tag-collision": Case("OK", "", boxes.tag_like_ours),
    "bundle-instead-of-pack": answer("git.fsck", "bundle-instead-of-pack", "it is no pack, and git says so first"),
    "config-and-hooks-present": Case("OK", "", f"{CAPTURE}test_code_of_the_sandbox_is_not_run_by_a_pull"),
    "alternates-in-sandbox": shape("borrowed_objects"),
    "shallow-no-base": Case("I", "git.shallow", f"{CAPTURE}test_a_repository_that_cannot_be_read_comes_home_as_files"
                            "_and_is_named[git.shallow]", "the other repositories and the files come home"),
    "partial-clone-missing": Case("I", "git.connectivity", f"{CAPTURE}test_a_partial_clone_fetches_nothing"),
    "sha256-repo": Case("I", "git.format", f"{CAPTURE}test_a_repository_that_cannot_be_read_comes_home_as_files"
                        "_and_is_named[git.format]", "a store has one format; the files come, the history is named"),
}

STATES = {
    "mid-merge": Case("OK", "", f"{CAPTURE}test_an_operation_in_progress_keeps_its_state_and_all_sides"),
    "mid-rebase": Case("OK", "", f"{CAPTURE}test_a_rebase_keeps_its_todo_and_the_commit_it_came_from"),
    "detached-head": shape("detached"), "unborn-head": shape("unborn"),
    "staged-vs-worktree": Case("OK", "", f"{CAPTURE}test_staged_and_worktree_versions_are_both_kept"),
    "nested-repo": Case("OK", "", f"{CAPTURE}test_nested_and_unexpected_repositories_are_repositories_of_their_own"),
    "nested-empty-repo": shape("nested_empty"),
    "submodule-dirty": Case("OK", "", f"{CAPTURE}test_a_dirty_submodule_is_kept_and_so_is_its_place"),
    "assume-unchanged": Case("OK", "", f"{CAPTURE}test_hidden_flags_do_not_hide_a_change"),
    "exclude-star": Case("OK", "", f"{CAPTURE}test_a_private_exclude_file_hides_nothing",
                         "only rules that lie in the tree count as rules"),
    "crlf-ident": Case("OK", "", f"{CAPTURE}test_bytes_are_kept_that_filters_and_line_endings_would_alter"),
    "lfs-object": Case("OK", "", f"{MEMORY}test_what_lfs_keeps_for_itself_comes_home"),
    "three-stashes": Case("OK", "", f"{CAPTURE}test_every_stash_is_kept"),
    "dropped-stash": Case("OK", "", f"{MEMORY}test_a_dropped_stash_comes_home", "which is better than a name"),
    "reset-away-commit": Case("OK", "", f"{CAPTURE}test_a_commit_that_was_reset_away_is_kept"),
    "linked-worktree": shape("linked_worktree"), "stale-index-lock": shape("stale_index_lock"),
    "trustctime-off": Case("OK", "", f"{CAPTURE}test_a_change_of_equal_size_and_time_is_seen"),
    "dubious-owner": Case("OK", "", boxes.owned_by_another, "the repository is named, so git asks for no owner"),
    "repo-without-git-binary": Case("R", "capture.tool", boxes.no_git, "without git nothing of a history can be read"),
}

FAULTS = {
    "writer-races-big-file": Case("I", "changed", f"{PULL}test_a_writer_at_work_is_noticed"),
    "file-vanishes": Case("OK", "", boxes.file_comes_and_goes, "or I changed: it depends on the moment"),
    "file-grows": Case("OK", "", boxes.log_grows_meanwhile, "or I changed: it depends on the moment"),
    "host-disk-full": Case("R", "io.space", f"{PULL}test_a_full_disk_fails_with_the_old_generation_whole"),
    "kill-host-mid-apply": Case("OK", "", f"{PULL}test_a_pull_killed_anywhere_leaves_whole_generations"),
    "two-pulls-at-once": Case("R", "busy", f"{PULL}test_two_pulls_of_one_sandbox_do_not_run_at_once"),
    "state-cache-lost": Case("OK", "", f"{MEMORY}test_a_lost_memory_costs_bytes_and_nothing_else"),
    "state-cache-lies": answer("proto.base", "state-cache-lies"),
    "cut-then-retry": Case("OK", "", f"{MEMORY}test_a_pull_that_was_cut_goes_on_where_it_was"),
    "delete-everything": Case("OK", "", boxes.everything_deleted),
}

_ANSWERS = """
    tree-dotgit-backslash tree-dot tree-unsorted tree-cut tree-of-noise units-201 missing-tree
    missing-parent announced-but-not-sent announced-without-a-pack blob-as-snapshot stash-not-sent tree-as-branch
    pack-cut pack-and-more pack-checksum pack-of-noise ref-name-HEAD ref-name-lock ref-name-dotdot
    ref-name-inner-dotdot ref-name-newline ref-name-space ref-name-long ref-file-and-folder ref-outside
    ref-of-another-sandbox unit-dotdot unit-absolute unit-dotgit unit-control unit-empty unit-unknown-tree
    two-units-into-one-place repository-called-workspace section-size-lies
    unit-in-unit record-in-section empty-data no-sessions no-workspace nothing-at-all
"""
_SHAPES = """
    deleted renamed executable odd_names intent_to_add packed_with_tags nested_and_ignored bare_repository
    mid_cherry_pick
"""
OURS = {
    **{name: Case("R", "", f"{_ANSWER}[{name}]") for name in _ANSWERS.split()},
    **{name: shape(name) for name in _SHAPES.split()},
    "attributes-folder": Case("OK", "", boxes.attributes_folder),
    "attributes-long-line": Case("OK", "", boxes.attributes_long_line),
    "modules-folder": Case("OK", "", boxes.modules_folder),
    "modules-bad-name": Case("I", "path.git", boxes.modules_bad_name),
    "modules-in-conflict": Case("OK", "", boxes.modules_in_conflict),
    "stash-packed-then-dropped": Case("OK", "", boxes.stash_packed_then_dropped),
    "branch-packed-then-deleted": Case("OK", "", boxes.branch_packed_then_deleted),
    "submodule-deinitialized": Case("OK", "", boxes.submodule_deinitialized),
    "split-index": Case("OK", "", boxes.split_index),
    "annotated-tag-of-odd-name": Case("I", "ref.namespace", boxes.annotated_tag_of_odd_name),
    "block-list-of-noise": Case("R", "git.connectivity", boxes.block_list_of_noise),
    "block-list-size-lies": Case("R", "git.connectivity", boxes.block_list_size_lies),
    "block-list-leaves-the-tree": Case("E", "path.traversal", boxes.block_list_leaves_the_tree),
    "block-is-a-link": Case("R", "git.connectivity", boxes.block_is_a_link),
    "workspace-is-a-file": Case("R", "capture.workspace", boxes.workspace_is_a_file),
    "file-too-large": Case("E", "limit.file", "tests/results/test_folder_update.py::"
                           "test_a_file_of_a_history_beyond_the_limit_stays_in_the_store"),
    "folder-without-rights": Case("I", "capture.denied", boxes.folder_without_rights),
}

CORPUS: dict[str, Case] = {**PATHS, **LINKS, **TYPES, **STREAMS, **GIT, **STATES, **FAULTS, **OURS}
