"""What sandboxes of pattern openshell may touch, where a change needs a new sandbox and loses nothing; and what they
reach: each developer's list, changed while they live, clones without pushes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.farm import WORK
from tests.integration.openshell import until
from tests.integration.shells import Shells
from tests.lab.gitserver import HTTP_PORT
from tests.lab.model import PORT as SITE_PORT

ASK = """
import json, sys, urllib.error, urllib.request
def ask(url):
    try: return urllib.request.urlopen(url, timeout=20).status
    except urllib.error.HTTPError as error: return error.code
    except OSError as error: return str(error)
print(json.dumps([ask(url) for url in sys.argv[1:]]))
"""
PUSH = "cd /tmp && rm -rf pushed && git clone -q {url} pushed && cd pushed && git push {url} HEAD:refs/heads/pushed"
# Everything about a repository that somebody could miss: heads, stashes, changes, what stands still, and each file.
ALL_OF_IT = """
cd /workspace/web && git for-each-ref && git stash list && git status --porcelain=v2 --ignored && ls .git/rebase-merge
find . -path ./.git -prune -o -type f -exec sha256sum {} + | sort
"""


def test_paths_that_were_added_by_hand_mean_a_new_sandbox_that_holds_all_work(shells: Shells) -> None:
    shells.inside("ana", WORK.format(repo="web"))
    before, container = shells.inside("ana", ALL_OF_IT), shells.container("ana")
    paths = shells.shown_policy("ana")["filesystem_policy"]
    shells.set_policy("ana", {"filesystem_policy": {**paths, "read_only": [*paths["read_only"], "/opt"]}})
    steps = shells.plan().json["steps"]
    shells.repaired()

    assert [(step["action"], step["item"]) for step in steps if step["kind"] == "sandbox"] == [("replace", "sandbox")]
    assert "filesystem_policy" in next(step["why"] for step in steps if step["kind"] == "sandbox")
    assert shells.container("ana") != container
    assert "stash@{1}" in before
    assert shells.inside("ana", ALL_OF_IT) == before


@pytest.fixture(scope="module")
def lists(shells: Shells) -> Iterator[Shells]:
    """Ana reaches a site, bo may clone from the git server, cy reaches nothing."""
    address = shells.lab.git.host.address
    made = shells.with_developers(
        ana={"egress": [{"to": f"{address}:{SITE_PORT}", "private": True}]},
        bo={"egress": [{"to": f"{address}:{HTTP_PORT}", "private": True, "clone": True}]},
        cy={"egress": []},
    )
    before = {name: made.container(name) for name in ("ana", "bo", "cy")}
    steps = made.plan().json["steps"]
    assert [(step["action"], step["why"]) for step in steps] == [("change", "network_policies differs")] * 2
    made.repaired()
    assert {name: made.container(name) for name in before} == before
    yield made
    shells.repaired()
    assert {name: shells.container(name) for name in before} == before


def answers(farm: Shells, developer: str) -> list[object]:
    """What a program in a sandbox gets from the site, from the git server by hand, and by git."""
    address = farm.lab.git.host.address
    urls = [f"http://{address}:{SITE_PORT}/healthz", f"{farm.lab.git.http_url('web')}/HEAD"]
    asked = farm.pifleet("exec", developer, "--", "python3", "-c", ASK, *urls)
    cloned = farm.pifleet("exec", developer, "--", "git", "ls-remote", farm.lab.git.http_url("web"), "main")
    return [*json.loads(asked.out), cloned.code == 0]


def test_each_developer_reaches_their_own_list_and_nothing_else(lists: Shells) -> None:
    assert answers(lists, "ana") == [200, 403, False]
    assert answers(lists, "bo") == [403, 403, True]
    assert answers(lists, "cy") == [403, 403, False]


def test_git_clones_and_cannot_push(lists: Shells) -> None:
    git = lists.lab.git
    git.host.inside("git", "-C", "/srv/git/web.git", "config", "http.receivepack", "true")
    try:
        pushed = lists.pifleet("exec", "bo", "--", "sh", "-c", PUSH.format(url=git.http_url("web")))
        assert (pushed.code != 0, "403" in pushed.err) == (True, True), pushed.err
        assert "pushed" not in git.host.inside("git", "-C", "/srv/git/web.git", "branch")
        lists.as_root(PUSH.format(url=git.http_url("web")))  # the control: it is not the server that refuses
        assert "pushed" in git.host.inside("git", "-C", "/srv/git/web.git", "branch")
    finally:
        git.host.inside("git", "-C", "/srv/git/web.git", "update-ref", "-d", "refs/heads/pushed")


def test_the_log_tells_a_developer_what_was_refused(lists: Shells) -> None:
    answers(lists, "cy")
    address = lists.lab.git.host.address

    def told() -> dict[tuple[str, int, str], str]:
        found = lists.pifleet("logs", "cy", "--egress", "-o", "json").json["egress"]
        return {(one["name"], one["port"], one["verdict"]): one["entry"] for one in found}

    wanted = {(address, port, "refused"): f'{{to: "{address}:{port}", private: true}}'
              for port in (SITE_PORT, HTTP_PORT)}
    until(lambda: wanted.items() <= told().items(), seconds=120)
