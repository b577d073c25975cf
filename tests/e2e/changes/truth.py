"""What happened, from the API server alone: the states that the watches showed, and who wrote them by the audit log.

A line of the truth is one change of the recorded part of an object:

  kind, namespace, name, uid   the object
  op                           created, changed, deleting, deleted; `none` for a write that must not make a row
  rvs, from_time, to_time      its versions (several where the states in between cannot be known), and when it was made
  required                     there must be a row; else there may be one
  paths                        [{path, op, from, to}], for people
  before, after                the recorded parts of both states, for the comparison
  managers, known, unknown     who wrote; whether managedFields prove it; and if not, why
  cause                        of a deletion: the words that are right
  class, way, phase            of the plan; `way` is empty for what controllers did by themselves
"""

import json
import urllib.parse
from datetime import datetime

from body import CONTROLLERS, canonical, controller, differences, weight
from client import key_of

CONDITIONS = {
    "EvictionByEvictionAPI": "eviction API",
    "PreemptionByScheduler": "preemption",
    "DeletionByTaintManager": "taint manager",
    "DeletionByPodGC": "pod GC",
}
ACCOUNT = "system:serviceaccount:kube-system:"
NET_PHASE = "410 after a compaction"
COLLECTIVE = ("before-first-apply", "ancient-changes")


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# ---- the audit log


class Request:
    """A write that the API server accepted."""

    def __init__(self, line):
        ref, response = line["objectRef"], line.get("responseObject") or {}
        query = urllib.parse.parse_qs(urllib.parse.urlparse(line["requestURI"]).query)
        agent = line.get("userAgent", "")
        # As the API server names the manager: what the request says, else the first word of the client's name.
        self.manager = (query.get("fieldManager", [""])[0] or agent.split("/")[0] or "unknown")[:128]
        self.verb, self.user, self.agent = line["verb"], line["user"]["username"], agent
        self.plural, self.subresource = ref["resource"], ref.get("subresource", "")
        meta = response.get("metadata") or {}
        self.namespace, self.name = ref.get("namespace", ""), ref.get("name") or meta.get("name", "")
        if self.plural == "namespaces":
            self.namespace = ""
        self.version = int(meta["resourceVersion"]) if (meta.get("resourceVersion") or "").isdigit() else None
        self.uid = meta.get("uid") or (response.get("details") or {}).get("uid")
        self.received, self.answered = seconds(line["requestReceivedTimestamp"]), seconds(line["stageTimestamp"])


def requests(lines):
    found = []
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the API server was killed while it wrote it
        if line.get("stage") != "ResponseComplete" or line.get("responseStatus", {}).get("code", 500) >= 300:
            continue
        if "objectRef" not in line or line["objectRef"].get("resource") in (None, "events", "leases"):
            continue
        if "dryRun=" in line["requestURI"]:
            continue
        found.append(Request(line))
    return found


class Audit:
    def __init__(self, found):
        self.writes, self.deletions, self.creations = {}, {}, {}
        for one in found:
            key = one.plural, one.namespace, one.name
            if one.verb in ("create", "update", "patch"):
                if one.subresource == "eviction":
                    self.deletions.setdefault(key, []).append(one)
                elif one.version is not None:
                    self.writes[(*key, one.version)] = one
                if one.verb == "create" and not one.subresource:
                    self.creations.setdefault(key, []).append(one)
            elif one.verb == "delete":
                self.deletions.setdefault(key, []).append(one)

    def deletion(self, plural, found, received):
        """The first request that deleted this object; the kubelet only ends what another began."""
        created = seconds(found["metadata"]["creationTimestamp"])
        all_of = [
            one
            for one in self.deletions.get((plural, *key_of(found)), [])
            if created - 1 <= one.received <= received + 1 and one.uid in (None, found["metadata"]["uid"])
        ]
        all_of.sort(key=lambda one: one.received)
        return next((one for one in all_of if not one.user.startswith("system:node:")), None)


# ---- who could be known


