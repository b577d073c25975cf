# shellcheck shell=bash disable=SC2034,SC2154,SC2317
# Sourced by cluster.sh after cluster-scenes.sh: what the rules find on the real cluster, also while the recorder is
# stopped or lacks a permission. The scenes share the release of the others.

of_victims=(--object-namespace="$victims" --limit=1000)

# deployment NAME REPLICAS IMAGE [FIELDS-OF-THE-CONTAINER [FIELDS-OF-THE-POD [FIELDS-OF-THE-SPEC]]]
deployment() {
  cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  replicas: $2
  ${6:-}
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: "$3"${4:+, $4}}]
      ${5:-}
---
YAML
}
# lonely_service NAME: it selects nothing
lonely_service() { printf '%s\n' "{apiVersion: v1, kind: Service, metadata: {name: $1}, spec: {selector: {app: absent}, ports: [{port: 80}]}}" ---; }
v() { kubectl -n "$victims" "$@"; }

# row TYPE SEVERITY KIND NAME FILTER: a row of that type, severity and object (a glob) for which the jq filter holds
row() {
  ask events list "${of_victims[@]}" --type="$1" --severity="$2" --object-kind="$3" --object-name="$4" |
    jq -e "any(.events[]; $5)"
}
titled() { echo "(.title | test(\"$1\"))"; }
# No finding opens twice, except to continue with another severity.
opened_once() {
  ask events list --limit=1000 --type=health,insight,assessment,operator >"$work/findings.json" || return 1
  jq -e '[.events[] | select(.metadata.finding)] | group_by(.metadata.finding) | all(.[];
      sort_by(.id) | reduce .[] as $row ({open: false, twice: false};
        if $row.title | test(" resolved$|, now ") then .open = false
        elif .open and $row.metadata.continues == null then .twice = true
        else .open = true end) | .twice | not)' "$work/findings.json"
}
# open_findings: fingerprints of those of the victims that are open, one a line
open_findings() {
  ask events list "${of_victims[@]}" --type=health,insight |
    jq -r '[.events[] | select(.metadata.finding)] | group_by(.metadata.finding)[] | max_by(.id)
      | select(.title | test(" resolved$|, now ") | not) | .metadata.finding' | sort
}

