"""Owns where the Ansible content (playbooks, roles, plugins) lies: inside a wheel, or at the root of a checkout.
It must not know what any of that content does."""

from __future__ import annotations

import hashlib
from functools import cache
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


@cache
def role_file(role: str, name: str) -> str:
    """The text of one file that a role carries to hosts."""
    return (root() / "roles" / role / "files" / name).read_text(encoding="utf-8")


def image_recipe(name: str = "pi_image") -> str:
    """A hash over everything in the role `name` that ends up in the image that it makes."""
    total = hashlib.sha256()
    role = root() / "roles" / name
    for path in sorted(p for folder in ("files", "templates") for p in (role / folder).rglob("*") if p.is_file()):
        total.update(f"{path.relative_to(role)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
