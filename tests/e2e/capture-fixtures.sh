#!/usr/bin/env bash
# shellcheck disable=SC2317,SC2119,SC2154
# capture-fixtures.sh: causes every problem that the rules detect, as far as one node allows, in a real cluster, and
# stores the objects: recorder/rules/tests/fixtures/objects/SCENE.json, one moment per line.
#
# The cases of the rules read them (recorder/rules/src/rules). Run it again for another version of Kubernetes;
# `git diff` then shows the differences. Objects are stored unchanged, but without managedFields and without the numbers
# that identify this machine.
#
# docs/testing.md ("Captured objects") lists what it cannot cause, and which parts are added by hand.
#
# usage: capture-fixtures.sh [SCENE...]   default: all
# KUBE9_E2E_FIXTURES  where to write (default: the repository's)
source "$(dirname "$0")/lib.sh"
need jq jq
need_service
cluster_up
need kubectl
fixtures=${KUBE9_E2E_FIXTURES:-$root/recorder/rules/tests/fixtures/objects}
mkdir -p "$fixtures"
moments=$work/moments
rm -rf "$moments"
mkdir -p "$moments"
busybox=kube9.test/busybox:1
node=$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')
wanted=("$@")

# ---- how a scene is stored

# moment SCENE NAME: the objects of the scene's namespace as they are now; with=node: the node, too.
moment() {
  local scene=$1 name=$2 kinds=configmaps,services,deployments.apps,pods,events
  {
    [[ -z ${with:-} ]] || kubectl get nodes -o json
    kubectl -n "$scene" get "$kinds" -o json
  } | jq -sc --arg name "$name" '
    def without_machine: if .kind == "Node" then
        .status.nodeInfo |= (.machineID = "0" | .systemUUID = "0" | .bootID = "0")
        | del(.status.images) else . end;
    {name: $name, at: (now | todate), objects: [.[].items[] | del(.metadata.managedFields)
      | select((.kind == "ConfigMap" and .metadata.name == "kube-root-ca.crt") | not)
      | select(.kind != "Event" or .reason == "Killing")
      | without_machine]}' >>"$moments/$scene"
}

scenes=()
# scene NAME: begins a scene in a namespace of its own; its objects come from stdin.
scene() {
  local name=$1 one
  if ((${#wanted[@]})); then
    for one in "${wanted[@]}"; do [[ $one != "$name" ]] || break; done
    if [[ $one != "$name" ]]; then
      cat >/dev/null
      return 0
    fi
  fi
  scenes+=("$name")
  kubectl create namespace "$name" >/dev/null
  until_true 20 kubectl -n "$name" get serviceaccount default || die "$name: no service account"
  kubectl -n "$name" apply -f - >/dev/null
}
has() { # has SCENE: it is being captured
  local one
  for one in "${scenes[@]}"; do [[ $one != "$1" ]] || return 0; done
  return 1
}

# pods SCENE FILTER: a jq expression that every pod must satisfy; there must be one.
pods() { kubectl -n "$1" get pods -o json | jq -e "[.items[]] | length > 0 and all(.[]; $2)" >/dev/null; }
any_pod() { kubectl -n "$1" get pods -o json | jq -e "any(.items[]; $2)" >/dev/null; }
gone() { ! pods "$1" true; }
deployment() { kubectl -n "$1" get deployment web -o json | jq -e "$2" >/dev/null; }
ready='any(.status.conditions[]?; .type == "Ready" and .status == "True")'
only_ready() { pods "$1" "$ready and .metadata.deletionTimestamp == null"; }
waits() { echo "any(.status.containerStatuses[]?; .state.waiting.reason == \"$1\")"; }
restarts() { echo "any(.status.containerStatuses[]?; .restartCount >= $1)"; }
patch() { kubectl -n "$1" patch "$2" --type="${4:-strategic}" -p "$3" >/dev/null; }

# web REPLICAS [CONTAINER [POD-SPEC [SPEC]]]: a Deployment `web`; what is added are fields of YAML.
# image and resources of its container come from variables of these names.
web() {
  cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: $1
  ${4:-}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      containers: [{name: app, image: "${image:-$busybox}", resources: ${resources:-$modest}${2:+, $2}}]
      ${3:-}
---
YAML
}
service() { # service PORT-FIELDS [SELECTOR]
  cat <<YAML
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: ${2:-web}}, ports: [{port: 80, $1}]}
---
YAML
}
modest='{requests: {cpu: 1m, memory: 1Mi}, limits: {memory: 32Mi}}'
sleeps='command: [sleep, "100000"]'

# ---- the scenes

begin_all() {
  scene crash-loop < <(web 3 'command: [sh, -c, "exit 3"]')
  scene image-pull < <(image=registry.invalid/none:1 web 1)
  scene config-error < <(web 1 "$sleeps, env: [{name: MODE, valueFrom: {configMapKeyRef: {name: conf, key: mode}}}]")
  scene unschedulable < <(web 2 "$sleeps" 'nodeSelector: {no.such/label: "1"}')
  scene not-ready < <(
    web 2 "$sleeps, readinessProbe: {exec: {command: [test, -f, /tmp/ready]}, periodSeconds: 1}"
    service 'targetPort: 80'
  )
  scene terminating <<YAML
apiVersion: v1
kind: Pod
metadata: {name: held, finalizers: [kube9.test/hold]}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: "$busybox", $sleeps}]
YAML
  scene evicted <<YAML
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  containers:
    - name: app
      image: $busybox
      command: [sh, -c, "dd if=/dev/zero of=/data/x bs=1M count=8; sleep 1000"]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {sizeLimit: 1Mi}}]