# Failing pods, a Service without pods, a stuck rollout, a cordoned node, a ConfigMap change that breaks its readers: each
# opens a finding that names the object, and closes when it is repaired.
findings() {
  local busybox=kube9.test/busybox:1 node
  node=$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')
  {
    echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: mode}, data: {mode: good}}'
    echo ---
    # shellcheck disable=SC2016
    deployment reader 1 "$busybox" 'command: [sh, -c, "test \"$(cat /mode/mode)\" = good || exit 3; sleep 10000"],
      volumeMounts: [{name: mode, mountPath: /mode}]' 'volumes: [{name: mode, configMap: {name: mode}}]'
    deployment looping 3 "$busybox" 'command: [sh, -c, "exit 3"]'
    deployment stuck 1 registry.invalid/none:2 '' '' 'progressDeadlineSeconds: 5'
    lonely_service lonely
  } | v apply -f - >/dev/null || fail "the troubles are made"
  local of_pod='.metadata.container == "app" and (.metadata.node | length > 0) and (.description | length > 40)'
  wait_for 60 "health: an OOM kill" row health error Pod oom "$(titled 'out of memory') and $of_pod and .metadata.exit_code == 137" || true
  wait_for 60 "health: an image that cannot be pulled" row health error Pod nopull "$(titled 'cannot be pulled') and $of_pod" || true
  wait_for 60 "health: a pod without a node" row health error Pod homeless "$(titled 'cannot be scheduled')" || true
  wait_for 60 "health: a Service that selects nothing" row health error Service lonely "$(titled 'selects no pod')" || true
  wait_for 60 "health: a rollout past its deadline" row health error Deployment stuck "$(titled 'stuck')" || true
  wait_for 60 "health: a Deployment's pods in a crash loop" row health error Pod 'looping-*' \
    "$(titled 'crash loop') and $of_pod and (.metadata.owner | tostring | test(\"looping\"))" || true
  wait_for 60 "insight: one row for all of them, which names each" row insight error Deployment looping \
    '.metadata.pods == 3 and (.metadata.members | length == 3 and all(.[]; test("looping-")))' || true

  v rollout status deployment/reader --timeout=60s >/dev/null || fail "the reader runs"
  v patch configmap mode --type=merge -p '{"data":{"mode":"bad"}}' >/dev/null
  wait_for 20 "cluster: the change of the ConfigMap, by its key" row cluster info ConfigMap mode \
    ".metadata.reason == \"ConfigMapChanged\" and ([.metadata.fields[].path] == [\"data.mode\"]) and .metadata.by[0].manager == \"kubectl-patch\"" || true
  v delete pod -l app=reader --wait=false >/dev/null
  wait_for 90 "insight: the failure is put down to it, and names change and pods" row insight error Deployment reader \
    '.metadata.change == "ConfigMap mode changed" and (.metadata.changed_at | length > 0)
      and (.metadata.members | length > 0 and all(.[]; test("reader-")))' || true
  # shellcheck disable=SC2016
  first_suspect() { ask story deploy/reader -N "$victims" | jq -e '.suspects[0] | (.object | startswith("ConfigMap/mode/")) and .by == "kubectl-patch"'; }
  wait_for 20 "story: the change of the ConfigMap is the first suspect" first_suspect || true
  dependents() { ask impact cm/mode -N "$victims" | jq -e --arg object "Deployment/reader/$victims" 'any(.workloads[]; .object == $object)'; }
  wait_for 20 "impact: the Deployment depends on the ConfigMap" dependents || true
  kubectl cordon "$node" >/dev/null
  of_node() { ask events list --type=cluster --object-kind=Node --object-name="$node" --limit=50 | jq -e --arg reason "$1" 'any(.events[]; .metadata.reason == $reason)'; }
  wait_for 30 "cluster: a node is cordoned" of_node NodeCordoned || true
  kubectl uncordon "$node" >/dev/null
  wait_for 30 "cluster: and uncordoned" of_node NodeUncordoned || true

  # And the repairs.
  v patch configmap mode --type=merge -p '{"data":{"mode":"good"}}' >/dev/null
  v delete pod -l app=reader --wait=false >/dev/null
  v delete pod oom nopull homeless --wait=false >/dev/null
  v delete service lonely >/dev/null
  v set image deployment/stuck app=kube9.test/pause:1 >/dev/null
  v patch deployment looping -p '{"spec":{"template":{"spec":{"containers":[{"name":"app","command":["sleep","10000"]}]}}}}' >/dev/null
  local one type kind name words
  for one in health/Pod/oom/memory health/Pod/nopull/pulled health/Pod/homeless/scheduled health/Service/lonely/selects \
    health/Deployment/stuck/stuck 'health/Pod/looping-*/crash' insight/Deployment/looping/. insight/Deployment/reader/.; do
    IFS=/ read -r type kind name words <<<"$one"
    wait_for 90 "and closes: $type $kind/$name" row "$type" info "$kind" "$name" \
      "$(titled "$words.*resolved") and (.metadata.severity_was | length > 0)" || true
  done
  check "no finding opened twice" opened_once
  say "as it reads:"
  ask events list --object-namespace="$victims" --type=health,insight --severity=warning+ --limit=12 --format=table | sed 's/^/     /' || true
  v delete deployment reader stuck looping --wait=false >/dev/null
}

# Changes while the recorder is stopped are recorded late, findings that ended are closed, the others stay open unchanged.
findings_after_restart() {
  local busybox=kube9.test/busybox:1
  {
    deployment heals 1 registry.invalid/none:3
    deployment steady 1 "$busybox" 'command: [sleep, "10000"]'
    deployment sick 1 "$busybox" 'command: [sh, -c, "exit 3"]'
    lonely_service void
    echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: flags}, data: {a: "1"}}'
  } | v apply -f - >/dev/null || fail "the troubles are made"
  wait_for 60 "open: an image that cannot be pulled" row health error Pod 'heals-*' "$(titled 'cannot be pulled')" || true
  wait_for 90 "open: a crash loop" row health error Pod 'sick-*' "$(titled 'crash loop')" || true
  wait_for 60 "open: a Service that selects nothing" row health error Service void "$(titled 'selects no pod')" || true
  sleep 6 # findings that follow from them
  local before since
  before=$(open_findings)
  k scale deploy/kube9 --replicas=0 >/dev/null
  no_recorder() { [[ -z $(k get pods -l app.kubernetes.io/component=recorder -o name) ]]; }
  wait_for 60 "the recorder is stopped" no_recorder || true
  since=$(date -u +%Y-%m-%dT%H:%M:%S.000Z)
  v set image deployment/heals app=kube9.test/pause:1 >/dev/null
  v scale deployment/steady --replicas=2 >/dev/null
  v delete service void >/dev/null
  v patch configmap flags --type=merge -p '{"data":{"b":"2"}}' >/dev/null
  v create configmap late --from-literal=a=1 >/dev/null
  v rollout status deployment/heals --timeout=60s >/dev/null || fail "it is repaired in the meantime"
  v rollout status deployment/steady --timeout=60s >/dev/null || fail "it is scaled in the meantime"
  k scale deploy/kube9 --replicas=1 >/dev/null
  k rollout status deploy/kube9 --timeout=90s >/dev/null || fail "the recorder is back"

  # late KIND NAME REASON: a change row with `observed_late`, and with `between` or an author, whose entry has the time
  late() { row cluster info+ "$1" "$2" ".metadata.reason == \"$3\" and .metadata.observed_late == true and ((.metadata.between | length == 2) or (.metadata.by | length > 0))"; }
  wait_for 30 "late: another image" late Deployment heals ImageChanged || true
  wait_for 20 "late: scaled" late Deployment steady Scaled || true
  wait_for 20 "late: a Service deleted" late Service void ServiceDeleted || true
  wait_for 20 "late: a ConfigMap changed" late ConfigMap flags ConfigMapChanged || true
  wait_for 20 "late: a ConfigMap created" late ConfigMap late ConfigMapCreated || true
  healed() { row health info "$1" "$2" "$(titled 'resolved$') and (.metadata.closed_between | length == 2)"; }
  wait_for 30 "closed: the image that could not be pulled" healed Pod 'heals-*' || true
  wait_for 30 "closed: the deleted Service" healed Service void || true
  # Objects that existed before are not recorded as new.
  local added
  added=$(ask events list --type=cluster --since="$since" --limit=1000 |
    jq -r '.events[] | select(.metadata.reason | IN("NodeAdded", "DeploymentCreated", "ServiceCreated", "ConfigMapCreated"))
      | "\(.object_kind)/\(.object_name)"' | grep -vE '^ConfigMap/late$' || true)
  equals "nothing is added that was there" "" "$added"
  local after still
  after=$(open_findings)
  still=$(comm -12 <(echo "$before") <(echo "$after"))
  contains "the crash loop is still open" "^CrashLoop/" "$still"
  lacks "nothing stays open that healed" "^(ImagePullFailing|ServiceSelectsNoPod)/" "$after"
  check "no finding opened twice" opened_once
  v delete deployment heals steady sick --wait=false >/dev/null
  v delete configmap flags late >/dev/null
}

