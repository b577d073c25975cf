# shellcheck shell=bash disable=SC2154
# Sourced by cluster.sh: imports the history of the original operator from a claim, with the chart.

# original_database FILE ROWS: a database like the original operator's (alto9/kube9-operator), with rows of the last five days.
original_database() {
  sqlite3 "$1" >/dev/null <<SQL
PRAGMA journal_mode = WAL;
CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL, description TEXT);
INSERT INTO schema_version VALUES (1, '2025-12-02T10:30:45.000Z', 'Initial schema with events table');
CREATE TABLE events (id TEXT PRIMARY KEY, event_type TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL, description TEXT,
  object_kind TEXT, object_namespace TEXT, object_name TEXT, metadata TEXT, created_at TEXT NOT NULL);
CREATE INDEX idx_events_event_type ON events(event_type);
CREATE INDEX idx_events_severity ON events(severity);
CREATE INDEX idx_events_created_at ON events(created_at DESC);
CREATE INDEX idx_events_object_kind ON events(object_kind, object_namespace, object_name);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2),
  row AS (SELECT i, i % 100 = 99 AS own, unixepoch() - 431999 + i * 431000 / $2 AS at, i * 7 % 1000 AS ms, i % 700 AS pod FROM n)
INSERT INTO events
SELECT printf('evt_%s_%06x', strftime('%Y%m%d_%H%M%S', at, 'unixepoch'), (i * 7919 + 17) & 16777215), iif(own, 'operator', 'cluster'),
  CASE i % 7 WHEN 0 THEN 'warning' WHEN 3 THEN 'error' WHEN 5 THEN 'critical' ELSE 'info' END,
  iif(own, 'Operator started', 'Pod BackOff: web-' || pod),
  iif(own, NULL, 'Back-off restarting failed container app in pod web-' || pod || ', try ' || i),
  iif(own, NULL, 'Pod'), iif(own, NULL, 'team-' || i % 20), iif(own, NULL, 'web-' || pod),
  iif(own, NULL, json_object('reason', 'BackOff', 'count', i % 50 + 1,
    'first_timestamp', strftime('%Y-%m-%dT%H:%M:%S.000Z', at - 60, 'unixepoch'),
    'last_timestamp', strftime('%Y-%m-%dT%H:%M:%S.000Z', at, 'unixepoch'))),
  strftime('%Y-%m-%dT%H:%M:%S', at, 'unixepoch') || printf('.%03dZ', ms) FROM row;
SQL
}

history_of_the_original() {
  local rows=100000 volume begun id line
  k delete pvc history --ignore-not-found >/dev/null
  k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: history}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
YAML
  bound() { [[ $(k get pvc history -o jsonpath='{.status.phase}') == Bound ]]; }
  wait_for 30 "a claim for the history" bound || return 0
  volume=$(kubectl get pv "$(k get pvc history -o jsonpath='{.spec.volumeName}')" -o json |
    jq -r '.spec | (.hostPath // .local // .csi.volumeAttributes).path')
  original_database "$volume/kube9.db" "$rows"
  cp "$volume/kube9.db" "$work/original.db"

  begun=$(date +%s%N)
  upgrade --set import.existingClaim=history >/dev/null 2>"$work/helm.log" || fail "helm upgrade with the claim" "$(tail -5 "$work/helm.log")"
  ok "helm upgrade with the claim: ready after $((($(date +%s%N) - begun) / 1000000)) ms"
  line=$(k logs deploy/kube9 -c recorder | jq -c 'select(.message == "database imported")')
  say "$(jq -r '"\(.file): \(.rows) rows, \(.changed) changed, \(.skipped) skipped, in \(.seconds) s"' <<<"$line")," \
    "peak of the recorder $(awk '/^VmHWM/ {print $2}' "/proc/$(host_pid recorder)/status") KiB"
  contains "the row that says so" "^Imported $rows rows of kube9.db; 0 skipped\.$" \
    "$(ask events list --type=system --search='History imported' --limit=1 | jq -r '.events[0].description')"
  equals "the file is renamed, and no other file was created" "kube9.db.done" "$(ls "$volume")"

  # All ten columns, by all rows, as the two programs write them; metadata that is NULL is shown as an object without keys.
  sqlite3 "$work/original.db" "SELECT json_array(id, event_type, severity, title, description, object_kind, object_namespace,
    object_name, json(ifnull(metadata, '{}')), created_at) FROM events" | sort >"$work/original.rows"
  ask events export --format=jsonl | jq -c '[.id, .event_type, .severity, .title, .description, .object_kind, .object_namespace,
    .object_name, .metadata, .created_at]' | sort >"$work/recorded.rows"
  equals "rows of the original that are not in the record unchanged" 0 "$(comm -23 "$work/original.rows" "$work/recorded.rows" | wc -l)"
  equals "rows of it that are" "$rows" "$(comm -12 "$work/original.rows" "$work/recorded.rows" | wc -l)"
  equals "ids that the record has twice" 0 "$(jq -r '.[0]' "$work/recorded.rows" | sort | uniq -d | wc -l)"
  id=$(sqlite3 "$work/original.db" "SELECT id FROM events ORDER BY id LIMIT 1 OFFSET $((rows / 2))")
  equals "events get of one of them" "$id $(sqlite3 "$work/original.db" "SELECT created_at FROM events WHERE id = '$id'")" \
    "$(ask events get "$id" | jq -r '"\(.id) \(.created_at)"')"
  equals "the query container does not mount the claim" "" "$(k get pod "$(the_pod)" -o json |
    jq -r '.spec.containers[] | select(.name == "query").volumeMounts[] | select(.name == "import").mountPath')"
  wait_for 30 "status is operational" status_is_operational || true

  # The same file under another name, and a file that is not a database: no row is stored twice, and recording continues.
  cp "$work/original.db" "$volume/again.db"
  echo "not a database" >"$volume/broken.db"
  k rollout restart deploy/kube9 >/dev/null
  k rollout status deploy/kube9 --timeout=90s >/dev/null || fail "the recorder comes back with a broken file"
  contains "the same rows are skipped" "^Imported 0 rows of again.db; $rows skipped \($rows already recorded\)\.$" \
    "$(ask events list --type=system --search='again.db' --limit=1 | jq -r '.events[0].description')"
  names_the_broken_file() { ask status | jq -e '[.recorder.detail.checks[] | select(.name == "import" and (.message | contains("broken.db")))] | length == 1'; }
  wait_for 30 "status names the file that is not a database" names_the_broken_file || say "$(ask status | jq -c .recorder)"
  kubectl -n "$victims" run after-import --image=kube9.test/pause:1 --restart=Never >/dev/null 2>&1 || true
  wait_for 30 "and Events are recorded" has_row --object-namespace="$victims" --object-name=after-import || true
  upgrade >/dev/null 2>"$work/helm.log" || fail "helm upgrade without the claim" "$(tail -5 "$work/helm.log")"
  wait_for 30 "without the claim status is operational" status_is_operational || true
  k delete pvc history --wait=false >/dev/null
  rm -f "$work"/{original,recorded}.rows
}
