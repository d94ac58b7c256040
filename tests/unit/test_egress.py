"""What an entry of `egress:` means, and what becomes of it: squid's lists, the kernel's rules, a socket each."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pifleet.desired import egress as desired
from pifleet.desired import secret_sources
from pifleet.egress import Destination, NotAnEntry, entry, of_clients, smallest
from pifleet.errors import BadInput
from pifleet.fleet import Fleet, Model, Proxy, Sandbox
from pifleet.patterns.docker.desired import files
from pifleet.playbook import spec_for_playbook
from pifleet.secret import SecretSource
from tests.unit.fleets import as_it_should_be, box, fleet, spec
from tests.unit.inventories import fleet as fleet_of
from tests.unit.inventories import written
from tests.unit.test_plan import steps

CLIENTS = {
    "pip": {"urls": ["https://mirror.lan/simple", "https://extra.lan:8443/x"], "files": ["https://files.lan"],
            "why": ""},
    "npm": {"urls": ["https://npm.lan/"], "files": [], "why": ""},
    "apt": {"urls": ["http://deb.lan/debian", "http://deb.lan:8080/security"], "files": [], "why": ""},
}

# Reading


@pytest.mark.parametrize(("written", "meant"), [
    ("x.example.com", Destination("x.example.com", 443)),
    ("X.Example.COM.", Destination("x.example.com", 443)),
    ("x.example.com:8443", Destination("x.example.com", 8443)),
    ("x.example.com:80", Destination("x.example.com", 80, plain=True)),
    (".example.com", Destination(".example.com", 443)),
    ("gitlab:443", Destination("gitlab", 443)),
    ("192.0.2.7", Destination("192.0.2.7", 443)),
    ({"to": "git.lan:443", "private": True}, Destination("git.lan", 443, private=True)),
    ({"to": "10.1.2.3:8443", "private": True}, Destination("10.1.2.3", 8443, private=True)),
    ({"to": "git.lan", "clone": True}, Destination("git.lan", 443, clone=True)),
    ({"to": "git.lan"}, Destination("git.lan", 443)),
    ("pip", "pip"), ("our-set", "our-set"),
])
def test_an_entry_means_one_name_at_one_port_or_a_set(written: Any, meant: Any) -> None:
    assert entry(written) == meant


@pytest.mark.parametrize("written", [
    "127.0.0.2", "0.0.0.0:80", {"to": "127.0.0.1:443", "private": True}, {"to": "224.0.0.1:443", "private": True},
    "x.example.com\nhttp_access allow all", "x.example.com 127.0.0.1", "-n", "!x", "x..y", "1.2.3", "0177.0.0.1:80",
    "[::1]:443", "user@x.example.com", "x.example.com:443:80", None, ["x"], {"to": ["x"]}, {"to": "pip", "private": 1},
])
def test_what_could_mean_more_than_a_name_means_nothing(written: Any) -> None:
    with pytest.raises(NotAnEntry):
        entry(written)


def test_a_domain_makes_the_names_below_it_superfluous_at_the_same_port_only() -> None:
    every = [Destination(name, 443) for name in ("a.x.com", "x.com", ".x.com", "ax.com")]
    private = [Destination("b.x.com", 443, private=True), Destination("b.x.com", 8443)]

    assert smallest([*every, *private]) == (
        Destination(".x.com", 443), Destination("ax.com", 443), Destination("b.x.com", 443, private=True),
        Destination("b.x.com", 8443),
    )


def test_where_all_is_open_a_clone_is_too_and_not_the_other_way_round() -> None:
    clones = [Destination("a.x.com", 443, clone=True), Destination("git.com", 443, clone=True)]

    assert smallest([Destination(".x.com", 443), *clones]) == (Destination(".x.com", 443), clones[1])
    assert smallest([Destination("git.com", 443), *clones]) == (clones[0], Destination("git.com", 443))


def test_the_hosts_clients_say_names_ports_and_what_is_plain() -> None:
    assert of_clients(CLIENTS.values()) == {
        Destination("mirror.lan", 443, private=True), Destination("extra.lan", 8443, private=True),
        Destination("files.lan", 443, private=True), Destination("npm.lan", 443, private=True),
        Destination("deb.lan", 80, plain=True, private=True), Destination("deb.lan", 8080, plain=True, private=True),
    }


def test_what_a_hosts_client_says_is_no_more_than_a_name(tmp_path: Path) -> None:
    evil = ["https://a b/", "ftp://x.lan/", "https://x.lan%0aallow/", "", "https:///x"]

    assert of_clients([{"urls": evil, "files": evil, "why": ""}]) == set()


def test_an_inventory_says_it_by_level_and_with_its_own_sets(tmp_path: Path) -> None:
    found = fleet_of(tmp_path, {
        "defaults/egress": ["a.com"],
        "vars/pifleet_egress_sets": {"ours": ["b.com", {"to": "c.lan:22", "private": True}]},
        "developers/ana/egress": ["ours", "apt", "pip"], "developers/cy/sandboxes/kernel/egress": [],
    })

    def of(title: str) -> tuple[Any, Any]:
        sandbox = found.sandbox(title)
        assert sandbox
        return sandbox.egress, sandbox.egress_sets

    assert of("ana") == ((Destination("b.com", 443), Destination("c.lan", 22, private=True)), ("pip", "apt"))
    assert of("cy/kernel") == ((), ())
    assert of("cy/review") == ((Destination("a.com", 443),), ())


def test_a_plain_playbook_does_not_guess_what_a_hosts_clients_use(tmp_path: Path) -> None:
    from tests.unit.inventories import changed

    path = written(tmp_path, changed({
        "developers": {"ana": {"repos": ["web"], "host": "farm-1", "egress": ["pip"]}}}))

    with pytest.raises(BadInput, match="pip follow the hosts' own clients"):
        spec_for_playbook([str(path)], "farm-1")


# Becoming


def with_lists(**lists: Any) -> Fleet:
    return fleet(*(box(f"{developer}/main", **({"egress": entries} if isinstance(entries, tuple) else entries))
                   for developer, entries in lists.items()))


def text(of: Fleet, name: str, clients: Any = None) -> str:
    [file] = [f for f in desired.files(of.sandboxes, clients or {}) if f["path"].endswith(f"/{name}")]
    return str(file["content"])


def test_squid_allows_each_sandbox_its_own_list_and_then_refuses_everybody() -> None:
    of = with_lists(ana=(Destination("a.com", 443), Destination("b.com", 443), Destination("c.com", 80, plain=True)),
                    bo=(Destination("d.lan", 8443, private=True),), cy=())
    conf = text(of, "squid.conf")

    lines = [line for line in conf.splitlines() if line.startswith(("http_access", "tcp_outgoing_tos"))]
    assert lines == [
        "http_access deny health",
        "http_access deny many",
        "http_access allow !CONNECT http from_ana-main to_ana-main_0 port_80 !never !private",
        "http_access allow CONNECT from_ana-main to_ana-main_1 port_443 !never !private",
        "http_access allow CONNECT from_bo-main to_bo-main_0 port_8443 !never",
        "tcp_outgoing_tos 0x54 from_bo-main to_bo-main_0 port_8443",
        "http_access deny everybody",
    ]
    assert re.findall("acl to_ana-main_1 (.*)", conf) == ["dstdomain -n a.com", "dstdomain -n b.com"]


PROXY = Proxy("http://proxy.lan:3128/", SecretSource("env", "LOGIN"))


def test_behind_a_proxy_only_what_is_private_is_reached_without_it() -> None:
    of = with_lists(ana=(Destination("a.com", 443),), bo=(Destination("d.lan", 8443, private=True),))
    files = {file["path"].rpartition("/")[2]: file["content"] for file in desired.files(of.sandboxes, {}, PROXY)}

    ways = [line for line in files["squid.conf"].splitlines() if line.startswith(("include", "always", "never_direct"))]
    assert ways == ["include /run/pifleet/parent.conf", "always_direct allow from_bo-main to_bo-main_0 port_8443",
                    "never_direct allow everybody"]
    assert "\t\tip daddr $PARENT4 tcp dport 3128 accept\n" in files["rules.nft"]
    assert "tcp dport { 8443 } ip dscp set cs0 accept" in files["rules.nft"]
    assert "\t\ttcp dport {" not in files["rules.nft"]
    assert files["parent"] == "proxy.lan:3128 login\n"


def test_the_login_of_that_proxy_is_a_secret_of_the_host_and_in_no_file_of_the_spec() -> None:
    of = replace(with_lists(ana=()), egress_proxy=PROXY)

    assert desired.secrets(PROXY) == [{
        "path": "/etc/pifleet/egress/keys/proxy.login", "mode": "0600", "template": 'login "{}";\n',
        "secret": "egress:proxy_auth", "part": "egress_proxy"}]
    assert secret_sources(of)["egress:proxy_auth"] == PROXY.auth
    assert (desired.secrets(Proxy("http://proxy.lan:3128")), desired.secrets(None)) == ([], [])


def test_every_name_is_compared_without_a_reverse_lookup_and_nobody_is_let_in_for_being_local() -> None:
    conf = text(with_lists(ana=(Destination("a.com", 443), Destination(".b.com", 8443, private=True))), "squid.conf")

    assert len(re.findall("dstdomain", conf)) == len(re.findall("dstdomain -n ", conf)) == 2
    assert "localhost" not in conf
    assert max(len(line) for line in conf.splitlines()) < 2048  # squid's own limit of a line


def test_each_sandbox_has_an_address_of_its_own_in_nginx_and_squid() -> None:
    of = with_lists(ana=(), bo=())
    addresses = [sandbox.egress_address for sandbox in of.sandboxes]

    assert len(set(addresses)) == 2
    assert re.findall(r"acl from_\S+ src (\S+)", text(of, "squid.conf")) == addresses
    assert re.findall(r"proxy_bind (\S+);", text(of, "front.conf")) == addresses
    assert all(ipaddress.ip_address(one) in ipaddress.ip_network("127.0.0.0/8") for one in addresses)


def test_no_address_is_one_that_other_programs_use() -> None:
    used = {box(f"dev{number}/main").egress_address for number in range(5000)}

    assert not [one for one in used if not one.startswith("127.") or one.startswith(("127.0.", "127.255."))]
    assert len(used) > 4990


def test_the_kernel_opens_private_ranges_only_at_ports_that_some_list_calls_private() -> None:
    rules = text(with_lists(ana=(Destination("a.com", 443), Destination("d.lan", 8443, private=True))), "rules.nft")

    assert "ip daddr $PRIVATE4 ip dscp 0x15 tcp dport { 8443 } ip dscp set cs0 accept" in rules
    assert "tcp dport { 443, 8443 } accept" in rules
    assert rules.index("$NEVER4 reject") < rules.index("dscp 0x15") < rules.index("$PRIVATE4 reject")
    assert "dscp" not in text(with_lists(ana=(Destination("a.com", 443),)), "rules.nft")


def test_with_empty_lists_squid_reaches_nothing_but_resolvers() -> None:
    rules = text(with_lists(ana=()), "rules.nft")

    assert [line.strip() for line in rules.splitlines() if line.strip().endswith("accept")] == [
        "ct state established ct direction reply accept",
        "ip daddr $RESOLVERS4 meta l4proto { tcp, udp } th dport 53 accept",
        "ip6 daddr $RESOLVERS6 meta l4proto { tcp, udp } th dport 53 accept",
    ]


def test_a_sets_destinations_follow_what_was_seen_of_the_host() -> None:
    of = with_lists(ana={"egress_sets": ("apt", "pip")})

    assert "mirror.lan" not in text(of, "squid.conf")
    listed = re.findall("dstdomain -n (.*)", text(of, "squid.conf", CLIENTS))
    assert {"mirror.lan", "files.lan", "deb.lan"} <= set(listed)
    assert "npm.lan" not in listed


def test_a_sandbox_looks_where_its_hosts_clients_do_if_its_list_says_so() -> None:
    def seen_inside(one: Sandbox) -> dict[str, str]:
        every = files(one, [Model("dry", "scripted")], CLIENTS)
        return {Path(f["path"]).name: f["content"] for f in every if f["path"].endswith(("pip.conf", "npmrc"))}

    assert seen_inside(box(egress_sets=("pip", "npm"))) == {
        "pip.conf": "[global]\nindex-url = https://mirror.lan/simple\nextra-index-url = https://extra.lan:8443/x\n",
        "npmrc": "registry=https://npm.lan/\n",
    }
    assert seen_inside(box()) == {"pip.conf": "", "npmrc": ""}


# Drift


def test_rules_that_are_gone_are_drift() -> None:
    wanted = spec(with_lists(ana=()))
    seen = as_it_should_be(wanted)
    seen["filters"]["/etc/pifleet/egress/rules.nft"] = {"loaded": False, "why": "no such table"}

    [step] = steps(wanted, seen)

    assert (step.item, step.part, step.action) == ("packet filter", "egress_proxy", "change")


def test_a_set_that_the_host_cannot_tell_is_named_with_its_reason() -> None:
    wanted = spec(with_lists(ana={"egress_sets": ("pip", "npm")}))
    seen = as_it_should_be(wanted)
    seen["clients"]["pip"] = {"urls": [], "files": [], "why": "pip is nowhere"}
    seen["clients"]["npm"] = None
    seen["unknown"] = {"clients/npm": "Late: looking took more than 15 s"}

    assert [(step.item, step.why) for step in steps(wanted, seen)] == [
        ("egress set npm", "cannot be seen: Late: looking took more than 15 s"), ("egress set pip", "pip is nowhere")]


def test_an_egress_socket_behind_which_another_list_runs_is_drift() -> None:
    wanted = spec(with_lists(ana=()))
    seen = as_it_should_be(wanted)
    seen["sockets"][str(box().egress_socket)]["answer"] = "pifleet-0123456789abcdef 127.9.9.9"

    [step] = steps(wanted, seen)

    assert (step.item, step.sandbox, step.part) == ("egress socket", "ana/main", "egress_proxy")
