"""Owns every touch of ansible-core's Python classes: start-up, silence, vault, parsing, rendering to plain values.
It must not know which variables there are or what they mean; ansible-core is imported at first use only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from pifleet.errors import BadInput, Mistake, Mistakes
from pifleet.secret import Secret

PREFIX = "pifleet_"
PASSWORD_ENDINGS = ("_password", "_pass", "_passphrase")
YAML_SUFFIXES = (".yml", ".yaml", ".json")
TEMPLATE_MARKS = ("{{", "{%", "{#")
LOCKED = (
    "text encrypted with ansible-vault that no given password opens",
    "give its password: --vault-password-file FILE or --vault-id ID@FILE",
)


@dataclass(frozen=True)
class Around:
    """What an Ansible program was started with, if it is one that runs us (a plugin's call); else nothing."""

    vault_secrets: Sequence[Any] = ()
    extra_vars: Sequence[str] = ()


@cache
def start() -> Around:
    """Ansible's start-up, once in a process: configuration from the present folder, plugin loaders."""
    try:
        import ansible.cli  # noqa: F401 - its import sets up what the other classes need
    except SystemExit as stop:
        raise BadInput("Ansible does not start here", saw=str(stop), try_="export LC_ALL=C.UTF-8") from None
    from ansible import context
    from ansible.parsing.vault import VaultSecretsContext
    from ansible.plugins.loader import init_plugin_loader
    from ansible.utils.collection_loader import AnsibleCollectionConfig

    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader()
    vault = VaultSecretsContext.current(optional=True)
    if vault is None:
        VaultSecretsContext.initialize(VaultSecretsContext([]))
    return Around(tuple(vault.secrets) if vault else (), tuple(context.CLIARGS.get("extra_vars", ())))


@dataclass(frozen=True)
class Heard:
    """What Ansible would have printed: warnings, and why its plugins could not read a source."""

    warnings: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@contextmanager
def quiet() -> Iterator[Heard]:
    """Ansible prints nothing meanwhile; it has one Display object, through which all its output goes."""
    from ansible.utils.display import Display

    display, heard = Display(), Heard()
    own: dict[str, Any] = {
        "display": lambda *_, **__: None,
        "warning": lambda msg, *_, **__: heard.warnings.append(str(msg)),
        "error_as_warning": lambda msg, exception, **_: heard.failures.update({str(msg): line(exception)}),
    }
    vars(display).update(own)
    try:
        yield heard
    finally:
        for name in own:
            vars(display).pop(name)


def loader(vault_ids: Sequence[str], vault_password_files: Sequence[str], around: Around) -> Any:
    """Ansible's reader of files, with every vault password. Raises BadInput where one cannot be read."""
    from ansible import constants
    from ansible.cli import CLI
    from ansible.errors import AnsibleError
    from ansible.parsing.dataloader import DataLoader
    from ansible.parsing.vault import VaultSecretsContext

    made = DataLoader()
    try:
        secrets = CLI.setup_vault_secrets(
            made, [*constants.DEFAULT_VAULT_IDENTITY_LIST, *vault_ids], list(vault_password_files),
            auto_prompt=False, initialize_context=False,
        )
    except AnsibleError as error:
        then = "check --vault-password-file and --vault-id"
        raise BadInput("a vault password cannot be read", saw=line(error), try_=then) from None
    # Encrypted values inside a file look into the context, encrypted files into the loader.
    VaultSecretsContext.current().secrets = [*around.vault_secrets, *secrets]
    made.set_vault_secrets([*around.vault_secrets, *secrets])
    return made


@dataclass(frozen=True)
class Core:
    """Ansible's own objects for an inventory; `added` are the variables that it gives to every host by itself."""

    loader: Any
    manager: Any
    variables: Any
    added: frozenset[str]

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The groups that are named as ours, with their hosts."""
        return {
            str(name): tuple(str(host.name) for host in group.get_hosts())
            for name, group in self.manager.groups.items() if name.startswith(PREFIX)
        }

    def known(self) -> Iterator[tuple[str, Any]]:
        """Each of our hosts (each host at all where none is ours) with all variables that a template may use."""
        ours = {name for names in self.groups().values() for name in names}
        for host in self.manager.get_hosts():
            if not ours or host.name in ours:
                yield str(host.name), self.variables.get_vars(host=host, stage="all")

    def written(self, known: Any) -> Iterator[tuple[str, Any]]:
        """Our variables and those of connections, without what Ansible itself adds to every host."""
        for name, value in known.items():
            if name.startswith((PREFIX, "ansible_")) and name not in self.added:
                yield str(name), value


def parse(loader: Any, sources: Sequence[Path], extra_vars: Sequence[str], heard: Heard) -> Core:
    """Let Ansible read the sources and the variable files beside them. Raises BadInput where it cannot."""
    from ansible import constants, context
    from ansible.cli import CLI
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.utils.context_objects import CLIArgs
    from ansible.utils.vars import load_extra_vars
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    context.CLIARGS = CLIArgs({"extra_vars": tuple(extra_vars)})
    load_extra_vars.extra_vars = None  # kept there from the last call in this process
    try:
        load_extra_vars(loader)
    except AnsibleError as error:
        raise BadInput("an extra variable cannot be read", saw=line(error)) from None
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    try:
        manager = InventoryManager(loader=loader, sources=[str(source.absolute()) for source in sources])
    except AnsibleError as error:
        failed = next((source for source in sources if str(source.absolute()) in str(error)), sources[0])
        raise _bad_file(failed, _reason(failed, heard) or line(error), "write it as Ansible reads it") from None
    for warning in heard.warnings:
        if warning.startswith("Skipping "):
            raise _bad_file(sources[0], warning.removeprefix("Skipping "), "remove or correct it")
    if not manager.hosts:
        raise _bad_file(sources[0], "no host in any group", "put a host into group pifleet_docker")
    variables = VariableManager(loader=loader, inventory=manager, version_info=CLI.version_info(gitinfo=False))
    HostVars(inventory=manager, variable_manager=variables, loader=loader)  # lets templates say hostvars[...]
    added = variables.get_vars(include_hostvars=False).keys() - variables.extra_vars.keys()
    return Core(loader, manager, variables, frozenset({*added, "ansible_facts"}))


def _bad_file(source: Path, seen: str, wanted: str) -> BadInput:
    return BadInput("Ansible cannot read the inventory", (Mistake(str(source), seen, wanted),))


def _reason(source: Path, heard: Heard) -> str:
    """Why a source could not be parsed, in the words of the plugin that it was written for; every plugin tried it."""
    plugins = ("yaml", "auto") if source.suffix in YAML_SUFFIXES else ("script", "ini")
    said = [text for plugin in plugins for message, text in heard.failures.items() if f"'{plugin}'" in message]
    return next(iter(said), "")


def render(core: Core) -> dict[str, dict[str, Any]]:
    """The written variables of each known host, in plain types. Raises BadInput where a template fails."""
    from ansible.errors import AnsibleError
    from ansible.template import Templar

    hosts: dict[str, dict[str, Any]] = {}
    failed: dict[tuple[str, str, str], list[str]] = {}
    same: dict[int, tuple[Any, Any]] = {}  # a value without templates, by identity: itself, to keep it alive, and plain
    for host, known in core.known():
        templar = Templar(loader=core.loader, variables=known)
        hosts[host] = rendered = {}
        for name, value in core.written(known):
            if id(value) in same:
                rendered[name] = same[id(value)][1]
                continue
            try:
                made, holds_none = _rendered(value, templar)
            except AnsibleError as error:
                words = LOCKED if is_locked(error) else (line(error), "correct the template")
                failed.setdefault((name, *words), []).append(host)
                continue
            rendered[name] = Secret(str(made)) if name.endswith(PASSWORD_ENDINGS) else made
            if holds_none:
                same[id(value)] = (value, rendered[name])
    mistakes = Mistakes()
    for (name, seen, wanted), names in failed.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        mistakes.add(name, f"{seen} (host {names[0]}{others})", wanted)
    mistakes.raise_any("variables cannot be rendered")
    return hosts


def _rendered(value: Any, templar: Any) -> tuple[Any, bool]:
    """A value in plain types with its templates rendered, and whether it holds none: then every host has the same."""
    if isinstance(value, Mapping):
        items = {plain(key): _rendered(item, templar) for key, item in value.items()}
        return {key: item for key, (item, _) in items.items()}, all(same for _, same in items.values())
    if isinstance(value, list):
        parts = [_rendered(item, templar) for item in value]
        return [item for item, _ in parts], all(same for _, same in parts)
    if value is None or isinstance(value, (bool, int, float, date)):
        return plain(value), True
    if isinstance(value, str) and not any(mark in value for mark in TEMPLATE_MARKS):
        return plain(value), True
    return plain(templar.template(value)), False


def plain(value: Any) -> Any:
    """A value of Ansible's own types (tagged text, lazy lists) as plain Python; a date becomes its ISO text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def is_locked(error: BaseException | None) -> bool:
    """Whether a vault could not be opened; inside a template Ansible says so by the error's `context`."""
    from ansible.parsing.vault import AnsibleVaultError

    return error is not None and (
        isinstance(error, AnsibleVaultError) or getattr(error, "context", "") == "vault" or is_locked(error.__cause__)
    )


def line(error: BaseException) -> str:
    """An error's message on one line, with "list" instead of the name of Ansible's class for lists."""
    return re.sub(r"<class '[\w.]*?(?:_AnsibleTagged)?(\w+)'>", r"\1", " ".join(str(error).split()))
