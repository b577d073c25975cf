"""The groups of the matrix that run while the recorder does: every class of field, each kind, and unwanted writes."""

import json
import os
import re
import time

import yaml

from matrix import BUSYBOX, GROUP, JSON_PATCH, PAUSE, STRATEGIC


def deployment(containers=None, replicas=0, **spec):
    containers = containers or [{
        "name": "app", "image": PAUSE, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "resources": {"requests": {"cpu": "10m"}}}]
    return {"spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "it"}}, "template": {
        "metadata": {"labels": {"app": "it"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": containers}}, **spec}}


def container(**fields):
    return {"spec": {"template": {"spec": {"containers": [{"name": "app", **fields}]}}}}


def pod_spec(**fields):
    return {"spec": {"template": {"spec": fields}}}


def by_kubectl(m):
    """A Deployment, each class of field by a verb of kubectl."""
    web = m.ref("deployments", "web")
    m.create(web, deployment())
    m.unwanted("only last-applied appears", web, lambda: m.kubectl("apply", "-f", "-", stdin=json.dumps(m.complete(web, deployment()))))
    m.run("image", "set image", web, f"app={BUSYBOX}")
    m.run("limits", "set resources", web, "--limits=cpu=100m,memory=64Mi")
    m.run("requests", "set resources", web, "--requests=cpu=20m,memory=32Mi")
    m.run("env", "set env", web, "A=changed")
    m.run("env", "set env", web, "NEW=1")
    m.run("env", "set env", web, "NEW-")
    for name in ("absent", "other"):
        m.patch("envFrom", web, container(envFrom=[{"configMapRef": {"name": name, "optional": True}}]))
    m.patch("args", web, container(args=["--verbose", "--level=3"]))
    m.patch("args", web, container(args=["--verbose", "--level=4"]))
    m.patch("command", web, [{"op": "add", "path": "/spec/template/spec/containers/0/command", "value": ["/pause"]}], "json")
    m.patch("liveness probe", web, container(livenessProbe={"exec": {"command": ["true"]}, "periodSeconds": 10}))
    m.edit("liveness probe", web, "s/periodSeconds: 10/periodSeconds: 17/")
    m.patch("readiness probe", web, container(readinessProbe={"tcpSocket": {"port": 80}}))
    m.patch("startup probe", web, container(startupProbe={"httpGet": {"path": "/up", "port": 80}}))
    m.patch("volumes", web, {"spec": {"template": {"spec": {
        "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "settings", "optional": True}}],
        "containers": [{"name": "app", "volumeMounts": [{"name": "a", "mountPath": "/a"}]}]}}}})
    m.patch("volumes", web, pod_spec(volumes=[{"name": "a", "emptyDir": {"sizeLimit": "1Mi"}}]))
    m.patch("node selector", web, pod_spec(nodeSelector={"disk": "ssd"}))
    m.patch("tolerations", web, pod_spec(tolerations=[{"key": "a", "operator": "Exists"}]))
    m.patch("affinity", web, pod_spec(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}]}}))
    m.patch("topology spread", web, pod_spec(topologySpreadConstraints=[{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "it"}}}]))
    m.patch("topology spread", web, [{"op": "replace", "path": "/spec/template/spec/topologySpreadConstraints/0/maxSkew", "value": 2}],
        "json")
    m.patch("strategy", web, {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "50%"}}}})
    m.patch("strategy", web, {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}, "merge")
    m.run("labels", "label", web, "team=a")
    m.run("labels", "label", web, "team=b", "--overwrite")
    m.run("labels", "label", web, "team-")
    m.run("annotations", "annotate", web, "note=first", "kubernetes.io/change-cause=a release")
    m.run("annotations", "annotate", web, "note=second", "--overwrite")
    m.run("restart", "rollout restart", web)
    m.run("paused", "rollout pause", web)
    m.run("paused", "rollout resume", web)
    m.run("rollback", "rollout undo", web)
    m.run("replicas by hand", "scale", web, "--replicas=1")
    m.run("replicas by hand", "scale", web, "--replicas=0")
    m.step("labels", "kubectl label as another manager", web, lambda: m.kubectl("label", *web.arguments, "release=7",
        "--field-manager=release-bot"))
    m.step("image", "kubectl replace", web, lambda: m.kubectl("replace", "-f", "-", stdin=json.dumps(m.complete(web, deployment()))))
    m.apply("env", web, deployment([{"name": "app", "image": PAUSE, "env": [{"name": "A", "value": "3"}]}]))
    m.apply("env", web, deployment([{"name": "app", "image": PAUSE}]))
    m.unwanted("apply without a change", web, lambda: m.kubectl(
        "apply", "-f", "-", stdin=json.dumps(m.complete(web, deployment([{"name": "app", "image": PAUSE}])))))


