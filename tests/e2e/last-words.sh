#!/usr/bin/env bash
# last-words.sh: what containers say when they end, in twelve ways on a real node. The rows about the crashes, and those about
# the pods after their deletion, have it; a Secret that a container prints is nowhere.
source "$(dirname "$0")/lib.sh"
need jq jq
need curl curl
[[ $(id -u) == 0 ]] || skip "the cluster needs root"
find_binaries
cluster_up
need kubectl

space=words
data=$work/last-words
rm -rf "$data" "$work/last-words.log"
mkdir -p "$data"
w() { kubectl -n "$space" "$@"; }
ask() { "$query" --db "$data/kube9.db" "$@"; }
secret=planted-hunter2-93c1

kubectl delete namespace "$space" --ignore-not-found >/dev/null
user=$(recorder_user)
address=127.0.0.1:$(free_port)
# Nothing else is to be waited for.
background last-words env -u KUBE9_E2E_BIN -u KUBE9_E2E_CLUSTER -u KUBE9_E2E_KEEP KUBE9_ANALYSIS_THRESHOLDS_ASSESSMENT=2s \
  KUBE9_ANALYSIS_THRESHOLDS_EXIT=1s "$recorder" serve --data-dir "$data" --listen "$address" --kubeconfig "$user" --log-format json
wait_for 60 "recorder is ready" curl -sf --noproxy '*' "http://$address/readyz" || die "no recorder" "$(tail -20 "$work/last-words.log")"
kubectl create namespace "$space" >/dev/null
w create secret generic db --from-literal=password="$secret" >/dev/null

log=/dev/termination-log
container() { # container NAME COMMAND [MORE]: as JSON
  jq -nc --arg name "$1" --arg command "$2" --argjson more "${3:-{\}}" \
    '{name: $name, image: "kube9.test/busybox:1", command: ["sh", "-c", $command], resources: {limits: {memory: "32Mi"}}} + $more'
}
pod() { # pod NAME CONTAINER...: its containers run once
  local name=$1
  shift
  printf '%s\n' "$@" | jq -sc --arg name "$name" \
    '{apiVersion: "v1", kind: "Pod", metadata: {name: $name}, spec: {restartPolicy: "Never", terminationGracePeriodSeconds: 1, containers: .}}'
}

fallback='{"terminationMessagePolicy": "FallbackToLogsOnError"}'
{
  pod exit-code "$(container app "echo 'cannot open /etc/app.conf' >$log; exit 3")"
  # The first process of a container ignores signals that it sends to itself.
  pod signal "$(container app "echo 'worker died' >$log; sleep 1000 & kill -TERM \$!; wait \$!; exit \$?")"
  pod oom "$(container app "echo 'loading the index' >$log; exec tail /dev/zero")"
  pod init "$(container app "sleep 1000")" |
    jq -c --argjson init "$(container migrate "echo 'migration 17 failed' >$log; exit 4")" '.spec.initContainers = [$init]'
  pod job "$(container app "echo 'no rows to export' >$log; exit 5")" |
    jq -c '{apiVersion: "batch/v1", kind: "Job", metadata: .metadata, spec: {backoffLimit: 0, template: {spec: .spec}}}'
  pod file "$(container app "echo 'from a file of its own' >/tmp/last; exit 6" '{"terminationMessagePath": "/tmp/last"}')"
  pod fallback "$(container app "echo starting; echo 'FATAL: no such table: users'; exit 7" "$fallback")"
  pod none "$(container app "echo 'only in the log'; exit 8")"
  pod long "$(container app "{ echo 'panic: first'; head -c 3900 /dev/zero | tr '\\0' x; echo 'fatal: last'; } >$log; exit 9")"
  pod binary "$(container app "printf 'bad \\001\\377\\376 header' >$log; exit 10")"
  pod secret "$(container app "echo \"login failed: password=\$PASSWORD postgres://app:\$PASSWORD@db/shop\" >$log; exit 11" \
    '{"env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]}')"
  pod two "$(container web "echo 'web: port 80 is taken' >$log; exit 12")" "$(container side "echo 'side: no upstream' >$log; exit 13")"
  # A crash loop, with other words each time.
  pod loop "$(container app "echo x >>/data/n; echo \"attempt \$(wc -l </data/n)\" >$log; exit 14" \
    '{"volumeMounts": [{"name": "data", "mountPath": "/data"}]}')" |
    jq -c '.spec += {restartPolicy: "Always", volumes: [{name: "data", emptyDir: {}}]}'
} | w apply -f - >/dev/null

