"""What the test double's gateway may ask of a supervisor: begin, spawn, attach, connect, stop.

Owns the main process and who is attached to it; must not know gRPC or ssh.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable
from typing import Any

from . import kernel, network
from .link import DATA, EOF, ERR, EXIT, FAIL, OUT, RESIZE, ask, copy, receive, say, send
from .processes import Process, Processes, resize
from .proxy import Proxy
from .trust import Trust

STOP_SECONDS = 10.0
REPLAY = 256 * 1024
KEPT_LINES = 1000
PATH = "/usr/local/bin:/usr/bin:/bin"
READ_ONLY = ("/usr", "/lib", "/etc", "/app", "/var/log", "/proc", "/dev/urandom")
READ_WRITE = ("/tmp",)
URL, LOCAL = f"http://{network.PROXY}:{network.PORT}", "127.0.0.1,localhost,::1"
PROXIES = {
    **{name: URL for word in ("http", "https", "all") for name in (f"{word}_proxy", f"{word.upper()}_PROXY")},
    "grpc_proxy": URL, "NO_PROXY": LOCAL, "no_proxy": LOCAL, "NODE_USE_ENV_PROXY": "1",
}


class Requests:
    """One sandbox's life: it begins when the gateway first speaks, and ends with its main process."""

    def __init__(self, processes: Processes, main: dict[str, Any], print_: Callable[[str, str], None]) -> None:
        self.processes, self.main_spec, self.print = processes, main, print_
        self.lines: deque[tuple[int, str, str]] = deque(maxlen=KEPT_LINES)
        self.count, self.news = 0, asyncio.Event()
        self.proxy = Proxy(processes.network, self.log, Trust())
        self.main_ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.main: Process | None = None
        self.begun = asyncio.Event()
        self.said, self.attached = bytearray(), set[asyncio.StreamWriter]()
        self.env: dict[str, str] = {}
        self.keep: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await ask(reader)
            await getattr(self, f"do_{request.pop('do')}")(reader, writer, **request)
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()

    # The gateway's word

    async def do_hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Which paths every sandbox gets besides those of its policy: the baseline, as far as the image has it."""
        await say(writer, {"read_only": [path for path in READ_ONLY if os.path.exists(path)],
                           "read_write": [path for path in READ_WRITE if os.path.exists(path)]})

    async def do_begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                       orders: dict[str, Any]) -> None:
        """Take orders; the first time, start the main process under them. Files' rules are then fixed for good."""
        self.proxy.trust.take(orders["tls"])
        self.proxy.orders = orders
        self.env = orders["env"]
        if self.main is None:
            files = orders["files"]
            own = [self.processes.who.home] if files["workdir"] else []
            try:
                self.processes.rules = kernel.ruleset(files["read_only"], [*files["read_write"], *own])
            except OSError as error:
                self.log("WARN", f"Landlock is not enforced: {error}")
            try:
                self.start_main()
            except OSError as error:
                self.log("ERROR", f"{error.strerror} (os error {error.errno})")
                self.main_ended.set_result(1)
        self.begun.set()
        await say(writer, {"ok": True})

    async def do_follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The sandbox's log, from what is kept on; ends when the gateway goes."""
        told = 0
        gone = asyncio.ensure_future(reader.read())
        while not gone.done():
            for number, level, text in list(self.lines):
                if number > told:
                    told = number
                    await say(writer, {"level": level, "text": text})
            self.news.clear()
            news = asyncio.ensure_future(self.news.wait())
            await asyncio.wait([news, gone], return_when=asyncio.FIRST_COMPLETED)
            news.cancel()

    def log(self, level: str, text: str) -> None:
        """A line for the container's log and for whoever follows."""
        self.print(level, text)
        self.count += 1
        self.lines.append((self.count, level, text))
        self.news.set()

    def start_main(self) -> None:
        size = (24, 80) if self.main_spec["tty"] else None
        who = self.processes.who
        self.main = self.processes.start(self.main_spec["command"], self.environment({}), who.home, size)
        self.log("INFO", f"main process {self.main.pid} started")
        pumps = [asyncio.ensure_future(self.repeat(number)) for number in range(len(self.main.out))]
        self.keep.add(asyncio.ensure_future(self.watch_main(asyncio.ensure_future(asyncio.wait(pumps)))))

    async def repeat(self, number: int) -> None:
        """Keep the last of what the main process says, and pass it to whoever is attached."""
        assert self.main
        async for piece in self.main.read(number):
            self.said = (self.said + piece)[-REPLAY:]
            for writer in list(self.attached):
                try:
                    await send(writer, OUT, piece)
                except ConnectionError:
                    self.attached.discard(writer)

    async def watch_main(self, streams: "asyncio.Task[Any]") -> None:
        assert self.main
        code = await self.main.ended
        await asyncio.wait([streams], timeout=0.5)
        for writer in self.attached:
            await send(writer, EXIT, str(max(code, 1) if code < 0 else code).encode())
        self.log("INFO", f"main process exited with {code}")
        self.main_ended.set_result(code if code >= 0 else 128 - code)

    def environment(self, extra: dict[str, str]) -> dict[str, str]:
        who = self.processes.who
        return {"OPENSHELL_SANDBOX": "1", "HOME": who.home, "USER": who.name, "SHELL": "/bin/bash", "PATH": PATH,
                "TERM": "xterm-256color", **PROXIES, **Trust.environment(), **self.env, **extra}

    # What clients want

    async def do_spawn(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, argv: list[str],
                       env: dict[str, str], terminal: tuple[int, int] | None) -> None:
        """A process and its streams; it lives on where the client goes. None starts before the orders are here."""
        await self.begun.wait()
        try:
            process = self.processes.start(argv, self.environment(env), self.processes.who.home, terminal)
        except OSError as error:
            return await send(writer, FAIL, f"{error.strerror} (os error {error.errno})".encode())
        feed = asyncio.ensure_future(self.feed(process, reader))
        pumps = [asyncio.ensure_future(self.pump(process, number, writer)) for number in range(len(process.out))]
        streams = asyncio.ensure_future(asyncio.wait(pumps))
        code = await process.code(streams)
        feed.cancel()
        await send(writer, EXIT, str(code).encode())
        return None

    @staticmethod
    async def pump(process: Process, number: int, writer: asyncio.StreamWriter) -> None:
        heard = True
        async for piece in process.read(number):
            try:
                if heard:
                    await send(writer, (OUT, ERR)[number], piece)
            except ConnectionError:
                heard = False
        os.close(process.out[number])

    @staticmethod
    async def feed(process: Process, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                kind, payload = await receive(reader)
                if kind == DATA:
                    await process.write(payload)
                elif kind == EOF:
                    process.end_input()
                elif kind == RESIZE and process.terminal:
                    resize(process.into, *map(int, payload.split()))
        except EOFError:
            process.end_input()

    async def do_attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The main process: what it said last, and from now on."""
        assert self.main
        await send(writer, OUT, bytes(self.said))
        self.attached.add(writer)
        try:
            await self.feed_main(self.main, reader)
        finally:
            self.attached.discard(writer)

    async def feed_main(self, main: Process, reader: asyncio.StreamReader) -> None:
        while True:
            kind, payload = await receive(reader)
            if kind == DATA:
                await main.write(payload)
            elif kind == RESIZE and main.terminal:
                resize(main.into, *map(int, payload.split()))

    async def do_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str,
                         port: int) -> None:
        """Bytes to and from a port of the sandbox's loopback."""
        try:
            there = await asyncio.to_thread(network.connect, self.processes.network, host, port)
        except OSError as error:
            return await say(writer, {"ok": False, "error": str(error)})
        await say(writer, {"ok": True})
        far_reader, far_writer = await asyncio.open_connection(sock=there)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        far_writer.close()
        return None

    async def do_stop(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """End the main process: asked for 10 s, then told."""
        if self.main:
            self.main.kill(signal.SIGHUP)
            self.main.kill(signal.SIGTERM)
            await asyncio.wait([self.main.ended], timeout=STOP_SECONDS)
            self.main.kill(signal.SIGKILL)
        await say(writer, {"ok": True})