def by_clients(m):
    """A Deployment, by clients that call themselves something, or nothing."""
    api = m.ref("deployments", "api")
    m.create(api, deployment(), way="server-side apply as argocd-controller")
    m.server_side("image", api, deployment([{"name": "app", "image": BUSYBOX, "env": [{"name": "A", "value": "1"}]}]), "argocd-controller")
    m.server_side("annotations", api, {**deployment([{"name": "app", "image": BUSYBOX}]), "metadata": {
        "annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/api"}}}, "argocd-controller")
    m.client("replicas by a scale subresource", api, {"spec": {"replicas": 1}}, agent="keda/2.15", path="/scale", way="scale subresource")
    m.put("replicas by a scale subresource", api, lambda found: found["spec"].update(replicas=0), agent="autoscaler/1", path="/scale",
        way="scale subresource")
    m.server_side("labels", api, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {
        "meta.helm.sh/release-name": "api", "meta.helm.sh/release-namespace": m.namespace}}}, "helm")
    m.unwanted("managers only: the same fields by another manager", api, lambda: m.apply_as(
        api, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}, "another"))
    m.client("labels", api, {"metadata": {"labels": {"nameless": "1"}}}, agent=None)
    m.client("labels", api, {"metadata": {"labels": {"browser": "1"}}}, agent="Mozilla/5.0 (X11; Linux)")
    m.client("labels", api, {"metadata": {"labels": {"long": "1"}}}, agent="x" * 150 + "/2")
    m.client("labels", api, {"metadata": {"labels": {"nameless": None}}}, agent="remover/1")
    m.put("image pull policy", api, lambda found: found["spec"]["template"]["spec"]["containers"][0].update(imagePullPolicy="Always"))
    m.put("container ports", api, lambda found: found["spec"]["template"]["spec"]["containers"][0].update(
        ports=[{"name": "http", "containerPort": 80, "protocol": "TCP"}]))
    m.put("container ports", api, lambda found: found["spec"]["template"]["spec"]["containers"][0]["ports"][0].update(containerPort=81))
    m.client("container added", api, container_named("sidecar", image=PAUSE), kind=STRATEGIC)
    m.put("order of containers", api, lambda found: found["spec"]["template"]["spec"]["containers"].reverse())
    m.client("init container", api, {"spec": {"template": {"spec": {"initContainers": [{"name": "init", "image": BUSYBOX}]}}}},
        kind=STRATEGIC)
    m.client("security context", api, pod_spec(securityContext={"runAsUser": 1000}), kind=STRATEGIC)
    m.client("service account", api, pod_spec(serviceAccountName="absent"), kind=STRATEGIC)
    m.client("host aliases", api, pod_spec(hostAliases=[{"ip": "10.0.0.9", "hostnames": ["db"]}]), kind=STRATEGIC)
    m.client("grace period", api, pod_spec(terminationGracePeriodSeconds=5), kind=STRATEGIC)
    m.client("env", api, container_named("sidecar", env=[{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]), kind=STRATEGIC)
    m.put("order of env", api, lambda found: next(one for one in found["spec"]["template"]["spec"]["containers"] if one["name"] == "sidecar")["env"].reverse())
    m.put("env repeated", api, lambda found: next(
        one for one in found["spec"]["template"]["spec"]["containers"] if one["name"] == "sidecar")["env"].append({"name": "X",
            "value": "3"}))
    m.client("volumes", api, pod_spec(volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}]), kind=STRATEGIC)
    m.unwanted("order of volumes", api, lambda: m.replace_now(api, lambda found: found["spec"]["template"]["spec"]["volumes"].reverse()))
    m.client("min ready seconds", api, {"spec": {"minReadySeconds": 3}})
    m.client("revision history", api, {"spec": {"revisionHistoryLimit": 3}})
    # Two managers within a second, and one that goes there and back.
    for number in (1, 2, 3):
        m.client("same second", api, {"metadata": {"labels": {f"quick-{number}": "1"}}}, agent=f"quick-{number}/1", pace=0)
    m.client("same second", api, {"metadata": {"labels": {"quick-1": "2"}}}, agent="quick-1/1", pace=0)
    m.client("same second", api, {"metadata": {"labels": {"quick-1": "1"}}}, agent="quick-1/1", pace=0)
    m.client("no managed fields", api, {"metadata": {"managedFields": [{}], "labels": {"erased": "1"}}}, agent="cleaner/1")
    m.client("no managed fields", api, {"metadata": {"labels": {"erased": "2"}}}, agent="later/1")
    m.server_side("first apply after that", api, {"metadata": {"labels": {"erased": "3"}}}, "gitops")
    m.delete(api)


