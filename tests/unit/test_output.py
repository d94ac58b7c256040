"""What a user sees: on a terminal, in a pipe, as JSON; with good names and with hostile ones."""

import io
import json

import pytest

from pifleet.errors import BadInput, Mistake, PifleetError, Trouble
from pifleet.events import Event
from pifleet.output import Output, Row, mark, shown
from pifleet.phrases import listed, seconds, size
from pifleet.report import Merged, document

HOSTILE = "evil\x1b[2J\x1b]0;owned\x07\u202etxt.exe\u200b\r\n\udc80"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def streams():
    return io.StringIO(), io.StringIO()


@pytest.fixture
def output(streams):
    return Output(stdout=streams[0], stderr=streams[1])


def lines(stream):
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def rows(number, quiet):
    return [Row((mark("unchanged"), f"dev{n}/main"), quiet=quiet) for n in range(number)]


class TestShown:
    def test_leaves_readable_text_alone(self):
        assert shown("grüße/日本.txt") == "grüße/日本.txt"

    def test_writes_every_control_escape_bidi_and_invisible_character_out(self):
        assert shown(HOSTILE) == r"evil\x1b[2J\x1b]0;owned\x07\u202etxt.exe\u200b\r\n\udc80"


@pytest.mark.parametrize(("got", "want"), [
    (seconds(0.4), "0s"), (seconds(48), "48s"), (seconds(74), "1m14s"), (seconds(7500), "2h05m"),
    (size(512), "512 B"), (size(1536), "1.5 KiB"), (size(12 << 30), "12 GiB"),
    (listed(("a", "b")), "a, b"), (listed(tuple("abcdefg"), 2), "a, b and 5 more"),
])
def test_numbers_read_like_a_person_wrote_them(got, want):
    assert want == got


class TestTable:
    def test_a_word_stands_beside_every_symbol(self, output, streams):
        output.table([Row((mark("failed"), "ana/main")), Row((mark("ok"), "bo/main"))])

        assert lines(streams[0]) == ["✗ failed  ana/main", "✓ ok      bo/main"]

    def test_fits_eighty_columns_and_cuts_nothing(self, output, streams):
        why = "because " * 30 + "END"

        output.table([Row((mark("change"), "ana/main", "farm-1", why))])

        text = streams[0].getvalue()
        assert max(map(len, text.splitlines())) <= 80
        assert text.count("because") == 30
        assert "END" in text

    def test_a_hostile_name_cannot_move_the_cursor(self, output, streams):
        output.table([Row((mark("ok"), HOSTILE))])

        assert "\x1b" not in streams[0].getvalue()
        assert r"\x1b[2J" in streams[0].getvalue()

    def test_unchanged_rows_collapse_in_a_long_table(self, output, streams):
        output.table([*rows(30, quiet=True), Row((mark("failed"), "zoe/main"))])

        assert lines(streams[0]) == ["✗ failed  zoe/main", "= 30 unchanged"]

    def test_unchanged_rows_of_a_short_table_stay(self, output, streams):
        output.table(rows(3, quiet=True))

        assert len(streams[0].getvalue().splitlines()) == 3

    def test_symbols_become_ascii_where_the_encoding_has_none(self):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)

        Output(stdout=stream).table([Row((mark("failed"), "ana/main"))])

        assert raw.getvalue().startswith(b"x failed")


