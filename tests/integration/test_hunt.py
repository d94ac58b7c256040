"""The hunt finds what is planted: a poison in each place to which one could get, on this machine's engine."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pifleet.sandbox import driver_for, runs
from tests.gateway.place import wait
from tests.hunting import Ground, Watch, hunt
from tests.integration import boxes

pytestmark = pytest.mark.skipif(not boxes.image()[0], reason="no sandbox image on this engine: scripts/demo makes one")

Plant = Callable[[boxes.Box, Path, str], Any]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[boxes.Box]:
    with pytest.MonkeyPatch.context() as patch, boxes.running(tmp_path_factory.mktemp("box"), patch) as made:
        yield made


def docker(*words: str, data: bytes | None = None) -> bytes:
    return subprocess.run(["docker", *words], input=data, capture_output=True, check=True).stdout


@contextmanager
def running(*argv: str, data: str = "") -> Iterator[None]:
    """A process that waits with what it was given until its input ends."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{data}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()


WAITING = "import sys; kept = sys.stdin.readline(); print('ready', flush=True); sys.stdin.read()"


def _inside(box: boxes.Box, *words: str, data: str = "", options: tuple[str, ...] = ()) -> Any:
    argv = ("docker", "exec", "-i", *options, box.sandbox.container, "python3", "-c", WAITING, *words)
    return running(*argv, data=data)


def _file(box: boxes.Box, path: str, word: str) -> None:
    docker("exec", "-i", box.sandbox.container, "sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}",
           data=word.encode())


@contextmanager
def _container(*options: str, command: tuple[str, ...] = ("true",), name: str = "pifleet-planted") -> Iterator[None]:
    docker("run", "--name", name, *options, "--network", "none", "--entrypoint", command[0], boxes.image()[0],
           *command[1:])
    try:
        yield
    finally:
        docker("rm", "-f", name)


@contextmanager
def _image(word: str, *, packed: bool) -> Iterator[None]:
    """An image of one layer with one file; `packed` as another archive in it."""
    content = gzip.compress(word.encode()) if packed else word.encode()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        entry = tarfile.TarInfo("note.gz" if packed else "note")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    docker("import", "-", "pifleet-planted:1", data=layer.getvalue())
    try:
        yield
    finally:
        docker("rmi", "pifleet-planted:1")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _zst(path: Path, word: str) -> None:
    _write(path, word.encode())
    subprocess.run(["zstd", "-q", "--rm", str(path), "-o", f"{path}.zst"], check=True)


# Place in words -> how a poison gets there (box, a folder of the controller's, the poison), and what the hit names.
PLANTS: dict[str, tuple[Plant, str]] = {
    "a sandbox's environment": (lambda box, _, word: _inside(box, options=("-e", f"A={word}")), "environ of python3"),
    "a sandbox's process list": (lambda box, _, word: _inside(box, word), "cmdline of python3"),
    "the memory of a sandbox's process": (lambda box, _, word: _inside(box, data=word), "memory of python3"),
    "a sandbox's workspace": (lambda box, _, word: _file(box, "/workspace/a/b", word), "workspace/a/b"),
    "a sandbox's home": (lambda box, _, word: _file(box, "/home/pi/.cache/x", word), "home/.cache/x"),
    "a sandbox's memory disk": (lambda box, _, word: _file(box, "/tmp/a/b", word), "root/tmp/a/b"),
    "what docker inspect tells": (lambda *_args: _container("-e", f"A={_args[2]}"), "inspect of container"),
    "a container's label": (lambda *_args: _container("--label", f"a={_args[2]}"), "inspect of container"),
    "a container's log": (lambda *_args: _container(command=("echo", _args[2])), "log of container"),
    "a layer of an image": (lambda *_args: _image(_args[2], packed=False), "layer of image"),
    "an archive in a layer": (lambda *_args: _image(_args[2], packed=True), "layer of image"),
    "a run's artifacts": (lambda _, home, word: _write(home / "run/artifacts/out", word.encode()), "artifacts/out"),
    "a log": (lambda _, home, word: _write(home / "log/x.log", b"\0" + word.encode()), "log/x.log"),
    "results": (lambda _, home, word: _write(home / "results/ana/main/f", word.encode()), "results/ana/main/f"),
    "a packed result": (lambda _, home, word: _zst(home / "results/.store/b", word), "results/.store/b.zst"),
    "a temporary folder": (lambda _, home, word: _write(home / "tmp/.hidden/f", word.encode()), "tmp/.hidden/f"),
    "an environment on this machine": (
        lambda *_args: running("env", f"A={_args[2]}", sys.executable, "-c", WAITING), "environ of python"),
}


@pytest.mark.parametrize("place", PLANTS)
def test_a_poison_is_found(box: boxes.Box, tmp_path: Path, place: str) -> None:
    plant, where = PLANTS[place]
    word = f"poison-{uuid.uuid4().hex}"
    with ExitStack() as stack:
        planted = plant(box, tmp_path, word)
        if hasattr(planted, "__exit__"):
            stack.enter_context(planted)
        layers = ["pifleet-planted:1"] if where.startswith("layer") else []
        hits = hunt([word], Ground([Path(str(box.sandbox.root)), tmp_path], images=layers))

    assert any(where in found for _, found in hits), hits
    assert {hit for hit, _ in hits} == {word}


def test_what_belongs_somewhere_is_no_hit(box: boxes.Box, tmp_path: Path) -> None:
    word = f"poison-{uuid.uuid4().hex}"
    (tmp_path / "key").write_text(word)

    assert hunt([word], Ground([tmp_path], images=[], except_for=[tmp_path / "key"])) == set()


def test_a_run_of_pi_leaves_no_poison_that_only_the_gateway_has(box: boxes.Box, tmp_path: Path) -> None:
    word = f"poison-{uuid.uuid4().hex}"
    with driver_for("docker")(boxes.LOCAL) as driver, Watch([word]) as watch:
        list(runs.follow(driver, box.sandbox, runs.start(driver, box.sandbox, "SAY hello")))
        hits = hunt([word], Ground([Path(str(box.sandbox.root))], images=[box.image]))

    assert hits | watch.hits == set()
    assert watch.seen > 20


def test_what_shows_for_a_moment_is_seen_by_the_watch() -> None:
    word = f"poison-{uuid.uuid4().hex}"
    with Watch([word]) as watch, running("env", f"A={word}", sys.executable, "-c", WAITING):
        looks = watch.looks
        wait(lambda: watch.looks > looks + 1)

    assert [what for hit, what in watch.hits if hit == word and what.startswith("environ of python")]
