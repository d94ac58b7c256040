"""Owns the way back: a stored generation put into a sandbox again, by a program of its own that travels there.
It must not know how a generation came home."""
