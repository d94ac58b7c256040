"""The exec of Kubernetes: frames of any cut, what its status says, and the minder that holds a program inside."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pifleet.kube.exec import MINDED, STDERR, STDOUT, Exec, minder, outcome
from pifleet.kube.exec import STATUS as STATUS_CHANNEL
from pifleet.kube.frames import BINARY, CLOSE, LIMIT, PING, PONG, Broken, Frames, frame, masked
from pifleet.kube.minder import SIZE
from pifleet.kube.wire import Wire
from pifleet.stream import LocalStream, StreamTimeout


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


# -- frames ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=400), max_size=8), st.lists(st.integers(1, 50), min_size=1))
def test_messages_come_out_whole_however_the_bytes_are_cut(messages, cuts):
    data = b"".join(from_server(BINARY, message) for message in messages)
    frames, found, at = Frames(), [], 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        found += frames.feed(data[at:at + size])
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
    assert list(Frames().feed(data)) == [(PING, b"?"), (BINARY, b"one two")]


@pytest.mark.parametrize("data", [
    b"\x82\xff" + (LIMIT + 1).to_bytes(8, "big"), b"\x82\x7f" + (LIMIT + 1).to_bytes(8, "big"), frame(BINARY, b"x"),
])
def test_a_frame_beyond_measure_or_masked_by_a_server_is_broken(data):
    with pytest.raises(Broken):
        list(Frames().feed(data))


def test_parts_without_end_are_broken():
    frames = Frames()
    with pytest.raises(Broken):
        list(frames.feed(from_server(0, b"x" * (1 << 20), last=False) * 40))


def test_reading_takes_time_by_the_bytes_alone():
    data = from_server(BINARY, b"\1" + b"x" * 32_000) * 500

    def seconds(piece):
        frames, began = Frames(), time.process_time()
        for at in range(0, len(data), piece):
            for _ in frames.feed(data[at:at + piece]):
                pass
        return time.process_time() - began

    assert seconds(1 << 14) < 1
    whole = from_server(BINARY, b"x" * (16 << 20))
    frames, began = Frames(), time.process_time()
    assert sum(len(list(frames.feed(whole[at:at + 4096]))) for at in range(0, len(whole), 4096)) == 1
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


# -- a stream over a connection ----------------------------------------------------------------------------------------


@pytest.fixture
def pair():
    """A stream and the server's end of its connection."""
    ours, theirs = socket.socketpair()
    with closing(theirs), closing(Exec(Wire(ours))) as stream:
        yield stream, theirs


def says(server, channel, data):
    server.sendall(from_server(BINARY, bytes([channel]) + data))


def test_output_errors_and_exit_code_are_told_apart(pair):
    stream, server = pair
    for channel, data in ((STDOUT, b"out"), (STDERR, b"err"), (STDOUT, b"put"), (STATUS_CHANNEL, failure(
            "", causes=[{"reason": "ExitCode", "message": "3"}]))):
        says(server, channel, data)

    assert (stream.read(2, 5), stream.read(9, 5), stream.read(9, 5), stream.read(9, 5)) == (b"ou", b"t", b"put", b"")
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
    says(server, STATUS_CHANNEL, b'{"status":"Success"}')

    assert (stream.wait(5), len(stream.stderr()), stream.stderr()[-1]) == (0, 65536, 19)


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


def test_closing_frees_a_sender_whom_nobody_reads(pair):
    stream, _ = pair
    threading.Timer(0.2, stream.close).start()

    with pytest.raises(BrokenPipeError):
        stream.send(b"x" * (64 << 20))
    stream.close()


# -- the minder --------------------------------------------------------------------------------------------------------


def piece(data):
    return struct.pack(">I", len(data)) + data


@pytest.fixture
def minded(tmp_path):
    """A program under a minder, as a stream whose input is still that of the minder."""
    streams = []

    def begin(*argv, workdir=tmp_path, size=None):
        stream = LocalStream(MINDED)
        streams.append(stream)
        request = json.dumps({"argv": argv, "workdir": str(workdir), "size": size}).encode()
        stream.send(b"%8d" % len(minder()) + minder() + piece(request))
        return stream

    yield begin
    for stream in streams:
        stream.close()


def everything(stream):
    parts = []
    while part := stream.read(1 << 20, 20):
        parts.append(part)
    return b"".join(parts)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def gone_within(pid, seconds):
    ends = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < ends:
        time.sleep(0.02)
    return not alive(pid)


def test_a_program_gets_its_input_whole_and_the_end_of_it(minded):
    stream, data = minded("cat"), os.urandom(3 << 20)
    feeder = threading.Thread(target=stream.send, args=(b"".join(
        piece(data[at:at + 32768]) for at in range(0, len(data), 32768)) + piece(b""),))
    feeder.start()

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
    assert b"No such file" in stream.stderr()


def test_what_a_program_does_not_take_is_no_failure(minded):
    stream = minded("sh", "-c", "exec <&-; sleep 0.3; echo done")
    stream.send(piece(b"x" * 1000) + piece(b""))

    assert (everything(stream), stream.wait(5)) == (b"done\n", 0)


def test_a_program_works_on_after_it_closed_its_output(minded, tmp_path):
    stream = minded("sh", "-c", "exec >&- 2>&-; cat > kept")
    time.sleep(0.3)
    stream.send(piece(b"all of it") + piece(b""))

    assert stream.wait(10) == 0
    assert (tmp_path / "kept").read_bytes() == b"all of it"


@pytest.mark.parametrize("ended", [True, False], ids=["after the end of input", "in the middle of it"])
def test_a_program_ends_when_the_far_end_is_gone(minded, ended):
    stream = minded("sh", "-c", "echo $$; sleep 600")
    pid = int(stream.read(100, 10))
    if ended:
        stream.send(piece(b""))
    time.sleep(0.1)
    assert alive(pid)
    stream.end()

    assert gone_within(pid, 5)


def test_a_program_that_takes_no_input_ends_too_when_the_far_end_is_gone(minded):
    stream = minded("sh", "-c", "echo $$; sleep 600")
    pid = int(stream.read(100, 10))
    threading.Thread(target=stream.send, args=(piece(b"x" * 65536) * 2,), daemon=True).start()
    time.sleep(0.3)
    stream.end()

    assert gone_within(pid, 5)


def test_what_a_program_started_ends_with_it_also_what_would_rather_not(minded):
    stream = minded("sh", "-c", "(trap '' TERM; echo started; while :; do sleep 1; done) & echo $!; wait")
    pid = int(stream.read(100, 10).split()[0])
    stream.end()

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
    stream.send(struct.pack(">IHH", SIZE, 50, 120))
    assert everything(stream) == b"50 120\r\n"
    assert stream.wait(5) == 4


def test_keys_reach_a_program_at_a_terminal_as_keys(minded):
    stream = minded("sh", "-c", "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done",
                    size=(24, 80))
    reads_until(stream, b"ready")
    stream.send(piece(b"\x03"))

    assert b"interrupted" in everything(stream)
    assert stream.wait(5) == 5


def test_a_shell_at_a_terminal_ends_when_the_far_end_is_gone(minded):
    stream = minded("bash", "--norc", "-c", "echo $$; exec bash --norc -i", size=(24, 80))
    pid = int(reads_until(stream, b"\r\n").split()[0])
    stream.end()

    assert gone_within(pid, 5)
    assert stream.wait(5) == 129
