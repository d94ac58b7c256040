"""Requests to an API server, and what a person reads when there is no good answer."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from pifleet.errors import HostFailed
from pifleet.fleet import Cluster, Host
from pifleet.kube.client import Api, ApiRefused, path


class Server(BaseHTTPRequestHandler):
    """Answers what `answers` has for METHOD PATH, and keeps what it was asked."""

    def do_GET(self):
        size = int(self.headers.get("Content-Length") or 0)
        self.server.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(size)))
        code, body = self.server.answers.pop(0)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PATCH = do_DELETE = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.answers, server.asked = [], []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def api(tmp_path, server):
    def of(context="lab", user=None, port=server.server_port):
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": user or {}}],
            "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("lab", "prod")],
        }))
        return Api(Host("prod", ("pifleet_clusters",), cluster=Cluster("pi", context, str(file))))
    return of


def status(code, message, reason=""):
    return code, {"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason}


def trouble_of(call, *args):
    with pytest.raises(HostFailed) as caught:
        call(*args)
    return caught.value.trouble


PODS = path("v1", "pods", "pi-ana")


def test_a_context_that_is_not_there_is_told_with_those_that_are(api):
    trouble = trouble_of(api("staging").get, PODS)

    assert trouble.headline.endswith("/kubeconfig has no context staging")
    assert trouble.saw == "it has lab, prod"


def test_a_kubeconfig_that_is_not_there_is_told(tmp_path):
    host = Host("prod", ("pifleet_clusters",), cluster=Cluster("pi", "", str(tmp_path / "none")))

    assert trouble_of(Api(host).get, PODS).headline == f"prod: {tmp_path}/none cannot be used"


def test_a_server_that_does_not_answer_is_unreachable(api):
    with pytest.raises(HostFailed) as caught:
        api(port=1).get(PODS)

    assert caught.value.unreachable
    assert "http://127.0.0.1:1 cannot be reached" in caught.value.trouble.headline
    assert "refused" in caught.value.trouble.saw


def test_a_missing_right_is_told_by_verb_resource_and_place(api, server):
    server.answers.append(status(403, 'pods "x" is forbidden: User "ana" cannot create resource "pods/exec" in API '
                                      'group "" in the namespace "pi-bo"', "Forbidden"))

    trouble = trouble_of(api().get, PODS)

    assert trouble.headline == "prod: no right to create pods/exec in namespace pi-bo"
    assert 'User "ana"' in trouble.saw


def test_credentials_that_are_not_taken_say_when_their_token_ended(api, server):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1700000000}).encode()).decode().rstrip("=")
    server.answers += [status(401, "Unauthorized", "Unauthorized")] * 2

    old = trouble_of(api(user={"token": f"e30.{claims}.c2ln"}).get, PODS)
    other = trouble_of(api(user={"token": "opaque"}).get, PODS)

    assert old.saw == "its token expired at 2023-11-14 22:13:20 UTC"
    assert (other.headline, other.saw) == ("prod: its API server does not take our credentials", "Unauthorized")
    assert server.asked[1][2]["Authorization"] == "Bearer opaque"


def test_a_refusal_keeps_its_code_and_the_servers_words(api, server):
    server.answers.append(status(409, "the object has been modified", "Conflict"))

    with pytest.raises(ApiRefused) as caught:
        api().apply(PODS, {})

    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    assert caught.value.trouble.saw == "the object has been modified"


def test_an_answer_that_is_no_object_is_a_failure_of_the_host(api, server):
    server.answers.append((200, b"<html>a portal that wants a login</html>"))

    assert trouble_of(api().get, PODS).headline == "prod: its API server's answer is no JSON object"


def test_what_is_not_there_is_none_and_deleting_it_is_no_failure(api, server):
    server.answers += [status(404, "not found", "NotFound")] * 2

    assert api().get(PODS) is None
    assert not api().delete(PODS)


def test_a_list_comes_whole_in_pages(api, server):
    server.answers += [(200, {"items": [{"n": 1}, {"n": 2}], "metadata": {"continue": "more/="}}),
                       (200, {"items": [{"n": 3}], "metadata": {}})]

    assert [item["n"] for item in api().listed(PODS, labelSelector="a=b")] == [1, 2, 3]
    assert server.asked[1][1].endswith("labelSelector=a%3Db&limit=500&continue=more%2F%3D")


def test_apply_owns_its_fields_by_one_name(api, server):
    server.answers.append((200, {"kind": "Pod"}))

    api().apply(path("apps/v1", "statefulsets", "pi-ana", "pi-ana-main"), {"kind": "StatefulSet"}, dry=True)

    method, at, headers, body = server.asked[0]
    assert (method, body) == ("PATCH", b'{"kind": "StatefulSet"}')
    assert at == ("/apis/apps/v1/namespaces/pi-ana/statefulsets/pi-ana-main"
                  "?fieldManager=pifleet&force=true&dryRun=All")
    assert headers["Content-Type"] == "application/apply-patch+yaml"
