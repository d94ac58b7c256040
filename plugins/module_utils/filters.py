"""Owns the question whether the kernel's packet filter is what a file of rules says.
It must not know what the rules are for, and changes none of the host's own."""

import json
import subprocess

from ansible_collections.pifleet.fleet.plugins.module_utils import keep

SECONDS = 10
# A network namespace of its own knows no rules: there the file's become what nft itself makes of them.
LOAD_ASIDE = 'nft --file "$1" && exec nft -j list table inet pifleet'


def as_file(rules):
    """Whether table `inet pifleet` is `loaded` exactly as the file `rules` says, and what nft says if it is not."""
    wanted, why = _table(["unshare", "--net", "--", "sh", "-c", LOAD_ASIDE, "sh", rules])
    there, gone = _table(["nft", "-j", "list", "table", "inet", "pifleet"])
    return {"loaded": wanted is not None and wanted == there, "why": why or gone}


def _table(argv):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={"PATH": keep.COMMANDS}, timeout=SECONDS, universal_newlines=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["nft failed"])[0][:200]
    return [_bare(entry) for entry in json.loads(done.stdout)["nftables"] if "metainfo" not in entry], ""


def _bare(entry):
    """The same without the kernel's own numbers."""
    if isinstance(entry, dict):
        return {key: _bare(value) for key, value in entry.items() if key != "handle"}
    return [_bare(item) for item in entry] if isinstance(entry, list) else entry
