"""The parts of changes.sh that need more than a shell.

  selftest                                                the comparison, without a cluster
  write CLUSTER KUBECONFIG AUDIT FOLDER [RECORDER USER]   makes the changes; FOLDER gets plan, truth and states
  compare QUERY FOLDER                                    compares the record in FOLDER with them

Each prints one line per check, `ok` or `FAIL`, and exits with 1 if one failed.
"""

import functools
import json
import os
import subprocess
import sys
import time
from collections import Counter

import compare
import deletions
import fields
import outages
import selftest
from body import canonical
from checks import check, end
from client import Api
from matrix import Matrix
from truth import check_states, compile_truth

# For each change of the project: a part of the matrix, in about a minute.
SHORT = bool(os.environ.get("KUBE9_E2E_SHORT"))
SHORT_GROUPS = [
    deletions.by_request,
    deletions.by_eviction,
    deletions.by_owner,
    fields.by_clients,
    fields.config_maps,
    fields.services,
    fields.nodes,
    fields.folded,
]


def load(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def rest(m, recorder, server):
    """What needs the whole cluster, one after the other."""
    node = next(one for one in m.api.list("/api/v1/nodes")[0] if (one.get("status") or {}).get("allocatable", {}).get("memory"))
    m.parallel(
        functools.partial(deletions.by_taint, m, m.ref("nodes", node["metadata"]["name"])), functools.partial(fields.aggregated, m)
    )
    for what, outage, arguments in (
        ("the recorder is killed", outages.recorder_killed, (m, recorder)),
        ("the API server restarts", outages.server_restarted, (m, server)),
        ("410, and every state can be read", outages.watch_too_old, (m, recorder, server)),
        ("410, and the states in between are compacted", outages.compacted, (m, recorder, server)),
    ):
        m.log(what)
        m.parallel(functools.partial(outage, *arguments))
        m.phase = "live"
    m.log("a definition is deleted")
    m.parallel(functools.partial(deletions.by_definition, m))


def write(cluster, kubeconfig, audit, folder, program=None, user=None):
    api = Api(kubeconfig)
    namespace = f"kube9-changes-{os.getpid()}"
    m = Matrix(api, namespace, folder)
    recorder, server = outages.Recorder(program, user, folder), outages.Server(cluster, m)
    m.start_watchers()
    m.kubectl("create", "namespace", namespace)
    fields.definitions(m)
    m.watch_custom()
    recorder.start()
    lists, seconds = recorder.listed()
    m.wait("the recorder is ready", 90, recorder.ready)
    if program:
        check(f"{lists} lists of all kinds are complete within 10 s: {seconds:.1f} s", lists >= 30 and seconds <= 10)
    begun = time.time()
    m.log("each class of field, each kind, each cause of a deletion")
    m.parallel(*(functools.partial(group, m) for group in (SHORT_GROUPS if SHORT else [*deletions.SCENES, *fields.LIVE])))
    if SHORT:
        m.log("the recorder is killed")
        m.parallel(functools.partial(outages.recorder_killed, m, recorder))
    else:
        rest(m, recorder, server)
    time.sleep(20)  # causes may be added, and the last rows written
    if program:
        metrics = recorder.get("/metrics") or ""
        with open(f"{folder}/metrics", "w") as out:
            out.write(metrics)
    recorder.stop()
    used = {"cpu": round(recorder.cpu, 2), "peak": round(recorder.peak, 1), "begun": begun, "seconds": round(time.time() - begun)}
    history = {plural: (one.resource, list(one.states)) for plural, one in m.watchers.items()}
    with open(audit) as file:
        lines, states, problems = compile_truth(history, file, m.plan)
    lines = [line for line in lines if line["to_time"] >= begun]
    problems += check_states(m.plan, states, canonical)
    for name, content in (("plan", m.plan), ("truth", lines), ("states", states), ("planted", m.planted), ("used", [used])):
        outages.dump(f"{folder}/{name}.jsonl", content)
    for text in m.problems:
        check("", False, text)
    check("the truth is complete", not problems, "\n".join(problems))
    describe(lines, m.plan, m)
    return used


def describe(lines, plan, m=None):
    size = compare.sizes(lines, plan)
    if SHORT:
        print(f"     {size['changes']} changes of {size['kinds']} kinds in {len(size['ways'])} ways", flush=True)
        return
    check(f"at least 150 changes: {size['changes']}, {size['planned']} of them planned", size["changes"] >= 150)
    check(f"over at least 25 kinds: {size['kinds']}", size["kinds"] >= 25)
    check(
        f"at least 10 ways of writing: {len(size['ways'])}",
        len(size["ways"]) >= 10 and compare.WAYS <= size["ways"],
        compare.WAYS - size["ways"],
    )
    check(f"each class of field: {len(size['classes'])}", compare.CLASSES <= size["classes"], compare.CLASSES - size["classes"])
    check(f"at least 25 unwanted writes: {size['unwanted']}", size["unwanted"] >= 25)
    check(
        "each phase has changes",
        all(size["phases"][phase] >= 10 for phase in (*compare.DEAD, "API server restarted")),
        size["phases"],
    )
    causes = Counter("/".join(line["cause"]) for line in lines if line["op"] == "deleted")
    print(f"     causes of deletions: {dict(causes)}", flush=True)
    check("at least nine causes", len(causes.keys() - {"", "scale-down/rollout", "request"}) >= 9, causes)
    check(
        "the cause of each deletion is known",
        not causes[""],
        [
            f"{line['kind']} {line['namespace']}/{line['name']} {line.get('deleter')}"
            for line in lines
            if line["op"] == "deleted" and not line["cause"]
        ],
    )
    writes = [line for line in lines if line["op"] in ("created", "changed") and line["required"]]
    reasons = Counter(line["unknown"] for line in writes if not line["known"])
    print(f"     authors: {sum(line['known'] for line in writes)} of {len(writes)} can be known; else: {dict(reasons)}", flush=True)
    check(
        "the audit log names who wrote",
        sum(not line["managers"] for line in writes) == 0,
        "\n".join(compare.described(line) for line in writes if not line["managers"]),
    )
    if m:
        print(
            f"     the script's watches: {sum(len(one.states) for one in m.watchers.values())} states, "
            f"{sum(one.walked for one in m.watchers.values())} read back, {sum(one.lost for one in m.watchers.values())} lost",
            flush=True,
        )


def compare_record(query, folder):
    database = f"{folder}/data/kube9.db"
    lines, states, plan = load(f"{folder}/truth.jsonl"), load(f"{folder}/states.jsonl"), load(f"{folder}/plan.jsonl")
    used, planted = load(f"{folder}/used.jsonl")[0], load(f"{folder}/planted.jsonl")
    rows = [row for row in compare.query_rows(query, database) if row.at >= int(used["begun"])]  # times of creation are whole seconds
    report, lines = compare.compare(lines, rows)
    one_by_one = {row.id for line in lines for row in compare.rows_of(query, database, line)} if len(lines) < 2000 else set()
    listed = {
        row.id
        for row in rows
        if any((row.kind, row.namespace, row.name) == (line["kind"], line["namespace"], line["name"]) for line in lines)
    }
    check("asked for one object, the same rows are listed", listed <= one_by_one, sorted(listed - one_by_one)[:10])
    bodies = {}
    try:
        lost = {(line["kind"], line["group"], line["namespace"], line["name"]): line["rvs"][0] for line in lines if line.get("net")}
        bodies, misses = compare.compare_bodies(
            [one for one in states if one["received"] >= used["begun"]], compare.revisions(database, compare.documented_query()), lost
        )
        report.misses += misses
        check(
            "the body of every object at every point is that of the API server", not misses, "\n".join(text for _, text in misses)
        )
    except compare.NotWritten as error:
        check("the body of every object at every point is that of the API server", False, error)
    places = leaks(query, database, folder, planted)
    check(f"none of {len(planted)} planted secrets is kept", not places, "\n".join(places))
    for what, name in (
        ("lost", "no change is lost"),
        ("doubled", "no change is doubled"),
        ("invented", "each row is about a change"),
        ("unwanted", "no row for an unwanted write"),
        ("operation", "each row has the right operation"),
        ("fields", "each row has the right paths and values"),
        ("author", "no author is wrong"),
        ("cause", "no cause is wrong"),
        ("time", "each row has the right time"),
        ("mark", "marks are of one field of one object"),
        ("secret", "no Secret is recorded"),
    ):
        check(name, not report.count[what], "\n".join(text for kind, text in report.misses if kind == what))
    kinds = sorted(report.causes)
    if not SHORT:
        check(f"causes of at least nine kinds are right: {', '.join(kinds)}", len([one for one in kinds if one != "request"]) >= 9)
    print("\n     every miss:")
    for text in report.shown():
        print(f"     | {text[:700]}")
    print(f"\n     unknown authors, and why: {dict(report.unknown)}")
    print(f"     folded: {report.count['folded changes']} changes in {report.count['folded rows']} rows; rows: {len(rows)}")
    hidden = sorted({path for line in lines for path in line.get("hidden", [])})
    print(f"     hidden beyond the description: {hidden[:20]}\n")
    for what, value in compare.table(lines, report, bodies, f"{used['cpu']} / {used['peak']} in {used['seconds']} s", len(places)):
        print(f"     | {what} | {value} |")
    describe(lines, plan)


def leaks(query, database, folder, planted):
    """Where a planted value is found: in files of the recorder, its log, its metrics, and in what kube9-query prints."""
    texts = {}
    for place, _, names in os.walk(f"{folder}/data"):
        texts.update({os.path.join(place, name): None for name in names})
    texts |= {f"{folder}/recorder.log": None, f"{folder}/metrics": None}
    found = []
    for path in texts:
        with open(path, "rb") as file:
            content = file.read()
        found += [f"{path.removeprefix(folder)}: {one[:6]}…" for one in planted if one.encode() in content]
    for command in (["events", "export"], ["events", "list", "--limit=1000", "--format=json"], ["events", "timeline"], ["status"]):

        output = subprocess.run([query, "--db", database, *command], capture_output=True).stdout
        found += [f"{' '.join(command)}: {one[:6]}…" for one in planted if one.encode() in output]
    return found


def main(command, *arguments):
    if command == "selftest":
        sys.exit(bool(selftest.run()))
    {"write": write, "compare": compare_record}[command](*arguments)
    end()


if __name__ == "__main__":
    main(*sys.argv[1:])
