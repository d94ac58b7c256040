"""`https://inference.local` inside a sandbox of the test double: the workspace's one model, with a key that stays out.

Owns which requests are for a model and what is replaced in them; must not know policies.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .http import Request, answer, read_body, read_request
from .link import copy

HOST = "inference.local"
PATHS = {
    "/v1/chat/completions": "openai_chat_completions", "/v1/completions": "openai_completions",
    "/v1/responses": "openai_responses", "/v1/embeddings": "openai_embeddings", "/v1/messages": "anthropic_messages",
}
KEPT = ("content-type", "accept", "user-agent", "anthropic-version", "anthropic-beta", "openai-organization")


async def serve(route: dict[str, Any] | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                log: Callable[[str, str], None]) -> None:
    """Answer one request on a connection whose TLS is done."""
    request = await read_request(reader)
    body = await read_body(reader, request)
    refused = refusal(route, request)
    if refused is None:
        assert route
        try:
            await asyncio.wait_for(forward(route, request, body, writer), route["seconds"])
            log("OCSF", f"NET:OPEN [INFO] ALLOWED inference {request.method} {request.target} model {route['model']}")
            return
        except (OSError, ssl.SSLError, TimeoutError) as error:
            log("OCSF", f"NET:FAIL [LOW] inference endpoint detected but upstream service failed: {error}")
            refused = 503, "inference service unavailable"
    else:
        log("OCSF", f"NET:REFUSE [MED] DENIED inference {request.method} {request.target} [reason:{refused[1]}]")
    writer.write(answer(refused[0], {"error": refused[1]}))
    await writer.drain()


def refusal(route: dict[str, Any] | None, request: Request) -> tuple[int, str] | None:
    path = urlsplit(request.target).path
    models = request.method == "GET" and (path == "/v1/models" or path.startswith("/v1/models/"))
    if not models and not (request.method == "POST" and path in PATHS):
        return 403, "connection not allowed by policy"
    if route is None:
        return 503, "cluster inference is not configured"
    if not models and PATHS[path] not in route["protocols"]:
        return 400, "no compatible inference route available"
    return None


async def forward(route: dict[str, Any], request: Request, body: bytes, writer: asyncio.StreamWriter) -> None:
    """Ask the model's server: with the route's key and model, and few of the client's headers."""
    base = urlsplit(route["base"])
    prefix = base.path.rstrip("/")
    target = prefix + (request.target.removeprefix("/v1") if prefix.endswith("/v1") else request.target)
    if body:
        body = json.dumps({**json.loads(body), "model": route["model"]}).encode()
    key = f"Bearer {route['key']}" if route["header"] == "authorization" else route["key"]
    headers = [(name, value) for name, value in request.headers if name.lower() in KEPT]
    if route["header"] == "x-api-key" and not request.header("anthropic-version"):
        headers.append(("anthropic-version", "2023-06-01"))
    headers += [("Host", base.netloc), (route["header"], key), ("Content-Length", str(len(body))),
                ("Connection", "close")]
    secure = base.scheme == "https"
    there, back = await asyncio.open_connection(
        base.hostname, base.port or (443 if secure else 80), ssl=ssl.create_default_context() if secure else None)
    try:
        back.write(Request(request.method, target, headers).render() + body)
        await back.drain()
        await copy(there, writer)
    finally:
        back.close()
