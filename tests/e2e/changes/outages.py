"""What the matrix does to the recorder and to the API server, and the changes meanwhile."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request

from client import Refused, version_of
from fields import container, deployment
from matrix import BUSYBOX, PAUSE, STRATEGIC


class Recorder:
    """A recorder as a process. Without a program, its methods do nothing."""

    def __init__(self, program, kubeconfig, folder):
        self.program, self.kubeconfig, self.folder = program, kubeconfig, folder
        self.process, self.log = None, f"{folder}/recorder.log"
        self.cpu = self.peak = 0.0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        os.makedirs(f"{folder}/data", exist_ok=True)

    def get(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def start(self):
        if not self.program:
            return
        log = open(self.log, "a")
        self.process = subprocess.Popen(
            [
                self.program,
                "serve",
                "--data-dir",
                f"{self.folder}/data",
                "--listen",
                self.address,
                "--kubeconfig",
                self.kubeconfig,
                "--log-format",
                "json",
            ],
            stdout=log,
            stderr=log,
        )

    def ready(self):
        return not self.program or self.get("/readyz") is not None

    def listed(self):
        """How many lists are complete, and the seconds from the start until the last of them was: none ends for 3 s after it."""
        begun = changed = time.monotonic()
        lists = 0
        while self.program and time.monotonic() - changed < 3:
            found = re.findall(r"^kube9_list_duration_seconds_count\{[^}]*\} (\d+)", self.get("/metrics") or "", re.M)
            if sum(map(int, found)) != lists or not lists:
                lists, changed = sum(map(int, found)), time.monotonic()
                if changed - begun > 60:
                    break
            time.sleep(0.1)
        return lists, changed - begun

    def use(self):
        """Adds up what the process has used so far."""
        if not self.process:
            return
        with open(f"/proc/{self.process.pid}/stat") as stat, open(f"/proc/{self.process.pid}/status") as status:
            ticks = stat.read().rsplit(")", 1)[1].split()
            peak = re.search(r"VmHWM:\s+(\d+)", status.read())
        self.cpu += (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        self.peak = max(self.peak, int(peak[1]) / 1024)

    def kill(self):
        if self.process:
            self.use()
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        if self.process:
            self.use()
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None


class Server:
    """The API server's process."""

    def __init__(self, cluster, m):
        self.cluster, self.m, self.usual = cluster, m, os.environ.get("KUBE9_APISERVER_ARGS", "")

    def service(self, action, *more):
        env = dict(os.environ, KUBE9_APISERVER_ARGS=" ".join([self.usual, *more]))
        done = subprocess.run([f"{self.cluster}/service", action, "apiserver"], capture_output=True, text=True, env=env)
        if done.returncode != 0:
            raise RuntimeError(f"service {action} apiserver: {done.stderr}")

    def restart(self, *more):
        """Returns when the script's own watches are open again."""
        since = time.time()
        self.service("kill")
        self.service("start", *more)
        self.m.wait("the API server answers", 60, lambda: ready(self.m.api))
        self.m.reconnected(since)


def ready(api):
    try:
        api.done("GET", "/api/v1/namespaces")
        return True
    except (OSError, Refused):
        return False


