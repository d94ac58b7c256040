"""The exec of Kubernetes: frames of any cut, what its status says, and the minder that holds a program inside."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import ExitStack, closing, suppress
from subprocess import PIPE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pifleet.kube.ending import Words, outcome
from pifleet.kube.exec import MINDED, STATUS, STDERR, STDOUT, Exec
from pifleet.kube.frames import BINARY, CLOSE, LIMIT, PING, PONG, Broken, Frames, frame, masked
from pifleet.kube.minder import WINDOW
from pifleet.kube.wire import Wire
from pifleet.stream import StreamTimeout


def from_server(kind, data, last=True):
    size = len(data)
    length = bytes([size]) if size < 126 else (
        struct.pack(">BH", 126, size) if size < 1 << 16 else struct.pack(">BQ", 127, size))
    return bytes([kind | (0x80 if last else 0)]) + length + data


def unmasked(data):
    """What a client's frame holds: (kind, message), and what follows it."""
    size, at = data[1] & 0x7F, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        size, at = int.from_bytes(data[2:2 + width], "big"), 2 + width
    key, at = data[at:at + 4], at + 4
    return (data[0] & 0x0F, masked(key, data[at:at + size])), data[at + size:]


def fed(frames, data):
    """Every message that is whole with `data`."""
    while data:
        room = frames.room()[:len(data)]
        room[:] = data[:len(room)]
        data = data[len(room):]
        yield from frames.feed(len(room))


# -- frames ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=400), max_size=8), st.lists(st.integers(1, 50), min_size=1))
def test_messages_come_out_whole_however_the_bytes_are_cut(messages, cuts):
    data = b"".join(from_server(BINARY, message) for message in messages)
    frames, found, at = Frames(), [], 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        found += fed(frames, data[at:at + size])
        at += size
    assert found == [(BINARY, message) for message in messages]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_what_is_sent_is_masked_and_comes_back(size):
    data = os.urandom(size)
    sent = frame(BINARY, data)
    assert sent[1] & 0x80
    assert unmasked(sent) == ((BINARY, data), b"")


def test_a_message_in_parts_is_one_also_around_a_ping():
    data = from_server(BINARY, b"one ", last=False) + from_server(PING, b"?") + from_server(0, b"two")
    assert list(fed(Frames(), data)) == [(PING, b"?"), (BINARY, b"one two")]


@pytest.mark.parametrize("data", [
    b"\x82\xff" + (LIMIT + 1).to_bytes(8, "big"), b"\x82\x7f" + (LIMIT + 1).to_bytes(8, "big"), frame(BINARY, b"x"),
])
def test_a_frame_beyond_measure_or_masked_by_a_server_is_broken(data):
    with pytest.raises(Broken):
        list(fed(Frames(), data))


def test_parts_without_end_are_broken():
    frames = Frames()
    with pytest.raises(Broken):
        list(fed(frames, from_server(0, b"x" * (1 << 20), last=False) * 40))


def test_reading_takes_time_by_the_bytes_alone():
    data = from_server(BINARY, b"\1" + b"x" * 32_000) * 500

    def seconds(piece):
        frames, began = Frames(), time.process_time()
        for at in range(0, len(data), piece):
            for _ in fed(frames, data[at:at + piece]):
                pass
        return time.process_time() - began

    assert seconds(1 << 14) < 1
    whole = from_server(BINARY, b"x" * (16 << 20))
    frames, began = Frames(), time.process_time()
    assert sum(len(list(fed(frames, whole[at:at + 4096]))) for at in range(0, len(whole), 4096)) == 1
    assert time.process_time() - began < 1


# -- what the status channel says --------------------------------------------------------------------------------------


def failure(message, **details):
    return json.dumps({"status": "Failure", "message": message, **({"details": details} if details else {})}).encode()


@pytest.mark.parametrize(("status", "code"), [
    (b'{"metadata":{},"status":"Success"}', 0),
    (failure("command terminated with exit code 7", causes=[{"reason": "ExitCode", "message": "7"}]), 7),
    (failure('exec: "nope": executable file not found in $PATH'), 127),
    (failure("exec /etc/passwd: permission denied"), 126),
    (failure("container is not running"), 255),
    (failure("Internal error occurred", causes=[{"reason": "Other", "message": "0"}]), 255),
])
def test_a_status_gives_the_exit_code(status, code):
    assert outcome(status)[0] == code


@pytest.mark.parametrize("status", [b"", b'{"status":"Suc', b"[]", b'"Success"', b"{}", b"null",
                                    failure("x", causes=[{"reason": "ExitCode", "message": "seven"}])])
def test_silence_and_nonsense_are_no_status(status):
    assert outcome(status) is None


