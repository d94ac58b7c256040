"""A sandbox that lies: nothing lands, nothing at home changes, and one line says what was wrong."""

import json
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pifleet.results import Limits
from pifleet.results.capture.framing import MAGIC, frame
from pifleet.results.incoming.program import NEEDED
from pifleet.stream import LocalStream
from tests.results.box import Box, everything
from tests.results.forge import (
    FILE,
    FOLDER,
    LINK,
    PROGRAM,
    Forge,
    deep_tree,
    delta_bomb,
    record,
    replaying,
    sealed,
    sections,
)

NOBODY = "1" * 40
QUICK = Limits(idle=20, total=60, files=10_000)


@pytest.fixture
def forge() -> Iterator[Forge]:
    made = Forge()
    yield made
    made.close()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A box with one generation at home; hostile pulls must leave that as it is."""
    box = Box(tmp_path_factory.mktemp("honest"))
    assert box.pull().result == "new"
    return box


def tree_with(path: bytes, mode: str = FILE) -> Callable[[Forge], bytes]:
    return lambda forge: forge.answer(forge.unit(forge.nested(path, mode, forge.blob())))


def raw_tree(*entries: tuple[str, bytes]) -> Callable[[Forge], bytes]:
    return lambda forge: forge.answer(forge.unit(forge.tree(*((mode, name, forge.blob()) for mode, name in entries))))


def raw_objects(tree: bytes) -> Callable[[Forge], bytes]:
    """A snapshot whose tree has this very content."""
    def make(forge: Forge) -> bytes:
        oid = forge.raw("tree", tree)
        text = f"tree {oid}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n"
        commit = forge.raw("commit", text.encode())
        return forge.answer(forge.unit("", snapshot=commit, pack=forge.pack_of(oid, commit)))
    return make


def refs(*names: str) -> Callable[[Forge], bytes]:
    def make(forge: Forge) -> bytes:
        commit = forge.commit(forge.tree())
        return forge.answer(forge.unit(forge.tree(), refs=dict.fromkeys(names, commit)))
    return make


def path_bomb(forge: Forge) -> bytes:
    tree = forge.tree(*((FILE, b"%d" % at, forge.blob()) for at in range(10)))
    for _ in range(9):
        tree = forge.tree(*((FOLDER, b"%d" % at, tree) for at in range(10)))
    return forge.answer(forge.unit(tree))


def deep(forge: Forge) -> bytes:
    commit, pack = deep_tree(20_000)
    return forge.answer(forge.unit("", snapshot=commit, pack=pack))


def without(what: str) -> Callable[[Forge], bytes]:
    """A pack in which an object is missing that others name."""
    def make(forge: Forge) -> bytes:
        blob, kept = forge.blob(b"one"), forge.blob(b"two")
        tree = forge.tree((FILE, b"a", kept), (FILE, b"b", blob))
        commit = forge.commit(tree, forge.commit(forge.tree()))
        names = {"blob": [commit, tree, kept], "tree": [commit, kept, blob], "parent": [commit, tree, kept, blob]}[what]
        return forge.answer(forge.unit(tree, snapshot=commit, pack=forge.pack_of(*names)))
    return make


def blob_bomb(forge: Forge) -> bytes:
    return forge.answer(forge.unit(forge.nested(b"zeros", FILE, forge.blob(b"\0" * (3 << 20)))))


def twice(forge: Forge) -> bytes:
    return forge.answer(*(forge.unit(forge.nested(b"a", FILE, forge.blob())) for _ in range(2)))


def overlapping(parent: bytes, mode: str) -> Callable[[Forge], bytes]:
    """A repository inside another one's file or link."""
    def make(forge: Forge) -> bytes:
        outer = forge.unit(forge.nested(parent, mode, forge.blob(b".")))
        return forge.answer(outer, forge.unit(forge.nested(b"escaped", FILE, forge.blob()), path="api/in"))
    return make


def unit_at(path: str, kind: str = "repo") -> Callable[[Forge], bytes]:
    return lambda forge: forge.answer(forge.unit(forge.nested(b"a", FILE, forge.blob()), path=path, kind=kind))