YAML
  scene job <<YAML
apiVersion: batch/v1
kind: Job
metadata: {name: nightly}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: app, image: "$busybox", command: [sh, -c, "exit 3"]}]}}
YAML
  scene service-no-pods < <(
    web 1 "$sleeps"
    service 'targetPort: 80' absent
  )
  scene target-port < <(
    web 1 "$sleeps, ports: [{name: http, containerPort: 8080}]"
    service 'targetPort: htpp'
  )
  scene rollout < <(web 1 "$sleeps" '' 'progressDeadlineSeconds: 10')
  scene quota < <(
    printf '%s\n' '{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {pods: "0"}}}' ---
    web 1 "$sleeps"
  )
  scene creating < <(web 1 "$sleeps, volumeMounts: [{name: keys, mountPath: /keys}]" \
    'volumes: [{name: keys, secret: {secretName: absent}}]')
  scene config-change < <(
    web 1 'command: [sh, -c, "while grep -q good /conf/mode; do sleep 0.1; done; exit 4"],
      volumeMounts: [{name: conf, mountPath: /conf}]' 'volumes: [{name: conf, configMap: {name: conf}}]'
    echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {mode: good}}'
  )
  # Every careless setting in one Deployment; the values are those given here.
  scene careless <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      hostPID: true
      containers:
        - name: app
          image: kube9.test/busybox
          imagePullPolicy: Never
          command: [sleep, "100000"]
          securityContext: {privileged: true}
          env: [{name: DB_PASSWORD, value: planted-env-literal}]
          volumeMounts: [{name: logs, mountPath: /logs}]
      volumes: [{name: logs, hostPath: {path: /var/log}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {db-password: planted-config-value, mode: a}
---
$(service 'targetPort: 80')
YAML
  # A run a minute, each a Job of its own with the minute in its name.
  scene cron-job <<YAML
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: app, image: "$busybox", command: [sleep, "1"]}]
YAML
  scene full-node < <(resources='{requests: {cpu: 1930m, memory: 1Mi}, limits: {memory: 32Mi}}' web 1 "$sleeps")
  scene node < <(web 2 "$sleeps")
}

# look SCENE NAME SECONDS WHAT COMMAND... [-- node]: waits, then keeps the moment.
look() {
  local scene=$1 name=$2 seconds=$3
  shift 3
  has "$scene" || return 0
  until_true "$seconds" "$@" || {
    fail "$scene: $name" "$(kubectl -n "$scene" get pods -o json | jq -c '.items[].status | {phase, reason, containerStatuses}')"
    return 0
  }
  moment "$scene" "$name"
  ok "$scene: $name"
}
repair() { # repair SCENE COMMAND...
  local name=$1
  shift
  has "$name" || return 0
  "$@" >/dev/null || fail "$name: repair"
}

