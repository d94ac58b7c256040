"""Owns what the model gateway costs: time to the first byte against a direct connection, and many streams at once.
It must not know what is in a stream."""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from pifleet.fleet import Limits, Model
from pifleet.secret import SecretSource
from tests.bench.place import Failed
from tests.bench.table import Row, worst
from tests.gateway.place import Place, place, usable
from tests.unit.fleets import box

RUNS, AT_ONCE = 15, 10
STREAMS, CHUNKS, EVERY = 100, 200, 0.05
MOST_ADDED_MS = 5.0
KEY = SecretSource("env", "KEY")
MANY = Limits(requests_at_once=1000, requests_per_minute=100_000)
Opener = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def first_byte() -> Iterator[Row]:
    """10 streams at a time, through the gateway and directly in turn, each on a connection of its own."""
    with _running() as (here, direct):
        for scheme in ("http", "https"):
            through = _through(here, f"/{scheme}/v1/messages")
            added = [asyncio.run(_turn(through, direct[scheme])) for _ in range(RUNS)]
            yield Row(f"added to the first byte, {AT_ONCE} streams, {scheme}", "ms", statistics.median(added), None,
                      statistics.median(added), MOST_ADDED_MS, added)


def streams() -> Iterator[Row]:
    """100 streams of 20 chunks a second for 10 s: none cut; what they cost the gateway's worker."""
    with _running() as (here, _):
        assert here.nginx
        worker = int(Path(f"/proc/{here.nginx.pid}/task/{here.nginx.pid}/children").read_text().split()[0])
        before, started = _cpu(worker), time.monotonic()
        broken, memory = asyncio.run(_many(_through(here, "/https/v1/messages"), worker))
        spent, seconds = _cpu(worker) - before, time.monotonic() - started
        yield worst(f"streams cut of {STREAMS}, https", "", [float(broken)], 0)
        yield Row("CPU for a stream and second", "ms", 1000 * spent / STREAMS / seconds, None, 0, None)
        yield Row(f"memory of the worker with {STREAMS} streams", "B", memory, None, 0, None)


class _running:
    """The gateway before two providers; gives it and how each is reached directly, by scheme."""

    def __enter__(self) -> tuple[Place, dict[str, Opener]]:
        if not usable():
            raise Failed("nginx and root are needed")
        self._place = place()
        here = self._place.__enter__()
        certificate = here.certificate("llm")
        authorities = certificate.with_suffix(".crt")
        ports = {"http": here.upstream().port, "https": here.upstream(certificate).port}
        models = [
            Model(scheme, "anthropic-messages", f"{scheme}://localhost:{port}", KEY, ("m",),
                  ca=authorities.read_text() if scheme == "https" else "")
            for scheme, port in ports.items()
        ]
        here.configure(models, [box(model="http", other_models=("https",), limits=MANY)])
        for model in models:
            here.key(model, "key")
        here.start()
        context = ssl.create_default_context(cafile=str(authorities))
        return here, {
            "http": lambda: asyncio.open_connection("127.0.0.1", ports["http"]),
            "https": lambda: asyncio.open_connection("127.0.0.1", ports["https"], ssl=context,
                                                     server_hostname="localhost"),
        }

    def __exit__(self, *raised: object) -> None:
        self._place.__exit__(None, None, None)


def _through(here: Place, path: str) -> tuple[str, Opener]:
    socket = str(here.boxes[0].model_socket)
    return path, lambda: asyncio.open_unix_connection(socket)


async def _turn(through: tuple[str, Opener], direct: Opener) -> float:
    """Milliseconds by which the median first byte comes later through the gateway than directly."""
    medians = []
    for path, opener in (through, ("/v1/messages", direct)):
        times = await asyncio.gather(*(_first(path, opener) for _ in range(AT_ONCE)))
        medians.append(statistics.median(times))
    return 1000 * (medians[0] - medians[1])


async def _first(path: str, opener: Opener) -> float:
    started = time.perf_counter()
    reader, writer = await _asked(path, opener, b'{"chunks": 3, "every": 0.01}')
    await reader.readuntil(b"data: ")
    took = time.perf_counter() - started
    await reader.read()
    writer.close()
    return took


async def _asked(
    path: str, opener: Opener, body: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await opener()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return reader, writer


async def _many(through: tuple[str, Opener], worker: int) -> tuple[int, int]:
    """How many of the streams did not come whole, and the worker's resident bytes while they ran."""
    body = b'{"chunks": %d, "every": %g}' % (CHUNKS, EVERY)

    async def whole() -> bool:
        reader, writer = await _asked(*through, body)
        said = await reader.read(1 << 22)
        while chunk := await reader.read(1 << 22):
            said += chunk
        writer.close()
        return said.count(b"data: ") == CHUNKS and said.endswith(b"0\r\n\r\n")

    running = asyncio.gather(*(whole() for _ in range(STREAMS)))
    await asyncio.sleep(CHUNKS * EVERY / 2)
    resident = int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (await running).count(False), resident


def _cpu(pid: int) -> float:
    """CPU seconds of a process so far (proc_pid_stat(5): utime, stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
