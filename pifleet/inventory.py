"""Owns the way from the operator's files to plain values: Ansible reads, decrypts and renders, in this process.
It must not know what a pifleet variable means; `load` is the one door through which a fleet is made from files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pifleet import content
from pifleet.errors import BadInput, Mistake, Mistakes
from pifleet.secret import Secret

if TYPE_CHECKING:
    from pifleet.fleet import Fleet

PREFIX = "pifleet_"
PASSWORD_ENDINGS = ("_password", "_pass", "_passphrase")
FILE_LIMIT = 8 << 20
YAML_SUFFIXES = (".yml", ".yaml", ".json", "")
VAULT_TRY = "pifleet ... --vault-password-file FILE"
VAULT_MISTAKE = (
    "text encrypted with ansible-vault that no given password opens",
    "give its password: --vault-password-file FILE or --vault-id ID@FILE",
)


@dataclass(frozen=True)
class RawInventory:
    """What Ansible made of the files: each host's own variables (`pifleet_*` and connection), rendered, in plain types.

    `path` is the first file; `groups` are the pifleet groups with their hosts. Passwords are already `Secret`.
    """

    path: Path
    hosts: Mapping[str, Mapping[str, Any]] = field(repr=False)
    groups: Mapping[str, tuple[str, ...]]

    def variables(self, name: str) -> Mapping[str, Any]:
        """A variable that is a mapping, as written and wherever it is set; empty where it is something else."""
        value: Any = next((variables[name] for variables in self.hosts.values() if name in variables), {})
        return value if isinstance(value, Mapping) else {}


def load(sources: Sequence[Path], *, become_password: Secret | None = None, **options: Sequence[str]) -> Fleet:
    """The fleet that the files describe; `options` as for `read`. Raises BadInput with everything that is wrong.

    `become_password` counts for hosts that have none of their own.
    """
    from pifleet.validate import fleet_from

    fleet = fleet_from(read(sources, **options), become_password=become_password)
    return replace(fleet, image=replace(fleet.image, recipe=content.image_recipe()))


def read(
    sources: Sequence[Path], *, vault_ids: Sequence[str] = (), vault_password_files: Sequence[str] = (),
    extra_vars: Sequence[str] = (),
) -> RawInventory:
    """Read inventory files as ansible-inventory does, and render every variable of ours for every host of ours.

    The options are those of Ansible: `ID@FILE` or `ID@prompt`, files, and `NAME=VALUE`, JSON or `@FILE`.
    Raises BadInput where a file cannot be read, is unfit to load or lacks its vault password, where a template fails,
    and where there is no host.
    """
    _refuse_missing(sources)
    around = _start_ansible()
    from ansible.errors import AnsibleError

    with _quiet() as heard:
        try:
            loader = _loader(vault_ids, vault_password_files, around)
            _check_files(loader, sources, extra_vars)
            return _render(*_parse(loader, sources, (*around.extra_vars, *extra_vars), heard), sources)
        except AnsibleError as error:
            raise BadInput("Ansible cannot read the inventory", saw=_line(error), where=str(sources[0])) from None


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


def _refuse_missing(sources: Sequence[Path]) -> None:
    if not sources:
        raise BadInput("no inventory was named", try_="pifleet init > inventory.yml")
    mistakes = Mistakes()
    for source in sources:
        if not (source.is_file() or source.is_dir()):
            mistakes.add(str(source), "no such file", "name an inventory file, or make one with pifleet init")
    mistakes.raise_any("the inventory cannot be read")


@dataclass(frozen=True)
class _Around:
    """What an Ansible program was started with, if it is one that runs us (a plugin's call); else nothing."""

    vault_secrets: Sequence[Any] = ()
    extra_vars: Sequence[str] = ()


@cache
def _start_ansible() -> _Around:
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
    return _Around(tuple(vault.secrets) if vault else (), tuple(context.CLIARGS.get("extra_vars", ())))


@dataclass(frozen=True)
class _Heard:
    """What Ansible would have printed: warnings, and why its plugins could not read a source."""

    warnings: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@contextmanager
def _quiet() -> Iterator[_Heard]:
    """Ansible prints nothing meanwhile; it has one Display object, through which all its output goes."""
    from ansible.utils.display import Display

    display, heard = Display(), _Heard()
    own: dict[str, Any] = {
        "display": lambda *_, **__: None,
        "warning": lambda msg, *_, **__: heard.warnings.append(str(msg)),
        "error_as_warning": lambda msg, exception, **_: heard.failures.update({str(msg): _line(exception)}),
    }
    vars(display).update(own)
    try:
        yield heard
    finally:
        for name in own:
            vars(display).pop(name)


def _loader(vault_ids: Sequence[str], vault_password_files: Sequence[str], around: _Around) -> Any:
    from ansible import constants
    from ansible.cli import CLI
    from ansible.errors import AnsibleError
    from ansible.parsing.dataloader import DataLoader
    from ansible.parsing.vault import VaultSecretsContext

    loader = DataLoader()
    try:
        secrets = CLI.setup_vault_secrets(
            loader, [*constants.DEFAULT_VAULT_IDENTITY_LIST, *vault_ids], list(vault_password_files),
            auto_prompt=False, initialize_context=False,
        )
    except AnsibleError as error:
        raise BadInput("a vault password cannot be read", saw=_line(error), try_=VAULT_TRY) from None
    # Encrypted values inside a file look into the context, encrypted files into the loader.
    VaultSecretsContext.current().secrets = [*around.vault_secrets, *secrets]
    loader.set_vault_secrets([*around.vault_secrets, *secrets])
    return loader


def _check_files(loader: Any, sources: Sequence[Path], extra_vars: Sequence[str]) -> None:
    """Refuse, before anything is loaded, every YAML file that Ansible would load and that is unfit for it."""
    from ansible.errors import AnsibleError

    from pifleet.yamlcheck import check

    mistakes = Mistakes()
    named = [Path(option[1:]) for option in extra_vars if option.startswith("@")]
    for file in dict.fromkeys(file for source in [*sources, *named] for file in _yaml_files(source)):
        try:
            if file.stat().st_size > FILE_LIMIT:
                mistakes.add(str(file), "more than 8 MiB", "name an inventory of a sensible size")
                continue
            check(str(loader.get_text_file_contents(str(file.absolute()))), str(file), mistakes)
        except AnsibleError as error:
            mistakes.add(str(file), *(VAULT_MISTAKE if _is_vault(error) else (_line(error), "make it readable")))
        except OSError as error:
            mistakes.add(str(file), str(error.strerror), "make it readable")
    mistakes.raise_any("the inventory cannot be read")


def _yaml_files(source: Path) -> Iterator[Path]:
    """A source's own YAML files and those of the group_vars and host_vars beside it."""
    folder = source if source.is_dir() else source.parent
    if source.is_file() and source.suffix in YAML_SUFFIXES[:3]:
        yield source
    for part in [folder / "group_vars", folder / "host_vars", *([source] if source.is_dir() else [])]:
        for file in sorted(part.rglob("*")):
            if file.is_file() and file.suffix in YAML_SUFFIXES and not os.access(file, os.X_OK):
                yield file


def _parse(
    loader: Any, sources: Sequence[Path], extra_vars: Sequence[str], heard: _Heard
) -> tuple[Any, Any, Any]:
    """Ansible's own objects for the sources: loader, inventory and variables."""
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
        raise BadInput("an extra variable cannot be read", saw=_line(error)) from None
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    try:
        manager = InventoryManager(loader=loader, sources=[str(source.absolute()) for source in sources])
    except AnsibleError as error:
        failed = next((source for source in sources if str(source.absolute()) in str(error)), sources[0])
        raise _bad_file(failed, _reason(failed, heard) or _line(error), "write it as Ansible reads it") from None
    for warning in heard.warnings:
        if warning.startswith("Skipping "):
            raise _bad_file(sources[0], warning.removeprefix("Skipping "), "remove or correct it")
    if not manager.hosts:
        raise _bad_file(sources[0], "no host in any group", "put a host into group pifleet_docker")
    variables = VariableManager(loader=loader, inventory=manager, version_info=CLI.version_info(gitinfo=False))
    HostVars(inventory=manager, variable_manager=variables, loader=loader)  # lets templates say hostvars[...]
    return loader, manager, variables


def _bad_file(source: Path, seen: str, wanted: str) -> BadInput:
    return BadInput("Ansible cannot read the inventory", (Mistake(str(source), seen, wanted),))


def _reason(source: Path, heard: _Heard) -> str:
    """Why a source could not be parsed, in the words of the plugin that it was written for; every plugin tried it."""
    plugins = ("yaml", "auto") if source.suffix in YAML_SUFFIXES[:3] else ("script", "ini")
    said = [text for plugin in plugins for message, text in heard.failures.items() if f"'{plugin}'" in message]
    return next(iter(said), "")


def _render(loader: Any, manager: Any, variables: Any, sources: Sequence[Path]) -> RawInventory:
    from ansible.errors import AnsibleError
    from ansible.template import Templar

    groups = {
        name: tuple(host.name for host in group.get_hosts())
        for name, group in manager.groups.items() if name.startswith(PREFIX)
    }
    ours = {name for names in groups.values() for name in names}
    magic = variables.get_vars(include_hostvars=False).keys() - variables.extra_vars.keys()
    failures: dict[tuple[str, str, str], list[str]] = {}
    hosts: dict[str, dict[str, Any]] = {}
    for host in manager.get_hosts():
        if ours and host.name not in ours:
            continue
        known = variables.get_vars(host=host, stage="all")
        templar = Templar(loader=loader, variables=known)
        hosts[str(host.name)] = rendered = {}
        for name, value in known.items():
            if name in magic or not name.startswith((PREFIX, "ansible_")) or name == "ansible_facts":
                continue
            try:
                rendered[str(name)] = _kept(name, plain(templar.template(value)))
            except AnsibleError as error:
                words = VAULT_MISTAKE if _is_vault(error) else (_line(error), "correct the template")
                failures.setdefault((str(name), *words), []).append(host.name)
    mistakes = Mistakes()
    for (name, seen, wanted), failed in failures.items():
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        mistakes.add(name, f"{seen} (host {failed[0]}{others})", wanted)
    mistakes.raise_any("variables cannot be rendered")
    return RawInventory(sources[0], hosts, groups)


def _kept(name: str, value: Any) -> Any:
    return Secret(str(value)) if name.endswith(PASSWORD_ENDINGS) else value


def _is_vault(error: BaseException | None) -> bool:
    """Whether a vault could not be opened; inside a template Ansible says so by the error's `context`."""
    from ansible.parsing.vault import AnsibleVaultError

    return error is not None and (
        isinstance(error, AnsibleVaultError) or getattr(error, "context", "") == "vault" or _is_vault(error.__cause__)
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