kubectl wait --for=condition=Ready --timeout=60s "node/$node" >/dev/null || die "the node is not ready"
begin_all

look rollout well 60 only_ready rollout
repair rollout kubectl -n rollout set image deployment/web app=registry.invalid/none:2
look config-change well 60 only_ready config-change
repair config-change kubectl -n config-change patch configmap conf -p '{"data": {"mode": "bad"}}'
look config-change changed 5 true
repair config-change kubectl -n config-change annotate pods --all kube9.test/now=1

# One kill each: the rule counts them within an hour. They start one after the other, and a run takes some seconds, so
# that no kill is missed.
scene out-of-memory < <(resources='{limits: {memory: 24Mi}}' web 1 'command: [sh, -c, "sleep 4; tail /dev/zero"]')
for kill in 1 2 3; do look out-of-memory "kill-$kill" 120 any_pod out-of-memory "$(restarts "$kill") and any(.status.containerStatuses[]; .lastState.terminated.reason == \"OOMKilled\")"; done
# It exits with 0 on SIGTERM, as a well-written server does, so that no exit code shows that a probe failed.
scene liveness < <(web 1 'command: [sh, -c, "trap exit TERM; while :; do sleep 0.1; done"],
  livenessProbe: {exec: {command: [test, -f, /tmp/alive]}, initialDelaySeconds: 8, periodSeconds: 2, failureThreshold: 1}')
for kill in 1 2 3; do look liveness "kill-$kill" 120 any_pod liveness "$(restarts "$kill")"; done
look image-pull bad 60 pods image-pull "$(waits ImagePullBackOff)"
look config-error bad 60 pods config-error "$(waits CreateContainerConfigError)"
look unschedulable bad 60 pods unschedulable 'any(.status.conditions[]?; .type == "PodScheduled" and .status == "False")'
look not-ready bad 60 pods not-ready '.status.phase == "Running"'
look service-no-pods bad 60 only_ready service-no-pods
look target-port bad 60 only_ready target-port
look careless bad 60 pods careless '(.status.containerStatuses | length) > 0'
with=node look full-node bad 60 only_ready full-node
look quota bad 60 deployment quota 'any(.status.conditions[]?; .type == "ReplicaFailure")'
look creating bad 60 pods creating "$(waits ContainerCreating)"
look job bad 60 pods job '.status.phase == "Failed"'
runs() { kubectl -n cron-job get pods -o json | jq -e "[.items[] | select(.status.phase == \"Succeeded\")] | length >= $1"; }
look cron-job first 120 runs 1
if has terminating; then
  until_true 60 only_ready terminating || fail "terminating: runs"
  kubectl -n terminating delete pod held --wait=false >/dev/null
fi
look terminating bad 60 pods terminating '.metadata.deletionTimestamp != null and any(.status.containerStatuses[]; .state.terminated != null)'
look evicted bad 90 pods evicted '.status.reason == "Evicted"'
look cron-job second 120 runs 2
look rollout stuck 90 deployment rollout 'any(.status.conditions[]; .reason == "ProgressDeadlineExceeded")'
look config-change failing 150 any_pod config-change "$(waits CrashLoopBackOff) and $(restarts 1)"

# All three at the same time: their delay grows with each restart, but is short at first.
look crash-loop bad 180 pods crash-loop "$(waits CrashLoopBackOff) and $(restarts 1)"

# Everything is repaired in the way a person would do it.
good='{"spec": {"template": {"spec": {"containers": [{"name": "app", "command": ["sleep", "100000"]}]}}}}'
repair crash-loop patch crash-loop deployment/web "$good"
repair out-of-memory patch out-of-memory deployment/web "$good"
repair image-pull kubectl -n image-pull set image deployment/web "app=$busybox"
repair image-pull patch image-pull deployment/web "$good"
repair config-error kubectl -n config-error create configmap conf --from-literal=mode=a
repair unschedulable patch unschedulable deployment/web '[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]' json
if has not-ready; then
  for pod in $(kubectl -n not-ready get pods -o name); do kubectl -n not-ready exec "$pod" -- touch /tmp/ready; done
fi
repair liveness patch liveness deployment/web '[{"op": "remove", "path": "/spec/template/spec/containers/0/livenessProbe"}]' json
repair terminating patch terminating pod/held '[{"op": "remove", "path": "/metadata/finalizers"}]' json
repair evicted kubectl -n evicted delete pod greedy
repair job kubectl -n job delete job nightly
repair service-no-pods patch service-no-pods service/web '{"spec": {"selector": {"app": "web"}}}'
repair target-port patch target-port service/web '[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": "http"}]' json
repair rollout kubectl -n rollout rollout undo deployment/web
repair quota kubectl -n quota delete resourcequota none
repair quota kubectl -n quota rollout restart deployment/web
repair creating kubectl -n creating create secret generic absent
repair config-change kubectl -n config-change patch configmap conf -p '{"data": {"mode": "good"}}'
repair config-change kubectl -n config-change delete pod --all
repair full-node kubectl -n full-node scale deployment/web --replicas=0
if has careless; then
  kubectl -n careless delete deployment web --wait >/dev/null
  until_true 30 gone careless || true
  web 2 "$sleeps, ports: [{containerPort: 80}], readinessProbe: {exec: {command: ['true']}}" | kubectl -n careless apply -f - >/dev/null
  patch careless configmap/conf '[{"op": "remove", "path": "/data/db-password"}]' json
fi

for one in crash-loop out-of-memory image-pull config-error unschedulable not-ready service-no-pods target-port rollout \
  config-change careless; do
  look "$one" repaired 90 only_ready "$one"
done
for one in terminating evicted job; do look "$one" repaired 60 gone "$one"; done
with=node look full-node repaired 60 gone full-node
look liveness repaired 60 only_ready liveness
look quota repaired 90 deployment quota 'all(.status.conditions[]; .type != "ReplicaFailure")'
look creating repaired 150 only_ready creating

# ---- the node itself; last, because it affects everything on it
condition() { kubectl get node "${3:-$node}" -o json | jq -e "any(.status.conditions[]; .type == \"$1\" and .status == \"$2\")" >/dev/null; }
# says NODE JSON: sets fields of its status, as a kubelet or a problem detector does.
says() { kubectl patch node "$1" --subresource=status -p "{\"status\": $2}" >/dev/null; }
if has node; then
  with=node
  # Free the node: the other scenes have ended.
  for one in "${scenes[@]}"; do [[ $one == node ]] || kubectl delete namespace "$one" --wait=false >/dev/null; done
  until_true 60 only_ready node || fail "node: well"
  moment node well
  kubectl cordon "$node" >/dev/null
  moment node cordoned
  kubectl uncordon "$node" >/dev/null
  moment node uncordoned
  # A threshold above what the machine ever has free: memory pressure, and the pods with the lowest requests are evicted.
  KUBE9_KUBELET_ARGS='--eviction-hard=memory.available<99% --eviction-pressure-transition-period=5s' \
    "$cluster/restart" kubelet >>"$work/cluster.log" 2>&1
  evicted() {
    condition MemoryPressure True &&
      kubectl -n node get pods -o json | jq -e '[.items[] | select(.status.reason == "Evicted")] | length >= 2'
  }
  if until_true 120 evicted; then
    moment node pressure
    ok "node: pressure"
  else fail "node: pressure" "$(kubectl get node "$node" -o json | jq -c .status.conditions)"; fi
  "$cluster/restart" kubelet >>"$work/cluster.log" 2>&1
  if until_true 60 condition MemoryPressure False; then moment node over; else fail "node: over"; fi
  now=$(date -u +%FT%TZ)
  says "$node" '{"conditions": [{"type": "KernelDeadlock", "status": "True", "reason": "DockerHung", "lastTransitionTime": "'"$now"'",
    "message": "task docker:7 blocked for more than 300 seconds."}]}'
  moment node problem
  says "$node" '{"conditions": [{"type": "KernelDeadlock", "status": "False", "reason": "KernelHasNoDeadlock", "message": "kernel has no deadlock"}]}'
  moment node no-problem
  # Down and up, twice: four changes within the hour.
  for again in '' -again; do
    "$cluster/service" stop kubelet >>"$work/cluster.log" 2>&1
    if until_true 120 condition Ready Unknown; then
      moment node "lost$again"
      ok "node: lost$again"
    else fail "node: lost$again"; fi
    "$cluster/service" start kubelet >>"$work/cluster.log" 2>&1
    if until_true 60 condition Ready True; then
      moment node "back$again"
      ok "node: back$again"
    else fail "node: back$again"; fi
  done
