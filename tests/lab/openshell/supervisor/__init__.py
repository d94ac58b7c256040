"""The test double's supervisor: the first process of each sandbox's container. Python's standard library only, for it
runs inside images that have no Python, with the one of the gateway's host.
"""
