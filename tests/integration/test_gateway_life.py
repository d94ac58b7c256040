"""The model gateway over time: keys that change, files that break, logs that grow, a corporate proxy on the way."""

from __future__ import annotations

import asyncio
import base64
import os
import pwd
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pifleet import fleet as names
from pifleet.desired import gateway
from pifleet.fleet import Limits, Model
from pifleet.secret import SecretSource
from tests.gateway.place import ROTATE, Place, place, usable, wait
from tests.unit.fleets import box
from tests.unit.hostside import load

pytestmark = pytest.mark.skipif(not usable(), reason="needs root, and nginx: apt-get install nginx")

KEY = SecretSource("env", "KEY")
MANY = Limits(requests_at_once=200, requests_per_minute=100_000)
ASK = "/paid/v1/messages"


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


@pytest.fixture
def paid(here: Place) -> Any:
    """One model behind a running gateway; its provider is `here.provider`."""
    here.provider = here.upstream()
    model = Model("paid", "anthropic-messages", f"http://127.0.0.1:{here.provider.port}", KEY, ("m",))
    here.configure([model], [box(model="paid", limits=MANY)])
    here.key(model, "first-key")
    here.start()
    return model


def later() -> None:
    """Let a change of a file be later than the start of what read it, as the kernel's clock of processes tells it."""
    time.sleep(0.1)


def current(here: Place) -> bool:
    """What the probe says of the running gateway and its files."""
    services = load("services")
    return bool(services._knows(here.nginx.pid, gateway.services(here.models)[-1]["reads"]))


class TestKeyRotation:
    def test_under_load_no_request_fails_and_none_uses_the_old_key_after_the_reload(self, here, paid):
        statuses: list[int] = []
        reloaded, over = threading.Event(), threading.Event()

        def load_it() -> None:
            while not over.is_set():
                body = {"chunks": 3, "every": 0.01, "after": reloaded.is_set()}
                statuses.append(here.ask(here.boxes[0], "POST", ASK, body).status)

        def asked(*, after: bool) -> list[str]:
            return [request["head"] for request in here.provider.requests() if request["told"]["after"] is after]

        askers = [threading.Thread(target=load_it) for _ in range(6)]
        for asker in askers:
            asker.start()
        wait(lambda: len(asked(after=False)) > 50)
        later()
        here.key(paid, "second-key")
        here.reload()
        wait(lambda: current(here))
        reloaded.set()
        wait(lambda: len(asked(after=True)) > 50)
        over.set()
        for asker in askers:
            asker.join()

        print(f"{len(statuses)} requests, {len(asked(after=True))} of them after the reload")
        assert set(statuses) == {200}
        assert "first-key" in asked(after=False)[0]
        assert all("second-key" in head for head in asked(after=True))

    def test_a_running_stream_goes_on_over_the_reload(self, here, paid):
        got: list[Any] = []
        enough = here.root / "enough"
        asking = threading.Thread(target=lambda: got.append(
            here.ask(here.boxes[0], "POST", ASK, {"chunks": 3, "until": str(enough)}, timeout=120)))
        asking.start()
        wait(lambda: here.provider.requests())

        later()
        here.key(paid, "second-key")
        here.reload()
        wait(lambda: current(here))
        after = here.ask(here.boxes[0], "POST", ASK, {})
        enough.touch()
        asking.join()

        assert (got[0].status, got[0].broken, got[0].body.count(b"data: ")) == (200, False, 3)
        assert after.status == 200
        assert "second-key" in here.provider.heads()[-1]

    def test_a_key_that_nginx_was_not_told_of_is_seen(self, here, paid):
        assert current(here)
        later()
        here.key(paid, "second-key")

        assert not current(here)
        assert "first-key" in self.used(here)

        here.reload()
        wait(lambda: current(here))
        assert "second-key" in self.used(here)

    @staticmethod
    def used(here: Place) -> str:
        here.ask(here.boxes[0], "POST", ASK, {})
        return str(here.provider.heads()[-1])


