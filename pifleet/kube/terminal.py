"""Owns giving this process's terminal, or its plain streams, to a program in a pod: `python -m pifleet.kube.terminal`.
It must not know what runs there; how it ended is this process's own exit code, 255 when it cannot be reached."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence

from pifleet.errors import PifleetError
from pifleet.fleet import Cluster, Host
from pifleet.kube.client import Api
from pifleet.kube.ending import BROKEN
from pifleet.kube.exec import Exec, Pod, start
from pifleet.stream import StreamTimeout

CHUNK = 1 << 16
PATIENCE = 3600.0


def argv_for(host: Host, pod: Pod, argv: Sequence[str], workdir: str, *, terminal: bool) -> list[str]:
    """The local program that runs `argv` in a pod on the terminal, or the plain streams, of whoever starts it."""
    assert host.cluster
    wanted = {"host": host.name, "context": host.cluster.context, "kubeconfig": host.cluster.kubeconfig,
              "pod": [pod.namespace, pod.name, pod.container], "argv": list(argv), "workdir": workdir,
              "terminal": terminal}
    # Nothing of the folder that a person is in is imported.
    return [sys.executable, "-P", "-m", __name__, json.dumps(wanted)]


def main() -> int:
    wanted = json.loads(sys.argv[1])
    cluster = Cluster("", wanted["context"], wanted["kubeconfig"])
    try:
        with Api(Host(wanted["host"], (), cluster=cluster)) as api:
            return run(api, Pod(*wanted["pod"]), wanted["argv"], wanted["workdir"], terminal=wanted["terminal"])
    except PifleetError as error:
        trouble = error.trouble
        sys.stderr.write(f"{trouble.headline}{': ' if trouble.saw else ''}{trouble.saw}\n")
        return BROKEN


def run(api: Api, pod: Pod, argv: Sequence[str], workdir: str, *, terminal: bool) -> int:
    """Run it to its end and return its exit code. Raises HostFailed."""
    columns, rows = shutil.get_terminal_size()
    stream = start(api, pod, argv, workdir, errors=lambda data: _written(2, data),
                   size=(rows, columns) if terminal else None)
    with contextlib.closing(stream), _raw(stream) if terminal else contextlib.nullcontext():
        threading.Thread(target=_feed, args=(stream,), daemon=True).start()
        while True:
            with contextlib.suppress(StreamTimeout):
                data = stream.read(CHUNK, PATIENCE)
                if not data:
                    return stream.wait(PATIENCE)
                _written(1, data)


@contextlib.contextmanager
def _raw(stream: Exec) -> Iterator[None]:
    """Keys go as they are pressed, and a new size of the window follows them."""
    before = termios.tcgetattr(0)

    def resized(*_: object) -> None:
        columns, rows = os.get_terminal_size(0)
        # Not from here: whoever is sending now must not be interrupted by one who waits for that.
        threading.Thread(target=stream.resize, args=(rows, columns), daemon=True).start()

    tty.setraw(0)
    signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _feed(stream: Exec) -> None:
    with contextlib.suppress(BrokenPipeError):
        while data := os.read(0, CHUNK):
            stream.send(data)
        stream.end()


def _written(to: int, data: bytes) -> None:
    while data:
        data = data[os.write(to, data):]


if __name__ == "__main__":
    sys.exit(main())
