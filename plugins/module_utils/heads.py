"""Owns which commit a sandbox's repository says it is at, read from files that the sandbox may have written.
It must not run git, follow a link or believe more than a name's and a hash's form."""

import os
import re

from ansible_collections.pifleet.fleet.plugins.module_utils import paths

REF_BYTES = 4096
SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
BRANCH = re.compile(r"refs/heads/([A-Za-z0-9_+=@,%#-][A-Za-z0-9_.+=@,%#/-]{0,199})")


def look(repository):
    """The head and branch of a repository, empty where they cannot be believed; None where nothing is."""
    if paths.look(repository, largest=0) is None:
        return None
    return _head(os.path.join(repository, ".git"))


def _head(git):
    """The commit and branch a repository says it is at; empty where it says nothing that can be believed."""
    text = (paths.read_file(os.path.join(git, "HEAD"), REF_BYTES) or b"").decode("ascii", "replace").strip()
    if SHA.fullmatch(text):
        return {"head": text, "branch": ""}
    branch = BRANCH.fullmatch(text[5:].strip()) if text.startswith("ref: ") else None
    if not branch or any(part in ("", ".", "..") for part in branch.group(1).split("/")):
        return {"head": "", "branch": ""}
    loose = (paths.read_file(os.path.join(git, branch.group(0)), REF_BYTES) or b"").decode("ascii", "replace").strip()
    head = loose if SHA.fullmatch(loose) else _packed(git, branch.group(0))
    return {"head": head, "branch": branch.group(1)}


def _packed(git, ref):
    for line in (paths.read_file(os.path.join(git, "packed-refs")) or b"").splitlines():
        sha, _, name = line.decode("ascii", "replace").partition(" ")
        if name == ref and SHA.fullmatch(sha):
            return sha
    return ""
