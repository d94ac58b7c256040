"""Owns bringing home what sandboxes produced, and looking at it offline: this is all that other parts may import.
It must not know patterns, hosts or the inventory; a sandbox is a stream, a name and a list of repositories."""

from pifleet.results.limits import Limits
from pifleet.results.outcome import Generation, Item, Pull, RepoResult
from pifleet.results.pulling import list_generations, pull

__all__ = ["Generation", "Item", "Limits", "Pull", "RepoResult", "list_generations", "pull"]