# all FILTER: rows of the namespace, as JSON.
rows() { ask events list --object-namespace="$space" --limit=500 --format=json >"$data/rows.json" && jq -c "[.events[] | $1]" "$data/rows.json"; }
name_of() { if [[ $1 == job ]]; then echo 'test("^job-")'; else echo "test(\"^$1\$\")"; fi; }
finding() { # finding POD RULE CONTAINER: the words of a finding
  rows "select(.object_name // \"\" | $(name_of "$1")) | .metadata | select(.rule == \"$2\" and .container == \"$3\") | .last_words // \"\"" | jq -r 'first // "no finding"'
}
ended() { # ended POD CONTAINER: the words in the row of its end
  rows "select(.object_name // \"\" | $(name_of "$1")) | select(.metadata.reason == \"PodEnded\") | .metadata.containers[] | select(.container == \"$2\") | .last_words // \"\"" |
    jq -r 'first // "no row"'
}
has_finding() { [[ $(finding "$@") != "no finding" ]]; }
has_ended() { [[ $(ended "$@") != "no row" ]]; }

until_true 60 has_finding loop CrashLoop app || true
cases() { # POD RULE CONTAINER WORDS, an extended regular expression
  cat <<'LIST'
exit-code ContainerExitedWithError app ^cannot open /etc/app.conf$
signal ContainerExitedWithError app ^worker died$
oom ContainerOOMKilled app ^loading the index$
init ContainerExitedWithError migrate ^migration 17 failed$
job ContainerExitedWithError app ^no rows to export$
file ContainerExitedWithError app ^from a file of its own$
fallback ContainerExitedWithError app FATAL: no such table: users
none ContainerExitedWithError app ^$
long ContainerExitedWithError app ^panic: first.*x … x.*fatal: last$
binary ContainerExitedWithError app ^bad \\u\{1\}.+ header$
secret ContainerExitedWithError app ^login failed: password=\[REDACTED\] postgres://
two ContainerExitedWithError web ^web: port 80 is taken$
two ContainerExitedWithError side ^side: no upstream$
loop CrashLoop app ^attempt [0-9]+$
LIST
}
while read -r pod rule container words; do
  until_true 60 has_finding "$pod" "$rule" "$container" || true
  contains "$pod, finding $rule of $container" "$words" "$(finding "$pod" "$rule" "$container")"
done < <(cases)
say "signal: $(rows 'select(.object_name == "signal" and .metadata.rule != null) | .description' | jq -r '.[0]')"
contains "a signal is named" "signal 15" "$(rows 'select(.object_name == "signal") | .description')"
contains "an assessment recommends the end of the log where there are no words" none \
  "$(rows 'select(.metadata.rule == "TerminationMessageMissing") | .object_name')"
equals "and nowhere else" '["none"]' "$(rows 'select(.metadata.rule == "TerminationMessageMissing") | .object_name' | jq -c unique)"
equals "the crash loop has the first words too" "attempt 1" \
  "$(rows 'select(.metadata.rule == "CrashLoop") | .metadata.first_words' | jq -r '.[0]')"

# ---- after the pods are deleted
until_true 30 has_ended exit-code app || true
w delete job,pod --all --wait=true --timeout=60s >/dev/null || fail "the pods are deleted"
while read -r pod _ container words; do
  until_true 20 has_ended "$pod" "$container" || true
  contains "$pod, after its deletion: $container" "$words" "$(ended "$pod" "$container")"
done < <(cases)

# ---- the Secret
equals "the Secret is nowhere in the record" "" "$(grep -laF "$secret" "$data"/* "$work/last-words.log" || true)"
equals "the recorder logs no warning" "" "$(jq -r 'select(.level | IN("WARN", "ERROR")) | .fields.message // .message' "$work/last-words.log" | sort | uniq -c)"
finish
