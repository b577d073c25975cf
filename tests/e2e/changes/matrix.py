"""The changes: what is written to the API server, in which way, and what it was before and after.

Each step reads the object before and after its write. The plan that this makes says which class of field and which way of
writing a change belongs to; what changed is taken from the watches, and who wrote from the audit log (truth.py).
"""

import concurrent.futures
import json
import os
import secrets
import string
import subprocess
import threading
import time

from client import Refused, Resource, Watcher, version_of

GROUP = "e2e.kube9.io"
CORE, APPS, BATCH, NETWORK = ("", "v1"), ("apps", "v1"), ("batch", "v1"), ("networking.k8s.io", "v1")
RBAC, ADMISSION, STORAGE = ("rbac.authorization.k8s.io", "v1"), ("admissionregistration.k8s.io", "v1"), ("storage.k8s.io", "v1")
TRACKED = [
    Resource(*group, plural, kind, namespaced)
    for group, plural, kind, namespaced in [
        (CORE, "configmaps", "ConfigMap", True),
        (CORE, "limitranges", "LimitRange", True),
        (CORE, "namespaces", "Namespace", False),
        (CORE, "nodes", "Node", False),
        (CORE, "persistentvolumeclaims", "PersistentVolumeClaim", True),
        (CORE, "persistentvolumes", "PersistentVolume", False),
        (CORE, "pods", "Pod", True),
        (CORE, "resourcequotas", "ResourceQuota", True),
        (CORE, "serviceaccounts", "ServiceAccount", True),
        (CORE, "services", "Service", True),
        (APPS, "daemonsets", "DaemonSet", True),
        (APPS, "deployments", "Deployment", True),
        (APPS, "statefulsets", "StatefulSet", True),
        (BATCH, "cronjobs", "CronJob", True),
        (BATCH, "jobs", "Job", True),
        (("autoscaling", "v2"), "horizontalpodautoscalers", "HorizontalPodAutoscaler", True),
        (("policy", "v1"), "poddisruptionbudgets", "PodDisruptionBudget", True),
        (NETWORK, "ingressclasses", "IngressClass", False),
        (NETWORK, "ingresses", "Ingress", True),
        (NETWORK, "networkpolicies", "NetworkPolicy", True),
        (RBAC, "clusterrolebindings", "ClusterRoleBinding", False),
        (RBAC, "clusterroles", "ClusterRole", False),
        (RBAC, "rolebindings", "RoleBinding", True),
        (RBAC, "roles", "Role", True),
        (ADMISSION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False),
        (ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False),
        (ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False),
        (ADMISSION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False),
        (STORAGE, "csidrivers", "CSIDriver", False),
        (STORAGE, "storageclasses", "StorageClass", False),
        (("scheduling.k8s.io", "v1"), "priorityclasses", "PriorityClass", False),
        (("node.k8s.io", "v1"), "runtimeclasses", "RuntimeClass", False),
        (("apiextensions.k8s.io", "v1"), "customresourcedefinitions", "CustomResourceDefinition", False),
        (("apiregistration.k8s.io", "v1"), "apiservices", "APIService", False),
        (("admissionregistration.k8s.io", "v1beta1"), "mutatingadmissionpolicies", "MutatingAdmissionPolicy", False),
    ]
]
CUSTOM = [
    Resource(GROUP, "v1", "widgets", "Widget", True),
    Resource(GROUP, "v1", "gears", "Gear", False),
    # As Knative has one: another kind than the Service of the core group.
    Resource(GROUP, "v1", "webservices", "Service", True),
]
RESOURCES = {one.plural: one for one in TRACKED + CUSTOM}
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
PAUSE, BUSYBOX = "kube9.test/pause:1", "kube9.test/busybox:1"
NO_CHANGE_AFTER = 1.0  # seconds in which an unwanted write could still show


class Ref:
    """An object of the matrix."""

    def __init__(self, plural, name, namespace=""):
        self.resource, self.name, self.namespace = RESOURCES[plural], name, namespace
        self.path = self.resource.path(namespace, name)
        self.collection = self.resource.path(namespace)
        self.arguments = [f"{plural}.{self.resource.group}" if self.resource.group else plural, name]
        if namespace:
            self.arguments += ["--namespace", namespace]

    def __str__(self):
        return f"{self.resource.kind} {self.namespace}{'/' if self.namespace else ''}{self.name}"


