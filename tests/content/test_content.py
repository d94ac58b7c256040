"""The Ansible content as a whole: everything parses, is named fully, described, used, and fit for old hosts."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pifleet import content

ROOT = Path(__file__).parents[2]
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
TASK_FILES = sorted([*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "playbooks").rglob("*.yml")])
PROGRAMS = [
    path
    for path in (ROOT / "roles").glob("*/files/*")
    if path.is_file() and "python3" in path.read_text(encoding="utf-8").split("\n", 1)[0]
]
HOST_SIDE = sorted([*MODULES, *(ROOT / "plugins" / "module_utils").glob("*.py"), *PROGRAMS])
OWN = "ansible_collections.pifleet.fleet.plugins.module_utils"
TASK_WORDS = {
    "name", "when", "tags", "loop", "loop_control", "register", "vars", "changed_when", "failed_when", "no_log",
    "ignore_errors", "delegate_to", "become", "become_user", "environment", "run_once", "until", "retries", "delay",
    "block", "rescue", "always", "args", "check_mode", "throttle", "notify", "timeout",
}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tasks(node: Any) -> list[dict[str, Any]]:
    """Every task of a playbook or task file, those in blocks and plays as well."""
    if not isinstance(node, list):
        return []
    inner = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")
    found = [item for item in node if "hosts" not in item]
    return found + [task for item in node for key in inner for task in tasks(item.get(key))]


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return content.link_collection(tmp_path_factory.mktemp("collections"))


def run_ansible(collections: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_LOCALHOST_WARNING": "False"},
    )


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_passes_ansibles_own_check(collections: Path, playbook: str) -> None:
    inventory = "pifleet_docker,"
    done = run_ansible(collections, "ansible-playbook", "--syntax-check", "-i", inventory, f"pifleet.fleet.{playbook}")

    assert done.returncode == 0, done.stderr


def test_every_module_has_documentation_that_ansible_can_show(collections: Path) -> None:
    names = [f"pifleet.fleet.{path.stem}" for path in MODULES]
    done = run_ansible(collections, "ansible-doc", "--json", *names)

    assert done.returncode == 0, done.stderr
    assert [one for one in names if f'"{one}"' not in done.stdout] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_says_what_it_takes_and_is_used(role: str) -> None:
    folder = ROOT / "roles" / role

    assert (folder / "README.md").is_file()
    assert yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    used = [path for path in TASK_FILES if f"pifleet.fleet.{role}\n" in path.read_text()]
    assert used, f"no playbook and no role uses {role}"


@pytest.mark.parametrize("role", ROLES)
def test_every_default_of_a_role_is_described(role: str) -> None:
    defaults = ROOT / "roles" / role / "defaults" / "main.yml"
    variables = yaml.safe_load(defaults.read_text()) if defaults.exists() else {}
    options = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())

    assert set(variables) <= set(options["argument_specs"]["main"]["options"])
    assert all(variable.startswith(f"{role}_") for variable in variables)


@pytest.mark.parametrize("path", TASK_FILES, ids=name)
def test_every_task_has_a_name_and_names_its_action_fully(path: Path) -> None:
    for task in tasks(yaml.safe_load(path.read_text())):
        actions = set(task) - TASK_WORDS
        assert "name" in task, task
        assert all(re.fullmatch(r"(ansible\.builtin|pifleet\.fleet)\.[a-z_]+", action) for action in actions), actions


@pytest.mark.parametrize("path", TASK_FILES, ids=name)
def test_no_task_hands_text_to_a_shell(path: Path) -> None:
    text = path.read_text()

    assert "ansible.builtin.shell" not in text
    assert "ansible.builtin.raw" not in text
    assert not re.search(r"ansible\.builtin\.command: [^{\n]", text), "give the command as argv"


@pytest.mark.parametrize("path", HOST_SIDE, ids=name)
def test_host_side_code_is_understood_by_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("path", HOST_SIDE, ids=name)
def test_host_side_code_needs_nothing_but_the_standard_library(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            allowed = module == "ansible.module_utils.basic" or module.startswith(OWN)
            assert allowed or module.split(".")[0] in sys.stdlib_module_names, module


@pytest.mark.parametrize("path", HOST_SIDE, ids=name)
def test_host_side_code_says_what_it_owns(path: Path) -> None:
    assert "must not" in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
