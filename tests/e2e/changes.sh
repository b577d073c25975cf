#!/usr/bin/env bash
# changes.sh: a matrix of changes on a real node: each class of field, each tracked kind, many ways of writing, outages of the
# recorder and of the API server, causes of deletions, unwanted writes, planted secrets. The truth is read from the
# API server: each state from watches, each author from its audit log. Then the record is compared with it.
#
# KUBE9_E2E_SHORT=1   a part of it, in two minutes
# KUBE9_E2E_TRUTH=1   makes the changes and the truth, without a recorder
# KUBE9_E2E_RECORD=1  compares the record of the last run again
source "$(dirname "$0")/lib.sh"
need python3
python3 -c 'import yaml' 2>/dev/null || skip "no PyYAML"

data=$work/changes
# helper ARGUMENTS...: its lines are those of a check.
helper() {
  local lines=$data/checks-$1
  mkdir -p "$data"
  PYTHONPATH=$e2e python3 -uB "$e2e/changes" "$@" | tee "$lines" || fail "changes $1"
  passed=$((passed + $(grep -c '^ok ' "$lines" || true)))
  mapfile -t -O "${#failed[@]}" failed < <(sed -n 's/^FAIL //p' "$lines")
}

helper selftest
need_service
if [[ -n ${KUBE9_E2E_RECORD:-} ]]; then
  find_binaries
  helper compare "$query" "$data"
  finish
fi
rm -rf "$data"
mkdir -p "$data"
# The policy that changes objects needs a feature that is off in this version of Kubernetes.
export KUBE9_APISERVER_ARGS="--audit-policy-file=$e2e/changes/audit.yaml --audit-log-path=$data/audit.log --audit-log-maxsize=2000
  --runtime-config=admissionregistration.k8s.io/v1beta1=true --feature-gates=MutatingAdmissionPolicy=true"
[[ -n ${KUBE9_E2E_TRUTH:-} ]] || find_binaries
cluster_up
need kubectl
# A cluster that was running has other flags.
[[ -s $data/audit.log ]] || "$cluster/service" restart apiserver >>"$work/cluster.log" 2>&1 || die "the API server writes an audit log"
wait_for 30 "the API server writes an audit log" test -s "$data/audit.log" || die "no audit log"
if [[ -n ${KUBE9_E2E_TRUTH:-} ]]; then
  helper write "$cluster" "$KUBECONFIG" "$data/audit.log" "$data"
  finish
fi

# The user can read every kind that is tracked, and no Secrets.
user=$(user_with kube9-e2e-changes \
  '{apiGroups: [""], resources: [events, configmaps, limitranges, namespaces, nodes, persistentvolumeclaims, persistentvolumes, pods,
      resourcequotas, serviceaccounts, services], verbs: [get, list, watch]}' \
  '{apiGroups: [apps, batch, autoscaling, policy, networking.k8s.io, rbac.authorization.k8s.io, admissionregistration.k8s.io,
      storage.k8s.io, scheduling.k8s.io, node.k8s.io, apiextensions.k8s.io, apiregistration.k8s.io, e2e.kube9.io],
    resources: ["*"], verbs: [get, list, watch]}')
refuses "the recorder's user cannot read Secrets" kubectl --kubeconfig "$user" get secrets -A
export KUBE9_CHANGES_RESOURCES=e2e.kube9.io/v1/widgets,e2e.kube9.io/v1/gears,e2e.kube9.io/v1/webservices
helper write "$cluster" "$KUBECONFIG" "$data/audit.log" "$data" "$recorder" "$user"
helper compare "$query" "$data"
finish
