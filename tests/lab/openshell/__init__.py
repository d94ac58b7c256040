"""A test double of an OpenShell gateway, generation 0.0.x: its protocol, its sandboxes, its traps, none of its code.

Owns everything that stands in for OpenShell in tests; must not know pifleet, and must accept nothing that a real
gateway would refuse.
"""
