"""The record against the truth: which changes have their row, what is wrong in it, and which rows have no explanation."""

import json
import os
import re
import sqlite3
import subprocess
from collections import Counter
from datetime import datetime

from body import differences, is_hidden, marked, plain, pruned, resolve, segments, shown_as, unlike, weight

OPS = {"added": "created", "removed": "deleted", "updated": "changed", "modified": "changed", "terminating": "deleting"}
SLACK = 1.5  # times of managedFields are whole seconds
WAYS = {
    "kubectl create",
    "kubectl apply",
    "kubectl edit",
    "kubectl set image",
    "kubectl scale",
    "kubectl rollout restart",
    "kubectl patch",
    "kubectl label",
    "kubectl cordon",
    "kubectl drain",
    "server-side apply",
    "scale subresource",
    "a client without a name",
    "a mutating policy changes the object",
}
CLASSES = {
    "image",
    "limits",
    "requests",
    "env",
    "envFrom",
    "args",
    "command",
    "liveness probe",
    "readiness probe",
    "startup probe",
    "volumes",
    "node selector",
    "tolerations",
    "affinity",
    "strategy",
    "labels",
    "annotations",
    "restart",
    "replicas by hand",
    "replicas by an autoscaler",
    "selector",
    "ports",
    "quota",
    "policy",
    "webhooks",
    "taints",
    "in-place resize",
    "custom resource",
}
DEAD = ("recorder killed", "410", "410 after a compaction")


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Row:
    """A row about a change, as kube9-query prints it."""

    def __init__(self, found):
        meta = found["metadata"]
        self.id, self.meta, self.found = found["id"], meta, found
        self.kind, self.namespace, self.name = found["object_kind"], found["object_namespace"] or "", found["object_name"]
        self.group = meta.get("api_group") or ""
        self.op = OPS.get(meta.get("op"), meta.get("op"))
        self.fields = meta.get("fields") or []
        self.by = meta.get("by") or []
        self.cause = (meta.get("cause") or {}).get("kind")
        self.version = int(meta.get("resource_version") or 0)
        self.times = max(int(meta.get(key) or 1) for key in ("occurrences", "count", "times", "changes"))
        self.between = meta.get("between")
        self.left_out = any("left_out" in key or "more" in key for key in meta if meta[key])
        self.at = seconds(found["created_at"])

    def __str__(self):
        fields = "; ".join(
            f"{one.get('path')} {json.dumps(one.get('from'))[:60]} -> {json.dumps(one.get('to'))[:60]}" for one in self.fields[:4]
        )
        by = ", ".join(str(one.get("manager")) for one in self.by) or "unknown"
        return f"row {self.id} {self.op} {self.kind} {self.namespace}/{self.name} at {self.version} x{self.times} by {by}: {fields}"


def described(line):
    paths = "; ".join(f"{one['path']} {json.dumps(one['from'])[:60]} -> {json.dumps(one['to'])[:60]}" for one in line["paths"][:4])
    way = f", {line['class']} by {line['way']}" if line["way"] else ""
    who = ", ".join(dict.fromkeys(line["managers"])) or "?"
    what = f"{line['op']} {line['kind']} {line['namespace']}/{line['name']} at {line['rvs'][-1]}"
    return f"{what} ({line['phase']}{way}; {who}): {paths}"


class Report:
    def __init__(self):
        self.misses = []  # (what, text)
        self.count = Counter()
        self.unknown = Counter()
        self.causes = Counter()
        self.matched = {}  # number of a line to its row

    def miss(self, what, text):
        self.misses.append((what, text))
        self.count[what] += 1

    def shown(self):
        return [f"{what}: {text}" for what, text in self.misses]


