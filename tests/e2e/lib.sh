# shellcheck shell=bash disable=SC2034
# Sourced by the scripts in this directory: paths, starting the cluster, counting checks.
#
# KUBE9_E2E_CLUSTER  `kind`, for a cluster in Docker; or a directory with up, down, load, user, enter, restart, and service
#                    for the scripts that stop single processes (default: ../shared/cluster next to the repository)
# KUBE9_E2E_KEEP=1   for work on the scripts: use a running cluster as it is, and keep it and its objects
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
e2e=$root/tests/e2e
chart=$root/charts/kube9
work=$root/target/e2e
cluster=${KUBE9_E2E_CLUSTER:-$root/../shared/cluster}
keep=${KUBE9_E2E_KEEP:-}
# Where the cluster keeps its programs: kube, kubectl, helm.
export PATH=${KUBE9_CLUSTER_HOME:-$HOME/.cache/kube9-cluster}/bin:$PATH
if [[ $cluster == kind ]]; then
  cluster=$e2e/kind
  PATH=$e2e/bin:$PATH
fi
# The API server is on loopback: do not use a proxy of the environment for it.
export no_proxy=127.0.0.1,localhost NO_PROXY=127.0.0.1,localhost
mkdir -p "$work"

passed=0
failed=()
pids=() # processes that this script started
declare -A asides=() # those that aside started, by name
cluster_is_ours=

say() { echo "     $*"; }

skip() {
  echo "SKIPPED: $*"
  exit 0
}

ok() {
  passed=$((passed + 1))
  echo "ok   $*"
}

# fail WHAT [DETAIL]: counts it and continues; finish turns it into the exit code.
fail() {
  failed+=("$1")
  echo "FAIL $1"
  if [[ -n ${2:-} ]]; then sed 's/^/     | /' <<<"$2" | head -40; fi
}

# die WHAT [DETAIL]: ends the script.
die() {
  fail "$@"
  finish
}

# check WHAT COMMAND...: the command must succeed. `set -e` has no effect inside it.
check() {
  local what=$1 out
  shift
  if out=$("$@" 2>&1); then ok "$what"; else fail "$what" "$out"; fi
}

# refuses WHAT COMMAND...: the command must fail.
refuses() {
  local what=$1 out
  shift
  if out=$("$@" 2>&1); then fail "$what" "$out"; else ok "$what"; fi
}