class TestColour:
    def test_is_used_on_a_terminal(self):
        terminal = Terminal()

        Output(stdout=terminal).table([Row((mark("failed"),))])

        assert "\x1b[31m" in terminal.getvalue()

    def test_is_off_in_a_pipe(self, output, streams):
        output.table([Row((mark("failed"),))])

        assert "\x1b" not in streams[0].getvalue()

    def test_is_off_with_no_color_set_and_so_is_the_moving_display(self, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        terminal = Terminal()
        output = Output(stdout=terminal, stderr=terminal)

        output.table([Row((mark("failed"),))])
        with output.progress() as emit:
            emit(Event("hosts", "farm-1", text="installing"))

        assert "\x1b" not in terminal.getvalue()


class TestErrors:
    def test_say_headline_what_was_seen_where_and_the_next_command(self, output, streams):
        output.errors([Merged(Trouble("apt failed", "E: one\nE: two", "hosts > farm-3", "pifleet doctor"))])

        assert lines(streams[1]) == [
            "error  apt failed",
            "       saw    E: one",
            "              E: two",
            "       where  hosts > farm-3",
            "       try    pifleet doctor",
        ]

    def test_name_the_hosts_that_share_one(self, output, streams):
        output.errors([Merged(Trouble("no answer"), tuple(f"farm-{n}" for n in range(40)))])

        assert "on     farm-0, farm-1, farm-2, farm-3, farm-4 and 35 more" in streams[1].getvalue()

    def test_never_break_the_command_to_copy(self, output, streams):
        command = "pifleet provision " + "inventory.yml " * 20 + "--limit farm-3"

        output.errors([Merged(Trouble("x", try_=command))])

        assert command in streams[1].getvalue()

    def test_show_every_mistake_of_bad_input(self, output, streams):
        output.failure(BadInput("farm.yml cannot be used", (Mistake("a.b", '"x"', "y"), Mistake("c", "1", "2"))))

        assert lines(streams[1]) == [
            "error  farm.yml cannot be used",
            "       a.b",
            '         saw     "x"',
            "         wanted  y",
            "       c",
            "         saw     1",
            "         wanted  2",
            "       2 mistakes; nothing was touched",
        ]

    def test_keep_the_last_lines_of_a_long_log(self, output, streams):
        output.errors([Merged(Trouble("x", "\n".join(f"line {n}" for n in range(100))))])

        text = streams[1].getvalue()
        assert "line 99" in text
        assert "line 79" not in text


class TestJson:
    @pytest.fixture
    def output(self, streams):
        return Output(json=True, stdout=streams[0], stderr=streams[1])

    def test_standard_output_is_exactly_one_document(self, output, streams):
        with output.progress() as emit:
            emit(Event("observe", "farm-1", text="asking"))
        output.table([Row((mark("ok"), "ana/main"))])
        output.say("hello")
        output.errors([Merged(Trouble("x"))])
        output.document(document("plan", steps=[]))

        assert json.loads(streams[0].getvalue()) == {"schema": "pifleet.plan/1", "steps": []}
        assert "asking" in streams[1].getvalue()

    def test_a_failure_is_a_document_too(self, output, streams):
        output.failure(PifleetError("no", try_="pifleet doctor"))

        assert json.loads(streams[0].getvalue())["error"]["try"] == "pifleet doctor"

    def test_hostile_names_travel_in_ascii_and_come_out_the_same(self, output, streams):
        output.document({"name": HOSTILE})

        assert streams[0].getvalue().isascii()
        assert json.loads(streams[0].getvalue())["name"] == HOSTILE


class TestProgress:
    def test_off_a_terminal_is_a_line_when_work_opens_and_one_when_it_closes(self, output, streams):
        with output.progress() as emit:
            for number in range(50):
                emit(Event("hosts", "farm-1", text=f"task {number}"))
            emit(Event("hosts", "farm-1", state="changed"))

        assert streams[1].getvalue().splitlines() == ["...  hosts  farm-1  task 0", "~  hosts  farm-1  changed"]

    def test_on_a_terminal_is_a_live_line_that_goes_away(self):
        terminal = Terminal()

        with Output(stderr=terminal).progress() as emit:
            emit(Event("hosts", "farm-1", text="installing docker"))
            emit._live.refresh()
            emit(Event("hosts", "farm-1", state="ok"))

        assert "installing docker" in terminal.getvalue()
        assert "\x1b[2K" in terminal.getvalue().split("installing docker")[-1]

    def test_on_a_terminal_says_a_failure_at_once(self):
        terminal = Terminal()

        with Output(stderr=terminal).progress() as emit:
            emit(Event("hosts", "farm-1", text="disk is full", state="failed"))

        assert "✗  hosts  farm-1  failed  disk is full" in terminal.getvalue()

    def test_details_are_for_those_who_ask(self, streams):
        for verbose in (False, True):
            with Output(verbose=verbose, stderr=streams[1]).progress() as emit:
                emit(Event("hosts", "farm-1", text=f"TASK {verbose}", state="detail"))

        assert "TASK True" in streams[1].getvalue()
        assert "TASK False" not in streams[1].getvalue()
