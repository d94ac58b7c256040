"""Owns a person's own clone: whether it is fit to get a branch, and how objects and that branch come into it.
It must not check anything out, nor run a hook, a filter or any other program that somebody's configuration names."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pifleet.errors import BadInput, Mistake, Refused
from pifleet.results.capture.repository import OPERATIONS
from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import said
from pifleet.results.store.homegit import HomeGit
from pifleet.results.store.packs import adopt
from pifleet.wording import show

NO_COMMIT = "0" * 40


@dataclass(frozen=True)
class Clone:
    """`top` is the work tree, `own` the git directory of this work tree, `shared` the one with objects and branches."""

    top: Path
    own: Path
    shared: Path
    limits: Limits

    @classmethod
    def at(cls, top: Path, limits: Limits) -> Clone:
        """Raises Refused where `top` is not the top of a git work tree."""
        asked = ("--is-bare-repository", "--show-object-format", "--absolute-git-dir", "--git-common-dir")
        try:
            said_so = HomeGit(top / ".git", limits).run("rev-parse", "--path-format=absolute", *asked).decode()
        except Refusal as refusal:
            raise Refused("not a git work tree; nothing was changed", saw=str(refusal), where=str(top),
                          try_="name the top folder of a clone with --to") from None
        bare, form, own, shared = said_so.splitlines()
        if (bare, form) != ("false", "sha1"):
            what = "a repository of another object format" if bare == "false" else "a bare repository"
            raise Refused(f"{what}; nothing was changed", where=str(top),
                          try_="name the top folder of a clone with --to")
        return cls(top, Path(own), Path(shared), limits)

    @property
    def git(self) -> HomeGit:
        return HomeGit(self.shared, self.limits)

    @property
    def head(self) -> str:
        """The commit that is checked out; "" before a first one."""
        try:
            return HomeGit(self.own, self.limits).run("rev-parse", "-q", "--verify", "HEAD^{commit}").decode().strip()
        except Refusal:
            return ""

    def unrest(self) -> str:
        """What a person has not finished here, in words; "" where nothing is. Untracked files do not count."""
        names = [word for name, word in OPERATIONS.items() if (self.own / name).exists()]
        if names:
            return f"a {names[0]} is in progress"
        git = HomeGit(self.own, self.limits)
        changed = git.run("--no-optional-locks", *_without_filters(git), f"--work-tree={self.top}", "status",
                          "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=dirty")
        paths = [entry[3:].decode("utf-8", "surrogateescape") for entry in changed.split(b"\0") if entry]
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        return f"{said(paths[0])}{more} changed and not committed" if paths else ""

    def branch(self, name: str) -> str:
        """The commit of a branch; "" where there is none. Raises BadInput for a name that cannot be one."""
        try:
            self.git.run("check-ref-format", f"refs/heads/{name}")
            if name.startswith("-"):
                raise Refusal("ref.name", name)
        except Refusal:
            raise BadInput("not a name for a branch", (Mistake("--branch", show(name), "use letters, digits, - and /"),)
                           ) from None
        return self.git.run("for-each-ref", "--format=%(objectname)", f"refs/heads/{name}").decode().strip()

    @contextmanager
    def quarantine(self) -> Iterator[Quarantine]:
        """Where objects may arrive and be looked at; what has not landed by the end is gone."""
        folder = Path(tempfile.mkdtemp(prefix="tmp_objdir-pifleet-", dir=self.shared / "objects"))
        try:
            (folder / "pack").mkdir()
            yield Quarantine(self, folder, HomeGit(self.shared, self.limits, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Quarantine:
    """New objects of a clone; `git` reads them and those of the clone."""

    clone: Clone
    folder: Path
    git: HomeGit

    def land(self, branch: str, tip: str, reason: str) -> None:
        """Let the objects in and make a new branch. Raises Refusal when it is there, or its name is in the way."""
        adopt(self.folder / "pack", self.clone.shared / "objects" / "pack")
        self.clone.git.run("update-ref", "-m", reason, f"refs/heads/{branch}", tip, NO_COMMIT, code="ref.name")


def _without_filters(git: HomeGit) -> list[str]:
    """Options that leave the clone's filters out: to compare a file, git would otherwise run them."""
    try:
        listed = git.run("config", "-z", "--name-only", "--get-regexp", r"^filter\.").decode("utf-8", "surrogateescape")
    except Refusal:
        return []  # none
    names = {name.removeprefix("filter.").rpartition(".")[0] for name in listed.split("\0") if name}
    if odd := [name for name in names if "=" in name]:
        raise Refused(f"the clone has a filter that cannot be left out: {said(odd[0])}")
    off = [f"filter.{name}.{key}" for name in sorted(names) for key in ("clean=", "process=", "required=false")]
    return [word for setting in off for word in ("-c", setting)]