def compare(lines, rows):
    """Matches rows to lines, object by object."""
    report = Report()
    marks = {}
    lines = [dict(line, number=number) for number, line in enumerate(lines)]
    by_object, of_rows = {}, {}
    for line in lines:
        if line["op"] != "none":
            by_object.setdefault((line["kind"], line["group"], line["namespace"], line["name"]), []).append(line)
    for row in rows:
        of_rows.setdefault((row.kind, row.group, row.namespace, row.name), []).append(row)
        if row.kind == "Secret":
            report.miss("secret", str(row))
    for key in {**by_object, **of_rows}:
        match(
            report,
            sorted(by_object.get(key, []), key=lambda one: one["rvs"][-1]),
            sorted(of_rows.get(key, []), key=lambda one: (one.version, one.id)),
            marks,
        )
    for line in lines:
        if line["op"] == "none":
            low, high = line["rvs"]
            found = [
                row
                for row in of_rows.get((line["kind"], line["group"], line["namespace"], line["name"]), [])
                if low and high and low < row.version <= high and id(row) not in report.matched.values()
            ]
            for row in found:
                report.miss("unwanted", f"{line['class']}: {row}")
    check_marks(report, marks)
    return report, lines


def match(report, lines, rows, marks):
    free, taken = list(lines), []

    def take(line, row):
        free.remove(line)
        taken.append(line)
        report.matched[line["number"]] = id(row)
        check(report, line, row, marks)

    folded = [row for row in rows if row.times > 1]
    for row in rows:
        if row.times > 1:
            continue
        line = next((one for one in free if row.version in one["rvs"] and one["op"] == row.op), None)
        if line is None:  # of a net row, the version is that of a list: the status may have been written since
            later = [one["rvs"][0] for one in lines if one["rvs"][0] > row.version]
            line = next(
                (one for one in free if one.get("net") and one["op"] == row.op and one["rvs"][0] <= row.version < min(later, default=1 << 62)),
                None,
            )
        if line is None and row.op == "deleted":  # of a deletion that was not watched, the version is not exact
            line = next((one for one in free if one["op"] == "deleted"), None)
        if line is not None:
            take(line, row)
            continue
        other = next((one for one in free if row.version in one["rvs"]), None)
        if other is not None:
            report.miss("operation", f"{row}, but it was {described(other)}")
            take(other, row)
        elif any(row.version in one["rvs"] for one in taken):
            report.miss("doubled", str(row))
        else:
            report.miss("invented", str(row))
    for row in folded:
        paths = [segments(one["path"]) for one in row.fields]
        if row.op == "created":  # with what controllers set in the first minutes
            begun = [one for one in free if one["op"] == "created" and row.version in one["rvs"]]
            later = [one for one in free if one["op"] == "changed" and one["rvs"][0] > row.version and touches(one, paths)]
            parts = begun + later[: row.times - len(begun)]
        else:
            about = [one for one in free if one["rvs"][-1] <= row.version and touches(one, paths)]
            parts = about[-row.times :]
        if len(parts) < row.times:
            report.miss("doubled", f"{row}: only {len(parts)} such changes are left")
        if not parts:
            continue
        report.count["folded rows"] += 1
        report.count["folded changes"] += len(parts)
        whole = {
            **(parts[0] if row.op == "created" else parts[-1]),
            "states": [one[side] for one in parts for side in ("before", "after")],
            "before": parts[0]["before"],
            "managers": [name for one in parts for name in one["managers"]],
            "from_time": parts[0]["from_time"],
            "folded": len(parts),
            "known": all(one["known"] for one in parts),
        }
        for one in parts:
            free.remove(one)
            taken.append(one)
            report.matched[one["number"]] = id(row)
        check(report, whole, row, marks)
        if row.op == "created" and paths:
            wrong = check_fields({**whole, "op": "changed"}, row, marks)
            if wrong:
                report.miss("fields", f"{', '.join(wrong)} | {row}")
            else:
                whole["fields_right"] = True
                report.count["fields right"] += len(parts) - 1
        for one in parts:
            one.update({key: whole[key] for key in ("fields_right", "author_right") if key in whole})
    for line in free:
        if line["required"]:
            report.miss("lost", described(line))


def touches(line, paths):
    """Whether a line changes one of these paths."""
    if line["before"] is None or line["after"] is None:
        return not paths
    leaves = differences(line["kind"], line["group"].endswith("kube9.io"), line["before"], line["after"])
    names = [[name.strip("[]") for name in leaf.names] for leaf in leaves]
    texts = [[text for text, _ in path] for path in paths]
    return not paths or any(one[: len(path)] == path or path[: len(one)] == one for one in names for path in texts)


