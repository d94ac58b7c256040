"""Owns asking a module what it would change, before something that only a change needs is fetched.
It must not know what a module does."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


def would_do(action: ActionBase, module: str, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
    """The result of the module in check mode."""
    wanted, action._task.check_mode = action._task.check_mode, True
    try:
        found: dict[str, Any] = action._execute_module(module, arguments, task_vars=task_vars)
    finally:
        action._task.check_mode = wanted
    return found
