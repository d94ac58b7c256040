"""The keeper, process 1 of sandboxes, run as a plain process with folders and ports of its own."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

KEEPER = Path(__file__).parents[2] / "roles/pi_image/files/keeper"


class Keeper:
    """A running keeper; `before` is shell text that runs first and leaves the keeper children it did not start."""

    def __init__(self, root: Path, before: str = "", grace: float = 5.0) -> None:
        self.home, self.etc, self.run = (root / name for name in ("home", "etc", "run"))
        for folder in (self.home, self.etc, self.run):
            folder.mkdir(exist_ok=True)
        self.log = root / "log"
        argv = [
            sys.executable, "-I", str(KEEPER), "--home", str(self.home), "--etc", str(self.etc), "--run", str(self.run),
            "--model-port", "0", "--egress-port", "0", "--grace", str(grace),
        ]  # fmt: skip
        with self.log.open("w") as log:
            shell = ["sh", "-c", f'{before}\nexec "$@"', "sh", *argv]
            self.process = subprocess.Popen(shell, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        wait_until(lambda: "egress.sock" in self.text or self.process.poll() is not None)

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def agent(self) -> Path:
        return self.home / ".pi/agent"

    def port(self, name: str) -> int:
        match = re.search(rf"127\.0\.0\.1:(\d+) leads to .*{name}\.sock", self.text)
        assert match, self.text
        return int(match[1])

    def connect(self, name: str = "model") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port(name)), timeout=5)

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


Start = Callable[..., Keeper]


class Server:
    """A unix socket that reads until the client's end and answers with what it read, upper case."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.path = path
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            with client, suppress(OSError):
                client.sendall(read_all(client).upper())

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.path.unlink()


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def ask(keeper: Keeper, question: bytes, name: str = "model") -> bytes:
    with keeper.connect(name) as client:
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def refused(keeper: Keeper) -> bool:
    """Whether a connection ends at once; the kernel makes that a reset if the question was already under way."""
    try:
        return ask(keeper, b"anybody there?") == b""
    except OSError:
        return True


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Keeper] = []

    def start(**how: object) -> Keeper:
        started.append(Keeper(tmp_path, **how))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for keeper in started:
        keeper.process.kill()
        keeper.process.wait()


def test_pi_finds_its_models_and_settings_where_the_host_put_them(start: Start) -> None:
    keeper = start()
    for name in ("models.json", "settings.json"):
        (keeper.etc / name).write_text(name)
        assert (keeper.agent / name).read_text() == name


def test_files_of_the_agent_in_the_place_of_the_links_are_replaced(start: Start, tmp_path: Path) -> None:
    agent = tmp_path / "home/.pi/agent"
    agent.mkdir(parents=True)
    (agent / "models.json").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    (agent / "settings.json").symlink_to(elsewhere)
    keeper = start()
    assert os.readlink(agent / "models.json") == str(keeper.etc / "models.json")
    assert os.readlink(agent / "settings.json") == str(keeper.etc / "settings.json")
    assert elsewhere.read_text() == "untouched"
    assert sorted(path.name for path in agent.iterdir()) == ["models.json", "settings.json"]


def test_folders_in_the_way_are_kept_beside_the_links(start: Start, tmp_path: Path) -> None:
    (tmp_path / "home/.pi/agent/models.json").mkdir(parents=True)
    (tmp_path / "home/.pi/agent/models.json/work").write_text("precious")
    keeper = start()
    assert (keeper.agent / "models.json").is_symlink()
    assert [kept.read_text() for kept in keeper.agent.glob("models.json.*.aside/work")] == ["precious"]