def test_a_program_that_did_not_start_has_the_servers_words():
    assert outcome(failure("container is not running")) == (255, "container is not running\n")


@given(st.binary(max_size=80), st.binary(max_size=80), st.integers(0, 255), st.integers(0, 1 << 60), st.integers(1, 9))
def test_the_minders_words_are_found_however_they_are_cut_and_are_not_the_programs(before, after, code, output, cut):
    words = Words()
    own = before + words.mark[:7] + after
    data = (before + words.mark + b"+40\n" + words.mark[:7] + words.mark + b"+2\n" + after
            + words.mark + f"{code} {output}\n".encode() + after)

    found = b"".join(words.feed(data[at:at + cut]) for at in range(0, len(data), cut)) + words.feed(b"")

    assert own + after in (found, found + words._held)
    assert (words.taken, words.end) == (42, (code, output))


@pytest.mark.parametrize("word", [b"\n", b"seven 1\n", b"1\n", b"1 2 3\n", b"+\n", b"9" * 100])
def test_a_word_of_a_wrong_shape_is_a_broken_connection(word):
    words = Words()
    with pytest.raises(ConnectionError):
        words.feed(words.mark + word)


# -- a stream over a connection ----------------------------------------------------------------------------------------


@pytest.fixture
def pair():
    """A stream and the server's end of its connection."""
    ours, theirs = socket.socketpair()
    with closing(theirs), closing(Exec(Wire(ours))) as stream:
        yield stream, theirs


def ended_with(code):
    return failure("", causes=[{"reason": "ExitCode", "message": str(code)}])


def says(server, channel, data):
    server.sendall(from_server(BINARY, bytes([channel]) + data))


def test_output_errors_and_exit_code_are_told_apart(pair):
    stream, server = pair
    parts = ((STDOUT, b"out"), (STDERR, b"err"), (STDOUT, b"put"), (STATUS, ended_with(3)))
    server.sendall(b"".join(from_server(BINARY, bytes([channel]) + data) for channel, data in parts))

    assert (stream.read(2, 5), stream.read(9, 5), stream.read(9, 5)) == (b"ou", b"tput", b"")
    assert (stream.wait(5), stream.stderr()) == (3, b"err")


def test_a_connection_that_ends_without_a_status_is_no_success(pair):
    stream, server = pair
    says(server, STDOUT, b"half")
    server.close()

    assert (stream.read(9, 5), stream.read(9, 5), stream.wait(5)) == (b"half", b"", 255)
    assert b"the connection to the cluster broke" in stream.stderr()


def test_a_servers_goodbye_without_a_status_is_no_success(pair):
    stream, server = pair
    server.sendall(from_server(CLOSE, b"\x03\xe8going away"))

    assert (stream.read(9, 5), stream.wait(5)) == (b"", 255)
    assert b"going away" in stream.stderr()


def test_what_was_said_before_a_goodbye_counts(pair):
    stream, server = pair
    server.sendall(from_server(BINARY, bytes([STATUS]) + ended_with(7)) + from_server(CLOSE, b"\x03\xe8"))

    assert stream.wait(5) == 7


def test_a_broken_end_takes_nothing_more(pair):
    stream, server = pair
    server.close()

    with pytest.raises(BrokenPipeError):
        stream.send(b"x" * (64 << 20))


def test_silence_is_a_timeout_for_reader_and_waiter(pair):
    stream, _ = pair
    for call in (lambda: stream.read(1, 0.05), lambda: stream.wait(0.05)):
        with pytest.raises(StreamTimeout):
            call()


def test_output_that_nobody_reads_makes_the_waiter_wait(pair):
    stream, server = pair

    def flood():
        with suppress(OSError):
            while True:
                says(server, STDOUT, b"x" * (1 << 20))

    thread = threading.Thread(target=flood)
    thread.start()
    with pytest.raises(StreamTimeout):
        stream.wait(0.5)
    assert stream._unread < 16 << 20
    stream.close()
    thread.join(5)
    assert not thread.is_alive()


def test_only_the_end_of_standard_error_is_kept(pair):
    stream, server = pair
    for number in range(20):
        says(server, STDERR, bytes([number]) * 8192)
    says(server, STATUS, ended_with(1))

    assert (stream.wait(5), len(stream.stderr()), stream.stderr()[-1]) == (1, 65536, 19)


def test_a_good_end_without_the_minders_word_is_no_success(pair):
    stream, server = pair
    says(server, STDOUT, b"most of it")
    says(server, STATUS, b'{"status":"Success"}')

    assert (stream.read(99, 5), stream.read(99, 5), stream.wait(5)) == (b"most of it", b"", 255)
    assert stream.stderr() == b"the end of what the program wrote is lost"


