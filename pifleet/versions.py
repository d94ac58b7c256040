"""Owns how a version reads as numbers that can be compared.
It must not know whose version it is."""

from __future__ import annotations


def numbers(version: str) -> tuple[int, ...]:
    """`20.10.24+dfsg1` as (20, 10, 24); what is not a number, and all behind a `-` or `+`, is left out."""
    return tuple(int(part) for part in version.split("+")[0].split("-")[0].split(".") if part.isdigit())
