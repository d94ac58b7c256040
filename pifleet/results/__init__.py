"""Owns bringing home what sandboxes produced, and looking at it offline: this is all that other parts may import.
It must not know patterns, hosts or the inventory; a sandbox is a stream, a name and a list of repositories."""

from pifleet.results.apply import Applied, apply
from pifleet.results.choosing import Chosen, choose, kept_sandboxes
from pifleet.results.comparing import Branch, UnitChange, compare, patch
from pifleet.results.equality import differences
from pifleet.results.limits import Limits
from pifleet.results.lock import reserved
from pifleet.results.outcome import Generation, Item, Pull, RepoResult
from pifleet.results.outgoing.outcome import PutBack, UnitPut
from pifleet.results.outgoing.returning import put_back
from pifleet.results.pulling import list_generations, pull
from pifleet.results.restore import Restored, restore
from pifleet.results.review import Entry, UnitView, listing, one_file, overview
from pifleet.results.store.prune import Rule
from pifleet.results.store.verify import Proof, Verdict
from pifleet.results.upkeep import aged, forget, verify

__all__ = [
    "Applied", "Branch", "Chosen", "Entry", "Generation", "Item", "Limits", "Proof", "Pull", "PutBack", "RepoResult",
    "Restored", "Rule", "UnitChange", "UnitPut", "UnitView", "Verdict", "aged", "apply", "choose", "compare",
    "differences", "forget", "kept_sandboxes", "list_generations", "listing", "one_file", "overview", "patch", "pull",
    "put_back", "reserved", "restore", "verify",
]
