#!/usr/bin/env python3
"""A model that plays a script from the prompt: no key, no network, the same answer every time.

It owns the three wire formats that pi speaks and the meaning of a script; it must not know what a sandbox, a fleet or
a gateway is.

The newest user text is the script, one directive a line; all other lines are ignored:

    CALL <tool> <json>   ask for this tool call; the lines below wait for its result
    SAY <text>           say this when the script is over; {last_result} is the newest tool result
    FAIL <status>        answer with this HTTP status from here on
    STALL <seconds>      wait this long before the first byte of the next answer
    CUT                  break the connection after the first event of the next answer
    HANG                 accept the request and never answer it

A text without any directive makes one `write` call for hello-from-pi.txt, then "done" is said.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import socketserver
import stat
import sys
import time
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

DIRECTIVES = ("CALL", "SAY", "FAIL", "STALL", "CUT", "HANG")
AUTH_HEADERS = ("authorization", "x-api-key", "api-key")
ERROR_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
RETRY_AFTER_SECONDS = "1"

Json = dict[str, Any]


@dataclass
class Step:
    """What to do with one request: `call` or else `say` is the answer, the rest is what happens to it."""

    call: tuple[str, Json] | None = None
    say: str = "done"
    fail: int = 0
    stall: float = 0.0
    cut: bool = False
    hang: bool = False


# Reading: what was asked, and how far the script has come


def text_of(content: Any) -> str:
    """The plain text of a message's content, which is a string or a list of typed parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [] if part.get("type", "").endswith("text"))


def read_turn(body: Json) -> tuple[str, list[str]]:
    """The newest user text in a request of any of the three formats, and the tool results that came after it."""
    prompt, results = "", []
    messages = body.get("messages") or body.get("input") or []
    for message in [{"role": "user", "content": messages}] if isinstance(messages, str) else messages:
        content = message.get("content")
        if message.get("type") == "function_call_output":
            results.append(text_of(message.get("output")))
        elif message.get("role") == "tool":
            results.append(text_of(content))
        elif message.get("role") == "user":
            parts = content if isinstance(content, list) else []
            results += [text_of(part.get("content")) for part in parts if part.get("type") == "tool_result"]
            if text_of(content):
                prompt, results = text_of(content), []
    return prompt, results


def next_step(prompt: str, results: list[str]) -> Step:
    """Play the script up to the first call that has no result yet.

    Raises ValueError, which quotes the line, for a directive that cannot be read.
    """
    lines = [line.strip() for line in prompt.splitlines()]
    script = [line.partition(" ") for line in lines if line.split(" ")[0] in DIRECTIVES] or default_script(lines)
    say = "\n".join(rest for word, _, rest in script if word == "SAY") or "done"
    step = Step(say=say.replace("{last_result}", results[-1] if results else ""))
    answered = len(results)
    for word, _, rest in script:
        try:
            if word == "CALL" and answered:
                answered, step = answered - 1, Step(say=step.say)
            elif word == "CALL":
                step.call = read_call(rest)
            elif word == "FAIL":
                step.fail = read_status(rest)
            elif word == "STALL":
                step.stall = float(rest)
            elif word != "SAY":
                setattr(step, word.lower(), True)
        except ValueError as error:
            raise ValueError(f"cannot play '{word} {rest}': {error}") from error
        if step.call or step.fail or step.hang:
            break
    return step


def read_call(text: str) -> tuple[str, Json]:
    """Read `<tool> <json object>`; no JSON means no arguments."""
    tool, _, arguments = text.strip().partition(" ")
    read = json.loads(arguments or "{}")
    if not tool or not isinstance(read, dict):
        raise ValueError("wanted a tool's name and a JSON object")
    return tool, read


def read_status(text: str) -> int:
    """Read an HTTP status that is a failure; Anthropic's 529 has no name in `http`."""
    status = int(text)
    if not 400 <= status <= 599:
        raise ValueError("wanted a status from 400 to 599")
    return status


