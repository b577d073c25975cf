"""Each cause of a deletion, in a namespace of its own; the audit log says who deleted what (truth.py)."""

import json
import time

from fields import container, deployment
from matrix import BUSYBOX, GROUP, PAUSE

RUN = {"name": "app", "image": BUSYBOX, "command": ["sh", "-c", "trap exit TERM; sleep 36000 & wait"]}


class Scene:
    def __init__(self, m, name):
        self.m, self.space = m, f"{m.namespace}-{name}"
        m.kubectl("create", "namespace", self.space)
        # After a restart of the API server, the controllers elect a leader first.
        m.wait(
            f"the default account of {self.space}",
            120,
            lambda: m.api.get(f"/api/v1/namespaces/{self.space}/serviceaccounts/default"),
        )

    def ref(self, plural, name):
        return self.m.ref(plural, name, self.space)

    def pods(self):
        return [
            one
            for one in self.m.api.list(f"/api/v1/namespaces/{self.space}/pods")[0]
            if not one["metadata"].get("deletionTimestamp")
        ]

    def running(self, number):
        return self.m.wait(
            f"{number} pods run in {self.space}",
            120,
            lambda: sum((one.get("status") or {}).get("phase") == "Running" for one in self.pods()) == number == len(self.pods()),
        )

    def deploy(self, replicas, **spec):
        ref = self.ref("deployments", "app")
        found = deployment([dict(RUN)], replicas=replicas, **spec)
        found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
        self.m.create(ref, found, way="kubectl apply")
        self.running(replicas)
        return ref

    def uids(self):
        return {one["metadata"]["uid"] for one in self.pods()}

    def leave(self, what, uids, number):
        """Waits until this many of these pods are deleted."""
        self.m.wait(
            f"{what}: {number} pods are deleted",
            90,
            lambda: len(uids & {one["metadata"]["uid"] for one in self.m.api.list(f"/api/v1/namespaces/{self.space}/pods")[0]})
            <= len(uids) - number,
        )


def by_request(m):
    scene = Scene(m, "request")
    scene.deploy(1)
    name = scene.pods()[0]["metadata"]["name"]
    m.delete(scene.ref("pods", name), "deletion of a pod", within=60)
    done = scene.ref("pods", "done")
    m.create(done, {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": BUSYBOX, "command": ["true"]}]}})
    m.wait("the pod has ended", 60, lambda: (m.api.get(done.path).get("status") or {}).get("phase") == "Succeeded")
    time.sleep(2)
    m.delete(done, "deletion of a pod that ended")
    plain = scene.ref("configmaps", "plain")
    m.create(plain, {"data": {"a": "1"}})
    m.delete(plain)
    held = scene.ref("configmaps", "held")
    m.create(held, {"metadata": {"finalizers": [f"{GROUP}/a", f"{GROUP}/b"]}})
    m.delete(held, expect="changed")
    time.sleep(1.5)
    m.client("finalizers of a deletion", held, {"metadata": {"finalizers": [f"{GROUP}/b"]}}, agent="finisher/1")
    time.sleep(1.5)
    m.client("finalizers of a deletion", held, {"metadata": {"finalizers": None}}, agent="finisher/1", expect="deleted")


def by_eviction(m):
    scene = Scene(m, "eviction")
    scene.deploy(1)
    name = scene.pods()[0]["metadata"]["name"]
    pod = scene.ref("pods", name)
    m.step(
        "eviction",
        "eviction API",
        pod,
        lambda: m.kubectl(
            "create",
            "--raw",
            f"{pod.path}/eviction",
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": scene.space}}),
        ),
        expect="deleted",
        within=60,
    )


def by_preemption(m):
    scene = Scene(m, "preemption")
    node = next(one for one in m.api.list("/api/v1/nodes")[0] if (one.get("status") or {}).get("allocatable", {}).get("memory"))
    half = int(int(node["status"]["allocatable"]["memory"].removesuffix("Ki")) * 0.6)
    important = m.ref("priorityclasses", f"{m.namespace}-high")
    m.create(important, {"value": 100000})
    for name, priority in (("low", {}), ("high", {"priorityClassName": important.name})):
        ref = scene.ref("pods", name)
        m.create(
            ref,
            {
                "spec": {
                    **priority,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "app", "image": PAUSE, "resources": {"requests": {"memory": f"{half}Ki"}}}],
                }
            },
        )
        if name == "low":
            scene.running(1)
    low = scene.ref("pods", "low")
    m.wait("the scheduler preempts", 90, lambda: m.api.get(low.path) is None)
    m.delete(scene.ref("pods", "high"), within=60)
    m.delete(important)