def test_a_file_named_like_the_agent_folder_does_not_stop_the_links(start: Start, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.pi").symlink_to("/nowhere")
    assert (start().agent / "settings.json").is_symlink()


def test_a_second_start_changes_no_link(start: Start) -> None:
    keeper = start()
    before = os.lstat(keeper.agent / "models.json").st_ino
    keeper.end()
    assert os.lstat(start().agent / "models.json").st_ino == before


def test_a_home_that_cannot_be_written_is_told_and_the_forwards_work(start: Start, tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to("/proc/self")  # refuses new entries to everybody, root too
    (tmp_path / "run").mkdir()
    Server(tmp_path / "run/model.sock")
    keeper = start()
    assert "pi's settings are not linked" in keeper.text
    assert ask(keeper, b"still there") == b"STILL THERE"


def test_each_port_leads_to_its_own_socket(start: Start) -> None:
    keeper = start()
    Server(keeper.run / "egress.sock")
    assert ask(keeper, b"out", "egress") == b"OUT"
    assert refused(keeper)


def test_an_answer_that_begins_after_the_question_ended_arrives_whole(start: Start) -> None:
    keeper = start()
    Server(keeper.run / "model.sock")
    question = b"a line of text\n" * 500_000
    received: list[bytes] = []
    with keeper.connect() as client:
        reader = threading.Thread(target=lambda: received.append(read_all(client)))
        reader.start()
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        reader.join(20)
    assert received == [question.upper()]


def test_a_client_that_dies_is_seen_by_the_other_side(start: Start) -> None:
    keeper = start()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(keeper.run / "model.sock"))
        server.listen()
        client = keeper.connect()
        far = server.accept()[0]
        far.settimeout(5)
        reset_on_close = struct.pack("ii", 1, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
        client.close()
        assert far.recv(1) == b""


def test_connections_that_are_cut_in_the_middle_do_not_disturb_others(start: Start) -> None:
    keeper = start()
    Server(keeper.run / "model.sock")
    question, answers = b"a line of text\n" * 20_000, []

    def cut() -> None:
        with keeper.connect() as client:
            client.sendall(question)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    both = [cut, lambda: answers.append(ask(keeper, question))] * 40
    threads = [threading.Thread(target=each) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == [question.upper()] * 40


def test_a_missing_socket_ends_the_connection_and_is_told_once(start: Start) -> None:
    keeper = start()
    for _ in range(3):
        assert refused(keeper)
    assert keeper.text.count("model.sock: No such file or directory") == 1


def test_a_restarted_gateway_is_found_again(start: Start) -> None:
    keeper = start()
    first = Server(keeper.run / "model.sock")
    assert ask(keeper, b"one") == b"ONE"
    first.close()
    assert refused(keeper)
    Server(keeper.run / "model.sock")
    assert ask(keeper, b"two") == b"TWO"
    assert "model.sock: answers again" in keeper.text


def test_children_it_did_not_start_are_reaped(start: Start) -> None:
    keeper = start(before="sleep 0.4 & sleep 0.5 & true & sleep 60 &")
    wait_until(lambda: len(keeper.children()) == 1)
    keeper.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_ends_children_in_order_and_exits_0(start: Start, tmp_path: Path, number: int) -> None:
    child = f"trap 'echo done >{tmp_path}/farewell; exit' TERM; touch {tmp_path}/ready; while :; do sleep 0.05; done"
    keeper = start(before=f"sh -c '{child.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}' &")
    wait_until((tmp_path / "ready").exists)
    before = time.monotonic()
    assert keeper.end(number) == 0
    assert time.monotonic() - before < 3
    assert (tmp_path / "farewell").read_text() == "done\n"


def test_children_that_ignore_the_end_are_killed_after_the_grace(start: Start, tmp_path: Path) -> None:
    keeper = start(before=f"(trap '' TERM; touch {tmp_path}/ready; exec sleep 60) &", grace=0.5)
    wait_until((tmp_path / "ready").exists)
    (stubborn,) = keeper.children()
    assert keeper.end() == 0
    assert "killing" in keeper.text
    wait_until(lambda: not Path(f"/proc/{stubborn}").exists())
