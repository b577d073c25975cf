#!/usr/bin/env bash
# normal-life.sh [MINUTES]: an hour (60) of what happens in a healthy cluster, recorded with default thresholds. Every
# finding must be one that is listed at the end of this script with its justification; any other one is noise.
source "$(dirname "$0")/lib.sh"
minutes=${1:-60}
space=shop
need jq jq
need curl curl
[[ $(id -u) == 0 ]] || skip "the cluster needs root"
find_binaries
cluster_up
need kubectl
need helm

data=$work/normal-life
rm -rf "$data" "$work/normal-life.log"
mkdir -p "$data"
node=$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')
s() { kubectl -n "$space" "$@"; }
ask() { "$query" --db "$data/kube9.db" "$@"; }

user=$(recorder_user)
address=127.0.0.1:$(free_port)
background normal-life env -u KUBE9_E2E_BIN -u KUBE9_E2E_CLUSTER -u KUBE9_E2E_KEEP "$recorder" serve --data-dir "$data" --listen "$address" --kubeconfig "$user" --log-format json
wait_for 60 "recorder is ready" curl -sf --noproxy '*' "http://$address/readyz" || die "no recorder" "$(tail -20 "$work/normal-life.log")"

# ---- what runs: each workload as a careful team writes it
resources='resources: {requests: {cpu: 5m, memory: 8Mi}, limits: {memory: 32Mi}}'
probe='readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 2}, livenessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 5}'
serve='trap "exit 0" TERM; mkdir -p /tmp/www; echo ok >/tmp/www/index.html; httpd -f -p 8080 -h /tmp/www & wait'
busybox=kube9.test/busybox:1