def prepare(m, phase):
    """Objects of several kinds, to be changed during an outage."""
    refs = {}
    for plural, found in (
        ("deployments", deployment()),
        ("configmaps", {"data": {"a": "0"}}),
        ("services", {"spec": {"ports": [{"port": 80}]}}),
        ("serviceaccounts", {}),
        ("cronjobs", {"spec": {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": deployment_job()}}),
        ("widgets", {"spec": {"mode": "a"}}),
        ("roles", {"rules": []}),
        ("ingressclasses", {"spec": {"controller": "a.test/b"}}),
        ("clusterroles", {"rules": []}),
        ("priorityclasses", {"value": 1}),
    ):
        name = f"{phase}" if m.ref(plural, phase).namespace else f"{m.namespace}-{phase}"
        refs[plural] = m.ref(plural, name)
        m.create(refs[plural], found)
    refs["gone"], refs["again"] = m.ref("configmaps", f"{phase}-gone"), m.ref("configmaps", f"{phase}-again")
    for name in ("gone", "again"):
        m.create(refs[name], {"data": {"a": "0"}})
    return refs


def deployment_job():
    return {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": PAUSE}]}}}}


def change(m, refs, times):
    """Each object changes once; three of them `times`."""
    new = m.ref("configmaps", f"{refs['gone'].name}-new")
    m.create(new, {"data": {"a": "0"}})
    m.client("data", refs["configmaps"], {"data": {"a": "1"}}, agent="outage-1/1")
    m.run("image", "set image", refs["deployments"], f"app={BUSYBOX}")
    m.client("selector", refs["services"], {"spec": {"selector": {"app": "x"}}}, agent="outage-2/1")
    m.client("annotations", refs["serviceaccounts"], {"metadata": {"annotations": {"a": "1"}}}, agent="outage-1/1")
    m.client("schedule", refs["cronjobs"], {"spec": {"schedule": "0 5 1 1 *"}}, agent="outage-1/1")
    m.client("custom resource", refs["widgets"], {"spec": {"mode": "b"}}, agent="outage-2/1")
    m.client("rules", refs["roles"], {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}, agent="outage-1/1")
    m.client("labels", refs["ingressclasses"], {"metadata": {"labels": {"a": "1"}}}, agent="outage-1/1")
    m.client(
        "rules",
        refs["clusterroles"],
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]},
        agent="outage-1/1",
    )
    m.client("description", refs["priorityclasses"], {"description": "x"}, agent="outage-1/1")
    for number in range(2, times + 1):
        m.client("data", refs["configmaps"], {"data": {"a": str(number), f"k{number}": "x"}}, agent=f"outage-{number}/1")
        m.client(
            "env",
            refs["deployments"],
            container(env=[{"name": "N", "value": str(number)}]),
            kind=STRATEGIC,
            agent=f"outage-{number}/1",
        )
        m.client("labels", refs["clusterroles"], {"metadata": {"labels": {"n": str(number)}}}, agent=f"outage-{number}/1")
    m.delete(refs["gone"])
    m.delete(refs["again"])
    m.create(refs["again"], {"data": {"a": "again"}})


def recorder_killed(m, recorder):
    m.phase = "live"
    refs = prepare(m, "killed")
    time.sleep(2)
    m.phase = "recorder killed"
    recorder.kill()
    change(m, refs, 2)
    recorder.start()
    m.wait("the recorder is ready again", 60, recorder.ready)
    m.phase = "live"


def server_restarted(m, server):
    refs = prepare(m, "restarted")
    m.phase = "API server restarted"
    since = time.time()
    server.service("kill")
    server.service("start")
    m.wait("the API server answers", 60, lambda: ready(m.api))
    change(m, refs, 1)
    m.reconnected(since)
    m.phase = "live"


def watch_too_old(m, recorder, server):
    """After a restart of the API server, every watch from before it gets 410; all states in between can still be read."""
    refs = prepare(m, "old")
    time.sleep(2)
    m.phase = "410"
    recorder.kill()
    change(m, refs, 4)
    server.restart()
    recorder.start()
    m.wait("the recorder is ready again", 60, recorder.ready)
    time.sleep(5)
    m.phase = "live"


def compacted(m, recorder, server):
    """The states in between are compacted too: all that can be known of an object is the sum of its changes."""
    refs = prepare(m, "compacted")
    time.sleep(2)
    position = version_of(m.api.get(refs["clusterroles"].path))
    m.phase = "410 after a compaction"
    recorder.kill()
    server.restart("--etcd-compaction-interval=4s")
    change(m, refs, 3)
    path = refs["clusterroles"].collection

    def is_compacted():
        try:
            m.api.at(path, refs["clusterroles"].name, position)
            return False
        except KeyError:
            return True

    # And with it the last of the changes: the interval goes by twice more.
    m.wait("the history is compacted", 60, is_compacted)
    time.sleep(10)
    server.restart()
    recorder.start()
    m.wait("the recorder is ready again", 60, recorder.ready)
    time.sleep(5)
    m.phase = "live"


def dump(path, lines):
    with open(path, "w") as out:
        for one in lines:
            out.write(json.dumps(one, ensure_ascii=False) + "\n")
