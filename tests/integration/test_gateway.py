"""The model gateway as it runs on a host: what passes, what does not, what a fault looks like, what is logged."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pifleet.fleet import Limits, Model, Sandbox
from pifleet.secret import SecretSource
from tests.gateway.place import Answer, Place, Upstream, place, usable, wait
from tests.unit.fleets import box

pytestmark = pytest.mark.skipif(not usable(), reason="needs root, and nginx: apt-get install nginx")

KEY = SecretSource("env", "KEY")
MANY = Limits(requests_at_once=100, requests_per_minute=100_000)
ASK = "/paid/v1/messages"


class Site:
    """Two sandboxes, three models of two providers, and the gateway between them."""

    def __init__(self, here: Place) -> None:
        self.here = here
        self.plain, self.other = here.upstream(), here.upstream()
        good, wrong = here.certificate("good"), here.certificate("wrong", "elsewhere.example")
        self.tls, self.stranger, self.misnamed = here.upstream(good), here.upstream(good), here.upstream(wrong)
        ca = good.with_suffix(".crt").read_text()

        def model(name: str, api: str, up: Upstream, scheme: str = "http", **more: object) -> Model:
            host = "localhost" if scheme == "https" else "127.0.0.1"
            return Model(name, api, f"{scheme}://{host}:{up.port}/base", KEY, ("m",), **more)  # type: ignore[arg-type]

        self.models = [
            model("paid", "anthropic-messages", self.plain),
            model("chat", "openai-completions", self.other),
            model("next", "openai-responses", self.tls, "https", ca=ca),
            model("stranger", "openai-responses", self.stranger, "https"),
            model("misnamed", "openai-responses", self.misnamed, "https",
                  ca=wrong.with_suffix(".crt").read_text()),
            Model("gone", "anthropic-messages", "http://127.0.0.1:9", KEY, ("m",)),
            Model("nameless", "anthropic-messages", "http://no-such-name.example", KEY, ("m",)),
        ]
        others = tuple(model.name for model in self.models[1:] if model.name != "chat")
        self.ana = box(model="paid", other_models=others, limits=MANY)
        self.bo = box("bo/main", model="chat", limits=MANY)
        self.few = box("cy/few", model="paid", limits=Limits(requests_at_once=2, requests_per_minute=100_000))
        self.slow = box("cy/slow", model="paid", limits=Limits(requests_at_once=50, requests_per_minute=10))
        self.slower = box("cy/slower", model="paid", limits=Limits(requests_at_once=50, requests_per_minute=1))
        self.logged = box("di/logged", model="paid", limits=MANY)
        here.configure(self.models, [self.ana, self.bo, self.few, self.slow, self.slower, self.logged])
        for one in self.models:
            here.key(one, f"key-of-{one.name}")
        here.scripted()
        here.start()

    def ask(self, path: str = ASK, body: object = None, sandbox: Sandbox | None = None, method: str = "POST",
            **headers: str) -> Answer:
        return self.here.ask(sandbox or self.ana, method, path, {} if body is None else body, **headers)

    def line(self, ask: Callable[[], object]) -> dict[str, Any]:
        """The line that asking once as `logged` leaves in the log; nobody else asks as that sandbox."""
        before = len(self.here.log(self.logged))
        ask()
        wait(lambda: len(self.here.log(self.logged)) > before)
        [line] = self.here.log(self.logged)[before:]
        return line


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with place() as here:
        yield Site(here)


class TestWhatPasses:
    @pytest.mark.parametrize(("path", "upstream", "arrives", "key"), [
        ("/paid/v1/messages", "plain", "/base/v1/messages", "x-api-key: key-of-paid"),
        ("/paid/v1/messages?beta=true", "plain", "/base/v1/messages?beta=true", "x-api-key: key-of-paid"),
        ("/paid/v1/messages/count_tokens", "plain", "/base/v1/messages/count_tokens", "x-api-key: key-of-paid"),
        ("/next/responses", "tls", "/base/responses", "Authorization: Bearer key-of-next"),
    ])
    def test_each_api_reaches_its_provider_with_its_own_key(self, site, path, upstream, arrives, key):
        assert site.ask(path).status == 200

        head = getattr(site, upstream).heads()[-1]
        assert head.startswith(f"POST {arrives} HTTP/1.1\r\n")
        assert key in head

    def test_another_sandbox_has_its_own_provider(self, site):
        assert site.ask("/chat/chat/completions", sandbox=site.bo).status == 200

        assert "Authorization: Bearer key-of-chat" in site.other.heads()[-1]

    def test_the_list_of_models_is_had_with_get(self, site):
        assert site.ask("/paid/v1/models", method="GET").status == 200

    def test_the_scripted_model_answers_every_sandbox_without_a_key(self, site):
        body = {"messages": [{"role": "user", "content": "SAY it works"}]}

        assert b"it works" in site.ask("/.pifleet/scripted/v1/messages", body).body

    def test_a_request_of_nearly_64_mb_passes_whole_and_a_larger_one_is_refused(self, site):
        size = 63 << 20

        assert site.ask(body=b"x" * size).status == 200
        assert site.plain.requests()[-1]["size"] == size
        larger = site.here.say(site.ana, f"POST {ASK} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n".encode())
        assert larger.startswith(b"HTTP/1.1 413 ")
        assert b"at most 64 MB" in larger


# What a sandbox may try, as the very bytes, and what of it must not be seen in what reaches a provider.
def request(line: str, *fields: str, body: str = "{}") -> bytes:
    return "\r\n".join([line, *(fields or ("Host: x",)), f"Content-Length: {len(body)}", "", body]).encode()


HEADERS = ("x-api-key: evil", "Authorization: Bearer evil", "api-key: evil", "Host: evil.example",
           "X-Forwarded-Host: evil", "X-Forwarded-For: evil", "Forwarded: host=evil", "X-Original-URL: /evil",
           "X-Rewrite-URL: /evil", "X-HTTP-Method-Override: DELETE-evil", "OpenAI-Organization: evil",
           "OpenAI-Project: evil", "Anthropic-Workspace: evil", "Cookie: evil=1", "Proxy-Authorization: Basic evil",
           "Via: evil", "Upgrade: evil", "Connection: upgrade, x-api-key", "TE: evil", "X-Goog-Api-Key: evil",
           "x_api_key: evil", "Expect-Evil: evil")
REFUSED = {
    "another model's route": request("POST /chat/chat/completions HTTP/1.1"),
    "a path that the api does not have": request("POST /paid/v1/files HTTP/1.1"),
    "the provider's own administration": request("GET /paid/v1/organizations/api_keys HTTP/1.1"),
    "a path without a model": request("POST /v1/messages HTTP/1.1"),
    "out of the path with dots": request("POST /paid/v1/messages/../files HTTP/1.1"),
    "out of the path with encoded dots": request("POST /paid/v1/messages/%2e%2e/files HTTP/1.1"),
    "out of the path with an encoded slash": request("POST /paid/v1/messages%2f..%2ffiles HTTP/1.1"),
    "a longer path": request("POST /paid/v1/messages/x HTTP/1.1"),
    "a path with a semicolon": request("POST /paid/v1/messages;x HTTP/1.1"),
    "a path with a null byte": request("POST /paid/v1/messages%00 HTTP/1.1"),
    "a path in capitals": request("POST /PAID/V1/MESSAGES HTTP/1.1"),
    "another method": request("DELETE /paid/v1/messages HTTP/1.1"),
    "get where post belongs": request("GET /paid/v1/messages HTTP/1.1"),
    "post where get belongs": request("POST /paid/v1/models HTTP/1.1"),
    "trace": request("TRACE /paid/v1/messages HTTP/1.1"),
    "a made-up method": request("EVIL /paid/v1/messages HTTP/1.1"),
    "connect to elsewhere": request("CONNECT evil.example:443 HTTP/1.1"),
    "an absolute address elsewhere": request("GET http://evil.example/ HTTP/1.1"),
    "an absolute https address": request("GET https://evil.example/v1/models HTTP/1.1"),
    "http/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": b"POST /paid/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
    "length and chunks": b"POST /paid/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                         b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an obfuscated encoding": b"POST /paid/v1/messages HTTP/1.1\r\nHost: x\r\n"
                              b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two hosts": b"POST /paid/v1/messages HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 2\r\n\r\n{}",
    "a header before a blank": b"POST /paid/v1/messages HTTP/1.1\r\nHost : x\r\n Content-Length: 2\r\n\r\n{}",
}


class TestWhatDoesNotPass:
    @pytest.mark.parametrize("trick", REFUSED)
    def test_a_trick_reaches_no_provider(self, site, trick):
        seen = [site.plain, site.other, site.tls]
        before = [len(up.requests()) for up in seen]

        said = site.here.say(site.ana, REFUSED[trick])

        assert [len(up.requests()) for up in seen] == before
        assert said[9:10] in (b"4", b"5", b""), said
        assert not said.startswith(b"HTTP/1.1 2")

    @pytest.mark.parametrize("header", HEADERS)
    def test_a_header_that_could_choose_key_host_or_route_does_not_go_on(self, site, header):
        site.here.say(site.ana, request(f"POST {ASK} HTTP/1.1", *([] if header.startswith("Host") else ["Host: x"]),
                                        header))

        head = site.plain.heads()[-1]
        assert "evil" not in head
        assert head.count("key-of-paid") == 1

    def test_headers_of_the_api_itself_go_on(self, site):
        site.ask(Anthropic_Version="2023-06-01", Anthropic_Beta="tools", Content_Type="application/json")

        head = site.plain.heads()[-1].lower()
        assert all(field in head for field in (
            "anthropic-version: 2023-06-01", "anthropic-beta: tools", "content-type: application/json"))

    def test_an_absolute_address_or_another_host_goes_to_the_own_provider_all_the_same(self, site):
        said = site.here.say(site.ana, request("POST http://evil.example/paid/v1/messages HTTP/1.1", "Host: evil"))

        assert said.startswith(b"HTTP/1.1 200")
        assert site.plain.heads()[-1].startswith("POST /base/v1/messages HTTP/1.1\r\nHost: 127.0.0.1:")

    def test_a_query_with_a_key_does_not_go_on(self, site):
        site.ask(ASK + "?key=evil&beta=true&api_key=evil&beta=evil")

        assert "evil" not in site.plain.heads()[-1]

    def test_a_second_request_hidden_in_a_body_stays_a_body(self, site):
        before = len(site.plain.requests())
        hidden = "GET /paid/v1/models HTTP/1.1\r\nHost: x\r\n\r\n"

        site.here.say(site.ana, request(f"POST {ASK} HTTP/1.1", body=hidden))

        assert [one["size"] for one in site.plain.requests()[before:]] == [len(hidden)]

    def test_a_provider_cannot_send_a_client_on_inside_the_gateway(self, site):
        answer = site.ask(body={"headers": {"X-Accel-Redirect": "/.pifleet/health", "Location": "http://evil/"}})

        assert answer.body.startswith(b"data: ")


class TestFaults:
    @pytest.mark.parametrize(("status", "headers"), [
        (400, {}), (401, {}), (403, {}), (404, {}), (413, {}), (429, {"retry-after": "17"}), (500, {}), (502, {}),
        (503, {"retry-after": "3"}), (504, {}), (529, {}),
    ])
    def test_a_provider_s_answer_passes_as_it_is(self, site, status, headers):
        answer = site.ask(body={"status": status, "headers": headers})

        assert answer.status == status
        assert answer.body.startswith(b"data: ")
        assert headers.items() <= answer.headers.items()

    def test_a_stream_that_is_cut_is_seen_as_cut(self, site):
        answer = site.ask(body={"chunks": 5, "cut": True})

        assert (answer.status, answer.broken) == (200, True)
        assert answer.body.startswith(b"data: ")

    @pytest.mark.parametrize(("model", "said"), [
        ("stranger", "certificate verify error"), ("misnamed", 'does not match "localhost"'),
    ])
    def test_a_bad_certificate_ends_it_before_anything_is_sent(self, site, model, said):
        answer = site.ask(f"/{model}/responses")

        assert answer.status == 502
        assert answer.json["error"]["message"] == "pifleet: the model cannot be reached"
        assert getattr(site, model).requests() == []
        wait(lambda: said in site.here.errors())

    @pytest.mark.parametrize("model", ["gone", "nameless"])
    def test_what_cannot_be_reached_is_said_in_json(self, site, model):
        answer = site.ask(f"/{model}/v1/messages")

        assert answer.status in (502, 504)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["error"]["type"] == "api_error"

    def test_a_model_may_think_long_before_its_first_byte(self, site):
        seconds = float(os.environ.get("PIFLEET_THINKING_SECONDS", "8"))
        if seconds < 120:
            print(f"{seconds:g} s instead of 120, to save time; PIFLEET_THINKING_SECONDS=120 waits them out")

        assert site.here.ask(site.ana, "POST", ASK, {"wait": seconds}, timeout=seconds + 20).status == 200


class TestStreams:
    def test_a_chunk_leaves_within_20_ms(self, site):
        """In the quietest of some streams, since others may meet a busy machine; what buffers is late in each."""
        medians: list[float] = []
        while len(medians) < 20 and not any(median < 0.02 for median in medians):
            late = self.late(site)
            assert len(late) == 20
            medians.append(statistics.median(late))

        assert min(medians) < 0.02, medians

    @staticmethod
    def late(site: Site) -> list[float]:
        """How many seconds after its provider each chunk of a stream was here."""
        connection = site.here.connect(site.ana)
        connection.request("POST", ASK, b'{"chunks": 20, "every": 0.05}')
        lines = iter(connection.getresponse().readline, b"")
        late = [time.time() - float(line.split()[1]) for line in lines if line.startswith(b"data: ")]
        connection.close()
        return late


class TestLimits:
    def test_requests_beyond_those_at_once_get_429_and_the_others_go_on(self, site):
        answers: list[Answer] = []
        enough, before = site.here.root / "enough", len(site.plain.requests())
        asking = [threading.Thread(target=lambda: answers.append(site.here.ask(
            site.few, "POST", ASK, {"until": str(enough)}, timeout=120))) for _ in range(2)]
        for thread in asking:
            thread.start()
        wait(lambda: len(site.plain.requests()) == before + 2)

        third = site.ask(sandbox=site.few)
        enough.touch()
        for thread in asking:
            thread.join()

        assert third.status == 429
        assert third.headers["retry-after"] == "5"
        assert third.json == {"type": "error", "error": {
            "type": "rate_limit_error", "message": "pifleet: this sandbox has reached its limit of requests to models"}}
        assert [answer.status for answer in answers] == [200, 200]
        wait(lambda: site.ask(sandbox=site.few).status == 200)

    def test_requests_beyond_those_of_a_minute_get_429_and_another_sandbox_none(self, site):
        statuses = [site.ask(sandbox=site.slow).status for _ in range(15)]

        assert statuses[:10] == [200] * 10
        assert statuses[-1] == 429
        assert site.ask(sandbox=site.few).status == 200

    def test_what_is_turned_away_or_is_no_request_leaves_no_line(self, site):
        passed = 0
        while site.ask("/paid/v1/files", sandbox=site.slower).status != 429:
            passed += 1
        for _ in range(50):
            passed += site.ask("/paid/v1/files", sandbox=site.slower).status != 429  # one a minute, and it may be over
            site.here.say(site.slower, b"x" * 100 + b"\r\n\r\n")
        site.line(lambda: site.ask("/paid/v1/files", sandbox=site.logged))  # lines come in the order of requests

        assert len(site.here.log(site.slower)) == passed


class TestLog:
    def test_a_request_is_one_line_without_anything_that_the_sandbox_wrote(self, site):
        line = site.line(lambda: site.ask(
            ASK + "?beta=true&canary=1", {"chunks": 3, "every": 1, "note": "canary"}, site.logged, X_Note="canary",
            User_Agent="canary"))

        assert (line["sandbox"], line["model"], line["path"], line["status"]) == (
            "di/logged", "paid", "/v1/messages", 200)
        assert line["first_byte"] < line["seconds"]
        assert line["received"] > 60
        assert line["sent"] > 100
        assert "canary" not in str(line)

    def test_a_refused_path_is_a_line_without_the_path(self, site):
        line = site.line(lambda: site.ask("/canary", sandbox=site.logged))

        assert (line["sandbox"], line["path"], line["status"], line["first_byte"]) == ("di/logged", "other", 404, None)

    def test_neither_log_holds_a_key(self, site):
        assert "key-of" not in str(site.here.log()) + site.here.errors()

    def test_it_is_for_root_alone(self, site):
        from pifleet.desired import gateway

        assert oct(Path(gateway.log()).stat().st_mode)[-3:] in ("640", "600")


def test_a_removed_sandboxs_socket_goes_with_it(site):
    """Last, as it takes a sandbox away."""
    here, kept = site.here, [one for one in site.here.boxes if one is not site.bo]
    here.configure(site.models, kept)
    here.reload()
    wait(here.answers)

    wait(lambda: not Path(site.bo.model_socket).exists())
    assert site.ask().status == 200


def test_a_host_whose_last_sandbox_goes_keeps_a_gateway_that_runs(site):
    """After the removal before it, which leaves others."""
    here = site.here
    here.configure(site.models, [])
    here.reload()

    wait(lambda: not Path(site.ana.model_socket).exists())
    assert here.nginx.poll() is None
    assert "emerg" not in here.errors()
