"""A model gateway for tests and benches: nginx as pifleet configures it, below a folder of its own."""
