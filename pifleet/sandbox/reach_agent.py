"""Owns asking a sandbox's proxy for destinations that its list allows, and telling what came of each.
It is sent over an exec and runs alone, on Python 3.9 and the standard library; it sends no more than a request's head.

One request, a line of JSON, arrives on standard input: `proxy`, a URL ("": the one of the environment), and
`destinations`, lists of [key, name, port, plain]. The answer is a line of JSON: by key "answers", "silent" where it was
let through and nobody is there, "refused", or "closed" where there is no proxy.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

SECONDS = 40  # squid tries to connect for 30
AT_ONCE = 16
# What a proxy says where the way is open and its end is not there (RFC 9110, 15.6).
SILENT = {"502", "503", "504"}

Json = dict[str, Any]


def main(request: Json) -> Json:
    """What came of each destination."""
    proxy = urlsplit(request["proxy"] or os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or "")
    where = (proxy.hostname or "", proxy.port or 0)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {"answers": dict(pool.map(lambda one: (one[0], asked(where, *one[1:])), request["destinations"]))}


def asked(proxy: tuple[str, int], name: str, port: int, plain: bool) -> str:
    """`.name` is asked for by its top."""
    host = name.lstrip(".")
    line = f"HEAD http://{host}:{port}/" if plain else f"CONNECT {host}:{port}"
    try:
        with socket.create_connection(proxy, SECONDS) as client:
            client.sendall(f"{line} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            head = client.recv(65536).decode("latin-1")
    except TimeoutError:
        return "silent"
    except OSError:
        return "closed"
    status = head.split(" ")[1] if head.startswith("HTTP/") and " " in head else ""
    if not status:
        return "closed"
    own = "\r\nx-squid-error:" in head.lower()  # a plain request's answer may be the destination's own
    if status in SILENT and (own or not plain):
        return "silent"
    return "answers" if status.startswith("2") or (plain and not own) else "refused"


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.stdin.buffer.readline()))))