def check(report, line, row, marks):
    """A row against the change that it is about."""
    what = f"{described(line)} | {row}"
    if line["op"] == "changed" and row.op == "changed":
        wrong = check_fields(line, row, marks)
        if wrong:
            report.miss("fields", f"{', '.join(wrong)} | {what}")
        else:
            report.count["fields right"] += 1
            line["fields_right"] = True
    check_author(report, line, row, what)
    if line["op"] == "deleted" and line["cause"]:
        said = (row.cause or "").lower()
        if said in [one.lower() for one in line["cause"]]:
            report.causes[line["cause"][0]] += 1
            line["cause_right"] = True
        elif said in ("", "request", "unknown"):
            report.count["cause not found"] += 1
            report.misses.append(("cause not found", f"it was {line['cause']}, the row has {row.cause!r} | {what}"))
        else:
            report.miss("cause", f"it was {line['cause']}, the row has {row.cause!r} | {what}")
    low, high = line["from_time"] - SLACK, line["to_time"] + SLACK
    if row.between:
        start, end = (seconds(one) for one in row.between)
        is_right = start <= high and end >= low
    elif row.times > 1 or line.get("net"):
        is_right = row.at <= high
    else:
        is_right = low <= row.at <= high
    if not is_right and line["how"] == "watch":
        report.miss(
            "time",
            f"made between {line['from_time']:.1f} and {line['to_time']:.1f}, recorded at {row.at:.1f} {row.between or ''} | {what}",
        )


def check_fields(line, row, marks):
    """What is wrong in a row's fields: each must be true, and together they must cover the change."""
    wrong, before, after = [], line["before"], line["after"]
    custom = line["group"].endswith("kube9.io")
    place = (line["kind"], line["namespace"], line["name"])
    covered = []
    for field in row.fields:
        path, op = field["path"], field.get("op")
        if path.endswith("…"):
            continue
        old, new = resolve(path, before), resolve(path, after)
        if line.get("folded"):  # it may have changed in a part of the changes only
            if not folded_field(field, line["states"], (*place, path), marks):
                wrong.append(f"{path}: no state has {json.dumps(field.get('from'))[:80]} or {json.dumps(field.get('to'))[:80]}")
            continue
        names = tuple(text for text, _ in segments(path))
        covered.append((names, old and old[0], new and new[0]))
        for side, found, wanted in (("from", old, op != "added"), ("to", new, op != "removed")):
            if op == "order":
                continue
            if not wanted:
                if field.get(side) is not None:
                    wrong.append(f"{path} has {side!r} although it was {op}")
            elif found is None:
                if pruned(field.get(side)) not in (None, {}, []):
                    wrong.append(f"{path} does not exist {'before' if side == 'from' else 'after'}")
            # The elements of a list have other marks when it has no identities any more.
            elif not shown_as(field.get(side), found[1], {} if isinstance(found[1], list) else marks, (*place, path)):
                wrong.append(f"{path}: {side} is {json.dumps(field.get(side))[:80]}, not {json.dumps(found[1])[:80]}")
        if op == "changed" and old and new and old[1] == new[1]:
            wrong.append(f"{path} did not change")
        if op == "changed" and isinstance(field.get("from"), str) and field.get("from") == field.get("to"):
            wrong.append(f"{path}: from and to look the same: {field['from'][:40]}")
        if op == "order" and old and new and old[1] == new[1]:
            wrong.append(f"{path} is in the same order")
        for side in ("from", "to"):
            for inner in marked(field.get(side)):
                if not is_hidden(line["kind"], custom, (*names, *inner), ""):
                    line.setdefault("hidden", []).append(path)
    if not (row.left_out or row.times > 1):
        for leaf in differences(line["kind"], custom, before, after):
            if weight(line["kind"], leaf, False) == "row" and not any(is_covered(leaf, one) for one in covered):
                wrong.append(f"{leaf.text()} is missing")
    return wrong


def folded_field(field, states, place, marks):
    """Whether the values of a field of a folded row are those of one of its states."""
    for side in ("from", "to"):
        if field.get(side) is None or field.get("op") == "order":
            continue
        found = [resolve(field["path"], state) for state in states if state is not None]
        if isinstance(field[side], list) and all(isinstance(text, str) for text in field[side]):
            continue  # an order
        if not any(one and shown_as(field[side], one[1], marks, place) for one in found):
            return False
    return True


