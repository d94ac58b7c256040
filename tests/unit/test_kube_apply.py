"""Objects brought to what a spec says: nothing is asked twice, and nothing that is known."""

from __future__ import annotations

from pifleet.kube.apply import Objects, come_to_run, have
from tests.unit.test_kube_client import api, server

__all__ = ["api", "server"]
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pi", "namespace": "acme-ana"}, "data": {"a": "1"}}


def entry(**more):
    return {"object": MAP, "values": {}, **more}


def asked(server):
    return [(method, path.partition("?")[0].removeprefix("/api/v1/namespaces/")) for method, path, _, _ in server.asked]


def done(api, server, *entries, answers):
    server.answers += [(200, answer) for answer in answers]
    with api() as opened:
        known = Objects(opened)
        return [change.key for one in entries for change in have(opened, known, [one], "acme-pifleet/tokens", str)]


def test_an_object_that_was_seen_missing_is_made_without_a_question(api, server):
    assert done(api, server, entry(missing=True), answers=[MAP]) == ["ConfigMap acme-ana/pi"]
    assert asked(server) == [("PATCH", "acme-ana/configmaps/pi")]


def test_an_object_that_is_as_it_should_be_is_asked_for_once_and_not_written(api, server):
    assert done(api, server, entry(), entry(missing=False), answers=[MAP]) == []
    assert asked(server) == [("GET", "acme-ana/configmaps/pi")]


def test_all_sandboxes_of_a_namespace_come_to_run_by_two_lists(api, server):
    def named(name):
        return {"kind": "StatefulSet", "metadata": {"name": name, "namespace": "acme-ana", "generation": 1},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"box": name}}}}

    def pod(name):
        return {"metadata": {"name": f"{name}-0", "labels": {"box": name}},
                "status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}}

    names = [f"pi-{number}" for number in range(20)]
    status = {"observedGeneration": 1, "updatedReplicas": 1}
    server.answers += [(200, {"items": [{**named(name), "status": status} for name in names]}),
                       (200, {"items": [pod(name) for name in names]})]
    with api() as opened:
        assert come_to_run(opened, [named(name) for name in names]) == {}
    assert len(server.asked) == 2


def test_the_pod_of_a_set_that_was_deleted_is_not_taken_for_that_of_the_new_one(api, server, monkeypatch):
    monkeypatch.setattr("pifleet.kube.apply.PAUSE", 0)
    named = {"kind": "StatefulSet", "metadata": {"name": "pi", "namespace": "acme-ana", "generation": 1, "uid": "new"},
             "spec": {"replicas": 1, "selector": {"matchLabels": {}}},
             "status": {"observedGeneration": 1, "updatedReplicas": 1}}

    def pod(uid):
        return {"metadata": {"name": "pi-0", "ownerReferences": [{"kind": "StatefulSet", "uid": uid}]},
                "status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}}

    for uid in ("old", "new"):
        server.answers += [(200, {"items": [named]}), (200, {"items": [pod(uid)]})]
    with api() as opened:
        assert come_to_run(opened, [named]) == {}
    assert len(server.asked) == 4
