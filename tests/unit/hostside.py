"""Loads host-side code without Ansible: one file of plugins/module_utils as a module of its own."""

import importlib.util
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "plugins" / "module_utils"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hostside_{name}", FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
