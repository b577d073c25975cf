#!/usr/bin/env bash
# restore.sh: runs two recorders of all kinds against a real API server whose etcd is restored from an earlier copy, and
# which restarts. Every kind must be right again within a minute, and gap rows must be accurate to the second.
source "$(dirname "$0")/lib.sh"
need jq jq
need python3
python3 -c 'import yaml' 2>/dev/null || skip "no PyYAML"
need_service
find_binaries
cluster_up --control-plane-only
need kubectl

data=$work/restore
rm -rf "$data"
mkdir -p "$data"
user=$(recorder_user)
# Its lines are those of a check.
python3 -uB "$e2e/restore.py" "$cluster" "$user" "$recorder" "$query" "$data" | tee "$data/checks" || fail "restore.py"
passed=$(grep -c '^ok ' "$data/checks" || true)
mapfile -t -O "${#failed[@]}" failed < <(sed -n 's/^FAIL //p' "$data/checks")
((passed > 60)) || fail "restore.py came to its end: $passed checks"
finish