def by_node(m):
    """A node without a kubelet is deleted; its pods follow after some 40 s."""
    scene = Scene(m, "node")
    ghost = m.ref("nodes", f"{m.namespace}-gone")
    m.create(ghost, {"spec": {"taints": [{"key": GROUP, "effect": "NoSchedule"}]}})
    pod = scene.ref("pods", "stranded")
    m.create(pod, {"spec": {"nodeName": ghost.name, "containers": [{"name": "app", "image": PAUSE}]}})
    time.sleep(2)
    m.delete(ghost)
    m.wait("the pod of a deleted node is deleted", 150, lambda: m.api.get(pod.path) is None)


def by_owner(m):
    scene = Scene(m, "owner")
    app = scene.deploy(2)
    uids = scene.uids()
    m.delete(app, "deletion in the background")
    scene.leave("background", uids, 2)
    app = scene.deploy(1)
    uids = scene.uids()
    m.run("deletion in the foreground", "delete", app, "--cascade=foreground", "--wait=false", expect="deleted", within=60)
    scene.leave("foreground", uids, 1)
    parent = scene.ref("configmaps", "parent")
    m.create(parent, {"data": {"a": "1"}})
    uid = m.api.get(parent.path)["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": uid}
    child, lost = scene.ref("configmaps", "child"), scene.ref("configmaps", "lost")
    m.create(child, {"metadata": {"ownerReferences": [owner]}})
    m.delete(parent)
    m.wait("the child is deleted", 60, lambda: m.api.get(child.path) is None)
    m.create(lost, {"data": {"a": "1"}})
    absent = {**owner, "name": "never", "uid": "00000000-0000-4000-8000-000000000001"}
    m.client("owner reference", lost, {"metadata": {"ownerReferences": [absent]}}, agent="orphaner/1", expect="deleted", within=60)


def by_namespace(m):
    scene = Scene(m, "namespace")
    scene.deploy(1)
    for name in ("a", "b"):
        m.create(scene.ref("configmaps", name), {"data": {"x": "1"}})
    m.create(scene.ref("services", "s"), {"spec": {"ports": [{"port": 80}]}})
    m.delete(m.ref("namespaces", scene.space), "deletion of a namespace", within=120)


def by_controller(m):
    """Scale-down, rollout, a StatefulSet's claims, a DaemonSet's update."""
    scene = Scene(m, "controller")
    app = scene.deploy(3)
    uids = scene.uids()
    m.run("replicas by hand", "scale", app, "--replicas=1")
    scene.leave("scale-down", uids, 2)
    uids = scene.uids()
    m.run("env", "set env", app, "A=2")
    scene.leave("rollout", uids, 1)
    scene.running(1)
    uids = scene.uids()
    m.run("replicas by hand", "scale", app, "--replicas=0")
    scene.leave("scale to zero", uids, 1)
    db = scene.ref("statefulsets", "db")
    m.create(
        db,
        {
            "spec": {
                "replicas": 2,
                "serviceName": "db",
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"app": "db"}},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{**RUN, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                    },
                },
                "volumeClaimTemplates": [
                    {
                        "metadata": {"name": "data"},
                        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
                    }
                ],
            }
        },
        way="kubectl apply",
    )
    scene.running(2)
    claim = scene.ref("persistentvolumeclaims", "data-db-1")
    m.run("replicas by hand", "scale", db, "--replicas=1")
    m.wait("the claim of a removed replica is deleted", 90, lambda: m.api.get(claim.path) is None)
    uids = scene.uids()
    m.run("env", "set env", db, "A=1")
    scene.leave("update of a StatefulSet", uids, 1)
    scene.running(1)
    m.delete(db)
    m.wait("the last claim is deleted", 90, lambda: m.api.get(scene.ref("persistentvolumeclaims", "data-db-0").path) is None)
    agent = scene.ref("daemonsets", "agent")
    m.create(
        agent,
        {
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {
                    "metadata": {"labels": {"app": "agent"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "nodeSelector": {"kubernetes.io/os": "linux"},
                        "containers": [dict(RUN)],
                    },
                },
            }
        },
    )
    scene.running(1)
    uids = scene.uids()
    m.run("env", "set env", agent, "A=1")
    scene.leave("update of a DaemonSet", uids, 1)
    m.delete(agent)