def deepest(fields, body, position):
    """How deep an entry's fields hold a position of a body: 0 not at all. An empty node holds all that is below it."""
    node, value, depth = fields, body, 0
    for step in position:
        if not node:
            # Of a map of which it holds no key any more, an empty node is left.
            return 0 if position[depth - 1] in ("labels", "annotations", "data", "binaryData") else depth
        value = value[step]
        if isinstance(step, int):

            def holds(key, element=value):
                if key.startswith("k:"):
                    wanted = json.loads(key[2:])
                    return isinstance(element, dict) and all(element.get(name) == one for name, one in wanted.items())
                return key.startswith("v:") and json.loads(key[2:]) == element

            key = next((one for one in node if holds(one)), None)
            if key is None:
                return 0
            node = node[key]
        else:
            if f"f:{step}" not in node:
                return 0
            node = node[f"f:{step}"]
        depth += 1
    return depth


def provable(found, body, leaves, manager):
    """Whether managedFields prove that a manager changed one of these leaves; and if not, why."""
    entries = found["metadata"].get("managedFields") or []
    if not entries or not any(one.get("fieldsV1") for one in entries):
        return False, "no managed fields"
    own = [one for one in entries if one.get("manager") == manager]
    reasons = []
    for leaf in leaves:
        if leaf.new is None:
            is_apply = any(one.get("operation") == "Apply" and not one.get("subresource") for one in own)
            if is_apply:
                return True, ""
            reasons.append("removal by an update")
            continue
        if leaf.op == "order":
            reasons.append("order of a list")
            continue
        depths = [
            (deepest(one.get("fieldsV1") or {}, body, leaf.new), one) for one in entries if one.get("manager") not in COLLECTIVE
        ]
        most = max((depth for depth, _ in depths), default=0)
        holders = {one["manager"] for depth, one in depths if depth and depth == most}
        if not holders:
            reasons.append("no entry manages the field: admission, defaulting, binding")
        elif holders == {manager}:
            return True, ""
        else:
            reasons.append(
                "another manages the field too" if manager in holders else "another manages the field: admission or order"
            )
    return False, reasons[0] if reasons else "no field"


# ---- causes


def cause_of(plural, found, request, deleted, terminating, watched):
    """The right words for why an object was deleted."""
    namespace = found["metadata"].get("namespace", "")
    owners = found["metadata"].get("ownerReferences") or []
    user = request.user if request else ""
    account = user.removeprefix(ACCOUNT) if user.startswith(ACCOUNT) else ""
    if request and request.subresource == "eviction":
        return ["eviction API"]
    if account == "generic-garbage-collector":
        if plural == "persistentvolumeclaims" and any(one["kind"] in ("StatefulSet", "Pod") for one in owners):
            return ["StatefulSet claim retention"]
        # Of an owner that is not watched, such as a ReplicaSet, nothing is known; these scenes orphan only by ConfigMaps.
        known = any(one["uid"] in deleted or one["kind"] not in watched for one in owners)
        return ["owner deleted"] if known else ["orphaned"]
    if account == "namespace-controller" or (not request and namespace in terminating):
        return ["namespace deleted"]
    if account == "ttl-after-finished-controller":
        return ["Job TTL"]
    if account == "cronjob-controller":
        return ["CronJob history limit"]
    if account in ("replicaset-controller", "statefulset-controller", "daemon-set-controller"):
        return ["scale-down", "rollout"]  # narrowed by what changed before
    if account in ("taint-eviction-controller", "node-controller"):
        return ["taint manager"]
    if account == "pod-garbage-collector":
        return ["pod GC", "node removed"]
    if user == "system:kube-scheduler":
        return ["preemption"]
    if account == "job-controller":
        return ["scale-down", "request"]
    if plural == "persistentvolumes" and (found["spec"].get("claimRef") or {}).get("uid") in deleted:
        return ["claim deleted"]
    if not request:
        return ["CRD deleted", "crd deleted"] if plural in ("widgets", "gears", "webservices") else []
    return ["request"]


