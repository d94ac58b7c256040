"""What a sandbox's StatefulSet and pod are in our words."""

from __future__ import annotations

import pytest

from pifleet.kube.pods import state_of, trouble_of, waits_for

WANTED = {"spec": {"replicas": 1}}


def pod(phase="Running", *, ready=True, state=None, deleted=False, **status):
    one = {"state": {"running": {}} if state is None else state, "image": "pi:1"}
    conditions = [{"type": "Ready", "status": str(ready)}]
    metadata = {"deletionTimestamp": "2026-11-30T12:00:00Z"} if deleted else {}
    return {"metadata": metadata,
            "status": {"phase": phase, "conditions": conditions, "containerStatuses": [one], **status}}


def waiting(reason):
    return pod("Pending", ready=False, state={"waiting": {"reason": reason, "message": "the cluster's words"}})


def silent():
    """One whose node no longer says anything."""
    found = pod(ready=False)
    found["status"]["conditions"].append({"type": "ContainersReady", "status": "True"})
    return found


def owned(uid):
    found = pod()
    found["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "uid": uid}]
    return found


@pytest.mark.parametrize(("owner", "found", "state"), [
    (None, None, "missing"), (None, pod(), "missing"),
    ({"spec": {"replicas": 0}}, None, "stopped"), ({"spec": {"replicas": 0}}, pod(), "stopped"),
    (WANTED, None, "starting"), (WANTED, pod("Pending", ready=False, state={}), "starting"),
    (WANTED, pod(deleted=True), "starting"), (WANTED, waiting("ContainerCreating"), "starting"),
    (WANTED, pod(ready=False, state={"waiting": {"reason": "PodInitializing"}}), "starting"),
    (WANTED, pod(), "running"), ({"spec": {}}, pod(), "running"),
    (WANTED, waiting("ErrImageNeverPull"), "error"), (WANTED, waiting("CrashLoopBackOff"), "error"),
    (WANTED, pod("Failed", reason="Evicted"), "error"),
    (WANTED, pod(ready=False), "running"), (WANTED, silent(), "unknown"), (WANTED, pod("Unknown"), "unknown"),
    (WANTED, {"metadata": {}}, "unknown"),
    ({**WANTED, "metadata": {"uid": "new"}}, owned("new"), "running"),
    ({**WANTED, "metadata": {"uid": "new"}}, owned("old"), "starting"),
])
def test_the_state_of_a_sandbox(owner, found, state):
    assert state_of(owner, found) == state


def test_why_a_pod_does_not_run_is_in_the_clusters_words():
    assert trouble_of(waiting("ErrImageNeverPull")) == "ErrImageNeverPull: the cluster's words"
    assert trouble_of(pod("Failed", reason="Evicted", message="low on memory")) == "Evicted: low on memory"
    assert trouble_of(waiting("ContainerCreating")) == ""


def test_what_a_pod_waits_for_is_in_the_clusters_words():
    unbound = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    assert waits_for({"metadata": {}, "status": {"conditions": [unbound]}}) == "Unschedulable: 0/1 nodes"
    assert waits_for(None) == ""
