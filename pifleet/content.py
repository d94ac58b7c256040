"""Owns where the Ansible content (playbooks, roles, plugins) lies: inside a wheel, or at the root of a checkout.
It must not know what any of that content does."""

from __future__ import annotations

from pathlib import Path

COLLECTION = ("ansible_collections", "pifleet", "fleet")


def root() -> Path:
    """The folder that is the collection pifleet.fleet: packaged beside this module, else the checkout's root."""
    packaged = Path(__file__).parent / "_ansible"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent


def link_collection(run_dir: Path) -> Path:
    """Make `run_dir` a collections path in which pifleet.fleet is found by name; returns that path."""
    link = run_dir.joinpath(*COLLECTION)
    link.parent.mkdir(parents=True)
    link.symlink_to(root(), target_is_directory=True)
    return run_dir
