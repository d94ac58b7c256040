"""Owns what the model gateway's log says: who was last active, and how much each asked of which model on which day.
It must not know who writes or rotates it; a line that is none is passed over. A log is LOG, then LOG.1, LOG.2, ..."""

import json
import os
import re
import sys
import time
from datetime import datetime, timezone
from functools import lru_cache

TAIL = 16 << 20
LINE = re.compile(
    rb'\{"time":"([0-9T:+-]{25})","sandbox":"([a-z0-9/-]{1,80})","model":"([a-z0-9-]{0,80})","path":"[^"]{0,80}",'
    rb'"status":(\d{3}),"received":(\d{1,15}),"sent":(\d{1,15}),'
)
FAILED = b"4"


def main(request, out=None):
    """Answer `request` ({"log": PATH, "nonce": ...}) on standard output: the nonce on a line, then all totals."""
    answer = json.dumps(totals(request["log"]))
    (out or sys.stdout).write("\n%s\n%s\n" % (request["nonce"], answer))


def activity(log):
    """Seconds since the last request to a model by each sandbox that has one in the newest part of the log."""
    last = {match.group(2): match.group(1) for match in LINE.finditer(tail(log)) if match.group(3)}
    now = time.time()
    return {sandbox.decode(): max(0.0, now - _moment(when).timestamp()) for sandbox, when in last.items()}


def tail(log, size=TAIL):
    """The last `size` bytes of a log, those of the file before it included."""
    newest = _end_of(log, size)
    return _end_of(log + ".1", size - len(newest)) + newest


def totals(log):
    """A list of [day in UTC, sandbox, model, requests, failed ones, bytes received, bytes sent], in no order."""
    found = {}
    for path in _files(log):
        with open(path, "rb") as file:
            for line in file:
                match = LINE.match(line)
                if match and match.group(3):
                    day = _moment(match.group(1)).strftime("%Y-%m-%d")
                    entry = found.setdefault((day, match.group(2).decode(), match.group(3).decode()), [0, 0, 0, 0])
                    entry[0] += 1
                    entry[1] += match.group(4) >= FAILED
                    entry[2] += int(match.group(5))
                    entry[3] += int(match.group(6))
    return [[*key, *entry] for key, entry in found.items()]


def _files(log):
    number, path = 0, log
    while os.path.exists(path):
        yield path
        number += 1
        path = "%s.%d" % (log, number)


def _end_of(path, size):
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size)
    except OSError:
        return b""


@lru_cache(maxsize=4096)
def _moment(text):
    return datetime.fromisoformat(text.decode()).astimezone(timezone.utc)
