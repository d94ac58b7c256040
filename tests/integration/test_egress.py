"""A sandbox reaches what its list names and nothing else, whatever it tries; nor does anybody else on its host."""

from __future__ import annotations

import pytest

from tests.gateway.place import wait
from tests.integration.egress_place import EMPTY, Place, place, plain, tunnel
from tests.integration.outside import GIT_PORT, METADATA, OPEN, reached

__all__ = ["place"]

# What is listed

ALLOWED = {
    "a listed name": tunnel("open.test:443"),
    "a listed name in capitals": tunnel("OPEN.test:443"),
    "a listed port": tunnel("open.test:8443"),
    "the top of a listed domain": tunnel("wide.test:443"),
    "a name in a listed domain": tunnel("a.wide.test:443"),
    "a private address that is listed as one": tunnel("git.test:8443"),
    "plain http at port 80": plain("http://plain.test/"),
    "the request line's name, whatever the Host header says": plain("http://plain.test/", "Host: other.test"),
}
# Each with where its target listens, so that a control proves it is there.
REFUSED: dict[str, tuple[str, tuple[str, int]]] = {
    "a name that is not listed": (tunnel("other.test:443"), ("other.test", 443)),
    "another sandbox's name": (tunnel("bo.test:443"), ("bo.test", 443)),
    "another port of a listed name": (tunnel("open.test:80"), ("open.test", 80)),
    "a port that no list names": (tunnel("open.test:2222"), ("open.test", 2222)),
    "the address whose reverse name is listed": (tunnel(f"{OPEN}:443"), (OPEN, 443)),
    "that address in plain http": (plain(f"http://{OPEN}/"), (OPEN, 80)),
    "a name that ends like a listed domain": (tunnel("notwide.test:443"), ("notwide.test", 443)),
    "a tunnel with a listed Host header": (tunnel("other.test:443", "Host: open.test:443"), ("other.test", 443)),
    "plain http with a listed Host header": (plain("http://other.test/", "Host: plain.test"), ("other.test", 80)),
    "plain http to a name listed for tunnels": (plain("http://open.test/"), ("open.test", 80)),
    "plain http to another port": (plain("http://plain.test:8443/"), ("plain.test", 8443)),
    "a tunnel to a name listed for plain http": (tunnel("plain.test:80"), ("plain.test", 80)),
    "a user that looks like the listed name": (plain("http://plain.test@other.test/"), ("other.test", 80)),
    "a listed name that leads to a private address": (tunnel("inner.test:443"), ("inner.test", 443)),
    "a listed name that leads to the metadata address": (tunnel("meta.test:443"), (METADATA, 443)),
    "the metadata address": (tunnel(f"{METADATA}:443"), (METADATA, 443)),
    "the metadata address in plain http": (plain(f"http://{METADATA}/"), (METADATA, 80)),
    "the host's own address, even listed": (tunnel("self.test:443"), ("self.test", 443)),
    "the host's loopback, even listed": (tunnel("loop.test:443"), ("loop.test", 443)),
    "the host's bridge, even listed": (tunnel("docker.test:443"), ("docker.test", 443)),
    "loopback by address": (tunnel("127.0.0.1:443"), ("127.0.0.1", 443)),
    "loopback as one number": (tunnel("2130706433:443"), ("127.0.0.1", 443)),
    "loopback in hexadecimal": (tunnel("0x7f.1:443"), ("127.0.0.1", 443)),
    "loopback in IPv6": (tunnel("[::1]:443"), ("127.0.0.1", 443)),
    "loopback in IPv6's form of IPv4": (tunnel("[::ffff:127.0.0.1]:443"), ("127.0.0.1", 443)),
    "localhost": (tunnel("localhost:443"), ("127.0.0.1", 443)),
    "a private address that is listed by name only": (tunnel("{git}:8443"), ("git.test", 8443)),
    "another protocol": (plain("ftp://plain.test/"), ("plain.test", 80)),
    "a second request in the first one's body": (
        plain("http://other.test/", "Host: plain.test", "Content-Length: 4", "Transfer-Encoding: chunked"),
        ("other.test", 80)),
    "the proxy's own pages": (plain("http://127.0.0.1:820/squid-internal-mgr/menu"), ("127.0.0.1", 443)),
}


