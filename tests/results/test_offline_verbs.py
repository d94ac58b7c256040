"""The verbs below results as a person meets them: words, documents and exit codes, with every host out of reach."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pifleet.cli.results import VERBS
from pifleet.cli.results.raw import escaped
from tests.conftest import Run
from tests.results.box import Box, git

Document = Callable[..., Any]
INVENTORY = """
all:
  vars:
    pifleet_fleet: acme
    pifleet_models: {dry: {api: scripted}}
    pifleet_defaults: {model: dry}
    pifleet_developers: {ana: {}, bo: {sandboxes: {one: {}, two: {}}}}
  children:
    pifleet_docker: {hosts: {farm-1: {ansible_host: 127.0.0.1, ansible_port: 1}}}
"""


@pytest.fixture
def home(box: Box, run: Run) -> Box:
    """Two generations, and an inventory whose only host refuses connections."""
    box.pull()
    box.commit("new.txt", "new\n")
    (box.api / "esc\x1b[31m").write_bytes(b"\x1b[2Jred\t\xff\n")
    box.pull()
    (box.base / "inventory.yml").write_text(INVENTORY)
    return box


@pytest.fixture
def results(run: Run) -> Run:
    """A verb of results."""
    return partial(run, "results")


@pytest.fixture
def document(results: Run) -> Document:
    """What such a verb prints for programs."""
    def call(*args: str) -> Any:
        result = results(*args, "-o", "json")
        assert result.exit_code == 0, result.stderr
        assert "\x1b" not in result.stdout
        return json.loads(result.stdout)

    return call


@pytest.mark.parametrize("verb", VERBS)
def test_help_begins_with_the_line_that_the_list_shows_and_fits(verb: str, results: Run) -> None:
    result = results(verb, "--help")
    assert " ".join(VERBS[verb].split()) in " ".join(result.stdout.split())
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_of_results_imports_no_verb() -> None:
    program = "import sys; from pifleet.cli.results import command; command.get_command(None, 'x'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"rich", "pydantic", "pifleet.cli.results.list", "pifleet.results"} & {*loaded}


def test_an_unknown_verb_names_the_nearest(results: Run) -> None:
    result = results("restroe")
    assert (result.exit_code, "did you mean 'restore'?" in result.stderr) == (2, True)


@pytest.mark.parametrize(("args", "code", "said"), [
    (("show", "ana"), 0, "main"), (("show", "ana/main/api/new.txt"), 0, "new\n"),
    (("show", "ana/api"), 0, "api/new.txt"),
    (("show", "ana", "-g", "9"), 2, "use 1 or 2"), (("show", "anna"), 2, "did you mean ana"),
    (("show", "ana/apo"), 2, "did you mean api?"), (("show", "bo"), 2, "name one of bo/one, bo/two"),
    (("show", "bo/one"), 2, "pifleet pull bo/one"), (("diff", "ana"), 0, "1 new commit"),
    (("diff", "ana", "1", "1"), 0, "nothing changed"), (("diff", "ana", "9"), 2, "use 1 or 2"),
    (("diff", "ana", "--patch", "-o", "json"), 2, "a patch is no document"),
    (("verify", "ana"), 0, "whole"), (("verify", "-g", "1"), 2, "a generation of which sandbox?"),
    (("verify", "ana", "-g", "first"), 2, "say a number, or all"), (("gc", "ana"), 0, "nothing to let go"),
    (("apply", "ana", "--to", "x"), 2, "name a repository"),
    (("apply", "ana/api", "--to", "x"), 3, "not a git work tree"),
    (("restore", "ana", "--to", "results"), 3, "not an empty folder"),
])
def test_what_is_said(home: Box, args: tuple[str, ...], code: int, said: str, results: Run) -> None:
    result = results(*args)
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert "\x1b" not in result.output


def test_a_file_is_raw_into_a_pipe_and_escaped_on_a_terminal(home: Box) -> None:
    command = [sys.executable, "-m", "pifleet.cli", "results", "show", "ana/api/esc\\x1b[31m"]
    command[1:3] = ["-c", "from pifleet.cli import main; main()"]
    piped = subprocess.run(command, capture_output=True, check=True)
    assert piped.stdout == b"\x1b[2Jred\t\xff\n"
    ours, theirs = pty.openpty()
    subprocess.run(command, stdout=theirs, check=True)
    os.close(theirs)
    assert os.read(ours, 1000) == b"\\x1b[2Jred\t\\xff\r\n"
    os.close(ours)


def test_a_reader_that_has_enough_ends_it_quietly(home: Box) -> None:
    (home.api / "long").write_text("line\n" * 200_000)
    home.pull()
    line = f"{sys.executable} -c 'from pifleet.cli import main; main()' results show ana/api/long | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"line\n", b"")


@pytest.mark.parametrize(("line", "said"), [
    (b"plain\n", b"plain\n"), (b"\x1b]0;title\x07\n", b"\\x1b]0;title\\x07\n"), (b"a\\n\tb", b"a\\n\tb"),
    ("\u202eevil\n".encode(), b"\\u202eevil\n"), (b"\xc2\x9b31m\r\n", b"\\x9b31m\\r\n"),
])
def test_nothing_in_a_line_can_act_on_a_terminal(line: bytes, said: bytes) -> None:
    assert escaped(line) == said


def test_documents_have_their_agreed_keys(home: Box, document: Document) -> None:
    clone = home.base / "clone"
    git(home.base, "clone", "-q", str(home.api), str(clone))
    told = {verb: document(*args) for verb, args in {
        "list": ("list",), "show": ("show", "ana"), "files": ("show", "ana/api/new.txt"), "diff": ("diff", "ana"),
        "restore": ("restore", "ana/api", "--to", "out"), "apply": ("apply", "ana/api", "--to", "clone"),
        "verify": ("verify", "ana"), "gc": ("gc", "ana", "--keep-last", "1", "--keep-daily", "0", "--dry-run"),
    }.items()}
    assert {verb: [*one][1:] for verb, one in told.items()} == {
        "list": ["generations"], "show": ["generation", "receipt"], "files": ["sandbox", "generation", "files"],
        "diff": ["sandbox", "before", "after", "units"],
        "restore": ["sandbox", "generation", "part", "to", "files", "bytes", "left_out"],
        "apply": ["sandbox", "generation", "clone", "branch", "tip", "head", "new", "left_out", "operation"],
        "verify": ["sandboxes"], "gc": ["dry_run", "sandboxes"],
    }
    assert told["gc"]["sandboxes"] == [{"sandbox": "ana/main", "generations": [1], "freed": 0, "error": None}]


def test_damage_exits_1_and_says_where(home: Box, results: Run, document: Document) -> None:
    home.home_git("update-ref", "-d", home.ref("heads/main", 2))
    result = results("verify")
    assert result.exit_code == 1
    assert "ana/main 2 damage: repo/api/heads/main  ref.missing" in result.stdout
    assert document("verify", "ana", "-g", "1")["sandboxes"][0]["damaged"] is False


def test_gc_deletes_nothing_without_a_yes(home: Box, results: Run, document: Document) -> None:
    rule = ("--keep-last", "1", "--keep-daily", "0")
    assert results("gc", *rule).exit_code == 3
    assert results("gc", *rule, "--dry-run").exit_code == 0
    assert len(document("list")["generations"]) == 2
    done = results("gc", *rule, "--yes")
    assert (done.exit_code, "1 generation gone" in done.stdout) == (0, True)
    assert [one["generation"] for one in document("list")["generations"]] == [2]


def test_a_sandbox_that_left_the_inventory_is_still_found(home: Box, results: Run, document: Document) -> None:
    inventory = Path("inventory.yml")
    inventory.write_text(INVENTORY.replace("ana: {}, ", ""))
    assert [one["generation"] for one in document("list")["generations"]] == [1, 2]
    for name in ("ana", "ana/main"):
        assert results("show", f"{name}/api/new.txt").stdout == "new\n"
        assert results("verify", name).exit_code == 0
    assert results("list", "anna").exit_code == 2
