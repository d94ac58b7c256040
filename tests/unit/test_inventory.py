"""What an operator writes becomes the fleet that was meant: levels, templates, vault, variable files, connections."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pifleet.content import root
from pifleet.errors import BadInput
from pifleet.fleet import Connection, Limits
from pifleet.inventory import load, read, rules, schema
from pifleet.inventory.ansiblecore import plain
from pifleet.inventory.starter import TEXT
from pifleet.results.limits import Limits as PullLimits
from pifleet.secret import Secret, SecretSource
from tests.unit.inventories import ABSENT, GOOD, changed, fleet, written

GIB = 1 << 30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ana@laptop"


def box(made: Any, title: str) -> Any:
    found = made.sandbox(title)
    assert found is not None
    return found


def test_hosts_sandboxes_repositories_and_models_are_there_in_the_inventorys_order(tmp_path: Path) -> None:
    made = fleet(tmp_path)
    assert made.name == "acme"
    assert list(made.hosts) == ["farm-1", "farm-2"]
    assert made.hosts["farm-1"].patterns == {"docker"}
    assert [sandbox.title for sandbox in made.sandboxes] == ["ana/main", "cy/kernel", "cy/review"]
    assert made.repos["api"].token == SecretSource("env", "T")
    assert made.models["claude"].key == SecretSource("env", "KEY")
    assert made.results == str(tmp_path / "results")


@pytest.mark.parametrize(
    ("changes", "memory"),
    [
        ({}, 2 * GIB),
        ({"defaults/memory": "3g"}, 3 * GIB),
        ({"defaults/memory": "3g", "developers/cy/memory": "512m"}, GIB // 2),
        ({"developers/cy/memory": "512m", "developers/cy/sandboxes/kernel/memory": "4G"}, 4 * GIB),
        ({"defaults/memory": "3g", "developers/cy/sandboxes/review/memory": "4g"}, 3 * GIB),
    ],
    ids=["built in", "defaults", "developer", "sandbox", "another sandbox"],
)
def test_the_nearest_level_that_says_something_wins(tmp_path: Path, changes: dict[str, Any], memory: int) -> None:
    assert box(fleet(tmp_path, changes), "cy/kernel").limits == Limits(2.0, memory, 512)


def test_each_key_has_a_nearest_level_of_its_own(tmp_path: Path) -> None:
    made = fleet(tmp_path, {
        "defaults": {"model": "dry", "cpus": 1, "pids": 100},
        "developers/cy/cpus": 1.5, "developers/cy/host": "farm-2", "developers/cy/model": "claude",
        "developers/cy/sandboxes/kernel/pids": 4000, "developers/cy/sandboxes/review/host": "farm-1",
    })
    kernel, review, ana = (box(made, title) for title in ("cy/kernel", "cy/review", "ana"))
    assert (kernel.limits.cpus, kernel.limits.pids, kernel.model, kernel.host) == (1.5, 4000, "claude", "farm-2")
    assert (review.limits.cpus, review.limits.pids, review.model, review.host) == (1.5, 100, "claude", "farm-1")
    assert (ana.limits.cpus, ana.limits.pids, ana.model, ana.host) == (1.0, 100, "dry", "")


def test_saying_the_built_in_value_is_saying_something(tmp_path: Path) -> None:
    made = fleet(tmp_path, {"defaults/cpus": 8, "developers/ana/cpus": 2})
    assert box(made, "ana").limits.cpus == 2.0


def test_lists_replace_and_never_merge(tmp_path: Path) -> None:
    made = fleet(tmp_path, {
        "developers/cy/sandboxes/kernel": {"repos": ["web", "api"], "artifacts": ["out/**"]},
        "developers/cy/sandboxes/review": {"repos": []},
    })
    assert box(made, "cy/kernel").repos == ("web", "api")
    assert box(made, "cy/kernel").artifacts == ("out/**",)
    assert box(made, "cy/review").repos == ()


def test_a_developer_with_no_sandbox_at_all_is_possible(tmp_path: Path) -> None:
    made = fleet(tmp_path, {"developers": {"ana": {"sandboxes": {}, "ssh_keys": [KEY]}}})
    assert made.sandboxes == ()


def test_pi_settings_of_a_developer_reach_each_of_their_sandboxes(tmp_path: Path) -> None:
    made = fleet(tmp_path, {"developers/cy/pi": {"settings": {"retry": {"enabled": False}}}})
    own = {"retry": {"enabled": False}}
    assert [box(made, title).pi_settings for title in ("cy/kernel", "cy/review", "ana")] == [own, own, {}]


def test_a_host_offers_what_its_groups_are_for(tmp_path: Path) -> None:
    made = fleet(tmp_path, {"groups/pifleet_gondolin": {"hosts": {"farm-2": {}}}})
    assert made.hosts["farm-2"].groups == ("pifleet_docker", "pifleet_gondolin")
    assert made.hosts_offering("docker") == ("farm-1", "farm-2")


def test_hosts_outside_our_groups_are_the_operators_own(tmp_path: Path) -> None:
    other = {"pifleet_fleet": "{{ nope }}", "ansible_shell_type": "x"}
    made = fleet(tmp_path, {"groups/web": {"hosts": {"www;": other}}})
    assert list(made.hosts) == ["farm-1", "farm-2"]


def test_templates_are_rendered_with_their_types_and_host_variables(tmp_path: Path) -> None:
    made = fleet(tmp_path, {
        "vars/base": "https://git.{{ domain }}", "vars/domain": "example.org", "vars/cores": 3,
        "repos/web/url": "{{ base }}/web.git", "defaults/cpus": "{{ cores + 1 }}",
        "host/ansible_host": "{{ inventory_hostname }}.{{ domain }}",
        "defaults/pids": "{{ hostvars['farm-2'].inventory_hostname | length + 100 }}",
    })
    assert made.repos["web"].url == "https://git.example.org/web.git"
    assert made.sandboxes[0].limits == Limits(4.0, 2 * GIB, 106)
    assert made.hosts["farm-1"].connection.address == "farm-1.example.org"


def test_values_are_plain_python_and_nothing_of_ansibles(tmp_path: Path) -> None:
    value = "[{y: '{{ 1 }}', z: 2026-01-31}, 0, no, ~, 1.5, b]"
    file = written(tmp_path, f"pifleet_docker:\n  hosts: {{a: {{}}}}\n  vars: {{pifleet_x: {value}}}\n")
    value = read([file]).hosts["a"]["pifleet_x"]
    assert value == [{"y": 1, "z": "2026-01-31"}, 0, False, None, 1.5, "b"]
    assert [type(item) for item in [value, value[0], *value[0].values(), *value[1:]]] == [
        list, dict, int, str, int, bool, type(None), float, str]
    assert plain(value) == value


def test_a_later_file_lies_over_an_earlier_one(tmp_path: Path) -> None:
    first = written(tmp_path, GOOD)
    second = written(tmp_path / "lab", {
        "all": {"vars": {"pifleet_fleet": "lab"},
                "hosts": {"farm-1": {"ansible_host": "127.0.0.1", "ansible_port": 2201}}},
    })
    made = load([first, second])
    assert made.name == "lab"
    assert made.hosts["farm-1"].connection == Connection(address="127.0.0.1", port=2201)
    assert made.results == str(tmp_path / "results")


def test_group_vars_and_host_vars_beside_the_inventory_count(tmp_path: Path) -> None:
    written(tmp_path, {"pifleet_developers": {"bo": {"repos": ["web"]}}}, "group_vars/all/people.yml")
    written(tmp_path, {"ansible_port": 2222}, "host_vars/farm-2.yml")
    made = fleet(tmp_path, {"developers": ABSENT})
    assert [sandbox.title for sandbox in made.sandboxes] == ["bo/main"]
    assert made.hosts["farm-2"].connection.port == 2222


def test_extra_variables_win_and_do_not_stay(tmp_path: Path) -> None:
    more = written(tmp_path, {"pifleet_pi_version": "0.80.1"}, "more.yml")
    assert fleet(tmp_path, extra_vars=["pifleet_fleet=extra", f"@{more}"]).name == "extra"
    assert fleet(tmp_path, extra_vars=[f"@{more}"]).image.pi_version == "0.80.1"
    assert fleet(tmp_path, extra_vars=['{"pifleet_defaults": {"model": "claude"}}']).sandboxes[0].model == "claude"
    assert fleet(tmp_path).name == "acme"


def test_an_extra_variable_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="an extra variable cannot be read"):
        fleet(tmp_path, extra_vars=["@/nowhere.yml"])


def test_an_ini_inventory_with_group_vars_is_an_inventory(tmp_path: Path) -> None:
    written(tmp_path, GOOD["all"]["vars"], "group_vars/all.yml")
    file = written(tmp_path, "[pifleet_docker]\nfarm-[1:3] ansible_port=2201 ansible_become=True\n", "hosts.ini")
    made = load([file])
    assert list(made.hosts) == ["farm-1", "farm-2", "farm-3"]
    assert made.hosts["farm-3"].connection.port == 2201


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "vault-password"
    file.write_text("correct horse\n")
    return file


def vaulted(text: str, name: str = "default") -> str:
    from ansible.parsing.vault import VaultLib, VaultSecret

    secrets = [(name, VaultSecret(b"correct horse"))]
    return VaultLib(secrets).encrypt(text, vault_id=name).decode()


def test_a_vaulted_file_opens_with_its_password_only(tmp_path: Path, password_file: Path) -> None:
    file = written(tmp_path, vaulted('{"ansible_password": "hunter2", "pifleet_npm_registry": "https://npm.lan"}'),
                   "group_vars/all.yml")
    made = fleet(tmp_path, vault_password_files=[str(password_file)])
    assert made.hosts["farm-1"].connection.password == Secret("hunter2")
    assert made.image.npm_registry == "https://npm.lan"
    password_file.write_text("wrong\n")
    for options in ({"vault_password_files": [str(password_file)]}, {}):
        with pytest.raises(BadInput) as raised:
            fleet(tmp_path, **options)
        assert [str(mistake) for mistake in raised.value.mistakes] == [
            f"{file}: saw text encrypted with ansible-vault that no given password opens; "
            "give its password: --vault-password-file FILE or --vault-id ID@FILE"
        ]


def test_a_vaulted_value_opens_with_its_password_only(tmp_path: Path, password_file: Path) -> None:
    text = vaulted("hunter2", "prod").replace("\n", "\n      ")
    written(tmp_path, f"ansible_become_password: !vault |\n      {text}\n", "group_vars/all.yml")
    made = fleet(tmp_path, vault_ids=[f"prod@{password_file}"])
    assert made.hosts["farm-1"].connection.become_password == Secret("hunter2")
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path)
    assert [str(mistake) for mistake in raised.value.mistakes] == [
        "ansible_become_password: saw text encrypted with ansible-vault that no given password opens "
        "(host farm-1 and 1 more); give its password: --vault-password-file FILE or --vault-id ID@FILE"
    ]


def test_a_vault_password_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path, vault_password_files=[str(tmp_path / "nowhere")])
    assert raised.value.trouble.headline == "a vault password cannot be read"
    assert "nowhere was not found" in raised.value.trouble.saw


def test_an_alias_bomb_in_a_vault_is_refused_before_it_is_loaded(tmp_path: Path, password_file: Path) -> None:
    layers = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 99)}]\n" for n in range(1, 6))
    written(tmp_path, vaulted("a0: &a0 x\n" + layers), "group_vars/all.yml")
    with pytest.raises(BadInput, match="the inventory cannot be read"):
        fleet(tmp_path, vault_password_files=[str(password_file)])


def test_every_connection_setting_that_is_honoured_arrives(tmp_path: Path) -> None:
    made = fleet(tmp_path, {"host": {
        "ansible_host": "2001:db8::1", "ansible_port": "2201", "ansible_user": "admin", "ansible_password": 1234,
        "ansible_ssh_private_key_file": "~/farm key", "ansible_become": True, "ansible_become_method": "sudo",
        "ansible_become_pass": "pw", "ansible_connection": "ssh", "ansible_python_interpreter": "/opt/py/bin/python3",
        "ansible_pipelining": True,
        "ansible_ssh_common_args": "-J ana@bastion:22,inner -o UserKnownHostsFile={{ inventory_dir }}/hosts",
        "ansible_ssh_extra_args": '-o "ProxyCommand = nc -x proxy:1080 %h %p"',
    }})
    assert made.hosts["farm-1"].connection == Connection(
        address="2001:db8::1", port=2201, user="admin", key_file=str(Path.home() / "farm key"),
        password=Secret("1234"), become_password=Secret("pw"), proxy_jump="ana@bastion:22,inner",
        proxy_command="nc -x proxy:1080 %h %p", known_hosts=str(tmp_path / "hosts"), local=False,
        python="/opt/py/bin/python3",
    )


def test_known_hosts_of_the_fleet_and_the_asked_password_fill_what_a_host_leaves_open(tmp_path: Path) -> None:
    made = fleet(
        tmp_path, {"known_hosts": "hosts", "host/ansible_become_password": "own"}, become_password=Secret("asked"))
    assert [(host.connection.known_hosts, host.connection.become_password) for host in made.hosts.values()] == [
        (str(tmp_path / "hosts"), Secret("own")), (str(tmp_path / "hosts"), Secret("asked"))]


def test_passwords_and_values_do_not_show_in_a_raw_inventory(tmp_path: Path) -> None:
    file = written(tmp_path, changed({"host/ansible_password": "hunter2", "models/claude/key": "sk-literal"}))
    assert "hunter2" not in repr(read([file]))
    assert "sk-literal" not in repr(read([file]))


def test_secrets_are_named_and_files_are_relative_to_the_inventory(tmp_path: Path) -> None:
    written(tmp_path, "git.example.com ssh-ed25519 AAAA\n", "git_hosts")
    made = fleet(tmp_path, {
        "models/claude/key": {"command": ["pass", "show", "llm key"]},
        "repos/web": {"url": "git@git.example.com:acme/web.git", "ref": "refs/tags/v1.2",
                      "auth": {"ssh_key": {"file": "keys/web"}}, "known_hosts": "git_hosts"},
    })
    assert made.models["claude"].key == SecretSource("command", ("pass", "show", "llm key"))
    assert made.repos["web"].ssh_key == SecretSource("file", str(tmp_path / "keys" / "web"))
    assert made.repos["web"].known_hosts == "git.example.com ssh-ed25519 AAAA\n"


@pytest.mark.parametrize("url", [
    "https://git.example.com:8443/a/b.git", "http://192.0.2.7/a.git", "http://[2001:db8::1]:80/a", "/srv/git/a.git",
    "file:///srv/git/a.git", "https://git.example.com/~ana/a+b.git",
])
def test_an_url_that_git_can_read_without_a_key_is_taken(tmp_path: Path, url: str) -> None:
    assert fleet(tmp_path, {"repos/web/url": url}).repos["web"].url == url


@pytest.mark.parametrize("ref", ["main", "feature/x-1", "v1.2.3", "refs/tags/v1", "01234567" * 5, "a@b"])
def test_a_branch_tag_or_commit_is_taken(tmp_path: Path, ref: str) -> None:
    assert fleet(tmp_path, {"repos/web/ref": ref}).repos["web"].ref == ref


def test_what_the_image_is_made_of_is_taken_over(tmp_path: Path) -> None:
    ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    written(tmp_path, ca, "ca.pem")
    image = fleet(tmp_path, {
        "image_ca": "ca.pem", "image_packages": ["vim-tiny"], "image_suite": "trixie", "node_version": "24.21.0",
        "image_base": "reg.lan/base@sha256:" + "0" * 64, "image_date": "2026-01-31",
        "apt_mirror": "http://mirror.lan/debian", "npm_registry": "http://npm.lan:4873",
    }).image
    assert (image.ca, image.packages, image.suite, image.date) == (ca, ("vim-tiny",), "trixie", "20260131T000000Z")
    assert (image.apt_mirror, image.npm_registry) == ("http://mirror.lan/debian", "http://npm.lan:4873")


@pytest.mark.parametrize("name", ["local.yml", "farm.yml", "gondolin.yml", "kubernetes.yml"])
def test_an_example_inventory_is_valid(name: str) -> None:
    made = load([root() / "inventory" / name])
    assert made.sandboxes
    assert made.hosts_offering(made.sandboxes[0].pattern)
    assert all(made.models[sandbox.model].scripted for sandbox in made.sandboxes), "examples need no key"


def test_farm_takes_addresses_and_repositories_from_a_second_inventory(tmp_path: Path) -> None:
    second = written(tmp_path, {"all": {
        "vars": {"web_url": "http://127.0.0.1:1/web.git", "api_url": "http://127.0.0.1:1/api.git",
                 "pifleet_known_hosts": "/lab/hosts"},
        "hosts": {"farm-1": {"ansible_host": "127.0.0.1", "ansible_port": 2201, "ansible_user": "ana"}},
    }})
    made = load([root() / "inventory" / "farm.yml", second])
    assert made.repos["api"].url == "http://127.0.0.1:1/api.git"
    assert made.hosts["farm-1"].connection == Connection(
        address="127.0.0.1", port=2201, user="ana", known_hosts="/lab/hosts")
    assert len({sandbox.developer for sandbox in made.sandboxes}) == 4


def test_local_takes_its_model_and_repositories_from_the_command_line(tmp_path: Path) -> None:
    made = load([root() / "inventory" / "local.yml"], extra_vars=["demo_model=claude", f"demo_repos={tmp_path}"])
    assert {sandbox.model for sandbox in made.sandboxes} == {"claude"}
    assert made.repos["hello"].url == f"{tmp_path}/hello.git"
    assert made.hosts["local"].connection.local


def test_the_starter_is_valid_as_it_stands_and_with_every_comment_taken_up(tmp_path: Path) -> None:
    assert [sandbox.title for sandbox in load([written(tmp_path, TEXT)]).sandboxes] == ["ana/main"]
    written(tmp_path, "git.example.com ssh-ed25519 AAAA\n", "hosts")
    settings = "pifleet_known_hosts|api|lib|bo|memory|sandboxes|kernel|review|here"
    taken_up, count = re.subn(rf"^( *)# ( *(?:{settings}):)", r"\1\2", TEXT, flags=re.MULTILINE)
    assert count == settings.count("|") + 1
    made = load([written(tmp_path, taken_up)])
    assert [sandbox.title for sandbox in made.sandboxes] == ["ana/main", "bo/kernel", "bo/review"]
    assert set(made.repos) == {"web", "api", "lib"}
    assert set(made.hosts) == {"farm-1", "here"}


def test_ansible_prints_nothing_and_its_configuration_is_found_from_the_present_folder(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\nvault_password_file = pw\n")
    (tmp_path / "pw").write_text("correct horse\n")
    written(tmp_path, vaulted('{"pifleet_pi_version": "0.80.1"}'), "group_vars/all.yml")
    written(tmp_path, {**changed({}), "with-hyphen": {"hosts": {"other": {}}}})
    code = (
        "from pathlib import Path; from pifleet.inventory import load;"
        "print(load([Path('inventory.yml')]).image.pi_version)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (done.stdout, done.stderr) == ("0.80.1\n", "")


def test_pull_limits_that_are_said_are_those_of_every_pull_in_bytes_and_seconds(tmp_path: Path) -> None:
    made = fleet(tmp_path, {"vars/pifleet_pull_limits": {"file": "20g", "total": 7200, "files": 9}})
    assert PullLimits(**made.pull_limits) == PullLimits(file=20 * GIB, total=7200, files=9)
    assert PullLimits(**fleet(tmp_path).pull_limits) == PullLimits()


def test_the_schema_tells_the_pull_limits_that_really_hold_by_default() -> None:
    told = {name: rules.size_in_bytes(field.default) if isinstance(field.default, str) else field.default
            for name, field in schema.PullLimits.model_fields.items()}
    assert PullLimits(**told) == PullLimits()
