"""The faults of restore.sh in etcd and the API server, and the checks of the recorders.

  restore.py CLUSTER KUBECONFIG RECORDER QUERY FOLDER

CLUSTER is the directory of the cluster's scripts; KUBECONFIG that of a user who can list and watch all six kinds. The
results are compared with what the API server answered to this script, and with the times of its actions. It prints one
line per check, `ok` or `FAIL`, and exits with 1 if one failed.

Two recorders watch all kinds: "near" runs all the time, "far" is stopped at times. Their settings are the defaults, except
for the longest back-off, because the outages here are less than a minute apart. The recorders reach the API server
through the cluster's forwarder; this script has its own, so that it can write while they are disconnected.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

import yaml

from blackout import Server, get
from checks import check, end, say, seconds_of

KINDS = ["Event", "Pod", "Node", "Deployment", "Service", "ConfigMap"]
RIGHT_WITHIN = 60  # seconds
SLACK = 1.0  # whole seconds in Date headers and times of Kubernetes

NAMESPACE = f"kube9-restore-{os.getpid()}"


def clock(seconds):
    """A time for this output, with tenths of a second."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%H:%M:%S.%f")[:-5]


# ---- the API server


def path_of(kind, name=""):
    base = f"/api/v1/namespaces/{NAMESPACE}"
    collection = {
        "Event": f"{base}/events",
        "Pod": f"{base}/pods",
        "Node": "/api/v1/nodes",
        "Deployment": f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
        "Service": f"{base}/services",
        "ConfigMap": f"{base}/configmaps",
    }[kind]
    return f"{collection}/{name}" if name else collection


def body_of(kind, name):
    meta = {"name": name}
    if kind != "Node":
        meta["namespace"] = NAMESPACE
    container = {"name": "app", "image": "example.test/app:1"}
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {
        # Its object has a kind of its own, to distinguish its rows from those of the watched kinds.
        "Event": {"reason": "Probed", "message": "something happened", "type": "Normal", "source": {"component": "kube9-e2e"},
                  "involvedObject": {"kind": "Probe", "namespace": NAMESPACE, "name": name}, "count": 1,
                  "firstTimestamp": now, "lastTimestamp": now},
        # Nothing schedules or runs it; this script writes its status.
        "Pod": {"spec": {"automountServiceAccountToken": False, "containers": [container]}},
        "Node": {},
        "Deployment": {"spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}},
                                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}}},
        "Service": {"spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}},
        "ConfigMap": {"data": {"a": "1"}},
    }[kind]
    return {"metadata": meta, **spec}


# A second state of each kind, and the reasons of the rows for: created, changed, deleted. A created Pod
# and a deleted Event make no row.
CHANGES = {
    "Event": ({"count": 5}, "Probed", "Probed", None),
    "Pod": ({"status": {"phase": "Succeeded"}}, None, "PodEnded", "PodEnded"),
    "Node": ({"spec": {"unschedulable": True}}, "NodeAdded", "NodeCordoned", "NodeRemoved"),
    "Deployment": ({"spec": {"replicas": 0, "template": {"spec": {"containers": [{"name": "app", "image": "example.test/app:2"}]}}}},
                   "DeploymentCreated", "ImageChanged", "DeploymentDeleted"),
    "Service": ({"spec": {"ports": [{"name": "https", "port": 443}]}}, "ServiceCreated", "ServicePortsChanged", "ServiceDeleted"),
    "ConfigMap": ({"data": {"b": "2"}}, "ConfigMapCreated", "ConfigMapChanged", "ConfigMapDeleted"),
}


