"""Owns what the egress proxy of a host is: squid's and nginx's configuration, the kernel's rules, services, sockets.
It must not know containers or how the host's own clients were found out about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from pifleet import content
from pifleet import fleet as names
from pifleet.desired import gateway
from pifleet.egress import NEVER4, NEVER6, PRIVATE4, PRIVATE6, Destination, of_clients, smallest
from pifleet.fleet import Proxy, Sandbox
from pifleet.render import render

PART = "egress_proxy"
PROXY = "pifleet-egress-proxy"
FRONT = "pifleet-egress"
FOLDER = names.ETC / "egress"
LOG = names.ROOT / "egress"
HEALTH = "http://pifleet.invalid/health"
LOGIN = "egress:proxy_auth"
# Below 1024, so that nobody else on the host can listen there while squid does not (Linux, ip_unprivileged_port_start).
PORT = 820
CONNECTIONS = 256
# A DSCP without a name of its own; squid takes the whole octet, in which it stands four times as high.
PRIVATE_DSCP = 0x15
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
PACKAGES = (
    {"name": "squid", "command": "squid"},
    {"name": "nftables", "command": "nft"},
    {"name": "libnginx-mod-stream", "command": STREAM_MODULE},
)
PAGES = ("ERR_PIFLEET_HEALTH", "ERR_PIFLEET_REFUSED")
Clients = Mapping[str, Mapping[str, Any]]
NOT_SEEN: Clients = {}


def packages() -> list[dict[str, Any]]:
    return [{**package, "part": PART} for package in PACKAGES]


def users(fleet: str) -> list[dict[str, Any]]:
    """Who listens on the egress sockets, and whom squid runs as."""
    own = ((names.EGRESS_USER, names.EGRESS_UID), (names.PROXY_USER, names.PROXY_UID))
    return [{"name": name, "uid": uid, "gecos": names.gecos(fleet), "system": True} for name, uid in own]


def dirs() -> list[dict[str, Any]]:
    """Folders of configuration, and the one in which squid's user may write: its log."""

    def one(path: object, mode: str, uid: int = 0) -> dict[str, Any]:
        return {"path": str(path), "mode": mode, "uid": uid, "gid": uid, "part": "developers", "sandbox": ""}

    return [one(FOLDER, "0755"), one(FOLDER / "pages", "0755"), one(keys(), "0700"), one(LOG, "0750", names.PROXY_UID)]


def keys() -> str:
    """The folder of the file that holds the login of the proxy on the way out."""
    return str(FOLDER / "keys")


def secrets(proxy: Proxy | None) -> list[dict[str, Any]]:
    """The login of the proxy on the way out, where it wants one."""
    if not (proxy and proxy.auth):
        return []
    return [{"path": f"{keys()}/proxy.login", "mode": "0600", "template": gateway.LOGIN, "secret": LOGIN, "part": PART}]


def files(sandboxes: Sequence[Sandbox], clients: Clients, proxy: Proxy | None = None) -> list[dict[str, Any]]:
    """Programs and configuration; `proxy` is the one on the host's own way out."""

    def one(path: object, text: str, mode: str = "0644") -> dict[str, Any]:
        return {"path": str(path), "content": text, "mode": mode, "part": PART, "sandbox": "", "in_place": False}

    return [
        *(one(names.PROGRAMS / name, content.role_file(PART, name), "0755") for name in (PART, "egress_log")),
        *(one(FOLDER / "pages" / name, content.role_file(PART, name)) for name in PAGES),
        one(FOLDER / "squid.conf", squid_conf(sandboxes, clients, proxy)),
        one(FOLDER / "front.conf", front_conf(sandboxes)),
        one(FOLDER / "rules.nft", _rules(sandboxes, clients, proxy)),
        one(FOLDER / "parent", f"{_parent(proxy)}{' login' if proxy and proxy.auth else ''}\n"),
    ]


def squid_conf(
    sandboxes: Sequence[Sandbox], clients: Clients, proxy: Proxy | None = None, port: int = PORT
) -> str:
    """squid's whole configuration; it answers health questions with its own hash, and listens on this port."""
    return _squid(sandboxes, clients, proxy, port, config_id(sandboxes, clients, proxy, port))


def front_conf(sandboxes: Sequence[Sandbox], port: int = PORT) -> str:
    """The configuration of the nginx that leads each sandbox's socket to squid, from an address of its own."""
    described = [{"socket": str(box.egress_socket), "address": box.egress_address} for box in sandboxes]
    return render(f"{PART}/templates/front.conf.j2", module=STREAM_MODULE, user=names.EGRESS_USER, port=port,
                  sandboxes=described)


