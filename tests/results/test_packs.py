"""Many pulls stay quick: their packs become few, and no object is ever out of reach on the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pifleet.results import Limits, verify
from pifleet.results.limits import Refusal
from pifleet.results.store.generations import Store
from pifleet.results.store.packs import MANY, consolidate, rolled
from tests.results.box import Box


def packs(box: Box) -> list[Path]:
    return sorted((box.results / ".store/ana-main.git/objects/pack").glob("*.pack"))


def loose(box: Box) -> list[Path]:
    return [path for path in (box.results / ".store/ana-main.git/objects").glob("??/*") if len(path.parent.name) == 2]


def pulled(box: Box, times: int) -> None:
    for number in range(times):
        (box.api / "counter").write_text(f"{number}\n" * 50)
        assert box.pull().result == "new"


def tidy(box: Box) -> None:
    store = Store(box.results, "ana-main", Limits())
    consolidate(store.git, store.folder, store.limits)


@given(st.lists(st.integers(1, 1000), min_size=MANY + 1, max_size=MANY + 20).map(sorted))
def test_many_packs_become_few_and_large_ones_are_let_be(sizes: list[int]) -> None:
    take = rolled(sizes)
    assert take >= MANY // 2
    assert take == len(sizes) or sizes[take] >= 2 * sum(sizes[:take])


def test_a_large_pack_is_copied_only_as_often_as_the_small_ones_reach_its_size() -> None:
    sizes, copied = [1_000_000], 0
    for _ in range(3000):
        sizes.append(100)
        if len(sizes) > MANY:
            take = rolled(sorted(sizes))
            copied += sum(sorted(sizes)[:take])
            sizes = [*sorted(sizes)[take:], sum(sorted(sizes)[:take])]
    assert copied < 10 * sum(sizes)
    assert len(sizes) <= MANY


def test_a_pull_that_makes_too_many_packs_leaves_few(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pifleet.results.store.packs.MANY", 6)
    most = 0
    for number in range(8):
        box.commit("counter", f"{number}\n")
        box.pull()
        most = max(most, len(packs(box)))
    assert most <= 6
    proof = verify(box.results, "ana-main", "ana/main")
    assert proof.good
    assert len(proof.generations) == 8


def test_everything_is_where_it_was_and_smaller(box: Box) -> None:
    (box.api / "noise").write_bytes(os.urandom(300_000))
    pulled(box, 6)
    before = {line.split()[0] for line in box.home_git("cat-file", "--batch-check", "--batch-all-objects").splitlines()}
    assert loose(box)
    tidy(box)
    after = {line.split()[0] for line in box.home_git("cat-file", "--batch-check", "--batch-all-objects").splitlines()}
    assert before == after
    assert loose(box) == []
    assert len(packs(box)) <= 3
    assert verify(box.results, "ana-main", "ana/main").good


def test_a_damaged_pack_is_kept_and_so_is_every_other(box: Box) -> None:
    pulled(box, 3)
    damaged = max(packs(box), key=lambda path: path.stat().st_size)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 255
    damaged.chmod(0o600)
    damaged.write_bytes(data)
    before = packs(box)
    with pytest.raises(Refusal):
        tidy(box)
    assert set(before) <= set(packs(box))


def test_killed_at_any_moment_everything_is_still_there(box: Box) -> None:
    (box.api / "noise").write_bytes(os.urandom(3_000_000))
    pulled(box, 4)
    script = ("import sys; from pathlib import Path; from tests.results.box import Box;"
              "from tests.results.test_packs import tidy; tidy(Box.at(Path(sys.argv[1])))")
    for attempt in range(5):
        child = subprocess.Popen([sys.executable, "-c", script, str(box.base)], start_new_session=True)
        try:
            child.wait(0.15 + attempt * 0.06)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()
        assert verify(box.results, "ana-main", "ana/main").good
    tidy(box)
    assert not list((box.results / ".store/ana-main.git/objects/pack").glob("tmp_*"))
    assert verify(box.results, "ana-main", "ana/main").good
