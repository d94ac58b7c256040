"""A company's proxy on the host's way out: squid hands it what is listed, with its login, and goes no other way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hunting import in_files, in_processes
from tests.integration.egress_place import Place, place, plain, tunnel
from tests.integration.outside import OPEN, reached
from tests.integration.test_egress import SQUID

__all__ = ["place"]

LOGIN = "ana:canary p:ss%41@#"
PORT, LOG = 3128, "/run/lab-proxy.log"
# Opens whatever it is asked for at its own listeners, for whom it knows; writes down the request's line.
PROXY = """
import base64, socketserver, socket, sys, threading
wanted = "Basic " + base64.b64encode(sys.argv[2].encode()).decode()
def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\\r\\n\\r\\n"):
            head += self.request.recv(1)
        line, *fields = head.decode().split("\\r\\n")
        known = "proxy-authorization: " + wanted.lower() in [field.lower() for field in fields]
        with open(sys.argv[3], "a") as log:
            log.write(f"{line} {known}\\n")
        if not known:
            self.request.sendall(b"HTTP/1.1 407 Who are you\\r\\nProxy-Authenticate: Basic realm=x\\r\\n"
                                 b"Content-Length: 0\\r\\n\\r\\n")
            return
        far = socket.create_connection(("127.0.0.1", 443 if line.startswith("CONNECT") else 80))
        if line.startswith("CONNECT"):
            self.request.sendall(b"HTTP/1.1 200 Here you are\\r\\n\\r\\n")
        else:
            far.sendall(head)
        threading.Thread(target=pump, args=(self.request, far), daemon=True).start()
        pump(far, self.request)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def behind(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The place with a proxy on its host's way out; without one again afterwards."""
    login = tmp_path_factory.mktemp("login") / "login"
    login.write_text(LOGIN)
    place.outside.start(place.outside.services, "lab-proxy", PROXY, str(PORT), LOGIN, LOG)
    place.variables = {"pifleet_egress_proxy": f"http://proxy.test:{PORT}",
                       "pifleet_egress_proxy_auth": {"file": str(login)}}
    done = place.provision()
    assert done.code == 0, done.out[-3000:] + done.err[-3000:]
    yield place
    place.variables = {}
    assert place.provision().code == 0
    assert reached(place.ask("ana", tunnel("open.test:443"))[0])


def asked(place: Place) -> list[str]:
    """What the proxy was asked for since the last time, with whether it knew who asked."""
    log = str(place.outside.services.inside("sh", "-c", f"cat {LOG}; : > {LOG}"))
    return sorted(log.splitlines())


def test_what_is_listed_goes_through_the_proxy_with_its_login_and_what_is_private_does_not(behind: Place) -> None:
    asked(behind)
    said = behind.ask("ana", tunnel("open.test:443"), plain("http://plain.test/"), tunnel("git.test:8443"))

    assert [reached(one) for one in said] == [True, True, True]
    assert asked(behind) == ["CONNECT open.test:443 HTTP/1.1 True", "GET http://plain.test/ HTTP/1.1 True"]


def test_what_is_not_listed_does_not_reach_the_proxy(behind: Place) -> None:
    asked(behind)
    said = behind.ask("ana", tunnel("other.test:443"), tunnel("inner.test:443"), tunnel(f"{OPEN}:443"),
                      tunnel(f"proxy.test:{PORT}"), plain("http://other.test/", "Host: plain.test"))

    assert [one.split(" ")[1] for one in said] == ["403"] * 5
    assert asked(behind) == []


def test_squids_own_user_gets_nowhere_else(behind: Place) -> None:
    assert behind.outside.reaches(OPEN, 443, *SQUID).startswith("error:")
    assert "407" in behind.outside.reaches("proxy.test", PORT, *SQUID)


def test_the_login_lies_for_root_and_squid_and_shows_nowhere_else(behind: Place) -> None:
    host = behind.outside.host
    kept = host.inside("sh", "-c", "stat -c '%a %U %G' /etc/pifleet/egress/keys/proxy.login /run/pifleet/parent.conf")
    found = str(host.inside("grep", "-rlF", "canary", "/etc", "/run", "/var/lib/pifleet", "/var/log", check=False))

    assert kept.splitlines() == ["600 root root", "640 root _pifleet-proxy"]
    assert sorted(found.splitlines()) == ["/etc/pifleet/egress/keys/proxy.login", "/run/pifleet/parent.conf"]
    assert {where for _, where in in_processes([LOGIN])} <= {"cmdline of python3"}  # the lab's own proxy
    assert in_files([LOGIN], [behind.folder, *Path("/tmp").glob("pifleet-*")]) == set()
    assert LOGIN not in behind.inside("ana", "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null").out


def test_a_second_run_changes_nothing_and_a_login_that_was_changed_is_drift(behind: Place) -> None:
    login = Path(behind.variables["pifleet_egress_proxy_auth"]["file"])
    assert behind.plan().json["steps"] == []

    login.write_text("ana:wrong")
    planned = [step["item"] for step in behind.plan().json["steps"]]
    changed = behind.provision()
    refused = behind.ask("ana", tunnel("open.test:443"))[0]
    login.write_text(LOGIN)

    assert planned == ["/etc/pifleet/egress/keys/proxy.login"]
    assert changed.code == 0
    assert not reached(refused)
    assert behind.provision().code == 0
    assert reached(behind.ask("ana", tunnel("open.test:443"))[0])
