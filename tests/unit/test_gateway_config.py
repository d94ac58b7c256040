"""What the gateway of a host is made of, as it follows from models and sandboxes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pifleet.desired import gateway
from pifleet.fleet import Limits, Model
from pifleet.secret import SecretSource
from tests.unit.fleets import box, fleet, spec

KEY = SecretSource("env", "KEY")
PAID = Model("paid", "anthropic-messages", "https://llm.example.com", KEY, ("m",))
PROXIED = Model(
    "far", "openai-responses", "https://far.example.com:8443/v1", KEY, ("m",), "http://proxy.lan:3128/", "PEM\n")


def test_a_model_with_a_proxy_has_a_tunnel_of_its_own_and_others_have_none():
    services = {service["name"]: service for service in gateway.services([PAID, PROXIED])}

    assert [name for name in services if name.startswith(gateway.TUNNEL)] == ["pifleet-tunnel-far"]
    assert services["pifleet-tunnel-far"]["argv"][-3:] == [
        "/var/lib/pifleet/tunnels/far.sock", "proxy.lan:3128", "far.example.com:8443"]
    assert services["pifleet-tunnel-far"]["user"] == "_pifleet"


def test_a_tunnel_with_a_login_starts_as_root_and_is_told_whose_rights_are_enough():
    paid = replace(PROXIED, proxy_auth=SecretSource("env", "LOGIN"))
    [tunnel] = [service for service in gateway.services([paid]) if service["name"] == "pifleet-tunnel-far"]
    login = "/etc/pifleet/gateway/keys/far.login"

    assert (tunnel["user"], tunnel["argv"][-2:]) == ("", [login, "_pifleet"])
    assert tunnel["reads"] == ["/usr/local/lib/pifleet/tunnel", login]
    assert {"path": login, "mode": "0600", "template": 'login "{}";\n', "secret": "model:far:proxy_auth",
            "part": "model_gateway"} in gateway.secrets([paid])


def test_the_way_into_a_tunnel_is_open_to_nginx_only():
    folders = {folder["path"]: folder for folder in gateway.dirs([PROXIED])}

    tunnels = folders["/var/lib/pifleet/tunnels"]
    assert (tunnels["mode"], tunnels["gid"]) == ("0750", 33)


def test_the_gateway_reads_configuration_keys_and_authorities_when_told():
    reads = gateway.services([PAID, PROXIED])[-1]["reads"]

    assert [path.rpartition("gateway/")[2] for path in reads] == [
        "nginx.conf", "keys/paid.conf", "keys/far.conf", "ca/far.pem"]


def test_a_changed_configuration_is_nothing_that_the_programs_beside_the_gateway_would_be_started_anew_for():
    beside = gateway.services([PAID, PROXIED])[:-1]

    assert {name["name"]: name["reads"] for name in beside} == {
        "pifleet-scripted-model": ["/usr/local/lib/pifleet/scripted_model.py"],
        "pifleet-tunnel-far": ["/usr/local/lib/pifleet/tunnel"],
        "pifleet-gateway-log": ["/usr/local/lib/pifleet/rotate"],
    }


def test_every_host_has_a_scripted_model_to_prove_pi_with():
    assert gateway.services([PAID])[0]["name"] == "pifleet-scripted-model"


@pytest.mark.parametrize(("url", "at"), [
    ("http://localhost:11434", "127.0.0.1:11434"), ("http://localhost", "127.0.0.1"), ("http://[::1]:80", "[::1]:80"),
    ("https://llm.example.com/v1", "llm.example.com"),
])
def test_where_nginx_connects_to(url, at):
    conf = gateway.nginx_conf([Model("paid", "openai-completions", url, KEY, ("m",))], [box(model="paid")])

    assert f"set $upstream {at};" in conf


def test_a_sandbox_has_routes_to_its_own_models_only():
    conf = gateway.nginx_conf([PAID, PROXIED], [box(model="paid"), box("bo/main", model="far")])
    ana, bo = conf.split("    server {\n        listen")[1:]

    assert "/paid/v1/messages" in ana
    assert "/far/" not in ana
    assert "/far/responses" in bo
    assert "/paid/" not in bo


def test_sandboxes_of_different_limits_have_different_zones():
    boxes = [box(model="paid", limits=Limits(requests_per_minute=7)), box("bo/main", model="paid")]

    conf = gateway.nginx_conf([PAID], boxes)

    assert "limit_req_zone $sandbox zone=per_minute_7:1m rate=7r/m;" in conf
    assert "limit_req zone=per_minute_300 burst=300 nodelay;" in conf


def test_a_spec_names_secrets_of_all_models_of_a_sandbox_and_holds_none():
    of = fleet(box(model="paid", other_models=("far",)), models={"paid": PAID, "far": PROXIED})

    assert [entry["secret"] for entry in spec(of)["secrets"]] == ["model:far", "model:paid"]
