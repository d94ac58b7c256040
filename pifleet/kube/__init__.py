"""Owns everything that speaks to a cluster's API server; the only package that imports `kubernetes`.
It must not know sandboxes by their pattern, or what a fleet should look like."""
