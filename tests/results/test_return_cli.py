"""`results restore --to-sandbox` as a person meets it."""

import io
from pathlib import Path

import pytest

from pifleet.cli.results.into import show
from pifleet.output import Output
from pifleet.results import Item, PutBack, UnitPut
from tests.conftest import Run
from tests.results.box import Box
from tests.results.test_offline_verbs import INVENTORY


@pytest.fixture
def home(box: Box, run: Run) -> Box:
    """One generation, and an inventory whose only host refuses connections."""
    box.pull()
    (box.base / "inventory.yml").write_text(INVENTORY)
    return box


@pytest.mark.parametrize(("args", "code", "said"), [
    (("ana",), 2, "a folder or a sandbox"), (("ana", "--to", "x", "--to-sandbox", "ana"), 2, "a folder or a sandbox"),
    (("ana", "--to", "x", "--force"), 2, "--force is for a sandbox"),
    (("ana", "--to-sandbox", "anna"), 2, "did you mean ana"),
    (("ana", "-g", "7", "--to-sandbox", "ana"), 2, "ana/main has no generation 7"),
    (("ana", "--to-sandbox", "ana"), 1, "farm-1"),
])
def test_what_cannot_be_done_says_why(home: Box, run: Run, args: tuple[str, ...], code: int, said: str) -> None:
    before = sorted(Path().iterdir())
    result = run("results", "restore", *args)
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert sorted(Path().iterdir()) == before


def test_each_unit_has_a_line_and_a_refused_one_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()
    show(Output(stdout=out), PutBack("ana-main", 3, (
        UnitPut("api", "restored", files=2, fresh=True, left=(Item("pipe", "special"),)),
        UnitPut("web", "restored", files=1, aside="web.before-generation-3"),
        UnitPut("old", "refused", "it has stashes"), UnitPut("docs", "equal"),
        UnitPut("sessions", "restored", files=1, kept=(Item("a.jsonl", "left as it is"),)),
        UnitPut("workspace", "not reached")), 1.0, 2000))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "✓ restored     api        2 files; made new: no remotes, hooks and settings",
        "✓ restored     web        1 file; what was there is in web.before-generation-3",
        "✗ refused      old        it has stashes",
        "= equal        docs",
        "✓ restored     sessions   1 file",
        "! not reached  workspace",
        "  api  not in the generation: pipe  special",
        "  sessions  something else was there: a.jsonl  left as it is",
        "--force moves aside what is there, and destroys nothing",
    ]
