"""Loads host-side code without Ansible: files of plugins/module_utils, named as they know each other."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "plugins" / "module_utils"
TOP, PACKAGE = "ansible_collections", "ansible_collections.pifleet.fleet.plugins.module_utils"


class Finder:
    """Finds the files, and packages for the parts of their names."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if f"{PACKAGE}.".startswith(f"{name}."):
            return ModuleSpec(name, None, is_package=True)
        parent, _, own = name.rpartition(".")
        return spec_from_file_location(name, FOLDER / f"{own}.py") if parent == PACKAGE else None


def load(name: str) -> ModuleType:
    """A module of its own, with neighbours of its own."""
    return together(name)[0]


def together(*names: str) -> tuple[ModuleType, ...]:
    """Modules that know each other, and nothing of those loaded before."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == TOP}
    # Before Ansible's own, which is there once an inventory was read and knows installed collections only.
    sys.meta_path.insert(0, Finder)
    try:
        return tuple(import_module(f"{PACKAGE}.{name}") for name in names)
    finally:
        sys.meta_path.remove(Finder)
        for name in [name for name in sys.modules if name.split(".")[0] == TOP]:
            del sys.modules[name]
        sys.modules.update(before)