fi

# joins SCENE: registers a second node as a kubelet would, but without one; it counts as lost within a minute.
joins() {
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Node
metadata: {name: neighbour, labels: {kubernetes.io/hostname: neighbour}}
YAML
  now=$(date -u +%FT%TZ)
  says neighbour '{"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
    "lastHeartbeatTime": "'"$now"'", "lastTransitionTime": "'"$now"'"}], "nodeInfo": {"kubeletVersion": "v1.33.2", "architecture": "amd64",
    "bootID": "0", "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.12.0", "kubeProxyVersion": "", "machineID": "0",
    "operatingSystem": "linux", "osImage": "Debian GNU/Linux 13 (trixie)", "systemUUID": "0"}}'
  takes_pods() { kubectl get node neighbour -o json | jq -e '(.spec.taints // []) | length == 0'; }
  if until_true 40 takes_pods && condition Ready True neighbour; then return 0; fi
  fail "$1: a second node" "$(kubectl get node neighbour -o json | jq -c '{spec, status}')"
  return 1
}

# These start here: a pod that the pressure above evicted would stay, and never become ready again.
scene neighbour < <(web 2 "$sleeps")
if has neighbour; then
  with=node
  until_true 90 only_ready neighbour || fail "neighbour: well"
  if joins neighbour; then
    moment neighbour beside
    ok "neighbour: beside"
  fi
  kubectl delete node neighbour >/dev/null
  moment neighbour alone
