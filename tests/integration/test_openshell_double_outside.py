"""What leaves the OpenShell double's sandboxes: requests that a policy lets through, and credentials in them.

Each test is a fact that was seen with real binaries, and asks those where the environment names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.openshell import Shell, container, until
from tests.integration.openshell_outside import POLICY, Site, ask, provide
from tests.lab.openshell.double import Double

RULES = """network_policies:
  site:
    endpoints:
      - host: "%s"
        port: %d
        protocol: rest
        enforcement: enforce
        rules:
          - allow: {method: GET, path: "/allowed/**"}
    binaries: [{path: "/usr/bin/python3*"}]
"""


@pytest.fixture(scope="module")
def site(gateway: Double) -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def box(openshell: Shell, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sandbox under the plain policy."""
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(POLICY)
    openshell.ok("sandbox", "create", "--name", "box", "--from", "pi", "--policy", policy, "--detach")
    return "box"


# Providers


def test_a_provider_gives_out_names_only(openshell: Shell) -> None:
    provide(openshell, "quiet", "openai", "http://127.0.0.1:1", "key-kept-quiet")
    listed = [one for one in openshell.json("provider", "list") if one["name"] == "quiet"]
    assert (listed[0]["credential_keys"], listed[0]["config_keys"]) == (["OPENAI_API_KEY"], ["OPENAI_BASE_URL"])
    assert "key-kept-quiet" not in json.dumps(listed) + openshell.ok("provider", "get", "quiet").said
    openshell.ok("provider", "delete", "quiet")
    assert openshell("provider", "delete", "quiet").code == 0


def test_a_credential_arrives_where_it_belongs_and_nowhere_else(
        openshell: Shell, site: Site, tmp_path: Path) -> None:
    other = Site()
    profile = tmp_path / "profile.yaml"
    profile.write_text(f"""id: lab-git
display_name: Lab git
category: source_control
credentials:
  - {{name: token, env_vars: [GIT_TOKEN], required: true, auth_style: bearer, header_name: authorization}}
endpoints:
  - {{host: "{site.host}", port: {site.port}, protocol: rest, access: full, enforcement: enforce}}
binaries: [{{path: "/usr/bin/python3*"}}]
""")
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY + "network_policies:\n" + "".join(f"""  site{one.port}:
    endpoints:
      - {{host: "{one.host}", port: {one.port}, protocol: rest, access: full, enforcement: enforce}}
    binaries: [{{path: "/usr/bin/python3*"}}]
""" for one in (site, other)))
    openshell.ok("provider", "profile", "import", "-f", profile)
    openshell.ok("provider", "create", "--name", "git", "--type", "lab-git", "--credential", "GIT_TOKEN",
                 GIT_TOKEN="token-kept-outside")
    openshell.ok("sandbox", "create", "--name", "token", "--from", "pi", "--policy", policy, "--provider", "git",
                 "--detach")
    placeholder = openshell.ok("sandbox", "exec", "-n", "token", "--", "printenv", "GIT_TOKEN").text.strip()
    assert placeholder.startswith("openshell:resolve:env:")
    headers = {"authorization": f"Bearer {placeholder}"}
    assert ask(openshell, "token", site.url("/x"), "", headers).startswith("200 ")
    assert site.seen[-1]["auth"] == "Bearer token-kept-outside"
    assert ask(openshell, "token", other.url("/x"), "", headers).startswith("403 ")
    assert other.seen == []
    done = openshell("provider", "delete", "git")
    assert (done.code, "is attached to sandbox(es): token" in done.said) == (1, True)
    openshell.ok("sandbox", "delete", "token")
    openshell.ok("provider", "delete", "git")
    other.server.shutdown()


# The network policy


def test_without_a_rule_nothing_is_reached_and_the_log_says_what(openshell: Shell, site: Site, box: str) -> None:
    said = ask(openshell, box, site.url("/allowed/x"))
    assert said.startswith("403 ")
    assert "policy_denied" in said
    until(lambda: f"-> {site.host}:{site.port}" in openshell.ok("logs", box).text)
    lines = [line for line in openshell.ok("logs", box).text.splitlines() if f"{site.host}:{site.port}" in line]
    assert "DENIED /usr/bin/python3" in lines[0]
    direct = openshell.exec(box, "bash", "-c", f"exec 3<>/dev/tcp/{site.host}/{site.port}")
    assert direct.code != 0


def test_a_rule_is_live_and_lets_through_only_what_it_names(
        openshell: Shell, site: Site, box: str, tmp_path: Path) -> None:
    changed = tmp_path / "policy.yaml"
    changed.write_text(POLICY + RULES % (site.host, site.port))
    openshell.ok("policy", "set", box, "--policy", changed, "--wait", "--timeout", "30")
    assert ask(openshell, box, site.url("/allowed/x")) == "200 site"
    assert ask(openshell, box, site.url("/other")).startswith("403 ")
    assert ask(openshell, box, site.url("/allowed/x"), "pushed").startswith("403 ")
    assert "unchanged" in openshell.ok("policy", "set", box, "--policy", changed).said.lower()
    changed.write_text(POLICY)
    openshell.ok("policy", "set", box, "--policy", changed, "--wait", "--timeout", "30")
    assert ask(openshell, box, site.url("/allowed/x")).startswith("403 ")


def test_a_path_that_is_taken_away_is_refused_and_one_that_is_added_is_silently_without_effect(
        openshell: Shell, box: str, tmp_path: Path) -> None:
    changed = tmp_path / "policy.yaml"
    changed.write_text(POLICY.replace("/usr, ", ""))
    done = openshell("policy", "set", box, "--policy", changed)
    assert (done.code, "cannot be removed on a live sandbox" in done.said) == (1, True)
    changed.write_text(POLICY.replace("/usr, ", "/usr, /opt, "))
    openshell.ok("policy", "set", box, "--policy", changed, "--wait", "--timeout", "30")
    assert "Permission denied" in openshell.exec(box, "cat", "/opt/elsewhere/file").said


def test_an_unknown_field_of_a_policy_is_named(openshell: Shell, box: str, tmp_path: Path) -> None:
    changed = tmp_path / "policy.yaml"
    changed.write_text(POLICY + "surprise: 1\n")
    done = openshell("policy", "set", box, "--policy", changed)
    assert (done.code, "surprise" in done.said) == (1, True)


def test_a_policy_at_creation_decides_what_can_be_opened(openshell: Shell, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("/usr, ", "/usr, /opt, "))
    openshell.ok("sandbox", "create", "--name", "opened", "--from", "pi", "--policy", policy, "--detach")
    assert openshell.exec("opened", "cat", "/opt/elsewhere/file").text == "unlisted\n"
    openshell.ok("sandbox", "delete", "opened")


# Settings


def test_settings_know_their_keys_and_the_gateways_win(openshell: Shell, gateway: Double, box: str) -> None:
    assert container(gateway, box)
    done = openshell("settings", "set", box, "--key", "no_such_key", "--value", "true")
    assert done.code == 1
    openshell.ok("settings", "set", "--global", "--yes", "--key", "ocsf_json_enabled", "--value", "true")
    done = openshell("settings", "set", box, "--key", "ocsf_json_enabled", "--value", "false")
    assert (done.code, "managed globally" in done.said) == (1, True)
    openshell.ok("settings", "delete", "--global", "--yes", "--key", "ocsf_json_enabled")