def test_the_minders_word_waits_for_all_output(pair):
    stream, server = pair
    says(server, STDERR, b"oh" + stream._words.mark + b"0 6\n")
    says(server, STDOUT, b"hal")
    assert stream.read(9, 5) == b"hal"
    with pytest.raises(StreamTimeout):
        stream.wait(0.1)

    says(server, STDOUT, b"ves")
    assert (stream.read(9, 5), stream.read(9, 5), stream.wait(5), stream.stderr()) == (b"ves", b"", 0, b"oh")


def test_output_that_was_lost_with_its_connection_is_no_success(pair):
    stream, server = pair
    says(server, STDERR, stream._words.mark + b"0 6\n")
    says(server, STDOUT, b"hal")
    server.close()

    assert (stream.read(9, 5), stream.read(9, 5), stream.wait(5)) == (b"hal", b"", 255)


def test_a_ping_is_answered_and_silence_is_broken_by_one(pair, monkeypatch):
    stream, server = pair
    monkeypatch.setattr("pifleet.kube.wire.PING_SECONDS", 0.05)
    server.sendall(from_server(PING, b"there?"))

    with pytest.raises(StreamTimeout):
        stream.read(1, 0.2)

    data, found = server.recv(4096), []
    while data:
        said, data = unmasked(data)
        found.append(said)
    assert found[0] == (PONG, b"there?")
    assert (PING, b"") in found[1:]


def test_no_more_is_sent_than_the_program_takes(pair):
    stream, server = pair
    sender = threading.Thread(target=stream.send, args=(bytes(2 * WINDOW),))
    reader = threading.Thread(target=drain, args=(server,), daemon=True)
    reader.start()
    sender.start()
    sender.join(0.5)
    assert sender.is_alive()

    says(server, STDERR, stream._words.mark + f"+{WINDOW}\n".encode())
    sender.join(10)
    assert not sender.is_alive()


def drain(server):
    with suppress(OSError):
        while server.recv(1 << 16):
            pass


def test_closing_frees_a_sender_whom_nobody_reads(pair):
    stream, _ = pair
    threading.Timer(0.2, stream.close).start()

    with pytest.raises(BrokenPipeError):
        stream.send(b"x" * (64 << 20))
    stream.close()


# -- the minder --------------------------------------------------------------------------------------------------------


class Bridge(threading.Thread):
    """An API server for one exec: starts the command on this machine and carries its channels, or loses some."""

    def __init__(self, sock, lose=0):
        super().__init__(daemon=True)
        self.socket, self.lose, self.lock = sock, lose, threading.Lock()
        self.child = subprocess.Popen(MINDED, stdin=PIPE, stdout=PIPE, stderr=PIPE, bufsize=0)
        for channel, pipe in ((STDOUT, self.child.stdout), (STDERR, self.child.stderr)):
            threading.Thread(target=self.carry, args=(channel, pipe), daemon=True).start()
        self.start()

    def run(self):
        data = b""
        with suppress(OSError):
            while more := self.socket.recv(1 << 16):
                data += more
                while (size := size_of(data)) and len(data) >= size:
                    (kind, message), data = unmasked(data)
                    if kind == BINARY:
                        self.child.stdin.write(message[1:])
        self.child.stdin.close()

    def carry(self, channel, pipe):
        with suppress(OSError):
            while data := pipe.read(1 << 15):
                if channel == STDOUT and self.lose:
                    data, self.lose = data[:-self.lose], 0
                with self.lock:
                    says(self.socket, channel, data)


def size_of(data):
    """Of the first frame, in bytes; 0 while that is not known."""
    short = data[1] & 0x7F if len(data) > 1 else 0
    width = {126: 2, 127: 8}.get(short, 0)
    if len(data) < 2 + width:
        return 0
    return 6 + width + (int.from_bytes(data[2:2 + width], "big") if width else short)


@pytest.fixture
def minded(tmp_path):
    """Starts a program under a minder: its stream, with the process of the minder as `minder`."""
    with ExitStack() as opened:
        def begin(*argv, workdir=tmp_path, size=None, lose=0):
            ours, theirs = socket.socketpair()
            opened.enter_context(closing(theirs))
            stream = opened.enter_context(closing(Exec(Wire(ours))))
            stream.minder = Bridge(theirs, lose).child
            stream.begin({"argv": argv, "workdir": str(workdir), "size": size})
            return stream

        yield begin


def feed(stream, data):
    with suppress(BrokenPipeError):
        stream.send(data)
        stream.end()


def everything(stream):
    parts = []
    while part := stream.read(1 << 20, 20):
        parts.append(part)
    return b"".join(parts)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone_within(pid, seconds):
    ends = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < ends:
        time.sleep(0.02)
    return not alive(pid)


