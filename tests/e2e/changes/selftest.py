"""The comparison without a cluster: a small truth, a record that fits it, and records with one fault each.

Each fault must be reported as what it is, and nothing else may be.
"""

import copy
import json
import sqlite3
import tempfile

import compare
from body import canonical, plain, pruned, resolve, unlike
from client import Resource
from matrix import RESOURCES
from truth import check_states, compile_truth

SECONDS = 1_700_000_000


def time_of(offset):
    return f"2023-11-14T22:{13 + (20 + offset) // 60:02}:{(20 + offset) % 60:02}.000000Z"  # SECONDS plus an offset


def entry(manager, offset, fields, operation="Update", **more):
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "time": time_of(offset).replace(".000000", ""),
            "fieldsType": "FieldsV1", "fieldsV1": fields, **more}


def deployment(version, image, entries, labels=None, annotations=None):
    meta = {"name": "web", "namespace": "shop", "uid": "u-web", "resourceVersion": str(version), "creationTimestamp": time_of(-100),
            "labels": labels or {}, "annotations": annotations or {}, "managedFields": entries}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 1, "template": {"spec": {"containers": [
        {"name": "app", "image": image, "env": [{"name": "A", "value": "1"}]}]}}}, "status": {"replicas": version}}


def config_map(version, data, entries, name="settings", **meta):
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata": {
        "name": name, "namespace": "shop", "uid": f"u-{name}", "resourceVersion": str(version), "creationTimestamp": time_of(10),
        "managedFields": entries, **meta}}


IMAGE = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': {".": {}, "f:image": {}}}}}}}
TEAM = {"f:metadata": {"f:labels": {"f:team": {}}}}
DATA = {"f:data": {".": {}, "f:mode": {}}}


def history():
    image = entry("kubectl-set", 2, IMAGE)
    team = [image, entry("bob", 4, TEAM)]
    noise = {"example.test/tick": "0", "deployment.kubernetes.io/revision": "2"}
    deployments = [
        (10, "LISTED", deployment(10, "app:1", []), "list"),
        (12, "MODIFIED", deployment(12, "app:2", [image]), "watch"),
        (14, "MODIFIED", deployment(14, "app:2", team, {"team": "a"}), "watch"),
        # Makes no row.
        (16, "MODIFIED", deployment(16, "app:2", team, {"team": "a"}, {"deployment.kubernetes.io/revision": "2"}), "watch"),
        # Eight changes of one path, which fold.
        *((30 + n, "MODIFIED", deployment(30 + n, "app:2", [*team, entry("ticker", 30 + n,
            {"f:metadata": {"f:annotations": {"f:example.test/tick": {}}}})],
                                          {"team": "a"}, {**noise, "example.test/tick": str(n)}), "watch") for n in range(8))]
    created = config_map(20, {"mode": "a"}, [entry("kubectl-create", 10, DATA)])
    config_maps = [
        (20, "ADDED", created, "watch"),
        (21, "MODIFIED", config_map(21, {"mode": "b"}, [entry("sync", 11, DATA)]), "watch"),
        (22, "DELETED", config_map(22, {"mode": "b"}, [entry("sync", 11, DATA)]), "watch"),
        (23, "ADDED", config_map(23, {"mode": "b"}, [entry("kubectl-create", 13, DATA)], "child", ownerReferences=[{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "settings", "uid": "u-settings"}]), "watch")]
    config_maps.append((24, "DELETED", config_map(24, {"mode": "b"}, [], "child", ownerReferences=[{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "settings", "uid": "u-settings"}]), "watch"))

    def received(states):
        return [(version, kind, found, SECONDS + version - 10 + 0.3, how) for version, kind, found, how in states]

    return {"deployments": (RESOURCES["deployments"], received(deployments)), "configmaps": (RESOURCES["configmaps"],
        received(config_maps))}


