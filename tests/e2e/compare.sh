#!/usr/bin/env bash
# compare.sh: compares kube9 with other ways to keep Events, on one real API server with the same load and faults.
# Not part of .ci/run, because it needs an OpenTelemetry Collector. docs/comparison.md has its table.
#
#   OTELCOL=FILE  an OpenTelemetry Collector with the k8sobjects receiver and the file exporter
#
# All run at the same time: started; killed (SIGKILL) in the middle of the load and started again 10 s later; then the API
# server is restarted. At the end, the result of each is compared with what the API server accepted.
source "$(dirname "$0")/lib.sh"
collector=${OTELCOL:-}
[[ -x $collector ]] || skip "OTELCOL names no collector"
namespace=kube9-compare-$$
need jq jq
need python3
python3 -c 'import yaml' 2>/dev/null || skip "no PyYAML"
need_service
find_binaries
cluster_up --control-plane-only
need kubectl

data=$work/compare
rm -rf "$data"
mkdir -p "$data"
kubectl create namespace "$namespace" >/dev/null
user=$(events_user)
cat >"$data/otelcol.yaml" <<YAML
receivers:
  k8sobjects:
    auth_type: kubeConfig
    objects: [{name: events, group: "", mode: watch}]
exporters:
  file: {path: $data/otelcol.json, append: true}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [k8sobjects], exporters: [file]}}
YAML

names=(kube9 collector kubectl)
declare -A pid_of cpu_of=([kube9]=0 [collector]=0 [kubectl]=0) peak_of=([kube9]=0 [collector]=0 [kubectl]=0)
start() { # start NAME
  case $1 in
  kube9)
    KUBE9_ANALYSIS_ENABLED=false background compare-kube9 "$recorder" serve --data-dir "$data/kube9" \
      --listen "127.0.0.1:$(free_port)" --kubeconfig "$user" ;;
  collector) KUBECONFIG=$user background compare-collector "$collector" --config "$data/otelcol.yaml" ;;
  # As a script would do it: a watch written to a file.
  kubectl)
    bash -c 'exec "$@" >>"$0"' "$data/kubectl.json" kubectl --kubeconfig "$user" get events -A --watch -o json \
      2>>"$work/compare-kubectl.log" &
    pid=$!
    pids+=("$pid") ;;
  esac
  pid_of[$1]=$pid
}
note_usage() { # note_usage NAME: adds the CPU ticks of the process that is about to end
  local ticks peak
  ticks=$(awk '{print $14 + $15}' "/proc/${pid_of[$1]}/stat") || return 0
  peak=$(awk '/^VmHWM/ {print $2}' "/proc/${pid_of[$1]}/status")
  cpu_of[$1]=$((cpu_of[$1] + ticks))
  ((peak <= peak_of[$1])) || peak_of[$1]=$peak
}

for name in "${names[@]}"; do start "$name"; done
sleep 5
KUBE9_LOAD_PER_SECOND=${KUBE9_LOAD_PER_SECOND:-200} \
  background load python3 "$e2e/blackout.py" write "$KUBECONFIG" "$namespace" "$data/truth.json"
load_pid=$pid
sleep 30
for name in "${names[@]}"; do
  note_usage "$name"
  terminate "${pid_of[$name]}" KILL
done
sleep 10
for name in "${names[@]}"; do start "$name"; done
sleep 20
"$cluster/service" restart apiserver >>"$work/cluster.log" 2>&1 || fail "restart of the API server"
# A process that has ended is started again, as a supervisor would do.
for _ in {1..30}; do
  sleep 1
  for name in "${names[@]}"; do
    kill -0 "${pid_of[$name]}" 2>/dev/null || { say "$name has ended and is started again"; start "$name"; }
  done
done
terminate "$load_pid"
say "$(tail -1 "$work/load.log")"
sleep 10
for name in "${names[@]}"; do
  note_usage "$name"
  terminate "${pid_of[$name]}"
done
hertz=$(getconf CLK_TCK)
for name in "${names[@]}"; do
  echo "$name ${cpu_of[$name]} $hertz ${peak_of[$name]}"
done >"$data/usage"
python3 "$e2e/compare.py" "$data" | tee "$data/table.md"
ok "the table is in ${data#"$root"/}/table.md"
finish
