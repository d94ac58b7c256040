"""Owns the way from the operator's files to plain values: Ansible reads, decrypts and renders, in this process.
It must not know what a variable means; `load` is the one door through which a fleet is made from files."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pifleet import content
from pifleet.errors import BadInput, Mistakes
from pifleet.inventory import ansiblecore
from pifleet.inventory.ansiblecore import LOCKED, YAML_SUFFIXES
from pifleet.inventory.raw import RawInventory
from pifleet.secret import Secret

if TYPE_CHECKING:
    from pifleet.fleet import Fleet

FILE_LIMIT = 8 << 20


def load(sources: Sequence[Path], *, become_password: Secret | None = None, **options: Sequence[str]) -> Fleet:
    """The fleet that the files describe; `options` as for `read`. Raises BadInput with everything that is wrong.

    `become_password` counts for hosts that have none of their own.
    """
    with _no_collections():
        from pifleet.inventory.validate import fleet_from

        fleet = fleet_from(read(sources, **options), become_password=become_password)
    return replace(
        fleet, image=replace(fleet.image, recipe=content.image_recipe()),
        gondolin=replace(fleet.gondolin, recipe=content.image_recipe("gondolin_image")),
    )


@contextmanager
def _no_collections() -> Iterator[None]:
    """Python's garbage collector rests, and later leaves alone what was there after the first time.

    The imports make objects that stay; walking them again and again costs a fifth of reading an inventory.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
        if was_on:
            gc.enable()


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
    around = ansiblecore.start()
    from ansible.errors import AnsibleError

    with ansiblecore.quiet() as heard:
        try:
            loader = ansiblecore.loader(vault_ids, vault_password_files, around)
            _check_files(loader, sources, extra_vars)
            core = ansiblecore.parse(loader, sources, (*around.extra_vars, *extra_vars), heard)
            return RawInventory(sources[0], ansiblecore.render(core), core.groups())
        except AnsibleError as error:
            saw = ansiblecore.line(error)
            raise BadInput("Ansible cannot read the inventory", saw=saw, where=str(sources[0])) from None


def _refuse_missing(sources: Sequence[Path]) -> None:
    if not sources:
        raise BadInput("no inventory was named", try_="pifleet init > inventory.yml")
    mistakes = Mistakes()
    for source in sources:
        if not (source.is_file() or source.is_dir()):
            mistakes.add(str(source), "no file or folder", "name an inventory, or make one with pifleet init")
    mistakes.raise_any("the inventory cannot be read")


def _check_files(loader: Any, sources: Sequence[Path], extra_vars: Sequence[str]) -> None:
    """Refuse, before anything is loaded, every YAML file that Ansible would load and that is unfit for it."""
    from ansible.errors import AnsibleError

    from pifleet.inventory.yamlcheck import check

    mistakes = Mistakes()
    named = [Path(option[1:]) for option in extra_vars if option.startswith("@")]
    for file in dict.fromkeys(file for source in [*sources, *named] for file in _yaml_files(source)):
        try:
            if file.stat().st_size > FILE_LIMIT:
                mistakes.add(str(file), "more than 8 MiB", "name an inventory of a sensible size")
                continue
            check(str(loader.get_text_file_contents(str(file.absolute()))), str(file), mistakes)
        except AnsibleError as error:
            locked = ansiblecore.is_locked(error)
            mistakes.add(str(file), *(LOCKED if locked else (ansiblecore.line(error), "make it readable")))
        except OSError as error:
            mistakes.add(str(file), str(error.strerror), "make it readable")
    mistakes.raise_any("the inventory cannot be read")


def _yaml_files(source: Path) -> Iterator[Path]:
    """A source's own YAML files and those of the group_vars and host_vars beside it, which need no suffix."""
    own, folder = (source.rglob("*"), source) if source.is_dir() else (iter([source]), source.parent)
    beside = (file for name in ("group_vars", "host_vars") for file in (folder / name).rglob("*"))
    wanted = [file for file in own if file.suffix in YAML_SUFFIXES]
    wanted += [file for file in beside if file.suffix in (*YAML_SUFFIXES, "")]
    return filter(Path.is_file, wanted)