def container_named(name, **fields):
    return {"spec": {"template": {"spec": {"containers": [{"name": name, **fields}]}}}}


def config_maps(m):
    settings = m.ref("configmaps", "settings")
    m.step("creation", "kubectl create", settings, lambda: m.kubectl(
        "create", "configmap", "settings", "-n", m.namespace, "--from-literal=mode=a", "--from-literal=old=1"), expect="created")
    m.patch("data", settings, {"data": {"mode": "b"}}, "merge")
    m.patch("data", settings, {"data": {"mode": "c", "new": "1", "old": None}}, "merge")
    m.edit("data", settings, "s/mode: c/mode: d/")
    m.client("data", settings, {"data": {"file.yaml": "a: 1\nb: 2\n"}}, agent="config-sync/3")
    m.client("data", settings, {"data": {"file.yaml": "a: 1\nb: 3\n"}}, agent="config-sync/3")
    m.client("binary data", settings, {"binaryData": {"blob": "AAEC"}}, agent="uploader/1")
    m.client("data", settings, {"data": {"odd.key_-1": "x"}}, agent=None)
    m.client("data", settings, {"data": {"mode": None, "renamed": "d"}}, agent="renamer/1")
    m.client("immutable", settings, {"immutable": True}, agent="locker/1")
    m.step("recreation", "kubectl replace", settings, lambda: m.kubectl(
        "replace", "--force", "-f", "-", stdin=json.dumps(m.complete(settings, {"data": {"mode": "e"}}))), expect="created")
    m.apply("data", settings, {"data": {"mode": "f"}})
    # From client-side to server-side apply: four writes, of which one removes a key.
    m.apply("data", settings, {"data": {"mode": "f", "gone": "soon"}})
    m.step("data", "kubectl apply --server-side", settings, lambda: m.kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(m.complete(settings, {"data": {"mode": "g"}}))))
    m.delete(settings)


def services(m):
    shop = m.ref("services", "shop")
    m.step("creation", "kubectl create", shop, lambda: m.kubectl(
        "create", "service", "clusterip", "shop", "-n", m.namespace, "--tcp=80:8080"), expect="created")
    m.patch("ports", shop, [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}], "json")
    m.patch("ports", shop, [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9090}], "json")
    m.client("ports", shop, {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 9090}, {"name": "admin", "port": 99}]}})
    m.run("selector", "set selector", shop, "app=it,tier=front")
    m.patch("type", shop, {"spec": {"type": "NodePort"}})
    m.patch("type", shop, {"spec": {"type": "ClusterIP"}})
    m.client("session affinity", shop, {"spec": {"sessionAffinity": "ClientIP"}})
    m.run("annotations", "annotate", shop, "prometheus.io/scrape=true")
    m.client("publish not ready", shop, {"spec": {"publishNotReadyAddresses": True}}, agent=None)
    m.delete(shop)


def workloads(m):
    template = {"metadata": {"labels": {"app": "sts"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "app",
        "image": PAUSE}]}}
    db = m.ref("statefulsets", "db")
    m.create(db, {"spec": {"replicas": 0, "serviceName": "db", "selector": {"matchLabels": {"app": "sts"}}, "template": template}},
        way="kubectl apply")
    m.run("image", "set image", db, f"app={BUSYBOX}")
    m.patch("update strategy", db, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}})
    m.patch("claim retention", db, {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}})
    m.delete(db)
    agent = m.ref("daemonsets", "agent")
    template = {"metadata": {"labels": {"app": "ds"}}, "spec": {"nodeSelector": {"no": "such"}, "containers": [{"name": "app",
        "image": PAUSE}]}}
    m.create(agent, {"spec": {"selector": {"matchLabels": {"app": "ds"}}, "template": template}}, way="kubectl apply")
    m.run("env", "set env", agent, "LEVEL=3")
    m.patch("update strategy", agent, {"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}})
    m.run("restart", "rollout restart", agent)
    m.delete(agent)
    job = m.ref("jobs", "migrate")
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": PAUSE}]}}
    m.create(job, {"spec": {"suspend": True, "parallelism": 1, "completions": 4, "template": template}})
    m.patch("parallelism", job, {"spec": {"parallelism": 2}})
    m.client("active deadline", job, {"spec": {"activeDeadlineSeconds": 600}})
    m.delete(job)
    cron = m.ref("cronjobs", "nightly")
    m.step("creation", "kubectl create", cron, lambda: m.kubectl(
        "create", "cronjob", "nightly", "-n", m.namespace, f"--image={PAUSE}", "--schedule=0 0 1 1 *"), expect="created")
    m.patch("schedule", cron, {"spec": {"schedule": "0 4 1 1 *"}})
    m.patch("suspend", cron, {"spec": {"suspend": True}})
    m.client("image", cron, {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "nightly",
        "image": BUSYBOX}]}}}}}}, kind=STRATEGIC)
    m.edit("history limit", cron, "s/failedJobsHistoryLimit: 1/failedJobsHistoryLimit: 2/")
    m.delete(cron)