def frames(make: Callable[[Forge], bytes]) -> Callable[[Forge], bytes]:
    return lambda forge: sealed(make(forge))


def big_tree(forge: Forge) -> bytes:
    blob = forge.blob()
    return forge.answer(forge.unit(forge.tree(*((FILE, b"%06d" % at, blob) for at in range(10_001)))))


CASES: dict[str, tuple[Callable[[Forge], bytes], str]] = {
    # trees that git itself knows to be evil
    "tree-dotgit": (tree_with(b".git/hooks/post-checkout", PROGRAM), "git.fsck"),
    "tree-DotGit": (tree_with(b".GiT/config"), "git.fsck"),
    "tree-git-tilde-1": (tree_with(b"git~1/config"), "git.fsck"),
    "tree-dotgit-zwnj": (tree_with(".g\u200cit/config".encode()), "git.fsck"),
    "tree-dotgit-ntfs-stream": (tree_with(b".git::$INDEX_ALLOCATION/config"), "git.fsck"),
    "tree-dotgit-trailing-dot": (tree_with(b".git. /config"), "git.fsck"),
    "tree-dotgit-backslash": (tree_with(b".git\\hooks\\x"), "git.fsck"),
    "tree-dotdot": (tree_with(b"../escaped"), "git.fsck"),
    "tree-dot": (tree_with(b"./x"), "git.fsck"),
    "tree-fullpath": (raw_tree((FILE, b"a/../../b")), "git.fsck"),
    "tree-absolute": (raw_tree((FILE, b"/etc/cron.d/x")), "git.fsck"),
    "tree-empty-name": (raw_objects(b"100644 \0" + b"1" * 20), "git.fsck"),
    "tree-gitmodules-link": (tree_with(b".gitmodules", LINK), "git.fsck"),
    "tree-gitmodules-name": (lambda f: f.answer(f.unit(f.nested(b".gitmodules", FILE, f.blob(
        b'[submodule "../../x"]\n\tpath = a\n\turl = -u./evil\n')))), "git.fsck"),
    "same-path-twice": (raw_tree((FILE, b"a"), (FILE, b"a")), "git.fsck"),
    "tree-unsorted": (raw_tree((FILE, b"b"), (FILE, b"a")), "git.fsck"),
    "tree-cut": (raw_objects(b"100644 a\0short"), "git.fsck"),
    "tree-of-noise": (raw_objects(b"\xff" * 50), "git.fsck"),
    # bombs
    "path-bomb": (path_bomb, "limit.paths"),
    "tree-depth-20k": (deep, "limit.depth"),
    "delta-bomb": (lambda f: f.answer(f.unit(f.tree(), pack=delta_bomb())), "git.limit"),
    "zip-bomb": (blob_bomb, "limit.unpacked"),
    "count-bomb": (big_tree, "limit.paths"),
    "refs-50k": (refs(*(f"refs/heads/b{at}" for at in range(2001))), "limit.refs"),
    "units-201": (lambda f: sealed(b"".join(record(kind="same", unit="repo", path=f"r{at}", state="0" * 64)
                                            for at in range(300))), "proto.base"),
    # packs
    "missing-blob": (without("blob"), "git.connectivity"),
    "missing-tree": (without("tree"), "git.connectivity"),
    "missing-parent": (without("parent"), "git.connectivity"),
    "announced-but-not-sent": (lambda f: f.answer(f.unit(f.tree(), snapshot=NOBODY, pack=f.pack(f.commit(f.tree())))),
                               "git.connectivity"),
    "announced-without-a-pack": (lambda f: f.answer(f.unit(f.tree(), snapshot=NOBODY, pack=b"")), "git.connectivity"),
    "blob-as-snapshot": (lambda f: f.answer(f.unit(f.tree(), snapshot=(b := f.blob()), pack=f.pack_of(b))),
                         "git.connectivity"),
    "stash-not-sent": (lambda f: f.answer(f.unit(f.tree(), stashes=[NOBODY])), "git.connectivity"),
    "tree-as-branch": (lambda f: f.answer(f.unit(f.tree(), refs={"refs/heads/x": f.tree()})), "git.connectivity"),
    "bundle-instead-of-pack": (lambda f: f.answer(f.unit(f.tree(), pack=b"# v2 git bundle\n" * 9)), "git.fsck"),
    "pack-cut": (lambda f: f.answer(f.unit(f.tree(), pack=f.pack(f.commit(f.tree()))[:-5])), "git.fsck"),
    "pack-and-more": (lambda f: f.answer(f.unit(f.tree(), pack=f.pack(f.commit(f.tree())) + b"x" * 5000)), "git.fsck"),
    "pack-checksum": (lambda f: f.answer(f.unit(f.tree(), pack=f.pack(f.commit(f.tree()))[:-1] + b"?")), "git.fsck"),
    "pack-of-noise": (lambda f: f.answer(f.unit(f.tree(), pack=b"PACK" + b"\xff" * 4000)), "git.fsck"),
    # names
    "ref-name-option": (refs("refs/heads/-rf"), "ref.name"),
    "ref-name-HEAD": (refs("refs/heads/HEAD"), "ref.name"),
    "ref-name-lock": (refs("refs/heads/x.lock"), "ref.name"),
    "ref-name-dotdot": (refs("refs/heads/../../x"), "ref.name"),
    "ref-name-inner-dotdot": (refs("refs/heads/a..b"), "ref.name"),
    "ref-name-newline": (refs("refs/heads/a\ncreate refs/heads/evil " + NOBODY), "ref.name"),
    "ref-name-space": (refs("refs/heads/a b"), "ref.name"),
    "ref-name-long": (refs("refs/heads/" + "x" * 300), "ref.name"),
    "ref-file-and-folder": (refs("refs/heads/a", "refs/heads/a/b"), "name.conflict"),
    "replace-ref": (refs("refs/replace/" + NOBODY), "ref.namespace"),
    "ref-outside": (refs("HEAD"), "ref.namespace"),
    "ref-of-another-sandbox": (refs("refs/sandbox/bo-main/gen/1/generation"), "ref.namespace"),
    "unit-dotdot": (unit_at("../escaped"), "path.traversal"),
    "unit-absolute": (unit_at("/tmp/escaped"), "path.absolute"),
    "unit-dotgit": (unit_at("api/.git/modules"), "path.git"),
    "unit-control": (unit_at("a\x1b[2J"), "path.control"),
    "unit-empty": (unit_at(""), "path.bad"),
    "unit-unknown-tree": (unit_at("etc", "tree"), "proto.schema"),
    "two-units-into-one-place": (twice, "name.conflict"),
    "repository-called-workspace": (unit_at("workspace"), "name.conflict"),
    "file-then-child": (overlapping(b"in", FILE), "name.conflict"),
    "write-through-link": (overlapping(b"in", LINK), "name.conflict"),
    # order and schema
    "section-size-lies": (frames(lambda f: frame(b"D", b"PACK") + section_end(5)), "proto.schema"),
    "data-inside-a-unit": (frames(lambda f: head_of(f) + frame(b"D", b"x") + f.rest()), "proto.schema"),
    "pack-without-end": (frames(lambda f: f.rest() + sections(f.pack(f.commit(f.tree()))).replace(b"whole", b"more")),
                         "proto.schema"),
    "second-question": (frames(lambda f: record(kind="ask", known=True) * 2 + f.rest()), "proto.schema"),
    "unchanged-and-more": (frames(lambda f: record(kind="unchanged") + f.rest()), "proto.schema"),
    "unchanged-after-units": (frames(lambda f: f.rest() + record(kind="unchanged")), "proto.base"),
    "unchanged-after-a-question": (frames(lambda f: record(kind="ask", known=True) + record(kind="unchanged")),
                                   "proto.base"),
    "blocks-list-missing": (lambda f: f.answer(f.unit(f.tree(), blocks=(c := f.commit(f.tree())), pack=f.pack(c))),
                            "git.connectivity"),
    "done-without-unit": (frames(lambda f: record(kind="done", path="api") + f.rest()), "proto.schema"),
    "unit-in-unit": (frames(lambda f: head_of(f) + head_of(f)), "name.conflict"),
    "unit-without-end": (frames(lambda f: f.rest() + head_of(f)), "proto.schema"),
    "refs-outside-a-unit": (frames(lambda f: record(kind="refs", items=[])), "proto.schema"),
    "record-in-section": (frames(lambda f: frame(b"D", b"PACK") + record(kind="done", path="api")),
                          "proto.schema"),
    "empty-data": (frames(lambda f: frame(b"D", b"")), "limit.section"),
    "section-too-long": (lambda f: f.answer(f.unit(f.nested(b"a", FILE, f.blob(os.urandom(17_000_000))))),
                         "limit.section"),
    "unknown-frame": (frames(lambda f: frame(b"T", b"tar") + f.rest()), "proto.schema"),
    "no-sessions": (frames(lambda f: f.rest("sessions")), "proto.schema"),
    "no-workspace": (frames(lambda f: f.rest("workspace")), "proto.schema"),
    "nothing-at-all": (frames(lambda f: b""), "proto.schema"),
    "state-cache-lies": (frames(lambda f: record(kind="same", unit="repo", path="api", state="3" * 64) + f.rest()),
                         "proto.base"),
    "fatal": (frames(lambda f: record(kind="fatal", reason="capture.tool", text="\x1b[31mno git")), "capture.tool"),
}


