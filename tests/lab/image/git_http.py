#!/usr/bin/env python3
"""Git's own smart http service behind a small server: some repositories open, the others behind a token.

Owns who may read what; must not know what is in the repositories. A push is refused for everybody.
"""

import base64
import hmac
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, ROOT, TOKEN_FILE = int(sys.argv[1]), sys.argv[2], sys.argv[3]
OPEN_MARK = "git-daemon-export-ok"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        repository = path.split("/")[1]
        if not self.may_read(repository):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="lab"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        answer = subprocess.run(["git", "http-backend"], input=body, env=environment, stdout=subprocess.PIPE).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = next((value for name, value in headers if name == "Status"), "200")
        self.send_response(int(status.split(" ")[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def may_read(self, repository: str) -> bool:
        """Open repositories carry git's own mark; the others want the token, as any user's password or as bearer."""
        if os.path.exists(os.path.join(ROOT, repository, OPEN_MARK)):
            return True
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        sent = value.encode()
        if kind.lower() == "basic":
            sent = base64.b64decode(value).partition(b":")[2]
        with open(TOKEN_FILE, "rb") as file:
            return hmac.compare_digest(sent, file.read().strip())


ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
