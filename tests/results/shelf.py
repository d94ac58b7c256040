"""A plain folder and the store behind it, without a sandbox: generations are given as files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pifleet.results import Limits
from pifleet.results.plain.folder import Folder
from pifleet.results.store.contents import Contents
from pifleet.results.store.homegit import HomeGit
from pifleet.results.units import Unit
from tests.results.box import git

Content = bytes | tuple[str, bytes]  # a file's bytes; ("link", target); ("program", bytes)
_MODES = {"file": b"100644", "program": b"100755", "link": b"120000"}
_FACTS = ("head", "snapshot", "index", "ignored", "artifacts", "blocks", "operation", "tips")


def link(target: bytes) -> Content:
    return "link", target


def program(data: bytes) -> Content:
    return "program", data


class Shelf:
    """One repository, `api`; what it holds is at `api`, paths are relative to that."""

    def __init__(self, base: Path, limits: Limits = Limits()) -> None:  # noqa: B008
        self.results, self.path = base / "results", base / "results/ana/main"
        self.api, self.memory = self.path / "api", base / "results/.store/ana-main.folder"
        self.memory.parent.mkdir(parents=True)
        self._store = base / "store.git"
        self._git = HomeGit(self._store, limits)
        HomeGit.create(self._store)
        self.folder = Folder(self.path, self.memory, ["api"], limits)

    def commit(self, files: Mapping[str, Content]) -> str:
        told = [b"commit refs/heads/made\ncommitter a <a@b> 1 +0000\ndata 0\ndeleteall\n"]
        for path, content in files.items():
            kind, data = content if isinstance(content, tuple) else ("file", content)
            told.append(b"M %s inline %s\ndata %d\n%s\n" % (_MODES[kind], path.encode(), len(data), data))
        git(self._store, "fast-import", "--quiet", "--force", data=b"".join(told))
        return git(self._store, "rev-parse", "refs/heads/made").decode()

    def blocks(self, files: Mapping[str, list[bytes]], times: int = 1) -> str:
        """The commit that lists big files of the snapshot, each given as its blocks; each so many times."""
        listed, entries = [], []
        for path, blocks in files.items():
            leaves = [b"100644 blob %s\t%08d" % (self._blob(block), at) for at, block in enumerate(blocks)]
            tree = git(self._store, "mktree", data=b"\n".join(leaves) + b"\n").decode()
            listed += [["snapshot", path, 0o100644, sum(map(len, blocks)), tree]] * times
            entries.append(f"040000 tree {tree}\t{tree}")
        entries.append(f"100644 blob {self._blob(json.dumps(listed).encode()).decode()}\tlist")
        tree = git(self._store, "mktree", data="\n".join(entries).encode() + b"\n").decode()
        return git(self._store, "commit-tree", tree, "-m", "blocks").decode()

    def _blob(self, data: bytes) -> bytes:
        return git(self._store, "hash-object", "-w", "--stdin", data=data)

    def cut_short(self, data: bytes) -> None:
        """Let the store's object of these bytes still say what it is, and hold only the first of them."""
        oid = self._blob(data).decode()
        loose = self._store / "objects" / oid[:2] / oid[2:]
        whole = loose.read_bytes()
        loose.unlink()
        loose.write_bytes(whole[: len(whole) // 2])

    def unit(self, **commits: str) -> Unit:
        return Unit("repo", b"api", "", dict.fromkeys(_FACTS, "") | {"stashes": []} | commits)

    def bring(self, number: int, files: Mapping[str, Content], **commits: str) -> dict[str, str]:
        """Path of a person's own -> why it stays, both as the pull says them."""
        return self.bring_unit(number, self.unit(snapshot=self.commit(files), **commits))

    def bring_unit(self, number: int, unit: Unit) -> dict[str, str]:
        receipt = b'{\n "generation": %d,\n}\n' % number
        self._blob(receipt)
        with Contents(self._git, Limits()) as contents:
            both = self.folder.bring(self.folder.plan([unit], contents), receipt, contents, number)
        return {kept.path: kept.reason for kept in both}

    def lose(self) -> None:
        """The store is made anew, with nothing in it."""
        shutil.rmtree(self._store)
        HomeGit.create(self._store)

    def there(self) -> dict[str, Content]:
        """Everything below `api` that is no folder."""
        found: dict[str, Content] = {}
        for path in self.api.rglob("*"):
            if path.is_symlink():
                found[str(path.relative_to(self.api))] = link(bytes(path.readlink()))
            elif path.is_file():
                data = path.read_bytes()
                found[str(path.relative_to(self.api))] = program(data) if path.stat().st_mode & 0o100 else data
        return found

