# shellcheck shell=bash disable=SC2034
# Sourced by the commands in this directory: a cluster in Docker for the scripts of tests/e2e, made by kind.
#
#   KUBE9_E2E_CLUSTER=kind bash tests/e2e/cluster.sh
#
# A command whose requirements are missing prints SKIPPED and the reason, and exits with 0.
#
# KUBE9_KIND_NAME   name of the cluster (kube9-e2e)
# KUBE9_KIND_IMAGE  image of its node, such as kindest/node:v1.35.0 (default: that of the installed kind)
# KUBE9_KIND_HOME   directory for kubeconfigs (~/.cache/kube9-kind)
set -euo pipefail
name=${KUBE9_KIND_NAME:-kube9-e2e}
node=$name-control-plane
home=${KUBE9_KIND_HOME:-$HOME/.cache/kube9-kind}
kubeconfig=$home/admin.kubeconfig

say() { echo "kind: $*" >&2; }
die() { say "$*"; exit 1; }
skip() { echo "SKIPPED: $*"; exit 0; }

command -v kind >/dev/null || skip "no kind"
command -v docker >/dev/null || skip "no docker"
command -v kubectl >/dev/null || skip "no kubectl"
docker info >/dev/null 2>&1 || skip "no Docker daemon"
mkdir -p "$home"

exists() { kind get clusters 2>/dev/null | grep -qx "$name"; }
on_node() { docker exec "$node" "$@"; }
k() { kubectl --kubeconfig "$kubeconfig" "$@"; }

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || die "timed out waiting for $what"
    sleep 0.5
  done
}