@pytest.fixture(scope="module")
def answers(place: Place) -> dict[str, str]:
    git = place.outside.names["git.test"]
    requests = [*ALLOWED.values(), *(request.replace("{git}", git) for request, _ in REFUSED.values())]
    return dict(zip([*ALLOWED, *REFUSED], place.ask("ana", *requests), strict=True))


@pytest.mark.parametrize("what", ALLOWED)
def test_what_is_listed_is_reached(answers: dict[str, str], what: str) -> None:
    assert reached(answers[what])


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_listed_is_refused(place: Place, answers: dict[str, str], what: str) -> None:
    assert not reached(answers[what])
    assert answers[what].split(" ")[1:2] in (["403"], ["503"], ["400"]), answers[what]


@pytest.mark.parametrize("target", sorted({target for _, target in REFUSED.values()}), ids=lambda target: f"{target}")
def test_the_same_target_is_there_for_a_process_without_confinement(place: Place, target: tuple[str, int]) -> None:
    assert reached(place.outside.reaches(*target))


def test_an_empty_list_refuses_everything(place: Place) -> None:
    assert [reached(said) for said in place.ask(EMPTY, *ALLOWED.values())] == [False] * len(ALLOWED)


def test_another_sandbox_reaches_its_own_list(place: Place) -> None:
    assert [reached(said) for said in place.ask("bo", tunnel("bo.test:443"), tunnel("open.test:443"))] == [True, False]


def allowed(place: Place, developer: str) -> dict[str, str]:
    """What `verify` says of that developer's list."""
    [sandbox] = place.pifleet("verify", developer, "-o", "json").json["sandboxes"]
    return next(check for check in sandbox["checks"] if check["check"] == "allowed")


def test_verify_says_of_each_listed_name_whether_it_works(place: Place) -> None:
    bo, ana, empty = (allowed(place, developer) for developer in ("bo", "ana", EMPTY))

    assert (bo["verdict"], empty["verdict"], empty["text"]) == ("pass", "pass", "nothing but the model")
    assert "bo.test:443" in bo["saw"]
    assert ana["verdict"] == "warn"
    refused, silent = ana["saw"].split("; ")
    assert set(refused.partition("private: true: ")[2].split(", ")) == {
        f"{name}.test:443" for name in ("inner", "meta", "loop")}
    assert set(silent.partition("nobody is there: ")[2].split(", ")) == {"self.test:443", "docker.test:443"}


def test_the_log_tells_a_developer_what_to_ask_for(place: Place, answers: dict[str, str]) -> None:
    told = {(one["name"], one["port"], one["verdict"]): one["entry"]
            for one in place.pifleet("logs", "ana", "--egress", "-o", "json").json["egress"]}
    said = place.pifleet("logs", "ana", "--egress").out

    assert told["other.test", 443, "refused"] == "other.test"
    assert told["inner.test", 443, "refused"] == '{to: "inner.test:443", private: true}'
    assert told["open.test", 443, "allowed"] == ""
    assert "bo.test:443" in said
    assert "other.test:443" in said
    assert not [one for one in told if one[:2] == ("bo.test", 443) and one[2] == "allowed"]


# Who else is on the host

FRONT, SQUID = (("setpriv", "--clear-groups", f"--reuid=_pifleet-{name}") for name in ("egress", "proxy"))
TO_PORT = """
import socket, sys
peer = socket.socket()
peer.settimeout(3)
peer.bind((sys.argv[1], 0))
peer.connect(("127.0.0.1", int(sys.argv[2])))
print("connected")
"""
SQUIDS_PORT, ANYBODYS_PORT = "820", "443"


def to_port(place: Place, port: str, address: str, *user: str) -> str:
    return str(place.outside.host.inside(*user, "python3", "-c", TO_PORT, address, port, check=False))


def test_nobody_but_our_nginx_gets_to_squids_port(place: Place) -> None:
    address = next(line.split()[-1] for line in place.outside.host.inside(
        "cat", "/etc/pifleet/egress/squid.conf").splitlines() if line.startswith("acl from_ana-main"))
    others = (("setpriv", "--reuid=ops"), ("setpriv", "--reuid=pi-ana"), ("setpriv", "--reuid=www-data"), ())

    assert to_port(place, SQUIDS_PORT, address, *FRONT) == "connected"
    for user in others:
        assert [to_port(place, SQUIDS_PORT, source, *user) for source in (address, "127.0.0.1")] == ["", ""]
        assert to_port(place, ANYBODYS_PORT, address, *user) == "connected"


