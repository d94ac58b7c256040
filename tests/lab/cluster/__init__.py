"""A real Kubernetes cluster to test on, built from pinned Go modules and started in namespaces of its own.

`python -m tests.lab cluster up` starts it, tests import `Cluster`; it must not know what pifleet does to it.
"""

from tests.lab.cluster.cluster import Cluster

__all__ = ["Cluster"]
