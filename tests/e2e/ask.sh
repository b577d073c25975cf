#!/usr/bin/env bash
# ask.sh: an incident on a real node, asked about as a person would. The truth is what the API server showed before and after
# each write. Each answer is printed and compared with it, and what kube9-query prints to take changes back is run.
source "$(dirname "$0")/lib.sh"
need python3
find_binaries
cluster_up
need kubectl

data=$work/ask
rm -rf "$data"
mkdir -p "$data"
# A cluster that was running may have them.
kubectl delete namespace shop --ignore-not-found >/dev/null
user=$(recorder_user)
address=127.0.0.1:$(free_port)
: >"$work/ask-recorder.log"
background ask-recorder "$recorder" serve --data-dir "$data" --listen "$address" --kubeconfig "$user" --log-format json
wait_for 60 "recorder is ready" curl -sf --noproxy '*' --max-time 10 "http://$address/readyz" ||
  die "no ready recorder" "$(tail -20 "$work/ask-recorder.log")"
# Its lines are those of a check.
KUBE9_DB=$data/kube9.db python3 -uB "$e2e/ask.py" "$query" "$data" | tee "$data/checks" || fail "ask.py"
passed=$((passed + $(grep -c '^ok ' "$data/checks" || true)))
mapfile -t -O "${#failed[@]}" failed < <(sed -n 's/^FAIL //p' "$data/checks")
((passed > 60)) || fail "ask.py came to its end: $passed checks"
finish
