"""The parts of blackout.sh that need more than a shell: the load, observing the recorders, and the comparison.

  write KUBECONFIG NAMESPACE TRUTH   creates and repeats Events until SIGTERM, then writes what was accepted to TRUTH
  look LOG NAME=ADDRESS...           reads /metrics and /healthz five times a second until SIGTERM, then writes LOG
  compare TRUTH NAME=DATABASE...     compares Event by Event; exit code 1 if one is lost, doubled, wrong or unaccounted

TRUTH contains what the API server confirmed. If a connection broke before the response, the script reads the Event until
the API server returns its state, so that no write stays in doubt. An Event that has expired by then may be recorded or
not.
"""

import base64
import http.client
import json
import os
import random
import signal
import sqlite3
import ssl
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone

import yaml

THREADS = 4
PER_SECOND = float(os.environ.get("KUBE9_LOAD_PER_SECOND", 80))  # of all threads
TTL = 40.0  # the API server's --event-ttl
SLACK = 1.5  # whole seconds in Date headers and Event times

stop = threading.Event()


def until_told():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


# ---- the load


class Server:
    """One connection to the API server, opened again whenever it breaks."""

    def __init__(self, kubeconfig):
        config = yaml.safe_load(open(kubeconfig))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host, self.port = cluster["server"].removeprefix("https://").split(":")
        self.tls = ssl.create_default_context(cadata=text(cluster["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
            pair.write(text(user["client-certificate-data"]) + text(user["client-key-data"]))
            pair.flush()
            self.tls.load_cert_chain(pair.name)
        self.connection = None

    def ask(self, method, path, body=None, kind="application/json"):
        """Status and document; OSError or HTTPException without a response."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(self.host, int(self.port), context=self.tls, timeout=10)
            data = None if body is None else json.dumps(body)
            self.connection.request(method, path, data, {"Content-Type": kind})
            answer = self.connection.getresponse()
            found = answer.read()
            return answer.status, json.loads(found) if answer.status < 300 else {}
        except (OSError, http.client.HTTPException):
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            raise


def text(encoded):
    return base64.b64decode(encoded).decode()


def stamp(micros):
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if micros else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.now(timezone.utc).strftime(form)


class Writer(threading.Thread):
    def __init__(self, number, kubeconfig, namespace):
        super().__init__()
        self.random = random.Random(number)
        self.number, self.namespace = number, namespace
        self.server = Server(kubeconfig)
        self.live, self.accepted, self.unsure = [], {}, set()
        self.writes = self.unanswered = 0

    def run(self):
        made, due = 0, time.monotonic()
        while not stop.is_set():
            due = max(due + THREADS / PER_SECOND, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))
            if self.live and self.random.random() < 0.5:
                self.repeat(self.random.choice(self.live))
            else:
                made += 1
                self.create(f"pod-{self.number}.{made:08x}")

    def path(self, new_style, name=""):
        group = "/apis/events.k8s.io/v1" if new_style else "/api/v1"
        return f"{group}/namespaces/{self.namespace}/events" + (f"/{name}" if name else "")

    def create(self, name):
        new_style = self.random.random() < 0.3
        regarding = {"kind": "Pod", "namespace": self.namespace, "name": name.split(".")[0]}
        event = {"metadata": {"name": name, "namespace": self.namespace}, "reason": "BackOff", "type": "Warning"}
        note = "Back-off restarting failed container app"
        if new_style:
            event |= {"eventTime": stamp(True), "reportingController": "kube9.io/load", "reportingInstance": "load-1",
                      "action": "Waiting", "regarding": regarding, "note": note}
        else:
            now = stamp(False)
            event |= {"involvedObject": regarding, "message": note, "source": {"component": "kubelet"},
                      "count": 1, "firstTimestamp": now, "lastTimestamp": now}
        found = self.write("POST", self.path(new_style), event, "application/json", new_style, name)
        if found:
            self.live = (self.live + [(new_style, name, found["metadata"]["uid"])])[-30:]

    def repeat(self, known):
        new_style, name, uid = known
        count = self.accepted[uid]["count"] + self.random.randint(1, 3)
        if new_style:
            change = {"series": {"count": count, "lastObservedTime": stamp(True)}}
        else:
            change = {"count": count, "lastTimestamp": stamp(False)}
        if not self.write("PATCH", self.path(new_style, name), change, "application/merge-patch+json", new_style, name, uid):
            if known in self.live:
                self.live.remove(known)  # it has expired, or its state is unknown

    def write(self, method, path, body, kind, new_style, name, uid=None):
        """What the API server has of it afterwards; None if nothing."""
        try:
            status, found = self.server.ask(method, path, body, kind)
            if status == 404 and method == "PATCH":
                return None
            if status < 300:
                return self.accept(found)
        except (OSError, http.client.HTTPException):
            pass
        self.unanswered += 1
        self.unsure.add(name)
        # No response, or an ambiguous one (a 500 or 504 after etcd accepted the write).
        patience = time.monotonic() + TTL
        while time.monotonic() < patience:
            try:
                status, found = self.server.ask("GET", self.path(new_style, name))
                if status == 200:
                    return self.accept(found)
                if status == 404:
                    break
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.3)
        return None

    def accept(self, found):
        series = found.get("series") or found.get("deprecatedSeries") or {}
        count = max(found.get("count") or found.get("deprecatedCount") or 1, series.get("count") or 1, 1)
        last = (series.get("lastObservedTime") or found.get("lastTimestamp") or found.get("deprecatedLastTimestamp")
                or found.get("eventTime"))
        self.accepted[found["metadata"]["uid"]] = {"count": count, "last": millis(last), "name": found["metadata"]["name"]}
        self.writes += 1
        return found

    def settle(self, held):
        """After the last write: `held` is everything that the API server still has."""
        for found in held:
            self.accept(found)
        names = {found["metadata"]["name"] for found in held}
        for event in self.accepted.values():
            # A write without a response may have been accepted after the check.
            event["doubt"] = event["name"] in self.unsure and event["name"] not in names


def write(kubeconfig, namespace, truth):
    until_told()
    writers = [Writer(number, kubeconfig, namespace) for number in range(THREADS)]
    for writer in writers:
        writer.start()
    stop.wait()
    for writer in writers:
        writer.join()
    held = listed(Server(kubeconfig), namespace)
    for writer in writers:
        writer.settle([event for event in held if event["metadata"]["name"].startswith(f"pod-{writer.number}.")])
    accepted = {uid: event for writer in writers for uid, event in writer.accepted.items()}
    total = {name: sum(getattr(writer, name) for writer in writers) for name in ("writes", "unanswered")}
    doubtful = sum(event["doubt"] for event in accepted.values())
    with open(truth, "w") as out:
        json.dump({"namespace": namespace, "events": accepted, **total}, out)
    print(f"{len(accepted)} Events accepted in {total['writes']} writes; {total['unanswered']} were not answered, "
          f"{doubtful} stay in doubt")


def listed(server, namespace):
    held, more = [], ""
    while True:
        status, page = server.ask("GET", f"/api/v1/namespaces/{namespace}/events?limit=1000&continue={more}")
        if status != 200:
            sys.exit(f"the last list was answered with {status}")
        held += page["items"]
        more = page["metadata"].get("continue", "")
        if not more:
            return held


# ---- observing the recorders

OUTCOMES = ["kube9_events_" + name for name in
            ("stored_total", "folded_total", "duplicate_total", "deleted_total", "filtered_total", "skipped_total", "pending")]


def look(log, *recorders):
    until_told()
    state = {}
    for recorder in recorders:
        name, address = recorder.split("=")
        state[name] = {"address": address, "scrapes": 0, "unbalanced": [], "said": set(), "dropped": 0}
    while not stop.is_set():
        for seen in state.values():
            look_once(seen)
        stop.wait(0.2)
    for seen in state.values():
        seen["said"] = sorted(seen["said"])
    with open(log, "w") as out:
        json.dump(state, out, indent=1)


def get(address, path):
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return None, ""  # it is stopped
    finally:
        connection.close()


def look_once(seen):
    status, body = get(seen["address"], "/metrics")
    if status == 200:
        samples = [line.rsplit(" ", 1) for line in body.splitlines() if line and not line.startswith("#")]
        total = lambda name, label="": sum(float(value) for series, value in samples
                                           if series.split("{")[0] == name and label in series)
        received = total("kube9_events_received_total")
        settled = sum(total(name) for name in OUTCOMES) + total("kube9_queue_dropped_total", 'item="event"')
        seen["scrapes"] += 1
        seen["dropped"] = max(seen["dropped"], total("kube9_events_dropped_total"))
        if received != settled:
            seen["unbalanced"].append([received, settled])
    status, body = get(seen["address"], "/healthz")
    if status == 503:
        for name, check in json.loads(body)["checks"].items():
            if check.get("message"):
                seen["said"].add(f"{name}: {check['message'][:160]}")


# ---- the comparison


def millis(time_text):
    """Milliseconds since 1970, cut as the recorder cuts them."""
    whole, _, part = time_text.removesuffix("Z").partition(".")
    seconds = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    return int(seconds) * 1000 + int((part + "000")[:3])


def stored(database, namespace):
    rows = {}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as conn:
        for (metadata,) in conn.execute(
                "SELECT metadata FROM events WHERE object_namespace = ? AND event_type = 'cluster'", [namespace]):
            metadata = json.loads(metadata)
            row = rows.setdefault(metadata["uid"], {"rows": 0, "count": 0, "sum": 0, "last": 0})
            row["rows"] += 1
            row["count"] = max(row["count"], metadata["count"])
            row["sum"] += metadata["occurrences"] + metadata.get("occurrences_before", 0)
            row["last"] = max(row["last"], millis(metadata["last_timestamp"]))
        gaps = [dict(json.loads(metadata), severity=severity) for metadata, severity in conn.execute(
            "SELECT metadata, severity FROM events WHERE title = 'Recording gap' ORDER BY id")]
        integrity = conn.execute("PRAGMA integrity_check").fetchone()[0]
        dropped = conn.execute("SELECT count(*) FROM dropped_range").fetchone()[0]
    of_events = [dict(part, cause=gap["cause"], severity=gap["severity"])
                 for gap in gaps for part in gap.get("sources", []) if part["source"] == "Event"]
    return rows, of_events, integrity, dropped


def compare_one(truth, database):
    rows, gaps, integrity, dropped = stored(database, truth["namespace"])
    found = {"lost": [], "doubled": [], "wrong count": [], "unaccounted gaps": []}
    covered = 0
    for uid, event in truth["events"].items():
        row = rows.get(uid, {"rows": 0, "count": 0, "sum": 0, "last": 0})
        line = f"{uid} {event} found {row}"
        if row["sum"] > row["count"]:
            found["doubled"].append(line)
        elif event["doubt"] and row["count"] >= event["count"]:
            pass
        elif row["count"] < event["count"] or row["last"] < event["last"]:
            # Not watched from before its last write until it expired: then a gap row must cover it, with recovery=none.
            written, died = event["last"] / 1000, event["last"] / 1000 + TTL
            is_covered = any(
                gap.get("to") and gap["recovery"] != "complete"
                and millis(gap["from"]) / 1000 - SLACK <= written and died <= millis(gap["to"]) / 1000 + SLACK
                for gap in gaps)
            covered += is_covered
            if not is_covered:
                found["lost"].append(line)
        elif (row["count"], row["sum"], row["last"]) != (event["count"], event["count"], event["last"]):
            found["wrong count"].append(line)
    found["wrong count"] += [f"{uid} was never accepted" for uid in rows.keys() - truth["events"].keys()]
    found["unaccounted gaps"] += [f"still open: {gap}" for gap in gaps if not gap.get("to")]
    found["unaccounted gaps"] += [f"{dropped} ranges of dropped Events not recovered"] if dropped else []
    found["unaccounted gaps"] += [f"integrity: {integrity}"] if integrity != "ok" else []
    return found, covered, rows, gaps


def compare(truth, *recorders):
    truth = json.load(open(truth))
    clean = True
    for recorder in recorders:
        name, database = recorder.split("=")
        patience = time.monotonic() + 60
        while True:
            found, covered, rows, gaps = compare_one(truth, database)
            if not any(found.values()) or time.monotonic() > patience:
                break
            time.sleep(1)
        counts = ", ".join(f"{what} {len(lines)}" for what, lines in found.items())
        print(f"{name}: {len(rows)} of {len(truth['events'])} Events in {sum(row['rows'] for row in rows.values())} rows; "
              f"{counts}; died in a gap that says so {covered}")
        for gap in gaps:
            seconds = (millis(gap["to"]) - millis(gap["from"])) / 1000 if gap.get("to") else float("nan")
            print(f"{name}: gap {gap['cause']}, {seconds:.0f} s, recovery {gap['recovery']}, {gap['severity']}, "
                  f"listed {gap.get('listed')}, recovered {gap.get('recovered')}, missing {gap.get('missing')}")
        for what, lines in found.items():
            for line in lines[:5]:
                print(f"    {what}: {line}")
        clean &= not any(found.values())
    return 0 if clean else 1


if __name__ == "__main__":
    os.environ["NO_PROXY"] = "127.0.0.1"
    sys.exit({"write": write, "look": look, "compare": compare}[sys.argv[1]](*sys.argv[2:]))
