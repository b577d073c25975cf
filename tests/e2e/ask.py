"""The incident of ask.sh, and the questions about it.

  ask.py QUERY FOLDER

KUBECONFIG is that of an administrator, KUBE9_DB the database of a running recorder. Each write is a command of kubectl.
Before and after it, all objects are read from the API server: what it changed, when and under which manager is the truth
that each answer is compared with. It prints one line per check, `ok` or `FAIL`, and exits with 1 if one failed.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from datetime import datetime, timezone

from checks import check, end, say, seconds_of

QUERY, FOLDER = sys.argv[1:]
NAMESPACE = "shop"
KINDS = ["deployments", "services", "configmaps"]
# Why controllers delete pods.
CONTROLLED = ("rollout", "scale-down")
PASSWORD = ["hunter2-of-web", "hunter3-of-web"]

MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop, labels: {{app.kubernetes.io/name: web}}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: app
        image: kube9.test/pause:1
        ports: [{{name: http, containerPort: 8080}}]
        env: [{{name: PASSWORD, value: {PASSWORD[0]}}}, {{name: REGION, value: eu}}]
        resources: {{requests: {{cpu: 0.01, memory: 16Mi}}, limits: {{memory: 1024Mi}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api, namespace: shop}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec:
      containers:
      - {{name: app, image: "kube9.test/pause:1", args: [--port=80, --verbose], ports: [{{containerPort: 80}}]}}
      - {{name: side, image: "kube9.test/pause:1"}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: api, namespace: shop}}
spec: {{selector: {{app: api}}, ports: [{{name: http, port: 80}}, {{name: admin, port: 81}}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: shop}}
data: {{limit: "100", mode: fast}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: flags, namespace: shop}}
data: {{dark: "true"}}
"""


def same(what, expected, found):
    return check(what, expected == found, f"expected: {expected}\nfound:    {found}")


def run(command, stdin=None):
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)


def kubectl(line, stdin=None):
    done = run(["kubectl", *shlex.split(line)], stdin)
    if done.returncode != 0:
        sys.exit(f"kubectl {line}: {done.stderr}")
    return done.stdout


