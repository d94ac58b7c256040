"""The command line as a user meets it: verbs, exit codes, JSON, and words for whatever was typed wrong."""

import json

import pytest

from pifleet import __version__
from pifleet.cli import VERBS

REPORTING = ("doctor", "plan", "provision", "status", "verify", "pull", "run", "stop", "start", "put", "remove")

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
def farm(run, tmp_path):
    file = tmp_path / "inventory.yml"
    file.write_text(INVENTORY)
    return file


class TestHelp:
    def test_names_every_verb(self, run):
        text = run("--help").stdout

        assert all(f"\n  {verb} " in text for verb in VERBS)

    @pytest.mark.parametrize("verb", VERBS)
    def test_of_a_verb_begins_with_the_line_that_the_list_shows(self, run, verb):
        result = run(verb, "--help")

        assert result.exit_code == 0
        assert " ".join(VERBS[verb].split()) in " ".join(result.stdout.split())
        assert max(map(len, result.stdout.splitlines())) <= 80

    def test_version(self, run):
        assert run("--version").stdout == f"pifleet {__version__}\n"

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion_comes_with_click(self, run, shell):
        assert "_PIFLEET_COMPLETE" in run(env={"_PIFLEET_COMPLETE": f"{shell}_source"}).stdout


class TestUsage:
    @pytest.mark.parametrize(("args", "said"), [
        (("paln",), "no verb 'paln'; did you mean 'plan'?"),
        (("plan", "--limt", "x"), "No such option '--limt'"),
        (("plan", "-o", "yaml"), "'yaml' is not one of 'text', 'json'"),
        (("exec",), "Missing argument"),
    ])
    def test_mistakes_exit_2_and_say_what_would_be_right(self, run, args, said):
        result = run(*args)

        assert result.exit_code == 2
        assert said in result.stderr
        assert "try" in result.stderr
        assert result.stdout == ""

    @pytest.mark.parametrize("asked", [("-o", "json"), ("-ojson",), ("--output", "json"), ("--output=json",)])
    def test_mistakes_are_a_document_where_json_was_asked_for(self, run, asked):
        result = run("plan", "--nope", *asked)

        assert result.exit_code == 2
        assert json.loads(result.stdout)["schema"] == "pifleet.error/1"

    def test_json_after_two_dashes_belongs_to_the_command_inside(self, run):
        assert run("exec", "--nope", "ana", "--", "-o", "json").stdout == ""


class TestInventory:
    def test_missing_exits_2_and_says_how_to_get_one(self, run):
        result = run("plan")

        assert result.exit_code == 2
        assert "inventory.yml" in result.stderr
        assert "pifleet init" in result.stderr

    @pytest.mark.parametrize("verb", ["plan", "provision", "doctor"])
    def test_may_be_an_argument_an_option_or_the_environment(self, run, farm, verb):
        farm.rename(farm.parent / "farm.yml")

        for args, env in (([verb, "farm.yml"], {}), ([verb, "-i", "farm.yml"], {}),
                          ([verb], {"PIFLEET_INVENTORY": "farm.yml"})):
            assert "no such file" not in run(*args, env=env).stderr

    def test_shows_every_mistake_at_once(self, run, farm):
        farm.write_text(INVENTORY.replace("ana: {}", "ana: {patern: docker, cpus: lots}"))

        result = run("plan", "-o", "json")

        paths = [mistake["path"] for mistake in json.loads(result.stdout)["mistakes"]]
        assert result.exit_code == 2
        assert {"pifleet_developers.ana.patern", "pifleet_developers.ana.cpus"} <= set(paths)
        assert all(path in result.stderr for path in paths)

    def test_a_selection_of_what_is_not_there_exits_2_for_every_word(self, run, farm):
        result = run("plan", "--limit", "farm-2", "--developer", "anna", "--pattern", "podman")

        assert result.exit_code == 2
        assert "did you mean farm-1?" in result.stderr
        assert "did you mean ana?" in result.stderr
        assert '"podman"' in result.stderr

    @pytest.mark.parametrize(("name", "said"), [
        ("anna", "did you mean ana"), ("bo", "name one of bo/one, bo/two"), ("bo/three", "bo/one"),
    ])
    def test_an_unknown_sandbox_exits_2_and_names_the_nearest(self, run, farm, name, said):
        result = run("results", "list", name)

        assert result.exit_code == 2
        assert said in result.stderr


