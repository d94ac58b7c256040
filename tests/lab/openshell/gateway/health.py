"""The test double's health and metrics endpoints: plain HTTP on ports of their own.

Owns paths and bodies; must not know what the gateway does.
"""

import contextlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .protocol import VERSION

CALLS: Counter[tuple[str, str]] = Counter()


def serve(place: tuple[str, int], paths: dict[str, Callable[[], tuple[int, str, str]]]) -> None:
    """Answer GET on these paths, in threads that end with the process."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, kind, text = paths.get(self.path, lambda: (404, "text/plain", "not found"))()
            self.send_response(code)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(place, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def healthy(database: Path) -> dict[str, Callable[[], tuple[int, str, str]]]:
    """Alive, and ready as long as the database answers."""
    def ready() -> tuple[int, str, str]:
        good = answers(database)
        body = {"status": "healthy" if good else "unhealthy", "version": VERSION,
                "checks": {"database": {"status": "healthy" if good else "unhealthy"}}}
        return 200 if good else 503, "application/json", json.dumps(body)
    return {"/healthz": lambda: (200, "text/plain", ""), "/readyz": ready, "/health": ready}


def answers(database: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True)) as connection:
            return bool(connection.execute("select count(*) from objects").fetchone())
    except sqlite3.Error:
        return False


def metrics() -> tuple[int, str, str]:
    """Calls by method and code, as Prometheus reads them."""
    lines = ["# TYPE openshell_server_grpc_requests_total counter"]
    lines += [f'openshell_server_grpc_requests_total{{method="{method}",code="{code}"}} {count}'
              for (method, code), count in sorted(CALLS.items())]
    return 200, "text/plain; version=0.0.4", "\n".join(lines) + "\n"
