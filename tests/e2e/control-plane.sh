#!/usr/bin/env bash
# control-plane.sh: runs the recorder as a process against a real API server (TLS, RBAC, etcd) with 20,000 Events.
# Each must be in the database exactly once and as the API server has it, although the recorder is stopped and killed
# in the middle of the load. Then kube9-query must return what the sqlite3 client returns.
#
# KUBE9_E2E_EVENTS  number of Events (20000)
source "$(dirname "$0")/lib.sh"
total=${KUBE9_E2E_EVENTS:-20000}
namespace=kube9-load-$$ # a new one, because a namespace that is being deleted accepts no objects
need jq jq
need sqlite3 sqlite3
need promtool prometheus
need curl curl
need python3
python3 -c 'import yaml' 2>/dev/null || skip "no PyYAML"
find_binaries
cluster_up --control-plane-only
need kubectl

data=$work/control-plane
rm -rf "$data" "$work/recorder.log"
mkdir -p "$data"
db=$data/kube9.db

# ---- a user who can read Events and nothing else
kubectl create namespace "$namespace" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
user=$(events_user)
refuses "the user cannot read pods" kubectl --kubeconfig "$user" get pods -A
check "the user can list Events" kubectl --kubeconfig "$user" get --raw '/api/v1/events?limit=1'

# This user can read Events only; with the analysis on, the recorder would be degraded, because five kinds are forbidden.
export KUBE9_ANALYSIS_ENABLED=false

start_recorder() {
  address=127.0.0.1:$(free_port)
  background recorder "$recorder" serve --data-dir "$data" --listen "$address" --kubeconfig "$user" --log-format json
  recorder_pid=$pid
}
http() { curl -sf --noproxy '*' --max-time 10 "http://$address/$1"; }
rows() { sql "$db" "SELECT count(*) FROM events WHERE object_namespace = '$namespace' AND event_type = 'cluster'"; }
has_rows() { (($(rows) >= $1)); }
used() { # CPU seconds and peak kB so far of the running recorder
  awk -v hz="$(getconf CLK_TCK)" '{printf "%.2f", ($14 + $15) / hz}' "/proc/$recorder_pid/stat"
  awk '/^VmHWM/ {print " " $2}' "/proc/$recorder_pid/status"
}

start_recorder
wait_for 60 "recorder is ready" http readyz || die "no ready recorder" "$(tail -20 "$work/recorder.log")"

# ---- the load; the recorder is stopped and then killed in the middle of it
background load kube events --kubeconfig "$KUBECONFIG" --namespace "$namespace" -n "$total" -c 16 -no-watch
load_pid=$pid
wait_for 120 "a fifth is recorded" has_rows $((total / 5)) || die "no rows" "$(tail -20 "$work/recorder.log")"
terminate "$recorder_pid"
equals "SIGTERM in the middle of the load: exit code" 0 "$status"
check "query reads while no recorder runs" "$query" --db "$db" events list --limit=1 --format=json
start_recorder
wait_for 120 "half is recorded" has_rows $((total / 2)) || die "no rows after a restart" "$(tail -20 "$work/recorder.log")"
terminate "$recorder_pid" KILL
equals "SIGKILL in the middle of the load: ended by it" 137 "$status"
check "query reads after SIGKILL" "$query" --db "$db" events list --limit=1 --format=json
start_recorder
status=0
wait "$load_pid" || status=$?
equals "$total Events created: exit code" 0 "$status"
say "$(tail -1 "$work/load.log")"
wait_for 120 "all $total are recorded" has_rows "$total" || true
say "CPU seconds and peak kB of the third process: $(used)"

# ---- exactly once, and as the API server has them
api_events "$namespace" >"$data/api.jsonl"
jq -r '[.metadata.uid, .involvedObject.kind, .involvedObject.namespace, .involvedObject.name, .reason, .type, .count,
        .firstTimestamp, .lastTimestamp, .source.component, .message] | @tsv' "$data/api.jsonl" | sort >"$data/api.tsv"
sql "$db" "SELECT json_extract(metadata, '$.uid'), object_kind, object_namespace, object_name, json_extract(metadata, '$.reason'),
                  json_extract(metadata, '$.type'), json_extract(metadata, '$.count'),
                  replace(json_extract(metadata, '$.first_timestamp'), '.000Z', 'Z'),
                  replace(json_extract(metadata, '$.last_timestamp'), '.000Z', 'Z'),
                  json_extract(metadata, '$.reporting_component'), description
             FROM events WHERE object_namespace = '$namespace' AND event_type = 'cluster'" | sort >"$data/db.tsv"
equals "the API server holds" "$total" "$(wc -l <"$data/api.tsv")"
equals "rows in the database" "$total" "$(wc -l <"$data/db.tsv")"
equals "uids that have two rows" "" "$(cut -f1 "$data/db.tsv" | uniq -d | head -3)"
check "every Event is there exactly once, field by field" diff "$data/api.tsv" "$data/db.tsv"
equals "occurrences, summed" "$total" "$(sql "$db" "SELECT sum(json_extract(metadata, '$.occurrences')) FROM events
  WHERE object_namespace = '$namespace' AND event_type = 'cluster'")"