class TestInit:
    def test_writes_an_inventory_that_is_valid(self, run, tmp_path):
        result = run("init")

        assert result.exit_code == 0
        assert "pifleet plan inventory.yml" in result.stdout
        assert "cannot" not in run("plan", "--limit", "nothing-like-this").stderr

    def test_never_writes_over_a_file(self, run, farm):
        result = run("init")

        assert result.exit_code == 3
        assert farm.read_text() == INVENTORY
        assert "exists" in result.stderr

    def test_says_why_it_cannot_write(self, run):
        result = run("init", "no/such/folder/x.yml")

        assert result.exit_code == 2
        assert "cannot write no/such/folder/x.yml: No such file or directory" in result.stderr


def test_schema_prints_a_json_schema(run):
    assert "json-schema.org" in json.loads(run("schema").stdout)["$schema"]


class TestUnreachable:
    """The only host of the inventory refuses connections."""

    def test_plan_has_a_row_that_says_what_to_do_and_exits_1(self, run, farm):
        result = run("plan")

        assert result.exit_code == 1
        assert "farm-1" in result.stderr
        assert "try" in result.stderr
        assert "1 host unreachable" in result.stdout

    def test_plan_as_json_is_one_document_with_the_agreed_keys(self, run, farm):
        result = run("plan", "-o", "json")

        told = json.loads(result.stdout)
        assert result.exit_code == 1
        assert told["schema"] == "pifleet.plan/1"
        assert [row["host"] for row in told["unreachable"]] == ["farm-1"]
        assert set(told["unreachable"][0]["error"]) == {"headline", "saw", "where", "try"}
        assert told["summary"]["unreachable"] == 1

    def test_provision_touches_nothing_and_exits_1(self, run, farm):
        result = run("provision", "-o", "json")

        told = json.loads(result.stdout)
        assert result.exit_code == 1
        assert told["schema"] == "pifleet.provision/1"
        assert {row["result"] for row in told["outcomes"]} == {"unreachable", "skipped"}

    def test_doctor_says_which_check_failed_and_the_next_command(self, run, farm):
        result = run("doctor")

        assert result.exit_code == 1
        assert "✗ fail  farm-1      reachable" in result.stdout
        assert "\n        try  " in result.stdout
        assert "✓ pass  controller  inventory        1 host, 2 developers, 3 sandboxes" in result.stdout

    @pytest.mark.parametrize("verb", ["plan", "doctor"])
    def test_text_fits_eighty_columns_without_colour(self, run, farm, verb):
        result = run(verb)

        lines = [line for line in result.output.splitlines() if not line.strip().startswith(("try", "saw"))]
        assert max(map(len, lines)) <= 80
        assert "\x1b" not in result.output


class TestDoctor:
    def test_of_a_bad_inventory_still_shows_the_other_checks(self, run, farm):
        farm.write_text(INVENTORY.replace("ana: {}", "ana: {patern: docker}"))

        result = run("doctor", "-o", "json")

        told = json.loads(result.stdout)
        assert result.exit_code == 2
        assert {"python", "ansible-core", "inventory"} <= {check["check"] for check in told["checks"]}
        assert told["mistakes"][0]["path"] == "pifleet_developers.ana.patern"

    def test_never_says_the_value_of_a_secret(self, run, farm):
        model = "{dry: {api: anthropic-messages, base_url: 'https://x.example', key: {env: POISON_KEY}, models: [m]}}"
        farm.write_text(INVENTORY.replace("{dry: {api: scripted}}", model))

        absent, present = run("doctor"), run("doctor", env={"POISON_KEY": "p0ison-value"})

        assert "environment variable POISON_KEY is not set" in " ".join(absent.stdout.split())
        assert "model:dry from env POISON_KEY" in " ".join(present.stdout.split())
        assert "p0ison-value" not in present.output


def test_an_error_of_pifleet_itself_is_shown_as_one(run, monkeypatch):
    def broken():
        raise RuntimeError("the reason")

    monkeypatch.setattr("pifleet.inventory.schema.json_schema", broken)

    result = run("schema")

    assert result.exit_code == 1
    assert "RuntimeError: the reason" in result.stderr
    assert "this is a bug" in result.stderr


def test_an_interrupt_exits_130(run, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("pifleet.inventory.schema.json_schema", interrupted)

    assert run("schema").exit_code == 130
