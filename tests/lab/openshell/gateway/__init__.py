"""The test double's gateway: speaks generation 0.0.x of the protocol, and runs each sandbox as a Docker container.

It imports neither pifleet nor the rest of the tests, for on a lab's host it runs packed, beside its own libraries.
"""