def head_of(forge: Forge) -> bytes:
    """A unit of which only the first record came."""
    whole = forge.unit(forge.tree(), pack=b"")
    return whole[: 5 + int.from_bytes(whole[1:5], "big")]


def section_end(size: int) -> bytes:
    return frame(b"E", json.dumps({"bytes": size, "pack": "whole"}).encode())


def kept_at_home(box: Box) -> dict[str, object]:
    """Everything under the results folder but the lock and what a next attempt need not send again."""
    return {path: (facts[0], facts[2]) for path, facts in everything(box.results).items()
            if not path.endswith(".lock") and "incoming" not in path.split("/")}


@pytest.mark.parametrize(("make", "code"), CASES.values(), ids=CASES)
def test_a_hostile_answer_lands_nothing(
    honest: Box, forge: Forge, tmp_path: Path, make: Callable[[Forge], bytes], code: str
) -> None:
    limits = {"zip-bomb": Limits(ratio_from=1 << 20)}
    name = next(name for name, case in CASES.items() if case == (make, code))
    before, outside = kept_at_home(honest), everything(honest.workspace)
    done = honest.pull(open_stream=lambda _: replaying(make(forge), tmp_path), limits=limits.get(name, QUICK))
    assert done.trouble
    assert done.trouble.saw.partition(":")[0] == code
    assert done.result == ("failed" if code.startswith("capture.") else "refused")
    assert (done.generation, done.complete, done.path) == (None, False, None)
    assert "\x1b" not in json.dumps(done.as_json()) + done.trouble.saw
    assert kept_at_home(honest) == before
    assert everything(honest.workspace) == outside


