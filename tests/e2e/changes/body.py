"""What of an object is recorded, how two states differ, and whether a shown value is the real one.

This is written from the description of the change history, not from the recorder's code, so that both can be compared.

A position is a tuple of keys and indices within one state of an object: the recorder's paths are resolved to positions, so
that how it names the elements of a list does not matter here.
"""

import json
import re

CUSTOM_TEXT_MAX = 128
MARK = re.compile(r"#[0-9a-f]{8,16}( \(\d+ bytes\))?")
REDACTED = re.compile(r"\[REDACTED #[0-9a-f]{8,16}\]")

DROPPED_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "deprecated.daemonset.template.generation",
    "autoscaling.alpha.kubernetes.io/",
    "control-plane.alpha.kubernetes.io/leader",
    "endpoints.kubernetes.io/last-change-trigger-time",
    "node.alpha.kubernetes.io/ttl",
    "csi.volume.kubernetes.io/nodeid",
    "argocd.argoproj.io/refresh",
    "reconcile.fluxcd.io/requestedAt",
)
METADATA = ("labels", "annotations", "ownerReferences", "finalizers")
STATUS = {
    "Node": ("nodeInfo", "capacity", "allocatable", "addresses"),
    "Service": ("loadBalancer",),
    "Ingress": ("loadBalancer",),
    "PersistentVolumeClaim": ("phase", "capacity"),
}
# Whose pods and Jobs are its own: they have no row of their own when they come and go.
CONTROLLERS = ("ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


def controller(found):
    """The controlling owner of an object."""
    owners = found["metadata"].get("ownerReferences") or []
    return next((one for one in owners if one.get("controller")), None)


def canonical(kind, found, owned=None):
    """The recorded part of an object. `owned`: as of a pod that its controller describes; by default, if it has one."""
    meta = found["metadata"]
    body = {key: value for key, value in found.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    body["metadata"] = {key: meta[key] for key in METADATA if meta.get(key)}
    annotations = body["metadata"].get("annotations", {})
    body["metadata"]["annotations"] = {
        key: value
        for key, value in annotations.items()
        if not any(key == one or (one.endswith("/") and key.startswith(one)) for one in DROPPED_ANNOTATIONS)
    }
    status = found.get("status") or {}
    kept = {key: status[key] for key in STATUS.get(kind, ()) if key in status}
    if kind == "HorizontalPodAutoscaler":
        limited = [one for one in status.get("conditions") or [] if one["type"] == "ScalingLimited"]
        kept = {"conditions": [{key: one[key] for key in ("type", "status", "reason") if key in one} for one in limited]}
    if kind == "Pod":
        for key in ("containerStatuses", "initContainerStatuses"):
            kept[key] = [{"name": one["name"], "imageID": one.get("imageID") or None} for one in status.get(key) or []]
    body["status"] = kept
    body = json.loads(json.dumps(body))
    if kind == "Pod":
        drop_tokens(body["spec"])
        if owned or (owned is None and (controller(found) or {}).get("kind") in CONTROLLERS):
            body = owned_pod(body)
    if kind == "Node":
        for taint in body.get("spec", {}).get("taints") or []:
            taint.pop("timeAdded", None)
    if kind == "StatefulSet":
        for claim in body["spec"].get("volumeClaimTemplates") or []:
            claim.pop("status", None)
    if kind == "CustomResourceDefinition":
        for one in body["spec"]["versions"]:
            if "schema" in one:
                one["schema"] = json.dumps(one["schema"], sort_keys=True)  # recorded as one mark
    return pruned(body)


def drop_tokens(spec):
    def kept(parts):
        return [one for one in parts or [] if not one["name"].startswith("kube-api-access-")]

    spec["volumes"] = kept(spec.get("volumes"))
    for key in ("containers", "initContainers", "ephemeralContainers"):
        for one in spec.get(key) or []:
            one["volumeMounts"] = kept(one.get("volumeMounts"))


def owned_pod(body):
    spec = body["spec"]
    part = {key: spec[key] for key in ("nodeName", "resources", "ephemeralContainers") if key in spec}
    for key in ("containers", "initContainers"):
        part[key] = [
            {name: one[name] for name in ("name", "image", "resources", "resizePolicy") if name in one}
            for one in spec.get(key) or []
        ]
    return {"metadata": {"labels": body["metadata"].get("labels", {})}, "spec": part, "status": body["status"]}


def pruned(value):
    """Without nulls and empty maps and lists, which say the same as their absence."""
    if isinstance(value, dict):
        inner = {key: pruned(one) for key, one in value.items()}
        return {key: one for key, one in inner.items() if one is not None and one != {} and one != []}
    if isinstance(value, list):
        return [pruned(one) for one in value]
    return value


# ---- differences

BY_NAME = ("name",)
IDENTITIES = {
    "containers": [BY_NAME],
    "initContainers": [BY_NAME],
    "ephemeralContainers": [BY_NAME],
    "env": [BY_NAME],
    "volumes": [BY_NAME],
    "imagePullSecrets": [BY_NAME],
    "webhooks": [BY_NAME],
    "matchConditions": [BY_NAME],
    "variables": [BY_NAME],
    "versions": [BY_NAME],
    "additionalPrinterColumns": [BY_NAME],
    "containerStatuses": [BY_NAME],
    "initContainerStatuses": [BY_NAME],
    "secrets": [BY_NAME],
    "resourceClaims": [BY_NAME],
    "ports": [BY_NAME, ("port", "protocol"), ("containerPort", "protocol")],
    "volumeMounts": [("mountPath",)],
    "volumeDevices": [("devicePath",)],
    "taints": [("key", "effect")],
    "topologySpreadConstraints": [("topologyKey", "whenUnsatisfiable")],
    "hostAliases": [("ip",)],
    "ownerReferences": [("uid",)],
    "conditions": [("type",)],
    "subjects": [("kind", "namespace", "name")],
    "addresses": [("type",), ("type", "address")],
    "resizePolicy": [("resourceName",)],
    "readinessGates": [("conditionType",)],
    "items": [("key",)],
    "volumeClaimTemplates": [("metadata.name",)],
}
CUSTOM_IDENTITIES = [BY_NAME, ("id",), ("type",)]
ORDERED = ("containers", "initContainers", "ephemeralContainers", "env", "versions")


def identity(fields, element):
    """The text that identifies an element of a list, or None."""
    parts = []
    for number, path in enumerate(fields):
        value = element
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            parts.append(str(value))
        elif number == 0:
            return None
        else:
            parts.append("")
    return "/".join(parts)


def identities(choices, *lists):
    """The identities of the elements of these lists by the first choice that is unique in each; else None."""
    for fields in choices:
        texts = [[identity(fields, one) for one in elements] for elements in lists]
        if all(None not in one and len(set(one)) == len(one) for one in texts):
            return texts
    return None


class Leaf:
    """A changed part: its names, its position in both states, and its values (None: absent)."""

    def __init__(self, op, names, old, new, before, after):
        self.op, self.names, self.old, self.new, self.before, self.after = op, names, old, new, before, after

    def text(self):
        out = ""
        for name in self.names:
            out += name if name.startswith("[") else f"[{json.dumps(name)}]" if re.search(r"[^\w/$-]", name) else f".{name}"
        return out.removeprefix(".")


def differences(kind, custom, before, after):
    """The leaves in which two canonical bodies differ."""
    found = []

    def one_sided(names, position, value, added):
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                one_sided((*names, key), (*position, key), inner, added)
            return
        texts = (
            isinstance(value, list) and value and identities(CUSTOM_IDENTITIES if custom else IDENTITIES.get(names[-1], []), value)
        )
        if texts:
            for number, text in enumerate(texts[0]):
                found.append(
                    Leaf("added", (*names, f"[{text}]"), None, (*position, number), None, value[number])
                    if added
                    else Leaf("removed", (*names, f"[{text}]"), (*position, number), None, value[number], None)
                )
            return
        if added:
            found.append(Leaf("added", names, None, position, None, value))
        else:
            found.append(Leaf("removed", names, position, None, value, None))

    def walk(names, old, new, before, after):
        if before == after:
            return
        if isinstance(before, dict) and isinstance(after, dict):
            for key in [*before, *(key for key in after if key not in before)]:
                if key not in after:
                    one_sided((*names, key), (*old, key), before[key], False)
                elif key not in before:
                    one_sided((*names, key), (*new, key), after[key], True)
                else:
                    walk((*names, key), (*old, key), (*new, key), before[key], after[key])
            return
        if isinstance(before, list) and isinstance(after, list):
            lists(names, old, new, before, after)
            return
        found.append(Leaf("changed", names, old, new, before, after))

    def lists(names, old, new, before, after):
        if kind == "Service" and names[-1] == "ports" and len(before) == len(after) == 1:
            walk((*names, "[0]"), (*old, 0), (*new, 0), before[0], after[0])
            return
        texts = identities(CUSTOM_IDENTITIES if custom else IDENTITIES.get(names[-1], []), before, after)
        if texts is None:
            op = "order" if sorted(map(json.dumps, before)) == sorted(map(json.dumps, after)) else "array"
            found.append(Leaf(op, names, old, new, before, after))
            return
        old_texts, new_texts = texts
        for number, text in enumerate(old_texts):
            if text not in new_texts:
                found.append(Leaf("removed", (*names, f"[{text}]"), (*old, number), None, before[number], None))
            else:
                other = new_texts.index(text)
                walk((*names, f"[{text}]"), (*old, number), (*new, other), before[number], after[other])
        for number, text in enumerate(new_texts):
            if text not in old_texts:
                found.append(Leaf("added", (*names, f"[{text}]"), None, (*new, number), None, after[number]))
        both = [text for text in old_texts if text in new_texts]
        if (custom or names[-1] in ORDERED) and both != [text for text in new_texts if text in old_texts]:
            found.append(Leaf("order", names, old, new, old_texts, new_texts))

    walk((), (), (), before, after)
    return found


# From absent to set: written by Kubernetes itself.
SILENT_WHEN_SET = re.compile(
    r"spec\.(clusterIPs?|healthCheckNodePort|volumeName|claimRef.*|nodeName|podCIDRs?)|spec\.ports\S*\.nodePort"
    r"|metadata\.annotations\[\"pv\.kubernetes\.io/.*|status\.(init)?[cC]ontainerStatuses.*"
)
# In either direction, unless a deletion waits.
SILENT = re.compile(r"(metadata|spec)\.finalizers.*")
# A row is neither required nor wrong: consequences of another write that Kubernetes makes itself.
OPTIONAL = re.compile(
    r"status\..*|spec\.taints\[node\.kubernetes\.io/.*|spec\.ports\S*\.nodePort|spec\.externalTrafficPolicy"
    r"|spec\.internalTrafficPolicy|metadata\.annotations\[\"volume\.(beta\.)?kubernetes\.io/.*"
    r"|metadata\.annotations\[\"deprecated\..*|spec\.(clusterIPs?|ipFamil.*|healthCheckNodePort)"
)
# Written by people too.
NEVER_OPTIONAL = re.compile(r"status\.(capacity|allocatable)\..*")


def weight(kind, leaf, deleting):
    """`silent`: by itself it makes no row; `optional`: it may; `row`: it must."""
    text = leaf.text()
    if SILENT.fullmatch(text) and not deleting:
        return "silent"
    if leaf.op == "added" and SILENT_WHEN_SET.fullmatch(text):
        return "silent"
    if NEVER_OPTIONAL.fullmatch(text):
        return "row" if kind == "Node" else "optional"
    if kind == "PersistentVolumeClaim" and leaf.names[:2] == ("metadata", "ownerReferences"):
        return "optional"
    return "optional" if OPTIONAL.fullmatch(text) else "row"


def is_hidden(kind, custom, names, value):
    """Whether the description says that a value is recorded as a mark."""
    if kind == "ConfigMap" and names[:1] in (("data",), ("binaryData",)):
        return True
    if names[-1:] == ("value",) and any(one in ("env", "httpHeaders") for one in names):
        return True
    if names[-1:] == ("caBundle",) or (kind == "CustomResourceDefinition" and names[-1:] == ("schema",)):
        return True
    if custom and names[:1] != ("metadata",):
        if any(word in name.lower() for name in names for word in ("values", "data", "content", "parameters", "substitute")):
            return True
    return custom and isinstance(value, str) and (len(value) > CUSTOM_TEXT_MAX or "\n" in value or "\r" in value)


# ---- what the record shows


def segments(path):
    """The segments of a recorded path: (text, is a plain number in brackets)."""
    out, rest = [], path
    while rest:
        if rest.startswith('["'):
            text, end = json.JSONDecoder().raw_decode(rest[1:])
            out.append((text, False))
            rest = rest[1 + end :].removeprefix("]")
        elif rest.startswith("["):
            text, _, rest = rest[1:].partition("]")
            out.append((text, text.isdigit()))
        else:
            text = re.match(r"[^.\[]*", rest)[0]
            if not text:
                raise ValueError(f"path {path!r} has an empty segment")
            out.append((text, False))
            rest = rest[len(text) :]
        rest = rest.removeprefix(".")
    return out


ALL_IDENTITIES = [BY_NAME, *(one for choices in IDENTITIES.values() for one in choices if one != BY_NAME), ("id",), ("type",)]


def resolve(path, body):
    """The position and the value of a recorded path in a body; None if it is not there."""
    position, value = (), body
    for text, is_number in segments(path):
        if isinstance(value, dict) and text in value:
            position, value = (*position, text), value[text]
        elif isinstance(value, list):
            if is_number and int(text) < len(value):
                index = int(text)
            else:
                index = next((n for fields in ALL_IDENTITIES for n, one in enumerate(value) if identity(fields, one) == text), None)
                if index is None and len(value) == 1 and re.fullmatch(r"\d+/[A-Z]*", text):
                    index = 0  # the one port of a Service, before its number changed
            if index is None:
                return None
            position, value = (*position, index), value[index]
        else:
            return None
    return position, value


def shown_as(shown, real, marks, place):
    """Whether the record's form of a value is that of the real one. Collects its marks: place and text to mark."""
    shown, real = pruned(shown), pruned(real)
    if isinstance(shown, str):
        text = real if isinstance(real, str) else json.dumps(real, separators=(",", ":"), ensure_ascii=False)
        if shown == real:
            return True
        if MARK.fullmatch(shown):
            marks.setdefault((*place, text), set()).add(shown)
            return True
        if shown.endswith("…"):
            shown, cut = shown[:-1], True
        else:
            cut = False
        if isinstance(real, str):
            pattern = "(?s:.*)".join(re.escape(part) for part in REDACTED.split(shown))
            return re.fullmatch(pattern + ("(?s:.*)" if cut else ""), text) is not None and (cut or shown != "")
        return cut and len(shown) > 300
    if isinstance(shown, dict) and isinstance(real, dict):
        return shown.keys() == real.keys() and all(shown_as(shown[key], real[key], marks, (*place, key)) for key in shown)
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(shown_as(a, b, marks, (*place, "[]")) for a, b in zip(shown, real))
    return shown == real and type(shown) is type(real)


def marked(shown, names=()):
    """The places of the marks in a shown value."""
    if isinstance(shown, str):
        return [names] if MARK.fullmatch(shown) or REDACTED.search(shown) else []
    if isinstance(shown, dict):
        return [one for key, value in shown.items() for one in marked(value, (*names, key))]
    if isinstance(shown, list):
        return [one for value in shown for one in marked(value, (*names, "[]"))]
    return []


def plain(stored):
    """A stored body as the API has it: lists with identities are stored as maps with an order."""
    if isinstance(stored, list):
        return [plain(one) for one in stored]
    if not isinstance(stored, dict):
        return stored
    special = stored.get("~")
    if isinstance(special, list):
        return [plain(stored[key]) for key in special]
    if special == "null":
        return None
    if isinstance(special, str):
        return special[:9] + (f" ({stored['size']} bytes)" if "size" in stored else "")
    return {key[1:] if key.startswith("~~") else key: plain(value) for key, value in stored.items()}


def unlike(shown, real, names=()):
    """Where a rebuilt body is not that of the API server; marks stand for any value."""
    if isinstance(shown, dict) and isinstance(real, dict):
        out = []
        for key in {**shown, **real}:
            if key not in real or key not in shown:
                out.append(("added" if key in real else "removed", (*names, key), shown.get(key), real.get(key)))
            else:
                out += unlike(shown[key], real[key], (*names, key))
        return out
    if isinstance(shown, list) and isinstance(real, list) and len(shown) == len(real):
        texts = None if names[-1] in ORDERED else identities(IDENTITIES.get(names[-1], []), shown, real)
        if texts:  # its order does not count
            real = [real[texts[1].index(text)] for text in texts[0] if text in texts[1]]
        if len(shown) != len(real):
            return [("changed", names, shown, real)]
        return [one for number, (a, b) in enumerate(zip(shown, real)) for one in unlike(a, b, (*names, f"[{number}]"))]
    return [] if shown_as(shown, real, {}, names) else [("changed", names, shown, real)]