def audit():
    def line(verb, plural, name, version, manager, offset, user="admin", **more):
        return json.dumps({
            "stage": "ResponseComplete", "verb": verb, "userAgent": f"{manager}/v1", "user": {"username": user},
            "requestURI": f"/api/v1/namespaces/shop/{plural}/{name}", "responseStatus": {"code": 200},
            "objectRef": {"resource": plural, "namespace": "shop", "name": name}, "requestReceivedTimestamp": time_of(offset),
            "stageTimestamp": time_of(offset), "responseObject": {"metadata": {"name": name,
                "resourceVersion": str(version)} if version else {}}, **more})

    collector = "system:serviceaccount:kube-system:generic-garbage-collector"
    return [
        line("patch", "deployments", "web", 12, "kubectl-set", 2), line("patch", "deployments", "web", 14, "bob", 4),
        line("patch", "deployments", "web", 16, "noise", 6), *(line("patch", "deployments", "web", 30 + n, "ticker",
            20 + n) for n in range(8)),
        line("create", "configmaps", "settings", 20, "kubectl-create", 10), line("patch", "configmaps", "settings", 21, "sync", 11),
        line("delete", "configmaps", "settings", None, "kubectl", 12), line("create", "configmaps", "child", 23, "kubectl-create", 13),
        line("delete", "configmaps", "child", None, "kube-controller-manager", 14, user=collector), '{"cut off'[:5]]


def plan(states):
    def step(number, plural, name, before, after, expect, field, way):
        resource = RESOURCES[plural]
        found = {version: one for version, _, one, _, _ in states[plural][1] if one["metadata"]["name"] == name}
        return {"n": number, "phase": "live", "class": field, "way": way, "expect": expect, "resource": plural, "group": resource.group,
                "kind": resource.kind, "namespace": "shop", "name": name, "start": SECONDS + (after or 22) - 10,
                    "end": SECONDS + (after or 22) - 9.5,
                "uid": f"u-{name}", "after_uid": f"u-{name}" if after else None, "rv_before": before, "rv_after": after,
                "after": found[after] if after else None}

    return [step(0, "deployments", "web", 10, 12, "changed", "image", "kubectl set image"), step(1, "deployments", "web", 12, 14,
        "changed", "labels", "kubectl label"),
            step(2, "deployments", "web", 14, 16, "nothing", "revision of a Deployment", "unwanted"),
            step(3, "configmaps", "settings", None, 20, "created", "creation", "kubectl create"),
            step(4, "configmaps", "settings", 20, 21, "changed", "data", "a client's PATCH"),
            step(5, "configmaps", "settings", 21, None, "deleted", "deletion", "kubectl delete")]


def row(number, kind, name, op, version, fields=(), by=(), **more):
    return {"id": f"evt_{number}", "event_type": "cluster", "object_kind": kind, "object_namespace": "shop", "object_name": name,
            "created_at": time_of(version - 10), "metadata": {
                "api_group": {"Deployment": "apps"}.get(kind), "op": op, "resource_version": str(version), "fields": list(fields),
                "by": [{"manager": one, "operation": "Update", "certainty": "field"} for one in by], **more}}


PATH = "spec.template.spec.containers[app].image"
TICK = 'metadata.annotations["example.test/tick"]'


def record():
    rows = [
        row(0, "Deployment", "web", "changed", 12, [{"path": PATH, "op": "changed", "from": "app:1", "to": "app:2"}], ["kubectl-set"]),
        row(1, "Deployment", "web", "changed", 14, [{"path": "metadata.labels.team", "op": "added", "to": "a"}], ["bob"]),
        row(2, "ConfigMap", "settings", "created", 20, [], ["kubectl-create"]),
        row(3, "ConfigMap", "settings", "changed", 21, [{"path": "data.mode", "op": "changed", "from": "#0a0a0a0a",
            "to": "#0b0b0b0b"}], ["sync"]),
        row(4, "ConfigMap", "settings", "deleted", 22, cause={"kind": "request", "certainty": "inferred"}),
        row(5, "ConfigMap", "child", "created", 23, [], ["kubectl-create"]),
        row(6, "ConfigMap", "child", "deleted", 24, cause={"kind": "owner deleted", "certainty": "inferred"})]
    ticks = [row(10, "Deployment", "web", "changed", 30, [{"path": TICK, "op": "added", "to": "0"}], ["ticker"])]
    ticks += [row(10 + n, "Deployment", "web", "changed", 30 + n, [{"path": TICK, "op": "changed", "from": str(n - 1), "to": str(n)}],
        ["ticker"]) for n in (1, 2, 3, 4, 5)]
    fold = row(16, "Deployment", "web", "changed", 37, [{"path": TICK, "op": "changed", "from": "5", "to": "7"}], ["ticker"], occurrences=2)
    return rows + ticks + [fold]


