"""The folder reads like the data's journey: an import that runs backwards, or a heavy one at start, is a fault."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pifleet

PACKAGE = Path(pifleet.__file__).parent
# Who comes when; a module may import its own room and those before it.
JOURNEY = (
    {"errors", "events", "phrases", "wording", "secret", "stream", "content", "report", "egress", "versions",
     "threads"},
    {"pins", "fleet", "render"},
    {"inventory"},
    {"connection", "kube", "lock", "observe", "desired", "plan", "place", "patterns", "selection", "keyring",
     "moves"},
    {"look", "converge"},
    {"provision", "rescue", "playbook", "sandbox", "results", "doctor", "operate",
     "status", "verify", "removal", "traffic", "usage"},
    {"output"},
    {"cli"},
)
# Libraries that cost; each is imported inside the function that needs it, and by whom.
HEAVY = {
    "ansible": {"inventory"}, "ansible_runner": {"converge"}, "cryptography": {"inventory"},
    "fabric": {"connection"}, "paramiko": {"connection"},
    "kubernetes": {"kube"}, "websocket": {"kube"}, "urllib3": {"kube"},
    "pydantic": {"inventory", "results"}, "pydantic_core": {"inventory"},
    "jinja2": {"render"}, "zstandard": {"results"}, "yaml": None, "rich": {"output"}, "click": {"cli"},
}
# These may be imported at the top of their modules: whole modules stand behind a function's import.
AT_TOP = {"yaml", "pydantic", "pydantic_core", "rich", "click"}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_ansible" not in path.parts)


def room(name):
    return next((number for number, names in enumerate(JOURNEY) if name in names), None)


def name_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Every imported module with whether it is imported when the file is: (name, at_top)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module, id(node) in top
            if node.module == "pifleet":
                yield from ((f"pifleet.{alias.name}", id(node) in top) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_run_forward_and_heavy_ones_wait(path):
    own = name_of(path)
    if own == "__init__":
        return
    assert room(own) is not None, f"{own} has no place in JOURNEY; give it one"

    for name, at_top in imports(path):
        parts = name.split(".")
        if parts[0] == "pifleet" and len(parts) > 1 and room(parts[1]) is not None:
            assert room(parts[1]) <= room(own), f"{own} imports {name}, which comes later"
        if parts[0] in HEAVY:
            owners = HEAVY[parts[0]]
            assert owners is None or own in owners, f"{own} imports {name}; only {owners} may"
            assert not at_top or parts[0] in AT_TOP, f"{own} imports {name} at its top"


def test_the_test_above_sees_both_kinds_of_fault(tmp_path):
    file = tmp_path / "plan.py"
    file.write_text("import pifleet.cli\nfrom pifleet import output\ndef f():\n    import fabric\n")

    found = dict(imports(file))

    assert found["pifleet.cli"]
    assert found["pifleet.output"]
    assert found["fabric"] is False


def test_help_and_verb_list_import_nothing_but_click():
    """`pifleet --help` at most three times the cost of click is only possible while this holds."""
    program = "import sys, pifleet.cli; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "click" in loaded
    assert not {"rich", "pydantic", "ansible", "yaml", "jinja2", "pifleet.output", "pifleet.cli.plan"} & set(loaded)
