#!/usr/bin/env bash
# chart.sh: checks the chart without a cluster: lint, schema, manifests, alerts, dashboard.
source "$(dirname "$0")/lib.sh"
need helm
need promtool prometheus
need python3
python3 -c 'import yaml' 2>/dev/null || skip "no PyYAML"

# ---- values, schema
for values in "$chart"/ci/*-values.yaml; do
  check "lint with ${values##*/}" helm lint "$chart" --strict --kube-version "$kube_version" --values "$values"
done

# An unknown key next to every existing key.
while read -r path; do
  refuses "schema refuses $path.misspelt" render --set-json "$path.misspelt={}"
done < <(python3 "$e2e/chart-manifests.py" closed-maps)
refuses "schema refuses a misspelt top-level key" render --set persistance.enabled=false
refuses "schema refuses a size without a number" render --set persistence.size=big
refuses "schema refuses a retention without a unit" render --set-string retention.infoWarning=7
refuses "schema refuses a tag of another type" render --set-json recorder.image.tag=7
refuses "schema refuses an unknown pull policy" render --set query.image.pullPolicy=Sometimes
refuses "one uid for both containers" render --set query.securityContext.runAsUser=10001
refuses "the name recorder for the query container" render --set query.containerName=recorder
refuses "a ServiceMonitor without a Service" render --set serviceMonitor.enabled=true,service.enabled=false
refuses "a NetworkPolicy without the API server's address" render --set networkPolicy.enabled=true
refuses "one claim to record to and to import from" render --set persistence.existingClaim=a,import.existingClaim=a
for kind in secrets Secret SECRETS -secrets v1/secrets 'secrets.' '*' leases Deployment; do
  refuses "$kind as a tracked kind" render --set "changes.kinds={$kind}"
done
for resource in v1/secrets /v1/secrets v1/Secrets core/v1/secret example.com/v1/secrets v1/secrets/status 'v1/*' '*/v1/widgets' \
  '*' v1/pods/log batch/v1/jobs widgets example.com/widgets; do
  refuses "$resource as a tracked resource" render --set "changes.resources={$resource}"
done
refuses "secrets in the recorder's own settings" render --set 'config.changes.resources={v1/secrets}'
contains "a refusal says why" "secrets are never tracked" "$(render --set 'changes.resources={v1/secrets}' 2>&1 || true)"
check "a group that is named after secrets" render --set 'changes.resources={secrets.hashicorp.com/v1beta1/vaultauths}'
namespaced=(--set rbac.clusterWide=false --set 'rbac.namespaces={a,b,c,d,e,f,g}')
contains "at most 100 watches in single namespaces" "16 kinds in 7 namespaces are 112 watches" "$(render "${namespaced[@]}" 2>&1 || true)"
check "fewer kinds in as many namespaces" render "${namespaced[@]}" --set 'changes.kinds={deployments,configmaps}'
refuses "a cluster-scoped kind in single namespaces" render "${namespaced[@]}" --set 'changes.kinds={nodes}'
refuses "a ServiceMonitor and a PodMonitor" render --set serviceMonitor.enabled=true,podMonitor.enabled=true

# ---- manifests: invariants for every set of values, and the effects of single values
for values in "$chart"/ci/*-values.yaml; do
  name=${values##*/}
  render --values "$values" >"$work/${name%-values.yaml}.yaml"
  check "manifests of $name" python3 "$e2e/chart-manifests.py" invariants "$work/${name%-values.yaml}.yaml"
done
check "what single values change" python3 "$e2e/chart-manifests.py" effects "$work"
equals "a label of the drop-in does not restart or re-select: same selectors" \
  "$(render | grep -A3 matchLabels)" "$(render --set compat.vscode.enabled=true | grep -A3 matchLabels)"
changed() { # changed ARGUMENTS...: the checksum of the pod template with other values
  render --show-only templates/deployment.yaml "$@" | grep checksum/config
}
lacks "a changed config restarts the recorder" "$(changed)" "$(changed --set config.log.level=debug)"
equals "an unrelated value does not" "$(changed)" "$(changed --set service.port=9)"