def test_a_program_gets_its_input_whole_and_the_end_of_it(minded):
    stream, data = minded("cat"), os.urandom(12 << 20)
    threading.Thread(target=feed, args=(stream, data)).start()

    assert everything(stream) == data
    assert stream.wait(5) == 0


@pytest.mark.parametrize(("argv", "code"), [
    (("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -9 $$"), 137), (("no-such-program",), 127), (("/etc",), 126),
])
def test_an_exit_code_is_the_programs_own(minded, argv, code):
    assert minded(*argv).wait(10) == code


def test_a_folder_that_is_not_there_is_said(minded):
    stream = minded("true", workdir="/no/such/folder")

    assert stream.wait(10) == 127
    assert stream.stderr() == b"true: No such file or directory\n"


def test_a_program_has_no_signal_ignored(minded):
    assert (everything(minded("sh", "-c", "grep SigIgn /proc/self/status")).split()[1].strip(b"0") == b"")


def test_what_a_program_does_not_take_is_no_failure(minded):
    stream = minded("sh", "-c", "exec <&-; sleep 0.3; echo done")
    stream.send(b"x" * (1 << 20))
    stream.end()

    assert (everything(stream), stream.wait(5)) == (b"done\n", 0)


def test_a_program_works_on_after_it_closed_its_output(minded, tmp_path):
    stream = minded("sh", "-c", "exec >&- 2>&-; cat > kept")
    time.sleep(0.3)
    stream.send(b"all of it")
    stream.end()

    assert stream.wait(10) == 0
    assert (tmp_path / "kept").read_bytes() == b"all of it"


def test_what_a_program_leaves_behind_is_not_waited_for(minded):
    stream = minded("sh", "-c", "sleep 600 & echo $!")
    pid = int(everything(stream))

    assert stream.wait(5) == 0
    os.kill(pid, 9)


def test_output_that_gets_lost_on_the_way_is_no_success(minded):
    stream = minded("echo", "all of it", lose=3)

    assert stream.read(99, 10) == b"all of "
    with pytest.raises(StreamTimeout):
        stream.wait(0.3)
    stream.minder.kill()
    stream._wire._socket.shutdown(socket.SHUT_RD)
    assert stream.wait(5) == 255


def test_the_minder_goes_with_its_far_end(minded):
    stream = minded("true")
    assert stream.wait(10) == 0
    stream.close()

    assert stream.minder.wait(5) == 0


@pytest.mark.parametrize("ended", [True, False], ids=["after the end of input", "in the middle of it"])
def test_a_program_ends_when_the_far_end_is_gone(minded, ended):
    stream = minded("sh", "-c", "echo $$; sleep 600")
    pid = int(stream.read(100, 10))
    if ended:
        stream.end()
    assert alive(pid)
    stream.close()

    assert gone_within(pid, 5)


def test_a_program_that_takes_no_input_ends_too_when_the_far_end_is_gone(minded):
    stream = minded("sh", "-c", "echo $$; sleep 600")
    pid = int(stream.read(100, 10))
    sender = threading.Thread(target=feed, args=(stream, bytes(32 << 20)))
    sender.start()
    time.sleep(0.3)
    stream.close()

    assert gone_within(pid, 5)


def test_what_a_program_started_ends_with_it_also_what_would_rather_not(minded):
    stream = minded("sh", "-c", "(trap '' TERM; while :; do sleep 1; done) & echo $!; wait")
    pid = int(stream.read(100, 10).split()[0])
    stream.close()

    assert gone_within(pid, 5)


# -- a terminal --------------------------------------------------------------------------------------------------------


def reads_until(stream, words):
    seen = b""
    while words not in seen:
        seen += stream.read(1000, 10)
    return seen


def test_a_program_at_a_terminal_has_its_size_and_is_told_of_a_new_one(minded):
    stream = minded("sh", "-c", "trap 'stty size; exit 4' WINCH; stty size; read -r line", size=(30, 100))

    assert reads_until(stream, b"100\r\n") == b"30 100\r\n"
    stream.resize(50, 120)
    assert everything(stream) == b"50 120\r\n"
    assert stream.wait(5) == 4


def test_keys_reach_a_program_at_a_terminal_as_keys(minded):
    stream = minded("sh", "-c", "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done",
                    size=(24, 80))
    reads_until(stream, b"ready")
    stream.send(b"\x03")

    assert b"interrupted" in everything(stream)
    assert stream.wait(5) == 5


def test_a_shell_at_a_terminal_ends_when_the_far_end_is_gone(minded):
    stream = minded("bash", "--norc", "-c", "echo $$; exec bash --norc -i", size=(24, 80))
    pid = int(reads_until(stream, b"\r\n").split()[0])
    stream.close()

    assert gone_within(pid, 15)  # at the latest when it is killed, after the grace of 10 s