def by_job(m):
    scene = Scene(m, "job")
    finished = {"restartPolicy": "Never", "containers": [{"name": "app", "image": BUSYBOX, "command": ["true"]}]}
    ttl = scene.ref("jobs", "ttl")
    m.create(ttl, {"spec": {"ttlSecondsAfterFinished": 3, "template": {"spec": finished}}}, way="kubectl apply")
    cron = scene.ref("cronjobs", "history")
    m.create(
        cron,
        {
            "spec": {
                "schedule": "0 0 1 1 *",
                "suspend": True,
                "successfulJobsHistoryLimit": 1,
                "jobTemplate": {"spec": {"template": {"spec": finished}}},
            }
        },
        way="kubectl apply",
    )
    for name in ("first", "second"):
        m.step(
            "a Job of a CronJob by hand",
            "kubectl create",
            scene.ref("jobs", name),
            lambda name=name: m.kubectl("create", "job", name, "-n", scene.space, "--from=cronjob/history"),
            expect="created",
        )
        m.wait(
            f"the Job {name} ends",
            90,
            lambda name=name: (
                (m.api.get(scene.ref("jobs", name).path) or {"status": {"completionTime": 1}}).get("status") or {}
            ).get("completionTime"),
        )
    m.wait("the Job is deleted after its time to live", 120, lambda: m.api.get(ttl.path) is None)
    m.wait("the CronJob keeps one Job", 120, lambda: m.api.get(scene.ref("jobs", "first").path) is None)
    m.delete(scene.ref("jobs", "second"), "deletion of a Job of a CronJob")


def by_definition(m):
    scene = Scene(m, "definition")
    ref = m.ref("customresourcedefinitions", f"gears.{GROUP}")
    gear = m.ref("gears", f"{m.namespace}-last")
    m.create(gear, {"spec": {"teeth": 1}})
    widget = scene.ref("widgets", "last")
    m.create(widget, {"spec": {"mode": "last"}})
    m.delete(ref, "deletion of a definition", within=60)
    m.wait("the custom resource is deleted with its definition", 60, lambda: m.api.get(gear.path) is None)


def by_taint(m, node):
    """The real node: a taint that pods do not tolerate, then a drain."""
    scene = Scene(m, "taint")
    scene.deploy(1)
    uids = scene.uids()
    m.run("taints", "taint", node, f"{GROUP}/out=now:NoExecute")
    scene.leave("taint", uids, 1)
    m.run("taints", "taint", node, f"{GROUP}/out-")
    scene.running(1)
    uids = scene.uids()
    m.step(
        "drain",
        "kubectl drain",
        node,
        lambda: m.kubectl(
            "drain", node.name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s", "--pod-selector=app=it"
        ),
        within=90,
    )
    scene.leave("drain", uids, 1)
    m.step("unschedulable", "kubectl uncordon", node, lambda: m.kubectl("uncordon", node.name))
    m.patch("image pull policy", scene.ref("deployments", "app"), container(imagePullPolicy="Never"))
    m.run("replicas by hand", "scale", scene.ref("deployments", "app"), "--replicas=0")


SCENES = [by_request, by_eviction, by_node, by_preemption, by_owner, by_namespace, by_controller, by_job]
