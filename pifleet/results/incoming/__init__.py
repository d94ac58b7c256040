"""Owns taking a sandbox's answer: bytes, frames, records, packs into a quarantine, and looking at what landed there.
It must not make anything visible: that is the store's one step."""