def narrowed(words, found, request, received, changes):
    """Which of scale-down and rollout it was: the last change of the controller's Deployment, StatefulSet or DaemonSet."""
    if words != ["scale-down", "rollout"]:
        return words
    owner = controller(found)
    names = {owner["name"], owner["name"].rsplit("-", 1)[0]} if owner else set()
    last = None
    for seen, version, namespace, name, leaves in changes:
        is_before = version < request.version if request and request.version else seen <= received
        if namespace == found["metadata"].get("namespace") and name in names and is_before:
            texts = [leaf.text() for leaf in leaves]
            if any(text.startswith("spec.template") for text in texts):
                last = "rollout"
            elif any(text == "spec.replicas" for text in texts):
                last = "scale-down"
    return [last] if last else words


# ---- the lines


def compile_truth(history, audit_lines, plan):
    """(lines, states, problems). `history`: plural to (resource, [(version, type, object, received, how)])."""
    audit = Audit(requests(audit_lines))
    problems, lines, states = [], [], []
    steps = {}
    for step in plan:
        steps.setdefault((step["resource"], step["namespace"], step["name"]), []).append(step)
    deleted, terminating = set(), set()
    watched = {resource.kind for resource, _ in history.values()}
    for plural, (_, all_states) in history.items():
        for _, kind, found, _, _ in all_states:
            if kind == "DELETED" or found["metadata"].get("deletionTimestamp"):
                deleted.add(found["metadata"]["uid"])
                if plural == "namespaces":
                    terminating.add(found["metadata"]["name"])
    net = [step for step in plan if step["phase"] == NET_PHASE]
    net_window = (min(s["start"] for s in net), max(s["end"] for s in net) + 1) if net else None
    controllers = []  # changes of what owns pods, in order
    for plural, (resource, all_states) in history.items():
        objects = {}
        for one in sorted(all_states, key=lambda state: state[0]):
            objects.setdefault(key_of(one[2]), []).append(one)
        for key, chain in objects.items():
            lines += of_object(resource, key, chain, audit, steps.get((plural, *key), []), states, controllers)
    controllers.sort(key=lambda one: one[0])
    for line in lines:
        if line["op"] == "deleted":
            finish_deletion(line, audit, deleted, terminating, watched, controllers)
        line.pop("object", None)
    lines = [line for line in lines if line["op"] == "none" or line["required"] is not None]
    if net_window:
        lines = netted(lines, net_window)
    lines.sort(key=lambda line: (line["to_time"], line["rvs"][-1:]))
    problems += check_plan(lines, plan)
    return lines, states, problems


