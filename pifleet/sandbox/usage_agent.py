"""Owns how many tokens pi's session logs say that its models counted, by day in UTC.
It is sent over an exec and runs alone, on Python 3.9 and the standard library; it changes nothing.

One request, a line of JSON, arrives on standard input; the answer is a line of JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# pi 0.87.1's words in a message's `usage`, and ours.
COUNTED = {"input": "input", "output": "output", "cacheRead": "cache_read", "cacheWrite": "cache_write"}
DAY = re.compile(r"\d{4}-\d\d-\d\d")

Days = dict[str, dict[str, int]]


def main(folder: str) -> Days:
    """The tokens of every session log below `folder`, a link to one not followed."""
    days: Days = {}
    for top, _, files in os.walk(folder):
        for path in (Path(top, name) for name in files if name.endswith(".jsonl")):
            if not path.is_symlink():
                with path.open("rb") as lines:
                    count(lines, days)
    return days


def count(lines: Iterable[bytes], days: Days) -> None:
    """Add what the messages in these lines used to `days`; a line that is none is passed over."""
    for line in lines:
        if b'"usage"' not in line:
            continue
        try:
            entry = json.loads(line)
            used, day = entry["message"]["usage"], str(entry["timestamp"])[:10]
            numbers = {ours: int(used.get(word, 0)) for word, ours in COUNTED.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            continue
        if DAY.fullmatch(day):
            total = days.setdefault(day, dict.fromkeys(COUNTED.values(), 0))
            for word, number in numbers.items():
                total[word] += number


if __name__ == "__main__":
    request: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    print(json.dumps({"days": main(request["sessions"])}))