# `helm template` omits the notes, and `helm install` needs a cluster, so a copy of the chart renders them as a manifest.
rm -rf "$work/notes"
cp -r "$chart" "$work/notes"
cat >"$work/notes/templates/notes.yaml" <<'TEMPLATE'
notes: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}
TEMPLATE
notes() {
  helm template kube9 "$work/notes" --namespace n --kube-version "$kube_version" --show-only templates/notes.yaml "$@" |
    python3 -c 'import sys, yaml; print(yaml.safe_load(sys.stdin)["notes"])'
}
contains "NOTES print the exec line" "kubectl exec -it -n n deploy/kube9 -c query -- kube9-query events list" "$(notes)"
contains "NOTES print the real container of the drop-in" "deploy/kube9 -c operator -- kube9-query" "$(notes --set compat.vscode.enabled=true)"
contains "NOTES name what is tracked" "records the changes of 35 kinds: .*deployments.apps" "$(notes)"
lacks "and nothing that is not" "does not record" "$(notes)"
contains "NOTES name what is left out" "does not record the changes of configmaps\.$" "$(notes --set 'changes.kinds={-configmaps}')"
contains "NOTES name custom resources" "rollouts.argoproj.io" "$(notes --set 'changes.resources={argo}')"
contains "NOTES mention that nothing is tracked" "changes.enabled is off" "$(notes --set changes.enabled=false)"
contains "lastWords.messages turns termination messages off" "last_words: +messages: false" \
  "$(render --show-only templates/configmap.yaml --set lastWords.messages=false | tr '\n' ' ')"
contains "NOTES warn without persistence" "WARNING: persistence is off" "$(notes --set persistence.enabled=false)"
contains "NOTES mention the claim to import" "operator on the claim history are imported" "$(notes --set import.existingClaim=history)"
lacks "and nothing of it without one" "original operator" "$(notes)"
contains "NOTES name the container that exec reaches" "allows exec into the container query only" "$(notes)"
contains "NOTES name the groups of breakGlass" "except for the groups sre, ops" "$(notes --set 'reader.breakGlass={sre,ops}')"
contains "NOTES warn where the API server has no policies" "no ValidatingAdmissionPolicy" "$(notes --kube-version 1.29.0)"
contains "NOTES warn without the policy" "reader.queryOnly is off" "$(notes --set reader.queryOnly=false)"
lacks "no policy where the API server has none" ValidatingAdmissionPolicy "$(render --kube-version 1.29.0)"
contains "but where it says that it has" ValidatingAdmissionPolicy \
  "$(render --kube-version 1.29.0 --api-versions admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy)"
lacks "nor where it is switched off" ValidatingAdmissionPolicy "$(render --set reader.queryOnly=false)"
lacks "NOTES promise no retained claim without one" "kubectl delete pvc" "$(notes --set persistence.enabled=false)"

# ---- alerts
rendered_rules "$work/kube9.rules.yaml" --set prometheusRule.alerts.Kube9FindingOpen.enabled=true
check "alerts are valid rules" promtool check rules "$work/kube9.rules.yaml"
for file in "$e2e"/alerts/*.yaml; do
  check "alerts: ${file##*/}" promtool test rules "$file"
done
while read -r alert; do
  check "$alert: a test makes it fire" grep -rqE "exp_samples: \[.*\"$alert\"" "$e2e/alerts"
  check "$alert: has a runbook" grep -qx "### $alert" "$root/docs/operations.md"
done < <(sed -n 's/.*alert: //p' "$work/kube9.rules.yaml")
while read -r heading; do
  check "runbook $heading: has an alert" grep -q "alert: $heading$" "$work/kube9.rules.yaml"
done < <(sed -n 's/^### \(Kube9[A-Za-z]*\)$/\1/p' "$root/docs/operations.md")

# ---- dashboard
python3 "$e2e/chart-manifests.py" dashboard-rules >"$work/dashboard.rules.yaml"
check "every query of the dashboard is valid" promtool check rules "$work/dashboard.rules.yaml"
if [[ -f $root/docs/metrics.md ]]; then
  for metric in $(python3 "$e2e/chart-manifests.py" metrics "$work/kube9.rules.yaml" "$work/dashboard.rules.yaml"); do
    check "$metric exists" grep -q "$metric" "$root/docs/metrics.md"
  done
fi
finish
