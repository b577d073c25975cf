"""compare.py FOLDER: prints the results of compare.sh as a table."""

import json
import os
import re
import sqlite3
import sys


def documents(path):
    """JSON documents one after another, in any layout; an incomplete one is skipped."""
    text, at, decoder = open(path).read(), 0, json.JSONDecoder()
    while True:
        at = text.find("{", at)
        if at < 0:
            return
        try:
            found, at = decoder.raw_decode(text, at)
            yield found
        except ValueError:
            # A process was killed in the middle of a document; the next one follows immediately.
            begins = re.compile(r'\{\n    "apiVersion"|\{"resourceLogs"').search(text, at + 1)
            if begins is None:
                return
            at = begins.start()


def plain(value):
    """A value of OTLP as JSON."""
    if "kvlistValue" in value:
        return {entry["key"]: plain(entry["value"]) for entry in value["kvlistValue"].get("values", [])}
    if "arrayValue" in value:
        return [plain(entry) for entry in value["arrayValue"].get("values", [])]
    return next(iter(value.values()), None)


def of_collector(path):
    for batch in documents(path):
        for resource in batch.get("resourceLogs", []):
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    body = plain(record["body"])
                    yield body.get("object", body)


def of_kubectl(path):
    for found in documents(path):
        yield from found.get("items", [found])


def count_of(event):
    series = event.get("series") or {}
    return max(int(event.get("count") or 1), int(series.get("count") or 1))


def judge_copies(events, truth):
    """Counts Events stored in their last state, in an older one, missing, and stored twice, in a file of copies."""
    last, versions, copies = {}, set(), 0
    for event in events:
        uid = event.get("metadata", {}).get("uid")
        if uid in truth:
            copies += 1
            versions.add((uid, event["metadata"]["resourceVersion"]))
            last[uid] = max(last.get(uid, 0), count_of(event))
    return last, copies - len(versions)


def of_kube9(path, truth):
    last, twice = {}, 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as conn:
        for (metadata,) in conn.execute("SELECT metadata FROM events WHERE event_type = 'cluster'"):
            metadata = json.loads(metadata)
            uid = metadata.get("uid")
            if uid in truth:
                row = last.setdefault(uid, [0, 0])
                row[0] = max(row[0], metadata["count"])
                row[1] += metadata["occurrences"] + metadata.get("occurrences_before", 0)
        twice = sum(occurrences > count for count, occurrences in last.values())
    return {uid: count for uid, (count, _) in last.items()}, twice


def main(folder):
    told = json.load(open(f"{folder}/truth.json"))
    truth = told["events"]
    database = f"{folder}/kube9/kube9.db"
    found = {
        "kube9": of_kube9(database, truth),
        "collector": judge_copies(of_collector(f"{folder}/otelcol.json"), truth),
        "kubectl": judge_copies(of_kubectl(f"{folder}/kubectl.json"), truth),
    }
    size = {
        "kube9": sum(os.path.getsize(database + end) for end in ("", "-wal") if os.path.exists(database + end)),
        "collector": os.path.getsize(f"{folder}/otelcol.json"),
        "kubectl": os.path.getsize(f"{folder}/kubectl.json"),
    }
    usage = {name: list(map(int, rest)) for name, *rest in map(str.split, open(f"{folder}/usage"))}
    names = ["kube9", "collector", "kubectl"]
    print(f"{len(truth)} Events in {told['writes']} accepted writes.\n")
    print("| | kube9 | OpenTelemetry Collector | `kubectl get events --watch` |\n|---|---|---|---|")

    def line(what, value):
        print(f"| {what} | " + " | ".join(str(value(name)) for name in names) + " |")

    doubtful = {uid for uid, event in truth.items() if event["doubt"]}
    line("Events there in their last state", lambda n: sum(
        found[n][0].get(uid, 0) >= event["count"] for uid, event in truth.items()))
    line("there, but an older state", lambda n: sum(
        0 < found[n][0].get(uid, 0) < event["count"] for uid, event in truth.items()))
    line("not there", lambda n: sum(uid not in found[n][0] for uid in truth.keys() - doubtful))
    line("stored twice", lambda n: found[n][1])
    line("bytes on disk per write", lambda n: round(size[n] / told["writes"]))
    line("CPU per write, µs", lambda n: round(usage[n][0] / usage[n][1] * 1e6 / told["writes"]))
    line("peak memory, MiB", lambda n: round(usage[n][2] / 1024, 1))


main(sys.argv[1])