def of_object(resource, key, chain, audit, steps, states, controllers):
    """The lines of one object, from its states in order."""
    kind, custom = resource.kind, resource.group.endswith("kube9.io")
    lines, before = [], None
    common = {"kind": kind, "group": resource.group, "resource": resource.plural, "namespace": key[0], "name": key[1]}
    for version, event, found, received, how in chain:
        uid = found["metadata"]["uid"]
        step = planned(steps, version, uid, received, event)
        labels = {field: step[field] if step else default for field, default in (("class", ""), ("way", ""), ("phase", "live"))}
        line = {
            **common,
            "uid": uid,
            "rvs": [version],
            "n": step and step["n"],
            **labels,
            "how": how,
            "from_time": step["start"] if step else received - (2 if how == "watch" else 90),
            "to_time": step["end"] if step else received,
            "paths": [],
            "before": None,
            "after": None,
            "managers": [],
            "known": False,
            "unknown": "",
            "cause": None,
            "received": received,
        }
        request = audit.writes.get((resource.plural, *key, version))
        if request:
            line["managers"] = [request.manager]
        after = canonical(kind, found)
        if event != "DELETED":
            states.append(
                {
                    **common,
                    "uid": uid,
                    "rv": version,
                    "received": received,
                    "body": after,
                    "whole": canonical(kind, found, owned=False) if kind == "Pod" else None,
                }
            )
        if event == "DELETED":
            lines.append({**line, "op": "deleted", "before": before and before[1], "object": found, "required": True})
            began = next((one for one in reversed(lines) if one["op"] == "deleting" and one["uid"] == uid), None)
            if began and received - began["received"] < 1:
                began["required"] = False  # nothing blocked it
            before = None
            continue
        if event == "LISTED" or before is None or before[0]["metadata"]["uid"] != uid:
            if event == "ADDED":
                known, why = provable_creation(found, line["managers"])
                lines.append(
                    {
                        **line,
                        "op": "created",
                        "after": after,
                        "required": creation_required(kind, found, audit, resource, key),
                        "known": known,
                        "unknown": why,
                    }
                )
            before = found, after
            continue
        old, old_body = before
        before = found, after
        deleting = bool(found["metadata"].get("deletionTimestamp"))
        leaves = differences(kind, custom, old_body, after)
        weights = [weight(kind, leaf, deleting) for leaf in leaves]
        if kind in CONTROLLERS:
            controllers.append((received, version, key[0], key[1], leaves))
        line.update(
            before=old_body,
            after=after,
            paths=[{"path": leaf.text(), "op": leaf.op, "from": leaf.before, "to": leaf.after} for leaf in leaves],
        )
        if deleting and not old["metadata"].get("deletionTimestamp"):
            waits = bool(found["metadata"].get("finalizers") or found.get("spec", {}).get("finalizers"))
            lines.append({**line, "op": "deleting", "required": waits and kind != "Pod" and not controller(found)})
            continue
        if not leaves or all(one == "silent" for one in weights):
            continue
        wanted = [leaf for leaf, one in zip(leaves, weights) if one == "row"]
        known, why = (
            provable(found, after, wanted or leaves, line["managers"][0]) if line["managers"] else (False, "no audited write")
        )
        lines.append({**line, "op": "changed", "required": "row" in weights, "known": known, "unknown": why})
    for step in steps:
        if step["expect"] == "nothing":
            lines.append(
                {
                    **common,
                    "uid": step["uid"],
                    "op": "none",
                    "n": step["n"],
                    "class": step["class"],
                    "way": step["way"],
                    "phase": step["phase"],
                    "rvs": [step["rv_before"], step["rv_after"]],
                    "from_time": step["start"],
                    "to_time": step["end"],
                    "required": False,
                    "managers": [],
                    "known": False,
                    "unknown": "",
                    "cause": None,
                    "paths": [],
                    "before": None,
                    "after": None,
                    "received": step["end"],
                    "how": "plan",
                }
            )
    return lines


def planned(steps, version, uid, received, event):
    """The step that made a state."""
    for step in steps:
        if step["expect"] == "nothing":
            continue
        is_object = uid in (step["uid"], step["after_uid"])
        if event == "DELETED":
            # Or replaced by another object of its name.
            if uid == step["uid"] and (step["expect"] == "deleted" or uid != step["after_uid"]):
                return step
        elif is_object and (step["rv_before"] or 0) < version <= (step["rv_after"] or 1 << 62) and received >= step["start"] - 1:
            if step["rv_after"] is None and received > step["end"] + 2:
                continue
            return step
    return None


def provable_creation(found, managers):
    entries = [one for one in found["metadata"].get("managedFields") or [] if not one.get("subresource")]
    if not managers:
        return False, "no audited write"
    if [one["manager"] for one in entries] == managers:
        return True, ""
    return False, "no managed fields" if not entries else "several managers"


def creation_required(kind, found, audit, resource, key):
    """What a controller makes for another object has no row of its own; nor what each namespace gets."""
    owner = controller(found)
    if owner and owner["kind"] in CONTROLLERS and kind in ("Pod", "Job", "PersistentVolumeClaim"):
        return False
    made = [one for one in audit.creations.get((resource.plural, *key), []) if one.uid in (None, found["metadata"]["uid"])]
    by_controller = bool(made) and all(one.user.startswith("system:") for one in made)
    return not (
        by_controller
        or (kind == "PersistentVolume" and "pv.kubernetes.io/provisioned-by" in found["metadata"].get("annotations", {}))
    )