def faults():
    """(what is done to the record, the misses that must be reported)."""

    def without(number):
        return lambda rows: rows.pop(next(n for n, one in enumerate(rows) if one["id"] == f"evt_{number}"))

    def at(number, change):
        return lambda rows: change(next(one for one in rows if one["id"] == f"evt_{number}"))

    def more(found):
        return lambda rows: rows.append(found)

    stranger = [{"manager": "mallory"}]
    twice = copy.deepcopy(record()[0])
    twice["id"] = "evt_99"
    yield "nothing", lambda rows: None, []
    yield "a lost change", without(1), ["lost"]
    yield "a lost deletion", without(4), ["lost"]
    yield "a doubled change", more(twice), ["doubled"]
    yield "a wrong author", at(1, lambda one: one["metadata"].update(by=stranger)), ["author"]
    yield "a wrong author beside the right one", at(0, lambda one: one["metadata"]["by"].extend(stranger)), ["author"]
    yield "an author that could be known", at(1, lambda one: one["metadata"].update(by=[])), ["author not found"]
    yield "a wrong old value", at(0, lambda one: one["metadata"]["fields"][0].update({"from": "app:0"})), ["fields"]
    yield "a wrong new value", at(0, lambda one: one["metadata"]["fields"][0].update(to="app:3")), ["fields"]
    yield "a path that is missing", at(0, lambda one: one["metadata"].update(fields=[])), ["fields"]
    yield "a path that did not change", at(0, lambda one: one["metadata"]["fields"].append(
        {"path": "spec.replicas", "op": "changed", "from": 1, "to": 1})), ["fields"]
    yield "a path that does not exist", at(0, lambda one: one["metadata"]["fields"].append(
        {"path": "spec.paused", "op": "added", "to": True})), ["fields"]
    yield "marks that are equal", at(3, lambda one: one["metadata"]["fields"][0].update(to="#0a0a0a0a")), ["fields"]
    yield "a wrong cause", at(6, lambda one: one["metadata"].update(cause={"kind": "rollout"})), ["cause"]
    yield "a cause that could be known", at(6, lambda one: one["metadata"].update(cause={"kind": "request"})), ["cause not found"]
    yield "a client's deletion with another cause", at(4, lambda one: one["metadata"].update(cause={"kind": "owner deleted"})), ["cause"]
    yield "a row for an unwanted write", more(row(98, "Deployment", "web", "changed", 16, [
        {"path": 'metadata.annotations["deployment.kubernetes.io/revision"]', "op": "added", "to": "2"}])), ["invented", "unwanted"]
    yield "a row about nothing", more(row(97, "Service", "ghost", "changed", 15)), ["invented"]
    yield "a row about a Secret", more(row(96, "Secret", "ghost", "changed", 15)), ["secret", "invented"]
    yield "another operation", at(2, lambda one: one["metadata"].update(op="changed")), ["operation"]
    yield "a wrong time", at(0, lambda one: one.update(created_at=time_of(40))), ["time"]
    yield "a time between others", at(0, lambda one: one["metadata"].update(between=[time_of(20), time_of(21)])), ["time"]
    yield "a fold that counts too few", at(16, lambda one: one["metadata"].update(occurrences=1)), ["fields", "lost"]
    yield "a fold that counts too many", at(16, lambda one: one["metadata"].update(occurrences=3)), ["doubled"]
    yield "a fold with a wrong first value", at(16, lambda one: one["metadata"]["fields"][0].update({"from": "4"})), ["fields"]


def stored(body):
    """A body as a revision stores it: lists with names as maps with an order."""
    if isinstance(body, dict):
        return {("~" + key if key.startswith("~") else key): stored(one) for key, one in body.items()}
    if isinstance(body, list) and body and all(isinstance(one, dict) and "name" in one for one in body):
        return {"~": [one["name"] for one in body], **{one["name"]: stored(one) for one in body}}
    return body


