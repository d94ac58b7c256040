"""Owns that a look at a host ends: each part of it is bounded in time, and what could not be seen is remembered.
It must not know what is looked at."""

import signal
import time
from contextlib import contextmanager

SECTION_SECONDS = 15


class Late(Exception):
    """A part of the look took longer than it may."""


class Look:
    """Bounds every part of the look in time and remembers what could not be seen."""

    def __init__(self):
        self.unknown = {}

    def one(self, name, see, otherwise=None, more=0):
        """What `see` says; a part that asks others many things may take some seconds `more`."""
        try:
            with _bounded(SECTION_SECONDS + more, SECTION_SECONDS + more):
                return see()
        except Exception as error:  # whatever it is, it is one thing that was not seen
            self.unknown[name] = _reason(error)
            return otherwise

    def each(self, section, names, see):
        """`see` of every name, all within the time of one part."""
        found, end = {}, time.monotonic() + SECTION_SECONDS
        for name in names:
            try:
                with _bounded(end - time.monotonic(), SECTION_SECONDS):
                    found[name] = see(name)
            except Exception as error:  # as above
                found[name] = None
                self.unknown["%s/%s" % (section, name)] = _reason(error)
        return found


@contextmanager
def _bounded(seconds, allowed):
    if seconds <= 0:
        raise Late("no time was left to look")

    def late(*_):
        raise Late("looking took more than %d s" % allowed)

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _reason(error):
    return "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__