class Cluster:
    def __init__(self, folder, home):
        self.folder, self.home = folder, home
        self.etcd = f"{home}/state/etcd"
        admin = f"{home}/state/admin.kubeconfig"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            own = f"127.0.0.1:{free.getsockname()[1]}"
        self.path = subprocess.Popen([f"{home}/bin/kube", "forward", own, "/run/netns/kube9", "127.0.0.1:6443"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(admin) as file:
            config = yaml.safe_load(file)
        config["clusters"][0]["cluster"]["server"] = f"https://{own}"
        self.kubeconfig = f"{work}/own.kubeconfig"
        with open(self.kubeconfig, "w") as out:
            yaml.safe_dump(config, out)
        self.server = Server(self.kubeconfig)

    def process(self, *arguments):
        done = subprocess.run([f"{self.folder}/service", *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"service {' '.join(arguments)}: {done.stderr}")

    def ask(self, method, path, body=None, kind="application/json"):
        for attempt in range(20):
            try:
                status, found = self.server.ask(method, path, body, kind)
            except (OSError, http.client.HTTPException):
                status, found = 0, {}  # its connection has ended with the last API server
            if status and status < 500 and status != 429 and not (status == 403 and attempt < 19):
                return status, found
            time.sleep(0.1)
        raise OSError(f"{method} {path}: no answer")

    def done(self, method, path, body=None, kind="application/json"):
        status, found = self.ask(method, path, body, kind)
        if status >= 300:
            sys.exit(f"{method} {path} was answered with {status}")
        return found

    # Each returns the object's new resourceVersion.

    def make(self, kind, name):
        return version(self.done("POST", path_of(kind), body_of(kind, name)))

    def change(self, kind, name):
        path = path_of(kind, name) + ("/status" if kind == "Pod" else "")
        return version(self.done("PATCH", path, CHANGES[kind][0], "application/strategic-merge-patch+json"))

    def delete(self, kind, name):
        grace = {"gracePeriodSeconds": 0} if kind == "Pod" else {}
        self.done("DELETE", path_of(kind, name), grace or None)

    def names(self, kind):
        everywhere = path_of(kind).replace(f"/namespaces/{NAMESPACE}", "")
        found = self.done("GET", everywhere)
        return {"/".join(filter(None, [one["metadata"].get("namespace"), one["metadata"]["name"]]))
                for one in found["items"]}, version(found)

    def stop_all(self):
        """Stops the API server, then etcd (cleanly, so that its directory is intact). Returns when the watches ended."""
        ended = time.time()
        self.process("kill", "apiserver")
        self.process("stop", "etcd")
        return ended

    def start_all(self):
        self.process("start", "etcd")
        self.process("start", "apiserver")

    def keep(self, copy):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.etcd, copy)

    def put_back(self, copy):
        shutil.rmtree(self.etcd)
        shutil.copytree(copy, self.etcd)


def version(found):
    return int(found["metadata"]["resourceVersion"])


# ---- a recorder


class Recorder:
    def __init__(self, name, kubeconfig):
        self.name, self.kubeconfig = name, kubeconfig
        self.data = f"{work}/{name}"
        self.db = f"{self.data}/kube9.db"
        os.makedirs(self.data)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.process = None
        self.health = []  # (time, healthy, messages of the checks)
        self.first = {}  # (object kind, name, reason) to when this script first saw its row
        self.lock = threading.Lock()
        threading.Thread(target=self.look, daemon=True).start()

    def start(self):
        log = open(f"{work}/recorder-{self.name}.log", "a")
        env = os.environ | {"KUBE9_SOURCE_BACKOFF_MAX": "5s"}
        self.process = subprocess.Popen(
            [recorder_program, "serve", "--data-dir", self.data, "--listen", self.address, "--kubeconfig", self.kubeconfig,
             "--log-format", "json"], stdout=log, stderr=log, env=env)

    def end(self, by=signal.SIGTERM):
        self.process.send_signal(by)
        code = self.process.wait(timeout=30)
        self.process = None
        return code

    def look(self):
        """Reads /healthz and the rows several times a second."""
        while True:
            time.sleep(0.2)
            status, body = get(self.address, "/healthz")
            if status is not None:
                checks = json.loads(body).get("checks", {})
                words = {f"{name}: {one['message']}" for name, one in checks.items() if one.get("message")}
                self.health.append((time.time(), status == 200, words))
            try:
                seen = {(kind, name, reason) for kind, name, reason, _, _ in self.rows()} | self.shared()
            except sqlite3.Error:
                continue  # not made yet
            now = time.time()
            with self.lock:
                for key in seen - self.first.keys():
                    self.first[key] = now

    def select(self, query, *arguments):
        connection = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query, arguments).fetchall()
        finally:
            connection.close()

    def rows(self):
        """(object kind, name, reason, metadata, created_at) of the rows about this script's objects."""
        found = self.select(
            "SELECT object_kind, object_name, json_extract(metadata, '$.reason'), metadata, created_at FROM events "
            "WHERE event_type = 'cluster' AND (object_namespace = ? OR object_kind = 'Node')", NAMESPACE)
        return [(kind, name, reason, json.loads(metadata), created) for kind, name, reason, metadata, created in found]

    def shared(self):
        """The same keys by revisions: many objects created within a minute share a row, which names the first of them."""
        return set(self.select(
            "SELECT k.kind, o.name, json_extract(d.metadata, '$.reason') FROM revision r JOIN tracked_object o ON o.id = r.id >> 24 "
            "JOIN tracked_kind k ON k.id = o.kind JOIN event_detail d ON d.key = r.event "
            "WHERE o.namespace = ? OR k.kind = 'Node'", NAMESPACE))

    def gaps(self):
        found = self.select("SELECT metadata, severity, description FROM events WHERE title = 'Recording gap' ORDER BY id")
        return [dict(json.loads(metadata), severity=severity, description=text) for metadata, severity, text in found]

    def regressions(self):
        found = self.select("SELECT created_at, severity, title, description, metadata FROM events "
                            "WHERE json_extract(metadata, '$.reason') = 'HistoryRegressed' ORDER BY id")
        return [(seconds_of(created), severity, f"{title}: {text}", json.loads(metadata)) for created, severity, title, text, metadata in found]

    def positions(self):
        found = self.select("SELECT kind, position FROM watch_state")
        return {kind: int(position or 0) for kind, position in found if kind in KINDS}

    def known(self, kind):
        return {name for (name,) in self.select(
            "SELECT trim(o.namespace || '/' || o.name, '/') FROM tracked_object o JOIN tracked_kind k ON k.id = o.kind "
            "WHERE k.kind = ? AND o.deleted_ms IS NULL", kind)}

    def has(self, *keys):
        with self.lock:
            return all(key in self.first for key in keys)

    def when(self, key):
        with self.lock:
            return self.first.get(key)

    def healthy(self):
        return bool(self.health) and self.health[-1][1] and time.time() - self.health[-1][0] < 1.5

    def complaints(self):
        """Why `kube9-query status` is not operational, except for this machine's disk."""
        done = subprocess.run([query_program, "--db", self.db, "status"], capture_output=True, text=True)
        status = json.loads(done.stdout or '{"status": "no answer"}')
        reasons = [reason for reason in status.get("reasons") or [] if "volume is nearly full" not in reason]
        return reasons or ([] if status["status"] in ("operational", "degraded") else [status["status"]])


def row_of(kind, name, what):
    """The key of the row for a change: 1 created, 2 changed, 3 deleted; None if it has no row."""
    reason = CHANGES[kind][what]
    return reason and ("Probe" if kind == "Event" else kind, name, reason)


def until(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def expect(seconds, what, recorders, keys):
    """All these rows exist in time."""
    keys = [key for key in keys if key]
    until(seconds, lambda: all(one.has(*keys) for one in recorders))
    missing = [f"{one.name}: {key}" for one in recorders for key in keys if not one.has(key)]
    return check(what, not missing, "\n".join(missing))


# ---- probes: whether a kind is recorded


class Probes:
    """Creates an object of each kind once a second, and notes the time. A Pod ends immediately, which gives it a row."""

    def __init__(self, cluster, prefix):
        self.cluster, self.prefix = cluster, prefix
        self.made = []  # (time, name, {kind: resourceVersion})
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            name, versions = f"{self.prefix}-{len(self.made)}", {}
            for kind in KINDS:
                versions[kind] = self.cluster.make(kind, name)
                if kind == "Pod":
                    versions[kind] = self.cluster.change(kind, name)
            self.made.append((time.time(), name, versions))
            self.stop.wait(1)

    def key(self, kind, name):
        return row_of(kind, name, 2 if kind == "Pod" else 1)

    def live(self, recorder, kind):
        """How many of the newest probes were each recorded within three seconds."""
        made = [one for one in self.made]
        seen = [(recorder.when(self.key(kind, name)) or 1e12) - at < 3 for at, name, _ in made]
        run = 0
        while run < len(seen) and seen[-1 - run]:
            run += 1
        return run, made[len(made) - run][0] if run else None

    def finish(self):
        self.stop.set()
        self.thread.join()


def recovery(cluster, recorders, since, prefix):
    """Waits until each recorder records each kind live, and is healthy; prints how long that took."""
    probes = Probes(cluster, prefix)

    def all_right():
        return all(one.healthy() and all(probes.live(one, kind)[0] >= 2 for kind in KINDS) for one in recorders)

    until(RIGHT_WITHIN + 5 - (time.time() - since), all_right)
    probes.finish()
    time.sleep(1)  # the last probe
    for one in recorders:
        took, late = [], []
        for kind in KINDS:
            run, at = probes.live(one, kind)
            took.append(f"{kind} {at - since:.0f} s" if run else f"{kind} never")
            missing = [name for _, name, _ in probes.made if not one.when(probes.key(kind, name))]
            if not run or at - since > RIGHT_WITHIN:
                late.append(kind)
            elif missing:
                late.append(f"{kind}, without rows of {', '.join(missing)}")
        check(f"{one.name}: every kind is right within {RIGHT_WITHIN} s: {', '.join(took)}", not late, "not: " + "; ".join(late))
    return probes


def honest(one, begin, end, probes):
    """Whenever /healthz was healthy, the next objects were recorded within a few seconds."""
    lies = []
    for at, healthy, _ in one.health:
        if not healthy or not begin <= at <= end:
            continue
        # Each kind is created once per second; a server that is down accepts nothing.
        following = [(when, name) for when, name, _ in probes.made if at <= when <= at + 3]
        if not following:
            continue
        when, name = following[0]
        for kind in KINDS:
            seen = one.when(probes.key(kind, name))
            if seen is None or seen - when > 5:
                lies.append(f"healthy at {clock(at)}, but {kind} {name} of {clock(when)} " +
                            (f"was seen at {clock(seen)}" if seen else "was not seen"))
    check(f"{one.name}: /healthz is healthy only while every kind is seen", not lies,
          f"{len(lies)} times:\n" + "\n".join(lies[:6]))
    timeline(one, begin, end)


def timeline(one, begin, end):
    last = None
    for at, healthy, words in one.health:
        if begin - 1 <= at <= end + 1 and (healthy, words) != last:
            if not healthy and last and not last[0] and {word.split(":")[0] for word in words} == {word.split(":")[0] for word in last[1]}:
                continue  # the same kinds, with another message
            last = (healthy, words)
            kinds = ", ".join(sorted(word.split(":")[0] for word in words))
            first = min(words, default="").split("failed: ")[-1].split(": https:")[0]
            say(f"  {one.name} /healthz {clock(at)} {'healthy' if healthy else f'degraded: {kinds}: {first[:120]}'}")


def now_and_known(cluster, one, where):
    """The stored state of each kind is the current one, and the positions belong to this history."""
    def differs():
        return [f"{kind} {name}" for kind in KINDS[1:] for name in sorted(cluster.names(kind)[0] ^ one.known(kind))]
    until(5, lambda: not differs())
    wrong = differs()
    check(f"{one.name}: {where}: the objects that it knows are those that there are", not wrong, f"{len(wrong)}: " + ", ".join(wrong[:12]))


def positions_are_new(cluster, one, probes, where):
    """Each is that of the last object created of its kind, or later, and not in the future."""
    last, (_, newest) = probes.made[-1][2], cluster.names("Event")

    def holds():
        return all(last[kind] <= position <= newest for kind, position in one.positions().items())
    check(f"{one.name}: {where}: positions are of the new history: {one.positions()}, now {newest}", until(5, holds), last)


def no_alarm(one, since, where):
    """An API server that is starting returns 403 until it has read its roles."""
    found = one.select("SELECT created_at, title FROM events WHERE json_extract(metadata, '$.reason') = 'RecorderPermissionMissing' ORDER BY id")
    found = [f"{created} {title}" for created, title in found if seconds_of(created) > since - 1]
    check(f"{one.name}: {where}: no permission is reported as missing", not found, "\n".join(found))


def kinds_of(gap):
    """A row lists its kinds in `source`; if there are several, `sources` has the values of each."""
    return set(gap["source"].split(", "))


def late_rows(one, names):
    return [(kind, name, reason, metadata, seconds_of(created)) for kind, name, reason, metadata, created in one.rows()
            if name in names and metadata.get("observed_late")]


def show(gaps):
    for gap in gaps:
        to = clock(seconds_of(gap["to"])) if gap.get("to") else "open"
        say(f"  gap {clock(seconds_of(gap['from']))} to {to}, {gap['cause']}, {'+'.join(sorted(map(str, kinds_of(gap))))}, "
            f"recovery {gap.get('recovery')}, {gap['severity']}")


def check_gaps(one, what, gaps, names, begin, whole):
    """Changes of `names` were recorded late: one gap row for all kinds, from when the watch ended to when each kind was
    watched again; and `between` of the late rows starts when the last row was recorded live."""
    show(gaps)
    late = late_rows(one, names)
    # The kind of the last change has the newest position, which the API server may still have: it resumes without a gap.
    kinds = {kind for kind, *_ in late} - {KINDS[-1]}
    named = {kind for gap in gaps for kind in kinds_of(gap)}
    check(f"{one.name}: {what}: the gap row names the kinds that were seen late: {', '.join(sorted(kinds))}",
          len(kinds) >= 3 and named >= kinds, f"named: {named}")
    causes = [gap["cause"] for gap in gaps]
    check(f"{one.name}: {what}: one row for the interval and its cause: {causes}", len(causes) == len(set(causes)) > 0, causes)
    wrong = [f"{gap['from']}, but the watch ended at {clock(begin[1])}" for gap in gaps
             if not begin[0] - SLACK <= seconds_of(gap["from"]) <= begin[1] + SLACK]
    check(f"{one.name}: {what}: it begins when the watch ended, at {clock(begin[1])}", gaps and not wrong, "\n".join(wrong))
    wrong = []
    for gap in gaps:
        for each in gap.get("sources", [gap]):
            # A change whose author is known has its exact time, and no interval.
            seen = [(seconds_of(metadata["between"][1]), one.when((kind, name, reason)))
                    for kind, name, reason, metadata, _ in late if kind == each["source"] and "between" in metadata]
            # By its own times, and by when this script found the row, which takes a moment on a busy machine.
            if seen and not (each.get("to") and -SLACK <= min(seen)[0] - seconds_of(each["to"]) <= SLACK + 1
                             and -SLACK <= min(seen)[1] - seconds_of(each["to"]) <= SLACK + 3):
                wrong.append(f"{each['source']}: {each.get('to')}, but it was seen again at {clock(min(seen)[0])}, found at {clock(min(seen)[1])}")
    check(f"{one.name}: {what}: and ends when each kind was seen again", gaps and not wrong, "\n".join(wrong))
    wrong = []
    for kind, name, _, metadata, created in late:
        if "between" not in metadata:
            if not begin[0] - 1 - SLACK <= created <= whole + SLACK:
                wrong.append(f"{kind} {name}: {clock(created)}")
            continue
        low, high = map(seconds_of, metadata["between"])
        if not begin[0] - SLACK <= low <= begin[1] + SLACK or not low < high <= whole + SLACK:
            wrong.append(f"{kind} {name}: {metadata['between']}")
    check(f"{one.name}: {what}: `between` of {len(late)} late rows begins between the last live row, {clock(begin[0])}, and then",
          late and not wrong, "\n".join(wrong))


# ---- the scenes


def all_kinds(do, name):
    for kind in KINDS:
        do(kind, name)


def main(folder, user):
    begun = time.monotonic()
    scene = lambda name: print(f"---- {name} (at {time.monotonic() - begun:.0f} s)", flush=True)
    cluster = Cluster(folder, os.environ.get("KUBE9_CLUSTER_HOME", os.path.expanduser("~/.cache/kube9-cluster")))
    copy = f"{work}/etcd-copy"
    # Without them, only this script changes objects.
    cluster.process("kill", "controller-manager", "scheduler", "volumes")
    cluster.done("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    cluster.done("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})

    near, far = Recorder("near", user), Recorder("far", user)
    both = [near, far]
    try:
        for one in both:
            one.start()
        if not check("both recorders are healthy", until(30, lambda: all(one.healthy() for one in both))):
            return
        scenes(scene, cluster, copy, near, far, both)
    finally:
        for one in both:
            if one.process:
                one.process.kill()
                one.process.wait()
        cluster.path.kill()
        cluster.path.wait()


def scenes(scene, cluster, copy, near, far, both):
    scene("an API server restarts, with changes before, during and after")
    for name in ("steady", "restored", "doomed"):
        all_kinds(cluster.make, name)
    all_kinds(cluster.change, "steady")
    expect(20, "changes before are recorded", both, [row_of(kind, "steady", 2) for kind in KINDS] +
           [row_of(kind, "doomed", 1) for kind in KINDS])
    last_live = max(near.first.values())
    time.sleep(2.5)  # so that the last row and the end of the watch differ
    ended = cluster.stop_all()
    cluster.process("kill", "forward")
    cluster.keep(copy)
    cluster.start_all()
    all_kinds(cluster.make, "meanwhile")
    all_kinds(cluster.change, "restored")
    all_kinds(cluster.delete, "doomed")
    opened = time.time()
    cluster.process("start", "forward")
    probes = recovery(cluster, both, opened, "after")
    whole = max(one.when(probes.key(kind, probes.made[-1][1])) or time.time() for one in both for kind in KINDS)
    expect(5, "changes during the restart are recorded", both,
           [row_of(kind, "meanwhile", 1) for kind in KINDS] + [row_of(kind, "restored", 2) for kind in KINDS if kind != "Event"] +
           [row_of(kind, "doomed", 3) for kind in KINDS])
    for one in both:
        honest(one, ended + 1, whole, probes)
        check_gaps(one, "restart", one.gaps(), {"meanwhile", "restored", "doomed"}, (last_live, ended), whole)
        no_alarm(one, ended, "restart")
        now_and_known(cluster, one, "restart")

    scene("etcd is put back: the history goes back, and stays below the positions")
    before = {one.name: len(one.gaps()) for one in both}
    for name in ("lost", "lost-too"):
        all_kinds(cluster.make, name)
    all_kinds(cluster.change, "lost")
    expect(10, "what will be lost is recorded", both, [row_of(kind, "lost", 2) for kind in KINDS])
    check("far is stopped in order", far.end() == 0)
    all_kinds(cluster.delete, "steady")
    for number in range(60):  # Events: the cheapest way to increase the resourceVersion
        cluster.make("Event", f"more-{number}")
    expect(10, "near has all of it", [near], [row_of(kind, "steady", 3) for kind in KINDS] + [row_of("Event", "more-59", 1)])
    say(f"positions before: {near.positions()}")
    old = near.positions()
    ended = cluster.stop_all()
    cluster.put_back(copy)
    cluster.start_all()
    restored = time.time()
    far.start()
    say(f"the API server is back after {restored - ended:.1f} s, at version {cluster.names('Event')[1]}")
    probes = recovery(cluster, both, restored, "back")
    whole = time.time()
    for one in both:
        honest(one, ended + 1 if one is near else restored, whole, probes)
        no_alarm(one, ended, "put back")
        regressions = one.regressions()
        for at, severity, text, metadata in regressions:
            say(f"  row {clock(at)} {severity} {text[:230]}")
        check(f"{one.name}: a critical row says that the history went back", regressions and all(
            severity == "critical" and restored - 10 < at < whole + 2 for at, severity, _, _ in regressions), regressions)
        gaps = one.gaps()[before[one.name]:]
        show(gaps)
        named = {kind for gap in gaps if gap["cause"] == "history_regressed" and gap.get("to") for kind in kinds_of(gap)}
        check(f"{one.name}: gap rows with the cause history_regressed name every kind", named >= set(KINDS),
              f"missing: {set(KINDS) - named}")
        check(f"{one.name}: status has nothing to complain of", not one.complaints(), one.complaints())
        now_and_known(cluster, one, "put back")
        positions_are_new(cluster, one, probes, "put back")
        expect(3, f"{one.name}: objects of the lost history are deleted, the others are recorded again", [one],
               [row_of(kind, "lost", 3) for kind in KINDS])

    overtaken(scene, cluster, copy, near, both)

    scene("recorders that are stopped and killed across a restart of the API server")
    before = {one.name: len(one.gaps()) for one in both}
    all_kinds(cluster.make, "last")
    expect(10, "the last live rows", both, [row_of(kind, "last", 1) for kind in KINDS])
    last_live = max(near.first.values())
    time.sleep(2.5)
    ended = time.time()
    far.end(signal.SIGKILL)
    check("near is stopped in order", near.end() == 0)
    cluster.process("kill", "apiserver")
    cluster.process("start", "apiserver")
    all_kinds(cluster.make, "away")
    all_kinds(cluster.delete, "last")
    opened = time.time()
    for one in both:
        one.start()
    probes = recovery(cluster, both, opened, "again")
    whole = time.time()
    expect(5, "changes during the restart are recorded", both,
           [row_of(kind, "away", 1) for kind in KINDS] + [row_of(kind, "last", 3) for kind in KINDS])
    for one in both:
        # If the recorder was killed, only its last live row is known.
        check_gaps(one, "stopped" if one is near else "killed", one.gaps()[before[one.name]:], {"away", "last"}, (last_live, ended), whole)
        no_alarm(one, ended, "again")
        now_and_known(cluster, one, "afterwards")
    for one in both:
        check(f"{one.name} ends in order", one.end() == 0)


def overtaken(scene, cluster, copy, near, both):
    """The resourceVersions do not distinguish the two histories."""
    scene("etcd is restored: the new history has passed the positions before the recorders check")
    before = {one.name: len(one.gaps()) for one in both}
    regressed_before = {one.name: len(one.regressions()) for one in both}
    all_kinds(cluster.make, "ghost")
    expect(10, "what will be lost is recorded", both, [row_of(kind, "ghost", 1) for kind in KINDS])
    old = max(near.positions().values())
    ended = cluster.stop_all()
    cluster.process("kill", "forward")
    cluster.put_back(copy)
    cluster.start_all()
    all_kinds(cluster.make, "unseen")
    all_kinds(cluster.change, "unseen")
    subprocess.run(["kube", "events", "--kubeconfig", cluster.kubeconfig, "-namespace", NAMESPACE, "-n", str(max(old, 300)), "-c", "8",
                    "-no-watch"], check=True, stdout=subprocess.DEVNULL)
    now = cluster.names("Node")[1]
    check(f"the new history has overtaken: positions up to {old}, now {now}", now > old)
    cluster.process("start", "forward")
    opened = time.time()
    probes = recovery(cluster, both, opened, "over")
    whole = time.time()
    for one in both:
        honest(one, ended + 1, whole, probes)
        show(one.gaps()[before[one.name]:])
        for at, severity, text, metadata in one.regressions()[regressed_before[one.name]:]:
            say(f"  row {clock(at)} {severity} {text[:230]}")
        now_and_known(cluster, one, "overtaken")
        expect(3, f"{one.name}: overtaken: what was made below the old positions is there", [one],
               [row_of(kind, "unseen", 1) for kind in KINDS])
        check(f"{one.name}: overtaken: every kind is in a gap row", {kind for gap in one.gaps()[before[one.name]:]
              for kind in kinds_of(gap)} >= set(KINDS), "")


if __name__ == "__main__":
    os.environ["NO_PROXY"] = "127.0.0.1"
    cluster_folder, user_config, recorder_program, query_program, work = sys.argv[1:]
    main(cluster_folder, user_config)
    end()
