"""What the documentation shows exists and is current."""

import re
import runpy
from pathlib import Path

import pytest

from pifleet.cli import VERBS, main

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["cli.md", "inventory.md"])
def test_a_generated_page_is_what_the_program_says_today(page):
    written = runpy.run_path(str(ROOT / "scripts" / "docs"))["pages"]()[page]

    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == written, "run scripts/docs"


def test_the_readme_names_every_verb_and_no_other():
    table = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)

    named = {word.split()[0] for row in table for word in re.findall(r"`([^`]+)`", row)}
    assert named == set(VERBS)


def test_every_command_line_of_the_readme_parses():
    blocks = "\n".join(re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL))
    shown = re.findall(r"^pifleet (.+?)(?:\s+#.*)?$", blocks, re.MULTILINE)

    assert shown
    for line in shown:
        verb, *rest = re.findall(r'"[^"]*"|\S+', line)
        main.get_command(None, verb).make_context(verb, [word.strip('"') for word in rest])


def test_the_readme_is_one_page_with_two_commands_to_start():
    blocks = re.findall(r"```sh\n(.*?)\n```", README.split("## Use it")[0], re.DOTALL)

    assert blocks == ["scripts/demo", "scripts/test"]
    assert len(README.splitlines()) <= 75


@pytest.mark.parametrize("script", sorted(set(re.findall(r"scripts/\w+", README))))
def test_every_script_of_the_readme_can_be_started(script):
    assert (ROOT / script).stat().st_mode & 0o111


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_every_link_inside_the_project_leads_somewhere(target):
    assert (ROOT / target).exists()