def test_no_other_account_gets_to_a_sandboxs_sockets(place: Place) -> None:
    program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('connected')"
    anybodys = "/run/lab-open.sock"
    place.outside.host.inside("rm", "-f", anybodys)
    listener = (f"import os, socket; door = socket.socket(socket.AF_UNIX); door.bind({anybodys!r}); door.listen()\n"
                f"os.chmod({anybodys!r}, 0o666)\nwhile True: door.accept()")
    place.outside.start(place.outside.host, "lab-open", listener)
    place.outside.host.inside("timeout", "60", "sh", "-c", f"until [ -w {anybodys} ]; do sleep 0.1; done")

    def as_(user: str, path: str) -> str:
        prefix = ("setpriv", f"--reuid={user}", "--regid=" + user, "--clear-groups")
        return str(place.outside.host.inside(*prefix, "python3", "-c", program, path, check=False))

    for name in ("egress.sock", "model.sock"):
        path = f"/var/lib/pifleet/sandboxes/ana-main/net/{name}"
        assert [as_(user, path) for user in ("ops", "pi-bo", "www-data", "_pifleet-proxy")] == [""] * 4
        assert as_("root", path) == "connected"
    wait(lambda: [as_(user, anybodys) for user in ("ops", "pi-bo", "www-data", "_pifleet-proxy")] == ["connected"] * 4)


@pytest.mark.parametrize("target", [("inner.test", 443), (METADATA, 443), (METADATA, 80), ("self.test", 443),
                                    ("127.0.0.1", 443), ("docker.test", 443), (OPEN, 2222)], ids=str)
def test_squids_own_user_cannot_get_where_no_list_may_lead(place: Place, target: tuple[str, int]) -> None:
    assert place.outside.reaches(*target, *SQUID).startswith("error:")
    assert reached(place.outside.reaches(*target))


def test_squids_own_user_gets_where_a_list_leads(place: Place) -> None:
    assert reached(place.outside.reaches(OPEN, 443, *SQUID))


# Package managers and git

PIP = "pip download --no-deps --retries 1 --cert /tmp/ca.pem -d /tmp/pip six && ls /tmp/pip"
NPM = "cd /tmp && npm_config_cafile=/tmp/ca.pem npm pack --fetch-retries=0 is-number"
# Of the image's sources only the first, since the host has no other: its list follows the host's.
APT = ("mkdir -p /tmp/apt/lists/partial /tmp/apt/cache && cd /tmp/apt && "
       "cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | grep -m 1 '^deb ' > one.list; "
       "o='-o Dir::Etc::sourcelist=/tmp/apt/one.list -o Dir::Etc::sourceparts=- "
       "-o Dir::State=/tmp/apt -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache=/tmp/apt/cache "
       "-o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o Acquire::Retries=0' && "
       "apt-get -q $o update 2>&1 && apt-get -q $o download hello && ls *.deb")
GIT = f"rm -rf /tmp/web && GIT_SSL_CAINFO=/tmp/ca.pem git clone -q https://git.test:{GIT_PORT}/web.git /tmp/web && " \
      "git -C /tmp/web rev-parse HEAD"


@pytest.mark.parametrize(("script", "developer", "printed"), [
    (PIP, "bo", "six"), (NPM, "bo", "is-number"), (APT, "bo", ".deb"), (GIT, "ana", "")],
    ids=["pip", "npm", "apt", "git"])
def test_a_listed_source_works_and_the_same_command_is_refused_without_it(
    place: Place, script: str, developer: str, printed: str
) -> None:
    listed = place.inside(developer, script)
    refused = place.inside(EMPTY, script)

    assert listed.code == 0, listed.out[-2000:] + listed.err[-2000:]
    assert printed in listed.out
    if script == GIT:
        assert listed.out.strip() == place.lab.git.head("web")
    assert refused.code not in (0, 255)
    assert "403" in refused.out + refused.err
