"""The test double's `openshell-gateway`: serves until it is told to end.

Owns start and end; must not know calls.
"""

import asyncio
import logging
import signal
import sys

import grpc

from . import health, policies, settings
from .command import run
from .config import Config
from .engine import Engine
from .inference import Inference
from .lifecycle import Lifecycle
from .orders import Orders
from .protocol import MESSAGE_BYTES, VERSION, data, grpc_inference, grpc_openshell
from .service import Service, answering
from .state import State, log, supervisor_binary
from .store import Store
from .supervisors import Supervisors
from .vault import Vault

# The command pings more often than this library would stand by itself.
OPTIONS = {"grpc.max_receive_message_length": 4 * MESSAGE_BYTES + 4096, "grpc.max_send_message_length": -1,
           "grpc.so_reuseport": 0, "grpc.keepalive_permit_without_calls": 1, "grpc.http2.max_ping_strikes": 0}


async def serve(config: Config) -> None:
    engine = Engine(str(config.docker.get("socket_path") or "/var/run/docker.sock"))
    store = Store(config.database, policies.SCHEMA, settings.SCHEMA)
    state = State(config, store, engine, Supervisors(config.state / "double-run"), supervisor_binary(config))
    if state.store.named(data.Workspace, "", "default") is None:
        workspace = data.Workspace(metadata=data.ObjectMeta(name="default"))
        workspace.status.phase = data.WORKSPACE_PHASE_ACTIVE
        state.store.add(workspace, "workspace 'default'")
    lifecycle = Lifecycle(state)
    callback = await callback_listener(await lifecycle.network(), config.port)
    server = grpc.aio.server(options=list(OPTIONS.items()))
    vault = Vault(config.database.parent / "credentials" / "key-encryption-key.bin")
    service = Service(state, lifecycle, vault)
    inference = Inference(state, service)
    orders = Orders(state, service, inference)
    lifecycle.introduce = orders.begin
    grpc_openshell.add_OpenShellServicer_to_server(answering(service), server)
    grpc_inference.add_InferenceServicer_to_server(answering(inference), server)
    # Before anybody watches or asks: what ended while no gateway was here is no Error, and not Ready yet.
    await lifecycle.resume()
    listen(server, config)
    await server.start()
    if config.health:
        health.serve(config.health, health.healthy(state.store.path))
    if config.metrics:
        health.serve(config.metrics, {"/metrics": health.metrics})
    log.info("Server listening address=%s:%d version=%s (test double)", config.host, config.port, VERSION)
    state.background(lifecycle.watch())
    state.background(orders.keep())
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    log.info("Shutting down")
    callback.close()
    await lifecycle.halt()
    await server.stop(1)


async def callback_listener(host: str, port: int) -> asyncio.Server:
    """A real gateway listens for its supervisors on the bridge's address too, at the same port: so does this one, to be
    in the way of the same neighbours. Its own supervisors do not call."""
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
    try:
        return await asyncio.start_server(hang_up, host, port)
    except OSError as error:
        raise SystemExit(f"Error:   x failed to bind {host}:{port}: {error}") from error


def listen(server: grpc.aio.Server, config: Config) -> None:
    place = f"{config.host}:{config.port}"
    try:
        if config.tls:
            certificate, key, clients = (path.read_bytes() for path in config.tls)
            server.add_secure_port(place, grpc.ssl_server_credentials(
                [(key, certificate)], root_certificates=clients, require_client_auth=True))
        else:
            server.add_insecure_port(place)
    except (RuntimeError, OSError) as error:
        raise SystemExit(f"Error:   x failed to bind {place}: {error}") from error


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO,
                        format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    wanted = run(sys.argv[1:])
    if isinstance(wanted, str):
        log.info(wanted)
        return
    asyncio.run(serve(wanted))


if __name__ == "__main__":
    main()
