"""The acts of random histories cope with what earlier acts have left, and stay in their box."""

from pathlib import Path
from random import Random

import pytest

from tests.results import file_acts
from tests.results.agent import Agent
from tests.results.box import Box, git

OBEYED = {file_acts.ignore: ".gitignore", file_acts.ignore_too_much: ".gitignore",
          file_acts.attributes: ".gitattributes"}


@pytest.mark.parametrize("act", OBEYED)
def test_a_file_that_git_obeys_may_have_become_a_folder_or_a_link_to_itself(box: Box, act: file_acts.Act) -> None:
    place = box.api / OBEYED[act]
    place.mkdir()
    act(Agent(box, Random(1)))
    assert place.is_dir()
    place.rmdir()
    place.symlink_to(place.name)
    act(Agent(box, Random(1)))
    assert place.is_symlink()


def test_what_is_written_does_not_follow_a_link_out_of_the_box(box: Box, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched\n")
    (box.api / "x.log").symlink_to(victim)
    file_acts.ignore(Agent(box, Random(1)))
    assert victim.read_text() == "untouched\n"


def test_files_of_a_work_tree_are_none_of_a_bare_repositorys(box: Box) -> None:
    git(box.workspace, "clone", "-q", "--bare", "api", "copy.git")
    agent = Agent(box, Random(1))
    assert agent.files(box.workspace) == [box.api / "README.md"]