def finish_deletion(line, audit, deleted, terminating, watched, controllers):
    found = line["object"]
    request = audit.deletion(line["resource"], found, line["received"])
    words = cause_of(line["resource"], found, request, deleted, terminating, watched)
    line["cause"] = narrowed(words, found, request, line["received"], controllers)
    line["deleter"] = request.user if request else ""
    line["by_client"] = line["cause"] in (["request"], ["eviction API"])
    owner = controller(found)
    is_child = bool(owner and owner["kind"] in CONTROLLERS) or line["name"] == "kube-root-ca.crt"
    # StatefulSets own their claims only while a policy says so.
    is_child |= line["resource"] == "persistentvolumeclaims" and line["cause"] == ["StatefulSet claim retention"]
    # A volume that was made for a claim goes with it.
    is_child |= line["cause"] == ["claim deleted"] and "pv.kubernetes.io/provisioned-by" in found["metadata"].get("annotations", {})
    line["required"] = line["by_client"] or not is_child
    if line["name"] in ("kube-root-ca.crt", "default") and line["resource"] in ("configmaps", "serviceaccounts"):
        line["required"] = False


def netted(lines, window):
    """Where the states in between are lost: one line an object, from the first state to the last."""
    kept, groups = [], {}
    for line in lines:
        inside = window[0] - 0.5 <= line["received"] <= window[1]
        if line["op"] == "none" or not inside:
            kept.append(line)
        else:
            groups.setdefault((line["resource"], line["namespace"], line["name"], line["uid"]), []).append(line)
    for parts in groups.values():
        first, last = parts[0], parts[-1]
        op = (
            "deleted"
            if last["op"] == "deleted"
            else "created" if first["op"] == "created" else "deleting" if last["op"] == "deleting" else "changed"
        )
        if first["op"] == "created" and op == "deleted":
            continue  # nothing of it is left
        kept.append(
            {
                **last,
                "op": op,
                "rvs": [rv for one in parts for rv in one["rvs"]],
                "from_time": first["from_time"],
                "before": first["before"],
                "paths": [path for one in parts for path in one["paths"]],
                "managers": [name for one in parts for name in one["managers"]],
                "known": False,
                "unknown": "the states in between are lost",
                "required": any(one["required"] for one in parts),
                "net": len(parts),
                "phase": NET_PHASE,
            }
        )
    return kept


def check_plan(lines, plan):
    """Each step is in the truth, or the truth cannot be trusted."""
    problems = []
    by_step = {}
    for line in lines:
        if line["op"] != "none" and line["n"] is not None:
            by_step.setdefault(line["n"], []).append(line)
    covered = {(line["resource"], line["namespace"], line["name"]): line for line in lines if line.get("net")}
    quiet = {}
    for line in lines:
        if line["op"] != "none" and line["required"]:
            quiet.setdefault((line["resource"], line["namespace"], line["name"]), []).append(line["rvs"])
    for step in plan:
        key = step["resource"], step["namespace"], step["name"]
        what = f"step {step['n']}, {step['class']} of {step['kind']} {step['namespace']}/{step['name']} by {step['way']}"
        if step["expect"] == "nothing":
            low, high = step["rv_before"], step["rv_after"]
            if low and high and any(low < rv <= high for rvs in quiet.get(key, []) for rv in rvs):
                problems.append(f"{what}: it is unwanted, but changes the recorded part")
        elif step["n"] not in by_step and key not in covered:
            problems.append(f"{what}: the watches show no change of the recorded part")
    return problems


def check_states(plan, states, canonical_of):
    """What was read after each write is what the watches showed."""
    known = {(one["kind"], one["namespace"], one["name"], one["rv"]): one["body"] for one in states}
    problems = []
    for step in plan:
        if step["after"] is None:
            continue
        body = known.get((step["kind"], step["namespace"], step["name"], step["rv_after"]))
        if body is None or body != canonical_of(step["kind"], step["after"]):
            problems.append(
                f"step {step['n']}: {step['kind']} {step['namespace']}/{step['name']} at {step['rv_after']}: read, but not watched"
            )
    return problems