def pods(m):
    pod = m.ref("pods", "single")
    m.create(pod, {"spec": {"terminationGracePeriodSeconds": 1, "containers": [{
        "name": "app", "image": BUSYBOX, "command": ["sleep", "3600"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}}]}}, way="kubectl apply")
    m.wait("the pod runs", 60, lambda: (m.api.get(pod.path).get("status") or {}).get("phase") == "Running")
    m.run("labels", "label", pod, "role=primary")
    m.patch("in-place resize", pod, {"spec": {"containers": [{"name": "app", "resources": {
        "requests": {"cpu": "20m"}, "limits": {"cpu": "200m"}}}]}}, "strategic", "--subresource", "resize")
    m.step("ephemeral container", "kubectl debug", pod, lambda: m.kubectl(
        "debug", pod.name, "-n", m.namespace, f"--image={BUSYBOX}", "--attach=false", "--", "true"))
    m.run("image of a pod", "set image", pod, f"app={PAUSE}")
    m.client("active deadline", pod, {"spec": {"activeDeadlineSeconds": 900}})
    m.unwanted_patch("status of a pod", pod, {"status": {"conditions": [
        {"type": "e2e.kube9.io/noise", "status": "True", "lastTransitionTime": stamp()}]}}, "/status", STRATEGIC)
    m.delete(pod, within=30)


