"""Owns every way we know in which work of a sandbox could run code, or change a file, on the machine that handles it.
It must not know pifleet: each wire is planted in a site, and sprung by the command that a careless program would run.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.results.plants import (
    SYSTEM_PYTHON,
    Deed,
    alternate_refs,
    as_its_user,
    both,
    by_git,
    commondir,
    config,
    embedded,
    file,
    gitfile,
    hard_link,
    home_config,
    hook,
    in_home,
    in_new_repository,
    include,
    link,
    link_chain,
    on_terminal,
    python_site,
    submodule,
    template,
    two_packs,
    worktree_config,
    writing,
)
from tests.results.site import CARELESS_ENV


@dataclass(frozen=True)
class Wire:
    plant: Deed
    spring: Deed


_COMMIT = by_git("commit", "-q", "-a", "-m", "x")
_HOOKS: dict[str, Deed] = {
    "pre-commit": _COMMIT, "prepare-commit-msg": _COMMIT, "commit-msg": _COMMIT, "post-commit": _COMMIT,
    "post-index-change": by_git("status"), "reference-transaction": by_git("update-ref", "refs/heads/x", "HEAD"),
    "post-checkout": by_git("checkout", "-f", "other"), "post-rewrite": by_git("commit", "--amend", "-m", "x"),
    "pre-merge-commit": by_git("merge", "-s", "ours", "-m", "x", "other"),
    "post-merge": by_git("merge", "-s", "ours", "-m", "x", "other"),
    "pre-rebase": by_git("rebase", "--autostash", "other"),
    "pre-push": by_git("push", ".", "HEAD:refs/heads/x"), "pre-receive": by_git("push", ".", "HEAD:refs/heads/x"),
    "update": by_git("push", ".", "HEAD:refs/heads/x"), "post-receive": by_git("push", ".", "HEAD:refs/heads/x"),
    "post-update": by_git("push", ".", "HEAD:refs/heads/x"),
}

WIRES: dict[str, Wire] = {
    "fsmonitor": Wire(config("core.fsmonitor"), by_git("status")),
    "filter-clean": Wire(config("filter.trip.clean"), by_git("add", "-A")),
    "filter-smudge": Wire(config("filter.trip.smudge"), by_git("checkout", "-f", "other")),
    "filter-process": Wire(config("filter.trip.process"), by_git("add", "-A")),
    "info-attributes": Wire(both(config("filter.own.clean"), file(".git/info/attributes", "* filter=own\n")),
                            by_git("add", "-A")),
    "diff-external": Wire(config("diff.external"), by_git("diff")),
    "diff-driver": Wire(config("diff.trip.command"), by_git("diff")),
    "diff-textconv": Wire(config("diff.trip.textconv"), by_git("log", "-p")),
    "merge-driver": Wire(config("merge.trip.driver"), by_git("merge", "--autostash", "other")),
    "difftool": Wire(config("difftool.trip.cmd"), by_git("difftool", "-y", "-t", "trip")),
    "pager": Wire(config("core.pager"), on_terminal("log")),
    "editor": Wire(config("core.editor"), by_git("commit", "-a")),
    "sequence-editor": Wire(config("sequence.editor"), by_git("rebase", "-i", "--autostash", "--root")),
    "alias": Wire(config("alias.st", value="!{trap}"), by_git("st")),
    "ssh-command": Wire(both(config("core.sshCommand"), config("remote.origin.url", value="ssh://box/x")),
                        by_git("fetch", "origin")),
    "remote-uploadpack": Wire(both(config("remote.origin.uploadpack"), config("remote.origin.url", value=".")),
                              by_git("fetch", "origin")),
    "remote-ext": Wire(both(config("protocol.ext.allow", value="always"),
                             config("remote.origin.url", value="ext::{trap}")), by_git("fetch", "origin")),
    "git-proxy": Wire(config("core.gitProxy"), by_git("ls-remote", "git://127.0.0.1:1/x")),
    "credential-helper": Wire(config("credential.helper"),
                              by_git("credential", "fill", data="protocol=https\nhost=x\n\n")),
    "askpass": Wire(config("core.askPass"), by_git("credential", "fill", data="protocol=https\nhost=x\n\n")),
    "gpg-program": Wire(both(config("gpg.program"), config("commit.gpgSign", value="true")), _COMMIT),
    "trailer-command": Wire(config("trailer.t.command"), by_git("interpret-trailers")),
    "archive-format": Wire(config("tar.trip.command"), by_git("archive", "--format=trip", "HEAD")),
    "alternate-refs": Wire(alternate_refs, by_git("rev-list", "--alternate-refs")),
    "submodule-update": Wire(submodule, by_git("submodule", "update", "--force")),
    "include": Wire(include("include.path"), by_git("status")),
    "include-if": Wire(include("includeIf.gitdir:{root}/.path"), by_git("status")),
    "worktree-config": Wire(worktree_config, by_git("status")),
    "commondir": Wire(commondir, by_git("status")),
    "gitfile": Wire(gitfile, by_git("status")),
    "embedded-repository": Wire(embedded, lambda site, name: site.careless(site.repo(name) / "data", "git", "status")),
    "hooks-path": Wire(both(config("core.hooksPath", value=".husky"), hook("pre-commit", ".husky")), _COMMIT),
    **{f"hook-{kind}": Wire(hook(kind), spring) for kind, spring in _HOOKS.items()},
    "hook-proc-receive": Wire(both(config("receive.procReceiveRefs", value="refs/for"), hook("proc-receive")),
                              by_git("push", ".", "HEAD:refs/for/x")),
    "hook-pre-auto-gc": Wire(both(two_packs, hook("pre-auto-gc")),
                             by_git("-c", "gc.autoPackLimit=1", "-c", "gc.autoDetach=false", "gc", "--auto")),
    "home-fsmonitor": Wire(home_config("core.fsmonitor"), as_its_user("git", "status")),
    "home-pack-hook": Wire(home_config("uploadpack.packObjectsHook"),
                           as_its_user("git", "clone", "--no-local", ".", "../../../clone")),
    "home-template": Wire(template, in_new_repository),
    "python-pth": Wire(python_site, as_its_user(SYSTEM_PYTHON, "-c", "")),
    "python-json": Wire(file("json.py", "import os; os.system({trap!r})\n"),
                        lambda site, name: site.careless(site.repo(name), SYSTEM_PYTHON, "-c", "import json")),
    "python-startup": Wire(in_home(".pythonrc", "import os; os.system({trap!r})\n"),
                           lambda site, name: site.careless(site.box.home, SYSTEM_PYTHON, "-i",
                                                            PYTHONSTARTUP=str(site.box.home / ".pythonrc"))),
    "bashrc": Wire(in_home(".bashrc", "{trap}\n"), as_its_user("bash", "-ic", "true")),
    "profile": Wire(in_home(".profile", "{trap}\n"), as_its_user("bash", "-lc", "true")),
    "program-git": Wire(file("bin/git", "#!/bin/sh\n{trap}\n", program=True),
                        lambda site, name: site.careless(site.repo(name) / "bin", "sh", "-c", "git status",
                                                         PATH=f".:{CARELESS_ENV['PATH']}")),
    "link-to-file": Wire(link("notes", "{victim}/secret"), writing("notes")),
    "link-to-folder": Wire(link("out", "{victim}"), writing("out/new")),
    "hard-link": Wire(hard_link, writing("twin")),
    "link-chain": Wire(link_chain, writing("esc/new")),
}