def is_covered(leaf, field):
    """Whether a field of a row contains a leaf, or is a part of a list that changed as a whole."""
    _, old, new = field
    for position, of_leaf in ((old, leaf.old), (new, leaf.new)):
        if position is None or of_leaf is None:
            continue
        if of_leaf[: len(position)] == position:
            return True
        if leaf.op in ("array", "order") and position[: len(of_leaf)] == of_leaf:
            return True
    return False


def check_author(report, line, row, what):
    if line["op"] not in ("created", "changed") or not line["managers"]:
        return
    said = [one.get("manager") for one in row.by]
    strangers = [name for name in said if name not in line["managers"]]
    if strangers:
        report.miss("author", f"said {strangers} | {what}")
        return
    if said:
        line["author_right"] = True
        report.count["author right"] += 1
    elif line["known"]:
        report.count["author not found"] += 1
        report.misses.append(("author not found", what))
    else:
        report.unknown[line["unknown"] or "?"] += 1


def check_marks(report, marks):
    """One value of one field has one mark, and equal values elsewhere have others."""
    places = {}
    for (*place, text), seen in marks.items():
        if len(seen) > 1:
            report.miss("mark", f"{place}: one value has the marks {sorted(seen)}")
        for mark in seen:
            places.setdefault((mark, text), set()).add(tuple(place))
    for (mark, _), where in places.items():
        objects = {one[:3] for one in where}
        if len(objects) > 1:
            report.miss("mark", f"{mark} stands for equal values of {sorted(objects)[:2]}")


# ---- what the programs print


def query_rows(query, database):
    """All rows about changes, page by page."""
    rows, after = [], []
    while True:
        command = [query, "--db", database, "events", "list", "--type=cluster", "--limit=1000", "--format=json", *after]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        page = json.loads(done.stdout)
        rows += [one for one in page["events"] if isinstance(one["metadata"], dict) and one["metadata"].get("op")]
        if not page["pagination"]["next"]:
            return [Row(one) for one in rows]
        after = ["--after", page["pagination"]["next"]]


def rows_of(query, database, line):
    """The same for one object, as a user asks for it."""
    command = [
        query,
        "--db",
        database,
        "events",
        "list",
        "--type=cluster",
        "--limit=1000",
        "--format=json",
        f"--object-kind={line['kind']}",
        f"--object-name={line['name']}",
    ]
    if line["namespace"]:
        command.append(f"--object-namespace={line['namespace']}")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [
        Row(one) for one in json.loads(done.stdout)["events"] if isinstance(one["metadata"], dict) and one["metadata"].get("op")
    ]


class NotWritten(Exception):
    pass


def documented_query(page=None):
    """The query of docs/storage.md that rebuilds the body of the revision ?1."""
    path = os.path.join(os.path.dirname(__file__), "../../../docs/storage.md")
    if page is None:
        with open(path) as file:
            page = file.read()
    found = [one for one in re.findall(r"^```sql\n(.*?)^```", page, re.M | re.S) if "json_patch" in one and "RECURSIVE" in one]
    if len(found) != 1:
        raise NotWritten(f"docs/storage.md has {len(found)} queries that rebuild a body (WITH RECURSIVE, json_patch), not one")
    return found[0]


def revisions(database, query):
    """Every recorded body: (kind, group, namespace, name) to [(resourceVersion, body, states left out before it)] in order; no
    body where it was deleted."""
    found = {}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        listed = connection.execute(
            "SELECT r.id, k.kind, k.api_group, o.namespace, o.name, r.resource_version, ifnull(r.left_out, 0) FROM revision r"
            " JOIN tracked_object o ON o.id = r.id >> 24 JOIN tracked_kind k ON k.id = o.kind ORDER BY r.id"
        ).fetchall()
        for number, kind, group, namespace, name, version, left_out in listed:
            (body,) = connection.execute(query, (number,)).fetchone() or (None,)
            body = body and pruned(plain(json.loads(body)))
            found.setdefault((kind, group, namespace, name), []).append((int(version), body, left_out))
    return found