workloads() {
  cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers: [{name: app, image: "$busybox", command: [sh, -c, '$serve'], ports: [{containerPort: 8080}], $resources, $probe}]
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web}, spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  replicas: 1
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec:
      terminationGracePeriodSeconds: 2
      # It ignores SIGTERM: each of its pods ends with SIGKILL and 137.
      initContainers: [{name: proxy, image: "$busybox", restartPolicy: Always, command: [sleep, "100000"], $resources}]
      containers: [{name: app, image: "$busybox", command: [sleep, "100000"], $resources}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 5
      containers: [{name: db, image: "$busybox", command: [sh, -c, '$serve'], $resources, $probe, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
---
# Members find each other before they are ready.
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: db}, ports: [{port: 8080}]}}
---
# Only one pod is the primary; an operator moves the label. No replica exists at first.
{apiVersion: v1, kind: Service, metadata: {name: db-primary}, spec: {selector: {app: db, role: primary}, ports: [{port: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db-replica}, spec: {selector: {app: db, role: replica}, ports: [{port: 8080}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 2
      tolerations: [{operator: Exists}]
      containers: [{name: agent, image: "$busybox", command: [sleep, "100000"], $resources}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: app, image: "$busybox", command: [sh, -c, "sleep 3"], $resources}]
YAML
}

# A Service whose pods run elsewhere, as monitoring stacks create them for a managed control plane.
elsewhere() { echo '{apiVersion: v1, kind: Service, metadata: {name: kube-scheduler, namespace: kube-system}, spec: {clusterIP: None, selector: {component: kube-scheduler}, ports: [{port: 10259}]}}'; }

job() { # job NAME COMMAND [BACKOFF]: with a native sidecar that ignores SIGTERM
  cat <<YAML
apiVersion: batch/v1
kind: Job
metadata: {name: $1}
spec:
  backoffLimit: ${3:-2}
  ttlSecondsAfterFinished: 60
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 2
      initContainers: [{name: sidecar, image: "$busybox", restartPolicy: Always, command: [sleep, "100000"], $resources}]
      containers: [{name: app, image: "$busybox", command: [sh, -c, '$2'], $resources}]
YAML
}

condition() { # condition TYPE STATUS REASON MESSAGE: as a node problem detector writes it
  local now
  now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  kubectl patch node "$node" --subresource=status --type=strategic -p \
    "{\"status\":{\"conditions\":[{\"type\":\"$1\",\"status\":\"$2\",\"reason\":\"$3\",\"message\":\"$4\",\"lastTransitionTime\":\"$now\",\"lastHeartbeatTime\":\"$now\"}]}}" >/dev/null
}

status_map() { # an autoscaler rewrites its status every ten seconds
  while :; do
    kubectl -n kube-system create configmap cluster-autoscaler-status --from-literal=status="time: $(date -u)" \
      --dry-run=client -o yaml | kubectl apply -f - >/dev/null 2>&1 || true
    sleep 10
  done
}

disk_was_full=0
quiet() {
  sleep "$1"
  if (($(df --output=pcent "$data" | tail -1 | tr -dc 0-9) > 80)); then disk_was_full=1; fi
}
did() { say "$(date -u +%H:%M:%S) $*"; }

kubectl create namespace "$space" >/dev/null
did "install"
workloads | s apply -f - >/dev/null
elsewhere | kubectl apply -f - >/dev/null
condition KernelDeadlock False KernelHasNoDeadlock "kernel has no deadlock"
condition ReadonlyFilesystem False FilesystemIsNotReadOnly "filesystem is not read-only"
background status-map status_map
s rollout status deployment/web statefulset/db --timeout=120s >/dev/null || fail "the workloads run"
s label pod db-0 role=primary >/dev/null
end=$((SECONDS + minutes * 60)) round=0
while ((SECONDS < end)); do
  round=$((round + 1))
  did "round $round: a Job with a native sidecar, one that succeeds at its second attempt"
  job "migrate-$round" "sleep 5" | s apply -f - >/dev/null
  # The first attempt is too early, the second follows after 10 s.
  job "flaky-$round" "test \$(date +%s) -ge $(($(date +%s) + 9)) || exit 1; sleep 2" | s apply -f - >/dev/null
  quiet 60
  did "scale 3 -> 6 -> 2 -> 3"
  s scale deployment/web --replicas=6 >/dev/null
  quiet 30
  s scale deployment/web --replicas=2 >/dev/null
  quiet 30
  s scale deployment/web --replicas=3 >/dev/null
  did "roll out, roll back, restart"
  s set env deployment/web ROUND="$round" >/dev/null
  s rollout status deployment/web --timeout=120s >/dev/null || fail "rollout"
  s rollout undo deployment/web >/dev/null
  s rollout restart deployment/worker daemonset/agent statefulset/db >/dev/null
  s rollout status deployment/web statefulset/db --timeout=120s >/dev/null || fail "rollback and restart"
  s label pod db-0 role=primary --overwrite >/dev/null
  quiet 45
  did "scale to zero over a break, and back"
  s scale deployment/worker --replicas=0 >/dev/null
  quiet 30
  s scale deployment/worker --replicas=1 >/dev/null
  did "a pod is deleted"
  s delete pod -l app=web --field-selector=status.phase=Running --wait=false >/dev/null
  quiet 45
  did "cordon, drain, uncordon"
  kubectl cordon "$node" >/dev/null
  kubectl drain "$node" --ignore-daemonsets --delete-emptydir-data --force --timeout=40s >"$work/drain.log" 2>&1 || true
  quiet 15
  kubectl uncordon "$node" >/dev/null
  s rollout status deployment/web statefulset/db --timeout=120s >/dev/null || fail "pods are back after the drain"
  s label pod db-0 role=primary --overwrite >/dev/null
  quiet 60
  did "a node problem, for three minutes"
  condition ReadonlyFilesystem True FilesystemIsReadOnly "EXT4-fs (sda1): remounting filesystem read-only"
  quiet 180
  condition ReadonlyFilesystem False FilesystemIsNotReadOnly "filesystem is not read-only"
  quiet 60
done
did "the end; findings close"
quiet 60

# ---- every finding, and why it is there: RULE SEVERITY OBJECT-GLOB JUSTIFICATION
justified() {
  cat <<'LIST'
NodeProblem error Node/* its file system is read-only for three minutes of each round
ContainerExitedWithError warning Pod/flaky-* an attempt of a Job fails: a warning, since the Job starts another
TerminationMessageMissing info Job/flaky-* that attempt fails without a word, and its log is not its message
ServiceSelectsNoPod info Service/kube-scheduler a fact about a Service whose control plane is elsewhere
ServiceSelectsNoPod info Service/db-replica a fact about a database without a replica
DefaultTokenMounted info Namespace/shop the manifests leave the token mounted
LIST
  # The disk of the machine that runs this is not part of the cluster's life.
  if ((disk_was_full)); then echo 'RecorderDiskNearlyFull warning null/null the disk of this machine was nearly full'; fi
}
ask events list --type=health,insight,assessment,operator --limit=1000 >"$work/normal-life.json"
say "rows: $(ask events stats --by=type --format=csv | tail -n +2 | tr '\n' ' ')"
say "findings:"
jq -r '.events[] | select(.metadata.finding) | [.created_at, .severity, .metadata.rule, "\(.object_kind)/\(.object_name)", .title, .description] | @tsv' \
  "$work/normal-life.json" | sort | cut -c1-260 | sed 's/^/     /'
unjustified=$(jq -r '.events[] | select(.metadata.finding) | (.metadata.severity_was // .severity) as $severity
    | "\(.metadata.rule) \($severity) \(.object_kind)/\(.object_name)"' "$work/normal-life.json" | sort | uniq -c |
  while read -r count rule severity object; do
    found=
    while read -r known at glob _; do
      # shellcheck disable=SC2053
      if [[ $rule == "$known" && $severity == "$at" && $object == $glob ]]; then found=1; fi
    done < <(justified)
    [[ -n $found ]] || echo "$count x $rule $severity $object"
  done)
equals "no finding without a justification" "" "$unjustified"
contains "the node's problem is found" "FilesystemIsReadOnly|ead-only" "$(cat "$work/normal-life.json")"
equals "the recorder logs no warning" "" "$(jq -r 'select(.level | IN("WARN", "ERROR")) | .fields.message // .message' "$work/normal-life.log" | sort | uniq -c)"
finish