def is_done(before, after, expect, until):
    """Whether an object shows what a step was to do."""
    is_same = before is not None and after is not None and before["metadata"]["uid"] == after["metadata"]["uid"]
    return {
        "changed": lambda: is_same and version_of(before) != version_of(after) and (until is None or until(after)),
        "created": lambda: after is not None and not is_same,
        "deleted": lambda: before is not None and not is_same,
        "nothing": lambda: True,
    }[expect]()


class Matrix:
    def __init__(self, api, namespace, folder):
        self.api, self.namespace, self.folder = api, namespace, folder
        self.plan, self.problems, self.planted = [], [], []
        self.phase = "live"
        self.lock = threading.Lock()
        self.last = {}  # path to the time of the last write of this script
        self.watchers = {one.plural: Watcher(api, one) for one in TRACKED}

    def log(self, text):
        print(f"     {time.strftime('%H:%M:%S', time.gmtime())} {text}", flush=True)

    def problem(self, text):
        with self.lock:
            self.problems.append(text)
        print(f"FAIL the matrix itself: {text}", flush=True)

    # ---- watchers

    def start_watchers(self):
        for one in self.watchers.values():
            one.start()
        self.wait("the script's own watches", 60, lambda: all(one.accepted for one in self.watchers.values()))

    def watch_custom(self):
        for resource in CUSTOM:
            self.watchers[resource.plural] = Watcher(self.api, resource)
            self.watchers[resource.plural].start()
        self.wait("watches of the custom resources", 30, lambda: all(one.accepted for one in self.watchers.values()))

    def reconnected(self, since):
        """All watches were accepted since then, and none of them got 410 in the first second."""
        self.wait(
            "watches after a restart", 90, lambda: all(since < one.accepted < time.time() - 1 for one in self.watchers.values())
        )

    def wait(self, what, seconds, condition):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.problem(f"{what}: not within {seconds} s")
                return False
            time.sleep(0.1)
        return True

    # ---- one step

    def step(self, field, way, ref, do, expect="changed", pace=1.0, within=10, until=None):
        """Runs one write. `field`: the class of what changes. `expect`: changed, created, deleted or nothing (no row).
        `until`: what holds of the object afterwards, where a controller makes the change.
        """
        rest = self.last.get(ref.path, 0) + pace - time.time()
        if rest > 0:
            time.sleep(rest)
        try:
            before = self.api.get(ref.path)
            start = time.time()
            do()
            after = self.settle(ref, before, expect, within, until)
        except (Refused, RuntimeError) as error:
            self.problem(f"{field} of {ref} by {way}: {error}")
            return None
        end = self.last[ref.path] = time.time()
        if not is_done(before, after, expect, until):
            self.problem(f"{field} of {ref} by {way}: it was not {expect}")
        with self.lock:
            self.plan.append(
                {
                    "n": len(self.plan),
                    "phase": self.phase,
                    "class": field,
                    "way": way,
                    "expect": expect,
                    "resource": ref.resource.plural,
                    "group": ref.resource.group,
                    "kind": ref.resource.kind,
                    "namespace": ref.namespace,
                    "name": ref.name,
                    "start": start,
                    "end": end,
                    "uid": (before or after or {"metadata": {"uid": None}})["metadata"]["uid"],
                    "after_uid": after and after["metadata"]["uid"],
                    "rv_before": version_of(before) if before else None,
                    "rv_after": version_of(after) if after else None,
                    "after": after,
                }
            )
        return after

    def settle(self, ref, before, expect, within, until):
        """The object after a write, once it shows it."""
        if expect == "nothing":
            time.sleep(NO_CHANGE_AFTER)
            return self.api.get(ref.path)
        end = time.monotonic() + within
        while True:
            after = self.api.get(ref.path)
            if is_done(before, after, expect, until) or time.monotonic() > end:
                return after
            time.sleep(0.1)

    # ---- ways of writing

    def kubectl(self, *arguments, stdin=None, editor=None, wrong=False):
        env = dict(os.environ)
        if editor:
            env["KUBE_EDITOR"] = editor
        done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, env=env)
        if (done.returncode != 0) != wrong:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-300:] or 'was accepted'}")
        return done.stdout

    def create(self, ref, found, field="creation", way="kubectl create"):
        found = self.complete(ref, found)
        actions = {
            "kubectl create": lambda: self.kubectl("create", "-f", "-", stdin=json.dumps(found)),
            "kubectl apply": lambda: self.kubectl("apply", "-f", "-", stdin=json.dumps(found)),
        }
        do = actions.get(way) or (lambda: self.apply_as(ref, found, way.removeprefix("server-side apply as ")))
        return self.step(field, way, ref, do, expect="created")

    @staticmethod
    def complete(ref, found):
        meta = {"name": ref.name, **({"namespace": ref.namespace} if ref.namespace else {}), **found.get("metadata", {})}
        return {"apiVersion": ref.resource.api_version, "kind": ref.resource.kind, **found, "metadata": meta}

    def apply_as(self, ref, found, manager):
        self.api.done(
            "PATCH", ref.path, self.complete(ref, found), kind=APPLY, agent="e2e-applier/1", fieldManager=manager, force="true"
        )

    def apply(self, field, ref, found, **options):
        return self.step(
            field,
            "kubectl apply",
            ref,
            lambda: self.kubectl("apply", "-f", "-", stdin=json.dumps(self.complete(ref, found))),
            **options,
        )

    def server_side(self, field, ref, found, manager, **options):
        return self.step(field, "server-side apply", ref, lambda: self.apply_as(ref, found, manager), **options)

    def run(self, field, verb, ref, *arguments, before=(), **options):
        """`kubectl VERB [before] KIND NAME ARGUMENTS`."""
        way = "kubectl " + " ".join(verb.split()[: 2 if verb.startswith(("set", "rollout")) else 1])
        return self.step(field, way, ref, lambda: self.kubectl(*verb.split(), *before, *ref.arguments, *arguments), **options)

    def patch(self, field, ref, change, kind="strategic", *arguments, **options):
        return self.run(field, "patch", ref, "--type", kind, "--patch", json.dumps(change), *arguments, **options)

    def edit(self, field, ref, script, **options):
        return self.step(
            field, "kubectl edit", ref, lambda: self.kubectl("edit", *ref.arguments, editor=f"sed -i -E '{script}'"), **options
        )

    def client(self, field, ref, change, agent="operator/1.4", kind=MERGE, path="", way=None, **options):
        """A PATCH of a client of its own."""
        way = way or ("a client without a name" if agent is None else "a client's PATCH")
        return self.step(
            field, way, ref, lambda: self.api.done("PATCH", ref.path + path, change, kind=kind, agent=agent), **options
        )

    def put(self, field, ref, change, agent="terraform/1.9", path="", way="a client's PUT", **options):
        """Read, change, PUT; `change` is a function of the object."""
        return self.step(field, way, ref, lambda: self.replace_now(ref, change, agent, path), **options)

    def replace_now(self, ref, change, agent="terraform/1.9", path=""):
        while True:
            found = self.api.get(ref.path + path)
            change(found)
            status, document = self.api.send("PUT", ref.path + path, found, agent=agent)
            if status < 300:
                return
            if status != 409:  # a controller was faster
                raise Refused(status, document)

    def delete(self, ref, field="deletion", *arguments, **options):
        return self.run(field, "delete", ref, "--wait=false", *arguments, **{"expect": "deleted", **options})

    def unwanted(self, what, ref, do):
        return self.step(what, "unwanted", ref, do, expect="nothing", pace=0)

    def unwanted_patch(self, what, ref, change, path="", kind=MERGE, agent="noise/1"):
        return self.unwanted(what, ref, lambda: self.api.done("PATCH", ref.path + path, change, kind=kind, agent=agent))

    # ---- planted secrets

    def plant(self, form="{}", length=28):
        """A value that must be found in nothing that kube9 writes."""
        value = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
        with self.lock:
            self.planted.append(value)
        return form.format(value)

    # ---- groups

    def parallel(self, *groups):
        """Groups of steps side by side; an error ends its group alone."""

        def one(group):
            try:
                group()
            except Exception as error:  # pylint: disable=broad-except
                self.problem(f"{getattr(group, 'func', group).__name__}: {type(error).__name__}: {error}")

        with concurrent.futures.ThreadPoolExecutor(max_workers=6) as pool:
            list(pool.map(one, groups))

    def ref(self, plural, name, namespace=None):
        namespaced = RESOURCES[plural].namespaced
        return Ref(plural, name, (self.namespace if namespace is None else namespace) if namespaced else "")