def test_the_forge_can_make_an_answer_that_lands(box: Box, forge: Forge, tmp_path: Path) -> None:
    unit = forge.unit(forge.nested(b"dir/file", FILE, forge.blob(b"fine\n")))
    alive = record(kind="alive", doing="reading \x1b[31mapi")
    good = forge.answer(alive + unit.replace(frame(b"E", b"")[:1] + b"\0\0\0", alive + b"E\0\0\0", 1))
    assert good.count(alive) == 2
    done = box.pull(open_stream=lambda _: replaying(good, tmp_path))
    assert (done.result, done.trouble) == ("new", None)
    assert (box.folder() / "api/dir/file").read_bytes() == b"fine\n"


STORED = {
    "tree-link-out": (LINK, b"l", b"../../etc/passwd", "link.outside"),
    "link-absolute": (LINK, b"l", b"/etc/passwd", "link.outside"),
    "link-enormous": (LINK, b"l", b"x" * 5000, "link.outside"),
    "newline-name": (FILE, b"a\nb", b"x", "path.control"),
    "esc-name": (FILE, b"\x1b]0;x\x07", b"x", "path.control"),
    "bidi-name": (FILE, "a\u202eb".encode(), b"x", "path.control"),
    "component-256": (FILE, b"x" * 256, b"x", "path.too_long"),
}


