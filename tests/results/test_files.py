"""Packs of files are taken in without git: each file is what its id says, and nothing else gets in that way."""

import hashlib
import zlib
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pifleet.results import Limits
from pifleet.results.limits import Refusal
from pifleet.results.store.files import Files
from tests.results.box import Box, git
from tests.results.forge import Forge, object_head, pack_by_hand, record, replaying, sealed, sections

BLOB, TREE = 3, 2


def oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(data: bytes, level: int = 1, kind: int = BLOB) -> bytes:
    return object_head(kind, len(data)) + zlib.compress(data, level)


def taking(folder: Path, there: Collection[str] = (), limits: Limits | None = None) -> Files:
    git(folder, "init", "-q", "--bare", ".")
    packs = folder / "objects/pack"
    return Files(packs, packs, limits or Limits(), lambda oids: {one for one in oids if one in there})


@given(st.lists(st.tuples(st.binary(max_size=300) | st.integers(0, 200_000).map(lambda size: b"ab" * size),
                          st.sampled_from([0, 1, 9])), min_size=1, max_size=8, unique_by=lambda pair: pair[0]))
def test_git_and_we_read_what_was_sent(tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[bytes, int]]) -> None:
    folder = tmp_path_factory.mktemp("store")
    files = taking(folder)
    files.take(memoryview(pack_by_hand([entry(data, level) for data, level in sent])))
    for data, _ in sent:
        assert b"".join(files.read(oid(data)) or ()) == data
        assert files.size(oid(data)) == len(data)
    git(folder, "fsck", "--strict")
    listed = git(folder, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode().split()
    assert listed == sorted(oid(data) for data, _ in sent)
    files.close()


GOOD = pack_by_hand([entry(b"one"), entry(b"two" * 40_000, 0)])
BAD = {
    "a folder": pack_by_hand([entry(b"one"), entry(b"", kind=TREE)]),
    "the same file twice": pack_by_hand([entry(b"one"), entry(b"one", 0)]),
    "a file that is longer than it says": pack_by_hand([object_head(BLOB, 2) + zlib.compress(b"one")]),
    "a file that is shorter than it says": pack_by_hand([object_head(BLOB, 4) + zlib.compress(b"one")]),
    "a stored file that is longer": pack_by_hand([object_head(BLOB, 2) + zlib.compress(b"one", 0)]),
    "a file larger than any": pack_by_hand([entry(bytes((1 << 20) + 1))]),
    "a flipped bit": GOOD[:40_000] + bytes([GOOD[40_000] ^ 1]) + GOOD[40_001:],
    "a flipped bit in its digest": GOOD[:-1] + bytes([GOOD[-1] ^ 1]),
    "bytes after its last file": pack_by_hand([entry(b"one") + b"more"]),
    "fewer files than it says": pack_by_hand([entry(b"one"), b""]),
    "a head without end": pack_by_hand([b"\xb0" + b"\xff" * 20]),
    "its end": GOOD[:11],
    "nothing": b"",
}


@pytest.mark.parametrize("what", BAD)
def test_a_pack_that_is_not_as_agreed_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(Refusal) as caught:
        taking(tmp_path).take(memoryview(BAD[what]))
    assert caught.value.code == "git.fsck"
    assert list((tmp_path / "objects/pack").iterdir()) == []


def test_more_bytes_of_files_than_a_pack_may_hold_are_refused(tmp_path: Path) -> None:
    bomb = pack_by_hand([entry(bytes([at]) * (1 << 20), 9) for at in range(4)])
    with pytest.raises(Refusal) as caught:
        taking(tmp_path, limits=Limits(ratio_from=3 << 20)).take(memoryview(bomb))
    assert caught.value.code == "limit.unpacked"


def test_a_file_that_came_before_in_the_same_answer_is_refused(tmp_path: Path) -> None:
    files = taking(tmp_path)
    files.take(memoryview(GOOD))
    with pytest.raises(Refusal):
        files.take(memoryview(pack_by_hand([entry(b"one", 0), entry(b"new")])))


def test_what_home_holds_keeps_its_bytes(tmp_path: Path) -> None:
    files = taking(tmp_path, there={oid(b"one")})
    files.take(memoryview(GOOD))
    assert files.size(oid(b"one")) is None
    assert b"".join(files.read(oid(b"two" * 40_000)) or ()) == b"two" * 40_000
    git(tmp_path, "fsck", "--strict")
    assert git(tmp_path, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode() == oid(
        b"two" * 40_000)


def test_a_folder_that_passes_for_a_file_is_refused_by_a_pull(box: Box, tmp_path: Path) -> None:
    forge = Forge()
    evil = sections(BAD["a folder"]).replace(b'"whole"', b'"files"')
    done = box.pull(open_stream=lambda _: replaying(sealed(record(kind="ask", known=False) + evil), tmp_path))
    forge.close()
    assert done.trouble
    assert (done.result, done.trouble.saw.partition(":")[0]) == ("refused", "git.fsck")


def test_many_new_files_come_home_that_way_and_are_there_for_git(box: Box) -> None:
    big = bytes(range(256)) * 20_000
    (box.api / "big").write_bytes(big)
    (box.api / "loose").mkdir()
    for at in range(300):
        (box.api / f"loose/{at}").write_bytes(hashlib.sha256(b"%d" % at).digest() * 300)
    assert box.pull().result == "new"
    assert (box.folder() / "api/big").read_bytes() == big
    for at in range(300):
        assert (box.folder() / f"api/loose/{at}").read_bytes() == hashlib.sha256(b"%d" % at).digest() * 300
    box.home_git("fsck", "--strict", "--connectivity-only")
    assert box.stored("snapshot", "loose/7").encode("utf-8", "surrogateescape") == (
        hashlib.sha256(b"7").digest() * 300).strip()
    (box.api / "loose/7").write_bytes(b"changed\n")
    assert box.pull().result == "new"
    assert (box.folder() / "api/loose/7").read_bytes() == b"changed\n"
    assert box.pull().result == "unchanged"
