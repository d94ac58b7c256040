"""Owns how each tripwire is planted in a site, and by which careless deed it is sprung. It must not know pifleet."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.results.box import git
from tests.results.site import CARELESS_ENV, Site

SYSTEM_PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")
Deed = Callable[[Site, str], None]  # done at a site for the wire of this name


def by_git(*args: str, data: str = "") -> Deed:
    """Sprung by one git command in the wire's repository."""
    return lambda site, name: site.careless(site.repo(name), "git", *args, data=data)


def config(*keys: str, value: str = "{trap}") -> Deed:
    """Planted as a setting of the wire's repository."""
    def plant(site: Site, name: str) -> None:
        for key in keys:
            git(site.repo(name), "config", key, value.format(trap=site.trap(name)))
    return plant


def both(*plants: Deed) -> Deed:
    def plant(site: Site, name: str) -> None:
        for one in plants:
            one(site, name)
    return plant


def hook(kind: str, folder: str = ".git/hooks") -> Deed:
    def plant(site: Site, name: str) -> None:
        path = site.repo(name) / folder / kind
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(site.trap(name))
    return plant


def home_config(key: str) -> Deed:
    """A setting of the sandbox user, which a git with that home obeys."""
    def plant(site: Site, name: str) -> None:
        site.repo(name)
        git(site.box.home, "config", "--file", str(site.box.home / ".gitconfig"), key, site.trap(name))
    return plant


def as_its_user(*argv: str) -> Deed:
    return lambda site, name: site.careless(site.repo(name), *argv, HOME=str(site.box.home))


def in_home(path: str, text: str) -> Deed:
    def plant(site: Site, name: str) -> None:
        file = site.box.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as out:
            out.write(text.format(trap=site.trap(name)))
    return plant


def file(path: str, text: str, *, program: bool = False) -> Deed:
    def plant(site: Site, name: str) -> None:
        file = site.repo(name) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(trap=site.trap(name)))
        file.chmod(0o755 if program else 0o644)
    return plant


def on_terminal(*args: str) -> Deed:
    def spring(site: Site, name: str) -> None:
        master, slave = pty.openpty()
        with os.fdopen(master, "rb"), os.fdopen(slave, "wb") as terminal:
            env = CARELESS_ENV | {"TERM": "dumb"}
            subprocess.run(["git", *args], cwd=site.repo(name), env=env, stdout=terminal, check=False)
    return spring


def embedded(site: Site, name: str) -> None:
    """A folder of plain content that git takes for a repository of its own: config, index and all."""
    inner = site.repo(name) / "data"
    shutil.copytree(site.repo(name) / ".git", inner)
    for setting in ("core.bare=false", "core.worktree=..", f"core.fsmonitor={site.trap(name)}"):
        git(site.box.base, "config", "--file", str(inner / "config"), *setting.split("=", 1))
    git(site.repo(name), "add", "-f", "data")
    git(site.repo(name), "commit", "-q", "-m", "test data")


def gitfile(site: Site, name: str) -> None:
    """The work tree's .git is a file, and leads to a folder of plain content."""
    root = site.repo(name)
    (root / ".git").rename(root / "store")
    (root / ".git").write_text("gitdir: store\n")
    git(site.box.base, "config", "--file", str(root / "store/config"), "core.fsmonitor", site.trap(name))


def commondir(site: Site, name: str) -> None:
    root = site.repo(name)
    shutil.copytree(root / ".git", root / "common")
    (root / ".git/commondir").write_text("../common\n")
    git(site.box.base, "config", "--file", str(root / "common/config"), "core.fsmonitor", site.trap(name))


def include(key: str) -> Deed:
    def plant(site: Site, name: str) -> None:
        root = site.repo(name)
        (root / "settings").write_text(f"[core]\n\tfsmonitor = {site.trap(name)}\n")
        git(root, "config", key.format(root=root), "../settings")
    return plant


def worktree_config(site: Site, name: str) -> None:
    git(site.repo(name), "config", "extensions.worktreeConfig", "true")
    git(site.repo(name), "config", "--worktree", "core.fsmonitor", site.trap(name))


def submodule(site: Site, name: str) -> None:
    root = site.repo(name)
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(site.box.api), "sub")
    git(root, "config", "submodule.sub.update", f"!{site.trap(name)}")


def alternate_refs(site: Site, name: str) -> None:
    (site.repo(name) / ".git/objects/info/alternates").write_text(f"{site.box.api}/.git/objects\n")
    git(site.repo(name), "config", "core.alternateRefsCommand", site.trap(name))


def template(site: Site, name: str) -> None:
    hooks = site.box.home / "template/hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").symlink_to(site.trap(name))
    git(site.box.home, "config", "--file", str(site.box.home / ".gitconfig"), "init.templateDir", str(hooks.parent))


def in_new_repository(site: Site, name: str) -> None:
    new = site.victim.parent / "new"
    site.careless(site.victim.parent, "git", "init", str(new), HOME=str(site.box.home))
    site.careless(new, "git", "commit", "--allow-empty", "-m", "x")


def python_site(site: Site, name: str) -> None:
    asked = [SYSTEM_PYTHON, "-c", "import site; print(site.getusersitepackages())"]
    told = subprocess.run(asked, env={"HOME": str(site.box.home)}, capture_output=True, text=True, check=True)
    folder = Path(told.stdout.strip())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pth").write_text(f"import os; os.system({site.trap(name)!r})\n")


def link(place: str, target: str) -> Deed:
    """A link to a victim; whoever writes where it lies changes that."""
    def plant(site: Site, name: str) -> None:
        (site.repo(name) / place).symlink_to(target.format(victim=site.victim))
    return plant


def writing(path: str) -> Deed:
    return lambda site, name: (site.repo(name) / path).open("w").close()


def hard_link(site: Site, name: str) -> None:
    os.link(site.victim / "secret", site.repo(name) / "twin")


def link_chain(site: Site, name: str) -> None:
    """Each link, read on its own, stays in the repository; together they leave it."""
    root = site.repo(name)
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/up").symlink_to("../../..")
    (root / "esc").symlink_to(f"a/b/c/up/../../../{site.victim.name}")


def two_packs(site: Site, name: str) -> None:
    root = site.repo(name)
    git(root, "repack", "-q", "-d")
    site.box.commit("b.txt", "more\n", root)
    git(root, "repack", "-q", "-d")