def iso(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# ---- objects as leaves: {path: value}

IDENTITIES = {"containers": [["name"]], "env": [["name"]], "ports": [["name"], ["containerPort", "protocol"], ["port", "protocol"]]}
IGNORED = ("deployment.kubernetes.io/", "kubectl.kubernetes.io/last-applied-configuration")


def field(path, name):
    if re.fullmatch(r"[A-Za-z0-9_/$-]+", name) and not name.isdigit():
        return f"{path}.{name}" if path else name
    return f"{path}[{json.dumps(name)}]"


def flatten(value, path="", name=""):
    """The values of an object by the paths that kube9 prints."""
    if isinstance(value, dict) and value:
        found = {}
        for key, inner in value.items():
            found |= flatten(inner, field(path, key), key)
        return found
    for keys in IDENTITIES.get(name, []):
        if isinstance(value, list) and value and all(isinstance(one, dict) and set(keys) <= one.keys() for one in value):
            found = {}
            for one in value:
                element = "/".join(str(one[key]) for key in keys)
                found |= flatten(one, f"{path}[{element}]")
            return found
    return {path: value}


def recorded(found):
    """What kube9 records of an object of the API server."""
    metadata = {key: found["metadata"][key] for key in ("labels", "annotations") if key in found["metadata"]}
    if "annotations" in metadata:
        kept = {key: value for key, value in metadata["annotations"].items() if not key.startswith(IGNORED)}
        metadata["annotations"] = kept
        if not kept:
            del metadata["annotations"]
    rest = {key: value for key, value in found.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return {"metadata": metadata, **rest} if metadata else rest


def leaves(found):
    return {} if found is None else flatten(recorded(found))


def key_of(found):
    return (found["kind"], found["metadata"]["name"])


def read_all():
    items = json.loads(kubectl(f"get {','.join(KINDS)} -n {NAMESPACE} -o json --show-managed-fields"))["items"]
    node = json.loads(kubectl(f"get node {NODE} -o json --show-managed-fields"))
    return {key_of(one): one for one in [*items, node]}


def managers(before, after):
    """Who wrote between two states of an object, by its managed fields."""

    def entries(found):
        return {(one["manager"], one["operation"], one.get("subresource"), one.get("time"))
                for one in (found or {}).get("metadata", {}).get("managedFields", [])}

    moved = entries(after) - entries(before)
    return sorted({manager for manager, _, subresource, _ in moved
                   if subresource != "status" and manager not in ("kube-controller-manager", "kubelet")})


class Write:
    """A command of kubectl and what it did."""

    def __init__(self, line, by, stdin=None):
        self.line = " ".join(line.split())
        self.before = read_all()
        # Times of managers are whole seconds: the next write is in another one.
        wait_for_second()
        self.begin = time.time()
        kubectl(line, stdin)
        self.end = time.time()
        self.after = read_all()
        self.by = by
        WRITES.append(self)
        say(f"{iso(self.begin)[11:19]} kubectl {self.line}")
        self.changes = {}
        for key in self.before.keys() | self.after.keys():
            old, new = self.before.get(key), self.after.get(key)
            paths = {path for path in leaves(old).keys() | leaves(new).keys() if leaves(old).get(path) != leaves(new).get(path)}
            if key[0] == "Node":
                paths = {path for path in paths if path != "spec" and not path.startswith(("metadata", "status", "spec.taints"))}
            replaced = old and new and old["metadata"]["uid"] != new["metadata"]["uid"]
            if not old or not new or paths or replaced:
                op = "created" if not old else "deleted" if not new else "changed"
                self.changes[key] = (op, paths)
                if new:
                    moved = managers(old, new)
                    if moved != [by]:
                        check(f"the API server shows {by} as the manager of: kubectl {line}", False, f"{key}: {moved}")
        if not self.changes:
            check(f"the API server shows a change by: kubectl {line}", False)

    def is_time(self, text):
        return int(self.begin) <= seconds_of(text) <= self.end + 0.15

    def just_before(self):
        return iso(int(self.begin) - 0.05)

    def just_after(self):
        return iso(self.end + 0.1)

    def wait(self):
        """Until the recorder has committed it."""
        end = time.time() + 20
        while time.time() < end:
            if all(self.row(key) for key in self.changes):
                return True
            time.sleep(0.1)
        return check(f"recorded within 20 s: kubectl {self.line}", False, {key: self.row(key) for key in self.changes})

    def row(self, key):
        """The row of the change of an object."""
        namespace = [] if key[0] == "Node" else ["-N", NAMESPACE]
        done = run([QUERY, "changes", f"{key[0]}/{key[1]}", *namespace, "-o", "json"])
        if done.returncode != 0:
            return None
        for row in json.loads(done.stdout)["changes"]:
            if row["metadata"]["op"] == self.changes[key][0] and self.is_time(row["created_at"]):
                return row
        return None


WRITES = []


def wait_for_second():
    now = time.time()
    # At least 0.2 s after the write before.
    time.sleep(1.02 - now % 1 if now % 1 < 0.8 else 2.02 - now % 1)


def last_setter(key, path, until=None):
    """The last write that changed a leaf of an object."""
    for write in reversed(WRITES):
        if until and write.begin >= until:
            continue
        op, paths = write.changes.get(key, (None, ()))
        if op == "created" or path in paths:
            return write
    return None


# ---- questions


def ask(question, what):
    """Prints a command as a person types it and its answer; returns the answer as a document."""
    arguments = shlex.split(question)
    print(f"\n     $ kube9-query {question}", flush=True)
    table = [] if arguments[:2] == ["object", "get"] else ["--format=table"]
    done = run([QUERY, *arguments, *table])
    say(done.stdout + done.stderr)
    answer = run([QUERY, *arguments, "--format=json"])
    if not check(f"{what}: answered", done.returncode == 0 and answer.returncode == 0, done.stderr + answer.stderr):
        return None, ""
    return json.loads(answer.stdout), done.stdout


def authors(row):
    return [one["manager"] for one in row["metadata"].get("by", [])]


def row_leaves(row):
    found = set()
    for one in row["metadata"].get("fields", []):
        inner = {}
        for side in ("from", "to"):
            inner |= flatten(one.get(side, {}), one["path"], one["path"].rsplit(".", 1)[-1])
        found |= {path for path in inner if path != one["path"]} or {one["path"]}
    return found


def changes_are(what, answer, expected):
    """The rows of an answer are these (write, key), in any order; with time, author, operation and fields."""
    # That a pod ended is a row of its own. In this incident, only rollouts and scaling end pods.
    pods = [row for row in answer["changes"] if row["object_kind"] == "Pod"]
    causes = [f"{row['object_name']}: {row['metadata'].get('cause')}" for row in pods
              if row["metadata"]["op"] != "deleted" or (row["metadata"].get("cause") or {}).get("kind") not in CONTROLLED]
    check(f"{what}: {len(pods)} pods were deleted by their controllers", not causes, "\n".join(causes))
    rows = [row for row in answer["changes"] if row["object_kind"] != "Pod"]
    for write, key in expected:
        op, paths = write.changes[key]
        found = [row for row in rows if (row["object_kind"], row["object_name"]) == key
                 and row["metadata"]["op"] == op and write.is_time(row["created_at"])]
        if not found:
            check(f"{what}: {op} {key[0]}/{key[1]} at {iso(write.begin)}", False, f"kubectl {write.line}")
            continue
        row = found[0]
        rows.remove(row)
        same(f"{what}: {op} {key[0]}/{key[1]} by {write.by}", [write.by] if op != "deleted" else [], authors(row))
        if op == "changed":
            same(f"{what}: fields of {key[0]}/{key[1]}", sorted(paths), sorted(row_leaves(row)))
    check(f"{what}: nothing else", not rows, "\n".join(f"{row['object_kind']}/{row['object_name']} {row['title']}" for row in rows))


def matches_state(what, document, found):
    """A document of `object get` shows a state of the API server."""
    revision = document.get("revision", {})
    hidden = set(revision.get("hidden", []))
    shown = {key: value for key, value in document.items() if key != "revision"}
    shown = flatten(recorded({"kind": "", **shown}))
    truth = leaves(found)
    same(f"{what}: has the fields of the API server", sorted(truth), sorted(shown))
    wrong = {path: (value, shown.get(path)) for path, value in truth.items() if path not in hidden and shown.get(path) != value}
    check(f"{what}: has the values of the API server", not wrong, wrong)
    check(f"{what}: shows a mark for each hidden value",
          all(re.fullmatch(r"#[0-9a-f]{8}", str(shown.get(path))) for path in hidden), hidden)


def diff_is(what, entry, before, after, hidden=()):
    """The fields of a diff are those in which two states of the API server differ."""
    old, new = leaves(before), leaves(after)
    truth = {path: (old.get(path), new.get(path)) for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    found = {}
    for one in entry["fields"]:
        sides = [flatten(one[side], one["path"], one["path"].rsplit(".", 1)[-1]) if side in one else {} for side in ("from", "to")]
        for path in sides[0].keys() | sides[1].keys():
            found[path] = (sides[0].get(path), sides[1].get(path))
    same(f"{what}: the fields that differ", sorted(truth), sorted(found))
    wrong = {path: (values, found.get(path)) for path, values in truth.items()
             if not re.search(r"\.env\[.*\]\.value$|^data", path) and found.get(path) != values}
    check(f"{what}: from and to", not wrong, wrong)


def blame_is(what, answer, key, until=None):
    wrong, paths = [], set()
    for line in answer["lines"]:
        if "path" not in line:
            continue
        if not line["path"].startswith("status"):
            paths.add(line["path"])
        setter = last_setter(key, line["path"], until)
        if setter is None:
            wrong.append(f"{line['line']}: not in the truth")
        elif line.get("by") != [setter.by] or not setter.is_time(line["at"]):
            wrong.append(f"{line['line']}: {line.get('by')} at {line.get('at')}; it was {setter.by} at {iso(setter.begin)}")
    check(f"{what}: author and time of {len(paths)} fields", not wrong, "\n".join(wrong))
    return paths


def incident():
    """The writes, in their order."""
    made = {}

    def write(name, line, by, stdin=None):
        made[name] = Write(line, by, stdin)

    deploy = "deploy/web -n shop"
    write("apply", "apply -f -", "kubectl-client-side-apply", MANIFEST)
    write("image", f"set image {deploy} app=kube9.test/pause:2", "kubectl-set")
    write("scale", f"scale {deploy} --replicas=3", "kubectl")
    write("env", f"set env {deploy} PASSWORD={PASSWORD[1]} LOG_LEVEL=debug", "kubectl-set")
    write("edit", f"""patch {deploy} --field-manager=kubectl-edit -p '{{"spec": {{"template": {{"spec":
          {{"terminationGracePeriodSeconds": 5}}}}}}}}'""", "kubectl-edit")
    write("settings", """patch cm/settings -n shop --field-manager=oncall-anna --type=merge -p '{"data": {"limit": "5"}}'""",
          "oncall-anna")
    write("label", f"label {deploy} tier=front", "kubectl-label")
    write("flags", "delete cm/flags -n shop", None)
    write("cordon", f"cordon {NODE}", "kubectl")
    write("argo", "apply --server-side --field-manager=argocd-controller -f -", "argocd-controller", """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop, labels: {team: blue}, annotations: {example.test/tracking-id: "shop:api"}}
spec: {minReadySeconds: 3}
""")
    write("args", """patch deploy/api -n shop --field-manager=oncall-bob -p '{"spec": {"template": {"spec":
          {"containers": [{"name": "app", "args": ["--port=80", "--quiet"]}]}}}}'""", "oncall-bob")
    write("port", """patch svc/api -n shop --field-manager=oncall-bob --type=json
          -p '[{"op": "replace", "path": "/spec/ports/1/targetPort", "value": 8181}]'""", "oncall-bob")
    write("gone", "delete svc/web -n shop", None)
    write("again", "create -f -", "kubectl-create", """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {selector: {app: web}, ports: [{name: http, port: 8080}]}
""")
    write("both", """patch deploy/api -n shop --field-manager=kubectl-edit -p '{"spec": {"replicas": 2, "template": {"spec":
          {"containers": [{"name": "side", "image": "kube9.test/pause:3"}]}}}}'""", "kubectl-edit")
    for one in made.values():
        one.wait()
    return made


def questions(made):
    web = ("Deployment", "web")
    every = [(write, key) for write in WRITES for key in write.changes]

    def of(*names):
        return [(made[name], key) for name in names for key in made[name].changes]

    answer, _ = ask("changes --since=10m -N shop", "what changed")
    if answer:
        changes_are("what changed", answer, [one for one in every if one[1][0] != "Node"])
    answer, _ = ask("changes deploy/web -N shop", "what changed of web")
    if answer:
        changes_are("what changed of web", answer, [one for one in every if one[1] == web])
    first = made["image"].just_before()
    answer, table = ask(f"object diff deploy/web -N shop --from={first}", "what is different")
    if answer:
        diff_is("what is different", answer["objects"][0], made["apply"].after[web], made["both"].after[web])
    answer, _ = ask(f"object get deploy/web -N shop --at={first}", "what was web")
    if answer:
        matches_state("what was web", answer, made["apply"].after[web])
        same("what was web: its author", "kubectl-client-side-apply", answer["revision"]["author"])
    answer, _ = ask("object blame deploy/web -N shop", "who wrote web")
    if answer:
        blame_is("who wrote web", answer, web)
    answer, _ = ask("changes --since=10m --by='kubectl-*' --path='**.image'", "who changed an image")
    if answer:
        changes_are("who changed an image", answer, of("image", "both"))
    answer, _ = ask("changes --since=10m --op=deleted -N shop", "what was deleted")
    if answer:
        changes_are("what was deleted", answer, of("flags", "gone"))
    answer, _ = ask(f"object diff -N shop --from={first}", "what is different in shop")
    if answer:
        before, after = made["apply"].after, made["both"].after
        truth = {}
        for key in before.keys() | after.keys():
            if key[0] != "Node" and (not before.get(key) or not after.get(key) or leaves(before[key]) != leaves(after[key])):
                truth[key] = "created" if key not in before else "deleted" if key not in after else "changed"
        found = {(one["object"]["kind"], one["object"]["name"]): one for one in answer["objects"] if one["object"]["kind"] != "Pod"}
        same("what is different in shop: the objects", truth, {key: one["op"] for key, one in found.items()})
        for key, one in found.items():
            if one["op"] == "changed":
                diff_is(f"what is different in shop: {key[0]}/{key[1]}", one, before[key], after[key])
    answer, _ = ask(f"changes node/{NODE} --since=10m --path=spec.unschedulable", "who cordoned the node")
    if answer:
        changes_are("who cordoned the node", answer, of("cordon"))
    answer, _ = ask("object history cm/settings -N shop", "what was settings")
    if answer:
        found = [(one["op"], one["by"]) for one in answer["revisions"]]
        same("what was settings: states", [("changed", ["oncall-anna"]), ("created", ["kubectl-client-side-apply"])], found)
    answer, _ = ask("changes --since=10m --to-value='*pause:2'", "since when pause:2")
    if answer:
        changes_are("since when pause:2", answer, of("image"))
    # An object that was deleted.
    done = run([QUERY, "object", "get", "cm/flags", "-N", "shop"])
    print("\n     $ kube9-query object get cm/flags -N shop")
    say(done.stderr)
    check("what was flags: it was deleted", done.returncode == 1 and "was deleted" in done.stderr, done)
    found = re.search(r"--at=(\S+)", done.stderr)
    last = run([QUERY, "object", "get", "cm/flags", "-N", "shop", "-o", "json", f"--at={found and found[1]}"])
    if check("what was flags: its last state", last.returncode == 0, last.stderr):
        matches_state("what was flags", json.loads(last.stdout), made["flags"].before["ConfigMap", "flags"])
    # Every state of every object, at the time before and after each write.
    for write in WRITES:
        for key in write.changes:
            if key[0] == "Node":
                continue
            for at, states in ((write.just_before(), write.before), (write.just_after(), write.after)):
                done = run([QUERY, "object", "get", f"{key[0]}/{key[1]}", "-N", "shop", "-o", "json", f"--at={at}"])
                what = f"{key[0]}/{key[1]} at {at[11:]}"
                if key not in states:
                    check(f"{what}: did not exist", done.returncode == 1 and re.search("was deleted|did not exist", done.stderr), done)
                elif check(f"{what}: answered", done.returncode == 0, done.stderr):
                    matches_state(what, json.loads(done.stdout), states[key])


def script(question):
    done = run([QUERY, *shlex.split(question), "--format=kubectl-patch"])
    print(f"\n     $ kube9-query {question} --format=kubectl-patch | sh")
    say(done.stdout + done.stderr)
    check(f"{question}: prints commands", done.returncode == 0, done.stderr)
    return done.stdout


def undo(made):
    api = ("Deployment", "api")

    def spec(key):
        found = run(["kubectl", "get", f"{key[0].lower()}/{key[1]}", "-n", "shop", "-o", "json"])
        return recorded(json.loads(found.stdout)) if found.returncode == 0 else None

    commands = script("object diff deploy/api -N shop")
    done = run(["sh"], commands)
    say(done.stdout + done.stderr)
    check("undo of image and replicas: the API server takes it", done.returncode == 0, done.stderr)
    same("undo of image and replicas: the object is as before", recorded(made["both"].before[api]), spec(api))
    done = run(["sh"], commands)
    say(done.stdout + done.stderr)
    check("undo of image and replicas: a second time the API server refuses it",
          done.returncode != 0 and "The request is invalid" in done.stderr, done)
    same("undo of image and replicas: nothing is written", recorded(made["both"].before[api]), spec(api))
    # All that was done to web, but for what is hidden.
    web = ("Deployment", "web")
    commands = script(f"object diff deploy/web -N shop --from={made['image'].just_before()}")
    check("undo of web: names the password", re.search(r"Left out.*env\[PASSWORD\]\.value", commands), commands)
    done = run(["sh"], commands)
    say(done.stdout + done.stderr)
    check("undo of web: the API server takes it", done.returncode == 0, done.stderr)
    old, new = leaves(made["apply"].after[web]), leaves(spec(web))
    left = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    same("undo of web: all but the password is as before", ["spec.template.spec.containers[app].env[PASSWORD].value"],
         sorted(path for path in left))
    # A creation.
    created = Write("create deployment extra --image=kube9.test/pause:1 -n shop", "kubectl-create")
    created.wait()
    done = run(["sh"], script(f"object diff deploy/extra -N shop --from={created.just_before()}"))
    say(done.stdout + done.stderr)
    same("undo of a creation: the object is deleted", (0, None), (done.returncode, spec(("Deployment", "extra"))))
    # Deletions, of an object whose values are all known.
    for kind, name in (("Deployment", "api"), ("Service", "api")):
        before = spec((kind, name))
        deleted = Write(f"delete {kind.lower()}/{name} -n shop", None)
        deleted.wait()
        done = run(["sh"], script(f"object diff {kind.lower()}/{name} -N shop --from={deleted.just_before()}"))
        say(done.stdout + done.stderr)
        check(f"undo of the deletion of a {kind}: the API server takes it", done.returncode == 0, done.stderr)
        same(f"undo of the deletion of a {kind}: the object is as before", before, spec((kind, name)))
    commands = script(f"object diff cm/flags -N shop --from={made['flags'].just_before()}")
    check("undo of the deletion of a ConfigMap: its values are not known",
          "Left out" in commands and "data.dark" in commands and "kubectl" not in commands, commands)


def refused(made):
    at = made["image"].just_before()
    for name, is_whole in (("deploy/web", False), ("cm/settings", False), ("deploy/api", True), ("svc/api", True)):
        for form in ("yaml", "json"):
            state = run([QUERY, "object", "get", name, "-N", "shop", f"--at={at}", "--format", form])
            if is_whole:
                done = run(["kubectl", "apply", "--dry-run=server", "-f", "-"], state.stdout)
                check(f"{name} as {form} is complete: the API server accepts it", done.returncode == 0, done.stderr)
                continue
            for verb in (["apply"], ["apply", "--server-side"], ["create", "--validate=false"], ["replace", "--force"]):
                done = run(["kubectl", *verb, "-f", "-"], state.stdout)
                check(f"{name} as {form} has marks: the API server refuses kubectl {' '.join(verb)}",
                      done.returncode != 0 and "no matches for kind \"KubeObjectRevision\"" in done.stderr, done)


def manifests(made):
    path = os.path.join(FOLDER, "shop.yaml")
    with open(path, "w") as file:
        file.write(MANIFEST)
    before, after = made["image"].just_before(), made["image"].just_after()
    answer, table = ask(f"object diff --file={path} --at={before}", "the manifest before the change")
    if answer:
        same("the manifest before the change: nothing differs", ([], "", 6), (answer["objects"], table, answer["compared"]))
    answer, table = ask(f"object diff --file={path} --at={after}", "the manifest after the change")
    if answer:
        found = [(one["object"]["name"], [(field["path"], field["from"], field["to"]) for field in one["fields"]])
                 for one in answer["objects"]]
        image = ("spec.template.spec.containers[app].image", "kube9.test/pause:2", "kube9.test/pause:1")
        same("the manifest after the change: the image differs", [("web", [image])], found)


def blames(made):
    for key in sorted(made["both"].after):
        if key[0] == "Node" or key[1] == "kube-root-ca.crt":
            continue
        for write in (made["image"], made["settings"], made["both"]):
            truth = write.after.get(key)
            if truth is None:
                continue
            what = f"blame of {key[0]}/{key[1]} at {write.just_after()[11:19]}"
            done = run([QUERY, "object", "blame", f"{key[0]}/{key[1]}", "-N", "shop", "-o", "json", f"--at={write.just_after()}"])
            if check(f"{what}: answered", done.returncode == 0, done.stderr):
                paths = blame_is(what, json.loads(done.stdout), key, write.end)
                same(f"{what}: its fields are those of the API server", sorted(leaves(truth)), sorted(paths))


NODE = kubectl("get nodes -o name").split()[0].removeprefix("node/")
kubectl("create namespace shop")
made = incident()
questions(made)
blames(made)
manifests(made)
refused(made)
undo(made)
with open(f"{FOLDER}/kube9.db", "rb") as database:
    text = database.read()
check("no password is in the record", not any(word.encode() in text for word in PASSWORD))
end()
