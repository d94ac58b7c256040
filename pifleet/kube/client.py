"""Owns the way to a cluster's API server: a kubeconfig's address and credentials, requests, errors in our words.
It must not know what is asked, or any kind of object."""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

from pifleet.errors import HostFailed
from pifleet.fleet import Host

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

Json = dict[str, Any]

MANAGER = "pifleet"
CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
PAGE = 500
JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"  # JSON is YAML
# The client library keeps the files that it makes of a kubeconfig by their content, for the whole process.
_LOADING = threading.Lock()
# The API server's own words (k8s.io/apiserver, "forbidden" of the authorization filter).
_MAY_NOT = re.compile(r'cannot (\w+) resource "([^"]+)".*?(?:in the namespace "([^"]+)"|at the cluster scope)')


class ApiRefused(HostFailed):
    """The API server's answer was an error: its HTTP status `code` and Kubernetes' `reason` ("Conflict")."""

    def __init__(self, headline: str, *, code: int, reason: str = "", **facts: Any) -> None:
        super().__init__(headline, **facts)
        self.code, self.reason = code, reason


class Api:
    """The API server of one cluster; connects at first use, a context manager that closes. Safe for several threads.

    Then `tls` is how, and `authorities` the PEM text of those whom the kubeconfig trusts for it, or empty.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.tls: ssl.SSLContext | None = None
        self.authorities = ""
        self._client: ApiClient | None = None
        self._opening = threading.Lock()
        self._skew = timedelta()

    def get(self, path: str, **query: str) -> Json | None:
        """The object at a path, None where there is none. Raises HostFailed."""
        try:
            return self.request("GET", path, query=query)
        except ApiRefused as error:
            if error.code == 404:
                return None
            raise

    def listed(self, path: str, **query: str) -> Iterator[Json]:
        """Every object of a list, page by page. Raises HostFailed."""
        more = ""
        while True:
            asked = {**query, "limit": str(PAGE), **({"continue": more} if more else {})}
            page = self.request("GET", path, query=asked)
            yield from page.get("items") or ()
            more = (page.get("metadata") or {}).get("continue") or ""
            if not more:
                return

    def apply(self, path: str, body: Mapping[str, Any], *, dry: bool = False) -> Json:
        """Server-side apply of what pifleet owns of an object, answering all of it. Raises HostFailed."""
        query = {"fieldManager": MANAGER, "force": "true", **({"dryRun": "All"} if dry else {})}
        return self.request("PATCH", path, body, query=query, content=APPLY)

    def delete(self, path: str, **query: str) -> bool:
        """Whether there was an object to delete. Raises HostFailed."""
        try:
            self.request("DELETE", path, query=query)
        except ApiRefused as error:
            if error.code == 404:
                return False
            raise
        return True

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *,
        query: Mapping[str, str] | None = None, content: str = JSON,
    ) -> Json:
        """The answer to any request, as JSON. Raises HostFailed, as ApiRefused where the server answered with one."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        client = self._opened()
        headers = {"Accept": JSON, "User-Agent": MANAGER, **self.authorization()}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), content
        try:
            answer = client.rest_client.pool_manager.request(
                method, self.url(path, query), body=data, headers=headers,
                timeout=Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS),
            )
        except (OSError, HTTPError) as error:
            raise self.unreachable(error) from None
        with suppress(TypeError, ValueError, KeyError):
            self._skew = parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)
        if answer.status >= 300:
            raise self.refused(answer.status, answer.data)
        try:
            return dict(json.loads(answer.data))
        except (ValueError, TypeError):
            raise self._failed("its API server's answer is no JSON object") from None

    def now(self) -> datetime:
        """The time by the API server's clock, which all who speak to it share; right to a second or two."""
        return datetime.now(UTC) + self._skew

    def configuration(self) -> Configuration:
        """What the kubeconfig says of the server and the way to it. Raises HostFailed."""
        configuration: Configuration = self._opened().configuration
        return configuration

    def url(self, path: str, query: Mapping[str, str] | Sequence[tuple[str, str]] | None = None) -> str:
        return f"{self.configuration().host}{path}" + (f"?{urlencode(query)}" if query else "")

    def authorization(self) -> dict[str, str]:
        """The header of whoever asks, renewed where the kubeconfig's program gives new ones; none for certificates."""
        said = self.configuration().get_api_key_with_prefix("BearerToken")
        return {"Authorization": said} if said else {}

    def refused(self, code: int, body: bytes) -> ApiRefused:
        """What an answer that is an error says, in our words."""
        try:
            status = json.loads(body)
            said, reason = str(status["message"]), str(status.get("reason", ""))
        except (ValueError, TypeError, KeyError):
            said, reason = body[:300].decode(errors="replace").strip() or f"HTTP status {code}", ""
        if code == 401:
            return ApiRefused(f"{self.host.name}: its API server does not take our credentials", code=code,
                              reason=reason, unreachable=True, saw=self._token_age() or said, where=self._where(),
                              try_="log in to the cluster again, or renew the kubeconfig")
        if code == 403 and (found := _MAY_NOT.search(said)):
            verb, resource, namespace = found.groups()
            place = f"namespace {namespace}" if namespace else "the whole cluster"
            return ApiRefused(f"{self.host.name}: no right to {verb} {resource} in {place}", code=code, reason=reason,
                              saw=said, where=self._where(), try_=f"pifleet doctor --limit {self.host.name}")
        return ApiRefused(f"{self.host.name}: its API server refused ({code} {reason})".replace(" )", ")"), code=code,
                          reason=reason, saw=said, where=self._where())

    def unreachable(self, error: BaseException) -> HostFailed:
        """What to raise where no answer came."""
        reason = getattr(error, "reason", None) or error
        return self._failed(f"its API server at {self.configuration().host} cannot be reached", saw=str(reason)[:300],
                            try_=f"pifleet doctor --limit {self.host.name}")

    def close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> ApiClient:
        with self._opening:
            if self._client is None:
                self._client, self.tls = self._open()
            return self._client

    def _open(self) -> tuple[ApiClient, ssl.SSLContext]:
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config import ConfigException, load_kube_config

        assert self.host.cluster
        wanted = self.host.cluster
        configuration = Configuration()
        # Keys that stand in a kubeconfig become files for as long as TLS needs to read them.
        with _LOADING, TemporaryDirectory() as folder:
            try:
                load_kube_config(wanted.kubeconfig or None, wanted.context or None, configuration,
                                 temp_file_path=folder)
                tls = _tls(configuration)
                if configuration.ssl_ca_cert:
                    self.authorities = Path(configuration.ssl_ca_cert).read_text(encoding="utf-8")
            except (ConfigException, OSError, ValueError, TypeError) as error:
                raise self._unusable(error) from None
        client = ApiClient(configuration)
        pool = client.rest_client.pool_manager
        for name in ("ca_certs", "cert_file", "key_file", "ca_cert_data"):
            pool.connection_pool_kw.pop(name, None)
        pool.connection_pool_kw["ssl_context"] = tls
        return client, tls

    def _unusable(self, error: Exception) -> HostFailed:
        wanted = self.host.cluster
        assert wanted
        file = wanted.kubeconfig or "the default kubeconfig"
        there = _contexts(wanted.kubeconfig)
        if wanted.context and there and wanted.context not in there:
            return self._failed(f"{file} has no context {wanted.context}", saw=f"it has {', '.join(there)}",
                                try_="correct pifleet_kube_context")
        return self._failed(f"{file} cannot be used", saw=str(error), try_="kubectl config view")

    def _failed(self, what: str, saw: str = "", try_: str = "") -> HostFailed:
        return HostFailed(f"{self.host.name}: {what}", saw=saw, where=self._where(), try_=try_, unreachable=True)

    def _where(self) -> str:
        context = self.host.cluster.context if self.host.cluster else ""
        return f"inventory: hosts > {self.host.name} (context {context or 'of the kubeconfig'})"

    def _token_age(self) -> str:
        """That the token is too old, where it is a web token that says so (RFC 7519, "exp")."""
        try:
            part = self.authorization()["Authorization"].split(".")[1]
            ends = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"]
            since = datetime.fromtimestamp(ends, UTC)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError):
            return ""
        return f"its token expired at {since:%Y-%m-%d %H:%M:%S} UTC" if since < self.now() else ""


def path(group: str, resource: str, namespace: str = "", *rest: str) -> str:
    """The path of an API resource: `group` is "v1" or "apps/v1", `rest` a name and a subresource of it."""
    root = "/api" if group == "v1" else "/apis"
    words = [*(("namespaces", namespace) if namespace else ()), resource, *rest]
    return "/".join([root, group, *(quote(word, safe="") for word in words)])


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _contexts(kubeconfig: str) -> list[str]:
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

    try:
        found = KubeConfigMerger(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION).config
        return [str(one["name"]) for one in found.value["contexts"]] if found else []
    except (ConfigException, OSError, KeyError, TypeError):
        return []