equals "integrity of the database" ok "$(sql "$db" 'PRAGMA integrity_check')"
# Every uid that the API server has in any namespace.
{
  cat "$data/api.jsonl"
  while read -r other; do [[ $other == "$namespace" ]] || api_events "$other"; done < <(kubectl get namespaces -o name | sed 's:.*/::')
} | jq -r .metadata.uid | sort >"$data/api.uids"
all_are_there() {
  sql "$db" "SELECT DISTINCT json_extract(metadata, '$.uid') FROM events WHERE event_type = 'cluster'" | sort >"$data/db.uids"
  ! comm -23 "$data/api.uids" "$data/db.uids" | grep .
}
wait_for 15 "Events of all namespaces are there: $(wc -l <"$data/api.uids")" all_are_there || true

# ---- the recorder's metrics
http metrics >"$data/metrics.txt" || fail "/metrics answers"
check "promtool check metrics" promtool check metrics <"$data/metrics.txt"
# metric NAME [LABEL]: the sum of its series, of those that have the label.
metric() { awk -v name="$1" -v label="${2:-}" '$0 ~ "^" name "[ {]" && index($0, label) {sum += $NF} END {printf "%d", sum}' "$data/metrics.txt"; }
accounted=$(($(metric kube9_events_stored_total) + $(metric kube9_events_folded_total) + $(metric kube9_events_duplicate_total) +
  $(metric kube9_events_deleted_total) + $(metric kube9_events_filtered_total) + $(metric kube9_events_skipped_total) +
  $(metric kube9_queue_dropped_total 'item="event"') + $(metric kube9_events_pending)))
equals "the account: received = sum of the outcomes" "$(metric kube9_events_received_total)" "$accounted"
equals "dropped" 0 "$(metric kube9_events_dropped_total)"
equals "skipped" 0 "$(metric kube9_events_skipped_total)"
counts_its_rows() {
  http metrics >"$data/metrics.txt" && [[ $(metric kube9_rows) == "$(sql "$db" 'SELECT count(*) FROM events')" ]]
}
wait_for 75 "kube9_rows is the number of rows" counts_its_rows || true
size=$(($(stat -c %s "$db") + $(stat -c %s "$db-wal" 2>/dev/null || echo 0)))
say "database: $size bytes, $((size / total)) an Event, dedup and WAL included"

# ---- kube9-query
ask() { "$query" --db "$db" "$@"; }
check "status is JSON, operational" status_is_operational
list() { ask events list --object-namespace="$namespace" --type=cluster "$@"; } # JSON, because stdout is not a terminal
list --limit=1000 >"$data/page.json"
check "the total is exact" jq -e ".pagination.total == $total" "$data/page.json"
: >"$data/ids"
next=$(jq -r '.pagination.next // ""' "$data/page.json")
jq -r '.events[].id' "$data/page.json" >>"$data/ids"
while [[ -n $next ]]; do
  list --limit=1000 --after="$next" >"$data/next.json" || { fail "page after $next"; break; }
  jq -r '.events[].id' "$data/next.json" >>"$data/ids"
  next=$(jq -r '.pagination.next // ""' "$data/next.json")
done
equals "pages by cursor: rows" "$total" "$(wc -l <"$data/ids")"
equals "pages by cursor: distinct" "$total" "$(sort -u "$data/ids" | wc -l)"
check "newest first" jq -e '[.events[].created_at] | . == (sort | reverse)' "$data/page.json"
list --limit=200 --format=yaml >"$data/page.yaml"
same_in_yaml() {
  python3 -c 'import json, sys, yaml
a = yaml.safe_load(open(sys.argv[1])); b = json.load(open(sys.argv[2]))
sys.exit(a["events"] != b["events"][:200])' "$data/page.yaml" "$data/page.json"
}
check "YAML says what JSON says, to another parser" same_in_yaml
id=$(jq -r '.events[7].id' "$data/page.json")
equals "get is the row of the list" "$(jq -cS '.events[7]' "$data/page.json")" "$(ask events get "$id" --format=json | jq -cS .)"
refuses "an unknown id" ask events get evt_20000101_000000_000000
contains "a table for people" "Load|pod-[0-9]" "$(list --limit=5 --format=table | cat)"

# ---- an API server that restarts
if [[ -z $keep ]]; then
  "$cluster/restart" apiserver >>"$work/cluster.log" 2>&1 || fail "restart of the API server" "$(tail -3 "$work/cluster.log")"
  check "Events after the restart are created" \
    kube events --kubeconfig "$KUBECONFIG" --namespace "$namespace" -n 50 -c 4 -no-watch
  wait_for 90 "and recorded" has_rows $((total + 50)) || true
  equals "still no uid has two rows" "" "$(sql "$db" "SELECT json_extract(metadata, '$.uid') AS uid FROM events
    WHERE object_namespace = '$namespace' AND event_type = 'cluster' GROUP BY uid HAVING count(*) > 1 LIMIT 3")"
fi

terminate "$recorder_pid"
equals "SIGTERM at the end: exit code" 0 "$status"
equals "rows after the end" "$(rows)" "$(list --limit=1 | jq .pagination.total)"
lacks "the log holds no token and no key" "PRIVATE KEY|client-key-data|Bearer " "$(cat "$work/recorder.log")"
if [[ -n $keep ]]; then
  kubectl delete namespace "$namespace" --wait=false >/dev/null
  kubectl delete clusterrole,clusterrolebinding kube9-e2e-events >/dev/null
fi
finish
