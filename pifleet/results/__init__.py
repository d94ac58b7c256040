"""Owns bringing home what sandboxes produced, and looking at it offline: this is all that other parts may import.
It must not know patterns, hosts or the inventory; a sandbox is a stream, a name and a list of repositories."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pifleet.results.applying import Applied, apply
    from pifleet.results.choosing import Chosen, choose, kept_sandboxes
    from pifleet.results.comparing import Branch, UnitChange, compare, patch
    from pifleet.results.earlier import list_generations
    from pifleet.results.equality import differences
    from pifleet.results.limits import Limits
    from pifleet.results.lock import reserved
    from pifleet.results.outcome import Generation, Item, Pull, RepoResult
    from pifleet.results.outgoing.outcome import PutBack, UnitPut
    from pifleet.results.outgoing.returning import put_back
    from pifleet.results.pulling import pull
    from pifleet.results.restoring import Restored, restore
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
_ROOMS = {
    "applying": ("Applied", "apply"), "choosing": ("Chosen", "choose", "kept_sandboxes"),
    "comparing": ("Branch", "UnitChange", "compare", "patch"), "earlier": ("list_generations",),
    "equality": ("differences",), "limits": ("Limits",),
    "lock": ("reserved",), "outcome": ("Generation", "Item", "Pull", "RepoResult"),
    "outgoing.outcome": ("PutBack", "UnitPut"), "outgoing.returning": ("put_back",),
    "pulling": ("pull",), "restoring": ("Restored", "restore"),
    "review": ("Entry", "UnitView", "listing", "one_file", "overview"), "store.prune": ("Rule",),
    "store.verify": ("Proof", "Verdict"), "upkeep": ("aged", "forget", "verify"),
}


def __getattr__(name: str) -> Any:
    """Only the room that is asked for is imported: one pull needs few of them, and begins at once."""
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{room}"), name)
    raise AttributeError(name)
