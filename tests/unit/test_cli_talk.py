"""How a run reads while it goes on; every event is a stranger's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pifleet.cli.talk import lines

TEXT = {"role": "assistant", "content": [{"type": "text", "text": "Done.\nAll of it."}]}


@pytest.mark.parametrize(("event", "said"), [
    ({"type": "tool_execution_start", "toolName": "bash", "args": {"command": "ls  -la\n"}}, ["[bash] ls -la"]),
    ({"type": "tool_execution_start", "toolName": "write", "args": {"path": "/workspace/a", "content": "x"}},
     ["[write] /workspace/a"]),
    ({"type": "tool_execution_start", "toolName": "odd", "args": {"one": 1, "two": 2}}, ["[odd] one, two"]),
    ({"type": "tool_execution_end", "toolName": "bash", "isError": True, "result": TEXT},
     ["[bash failed] Done. All of it."]),
    ({"type": "tool_execution_end", "toolName": "bash", "isError": False, "result": TEXT}, []),
    ({"type": "message_end", "message": TEXT}, ["Done.", "All of it."]),
    ({"type": "message_end", "message": {**TEXT, "role": "user"}}, []),
    ({"type": "auto_retry_start", "attempt": 2, "errorMessage": "429 slow down"},
     ["[the model failed; try 2] 429 slow down"]),
    ({"type": "message_update", "message": TEXT}, []),
    ({}, []),
])
def test_tools_answers_and_retries_are_lines_and_the_rest_is_not(event, said):
    assert said == lines(event)


def test_a_long_command_is_one_short_line():
    (line,) = lines({"type": "tool_execution_start", "toolName": "bash", "args": {"command": "x" * 10_000}})

    assert len(line) < 220


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "content"]), inner),
    max_leaves=8,
)
KINDS = st.sampled_from(["tool_execution_start", "tool_execution_end", "message_end", "auto_retry_start"])
KEYS = st.sampled_from(["toolName", "args", "result", "isError", "message", "attempt", "errorMessage"])


@given(KINDS, st.dictionaries(KEYS, VALUES))
def test_no_shape_of_an_event_can_end_the_following(kind, rest):
    assert all(isinstance(line, str) for line in lines({**rest, "type": kind}))
