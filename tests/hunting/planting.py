"""Owns planting a poison in every place of a provisioned host and its controller, so that a hunt there can be trusted.
It must not hunt; all that it leaves goes with its block."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.gateway.place import wait

Word = Callable[[str], str]
NAME = f"pifleet-planted-{uuid.uuid4().hex[:8]}"
MARK = f"/tmp/{NAME}-goes-on"  # in the sandbox, whose memory disk it is
# Holds the reversed word in its memory, says so, and goes on as long as a file is there.
HOLDS = f"""
import os, sys, time
kept = sys.argv[1][::-1]
open({MARK!r} + sys.argv[2], "w").close()
while os.path.exists({MARK!r} + sys.argv[2]):
    time.sleep(0.1)
"""


@contextmanager
def planted(engine: Sequence[str], container: str, root: Path, home: Path) -> Iterator[dict[str, str]]:
    """What a hunt must say of each place, with the word that lies there: a sandbox's container of the engine to which
    the words `engine` speak (and pass input on), its host's files below `root`, and the controller's below `home`."""
    words: dict[str, str] = {}

    def word(where: str) -> str:
        words[where] = f"planted-{uuid.uuid4().hex}"
        return words[where]

    with ExitStack() as stack:
        _processes(stack, [*engine, "exec"], container, word)
        for path in (f"/workspace/{NAME}", f"/home/pi/{NAME}", f"/tmp/{NAME}"):
            inside = [*engine, "exec", "-i", container]
            _run([*inside, "sh", "-c", f"cat > {path}"], word(path.replace("/home/pi/", "/home/")))
            stack.callback(_run, [*inside, "rm", path])
        for folder in (root / "tmp", root / "var/log/pifleet", root / "etc/pifleet"):
            _file(stack, folder / NAME, word(str(folder / NAME).removeprefix(str(root))))
        _file(stack, home / "results/ana/main" / NAME, word(f"results/ana/main/{NAME}"))
        run = Path(tempfile.mkdtemp(prefix="pifleet-"))
        stack.callback(shutil.rmtree, run)
        _file(stack, run / "artifacts/job_events/1.json", word("artifacts/job_events/1.json"))
        _engine(stack, engine, container, word)
        yield words


def _processes(stack: ExitStack, execute: list[str], container: str, word: Word) -> None:
    for number, (where, options, argument) in enumerate((
        ("environ of python3", lambda one: ["-e", f"A={one}"], lambda one: "x"),
        ("cmdline of python3", lambda one: [], lambda one: one),
        ("memory of python3", lambda one: [], lambda one: one[::-1]),
    )):
        one = word(where)
        _run([*execute, "-d", *options(one), container, "python3", "-c", HOLDS, argument(one), str(number)])
        there = [*execute, container, "test", "-e", f"{MARK}{number}"]
        wait(lambda there=there: subprocess.run(there, check=False).returncode == 0)
        stack.callback(_run, [*execute, container, "rm", f"{MARK}{number}"])


def _engine(stack: ExitStack, engine: Sequence[str], container: str, word: Word) -> None:
    image = _run([*engine, "inspect", "--format", "{{.Image}}", container]).strip()
    _run([*engine, "create", "--name", f"{NAME}-label", "--label", f"a={word('inspect of container')}", image])
    stack.callback(_run, [*engine, "rm", f"{NAME}-label"])
    says = ["run", "--name", f"{NAME}-log", "--network=none", "--entrypoint=echo", image, word("log of container")]
    _run([*engine, *says])
    stack.callback(_run, [*engine, "rm", f"{NAME}-log"])
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        content = word("layer of image").encode()
        entry = tarfile.TarInfo("usr/file")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    subprocess.run([*engine, "import", "-", f"{NAME}:1"], input=layer.getvalue(), check=True, capture_output=True)
    stack.callback(_run, [*engine, "rmi", f"{NAME}:1"])


def _file(stack: ExitStack, path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    stack.callback(path.unlink)


def _run(argv: Sequence[str], given: str = "") -> str:
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout
