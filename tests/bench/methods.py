"""Owns the ways to bring a sandbox's work home: ours, rsync, git, tar; each over the same link, as its users call it.
It must not know workloads."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.link import Link, Run
from tests.bench.place import GIT_ENV, PYTHON, ROOT, Failed, clear, git, run

_FETCH = ("-c", "protocol.ext.allow=always", "-c", "fetch.fsckObjects=true", "-c", "gc.auto=0", "fetch", "-q")


class Sandbox:
    """The measured end as folders of this machine: workspace, session logs, and the home of its user."""

    def __init__(self, base: Path) -> None:
        self.base, self.workspace, self.home = base, base / "workspace", base / "home"
        self.sessions = self.home / ".pi/agent/sessions"
        self.workspace.mkdir(parents=True)
        self.sessions.mkdir(parents=True)


@dataclass(frozen=True)
class Ours:
    """pifleet's pull in a process of its own, so that its start and its memory count."""

    sandbox: Sandbox
    results: Path
    repos: Iterable[str] = ()
    plain: bool = False

    argv = (PYTHON, "-m", "tests.bench.home")

    def told(self, link: Link | None = None) -> dict[str, Any]:
        box = self.sandbox
        return {"workspace": str(box.workspace), "sessions": str(box.sessions), "home": str(box.home),
                "results": str(self.results), "repos": list(self.repos), "plain": self.plain,
                "link": link.argv if link else []}

    def pull(self, link: Link) -> Run:
        data = json.dumps(self.told(link)).encode()
        return link.measure(lambda: run(self.argv, data=data, cwd=ROOT))

    def upstream(self, repo: str) -> Path:
        """Where the objects of a repository's upstream are looked for at home."""
        return self.results / ".store" / "upstream" / f"{repo}.git"

    def forget(self) -> None:
        """As before the first pull, at both ends."""
        clear(self.results)
        clear(self.sandbox.home / ".cache")


def rsync(link: Link, source: Path, target: Path) -> Run:
    """rsync -a --delete; it puts a host's name before the far command, and `env` is one that runs it."""
    return link.measure(lambda: run(["rsync", "-a", "--delete", "-e", link.shell, f"env:{source}/", f"{target}/"]))


def tar_zstd(link: Link, source: Path, target: Path) -> Run:
    """tar | zstd -1, unpacked into a new folder."""
    clear(target)
    target.mkdir()
    pack = [*link.argv, "sh", "-c", 'tar -C "$1" -cf - . | zstd -q -1 -c', "sh", str(source)]

    def work() -> None:
        with (subprocess.Popen(pack, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as far,
              subprocess.Popen(["zstd", "-q", "-d", "-c"], stdin=far.stdout, stdout=subprocess.PIPE) as plain):
            run_from(plain, ["tar", "-x", "-C", str(target)])
        if far.returncode or plain.returncode:
            raise Failed("tar | zstd failed")

    return link.measure(work)


def run_from(source: subprocess.Popen[bytes], argv: list[str]) -> None:
    subprocess.run(argv, stdin=source.stdout, check=True)


class GitFetch:
    """`git fetch` into a bare repository, after a snapshot of the work tree where one is asked for.

    The snapshot is made beside the repository, as a private index and new objects, because the other
    methods read the same repository.
    """

    def __init__(self, repository: Path, target: Path, beside: Path) -> None:
        self._repository, self._target, self._beside = repository, target, beside
        clear(beside)
        beside.parent.mkdir(parents=True, exist_ok=True)
        git(beside.parent, "init", "-q", "--bare", beside)
        (beside / "objects/info/alternates").write_text(f"{repository / '.git/objects'}\n")

    def fetch(self, link: Link, *, snapshot: bool) -> Run:
        return link.measure(lambda: self._fetch(link, snapshot=snapshot))

    def _fetch(self, link: Link, *, snapshot: bool) -> None:
        source = self._repository / ".git"
        if snapshot:
            run([*link.argv, "sh", "-ec", _SNAPSHOT, "sh", str(self._repository), str(self._beside)], env=GIT_ENV)
            source = self._beside
        far = f"ext::{link.shell} git-upload-pack {source}"
        run(["git", *_FETCH, "--no-tags", far, "+refs/heads/*:refs/sandbox/*"], cwd=self._target, env=GIT_ENV)


_SNAPSHOT = """
cp "$1/.git/index" "$2/index"
export GIT_DIR="$2" GIT_WORK_TREE="$1" GIT_INDEX_FILE="$2/index"
cd "$1"
git add -A
last=$(git rev-parse -q --verify refs/heads/snapshot || true)
head=$(git --git-dir="$1/.git" rev-parse HEAD)
git --git-dir="$1/.git" for-each-ref --format="update %(refname) %(objectname)" refs/heads | git update-ref --stdin
git update-ref refs/heads/snapshot "$(git commit-tree -p "$head" ${last:+-p "$last"} -m snapshot "$(git write-tree)")"
"""
