#!/usr/bin/env bash
# blackout.sh: runs two recorders against a failing real API server, and compares them with what it accepted.
# Events live for 40 s, and etcd is compacted every 5 s, so that what takes hours elsewhere takes seconds here.
#
#   "near" meets every fault: stopped across a compaction (410), connections interrupted, API server killed and restarted,
#          etcd killed, a network that hangs. It never stops watching for longer than the lifetime of Events, so it must
#          have every one.
#   "far"  is killed and stays down for longer than the lifetime of Events. A gap row must cover those that expired.
source "$(dirname "$0")/lib.sh"
namespace=kube9-blackout-$$
need jq jq
need curl curl
need python3
python3 -c 'import yaml' 2>/dev/null || skip "no PyYAML"
need_service
find_binaries
export KUBE9_APISERVER_ARGS='--event-ttl=40s --etcd-compaction-interval=5s --min-request-timeout=20'
cluster_up --control-plane-only
need kubectl
if [[ -n $keep ]]; then "$cluster/restart" apiserver >>"$work/cluster.log" 2>&1; fi # it may run without the arguments

data=$work/blackout
rm -rf "$data" "$work"/recorder-{near,far}.log "$work"/{load,look}.log
mkdir -p "$data"
kubectl create namespace "$namespace" >/dev/null
user=$(events_user)

# Times that fit a lifetime of 40 s. Everything else is the default.
cat >"$data/config.yaml" <<'YAML'
source:
  event_ttl: 40s
  watch_timeout: 30s
  read_slack: 5s
  idle_renewal: 5s
  list_timeout: 3s
  connect_timeout: 3s
  backoff: {max: 3s}
analysis: {enabled: false}
log: {format: json}
YAML

declare -A address pid_of
for name in near far; do address[$name]=127.0.0.1:$(free_port); done
start_recorder() { # start_recorder NAME
  background "recorder-$1" "$recorder" serve --config "$data/config.yaml" --data-dir "$data/$1" \
    --listen "${address[$1]}" --kubeconfig "$user"
  pid_of[$1]=$pid
}
http() { curl -s --noproxy '*' --max-time 3 "http://${address[$1]}/$2"; }
is_healthy() { [[ $(http "$1" healthz | jq -r .status) == healthy ]]; }
# names NAME PATTERN: /healthz is degraded, and the message of a check matches.
names() {
  local said
  said=$(http "$1" healthz | jq -r 'select(.status == "degraded") | .checks[] | .message // empty')
  grep -E "$2" <<<"$said"
}
process() { "$cluster/service" "$@" >>"$work/cluster.log" 2>&1; }
forward_pid() { "$cluster/service" status | sed -n 's/^forward running, pid //p'; }

start_recorder near
start_recorder far
for name in near far; do
  wait_for 60 "$name is healthy" is_healthy "$name" || die "no recorder" "$(tail -20 "$work/recorder-$name.log")"
done
background load python3 "$e2e/blackout.py" write "$KUBECONFIG" "$namespace" "$data/truth.json"
load_pid=$pid
background look python3 "$e2e/blackout.py" look "$data/look.json" "near=${address[near]}" "far=${address[far]}"
look_pid=$pid
sleep 2

# First, because a restart of etcd restarts the lifetime of every Event.
process kill etcd || fail "SIGKILL of etcd"
wait_for 25 "an API server without etcd is named" names near 'no response|500|503|504|timeout|timed out|closed|ends' || true
process start etcd || fail "start of etcd"
terminate "${pid_of[far]}" KILL
far_down=$SECONDS
wait_for 40 "healthy after etcd was killed" is_healthy near || true

terminate "${pid_of[near]}"
equals "near is stopped: exit code" 0 "$status"
sleep 12 # two compactions: the position is lost
start_recorder near
wait_for 30 "near is back, across compactions" is_healthy near || true

process restart forward || fail "restart of the forwarder"
wait_for 30 "healthy after all connections were cut" is_healthy near || true

process kill apiserver || fail "SIGKILL of the API server"
wait_for 10 "an API server that is down is named" names near 'connection|connect|reset|closed' || true
process start apiserver || fail "start of the API server"
wait_for 30 "healthy after the API server was killed" is_healthy near || true

kill -STOP "$(forward_pid)"
wait_for 25 "a network that hangs is named" names near 'no response|elapsed|timed out' || true
kill -CONT "$(forward_pid)"
wait_for 30 "healthy after the network hung" is_healthy near || true

process restart apiserver || fail "restart of the API server"
wait_for 30 "healthy after the API server was restarted" is_healthy near || true

# The lease of an Event is up to 3 s longer than its lifetime, because Events of one time share a lease.
rest=$((far_down + 48 - SECONDS))
if ((rest > 0)); then sleep "$rest"; fi
say "far was down for $((SECONDS - far_down)) s, Events live for 40 s"
start_recorder far
wait_for 30 "far is healthy" is_healthy far || true
sleep 3

terminate "$load_pid"
equals "the load: exit code" 0 "$status"
say "$(tail -1 "$work/load.log")"
check "enough Events for a judgement" jq -e '(.events | length) > 1000 and .writes > 3000' "$data/truth.json"
if said=$(python3 "$e2e/blackout.py" compare "$data/truth.json" "near=$data/near/kube9.db" "far=$data/far/kube9.db"); then
  ok "nothing lost, doubled, wrong or unaccounted"
else
  fail "nothing lost, doubled, wrong or unaccounted"
fi
sed 's/^/     /' <<<"$said"
contains "near has lost no Event to a gap" "^near: .* died in a gap that says so 0$" "$said"
contains "near has a gap row for the compaction" "^near: gap expired, .* recovery (complete|partial)" "$said"
lacks "near's gaps were all shorter than Events live" "^near: gap .* recovery none" "$said"
contains "far's gap row has severity error and recovery=none" "^far: gap expired, .* recovery none, error" "$said"
contains "and covers the Events that expired" "^far: .* died in a gap that says so [1-9]" "$said"

terminate "$look_pid"
check "the account balances in every scrape: $(jq -c '[.[].scrapes]' "$data/look.json")" \
  jq -e 'all(.[]; .scrapes > 20 and .unbalanced == [] and .dropped == 0)' "$data/look.json"
for name in near far; do
  terminate "${pid_of[$name]}"
  equals "$name ends in order" 0 "$status"
done
if [[ -n $keep ]]; then kubectl delete namespace "$namespace" --wait=false >/dev/null; fi
finish
