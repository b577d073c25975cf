#!/usr/bin/env bash
# stories.sh: eight incidents on a real node, each with one cause. `kube9-query story` is printed in full for each, and its first
# suspect must be the cause.
source "$(dirname "$0")/lib.sh"
need jq jq
need curl curl
[[ $(id -u) == 0 ]] || skip "the cluster needs root"
find_binaries
cluster_up
need kubectl

data=$work/stories
rm -rf "$data" "$work/stories.log"
mkdir -p "$data"
ask() { "$query" --db "$data/kube9.db" "$@"; }
user=$(user_with kube9-e2e-stories \
  '{apiGroups: [""], resources: [events, configmaps, limitranges, namespaces, nodes, pods, resourcequotas, serviceaccounts, services], verbs: [get, list, watch]}' \
  '{apiGroups: [apps, batch, policy, networking.k8s.io, admissionregistration.k8s.io], resources: ["*"], verbs: [get, list, watch]}')
address=127.0.0.1:$(free_port)
background stories env -u KUBE9_E2E_BIN -u KUBE9_E2E_CLUSTER -u KUBE9_E2E_KEEP KUBE9_ANALYSIS_THRESHOLDS_ASSESSMENT=2s \
  "$recorder" serve --data-dir "$data" --listen "$address" --kubeconfig "$user" --log-format json
wait_for 60 "recorder is ready" curl -sf --noproxy '*' "http://$address/readyz" || die "no recorder" "$(tail -20 "$work/stories.log")"

stories=(memory image env config probe quota webhook drain)
# It needs some memory, knows one mode, and serves a page.
program='x=$(head -c 8000000 /dev/zero | tr "\0" x); [ "$MODE" = good ] || { echo "unknown mode $MODE" >/dev/termination-log; exit 3; }
  x=; mkdir -p /tmp/www; echo ok >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www'
app() {
  jq -nc --arg program "$program" '
    {httpGet: {path: "/", port: 8080}, periodSeconds: 1} as $probe |
    {apiVersion: "v1", kind: "ConfigMap", metadata: {name: "settings"}, data: {MODE: "good"}},
    {apiVersion: "v1", kind: "Service", metadata: {name: "app"}, spec: {selector: {app: "app"}, ports: [{port: 80, targetPort: 8080}]}},
    {apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "app"}, spec: {replicas: 2, selector: {matchLabels: {app: "app"}},
      strategy: {type: "Recreate"}, template: {metadata: {labels: {app: "app"}}, spec: {terminationGracePeriodSeconds: 1, containers: [{
        name: "app", image: "kube9.test/busybox:1", command: ["sh", "-c", $program], envFrom: [{configMapRef: {name: "settings"}}],
        resources: {limits: {memory: "64Mi"}}, readinessProbe: $probe, livenessProbe: ($probe + {initialDelaySeconds: 2})}]}}}}'
}
for story in "${stories[@]}"; do
  kubectl create namespace "story-$story" >/dev/null
  app | kubectl -n "story-$story" apply -f - >/dev/null
done
for story in "${stories[@]}"; do
  kubectl -n "story-$story" rollout status deployment/app --timeout=120s >/dev/null || fail "$story: the workload runs"
done
sleep 5

plant() {
  local k=(kubectl -n "story-$1")
  case $1 in
  memory) "${k[@]}" set resources deployment/app --limits=memory=10Mi ;;
  image) "${k[@]}" set image deployment/app app=kube9.test/missing:2 ;;
  env) "${k[@]}" set env deployment/app MODE=turbo ;;
  config)
    "${k[@]}" patch configmap settings --type=merge --field-manager=kubectl-edit -p '{"data":{"MODE":"turbo"}}'
    "${k[@]}" rollout restart deployment/app
    ;;
  probe) "${k[@]}" patch deployment app --type=json -p '[{"op":"replace","path":"/spec/template/spec/containers/0/livenessProbe/httpGet/port","value":9}]' ;;
  quota)
    "${k[@]}" create quota few --hard=pods=1
    sleep 3
    "${k[@]}" rollout restart deployment/app
    ;;
  webhook)
    jq -nc '{apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingWebhookConfiguration", metadata: {name: "guard"}, webhooks: [{
      name: "guard.example.com", admissionReviewVersions: ["v1"], sideEffects: "None", failurePolicy: "Fail", timeoutSeconds: 1,
      namespaceSelector: {matchLabels: {"kubernetes.io/metadata.name": "story-webhook"}},
      rules: [{apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"]}],
      clientConfig: {service: {namespace: "default", name: "guard", path: "/"}}}]}' | kubectl apply -f -
    sleep 3
    "${k[@]}" delete pod -l app=app --wait=false
    ;;
  drain)
    local node
    node=$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')
    kubectl cordon "$node"
    "${k[@]}" delete pod -l app=app --wait=false
    ;;
  esac >>"$work/stories-plant.log" 2>&1 || fail "$1: planted"
}
expected() { # the object of the cause, and what changed
  case $1 in
  memory) echo '^Deployment/app/story-memory .*memory' ;;
  image) echo '^Deployment/app/story-image .*image' ;;
  env) echo '^Deployment/app/story-env .*MODE' ;;
  config) echo '^ConfigMap/settings/story-config .*MODE' ;;
  probe) echo '^Deployment/app/story-probe .*livenessProbe' ;;
  quota) echo '^ResourceQuota/few/story-quota ' ;;
  webhook) echo '^ValidatingWebhookConfiguration/guard ' ;;
  drain) echo '^Node/[^ ]+ .*unschedulable' ;;
  esac
}
story() { ask story deployment/app -N "story-$1" --format="$2"; }
has_failed() { story "$1" json | jq -e '.failure != null'; }

# What concerns the node is last: no pod starts after it.
for name in "${stories[@]}"; do plant "$name"; done
for name in "${stories[@]}"; do until_true 60 has_failed "$name" || fail "$name: a failure is recorded"; done
# What was planted last has its findings, too.
sleep 20
for name in "${stories[@]}"; do
  say "---- $name"
  story "$name" table | tee "$data/$name.txt"
  first=$(story "$name" json | jq -r '.suspects[0] | if . then "\(.object) \(.what)" else "none" end')
  contains "$name: the first suspect is the cause" "$(expected "$name")" "$first"
done
finish