@pytest.mark.parametrize(("mode", "name", "content", "reason"), STORED.values(), ids=STORED)
def test_what_is_dangerous_only_as_a_file_is_stored_named_and_not_written(
    box: Box, forge: Forge, tmp_path: Path, mode: str, name: bytes, content: bytes, reason: str
) -> None:
    entries = sorted([(mode, name, forge.blob(content)), (FILE, b"fine", forge.blob())], key=lambda entry: entry[1])
    answer = forge.answer(forge.unit(forge.tree(*entries)))
    done = box.pull(open_stream=lambda _: replaying(answer, tmp_path))
    assert (done.result, [item.reason for item in done.refused]) == ("new", [reason])
    assert [path.name for path in (box.folder() / "api").iterdir()] == ["fine"]


def test_odd_modes_become_plain_files_and_case_twins_both_land(box: Box, forge: Forge, tmp_path: Path) -> None:
    tree = forge.tree(("100777", b"A", forge.blob(b"1")), ("106755", b"a", forge.blob(b"2")))
    done = box.pull(open_stream=lambda _: replaying(forge.answer(forge.unit(tree)), tmp_path))
    assert done.result == "new"
    assert {path.name: path.stat().st_mode & 0o7777 for path in (box.folder() / "api").iterdir()} == {
        "A": 0o644, "a": 0o644}


def test_slips_in_old_histories_are_forgiven(box: Box, forge: Forge, tmp_path: Path) -> None:
    inner = forge.tree((FILE, b"f", forge.blob()))
    tree = forge.tree(("040000", b"zero-padded", inner))
    text = f"tree {tree}\nauthor a <a@b> 1 +051800\ncommitter a <> 1 +0000\n\nold\n"
    old = forge.raw("commit", text.encode())
    done = box.pull(open_stream=lambda _: replaying(forge.answer(forge.unit(tree, snapshot=old)), tmp_path))
    assert (done.result, done.trouble) == ("new", None)


def test_a_stream_cut_anywhere_lands_nothing(honest: Box, tmp_path: Path) -> None:
    (honest.api / "more.bin").write_bytes(random.Random(5).randbytes(200_000))
    recorded = tmp_path / "recorded"

    def recording(argv: Sequence[str]) -> LocalStream:
        script = 'out=$1; shift; "$@" | tee "$out"'
        return LocalStream(["sh", "-c", script, "sh", str(recorded), sys.executable, *argv[1:]],
                           env={"PATH": os.environ["PATH"], "HOME": str(honest.home)})

    before = kept_at_home(honest)
    whole = Box(tmp_path / "other")
    (whole.api / "more.bin").write_bytes((honest.api / "more.bin").read_bytes())
    assert whole.pull(open_stream=recording).result == "new"
    answer = recorded.read_bytes().removeprefix(NEEDED)
    assert answer.startswith(MAGIC)
    chance = random.Random(7)
    for at in [0, 1, len(MAGIC), len(answer) - 1, *(chance.randrange(len(answer)) for _ in range(12))]:
        done = honest.pull(open_stream=lambda _, at=at: replaying(answer[:at], tmp_path))
        assert done.trouble
        assert (done.result, done.trouble.saw.partition(":")[0]) == ("failed", "proto.cut"), at
        assert kept_at_home(honest) == before
    done = honest.pull(open_stream=lambda _: replaying(answer, tmp_path, code=1))
    assert done.trouble
    assert done.trouble.saw.startswith("proto.exit")
    assert kept_at_home(honest) == before
    (honest.api / "more.bin").unlink()


def test_a_flipped_byte_anywhere_lands_nothing(honest: Box, forge: Forge, tmp_path: Path) -> None:
    answer = forge.answer(forge.unit(forge.nested(b"a", FILE, forge.blob(b"content\n" * 100))))
    before = kept_at_home(honest)
    chance = random.Random(11)
    for _ in range(15):
        at = chance.randrange(len(MAGIC), len(answer))
        broken = answer[:at] + bytes([answer[at] ^ (1 << chance.randrange(8))]) + answer[at + 1 :]
        done = honest.pull(open_stream=lambda _, broken=broken: replaying(broken, tmp_path))
        assert done.result in ("refused", "failed"), at
        assert kept_at_home(honest) == before