class TestBreakage:
    def test_a_broken_file_leaves_what_runs_and_is_seen(self, here, paid):
        conf = Path(gateway.services(here.models)[-1]["reads"][0])
        good = conf.read_text()
        later()
        conf.write_text(good.replace("server {", "serve {"))
        here.reload()
        wait(lambda: 'unknown directive "serve"' in here.errors())

        assert here.ask(here.boxes[0], "POST", ASK, {}).status == 200
        assert not current(here)

        conf.write_text(good)
        here.reload()
        wait(lambda: current(here))

    def test_a_killed_gateway_opens_nothing_and_comes_back_on_the_same_sockets(self, here, paid):
        old = here.nginx
        workers = [int(pid) for pid in Path(f"/proc/{old.pid}/task/{old.pid}/children").read_text().split()]
        old.kill()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        old.wait()

        wait(lambda: self.refuses(here))

        here.start()
        assert here.ask(here.boxes[0], "POST", ASK, {}).status == 200

    def test_workers_that_outlive_their_master_end_when_it_starts_again(self, here, paid):
        old = here.nginx
        workers = [int(pid) for pid in Path(f"/proc/{old.pid}/task/{old.pid}/children").read_text().split()]
        old.kill()
        old.wait()

        here.start()

        wait(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
        assert here.ask(here.boxes[0], "POST", ASK, {}).status == 200

    @staticmethod
    def refuses(here: Place) -> bool:
        """Whether nobody takes a connection. A killed worker may still be dying, but it answers nothing any more."""
        try:
            here.ask(here.boxes[0], "POST", ASK, {})
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        raise AssertionError("answered")


class TestLogRotation:
    def test_a_large_log_is_renamed_and_written_anew_without_losing_a_line(self, here, paid):
        log = Path(gateway.log())
        here.spawn(sys.executable, self.quick(here), 2000, 3, log, names.RUN / "nginx.pid")
        files = [log, *(Path(f"{log}.{number}") for number in (1, 2, 3))]

        def full() -> bool:
            assert here.ask(here.boxes[0], "POST", ASK, {}).status == 200
            return all(file.exists() for file in files)

        def whole() -> bool:
            try:
                return all(file.read_text().endswith("}\n") or not file.read_text() for file in files)
            except FileNotFoundError:  # between two names
                return False

        wait(full)
        wait(whole)
        assert not Path(f"{log}.4").exists()
        assert all(oct(file.stat().st_mode)[-3:] == "640" for file in files)

    def test_one_that_was_renamed_and_not_told_is_told(self, here, paid):
        log = Path(gateway.log())
        here.ask(here.boxes[0], "POST", ASK, {})
        wait(here.log)
        log.rename(f"{log}.1")

        here.spawn(sys.executable, self.quick(here), 2000, 3, log, names.RUN / "nginx.pid")

        wait(log.exists)
        here.ask(here.boxes[0], "POST", ASK, {})
        wait(lambda: len(here.log()) == 1)

    def test_what_a_service_prints_is_bounded_too(self, here, paid):
        printed = Path(names.LOGS, "pifleet-gateway.log")
        with printed.open("ab", buffering=0) as writer:
            writer.write(b"x" * 3000)
            here.spawn(sys.executable, self.quick(here), 2000, 3, gateway.log(), names.RUN / "nginx.pid")
            wait(lambda: printed.stat().st_size == 0)
            writer.write(b"more\n")

        assert printed.read_bytes() == b"more\n"
        assert Path(f"{printed}.1").stat().st_size == 3000

    def test_somebody_elses_process_is_not_told(self, here, paid):
        sleeper = subprocess.Popen(["sleep", "60"])
        try:
            (here.root / "pid").write_text(f"{sleeper.pid}\n")
            runpy.run_path(str(ROTATE))["look"](10, 3, str(here.root / "missing"), str(here.root / "pid"))
            with pytest.raises(subprocess.TimeoutExpired):
                sleeper.wait(0.5)  # USR1 would have ended it
        finally:
            sleeper.kill()
            sleeper.wait()

    @staticmethod
    def quick(here: Place) -> Path:
        """The program itself, only that it looks twenty times a second."""
        program = here.root / "rotate"
        program.write_text(ROTATE.read_text().replace("PAUSE = 10", "PAUSE = 0.05"))
        return program


class NameServer(threading.Thread):
    """A name server that knows one address for every name, for a second at a time."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            asked, client = self.socket.recvfrom(512)
            end = asked.index(b"\0", 12) + 5
            ours = asked[end - 4 : end - 2] == b"\0\1"  # an A record is asked for (RFC 1035)
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(self.address) if ours else b""
            head = asked[:2] + b"\x81\x80\0\1" + (b"\0\1" if ours else b"\0\0") + bytes(4)
            self.socket.sendto(head + asked[12:end] + answer, client)


def test_a_provider_that_moves_is_followed_without_a_reload(here):
    provider, server = here.upstream(), NameServer("127.0.0.2")  # where nobody listens
    model = Model("paid", "anthropic-messages", f"http://llm.example:{provider.port}", KEY, ("m",))
    here.configure([model], [box(model="paid", limits=MANY)])
    here.key(model, "first-key")
    here.start()
    Path(names.RUN / "resolver.conf").write_text(f"resolver 127.0.0.1:{server.port};\n")
    here.reload()
    wait(lambda: here.ask(here.boxes[0], "POST", ASK, {}).status == 502)

    server.address = "127.0.0.1"

    wait(lambda: here.ask(here.boxes[0], "POST", ASK, {}).status == 200)


class Proxy(threading.Thread):
    """A corporate proxy: opens CONNECT to the one address that it knows, records what it was asked and what it saw."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.upstream, self.asked, self.logins, self.carried = port, [], [], b""
        self.loop, self.ready = asyncio.new_event_loop(), threading.Event()
        self.start()
        self.ready.wait()

    def run(self) -> None:
        server = self.loop.run_until_complete(asyncio.start_server(self.connection, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split("\r\n")[0])
        self.logins += re.findall("(?m)^Proxy-Authorization: Basic (.*)\r$", head)
        if "denied" in head:
            writer.write(b"HTTP/1.1 403 Not for you\r\n\r\n")
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        writer.write(b"HTTP/1.1 200 Here you are\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                self.carried += data
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


class TestThroughAProxy:
    @pytest.fixture
    def proxied(self, here: Place) -> Proxy:
        certificate = here.certificate("llm", "llm.example")
        here.provider = here.upstream(certificate)
        proxy = Proxy(here.provider.port)
        ca = certificate.with_suffix(".crt").read_text()
        models = [
            Model(name, "anthropic-messages", f"https://{host}/v1x", KEY, ("m",), f"http://127.0.0.1:{proxy.port}", ca)
            for name, host in (("paid", "llm.example"), ("denied", "denied.example:8443"), ("other", "other.example"))
        ]
        here.configure(models, [box(model="paid", other_models=("denied", "other"), limits=MANY)])
        for model in models:
            here.key(model, f"key-of-{model.name}")
            here.tunnel(model)
        here.start()
        return proxy

    def test_tls_goes_end_to_end_and_the_proxy_sees_a_name_only(self, here, proxied):
        answer = here.ask(here.boxes[0], "POST", ASK, {"chunks": 3, "note": "secret words"})

        assert answer.status == 200
        assert proxied.asked == ["CONNECT llm.example:443 HTTP/1.1"]
        assert here.provider.heads()[0].startswith("POST /v1x/v1/messages HTTP/1.1\r\nHost: llm.example\r\n")
        assert len(proxied.carried) > 500
        assert b"key-of" not in proxied.carried
        assert b"secret words" not in proxied.carried

    def test_a_login_is_for_the_proxy_alone_and_its_reader_has_no_rights_left(self, here, proxied, monkeypatch):
        monkeypatch.setattr(names, "SERVICE_USER", "nobody")
        monkeypatch.setattr(names, "SERVICE_UID", pwd.getpwnam("nobody").pw_uid)
        with_login = replace(here.models[0], name="known", proxy_auth=KEY)
        here.configure([*here.models, with_login], [replace(here.boxes[0], other_models=("denied", "other", "known"))])
        here.key(with_login, "key-of-known")
        here.key(with_login, "ana:p ss:word", ":proxy_auth")
        here.tunnel(with_login)
        later()
        here.reload()
        wait(lambda: here.answers() and current(here))  # until then a worker of before may take a connection

        assert here.ask(here.boxes[0], "POST", "/known/v1/messages", {}).status == 200
        assert [base64.b64decode(login) for login in proxied.logins] == [b"ana:p ss:word"]
        assert "Proxy-Authorization" not in here.provider.heads()[-1]
        status = Path(f"/proc/{here.running[-1].pid}/status").read_text()
        assert re.search(r"Uid:\t65534\t65534\t65534\t", status)
        assert re.search(r"(?m)^Groups:\s*$", status)
        assert re.search(r"(?m)^CapEff:\t0+$", status)

    def test_streams_come_through_and_so_does_a_cut(self, here, proxied):
        whole = here.ask(here.boxes[0], "POST", ASK, {"chunks": 10, "every": 0.02})
        cut = here.ask(here.boxes[0], "POST", ASK, {"chunks": 10, "cut": True})

        assert (whole.body.count(b"data: "), whole.broken) == (10, False)
        assert cut.broken

    def test_a_proxy_that_refuses_is_a_model_that_cannot_be_reached(self, here, proxied):
        answer = here.ask(here.boxes[0], "POST", "/denied/v1/messages", {})

        assert answer.status == 502
        assert proxied.asked == ["CONNECT denied.example:8443 HTTP/1.1"]

    def test_a_proxy_that_leads_elsewhere_gets_no_key(self, here, proxied):
        assert here.ask(here.boxes[0], "POST", "/other/v1/messages", {}).status == 502
        assert proxied.asked == ["CONNECT other.example:443 HTTP/1.1"]
        assert here.provider.heads() == []
