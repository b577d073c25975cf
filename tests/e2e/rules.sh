#!/usr/bin/env bash
# rules.sh: the rules about changes, on a real API server and a real node: a field that Argo CD applied is changed by kubectl,
# two managers overwrite each other, and pods fail after a change of their ConfigMap. Each finding is compared with what was done.
source "$(dirname "$0")/lib.sh"
need jq jq
need curl curl
[[ $(id -u) == 0 ]] || skip "the cluster needs root"
find_binaries
cluster_up
need kubectl

space=gitops
data=$work/rules
rm -rf "$data" "$work/rules.log"
mkdir -p "$data"
g() { kubectl -n "$space" "$@"; }
ask() { "$query" --db "$data/kube9.db" "$@"; }

kubectl delete namespace "$space" --ignore-not-found >/dev/null
user=$(recorder_user)
address=127.0.0.1:$(free_port)
# `ChangedOutsideGitOps` opens after ten times `assessment`.
background rules env -u KUBE9_E2E_BIN -u KUBE9_E2E_CLUSTER -u KUBE9_E2E_KEEP KUBE9_ANALYSIS_THRESHOLDS_ASSESSMENT=1s \
  "$recorder" serve --data-dir "$data" --listen "$address" --kubeconfig "$user" --log-format json
wait_for 60 "recorder is ready" curl -sf --noproxy '*' "http://$address/readyz" || die "no recorder" "$(tail -20 "$work/rules.log")"
kubectl create namespace "$space" >/dev/null

deployment() { # deployment NAME IMAGE [REPLICAS]: without pods, unless REPLICAS says so
  jq -nc --arg name "$1" --arg image "$2" --argjson replicas "${3:-0}" --arg id "shop:apps/Deployment:$space/$1" '{
    apiVersion: "apps/v1", kind: "Deployment", metadata: {name: $name, annotations: {"argocd.argoproj.io/tracking-id": $id}},
    spec: {replicas: $replicas, selector: {matchLabels: {app: $name}}, template: {metadata: {labels: {app: $name}}, spec: {
      terminationGracePeriodSeconds: 1, containers: [{name: "app", image: $image}]}}}}'
}
applied() { g apply --server-side --force-conflicts --field-manager="$1" -f - >/dev/null; } # applied MANAGER
findings() { ask events list --object-namespace="$space" --limit=500 --format=json | jq -c "[.events[] | select(.metadata.rule == \"$1\")]"; }
is_open() { findings "$1" | jq -e --arg name "$2" 'any(.[]; .object_name == $name and .metadata.resolved_at == null)'; }
is_closed() { findings "$1" | jq -e --arg name "$2" 'any(.[]; .object_name == $name and .metadata.resolved_at != null)'; }

# ---- changed outside GitOps
image="spec.template.spec.containers[app].image"
deployment web kube9.test/pause:1 | applied argocd-controller
# What controllers change by design, each on an object of its own.
deployment scaled kube9.test/pause:1 | applied argocd-controller
deployment scaled kube9.test/pause:1 1 | applied argocd-controller
deployment injected kube9.test/pause:1 | applied argocd-controller
deployment mine kube9.test/pause:1 | applied kubectl
sleep 2
g set image deployment/web app=kube9.test/busybox:1 >/dev/null
g patch deployment scaled --subresource=scale --type=merge --field-manager=kube-controller-manager -p '{"spec":{"replicas":2}}' >/dev/null
g patch deployment injected --field-manager=cert-manager-cainjector -p '{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"kube9.test/busybox:1"}]}}}}' >/dev/null
g set image deployment/mine app=kube9.test/busybox:1 >/dev/null
wait_for 30 "a change of what Argo CD applied is found" is_open ChangedOutsideGitOps web || true
found=$(findings ChangedOutsideGitOps)
say "$(jq -r '.[0] | "\(.title) · \(.description)"' <<<"$found")"
equals "path, values, author, and what had written it" \
  "$image kube9.test/pause:1 kube9.test/busybox:1 kubectl-set argocd-controller Argo CD: shop:apps/Deployment:$space/web" \
  "$(jq -r '.[0].metadata | [.path, .from, .to, .changed_by, .managed_by, .via] | join(" ")' <<<"$found")"
equals "autoscalers, injectors, and objects of nobody else are not" '["web"]' "$(jq -c '[.[].object_name] | unique' <<<"$found")"
deployment web kube9.test/pause:1 | applied argocd-controller
wait_for 20 "it closes when Argo CD applies its own again" is_closed ChangedOutsideGitOps web || true

# ---- managers fight
for _ in 1 2 3; do
  for team in a b; do
    jq -nc --arg mode "$team" '{apiVersion: "v1", kind: "ConfigMap", metadata: {name: "fight", labels: {mode: $mode}}}' | applied "team-$team"
    sleep 1.1
  done
done
wait_for 20 "managers that overwrite each other are found" is_open ManagersFightOverField fight || true
found=$(findings ManagersFightOverField)
say "$(jq -r '.[0] | "\(.title) · \(.description)"' <<<"$found")"
equals "the field and both managers" "metadata.labels.mode team-a team-b fight" \
  "$(jq -r '.[0] | [.metadata.path, (.metadata.managers | sort | .[]), .object_name] | join(" ")' <<<"$found")"
equals "every change has its author, proven" "team-a field team-b field" \
  "$(ask changes cm/fight -N "$space" --op=changed --format=json | jq -r '[.changes[].metadata.by[] | "\(.manager) \(.certainty)"] | unique | join(" ")')"

# ---- failure after a change of a ConfigMap
g create configmap settings --from-literal=MODE=good >/dev/null
check='[ "$MODE" = good ] || { echo "unknown mode $MODE" >/dev/termination-log; exit 3; }; exec sleep 1000'
deployment reader kube9.test/busybox:1 1 | jq -c --arg check "$check" '.spec.template.spec.containers[0] +=
  {command: ["sh", "-c", $check], envFrom: [{configMapRef: {name: "settings"}}]}' | applied argocd-controller
g rollout status deployment/reader --timeout=60s >/dev/null || fail "the reader runs"
sleep 2
g patch configmap settings --type=merge --field-manager=kubectl-edit -p '{"data":{"MODE":"turbo"}}' >/dev/null
sleep 1
g rollout restart deployment/reader >/dev/null
wait_for 60 "a failure after a change of a ConfigMap is found" is_open FailureAfterChange reader || true
found=$(findings FailureAfterChange)
say "$(jq -r '.[0] | "\(.title) · \(.description)"' <<<"$found")"
equals "it names the ConfigMap, the key and the author" "ConfigMap/$space/settings data.MODE by kubectl-edit" \
  "$(jq -r '.[0].metadata | [.changed_object, .changed_field, .changed_by] | join(" ")' <<<"$found")"
lacks "and no value of it" "turbo|\"good\"" "$found"

# ---- nothing else
equals "no other object has a finding of these rules" '["fight","reader","web"]' \
  "$(for rule in ChangedOutsideGitOps ManagersFightOverField FailureAfterChange; do findings $rule; done | jq -sc '[.[][].object_name] | unique')"
equals "the recorder logs no warning" "" "$(jq -r 'select(.level | IN("WARN", "ERROR")) | .fields.message // .message' "$work/rules.log" | sort | uniq -c)"
finish
