"""The scripted model, asked over real connections in all the formats pi speaks.

Owns what a script means and what each format carries; must not know how a gateway forwards it.
"""

import http.client
import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "roles" / "model_gateway" / "files" / "scripted_model.py"
PATHS = {"anthropic": "/v1/messages?beta=true", "completions": "/v1/chat/completions", "responses": "/v1/responses"}
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
API = pytest.mark.parametrize("api", list(PATHS))


class Running:
    """A started program and a client for it."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen([sys.executable, str(PROGRAM), *options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.where = self.process.stdout.readline().removeprefix("listening on ").strip()

    def connect(self) -> http.client.HTTPConnection:
        if self.where.startswith("unix:"):
            connection = http.client.HTTPConnection("localhost", timeout=10)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(10)
            connection.sock.connect(self.where.removeprefix("unix:"))
            return connection
        return http.client.HTTPConnection(self.where.removeprefix("http://"), timeout=10)

    def post(self, api: str, body: Any, **headers: str) -> http.client.HTTPResponse:
        connection = self.connect()
        connection.request("POST", PATHS.get(api, api), json.dumps(body), headers)
        return connection.getresponse()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def model() -> Iterator[Running]:
    running = Running("--port", "0")
    yield running
    running.stop()


def conversation(api: str, prompt: str, results: tuple[str, ...] = (), stream: bool = False) -> dict[str, Any]:
    """A request as pi makes it: a prompt, then one answered tool call for each result."""
    user: dict[str, Any] = {"role": "user", "content": prompt}
    if api == "responses":
        said = [{"type": "function_call_output", "call_id": "c", "output": result} for result in results]
        return {"model": "m", "stream": stream, "input": [user, *said]}
    if api == "completions":
        said = [{"role": "tool", "tool_call_id": "c", "content": result} for result in results]
        return {"model": "m", "stream": stream, "messages": [{"role": "system", "content": "CALL no {}"}, user, *said]}
    user = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    parts = [{"type": "tool_result", "content": [{"type": "text", "text": result}]} for result in results]
    return {
        "model": "m",
        "stream": stream,
        "messages": [user, *([{"role": "user", "content": parts}] if parts else [])],
    }


def events_of(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def answer_of(api: str, raw: bytes, stream: bool) -> tuple[str, Any]:
    """('call', (tool, arguments)) or ('say', text), from the deltas of a stream or from a whole document."""
    document: Any = events_of(raw.decode()) if stream else json.loads(raw)
    if api == "anthropic":
        if stream:
            block, delta = document[1]["content_block"], document[2]["delta"]
            document = {"content": [block], "stop_reason": document[4]["delta"]["stop_reason"]}
            block.update(
                {"text": delta["text"]} if "text" in delta else {"input": json.loads(delta["partial_json"])},
            )
        block = document["content"][0]
        assert document["stop_reason"] == {"text": "end_turn", "tool_use": "tool_use"}[block["type"]]
        return ("say", block["text"]) if block["type"] == "text" else ("call", (block["name"], block["input"]))
    if api == "completions":
        message = document[1]["choices"][0]["delta"] if stream else document["choices"][0]["message"]
        end = (document[2] if stream else document)["choices"][0]["finish_reason"]
        assert end == ("tool_calls" if "tool_calls" in message else "stop")
        if "tool_calls" not in message:
            return "say", message["content"]
        function = message["tool_calls"][0]["function"]
        return "call", (function["name"], json.loads(function["arguments"]))
    item = document[-1]["response"]["output"][0] if stream else document["output"][0]
    if stream:
        assert [event["sequence_number"] for event in document] == list(range(len(document)))
        delta = next(event["delta"] for event in document if event["type"].endswith(".delta"))
        assert delta == (item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"])
    if item["type"] == "message":
        return "say", item["content"][0]["text"]
    return "call", (item["name"], json.loads(item["arguments"]))


@API
@STREAM
def test_calls_are_made_one_by_one_as_their_results_arrive_and_then_the_text_is_said(
    model: Running, api: str, stream: bool
) -> None:
    script = 'CALL bash {"command": "uname"}\nnot a directive\nCALL read {"path": "a"}\nSAY it said {last_result}'
    heard = [
        answer_of(api, model.post(api, conversation(api, script, results, stream)).read(), stream)
        for results in ((), ("Linux",), ("Linux", "text of a"))
    ]
    assert heard == [
        ("call", ("bash", {"command": "uname"})),
        ("call", ("read", {"path": "a"})),
        ("say", "it said text of a"),
    ]


@API
@STREAM
def test_a_prompt_without_a_script_makes_one_file_that_quotes_it_and_says_done(
    model: Running, api: str, stream: bool
) -> None:
    prompt = "\nWrite a greeting.\nBe brief."
    kind, (tool, arguments) = answer_of(api, model.post(api, conversation(api, prompt, (), stream)).read(), stream)
    assert (kind, tool, arguments["path"]) == ("call", "write", "hello-from-pi.txt")
    assert arguments["content"] == "A scripted model wrote this when asked: Write a greeting.\n"
    last = model.post(api, conversation(api, prompt, ("written",), stream)).read()
    assert answer_of(api, last, stream) == ("say", "done")


def test_only_the_newest_user_text_is_played(model: Running) -> None:
    messages = [
        {"role": "user", "content": "CALL bash {}"},
        {"role": "tool", "content": "old result"},
        {"role": "assistant", "content": "SAY not this"},
        {"role": "user", "content": [{"type": "text", "text": "SAY new"}]},
    ]
    assert answer_of("completions", model.post("completions", {"messages": messages}).read(), False) == ("say", "new")


@API
@pytest.mark.parametrize("status", [401, 429, 500, 529])
def test_a_failure_has_its_status_and_an_error_body(model: Running, api: str, status: int) -> None:
    response = model.post(api, conversation(api, f"FAIL {status}"))
    error = json.loads(response.read())
    assert (response.status, error["error"]["message"]) == (status, f"scripted failure {status}")
    assert response.getheader("Retry-After") == ("1" if status == 429 else None)


def test_a_failure_waits_for_the_calls_before_it(model: Running) -> None:
    script = "CALL bash {}\nFAIL 500\nCALL read {}"
    assert model.post("anthropic", conversation("anthropic", script)).status == 200
    assert model.post("anthropic", conversation("anthropic", script, ("ok",))).status == 500


@API
def test_a_cut_stream_ends_without_its_end(model: Running, api: str) -> None:
    response = model.post(api, conversation(api, "CUT\nSAY never heard", stream=True))
    with pytest.raises(http.client.IncompleteRead) as broken:
        response.read()
    assert len(events_of(broken.value.partial.decode())) == 1
    assert b"never heard" not in broken.value.partial


@API
def test_a_cut_document_ends_early(model: Running, api: str) -> None:
    with pytest.raises(http.client.IncompleteRead):
        model.post(api, conversation(api, "CUT")).read()


def test_a_stall_comes_before_the_first_byte(model: Running) -> None:
    connection = model.connect()
    connection.timeout = 0.3
    connection.request("POST", PATHS["completions"], json.dumps(conversation("completions", "STALL 5")))
    with pytest.raises(TimeoutError):
        connection.getresponse()
    response = model.post("completions", conversation("completions", "STALL 0.01\nSAY late"))
    assert answer_of("completions", response.read(), False) == ("say", "late")


def test_a_hanging_request_is_never_answered_and_others_are(model: Running) -> None:
    connection = model.connect()
    connection.timeout = 0.3
    connection.request("POST", PATHS["anthropic"], json.dumps(conversation("anthropic", "HANG")))
    with pytest.raises(TimeoutError):
        connection.getresponse()
    assert model.post("anthropic", conversation("anthropic", "SAY x")).status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (conversation("completions", "CALL bash {oops}"), "cannot play 'CALL bash {oops}'"),
        (conversation("completions", "CALL bash [1]"), "wanted a tool's name and a JSON object"),
        (conversation("completions", "STALL soon"), "cannot play 'STALL soon'"),
        (conversation("completions", "FAIL 200"), "cannot play 'FAIL 200'"),
        ([], "cannot read the request"),
        ({"messages": 7}, "cannot read the request"),
    ],
)
def test_what_cannot_be_read_is_answered_with_400_and_the_reason(model: Running, body: Any, said: str) -> None:
    response = model.post("completions", body)
    assert response.status == 400
    assert said in json.loads(response.read())["error"]["message"]


def test_it_says_that_it_is_there_and_knows_no_other_path(model: Running) -> None:
    connection = model.connect()
    for path, status in (("/healthz", 200), ("/v1/models", 404)):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    assert model.post("/v1/embeddings", {}).status == 404


def test_only_the_key_in_the_file_is_accepted_and_the_log_shows_which_came(tmp_path: Path) -> None:
    key, log = tmp_path / "key", tmp_path / "log"
    key.write_text("right\n")
    running = Running("--port", "0", "--require-key", str(key), "--log", str(log))
    try:
        body = conversation("anthropic", "SAY hello")
        assert running.post("anthropic", body).status == 401
        assert running.post("anthropic", body, **{"x-api-key": "righ"}).status == 401
        assert running.post("anthropic", body, **{"x-api-key": "right"}).status == 200
        assert running.post("completions", body, Authorization="Bearer right").status == 200
        key.write_text("changed\n")
        assert running.post("completions", body, Authorization="Bearer right").status == 401
    finally:
        running.stop()
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["auth"] for line in seen] == [
        {},
        {"x-api-key": "righ"},
        {"x-api-key": "right"},
        {"authorization": "Bearer right"},
        {"authorization": "Bearer right"},
    ]
    assert seen[0]["prompt"] == "SAY hello"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_unix_socket_is_open_to_all_and_replaces_one_that_was_left_over(tmp_path: Path) -> None:
    path = tmp_path / "model.sock"
    for _ in range(2):
        running = Running("--socket", str(path))
        try:
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
            response = running.post("responses", conversation("responses", "SAY over a socket", stream=True))
            assert answer_of("responses", response.read(), True) == ("say", "over a socket")
        finally:
            running.stop()
        assert path.is_socket()


def test_a_file_in_the_socket_s_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.sock"
    path.write_text("precious")
    ended = subprocess.run([sys.executable, str(PROGRAM), "--socket", str(path)], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "is no socket" in ended.stderr
    assert path.read_text() == "precious"


def test_a_client_of_the_older_protocol_gets_the_stream_unchunked(model: Running) -> None:
    body = json.dumps(conversation("anthropic", "SAY old", stream=True)).encode()
    host, _, port = model.where.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /v1/messages HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        head, _, text = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert answer_of("anthropic", text, True) == ("say", "old")
