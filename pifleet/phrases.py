"""Owns how numbers read in a sentence: durations, sizes, counts and long lists of names.
It must not know what is counted."""

from __future__ import annotations


def seconds(value: float) -> str:
    """A duration in seconds as `48s`, `1m14s` or `2h05m`."""
    whole = round(value)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def size(value: int) -> str:
    """A number of bytes as `512 B`, `1.5 MiB` or `12 GiB`."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def count(number: int, one: str, many: str = "") -> str:
    """`1 host`, `2 hosts`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(names: tuple[str, ...], most: int = 5) -> str:
    """`a, b and 38 more`."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