def run():
    passed = failed = 0

    def check(what, holds, detail=""):
        nonlocal passed, failed
        holds = bool(holds)
        passed, failed = passed + holds, failed + (not holds)
        if not holds:
            print(f"FAIL the comparison itself: {what}")
            for text in str(detail).splitlines()[:12]:
                print(f"     | {text[:400]}")

    states_of = history()
    steps = plan(states_of)
    lines, states, problems = compile_truth(states_of, audit(), steps)
    check("the truth has no problem", not problems, "\n".join(problems))
    check("what was read is what was watched", not check_states(steps, states, canonical))
    ops = [line["op"] for line in lines]
    wanted = {"changed": 11, "created": 2, "deleted": 2, "none": 1}
    check("the truth has each change", all(ops.count(op) == number for op, number in wanted.items()), ops)
    check("managedFields prove the authors", all(line["known"] for line in lines if line["op"] in ("created", "changed")), [
        (line["op"], line["rvs"], line["unknown"]) for line in lines if not line["known"]])
    lost_step = {**steps[0], "rv_before": 16, "rv_after": 17, "n": 9}
    check("a step that the watches do not show is reported", compile_truth(states_of, audit(), [*steps, lost_step])[2])
    loud = {**steps[2], "rv_before": 10, "rv_after": 12, "n": 9}
    check("an unwanted step that changes the object is reported", compile_truth(states_of, audit(), [*steps, loud])[2])
    for what, damage, expected in faults():
        rows = copy.deepcopy(record())
        damage(rows)
        report, _ = compare.compare(copy.deepcopy(lines), [compare.Row(one) for one in rows])
        found = sorted({kind for kind, _ in report.misses})
        check(f"{what} is reported as {expected or 'nothing'}", found == sorted(expected),
            "\n".join(report.shown()) or "nothing was reported")
    # Bodies
    recorded = {}
    for state in states:
        key = state["kind"], state["group"], state["namespace"], state["name"]
        recorded.setdefault(key, []).append((state["rv"], pruned(plain(stored(state["body"]))), 0))
    count, misses = compare.compare_bodies(states, recorded)
    check("equal bodies are equal", count["equal"] == len(states) and not misses, misses)
    for key, change in (("spec", {"replicas": 2}), ("status", {"extra": 1})):
        other = copy.deepcopy(recorded)
        version, body, _ = other["Deployment", "apps", "shop", "web"][1]
        other["Deployment", "apps", "shop", "web"][1] = version, {**body, key: {**body.get(key, {}), **change}}, 0
        count, misses = compare.compare_bodies(states, other)
        check(f"a body with another {key} is reported", count["different"] == 1 and len(misses) == 1, misses)
    other = copy.deepcopy(recorded)
    del other["Deployment", "apps", "shop", "web"][2]
    check("a body that is missing is reported", compare.compare_bodies(states, other)[0]["different"] >= 1)
    # The query that rebuilds bodies is that of the documents, or the comparison fails.
    for page, holds in (("```sql\nSELECT 1;\n```\n", False), ("```sql\nWITH RECURSIVE a AS (SELECT json_patch(1, 2)) SELECT 1;\n```\n", True)):
        try:
            is_found = "json_patch" in compare.documented_query(page)
        except compare.NotWritten:
            is_found = False
        check("the query of the documents is found if there is one", is_found == holds)
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        with sqlite3.connect(file.name) as connection:
            connection.executescript(
                "CREATE TABLE tracked_kind (id, api_group, kind); CREATE TABLE tracked_object (id, kind, namespace, name);"
                "CREATE TABLE revision (id, resource_version, body, left_out);"
                "INSERT INTO tracked_kind VALUES (1, '', 'ConfigMap'); INSERT INTO tracked_object VALUES (2, 1, 'shop', 'x');"
            )
            connection.executemany("INSERT INTO revision VALUES (?, ?, ?, NULL)", [(2 << 24 | 2, 5, None), (2 << 24 | 1, 3,
                '{"a":{"~":["b"],"b":{"name":"b"}}}')])
        found = compare.revisions(file.name, "SELECT body FROM revision WHERE id = ?1")
        check("bodies are read in order", found == {("ConfigMap", "", "shop", "x"): [(3, {"a": [{"name": "b"}]}, 0), (5, None, 0)]}, found)
    # Paths
    body = {"spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"name": "x", "port": 81}], "rules": [{"a": 1}, {"a": 2}],
        "taints": [{"key": "k", "effect": "e"}]}}
    for path, value in (("spec.ports[80/TCP].port", 80), ("spec.ports[x].port", 81), ("spec.rules[1].a", 2), ("spec.taints[k/e].key", "k")):
        check(f"path {path}", (resolve(path, body) or (0, None))[1] == value)
    check("a path that is not there", resolve("spec.rules[2].a", body) is None)
    check("an unlike body", unlike({"a": [1, 2]}, {"a": [1, 3]}) and not unlike({"a": "#01234567"}, {"a": "x"}))
    check("kinds have URLs", Resource("apps", "v1", "deployments", "Deployment", True).path("a",
        "b") == "/apis/apps/v1/namespaces/a/deployments/b")
    print(f"{'FAIL' if failed else 'ok  '} the comparison itself: {passed} of {passed + failed} faults and forms are seen as what they are")
    return failed