def default_script(lines: list[str]) -> list[tuple[str, str, str]]:
    """What is played for a prompt that holds no script."""
    asked = next((line for line in lines if line), "nothing")
    arguments = {"path": "hello-from-pi.txt", "content": f"A scripted model wrote this when asked: {asked}\n"}
    return [("CALL", " ", f"write {json.dumps(arguments)}")]


# Answering: a step in each format as pi 0.87.1 reads it, as one document and as the events of a stream


def ident(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def anthropic_messages(step: Step, model: str) -> tuple[Json, list[Any]]:
    if step.call:
        tool, arguments = step.call
        block: Json = {"type": "tool_use", "id": ident("toolu"), "name": tool, "input": arguments}
        empty: Json = {**block, "input": {}}
        delta: Json = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
    else:
        block = {"type": "text", "text": step.say}
        empty = {**block, "text": ""}
        delta = {"type": "text_delta", "text": step.say}
    end = {"stop_reason": "tool_use" if step.call else "end_turn", "stop_sequence": None}
    message: Json = {"id": ident("msg"), "type": "message", "role": "assistant", "model": model}
    message.update(end, content=[block], usage={"input_tokens": 10, "output_tokens": 5})
    opened = {**message, "content": [], "stop_reason": None}
    return message, [
        {"type": "message_start", "message": opened},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


def openai_completions(step: Step, model: str) -> tuple[Json, list[Any]]:
    message: Json = {"role": "assistant", "content": None if step.call else step.say}
    if step.call:
        function = {"name": step.call[0], "arguments": json.dumps(step.call[1])}
        message["tool_calls"] = [{"index": 0, "id": ident("call"), "type": "function", "function": function}]
    end = "tool_calls" if step.call else "stop"
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    base = {"id": ident("chatcmpl"), "created": int(time.time()), "model": model}
    whole = {**base, "object": "chat.completion", "usage": usage}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": end}]
    chunk = {**base, "object": "chat.completion.chunk"}
    return whole, [
        {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": end}]},
        {**chunk, "choices": [], "usage": usage},
        "[DONE]",
    ]


def openai_responses(step: Step, model: str) -> tuple[Json, list[Any]]:
    at: Json = {"output_index": 0}
    if step.call:
        tool, arguments = step.call[0], json.dumps(step.call[1])
        item: Json = {"type": "function_call", "id": ident("fc"), "call_id": ident("call"), "name": tool}
        item.update(arguments=arguments, status="completed")
        empty: Json = {**item, "arguments": "", "status": "in_progress"}
        at["item_id"] = item["id"]
        middle: list[Json] = [
            {"type": "response.function_call_arguments.delta", **at, "delta": arguments},
            {"type": "response.function_call_arguments.done", **at, "arguments": arguments},
        ]
    else:
        part: Json = {"type": "output_text", "text": step.say, "annotations": []}
        item = {"type": "message", "id": ident("msg"), "role": "assistant", "status": "completed", "content": [part]}
        empty = {**item, "content": [], "status": "in_progress"}
        at.update(item_id=item["id"], content_index=0)
        middle = [
            {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
            {"type": "response.output_text.delta", **at, "delta": step.say},
            {"type": "response.output_text.done", **at, "text": step.say},
            {"type": "response.content_part.done", **at, "part": part},
        ]
    usage: Json = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    usage.update(input_tokens_details={"cached_tokens": 0}, output_tokens_details={"reasoning_tokens": 0})
    opened: Json = {"id": ident("resp"), "object": "response", "status": "in_progress", "model": model, "output": []}
    whole = {**opened, "status": "completed", "output": [item], "usage": usage}
    events: list[Json] = [
        {"type": "response.created", "response": opened},
        {"type": "response.output_item.added", "output_index": 0, "item": empty},
        *middle,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return whole, [{**event, "sequence_number": number} for number, event in enumerate(events)]


FORMATS = {
    "/chat/completions": openai_completions,
    "/responses": openai_responses,
    "/v1/messages": anthropic_messages,
}


def encode(event: Any) -> bytes:
    """One server-sent event; its name is its type, where its format has one."""
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


# Serving


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "pifleet-scripted-model"
    server: Server

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.send_json({"ok": True})
        else:
            self.send_failure(404, "no such path")

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
            prompt, results = read_turn(body)
            step = next_step(prompt, results)
        except (ValueError, TypeError, AttributeError) as error:
            return self.send_failure(400, f"cannot read the request: {error}")
        sent = {name: self.headers[name] for name in AUTH_HEADERS if self.headers[name]}
        request = {"path": self.path, "model": body.get("model"), "stream": bool(body.get("stream")), "prompt": prompt}
        self.server.record({"time": time.time(), "auth": sent, **request})
        path = self.path.split("?")[0]
        answer = next((answer for suffix, answer in FORMATS.items() if path.endswith(suffix)), None)
        if not self.server.accepts(sent):
            return self.send_failure(401, "wrong or missing key")
        if answer is None:
            return self.send_failure(404, "no such path")
        if step.hang:
            return self.wait_for_the_other_end()
        time.sleep(step.stall)
        if step.fail:
            return self.send_failure(step.fail, f"scripted failure {step.fail}")
        whole, events = answer(step, str(body.get("model")))
        return self.send_stream(events, step.cut) if body.get("stream") else self.send_json(whole, cut=step.cut)

    def wait_for_the_other_end(self) -> None:
        while self.rfile.read(1):
            pass
        self.close_connection = True

    def send_json(self, document: Json, status: int = 200, cut: bool = False) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.send_header("Retry-After", RETRY_AFTER_SECONDS)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    def send_failure(self, status: int, message: str) -> None:
        """An error body that both families of clients can read."""
        kind = ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        self.send_json({"type": "error", "error": {"type": kind, "message": message}}, status)

    def send_stream(self, events: list[Any], cut: bool) -> None:
        """Chunked where the client can: only then is a cut stream told from a finished one."""
        chunked = self.request_version != "HTTP/1.0"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        self.end_headers()
        for data in map(encode, events[:1] if cut else events):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
        if chunked and not cut:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are recorded only where --log asks for it."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One thread a connection, and the settings of one run."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    log_path: str | None = None
    key_path: str | None = None

    def accepts(self, sent: dict[str, str]) -> bool:
        """Whether one of the sent keys is the wanted one; the file is read anew, so that a key can be changed."""
        if self.key_path is None:
            return True
        with open(self.key_path, "rb") as file:
            wanted = file.read().strip()
        return any(hmac.compare_digest(value.split(" ")[-1].encode(), wanted) for value in sent.values())

    def record(self, entry: Json) -> None:
        """Append a JSON line with the keys that arrived: for tests, which ask what reached the provider."""
        if self.log_path:
            file = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(file, json.dumps(entry).encode() + b"\n")
            os.close(file)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class UnixServer(socketserver.UnixStreamServer, Server):
    """The same on a unix socket."""


def listen_on_socket(path: str) -> Server:
    """Listen at `path`, open to every user: the folder around it says who may come. A left-over socket is removed."""
    if os.path.lexists(path):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise SystemExit(f"scripted_model: {path} is there and is no socket; move it away")
        os.unlink(path)
    before = os.umask(0o111)
    try:
        return UnixServer(path, Handler)
    finally:
        os.umask(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--socket", metavar="PATH", help="listen on a unix socket")
    place.add_argument("--port", type=int, help="listen on a TCP port; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="with --port: the address (default %(default)s)")
    parser.add_argument("--log", metavar="FILE", help="record each request, with its key, as a JSON line")
    parser.add_argument("--require-key", metavar="FILE", help="answer 401 to any key but the one in this file")
    options = parser.parse_args()
    if options.socket:
        server, where = listen_on_socket(options.socket), f"unix:{options.socket}"
    else:
        server = Server((options.host, options.port), Handler)
        where = "http://{}:{}".format(*server.server_address)
    server.log_path, server.key_path = options.log, options.require_key
    print(f"listening on {where}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