fi

# Two images that the real node cannot pull, while another node has no problem; then one of them fails there as well: a
# pod that is bound to it, with the status that the kubelet wrote for the same image.
without_image() { # without_image NAME IMAGE: a Deployment
  cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      containers: [{name: app, image: "$2", $sleeps, resources: $modest}]
---
YAML
}
scene registry < <(
  without_image one registry.invalid/one:1
  without_image two registry.invalid/two:1
)
if has registry; then
  with=node
  until_true 90 pods registry "$(waits ImagePullBackOff)" || fail "registry: no image"
  if joins registry; then
    moment registry one-node
    ok "registry: one-node"
    status=$(kubectl -n registry get pods -l app=one -o json | jq -c '.items[0].status
      | {phase, conditions, startTime, qosClass, containerStatuses}')
    kubectl -n registry apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: one-elsewhere, labels: {app: one-elsewhere}}
spec:
  nodeName: neighbour
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  containers: [{name: app, image: "registry.invalid/one:1", $sleeps, resources: $modest}]
YAML
    kubectl -n registry patch pod one-elsewhere --subresource=status -p "{\"status\": $status}" >/dev/null
    moment registry two-nodes
    ok "registry: two-nodes"
    kubectl -n registry delete pod one-elsewhere --force --grace-period=0 >/dev/null 2>&1
    for one in one two; do kubectl -n registry set image "deployment/$one" "app=$busybox" >/dev/null; done
    if until_true 90 only_ready registry; then
      moment registry repaired
      ok "registry: repaired"
    else fail "registry: repaired"; fi
  fi
  kubectl delete node neighbour >/dev/null
fi

version=$(kubectl version -o json | jq -r .serverVersion.gitVersion)
for one in "${scenes[@]}"; do
  # A failed scene was counted above; its stored objects stay.
  [[ -s $moments/$one ]] || continue
  {
    echo "{\"scene\": \"$one\", \"kubernetes\": \"$version\", \"moments\": ["
    sed '$!s/$/,/' "$moments/$one"
    echo "]}"
  } >"$fixtures/$one.json"
  jq -e . "$fixtures/$one.json" >/dev/null || fail "$one: no JSON"
done
finish