def compare_bodies(states, recorded, lost=None):
    """At each point that the watches showed: the body in force is that of the API server. `lost`: the first version of those of
    an object that cannot be read any more; they end with the next one that is recorded."""
    count, misses = Counter(), []
    for state in states:
        key = state["kind"], state["group"], state["namespace"], state["name"]
        chain = recorded.get(key, [])
        first = (lost or {}).get(key, 1 << 62)
        if first <= state["rv"] and not any(first <= one[0] <= state["rv"] for one in chain):
            count["lost in between"] += 1
            continue
        body = next((one[1] for one in reversed(chain) if one[0] <= state["rv"]), None)
        following = next((one for one in chain if one[0] > state["rv"]), None)
        what = f"{state['kind']} {state['namespace']}/{state['name']} at {state['rv']}"
        if body is None and not (following and following[2]):
            count["missing"] += 1
            misses.append(("no body", what))
            continue
        choices = [one for one in (state["body"], state["whole"]) if one is not None]
        found = min((unlike(body or {}, pruned(one)) for one in choices), key=len)
        custom = bool(re.search(r"kube9\.io$", state["group"]))
        if not found:
            count["equal"] += 1
        elif following and following[2]:
            count["left out"] += 1
        elif all(
            weight(state["kind"], leaf, False) == "silent"
            for leaf in differences(state["kind"], custom, body or {}, pruned(state["body"]))
        ):
            count["equal but for what makes no row"] += 1
        else:
            count["different"] += 1
            misses.append(
                (
                    "body",
                    f"{what}: {[(one[0], '.'.join(map(str, one[1])), str(one[2])[:50], str(one[3])[:50]) for one in found[:3]]}",
                )
            )
    return count, misses


# ---- the table


def table(lines, report, bodies, used, leaked):
    """As in the design: what a change history is asked for, and how much of it is there."""
    real = [line for line in lines if line["op"] != "none"]
    must = [line for line in real if line["required"]]
    updates = [line for line in must if line["op"] == "changed"]
    known = [line for line in must if line["op"] in ("created", "changed") and line["known"]]
    unknowable = [line for line in must if line["op"] in ("created", "changed") and not line["known"]]
    dead = [line for line in must if line["phase"] in DEAD]
    causes = [line for line in real if line["op"] == "deleted" and not line.get("by_client")]
    quiet = [line for line in lines if line["op"] == "none"]

    def part(whole, holds):
        return f"{sum(bool(holds(line)) for line in whole)}/{len(whole)}"

    def has(line):
        return line["number"] in report.matched

    def right(what):
        return lambda line: line.get(f"{what}_right")

    yield "any row", part(must, has)
    yield "updates with path, old and new value", part(updates, right("fields"))
    yield "right author, where the API server knows one", f"{part(known, right('author'))}, {report.count['author']} wrong"
    yield "unknown author, where it does not", part(unknowable, lambda line: has(line) and not line.get("author_right"))
    yield "changes made while the recorder was dead", part(dead, has)
    of_rows = part([line for line in causes if has(line)], right("cause"))
    wrong = f"{len(report.causes)} kinds right, {report.count['cause']} wrong"
    yield "cause of a deletion not made by a client", f"{of_rows} that have a row; {len(causes)} deletions, {wrong}"
    points = sum(bodies.values()) - bodies["lost in between"] if bodies else 0
    silent = bodies["equal but for what makes no row"] if bodies else 0
    left_out = f", {bodies['left out']} thinned" if bodies and bodies["left out"] else ""
    states = f"{bodies['equal']} equal and {silent} but for silent fields{left_out}, of {points}" if bodies else "not compared"
    yield "state at a past time", states
    yield f"rows for {len(quiet)} unwanted writes", str(report.count["unwanted"])
    yield "planted secrets kept", str(leaked)
    yield "CPU s / peak MiB", used


def sizes(lines, plan):
    """What the matrix is made of."""
    real = [line for line in lines if line["op"] != "none" and line["required"]]
    steps = [step for step in plan if step["expect"] != "nothing"]
    return {
        "changes": len(real),
        "planned": len(steps),
        "kinds": len({line["kind"] for line in real}),
        "ways": {step["way"] for step in steps},
        "classes": {step["class"] for step in steps},
        "unwanted": sum(step["expect"] == "nothing" for step in plan),
        "phases": Counter(line["phase"] for line in real),
    }
