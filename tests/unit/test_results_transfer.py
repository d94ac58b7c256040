"""Frames over a real pipe: what is whole comes through, everything else is a refusal with a name."""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pifleet.results.capture import framing
from pifleet.results.capture.framing import MAGIC, frame
from pifleet.results.incoming.program import ARGV
from pifleet.results.incoming.transfer import Transfer, capture
from pifleet.results.limits import Limits, Refusal
from pifleet.stream import LocalStream
from tests.results.forge import sealed

LIMITS = Limits(idle=5, total=10)
FRAMES = frame(b"J", b'{"kind":"alive"}') + frame(b"D", b"x" * 70000)
WHOLE = sealed(FRAMES)


def saying(script: str, *args: object) -> LocalStream:
    return LocalStream(["sh", "-c", script, "sh", *map(str, args)])


def received(stream: LocalStream, limits: Limits = LIMITS) -> Iterator[tuple[bytes, bytes]]:
    transfer = Transfer(stream, limits)
    try:
        yield from transfer.frames()
        transfer.last_words()
    finally:
        stream.close()


def code_of(stream: LocalStream, limits: Limits = LIMITS) -> str:
    with pytest.raises(Refusal) as refusal:
        list(received(stream, limits))
    return refusal.value.code


def test_a_whole_answer_comes_through(tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(WHOLE)
    record, *data = received(saying('cat "$1"', tmp_path / "answer"))
    assert record == (b"J", b'{"kind":"alive"}')
    assert {kind for kind, _ in data} == {b"D"}
    assert b"".join(part for _, part in data) == b"x" * 70000


LAST = WHOLE.rindex(b"Z")
STREAMS = {
    "cut-mid-magic": (WHOLE[:5], "proto.cut"),
    "cut-mid-head": (WHOLE[: len(MAGIC) + 3], "proto.cut"),
    "cut-mid-frame": (WHOLE[:500], "proto.cut"),
    "cut-after-last-data": (WHOLE[:LAST], "proto.cut"),
    "cut-in-end-mark": (WHOLE[:-1], "proto.cut"),
    "no-end-mark": (MAGIC + FRAMES, "proto.cut"),
    "wrong-sha": (WHOLE.replace(b"alive", b"olive", 1), "proto.digest"),
    "end-mark-lies": (WHOLE[:LAST] + frame(b"Z", json.dumps({"sha256": "0" * 64}).encode()), "proto.digest"),
    "end-mark-empty": (WHOLE[:LAST] + frame(b"Z", b"{}"), "proto.schema"),
    "junk-after-end": (WHOLE + b"x", "proto.junk"),
    "two-answers": (WHOLE + WHOLE, "proto.junk"),
    "banner-noise": (b"Welcome to \x1b[31mDebian\n" + WHOLE, "proto.magic"),
    "other-version": (WHOLE.replace(b" 3\n", b" 2\n", 1), "proto.magic"),
    "a tar": (b"workspace/\0" + b"\0" * 500, "proto.magic"),
    "a bundle": (b"# v2 git bundle\n" + b"x" * 40, "proto.magic"),
    "frame-4GiB": (MAGIC + b"D\xff\xff\xff\xff", "limit.frame"),
    "too many records": (MAGIC + frame(b"J", b"{}") * 20001, "limit.records"),
}


@pytest.mark.parametrize(("answer", "code"), STREAMS.values(), ids=STREAMS)
def test_an_answer_that_is_not_whole_is_refused(tmp_path: Path, answer: bytes, code: str) -> None:
    (tmp_path / "answer").write_bytes(answer)
    assert code_of(saying('cat "$1"', tmp_path / "answer")) == code


def test_noise_is_quoted_without_its_escapes(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"Hi \\x1b\[31m"):
        list(received(saying("printf 'Hi \\033[31m there'")))


def test_an_exit_code_after_the_end_mark_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(WHOLE)
    assert code_of(saying('cat "$1"; exit 1', tmp_path / "answer")) == "proto.exit"


def test_silence_says_why_where_the_far_end_said_it() -> None:
    with pytest.raises(Refusal, match=r"exit code 3.*no such container"):
        list(received(saying("echo no such container >&2; exit 3")))


def test_a_sandbox_without_python_is_named() -> None:
    assert code_of(saying("echo python3: not found >&2; exit 127")) == "capture.tool"


def test_stall_is_cut_off() -> None:
    assert code_of(saying("printf 'PIFLEET-'; sleep 20"), Limits(idle=0.3)) == "timeout.idle"


def test_drip_of_one_byte_at_a_time_is_cut_off() -> None:
    drip = "printf 'PIFLEET-RESULTS 3\\nD\\0\\1\\0\\0'; while sleep 0.05; do printf x; done"
    assert code_of(saying(drip), Limits(idle=5, total=0.5)) == "timeout.total"


def test_one_that_never_ends_after_its_answer_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(WHOLE)
    assert code_of(saying('cat "$1"; exec >&-; sleep 20', tmp_path / "answer"), Limits(idle=0.3)) == "timeout.idle"


def test_too_many_bytes_are_cut_off() -> None:
    endless = "printf 'PIFLEET-RESULTS 3\\n'; while :; do printf 'D\\0\\0\\0\\4abcd'; done"
    assert code_of(saying(endless), Limits(wire=100_000)) == "limit.wire"


def test_one_that_takes_no_bytes_is_cut_off() -> None:
    stream = saying("sleep 20")
    with pytest.raises(Refusal) as refusal:
        Transfer(stream, Limits(idle=0.3)).reply(["1" * 40] * 10000, b"")
    assert refusal.value.code == "timeout.idle"
    stream.close()


def test_the_program_that_is_sent_needs_nothing_that_is_installed(tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        stream = LocalStream([sys.executable, *ARGV[1:]], env={"PATH": "/nonexistent", "HOME": str(tmp_path)})
        transfer = Transfer(stream, LIMITS)
        transfer.ask(capture({"workspace": "/", "sessions": "/"}), "")
        transfer.provide()
        with pytest.raises(Refusal, match="cut off"):
            answers += transfer.frames()
        stream.close()
    assert [b"git is not installed" in payload for _, payload in answers] == [True, True]


def test_a_program_that_is_kept_is_not_sent_again_and_a_changed_one_is(tmp_path: Path) -> None:
    sent = []
    for attempt in range(3):
        stream = LocalStream([sys.executable, *ARGV[1:]], env={"PATH": "/nonexistent", "HOME": str(tmp_path)})
        send, lengths = stream.send, []
        stream.send = lambda data, send=send, lengths=lengths: (lengths.append(len(data)), send(data))  # type: ignore
        transfer = Transfer(stream, LIMITS)
        transfer.ask(capture({"workspace": "/", "sessions": "/"}), "")
        transfer.provide()
        with pytest.raises(Refusal, match="cut off"):
            list(transfer.frames())
        sent.append(sum(lengths))
        stream.close()
        if attempt == 1:
            kept, compiled = sorted((tmp_path / ".cache/pifleet").iterdir())
            compiled.write_bytes(b"")
            kept.write_bytes(kept.read_bytes()[:-1])
    assert (sent[1], sent[2]) == (66, sent[0])


@pytest.mark.parametrize("path", sorted(Path(framing.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_the_program_keeps_to_python_3_9_and_to_its_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {name for name in imported if name.startswith("pifleet.results.capture.")}
    assert imported - own <= sys.stdlib_module_names | {"collections.abc"}