def claims(m):
    claim = m.ref("persistentvolumeclaims", "data")
    m.create(claim, {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}, way="kubectl apply")
    m.wait("the claim is bound", 60, lambda: (m.api.get(claim.path).get("status") or {}).get("phase") == "Bound")
    m.run("labels", "label", claim, "tier=gold")
    m.unwanted_patch("an annotation of the binder", claim, {"metadata": {"annotations": {"pv.kubernetes.io/e2e": "yes"}}})
    bound = m.ref("persistentvolumes", m.api.get(claim.path)["spec"]["volumeName"])
    m.run("annotations", "annotate", bound, "backup=daily")
    m.delete(claim, within=30)
    disk = m.ref("persistentvolumes", f"{m.namespace}-disk")
    m.create(disk, {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
                             "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"}}})
    m.patch("capacity", disk, {"spec": {"capacity": {"storage": "2Gi"}}})
    m.patch("reclaim policy", disk, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
    m.delete(disk, within=30)


def policy(m):
    table(m, "policy")


def access(m):
    table(m, "access")


def cluster_kinds(m):
    table(m, "cluster")


def table(m, group):
    """Creates, changes, labels and deletes the objects of a group of objects.yaml; the ways take turns."""
    with open(os.path.join(os.path.dirname(__file__), "objects.yaml")) as file:
        plans = yaml.safe_load(re.sub(r"\bNS\b", m.namespace, file.read()))[group]
    creating = ["kubectl apply", "kubectl create", "server-side apply as flux"]
    for number, plan in enumerate(plans):
        ref = m.ref(plan["resource"], plan["name"])
        m.create(ref, plan["create"], way=creating[number % 3])
        for turn, (field, change) in enumerate(one for part in plan["changes"] for one in part.items()):
            way = (number + turn) % 3
            if way == 0:
                m.patch(field, ref, change, "merge")
            elif way == 1:
                m.client(field, ref, change, agent="operator/1.4")
            else:
                m.put(field, ref, lambda whole, change=change: merge(whole, change))
        m.run("labels", "label", ref, "owner=e2e")
        if number % 2:
            m.server_side("labels", ref, {"metadata": {"labels": {"owner": "gitops"}}}, "gitops")
        else:
            m.client("labels", ref, {"metadata": {"labels": {"owner": None}}}, agent="cleaner/1")
        m.delete(ref, within=30)


def merge(target, change):
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value


def definition(plural, kind, scope, **columns):
    schema = {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"replicas": {"type": "integer"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"replicas": {"type": "integer"}}}}}}
    return {"spec": {"group": GROUP, "scope": scope, "names": {"plural": plural, "singular": kind.lower(), "kind": kind}, "versions": [{
        "name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {
            "status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}, **columns}]}}


def definitions(m):
    """Before anything else, so that the watches of the custom resources are open."""
    for plural, kind, scope in (("widgets", "Widget", "Namespaced"), ("gears", "Gear", "Cluster"), ("webservices", "Service", "Namespaced")):
        ref = m.ref("customresourcedefinitions", f"{plural}.{GROUP}")
        m.create(ref, definition(plural, kind, scope), way="kubectl apply")
        m.wait(f"{plural} are served", 30, lambda path=m.ref(plural, "x").collection: m.api.send("GET", path)[0] == 200)


def custom(m):
    widget = m.ref("widgets", "one")
    m.create(widget, {"spec": {"replicas": 1, "mode": "fast", "items": [{"name": "a", "v": "1"}, {"name": "b", "v": "1"}],
                               "steps": [{"image": PAUSE}, {"image": BUSYBOX}], "values": {"password": m.plant()}}}, way="kubectl apply")
    m.client("custom resource", widget, {"spec": {"mode": "slow"}}, agent="widget-operator/2")
    m.client("custom resource", widget, {"spec": {"items": [{"name": "a", "v": "2"}, {"name": "b", "v": "1"}]}}, agent="widget-operator/2")
    m.client("custom resource", widget, {"spec": {"items": [{"name": "b", "v": "1"}, {"name": "a", "v": "2"}, {"name": "c",
        "v": "3"}]}}, agent="widget-operator/2")
    m.client("custom resource", widget, {"spec": {"steps": [{"image": PAUSE}, {"image": "example.test/x:2"}]}}, agent="widget-operator/2")
    m.client("custom resource", widget, {"spec": {"steps": [{"image": "example.test/x:2"}, {"image": PAUSE}]}}, agent="widget-operator/2")
    m.client("custom resource", widget, [{"op": "add", "path": "/spec/~0tilde", "value": {"~": 1, "odd key": "x", "a/b": [1, None, "2"]}}],
             agent="widget-operator/2", kind=JSON_PATCH)
    m.client("custom resource", widget, {"spec": {"long": "x" * 400}}, agent="widget-operator/2")
    m.client("custom resource", widget, {"spec": {"long": "y" * 400}}, agent="widget-operator/2")
    m.client("custom resource", widget, {"spec": {"values": {"password": m.plant()}}}, agent="widget-operator/2")
    m.run("replicas of a custom resource", "scale", widget, "--replicas=3")
    m.unwanted_patch("status of a custom resource", widget, {"status": {"replicas": 3, "phase": "Ready", "at": stamp()}}, "/status")
    m.unwanted_patch("status of a custom resource, again", widget, {"status": {"phase": "Degraded"}}, "/status")
    for value in ("normal", None):
        m.unwanted_patch("a refresh that Argo CD asks for", widget, {"metadata": {"annotations": {"argocd.argoproj.io/refresh": value}}})
    m.unwanted_patch("a reconciliation that Flux asks for", widget,
        {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": stamp()}}})
    m.server_side("custom resource", widget, {"spec": {"mode": "warp"}}, "argocd-controller")
    gear = m.ref("gears", f"{m.namespace}-gear")
    m.create(gear, {"spec": {"teeth": 12}})
    m.edit("custom resource", gear, "s/teeth: 12/teeth: 13/")
    definition_of = m.ref("customresourcedefinitions", f"gears.{GROUP}")
    m.patch("printer column", definition_of, [{"op": "add", "path": "/spec/versions/0/additionalPrinterColumns", "value": [
        {"name": "Teeth", "type": "integer", "jsonPath": ".spec.teeth"}]}], "json")
    m.patch("schema", definition_of, [{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/teeth",
        "value": {"type": "integer"}}], "json")
    # The change of its definition has closed the kind's watch.
    time.sleep(2)
    m.client("custom resource", gear, {"spec": {"teeth": 14}}, agent="gear-operator/1")
    # Of an object that is deleted while nothing is watched, the last states are not known.
    time.sleep(8)
    m.delete(gear)
    m.delete(widget)
    # It has the name of a Service of the core group.
    twin = m.ref("webservices", "shop")
    m.create(twin, {"spec": {"image": "v1", "type": "external"}})
    m.client("custom resource", twin, {"spec": {"image": "v2"}}, agent="web-operator/1")
    m.client("custom resource", twin, {"spec": {"selector": {"app": "it"}}}, agent="web-operator/1")
    m.delete(twin)


def admitted(m):
    """A policy that changes each ConfigMap of a namespace."""
    space = f"{m.namespace}-stamped"
    m.kubectl("create", "namespace", space)
    m.kubectl("label", "namespace", space, f"{GROUP}/stamped=yes")
    stamp_policy = m.ref("mutatingadmissionpolicies", f"{m.namespace}-stamp")
    m.create(stamp_policy, {"spec": {
        "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded", "matchConstraints": {
            "namespaceSelector": {"matchLabels": {f"{GROUP}/stamped": "yes"}},
            "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": (
            "[JSONPatch{op: 'add', path: '/data/stamp', value: oldObject == null ? 'new' : 'after-' + oldObject.metadata.resourceVersion}]")}}]}})
    m.kubectl("create", "-f", "-", stdin=json.dumps({
        "apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": stamp_policy.name}, "spec": {"policyName": stamp_policy.name}}))
    probe = m.ref("configmaps", "probe", space)

    def is_stamped():
        time.sleep(1)
        m.api.send("DELETE", probe.path)
        found = m.api.done("POST", probe.collection, {"metadata": {"name": "probe"}, "data": {"a": "1"}})
        return "stamp" in found["data"]

    m.wait("the policy is in force", 30, is_stamped)
    stamped = m.ref("configmaps", "stamped", space)
    m.create(stamped, {"data": {"a": "1"}})
    m.client("changed by admission too", stamped, {"data": {"a": "2"}}, agent="writer/1", way="a mutating policy changes the object")
    m.client("changed by admission too", stamped, {"data": {"b": "1"}}, agent="writer/1", way="a mutating policy changes the object")
    m.client("changed by admission alone", stamped, {"data": {"b": "1"}}, agent="idle/1", way="a mutating policy changes the object")
    m.server_side("changed by admission too", stamped, {"data": {"g": "1"}}, "gitops")
    m.kubectl("delete", "mutatingadmissionpolicybinding", stamp_policy.name)
    m.patch("admission policy", stamp_policy, {"spec": {"failurePolicy": "Ignore"}}, "merge")
    m.delete(stamp_policy)


def autoscaled(m):
    """An autoscaler writes replicas through the scale subresource, without metrics: up to its minimum."""
    target = m.ref("deployments", "swing")
    m.create(target, deployment(replicas=1), way="kubectl apply")
    m.step("replicas by an autoscaler", "horizontal pod autoscaler", target, lambda: m.kubectl(
        "autoscale", *target.arguments, "--min=2", "--max=3"), within=60, until=lambda found: found["spec"]["replicas"] == 2)
    m.run("replicas by hand", "scale", target, "--replicas=1")
    m.step("replicas by an autoscaler", "horizontal pod autoscaler", target, lambda: None, within=60,
           until=lambda found: found["spec"]["replicas"] == 2)
    m.delete(m.ref("horizontalpodautoscalers", "swing"))
    m.run("replicas by hand", "scale", target, "--replicas=0")


def nodes(m):
    """A Node object without a kubelet."""
    ghost = m.ref("nodes", f"{m.namespace}-ghost")
    m.create(ghost, {"metadata": {"labels": {"kubernetes.io/arch": "amd64"}}, "spec": {}})
    time.sleep(3)
    m.run("labels", "label", ghost, "disk=ssd")
    m.run("taints", "taint", ghost, "dedicated=batch:NoSchedule")
    m.run("taints", "taint", ghost, "dedicated=web:NoSchedule", "--overwrite")
    m.run("taints", "taint", ghost, "dedicated-")
    m.step("unschedulable", "kubectl cordon", ghost, lambda: m.kubectl("cordon", ghost.name))
    m.step("unschedulable", "kubectl uncordon", ghost, lambda: m.kubectl("uncordon", ghost.name))
    m.client("capacity", ghost, {"status": {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "4"}}}, agent="kubelet/1", path="/status",
        kind=STRATEGIC)
    m.client("capacity", ghost, {"status": {"capacity": {"cpu": "8"}, "allocatable": {"cpu": "8"}}}, agent="kubelet/1", path="/status",
        kind=STRATEGIC)
    m.client("node version", ghost, {"status": {"nodeInfo": {"kubeletVersion": "v1.36.0"}}}, agent="kubelet/1", path="/status",
        kind=STRATEGIC)
    for key in ("node.alpha.kubernetes.io/ttl", "csi.volume.kubernetes.io/nodeid"):
        m.unwanted_patch(f"annotation {key}", ghost, {"metadata": {"annotations": {key: stamp()}}})
    m.unwanted_patch("heartbeat of a node", ghost, {"status": {"conditions": [{
        "type": "e2e.kube9.io/noise", "status": "True", "lastHeartbeatTime": stamp(), "lastTransitionTime": stamp()}]}}, "/status",
            STRATEGIC)
    m.unwanted_patch("images of a node", ghost, {"status": {"images": [{"names": ["x"], "sizeBytes": 1}]}}, "/status", STRATEGIC)
    m.delete(ghost)


def unwanted(m):
    """Writes that must make no row."""
    noise = m.ref("configmaps", "noise")
    m.create(noise, {"data": {"a": "1"}}, way="kubectl apply")
    for holder in ("one", "two"):
        m.unwanted_patch("a leader election", noise, {"metadata": {"annotations": {
            "control-plane.alpha.kubernetes.io/leader": json.dumps({"holderIdentity": holder, "renewTime": stamp()})}}})
    m.unwanted("last-applied set", noise, lambda: m.kubectl("apply", "set-last-applied", "-f", "-", stdin=json.dumps(m.complete(noise,
        {"data": {"a": "1", "x": "y"}}))))
    # A write that only moves last-applied; then the next apply removes the key that is only there.
    m.patch("data", noise, {"data": {"x": "y"}}, "merge")
    m.apply("data", noise, {"data": {"a": "1"}})
    m.unwanted_patch("the same value by another client", noise, {"data": {"a": "1"}}, agent="echo/1")
    m.unwanted("a dry run", noise, lambda: m.api.done("PATCH", noise.path, {"data": {"a": "dry"}}, kind="application/merge-patch+json",
        dryRun="All"))
    m.unwanted("a refused write", noise, lambda: m.kubectl("patch", *noise.arguments, "--type=merge", "-p",
        '{"data":{"bad key!":"x"}}', wrong=True))
    m.unwanted("a conflict", noise, lambda: m.api.send("PUT", noise.path, m.complete(noise, {"metadata": {"resourceVersion": "1"},
        "data": {"a": "old"}})))
    m.unwanted_patch("a finalizer appears", noise, {"metadata": {"finalizers": [f"{GROUP}/hold"]}})
    m.unwanted_patch("a finalizer goes without a deletion", noise, {"metadata": {"finalizers": None}})
    m.unwanted_patch("managed fields erased", noise, {"metadata": {"managedFields": [{}]}})
    m.unwanted_patch("an autoscaler's annotation", noise,
        {"metadata": {"annotations": {"autoscaling.alpha.kubernetes.io/conditions": stamp()}}})
    service = m.ref("services", "noise")
    m.create(service, {"spec": {"ports": [{"port": 80}]}})
    m.unwanted_patch("change trigger of endpoints", service,
        {"metadata": {"annotations": {"endpoints.kubernetes.io/last-change-trigger-time": stamp()}}})
    m.unwanted_patch("status of a Service", service, {"status": {"conditions": [
        {"type": "e2e.kube9.io/noise", "status": "True", "reason": "x", "message": "y", "lastTransitionTime": stamp()}]}}, "/status")
    target = m.ref("deployments", "noise")
    m.create(target, deployment())
    m.unwanted_patch("revision of a Deployment", target, {"metadata": {"annotations": {"deployment.kubernetes.io/desired-replicas": "0"}}})
    m.unwanted_patch("template generation", target, {"metadata": {"annotations": {"deprecated.daemonset.template.generation": "3"}}})
    m.unwanted_patch("status of a Deployment", target, {"status": {"conditions": [
        {"type": "Noise", "status": "True", "reason": "x", "message": "y", "lastTransitionTime": stamp(),
            "lastUpdateTime": stamp()}]}}, "/status", STRATEGIC)
    m.unwanted("scaled to the same number", target, lambda: m.kubectl("scale", *target.arguments, "--replicas=0"))
    m.unwanted("labelled with the same value", target, lambda: m.kubectl("annotate", *target.arguments,
        "deployment.kubernetes.io/desired-replicas=0", "--overwrite"))
    space = m.ref("namespaces", m.namespace)
    m.unwanted_patch("status of a namespace", space, {"status": {"conditions": [
        {"type": "Noise", "status": "True", "reason": "x", "message": "y", "lastTransitionTime": stamp()}]}}, "/status", STRATEGIC)
    m.unwanted("a Secret", space, lambda: m.kubectl("create", "secret", "generic", "hidden", "-n", m.namespace,
        f"--from-literal=password={m.plant()}"))
    m.unwanted("a Secret changes", space, lambda: m.kubectl("patch", "secret", "hidden", "-n", m.namespace, "-p",
        json.dumps({"stringData": {"password": m.plant()}})))
    m.unwanted("a Lease", space, lambda: m.kubectl("create", "-f", "-", stdin=json.dumps({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lock", "namespace": m.namespace},
            "spec": {"holderIdentity": "a"}})))
    m.unwanted("Endpoints", space, lambda: m.kubectl("create", "-f", "-", stdin=json.dumps({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [], "ports": [],
        "metadata": {"name": "slice", "namespace": m.namespace}})))
    m.unwanted("a token", space, lambda: m.kubectl("create", "token", "default", "-n", m.namespace))


def secrets_planted(m):
    """Values that must be found nowhere; a change of each is still a change."""
    vault = m.ref("deployments", "vault")

    def env(value):
        return [{"name": "DB_PASSWORD", "value": value}, {"name": "PLAIN", "value": m.plant()}]

    m.create(vault, deployment([{"name": "app", "image": PAUSE, "env": env(m.plant())}]), way="server-side apply as planter")
    m.server_side("secret in env", vault, deployment([{"name": "app", "image": PAUSE, "env": env(m.plant())}]), "planter")
    for form in ("--password={}", "--token={}", "--api-key={}"):
        for _ in range(2):
            m.client("secret in args", vault, container(args=["serve", m.plant(form)]), kind=STRATEGIC, agent="planter/1", pace=0.3)
    for form in ("postgres://admin:{}@db/shop", "curl -H 'Authorization: Bearer {}' https://x", '{{"password":"{}"}}', "ghp_{}"):
        for _ in range(2):
            m.client("secret in an annotation", vault, {"metadata": {"annotations": {"example.test/note": m.plant(form, 36)}}},
                agent="planter/1", pace=0.3)
    for _ in range(2):
        m.client("secret in an image", vault, container(image=m.plant("https://user:{}@example.test/app").replace("https://", "")),
            kind=STRATEGIC, agent="planter/1", pace=0.3)
    hidden = m.ref("configmaps", "hidden")
    m.create(hidden, {"data": {f"key-{n}": m.plant() for n in range(10)}})
    m.client("secret in a ConfigMap", hidden, {"data": {f"key-{n}": m.plant() for n in range(10)}}, agent="planter/1")
    # Equal values elsewhere must not have equal marks.
    twin = m.ref("configmaps", "twin")
    m.create(twin, {"data": {"key-0": "another"}})
    m.client("secret in a ConfigMap", twin, {"data": dict(m.api.get(hidden.path)["data"])}, agent="planter/1")
    chart = m.ref("widgets", "chart")
    m.create(chart, {"spec": {"valuesObject": {"db": {"password": m.plant(), "n": 1}}, "stringData": {"k": m.plant()}, "pem": (
        "-----BEGIN PRIVATE KEY-----\n" + m.plant(length=64) + "\n-----END PRIVATE KEY-----")}})
    m.client("secret in a custom resource", chart, {"spec": {"valuesObject": {"db": {"password": m.plant()}}}}, agent="planter/1")
    m.client("secret in a custom resource", chart, {"spec": {"stringData": {"k": m.plant()}}}, agent="planter/1")
    probe = m.ref("deployments", "probing")
    for way in ("created", "changed"):
        found = deployment([{"name": "app", "image": PAUSE, "livenessProbe": {"httpGet": {
            "path": "/", "port": 80, "httpHeaders": [{"name": "X-Auth", "value": m.plant()}]}}}])
        if way == "created":
            m.create(probe, found, way="server-side apply as planter")
        else:
            m.server_side("secret in a probe", probe, found, "planter")


def aggregated(m):
    """APIServices: alone, since one without a server disturbs discovery."""
    dead = m.ref("apiservices", f"v1.dead.{GROUP}")
    m.create(dead, {"spec": {"group": f"dead.{GROUP}", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
                             "insecureSkipTLSVerify": True, "service": {"name": "absent", "namespace": m.namespace}}})
    m.client("API priority", dead, {"spec": {"versionPriority": 20}})
    m.client("labels", dead, {"metadata": {"labels": {"owner": "e2e"}}}, agent="gitops/1")
    m.delete(dead)


def folded(m):
    """One path that changes more often than anyone would read."""
    busy = m.ref("deployments", "busy")
    m.create(busy, deployment())
    for number in range(14):
        m.client("a path that changes often", busy, {"metadata": {"annotations": {"example.test/tick": str(number)}}},
            agent="ticker/1", pace=0.4)


def stamp():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


LIVE = [by_kubectl, by_clients, services, workloads, pods, claims, config_maps, policy, access, cluster_kinds, custom, admitted, autoscaled,
        nodes, unwanted, secrets_planted, folded]
