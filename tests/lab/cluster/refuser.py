"""An admission webhook that refuses whatever it is asked, as a cluster's own rules may.

Owns one port inside and what is said there; must not know who has it asked.
"""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 9443
NAME = "refuser.pifleet.invalid"
SAID = "the lab's webhook refuses this"
EVERYTHING = {
    "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"],
}


def registration(authority: bytes, rule: dict[str, list[str]]) -> dict[str, Any]:
    """What makes an API server that this authority's certificates belong to ask here about what the rule names."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [{
            "name": NAME, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "rules": [{**EVERYTHING, **rule}],
            "clientConfig": {
                "url": f"https://127.0.0.1:{PORT}/", "caBundle": base64.b64encode(authority).decode(),
            },
        }],
    }


class Refuser(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        response = {"uid": asked["request"]["uid"], "allowed": False, "status": {"code": 403, "message": SAID}}
        answer = json.dumps({"apiVersion": asked["apiVersion"], "kind": asked["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def main(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "keys" / "apiserver.pem")
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Refuser)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