# equals WHAT EXPECTED ACTUAL
equals() {
  local shown=${3//$'\n'/ }
  if [[ $2 == "$3" ]]; then ok "$1${3:+: ${shown:0:80}}"; else fail "$1" "expected: $2"$'\n'"found:    $3"; fi
}

# contains WHAT PATTERN TEXT: an extended regular expression.
contains() {
  if grep -qE -- "$2" <<<"$3"; then ok "$1"; else fail "$1" "expected: $2"$'\n'"found:    $3"; fi
}

# lacks WHAT PATTERN TEXT
lacks() {
  if grep -qE -- "$2" <<<"$3"; then fail "$1" "found $2 in:"$'\n'"$3"; else ok "$1"; fi
}

# at_most WHAT LIMIT VALUE [UNIT]: integers.
at_most() {
  if (($3 <= $2)); then ok "$1: $3 ${4:-} (at most $2)"; else fail "$1: $3 ${4:-}, more than $2"; fi
}

# status_is_operational: `ask status` is operational. A disk of this machine that is nearly full is not a fault of the record.
# Prints the other reasons.
status_is_operational() {
  ask status | jq -re '[.reasons[]? | select(startswith("the volume is nearly full") | not)] as $reasons |
    if .status == "unavailable" or $reasons != [] then "\(.status): \($reasons | join("; "))", false else true end'
}

# until_true SECONDS COMMAND...: false when time is up.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

# wait_for SECONDS WHAT COMMAND...: a check that is repeated until it succeeds or the time is up.
wait_for() {
  local seconds=$1 what=$2 start=$SECONDS
  shift 2
  if until_true "$seconds" "$@"; then
    ok "$what ($((SECONDS - start)) s)"
  else
    fail "$what: not within $seconds s" "$("$@" 2>&1 | tail -5)"
    return 1
  fi
}

# need COMMAND [DEBIAN-PACKAGE]: installs it if possible, otherwise skips the script.
need() {
  command -v "$1" >/dev/null && return
  if [[ -n ${2:-} && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "installing $2"
    apt-get install -y -qq --no-install-recommends "$2" >"$work/apt.log" 2>&1 ||
      { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"; } >"$work/apt.log" 2>&1 || true
  fi
  command -v "$1" >/dev/null || skip "no $1"
}

# cluster_up [--control-plane-only]: a new cluster; sets KUBECONFIG.
cluster_up() {
  [[ -x $cluster/up && -x $cluster/down ]] || skip "no cluster"
  if [[ -z $keep ]]; then
    "$cluster/down" --purge >"$work/cluster.log" 2>&1 || die "cluster: down --purge" "$(tail -5 "$work/cluster.log")"
    if grep -q '^SKIPPED: ' "$work/cluster.log"; then skip "$(sed -n 's/^SKIPPED: //p' "$work/cluster.log")"; fi
  fi
  cluster_is_ours=1
  KUBECONFIG=$("$cluster/up" "$@" 2>>"$work/cluster.log" | tail -1) ||
    die "cluster: up $*" "$(tail -5 "$work/cluster.log")"
  [[ $KUBECONFIG != SKIPPED:* ]] || skip "${KUBECONFIG#SKIPPED: }"
  export KUBECONFIG
  say "cluster is up, $(kubectl version 2>/dev/null | sed -n 's/^Server Version: //p')"
}

# need_service: skips the script if single processes of the cluster cannot be stopped.
need_service() {
  [[ ! -x $cluster/up || -x $cluster/service ]] || skip "the cluster has no command service, which stops single processes"
}

# background NAME COMMAND...: starts it with its output in $work/NAME.log; sets pid.
background() {
  local name=$1
  shift
  "$@" >>"$work/$name.log" 2>&1 &
  pid=$!
  pids+=("$pid")
}

# terminate PID [SIGNAL]: ends a process that background started; its exit code is in `status`.
terminate() {
  kill "-${2:-TERM}" "$1" 2>/dev/null || true
  status=0
  wait "$1" 2>/dev/null || status=$?
  forget "$1"
}

forget() { # forget PID: it has ended, and its number may be given to another process
  local left=() other
  for other in "${pids[@]}"; do [[ $other == "$1" ]] || left+=("$other"); done
  pids=("${left[@]}")
}

# aside NAME COMMAND...: runs checks in the background; rejoin prints and counts them.
aside() {
  local name=$1
  shift
  rm -f "$work/$name.counts"
  (
    trap - EXIT
    passed=0 failed=() pids=()
    "$@"
    printf '%s\n' "$passed" "${failed[@]}" >"$work/$name.counts"
  ) >"$work/$name.log" 2>&1 &
  pids+=("$!")
  asides[$name]=$!
}

rejoin() { # rejoin NAME
  local counts one
  wait "${asides[$1]}" 2>/dev/null || true
  forget "${asides[$1]}"
  cat "$work/$1.log"
  if [[ -f $work/$1.counts ]]; then
    mapfile -t counts <"$work/$1.counts"
    passed=$((passed + counts[0]))
    for one in "${counts[@]:1}"; do [[ -z $one ]] || failed+=("$one"); done
  else fail "$1 has come to its end"; fi
}

# Stops everything that this script started, including the cluster.
clean_up() {
  local pid
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if [[ -n $cluster_is_ours && -z $keep ]]; then
    "$cluster/down" --purge >>"$work/cluster.log" 2>&1 || echo "FAIL cluster: down --purge"
  fi
}
trap clean_up EXIT
# Reports the line at which a script ends early.
set -o errtrace
trap 'echo "FAIL ${BASH_SOURCE[0]##*/}:$LINENO: ended by: $BASH_COMMAND"' ERR
trap 'exit 130' INT TERM

# The last line of every script.
finish() {
  if ((${#failed[@]})); then
    echo "FAILED: ${#failed[@]} of $((passed + ${#failed[@]})) checks"
    printf '     %s\n' "${failed[@]}"
    exit 1
  fi
  echo "PASSED: $passed checks"
  exit 0
}

# user_with ROLE RULE...: prints the kubeconfig of the recorder's user, who gets a role of this name with these rules.
user_with() {
  local role=$1
  shift
  {
    printf '%s\n' 'apiVersion: rbac.authorization.k8s.io/v1' 'kind: ClusterRole' "metadata: {name: $role}" 'rules:'
    printf -- '- %s\n' "$@"
    printf '%s\n' --- 'apiVersion: rbac.authorization.k8s.io/v1' 'kind: ClusterRoleBinding' "metadata: {name: $role}" \
      "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: $role}" \
      'subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: kube9-e2e-recorder}]'
  } | kubectl apply -f - >/dev/null
  "$cluster/user" kube9-e2e-recorder | tail -1
}

# events_user: of a user who can read Events and nothing else.
events_user() {
  user_with kube9-e2e-events '{apiGroups: [""], resources: [events], verbs: [list, watch]}'
}

# recorder_user: of a user who can read what the rules read.
recorder_user() {
  user_with kube9-e2e-all \
    '{apiGroups: [""], resources: [events, pods, nodes, services, configmaps], verbs: [get, list, watch]}' \
    '{apiGroups: [apps], resources: [deployments], verbs: [get, list, watch]}'
}

# ---- the chart

# The Helm that the cluster builds has no default Kubernetes version.
kube_version=${KUBE9_E2E_KUBE_VERSION:-1.35.0}

# render ARGUMENTS...: the chart's manifests, as release kube9 (or $release) in kube9-system.
render() {
  helm template "${release:-kube9}" "$chart" --namespace kube9-system --kube-version "$kube_version" "$@"
}

# rendered_rules FILE ARGUMENTS...: the alerts as a rule file for promtool and prometheus.
rendered_rules() {
  local file=$1
  shift
  render --set prometheusRule.enabled=true --show-only templates/prometheusrule.yaml "$@" |
    python3 -c 'import sys, yaml; yaml.safe_dump(yaml.safe_load(sys.stdin)["spec"], sys.stdout, width=10**6)' >"$file"
}

# ---- the binaries as processes of this machine

# find_binaries: sets recorder and query: those of KUBE9_E2E_BIN, otherwise a release build of the repository.
find_binaries() {
  local folder=${KUBE9_E2E_BIN:-}
  if [[ -z $folder ]]; then
    need cargo
    folder=${CARGO_TARGET_DIR:-$root/target}/release
    say "building the binaries"
    # The whole workspace, as in the other steps of .ci/run: building a part compiles the dependencies with other features.
    cargo build --release --locked --quiet --manifest-path "$root/Cargo.toml" --workspace --bins \
      >"$work/build.log" 2>&1 || die "building the binaries" "$(tail -20 "$work/build.log")"
  fi
  recorder=$folder/kube9-recorder
  query=$folder/kube9-query
  [[ -x $recorder && -x $query ]] || die "no binaries in $folder"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# sql DATABASE STATEMENT: runs it with the sqlite3 client; tab-separated.
sql() { sqlite3 -readonly -separator $'\t' "file:$1?mode=ro" "$2"; }

# api_events NAMESPACE: the Events that the API server has, one per line, page by page.
api_events() {
  local next='' page
  while :; do
    page=$(kubectl get --raw "/api/v1/namespaces/$1/events?limit=1000&continue=$next") || return 1
    jq -c '.items[]' <<<"$page"
    next=$(jq -r '.metadata.continue // ""' <<<"$page")
    [[ -n $next ]] || return 0
  done
}
