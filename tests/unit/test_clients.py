"""What a host's own pip, npm and apt are configured for, as the probe reads it from their files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hostside import load


@pytest.fixture
def clients(tmp_path: Path) -> Any:
    """The module with every place that it looks at below `tmp_path`."""
    module = load("clients")
    for name in ("PIP", "NPM", "PIP_FILES", "NPM_FILES", "APT_FILES"):
        setattr(module, name, tuple(f"{tmp_path}{place}" for place in getattr(module, name)))
    own = module._text
    module._text = lambda path: own(path if path.startswith(str(tmp_path)) else f"{tmp_path}{path}")
    return module


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def write(path: str, text: str) -> None:
        place = Path(f"{tmp_path}{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    return write


@pytest.fixture
def registry() -> Iterator[str]:
    """An index and a registry in one, whose files lie elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tarball = json.dumps({"dist": {"tarball": "https://tarballs.lan:444/npm/-/npm-1.tgz"}})
            page = '<a href="../../x.whl">x</a><a href="https://files.lan/p/pip-1.whl#sha256=0">1</a><a name="y">'
            said = {"/simple/pip/": page, "/npm/latest": tarball}.get(self.path, "")
            self.send_response(200 if said else 404)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_host_without_client_and_configuration_says_so(clients: Any) -> None:
    assert [clients.look(name)["why"].split(" says")[0] for name in ("pip", "npm", "apt")] == [
        f"neither {name} nor its configuration on the host" for name in ("pip", "npm", "apt")]


def test_the_configured_index_counts_with_its_extra_ones_and_where_their_files_lie(
    clients: Any, put: Any, registry: str
) -> None:
    put("/etc/pip.conf", f"[global]\nindex-url = {registry}/simple/\nextra-index-url =\n  {registry}/simple\n")

    assert clients.look("pip") == {
        "urls": [f"{registry}/simple/", f"{registry}/simple"], "files": ["https://files.lan"], "why": ""}


def test_the_later_file_and_then_the_environment_of_every_login_win(clients: Any, put: Any) -> None:
    put("/etc/pip.conf", "[global]\nindex-url = https://one.lan/s\n")
    put("/root/.config/pip/pip.conf", "[install]\nindex-url = https://two.lan/s\n")
    assert clients._pip() == ["https://two.lan/s"]

    put("/etc/environment", 'PIP_INDEX_URL="https://three.lan/s"\n')
    assert clients._pip() == ["https://three.lan/s"]


def test_without_configuration_the_clients_own_defaults_count(clients: Any, put: Any) -> None:
    put("/usr/lib/python3/dist-packages/pip/_internal/models/index.py",
        'PyPI = PackageIndex(\n    "https://index.lan/", file_storage_domain="files.lan"\n)\n')
    put("/usr/share/nodejs/npm/node_modules/@npmcli/config/lib/definitions/definitions.js",
        "  registry: new Definition('registry', {\n    default: 'https://registry.lan/',\n    type: url,\n")

    assert clients._pip() == ["https://index.lan/simple"]
    assert clients._npm() == ["https://registry.lan/"]


def test_npms_registry_and_where_its_tarballs_lie(clients: Any, put: Any, registry: str) -> None:
    put("/etc/npmrc", f"; a comment\nregistry = {registry}/\n//127.0.0.1/:_authToken=secret\n")

    assert clients.look("npm") == {"urls": [f"{registry}/"], "files": ["https://tarballs.lan:444"], "why": ""}


def test_an_index_that_does_not_answer_is_named(clients: Any, put: Any) -> None:
    put("/etc/npmrc", "registry=http://127.0.0.1:1/\n")

    found = clients.look("npm")

    assert found["urls"] == ["http://127.0.0.1:1/"]
    assert found["why"].startswith("http://127.0.0.1:1/ does not answer: ")


def test_no_user_or_password_of_an_address_is_told(clients: Any, put: Any) -> None:
    put("/etc/pip.conf", "[global]\nindex-url = http://ana:geheim@127.0.0.1:1/simple?token=geheim\n")

    assert "geheim" not in str(clients.look("pip"))


def test_apts_sources_in_both_forms(clients: Any, put: Any) -> None:
    put("/etc/apt/sources.list",
        "# deb http://no.lan/ x main\ndeb [arch=amd64 signed-by=/k] http://a.lan/debian x main\n")
    put("/etc/apt/sources.list.d/x.list", "deb-src https://b.lan:8443/d x main\ndeb cdrom:[x]/ x main\n")
    put("/etc/apt/sources.list.d/y.sources",
        "Types: deb\nURIs: http://c.lan/d\n https://d.lan/e\nSuites: x\n\nTypes: deb\nEnabled: no\nURIs: http://e.lan/\n")
    put("/etc/apt/sources.list.d/z.sources.disabled", "Types: deb\nURIs: http://f.lan/\n")

    assert clients.look("apt") == {
        "urls": ["http://a.lan/debian", "https://b.lan:8443/d", "http://c.lan/d", "https://d.lan/e"], "files": [],
        "why": ""}