# Without the permission to list Services, only that kind is suspended; it is reported once, and the kind continues when the
# permission is back.
one_kind_forbidden() {
  local rules
  lonely_service frozen | v apply -f - >/dev/null
  wait_for 60 "open: a Service that selects nothing" row health error Service frozen "$(titled 'selects no pod')" || true
  rules=$(kubectl get clusterrole "$ns-kube9" -o json)
  jq 'del(.metadata.resourceVersion) | .rules |= [.[] | . as $rule | .resources[] as $resource
      | $rule + {resources: [$resource]} | select($resource != "services")]' <<<"$rules" | kubectl apply -f - >/dev/null 2>&1 ||
    fail "the right is taken away"
  # An open watch continues; the next one is denied.
  k delete pod "$(the_pod)" --wait >/dev/null
  k rollout status deploy/kube9 --timeout=90s >/dev/null || true
  permission() { # permission SEVERITY TITLE: rows about it since the permission was removed
    ask events list --type=operator --severity="$1" --since="$since" --limit=100 | jq -r --arg title "$2" '[.events[] | select(.title | test($title))] | length'
  }
  local since
  since=$(date -u -d '-60 seconds' +%Y-%m-%dT%H:%M:%S.000Z)
  is_said() { (($(permission error '^Permission to watch Services is missing since') == 1)); }
  wait_for 60 "operator: the right is missing" is_said || true
  degraded() { ask status | jq -e '.status == "degraded"'; }
  wait_for 30 "status is degraded" degraded || true
  v delete service frozen >/dev/null
  # The other kinds and their rules continue.
  v create configmap beside --from-literal=a=1 >/dev/null
  v run beside --image=registry.invalid/none:4 --restart=Never >/dev/null
  wait_for 30 "a change of another kind is recorded" row cluster info ConfigMap beside '.metadata.reason == "ConfigMapCreated"' || true
  wait_for 60 "a rule about another kind finds" row health error Pod beside "$(titled 'cannot be pulled')" || true
  sleep 8 # it is denied several times
  check "it is reported once" is_said
  refuses "the finding about the Service is frozen" row health info Service frozen "$(titled 'resolved$')"
  jq 'del(.metadata.resourceVersion)' <<<"$rules" | kubectl apply -f - >/dev/null 2>&1 || fail "the right is back"
  is_over() { (($(permission info '^Permission to watch Services is missing resolved$') == 1)); }
  wait_for 90 "operator: and it is over, without a restart" is_over || true
  wait_for 30 "the finding closes: it ended while the kind was not watched" row health info Service frozen \
    "$(titled 'resolved$') and (.metadata.closed_between | length == 2)" || true
  wait_for 60 "status is operational" status_is_operational || true
  equals "without a restart" 0 "$(k get pod "$(the_pod)" -o jsonpath='{.status.containerStatuses[?(@.name=="recorder")].restartCount}')"
  check "no finding opened twice" opened_once
  v delete pod beside --wait=false >/dev/null
  v delete configmap beside >/dev/null
}
