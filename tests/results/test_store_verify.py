"""An offline proof: what came home is still there, bit for bit, or exactly what is not is named."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pifleet.errors import BadInput
from pifleet.results import Limits, Proof, receipt, verify
from pifleet.results.store.generations import Store
from tests.results.box import Box, git
from tests.results.forge import Forge


def look(box: Box, number: int | None = None) -> Proof:
    return verify(box.results, "ana-main", "ana/main", number)


def damage(proof: Proof) -> dict[int, list[str]]:
    return {one.generation: [item.reason for item in one.damage] for one in proof.generations}


@pytest.fixture
def twice(box: Box) -> Box:
    """A box with two generations that share most, with a stash, an index, big and ignored files."""
    box.commit(".gitignore", "*.log\n")
    (box.api / "x.log").write_text("log\n")
    (box.api / "big.bin").write_bytes(os.urandom(2 << 20))
    (box.api / "README.md").write_text("stashed\n")
    git(box.api, "stash", "-q")
    box.pull()
    box.commit("second.txt", random.Random(1).randbytes(5000).hex())
    (box.api / "README.md").write_text("staged\n")
    git(box.api, "add", "README.md")
    box.pull()
    return box


def store(box: Box) -> Path:
    return box.results / ".store/ana-main.git"


def test_a_whole_store_is_proven_whole(twice: Box) -> None:
    proof = look(twice)
    assert proof.good
    assert [(one.generation, one.word) for one in proof.generations] == [(1, "complete"), (2, "complete")]
    assert proof.objects > 30


def test_what_never_came_home_is_no_damage_and_is_said(box: Box) -> None:
    os.mkfifo(box.api / "pipe")
    box.pull()
    (one,) = look(box).generations
    assert (one.word, [(item.path, item.reason) for item in one.incomplete]) == ("partial", [("api/pipe", "special")])


def test_one_generation_can_be_asked_for(twice: Box) -> None:
    assert [one.generation for one in look(twice, 2).generations] == [2]
    with pytest.raises(BadInput, match="no generation 3"):
        look(twice, 3)


def test_a_flipped_bit_anywhere_in_any_pack_is_found(twice: Box) -> None:
    chance = random.Random(7)
    for file in sorted((store(twice) / "objects/pack").iterdir()):
        whole = file.read_bytes()
        file.chmod(0o600)
        for at in {0, 9, len(whole) - 1, chance.randrange(len(whole))}:
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
            proof = look(twice)
            assert not proof.good, (file.name, at)
            assert file.name in [item.path for item in proof.files]
        file.write_bytes(whole)
    assert look(twice).good


def test_only_the_generation_that_has_the_damaged_object_is_named(twice: Box) -> None:
    second = twice.home_git("rev-parse", f"{twice.ref('snapshot', 2)}:second.txt")
    git(store(twice), f"--git-dir={store(twice)}", "repack", "-a", "-d", "-q")
    (pack,) = (store(twice) / "objects/pack").glob("*.pack")
    listed = twice.home_git("verify-pack", "-v", str(pack)).splitlines()
    size, offset = next(map(int, line.split()[3:5]) for line in listed if line.startswith(second))
    data = bytearray(pack.read_bytes())
    data[offset + size // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    proof = look(twice)
    assert damage(proof) == {1: [], 2: ["object.damaged"]}
    assert proof.generations[1].damage[0].path == second


def test_a_lost_pack_is_told_generation_by_generation(twice: Box) -> None:
    oldest = min((store(twice) / "objects/pack").glob("*.pack"), key=lambda path: path.stat().st_mtime_ns)
    oldest.unlink()
    oldest.with_suffix(".idx").unlink()
    told = damage(look(twice))
    assert all(words and all(word.startswith(("object.", "blocks.")) for word in words) for words in told.values())


def moved(box: Box) -> None:
    box.home_git("update-ref", box.ref("heads/main", 2), box.home_git("rev-parse", box.ref("heads/main", 1)))


def removed(box: Box) -> None:
    box.home_git("update-ref", "-d", box.ref("stashes/0", 2))


def added(box: Box) -> None:
    box.home_git("update-ref", box.ref("heads/other", 2), box.home_git("rev-parse", box.ref("heads/main", 1)))


@pytest.mark.parametrize(("act", "word", "name"), [
    (moved, "ref.moved", "repo/api/heads/main"), (removed, "ref.missing", "repo/api/stashes/0"),
    (added, "ref.unknown", "repo/api/heads/other"),
])
def test_a_ref_that_is_not_as_the_receipt_says_is_named(
    twice: Box, act: Callable[[Box], None], word: str, name: str
) -> None:
    act(twice)
    first, second = look(twice).generations
    assert first.damage == ()
    assert [(item.path, item.reason) for item in second.damage] == [(name, word)]


def test_an_edited_receipt_is_not_believed(twice: Box) -> None:
    generation = "refs/sandbox/ana-main/gen/2/generation"
    text = twice.home_git("cat-file", "blob", f"{generation}:receipt.json").replace('"path": "api"', '"path": "apx"')
    blob = git(store(twice), f"--git-dir={store(twice)}", "hash-object", "-w", "--stdin", data=text.encode()).decode()
    tree = git(store(twice), f"--git-dir={store(twice)}", "mktree", data=f"100644 blob {blob}\treceipt.json\n".encode())
    message = twice.home_git("log", "-1", "--format=%B", generation)
    forged = git(store(twice), f"--git-dir={store(twice)}", "commit-tree", tree, data=message.encode()).decode()
    twice.home_git("update-ref", generation, forged)
    first, second = look(twice).generations
    assert first.damage == ()
    assert second.damage[0].path == "receipt.json"


def test_the_receipt_of_another_generation_is_not_believed(twice: Box) -> None:
    first = twice.home_git("rev-parse", "refs/sandbox/ana-main/gen/1/generation")
    twice.home_git("update-ref", "refs/sandbox/ana-main/gen/2/generation", first)
    assert "receipt.other: of generation 1 of ana-main" in damage(look(twice))[2]


def test_a_block_list_that_does_not_add_up_is_named(twice: Box) -> None:
    """A pull would not take it, so it is put into the store by hand."""
    forge = Forge()
    blocks = forge.tree(("100644", b"00", forge.blob(b"short\n")))
    listed = forge.blob(f'[["snapshot", "big", {0o100644}, 2000000, "{blocks}"]]'.encode())
    commit = forge.commit(forge.tree(("40000", blocks.encode(), blocks), ("100644", b"list", listed)))
    git(store(twice), f"--git-dir={store(twice)}", "index-pack", "--stdin", data=forge.pack(commit))
    kept = Store(twice.results, "ana-main", Limits())
    told, _ = kept.receipt(kept.generations()[2])
    told |= {"generation": 3, "units": [unit | {"blocks": commit} for unit in told["units"] if unit["kind"] == "repo"]}
    kept.commit(3, "", receipt.units_of(told), receipt.stored(told), "by hand")
    assert damage(look(twice)) == {1: [], 2: [], 3: ["blocks.size"]}
