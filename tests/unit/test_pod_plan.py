"""What somebody does to a cluster's objects by hand is a step that names it; what a server adds is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pifleet.egress import NEVER4, PRIVATE4, Destination
from pifleet.fleet import Fleet, Model, Sandbox
from pifleet.kube.pods import titles_of
from pifleet.patterns import compare
from pifleet.patterns.pod import cut, needs, seen
from pifleet.patterns.pod.desired import removal
from pifleet.patterns.pod.fields import differences, put_right
from pifleet.patterns.pod.objects import key_of
from pifleet.plan import Step
from pifleet.secret import SecretSource
from tests.unit.clusters import as_it_should_be, box, fleet, spec

CLAUDE = Model("claude", "anthropic-messages", "https://llm.example.com", SecretSource("env", "KEY"), ("c",))
MODELS = {"dry": Model("dry", "scripted"), "claude": CLAUDE}
FLEET = fleet(box("ana/main"), box("bo/main", other_models=("claude",)), models=MODELS)
SPEC = spec(FLEET)
SEEN = as_it_should_be(SPEC)


def with_cluster(**said: Any) -> Fleet:
    """The fleet with more said of its cluster."""
    prod = FLEET.hosts["prod"]
    assert prod.cluster
    return replace(FLEET, hosts={"prod": replace(prod, cluster=replace(prod.cluster, **said))})


def steps(seen: dict[str, Any]) -> list[Step]:
    return [step for step in compare(SPEC, seen) if step]


def changed(change: Callable[[dict[str, Any]], Any]) -> list[Step]:
    seen = copy.deepcopy(SEEN)
    change(seen["cluster"])
    return steps(told(seen))


def told(seen: dict[str, Any]) -> dict[str, Any]:
    """What a look says of objects that a test took away."""
    seen["cluster"]["titles"] = titles_of(seen["cluster"]["objects"])
    return seen


def pod_spec(there: dict[str, Any], key: str = "StatefulSet acme-ana/pi-ana-main") -> dict[str, Any]:
    found: dict[str, Any] = there["objects"][key]["spec"]["template"]["spec"]
    return found


def test_nothing_is_planned_where_everything_is_as_it_should_be() -> None:
    assert steps(SEEN) == []


def test_an_empty_cluster_gets_each_object_and_each_repository() -> None:
    empty = {**SEEN["cluster"], "objects": {}, "titles": {}, "pods": {}, "claims": {}, "repos": {}}
    found = steps({**SEEN, "cluster": empty})

    assert {step.action for step in found} == {"create"}
    assert [step.item for step in found if step.sandbox == "ana/main"] == [
        "Secret acme-ana/pi-ana-main", "ConfigMap acme-ana/pi-ana-main", "StatefulSet acme-ana/pi-ana-main", "web",
        "pod"]
    assert {"Namespace acme-pifleet", "Namespace acme-bo", "Deployment acme-pifleet/gateway"} <= {
        step.item for step in found}


@pytest.mark.parametrize("key", list(SEEN["cluster"]["objects"]))
def test_each_object_that_is_deleted_is_made_again(key: str) -> None:
    found = changed(lambda there: there["objects"].pop(key))

    assert (key, "create") in [(step.item, step.action) for step in found]


STATEFUL = "StatefulSet acme-ana/pi-ana-main"
DRIFT: list[tuple[str, Callable[[dict[str, Any]], Any], str, str, str]] = [
    ("a namespace whose pod security was widened",
     lambda o: o["Namespace acme-ana"]["metadata"]["labels"].update({"pod-security.kubernetes.io/enforce": "baseline"}),
     "Namespace acme-ana", "change", "metadata.labels.pod-security.kubernetes.io/enforce differs"),
    ("a quota that was raised",
     lambda o: o["ResourceQuota acme-ana/pifleet"]["spec"]["hard"].update({"pods": "50"}),
     "ResourceQuota acme-ana/pifleet", "change", "spec.hard.pods differs"),
    ("a role that got another rule",
     lambda o: o["Role acme-ana/developer"]["rules"].append({"apiGroups": [""], "resources": ["secrets"]}),
     "Role acme-ana/developer", "change", "rules differs"),
    ("a role that got another verb",
     lambda o: o["Role acme-ana/developer"]["rules"][0]["verbs"].append("delete"),
     "Role acme-ana/developer", "change", "rules.0.verbs differs"),
    ("a binding for somebody else",
     lambda o: o["RoleBinding acme-ana/developer"]["subjects"].append({"kind": "User", "name": "eve"}),
     "RoleBinding acme-ana/developer", "change", "subjects differs"),
    ("an account that gets a token",
     lambda o: o["ServiceAccount acme-ana/pi"].update(automountServiceAccountToken=True),
     "ServiceAccount acme-ana/pi", "change", "automountServiceAccountToken differs"),
    ("a policy that lets everything out",
     lambda o: o["NetworkPolicy acme-ana/default-deny"]["spec"].update(egress=[{}]),
     "NetworkPolicy acme-ana/default-deny", "change", "spec.egress differs"),
    ("a policy that lets more into the gateway",
     lambda o: o["NetworkPolicy acme-pifleet/gateway"]["spec"]["ingress"][0]["from"].append({"podSelector": {}}),
     "NetworkPolicy acme-pifleet/gateway", "change", "spec.ingress.0.from differs"),
    ("a file of pi's that was edited",
     lambda o: o["ConfigMap acme-ana/pi-ana-main"]["data"].update({"models.json": "{}"}),
     "ConfigMap acme-ana/pi-ana-main", "change", "data.models.json differs"),
    ("a file that was added",
     lambda o: o["ConfigMap acme-ana/pi-ana-main"]["data"].update(more="x"),
     "ConfigMap acme-ana/pi-ana-main", "change", "data.more differs"),
    ("another token", lambda o: o["Secret acme-ana/pi-ana-main"]["data"].update(token="another"),
     "Secret acme-ana/pi-ana-main", "change", "data.token differs"),
    ("another key", lambda o: o["Secret acme-pifleet/gateway-keys"]["data"].update({"claude.conf": "another"}),
     "Secret acme-pifleet/gateway-keys", "change", "data.claude.conf differs"),
    ("a key too many", lambda o: o["Secret acme-pifleet/gateway-keys"]["data"].update(more="x"),
     "Secret acme-pifleet/gateway-keys", "change", "data.more differs"),
    ("a service with another address",
     lambda o: o["Service acme-pifleet/gateway"]["spec"].update(clusterIP="198.18.0.9"),
     STATEFUL, "replace", "spec.template.spec.hostAliases.198.18.0.9"),
    ("a service for others", lambda o: o["Service acme-pifleet/gateway"]["spec"]["selector"].update(more="x"),
     "Service acme-pifleet/gateway", "change", "spec.selector.more differs"),
    ("a proxy that lets more out", lambda o: o["NetworkPolicy acme-pifleet/egress"]["spec"]["egress"].append({}),
     "NetworkPolicy acme-pifleet/egress", "change", "spec.egress differs"),
    ("a proxy with another list", lambda o: o["ConfigMap acme-pifleet/egress-0"]["data"].update(part="all"),
     "ConfigMap acme-pifleet/egress-0", "change", "data.part differs"),
    ("a gateway without replicas", lambda o: o["Deployment acme-pifleet/gateway"]["spec"].update(replicas=0),
     "Deployment acme-pifleet/gateway", "change", "spec.replicas differs"),
    ("a sandbox without replicas", lambda o: o[STATEFUL]["spec"].update(replicas=0),
     STATEFUL, "change", "spec.replicas differs"),
    ("a sandbox whose labels were changed",
     lambda o: o[STATEFUL]["metadata"]["labels"].update({"pifleet.io/developer": "eve"}),
     STATEFUL, "change", "metadata.labels.pifleet.io/developer differs"),
    ("claims that go with the sandbox",
     lambda o: o[STATEFUL]["spec"]["persistentVolumeClaimRetentionPolicy"].update(whenDeleted="Delete"),
     STATEFUL, "change", "spec.persistentVolumeClaimRetentionPolicy.whenDeleted differs"),
]


@pytest.mark.parametrize("row", DRIFT, ids=[row[0] for row in DRIFT])
def test_what_was_edited_by_hand_is_named(row: tuple[Any, ...]) -> None:
    _, change, item, action, why = row
    found = {step.item: step for step in changed(lambda there: change(there["objects"]))}

    assert found[item].action == action
    assert why in found[item].why


def _extra(pod: dict[str, Any]) -> None:
    pod["containers"].append({"name": "extra", "image": "x"})


def _mount_host(pod: dict[str, Any]) -> None:
    pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})


PODS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("another image", lambda pod: pod["containers"][0].update(image="evil"), "containers.pi.image"),
    ("another command", lambda pod: pod["containers"][0].update(command=["sh"]), "containers.pi.command.0"),
    ("arguments", lambda pod: pod["containers"][0].update(args=["sh"]), "containers.pi.args"),
    ("another user", lambda pod: pod["containers"][0]["securityContext"].update(runAsUser=0),
     "containers.pi.securityContext.runAsUser"),
    ("root's rights", lambda pod: pod["containers"][0]["securityContext"].update(privileged=True),
     "containers.pi.securityContext.privileged"),
    ("a capability", lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["NET_RAW"]),
     "containers.pi.securityContext.capabilities.add"),
    ("a root that can be written",
     lambda pod: pod["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False),
     "containers.pi.securityContext.readOnlyRootFilesystem"),
    ("more memory", lambda pod: pod["containers"][0]["resources"]["limits"].update(memory="64Gi"),
     "containers.pi.resources.limits.memory"),
    ("another variable", lambda pod: pod["containers"][0]["env"].append({"name": "KEY", "value": "x"}),
     "containers.pi.env.KEY"),
    ("a second container", _extra, "containers.extra"),
    ("a container before it", lambda pod: pod["initContainers"].append({"name": "first"}), "initContainers.first"),
    ("a folder of the node", _mount_host, "volumes.host"),
    ("the node's network", lambda pod: pod.update(hostNetwork=True), "hostNetwork"),
    ("the node's processes", lambda pod: pod.update(hostPID=True), "hostPID"),
    ("a token", lambda pod: pod.update(automountServiceAccountToken=True), "automountServiceAccountToken"),
    ("nothing said of a token", lambda pod: pod.pop("automountServiceAccountToken"), "automountServiceAccountToken"),
    ("another account", lambda pod: pod.update(serviceAccountName="developer"), "serviceAccountName"),
    ("a resolver", lambda pod: pod.update(dnsPolicy="ClusterFirst"), "dnsPolicy"),
]


@pytest.mark.parametrize("row", PODS, ids=[row[0] for row in PODS])
def test_what_was_done_to_a_pod_ends_it_and_is_named(row: tuple[Any, ...]) -> None:
    _, change, field = row
    found = changed(lambda there: change(pod_spec(there)))

    assert [(step.item, step.action) for step in found] == [(STATEFUL, "replace")]
    assert list(found[0].after) == [f"spec.template.spec.{field}"]


def test_a_pod_in_which_somebody_may_be_at_work_is_not_ended_unasked() -> None:
    def change(there: dict[str, Any]) -> None:
        pod_spec(there)["containers"][0]["image"] = "evil"
        there["pods"]["acme-ana/pi-ana-main-0"]["agent"] = None

    assert [step.destructive for step in changed(change)] == [True]


def test_a_pod_that_does_not_run_is_put_right_without_asking_anybody_inside() -> None:
    def change(there: dict[str, Any]) -> None:
        _extra(pod_spec(there))
        del there["pods"]["acme-ana/pi-ana-main-0"]

    assert [(step.item, step.action) for step in changed(change)] == [(STATEFUL, "change"), ("pod", "create")]


def test_what_the_server_fills_in_and_says_in_its_own_way_is_no_drift() -> None:
    def change(there: dict[str, Any]) -> None:
        pod = pod_spec(there)
        pod["containers"][0]["resources"]["limits"] = {"cpu": "2", "memory": "2Gi"}
        pod["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
        for name in ("hostNetwork", "initContainers", "hostPID"):
            pod.pop(name)
        there["objects"]["Namespace acme-ana"]["metadata"]["labels"]["kubernetes.io/metadata.name"] = "acme-ana"

    assert changed(change) == []


def test_a_sandbox_that_left_the_inventory_is_stopped_and_keeps_its_data() -> None:
    found = [step for step in compare(spec(fleet(box("bo/main", other_models=("claude",)), models=MODELS)), SEEN)
             if step and step.action == "stop"]

    assert [(step.sandbox, step.item) for step in found] == [("ana/main", STATEFUL)]


def test_a_pod_that_cannot_run_is_said_with_its_reason() -> None:
    def change(there: dict[str, Any]) -> None:
        there["pods"]["acme-ana/pi-ana-main-0"] |= {"state": "error", "why": "ImagePullBackOff"}

    assert [(step.item, step.why) for step in changed(change)] == [("pod", "pod is error: ImagePullBackOff")]


def test_a_workspace_that_nobody_could_look_into_is_not_cloned_into() -> None:
    found = changed(lambda there: (there["repos"].clear(), there["pods"].pop("acme-ana/pi-ana-main-0")))

    assert [(step.kind, step.item) for step in found] == [("sandbox", "pod")]


def test_the_proxys_way_out_is_what_the_lists_say_and_nothing_private_but_where_they_do() -> None:
    def ways_out(*listed: Destination) -> list[tuple[list[int], list[str] | None]]:
        made = spec(fleet(box("ana/main", egress=listed), box("bo/main"), models=MODELS))
        [policy] = [entry["object"]["spec"] for entry in made["cluster"]["objects"]
                    if key_of(entry["object"]) == "NetworkPolicy acme-pifleet/egress"]
        return [([port["port"] for port in way["ports"]], way["to"][0]["ipBlock"]["except"] if "to" in way else None)
                for way in policy["egress"]]

    names = ([53, 53], None)
    assert ways_out() == [names]
    assert ways_out(Destination("a.example.com", 443), Destination("git.lan", 8443, private=True)) == [
        names, ([443], [*NEVER4, *PRIVATE4]), ([8443], [*NEVER4])]


def test_another_list_makes_another_proxy_and_no_other_pod() -> None:
    before, after = (spec(fleet(box("ana/main", egress=listed), models=MODELS))["cluster"]["objects"]
                     for listed in ((), (Destination("a.example.com", 443),)))

    changed = {key_of(one["object"]) for one in after if one not in before}
    assert changed == {f"{kind} acme-pifleet/egress" for kind in ("NetworkPolicy", "Deployment")} | {
        "ConfigMap acme-pifleet/egress-0"}


def test_a_key_is_never_in_a_spec() -> None:
    assert "sk-poison" not in str(SPEC)


def test_what_serves_nobody_any_more_and_holds_nothing_is_taken_away() -> None:
    there = as_it_should_be(spec(fleet(box("ana/main"), box("bo/main"), box("cy/main"), models=MODELS)))
    for kind, namespace, name in (("ConfigMap", "acme-pifleet", "gateway-7"), ("RoleBinding", "other-cy", "developer")):
        there["cluster"]["objects"][f"{kind} {namespace}/{name}"] = {
            "kind": kind, "metadata": {"namespace": namespace, "name": name}}

    surplus = [step for step in steps(there) if step.after == {"there": False}]

    assert [step.item for step in surplus] == ["ConfigMap acme-pifleet/gateway-7", "RoleBinding acme-cy/developer"]
    assert cut(SPEC, there, surplus)["cluster"]["surplus"] == [step.item for step in surplus]


def test_what_nobody_enforces_is_said_loudly() -> None:
    seen = {"cluster": {**SEEN["cluster"], "enforcer": ""}}

    assert [check.text for check in needs(FLEET, "prod", seen) if check.verdict != "pass"] == [
        "no network plugin is known here that enforces them: pods may reach more than their gateway"]


@pytest.mark.parametrize(("size", "text", "then"), [
    ("10737418240", "", ""), ("10Gi", "", ""),
    ("5Gi", "5.0 GiB, and the inventory says 10 GiB; it keeps what it has",
     "kubectl -n acme-ana patch pvc workspace-pi-ana-main-0 -p '{\"spec\": {\"resources\": {\"requests\": "
     "{\"storage\": \"10737418240\"}}}}'"),
    ("20Gi", "20 GiB, and the inventory says 10 GiB; it keeps what it has", "")])
def test_a_volume_of_another_size_is_said_with_the_command_that_lets_it_grow(size: str, text: str, then: str) -> None:
    claims = {**SEEN["cluster"]["claims"], "acme-ana/workspace-pi-ana-main-0": size}
    said = needs(FLEET, "prod", {"cluster": {**SEEN["cluster"], "claims": claims}})

    assert [(one.text, one.try_) for one in said if one.name == "volume of ana/main"] == [(text, then)] * bool(text)


def test_a_cluster_without_storage_is_refused() -> None:
    there = {**SEEN["cluster"], "classes": {"storage": [], "default": "", "runtime": [], "priority": []}}

    failed = [check.name for check in needs(FLEET, "prod", {"cluster": there}) if check.verdict == "fail"]
    assert failed == ["storage class"]


@pytest.mark.parametrize(("runtime", "served", "verdict"), [
    ("", [""], "pass"), ("", [], "fail"), ("kata", [""], "fail"), ("kata", ["", "kata"], "pass")])
def test_users_of_their_own_need_nodes_that_serve_them(runtime: str, served: list[str], verdict: str) -> None:
    asked = with_cluster(user_namespaces=True, runtime_class=runtime)
    there = {**SEEN["cluster"], "user_namespaces": served}
    [check] = [one for one in needs(asked, "prod", {"cluster": there}) if one.name == "user namespaces"]

    assert check.verdict == verdict


@pytest.mark.parametrize(("field", "said"), [
    ("hostUsers", {"user_namespaces": True}), ("runtimeClassName", {"runtime_class": "gvisor"}),
    ("priorityClassName", {"priority_class": "low"}), ("nodeSelector", {"node_selector": {"disk": "ssd"}}),
    ("tolerations", {"tolerations": ({"key": "spot", "operator": "Exists"},)})])
def test_what_the_inventory_says_of_pods_is_noticed_and_so_is_that_it_says_it_no_more(
        field: str, said: dict[str, Any]) -> None:
    asked = spec(with_cluster(**said))

    for wanted, there in ((asked, SEEN), (SPEC, as_it_should_be(asked))):
        [found] = [step for step in compare(wanted, there) if step and step.item == "StatefulSet acme-ana/pi-ana-main"]
        assert [path for path in found.after if path.startswith(f"spec.template.spec.{field}")]


def test_what_is_put_right_differs_no_more() -> None:
    wanted = {"spec": {"containers": [{"name": "a", "image": "x", "args": []}], "data": {"k": "v"}, "list": [1]}}
    seen = {"spec": {"containers": [{"name": "b"}, {"name": "a", "image": "y", "args": ["z"], "kept": 1}],
                     "data": {"k": "v", "more": 1}, "list": [1, 2], "kept": True}}

    assert list(differences(wanted, seen)) == [
        "spec.containers.a.image", "spec.containers.a.args", "spec.containers.b", "spec.data.more", "spec.list"]
    right = put_right(wanted, seen)
    assert differences(wanted, right) == {}
    assert right["spec"]["kept"] is True
    assert right["spec"]["containers"][0]["kept"] == 1


def test_a_run_is_told_which_objects_were_seen_missing() -> None:
    seen = copy.deepcopy(SEEN)
    for key in ("StatefulSet acme-ana/pi-ana-main", "Role acme-bo/developer"):
        del seen["cluster"]["objects"][key]
    found = cut(SPEC, seen, steps(told(seen)))["cluster"]["objects"]

    assert [key_of(entry["object"]) for entry in found if entry["missing"]] == [
        "StatefulSet acme-ana/pi-ana-main", "Role acme-bo/developer"]


def test_a_removal_names_what_goes_and_a_namespace_goes_with_its_last_sandbox() -> None:
    ana, more, bo = box("ana/main"), box("ana/more"), box("bo/main")

    def going(boxes: list[Sandbox], stay: list[Sandbox]) -> list[list[str]]:
        return [one["objects"] for one in removal(FLEET, "prod", boxes, stay)["pods"]]

    own = [[f"{kind} acme-{at}/{name}" for kind, name in (
        ("StatefulSet", f"pi-{sandbox}"), ("Secret", f"pi-{sandbox}"), ("ConfigMap", f"pi-{sandbox}"),
        ("PersistentVolumeClaim", f"workspace-pi-{sandbox}-0"), ("PersistentVolumeClaim", f"agent-pi-{sandbox}-0"))]
        for at, sandbox in (("ana", "ana-main"), ("ana", "ana-more"), ("bo", "bo-main"))]
    assert going([ana], [more, bo]) == own[:1]
    assert going([ana, more], [bo]) == [own[0], [*own[1], "Namespace acme-ana"]]
    assert going([bo], []) == [[*own[2], "Namespace acme-bo", "Namespace acme-pifleet"]]


def test_who_sees_only_their_own_sandboxes_plans_nothing_and_is_told() -> None:
    own = {**SEEN, "cluster": {**SEEN["cluster"], "objects": {}, "pods": {}, "own": True, "hidden": ["bo/main"]}}

    assert list(compare(SPEC, own)) == []
    [check] = needs(FLEET, "prod", own)
    assert (check.verdict, check.name) == ("fail", "rights")


def test_a_sandbox_that_may_not_be_seen_is_not_called_missing() -> None:
    own = {"cluster": {**SEEN["cluster"], "own": True, "hidden": ["bo/main"], "objects": {}, "titles": {}}}

    found = {one.title: seen(own, one) for one in FLEET.sandboxes}
    assert found["ana/main"] is None
    assert found["bo/main"]
    assert found["bo/main"]["state"] == "unknown"
