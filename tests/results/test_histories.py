"""Random histories of a sandbox: after pull and teardown no byte is missing at home, or the teardown refused."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.results.histories import MEMORY, failure, main

ONCE_FAILED = [("20261125", 906)]  # a submodule's tag has a name that home does not take, and its store is another's
SEED, CHUNK, COUNT = "1", 6, 150
CHUNKS = [pytest.param(first, marks=[pytest.mark.slice] if first == 0 else [], id=f"seed-{SEED}-from-{first}")
          for first in range(0, COUNT, CHUNK)]


@pytest.fixture
def base() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("first", CHUNKS)
def test_after_any_history_every_byte_is_at_home(base: Path, first: int) -> None:
    told = [failure(base, SEED, number) for number in range(first, first + CHUNK)]
    assert not any(told), "\n\n".join(filter(None, told))


@pytest.mark.parametrize(("seed", "number"), ONCE_FAILED)
def test_a_history_that_once_failed_does_not_any_more(base: Path, seed: str, number: int) -> None:
    assert failure(base, seed, number) == ""


def test_the_soak_prints_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "1", "--seed", SEED, "--from", "3"]) == 0
    assert capsys.readouterr().out.startswith(f"seed {SEED}: 4 histories, 0 failed")