def config_id(
    sandboxes: Sequence[Sandbox], clients: Clients, proxy: Proxy | None = None, port: int = PORT
) -> str:
    """16 hex digits over squid's configuration without them; squid says them when it is asked for its health."""
    return names.digest(_squid(sandboxes, clients, proxy, port, ""))[:16]


def services() -> list[dict[str, Any]]:
    """squid under the program that keeps the kernel's rules in force, then nginx, which leads to it."""
    front = [str(names.PROGRAMS / "gateway"), str(FOLDER / "front.conf")]
    # A changed program is a changed service: it has to be started anew, not told to read its files again.
    proxy = [str(names.PROGRAMS / PART), f"--of={names.digest(content.role_file(PART, PART))[:12]}"]
    return [
        {"name": PROXY, "argv": proxy, "user": "", "reload": "HUP", "part": PART},
        {"name": FRONT, "argv": front, "user": "", "reload": "HUP", "part": PART},
    ]


def sockets(sandboxes: Sequence[Sandbox], clients: Clients, proxy: Proxy | None = None) -> list[dict[str, Any]]:
    """Where squid must answer: with the configuration that runs, and the address from which it sees the sandbox."""
    config = config_id(sandboxes, clients, proxy)
    return [
        {"path": str(box.egress_socket), "sandbox": box.title, "item": "egress socket", "part": PART, "ask": HEALTH,
         "status": 403, "answer": f"pifleet-{config} {box.egress_address}"}
        for box in sandboxes
    ]


def filters() -> list[dict[str, Any]]:
    """The kernel's rules, by the file that says them."""
    return [{"rules": str(FOLDER / "rules.nft"), "part": PART}]


def reach(box: Sandbox, clients: Clients) -> tuple[Destination, ...]:
    """Everything that a sandbox may reach on a host whose clients were seen as `clients`."""
    return smallest([*box.egress, *of_clients(clients[name] for name in box.egress_sets if name in clients)])


def _parent(proxy: Proxy | None) -> str:
    """HOST:PORT of the proxy on the way out, or nothing."""
    return urlsplit(proxy.url).netloc if proxy else ""


def _squid(sandboxes: Sequence[Sandbox], clients: Clients, proxy: Proxy | None, port: int, config: str) -> str:
    described: list[dict[str, Any]] = [
        {"id": box.id, "title": box.title, "address": box.egress_address, "groups": _groups(reach(box, clients))}
        for box in sandboxes
    ]
    return render(
        f"{PART}/templates/squid.conf.j2", config_id=config, port=port, folder=str(LOG), pages=str(FOLDER / "pages"),
        log_program=str(names.PROGRAMS / "egress_log"), connections=CONNECTIONS, sandboxes=described,
        never=[*NEVER4, *NEVER6], private=[*PRIVATE4, *PRIVATE6], private_tos=hex(PRIVATE_DSCP << 2),
        ports=sorted({group["port"] for box in described for group in box["groups"]}), parent=_parent(proxy),
        parent_conf="/run/pifleet/parent.conf",
    )


def _groups(destinations: Sequence[Destination]) -> list[dict[str, Any]]:
    """The names that are allowed in the same way."""

    def way(one: Destination) -> tuple[int, bool, bool]:
        return one.port, one.plain, one.private

    ordered = groupby(sorted(destinations, key=way), way)
    return [
        {"number": number, "port": port, "plain": plain, "private": private, "names": [one.name for one in members]}
        for number, ((port, plain, private), members) in enumerate(ordered)
    ]


def _rules(sandboxes: Sequence[Sandbox], clients: Clients, proxy: Proxy | None) -> str:
    every = [one for box in sandboxes for one in reach(box, clients)]
    return render(
        f"{PART}/templates/rules.nft.j2", resolvers="/run/pifleet/resolvers.nft", port=PORT,
        egress_uid=names.EGRESS_UID, proxy_uid=names.PROXY_UID,
        private4=PRIVATE4, private6=PRIVATE6, never4=NEVER4, never6=NEVER6,
        private_dscp=hex(PRIVATE_DSCP), private_ports=sorted({one.port for one in every if one.private}),
        # Where there is a proxy on the way, only what is private is reached without it.
        ports=[] if proxy else sorted({one.port for one in every}),
        parent_port=urlsplit(proxy.url).port if proxy else 0,
    )
