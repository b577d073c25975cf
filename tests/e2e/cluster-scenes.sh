# shellcheck shell=bash disable=SC2054,SC2154,SC2317
# Sourced by cluster.sh: the scenes, each a function. They share one release, `kube9` in $ns, in the order they are called.

scene() {
  echo "---- $1 (at $SECONDS s)"
  shift
  "$@"
}

# images_are_new: both exist, and none of their sources is newer.
images_are_new() {
  local images=$root/target/images
  [[ -f $images/recorder.tar && -f $images/query.tar ]] &&
    [[ -z $(cd "$root" && find Cargo.toml Cargo.lock .cargo .ci/static-build Dockerfile.* rust-toolchain.toml shared recorder query-cli \
      -newer "$images/recorder.tar" -type f -print -quit) ]]
}

images_are_loaded() {
  if ! images_are_new; then
    bash "$e2e/images.sh" >"$work/images.log" 2>&1 || die "images" "$(tail -20 "$work/images.log")"
  fi
  "$cluster/load" "$root/target/images/recorder.tar" "$root/target/images/query.tar" >"$work/load-images.log" 2>&1 ||
    die "loading the images" "$(tail -5 "$work/load-images.log")"
}

# Values of every install here, and additional values of the main release.
image_values=(
  --set recorder.image.registry=localhost,recorder.image.repository=kube9-recorder,recorder.image.tag=dev
  --set query.image.registry=localhost,query.image.repository=kube9-query,query.image.tag=dev
  --set recorder.image.pullPolicy=Never,query.image.pullPolicy=Never
)
# Short thresholds, so that findings open and close within seconds, and a permission that is back is used immediately.
helm_values=("${image_values[@]}"
  --set config.analysis.thresholds.image_pull=5s,config.analysis.thresholds.unschedulable=5s
  --set config.analysis.thresholds.service=5s,config.analysis.thresholds.stable_after=8s,config.analysis.thresholds.recovery=5s
  --set config.analysis.thresholds.unavailable=5s,config.source.backoff.max=2s
)
upgrade() { # upgrade ARGUMENTS...: installs or changes the release and waits for it; these scenes may enter the recorder
  helm upgrade --install kube9 "$chart" --namespace "$ns" --create-namespace "${helm_values[@]}" \
    --set 'reader.breakGlass={system:masters,kube9-e2e-sre}' --wait --timeout 120s "$@"
}
k() { kubectl --namespace "$ns" "$@"; }
the_pod() { k get pods -l app.kubernetes.io/instance=kube9,app.kubernetes.io/component=recorder --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}'; }
ask() { k exec deploy/kube9 -c "${query_container:-query}" -- kube9-query "$@"; }
total() { ask events list --limit=1 "$@" | jq .pagination.total; }
has_row() { # a failing exec counts as no row, and does not end the script
  local rows
  rows=$(total "$@") && ((rows > 0))
}
recorder_ready() { [[ $(k get pod "$(the_pod)" -o jsonpath='{.status.containerStatuses[?(@.name=="recorder")].ready}') == true ]]; }

# host_pid CONTAINER: the process on this machine, through the runtime's cgroup of the pod.
host_pid() {
  local id
  id=$(k get pod "$(the_pod)" -o jsonpath="{.status.containerStatuses[?(@.name==\"$1\")].containerID}") || return 1
  id=${id##*/}
  [[ -n $id ]] || return 1
  local file
  file=$(grep -ls "$id" /proc/[0-9]*/cgroup | head -1) || true # a process may end while it is looked at
  [[ $file =~ ^/proc/([0-9]+)/ ]] && echo "${BASH_REMATCH[1]}"
}

# ---- scenes

namespaces() {
  kubectl create namespace "$ns" >/dev/null
  kubectl create namespace "$victims" >/dev/null
  # The Pod Security Standard that the pod must meet; the API server enforces it.
  kubectl label namespace "$ns" --overwrite pod-security.kubernetes.io/enforce=restricted >/dev/null
}

dry_runs() {
  "$e2e/crds.sh" || fail "CRDs of the Prometheus operator"
  check "CRDs of the Prometheus operator" kubectl apply --server-side --force-conflicts -f "$work/crds"
  # `kubectl wait` fails immediately where the status has no conditions yet.
  wait_for 120 "CRDs are established" kubectl wait --for=condition=Established --timeout=60s crd/servicemonitors.monitoring.coreos.com \
    crd/podmonitors.monitoring.coreos.com crd/prometheusrules.monitoring.coreos.com || true
  # shellcheck disable=SC2034 # render reads it
  local values out release=dry-run # the real one is being installed
  for values in "$chart"/ci/*-values.yaml; do
    out=$(render --values "$values" | kubectl apply --dry-run=server -f - 2>&1) || fail "${values##*/} is accepted" "$out"
    if [[ $(render --values "$values" | grep -c '^kind:') == $(grep -c '(server dry run)' <<<"$out") ]]; then
      ok "${values##*/}: every object is accepted"
    else fail "${values##*/}: not every object is accepted" "$out"; fi
    lacks "${values##*/}: fits Pod Security restricted" "would violate PodSecurity" "$out"
  done
}

install() {
  local begun notes
  begun=$(date +%s%N)
  notes=$(upgrade 2>&1) || die "helm install" "$notes"$'\n'"$(k describe pods | tail -30)"
  ok "helm install: ready after $((($(date +%s%N) - begun) / 1000000)) ms"
  until_true 60 has_row --type=cluster || die "no recorded event" "$(k logs deploy/kube9 -c recorder | tail -20)"
  ok "first recorded event seen after $((($(date +%s%N) - begun) / 1000000)) ms"
  # The notes, word for word.
  local line
  line=$(grep -m1 'kubectl exec -n .*events list' <<<"$notes")
  check "the exec line of the notes works" bash -c "$line"
  equals "one pod, all containers ready" "true true" \
    "$(k get pods -l app.kubernetes.io/component=recorder -o jsonpath='{.items[*].status.containerStatuses[*].ready}')"
  check "the default container is query" k exec deploy/kube9 -- kube9-query --version
  check "helm test" helm test kube9 --namespace "$ns" --timeout 60s
  equals "no container restarted" "0 0" "$(k get pod "$(the_pod)" -o jsonpath='{.status.containerStatuses[*].restartCount}')"
  wait_for 5 "status is operational" status_is_operational || true
  check "only owner and group can access the files of the database" bash -c "
    [[ \$(stat -c %a /proc/$(host_pid recorder)/root/data/kube9.db) == 640 ]]"
  k logs deploy/kube9 -c recorder >"$work/pod.log"
  check "the log is JSON, every line" jq -e . "$work/pod.log"
  lacks "the log has no warning about an unknown setting" "unknown environment variable" "$(cat "$work/pod.log")"
}

real_events() {
  kubectl -n "$victims" apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers: [{name: app, image: kube9.test/busybox:1, command: [sh, -c, "exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: nopull}
spec:
  containers: [{name: app, image: "registry.invalid/none:1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: oom}
spec:
  containers:
    - name: app
      image: kube9.test/busybox:1
      command: [sh, -c, "tail /dev/zero"]
      resources: {limits: {memory: 24Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: unwell}
spec:
  containers:
    - name: app
      image: kube9.test/busybox:1
      command: [sleep, "1000"]
      livenessProbe: {exec: {command: ["false"]}, periodSeconds: 1, failureThreshold: 1000}
---
apiVersion: v1
kind: Pod
metadata: {name: homeless}
spec:
  nodeSelector: {no.such/label: "1"}
  containers: [{name: app, image: kube9.test/busybox:1}]
YAML
  local in=(--object-namespace="$victims")
  wait_for 90 "a crash loop is an error" has_row "${in[@]}" --object-name=crash --reason=BackOff --severity=error || true
  wait_for 60 "a failed image pull is there" has_row "${in[@]}" --object-name=nopull --severity=warning+ || true
  wait_for 60 "a failing probe is there" has_row "${in[@]}" --object-name=unwell --reason=Unhealthy || true
  wait_for 60 "an unschedulable pod is there" has_row "${in[@]}" --object-name=homeless --reason=FailedScheduling || true
  wait_for 60 "the OOM-killed pod's restarts are there" has_row "${in[@]}" --object-name=oom --reason=BackOff || true
  # Every Event of the test namespace that the API server has, and none twice within the window of a row.
  api_events "$victims" | jq -r .metadata.uid | sort >"$work/victims.api"
  recorded() {
    ask events list "${in[@]}" --type=cluster --limit=1000 | jq -r '.events[].metadata.uid // empty' | sort -u >"$work/victims.db"
    ! comm -23 "$work/victims.api" "$work/victims.db" | grep .
  }
  wait_for 10 "every Event of theirs is recorded: $(wc -l <"$work/victims.api")" recorded || true
  contains "a table for people" "crash" "$(ask events list "${in[@]}" --format=table)"
}

rights() {
  local account=system:serviceaccount:$ns:kube9 kind verb allowed expected='' asked=()
  for kind in events pods nodes services configmaps deployments.apps serviceaccounts ingresses.networking.k8s.io \
    clusterroles.rbac.authorization.k8s.io secrets endpoints replicasets.apps leases.coordination.k8s.io; do
    for verb in get list watch create update patch delete; do
      case $kind-$verb in
      secrets-* | endpoints-* | replicasets.apps-* | leases.coordination.k8s.io-* | *-create | *-update | *-patch | *-delete) ;;
      *) expected+="$kind-$verb " ;;
      esac
      asked+=("$kind-$verb")
    done
  done
  for kind in exec log portforward; do
    for verb in get create; do asked+=("pods/$kind-$verb"); done
  done
  # In parallel, because each kubectl takes a moment.
  allowed=$(printf '%s\n' "${asked[@]}" | jq -R --arg account "$account" --arg ns "$ns" '
      capture("^(?<resource>[a-z]+)(\\.(?<group>[a-z0-9.]+))?(/(?<subresource>[a-z]+))?-(?<verb>[a-z]+)$") as $asked
      | {apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec: {
          user: $account, groups: ["system:serviceaccounts", "system:serviceaccounts:\($ns)", "system:authenticated"],
          resourceAttributes: ($asked | with_entries(select(.value != null)))}}' |
    kubectl create -f - -o json | jq -r 'if .items then .items[] else . end | select(.status.allowed) | .spec.resourceAttributes
      | "\(.resource)\(if .group then "." + .group else "" end)\(if .subresource then "/" + .subresource else "" end)-\(.verb)"' | tr '\n' ' ')
  equals "the recorder's account has exactly these permissions" "$expected" "$allowed"
  local other
  other=$("$cluster/user" kube9-e2e-stranger | tail -1)
  refuses "a user without permissions cannot query" kubectl --kubeconfig "$other" -n "$ns" exec deploy/kube9 -c query -- kube9-query status
  other=$("$cluster/user" kube9-e2e-reader kube9-e2e-oncall | tail -1)
  k create rolebinding kube9-e2e-oncall --role=kube9-reader --group=kube9-e2e-oncall --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  check "a user with the Role kube9-reader can" kubectl --kubeconfig "$other" -n "$ns" exec deploy/kube9 -c query -- kube9-query events list --limit=1
  if [[ -x ${KUBE9_E2E_BIN:-}/kubectl-kube9 ]]; then
    plugin() { PATH=$KUBE9_E2E_BIN:$PATH kubectl kube9 --kubeconfig "$other" -n "$ns" "$@"; }
    check "the plugin finds the pod and answers" plugin events list --limit=1
    # The status may be degraded by the machine of the test.
    contains "the plugin's check of the installation" '^ok    exec: kube9-query' "$(plugin install-check || true)"
    local code=0
    plugin events list --limit=0 >/dev/null 2>&1 || code=$?
    equals "the plugin's exit code is that of the command" 2 "$code"
  fi
  refuses "but not read ConfigMaps" kubectl --kubeconfig "$other" -n "$ns" get configmaps
  refuses "nor exec elsewhere" kubectl --kubeconfig "$other" -n "$victims" exec unwell -- true
  check "kube9-recorder check finds nothing missing" k exec deploy/kube9 -c recorder -- /kube9-recorder check --config=/etc/kube9/config.yaml
  check "and finds its config file by itself" k exec deploy/kube9 -c recorder -- /kube9-recorder check

  # Remove one permission at a time: check names it, and everything else continues.
  local out kind_name rules
  rules=$(kubectl get clusterrole "$ns-kube9" -o json)
  for kind in events nodes pods services configmaps deployments jobs; do
    for verb in list watch; do
      jq --arg kind "$kind" --arg verb "$verb" 'del(.metadata.resourceVersion) | .rules |= [.[] | . as $rule | .resources[] as $resource |
          $rule + {resources: [$resource]} | if $resource == $kind then .verbs -= [$verb] else . end]' <<<"$rules" |
        kubectl apply -f - >/dev/null 2>&1
      kind_name=${kind%s}
      # The authorizer of the API server uses a changed role a moment later.
      missing_is_named() {
        out=$(k exec deploy/kube9 -c recorder -- /kube9-recorder check --config=/etc/kube9/config.yaml 2>&1) && return 1
        grep MISSING <<<"$out" | grep -iE "$kind_name" | grep -qiE "$verb"
      }
      wait_for 15 "check names a missing $verb of $kind" missing_is_named || say "$out"
    done
  done
  kubectl -n "$victims" run proof --image=kube9.test/pause:1 --restart=Never >/dev/null 2>&1 || true
  wait_for 30 "and Events are recorded on" has_row --object-namespace="$victims" --object-name=proof || true
  upgrade >/dev/null 2>&1 # puts the right back
}

# api KUBECONFIG PATH [CURL-ARGUMENT]...: the API server's response to that user, also if it is an error.
api() {
  local user=$work/users/${1##*/} file
  mkdir -p "$work/users"
  if [[ ! $user.server -nt $1 ]]; then
    for file in users[0].user.client-certificate-data=crt users[0].user.client-key-data=key clusters[0].cluster.certificate-authority-data=ca; do
      kubectl --kubeconfig "$1" config view --raw -o jsonpath="{.${file%=*}}" | base64 -d >"$user.${file#*=}"
    done
    kubectl --kubeconfig "$1" config view -o jsonpath='{.clusters[0].cluster.server}' >"$user.server"
  fi
  curl -s --noproxy '*' --max-time 10 --cacert "$user.ca" --cert "$user.crt" --key "$user.key" "${@:3}" "$(cat "$user.server")$2"
}

# enters KUBECONFIG POD WHAT CONTAINER: allowed, or what denies it: policy or RBAC.
# A plain GET is treated as exec, attach or port-forward up to the point where the connection would be upgraded.
enters() {
  local pod=/api/v1/namespaces/$ns/pods/$2 container=${4:+&container=$4} out
  case $3 in
  exec) out=$(api "$1" "$pod/exec?command=/none&stdout=1$container") || true ;;
  attach) out=$(api "$1" "$pod/attach?stdout=1$container") || true ;;
  port-forward) out=$(api "$1" "$pod/portforward?ports=8080") || true ;;
  ephemeral)
    out=$(kubectl get --raw "$pod" | jq '.spec.ephemeralContainers += [{name: "in", image: "kube9.test/busybox:1",
        terminationMessagePolicy: "File", securityContext: {runAsNonRoot: true, runAsUser: 65534, allowPrivilegeEscalation: false,
        capabilities: {drop: ["ALL"]}, seccompProfile: {type: "RuntimeDefault"}}}]' |
      api "$1" "$pod/ephemeralcontainers?dryRun=All" -X PUT -H 'Content-Type: application/json' --data-binary @-) || true
    ;;
  esac
  case $out in
  *ValidatingAdmissionPolicy*) echo policy ;;
  *"is forbidden: User"*) echo RBAC ;;
  # Errors after admission: no upgrade was requested, or the container does not exist.
  *"Upgrade request required"* | *"container name must be specified"* | *"is not valid for pod"* | *'"ephemeralContainers":'*) echo allowed ;;
  *) echo "${out:0:60}" ;;
  esac
}

# Three users and the policy of reader.queryOnly, on the pod and on other pods.
query_only() {
  local reader sre admin pod row
  reader=$("$cluster/user" kube9-e2e-reader kube9-e2e-oncall | tail -1) # has the Role kube9-reader
  sre=$("$cluster/user" kube9-e2e-sre kube9-e2e-sre | tail -1)          # may do everything, and is in reader.breakGlass
  admin=$("$cluster/user" kube9-e2e-admin kube9-e2e-admins | tail -1)   # may do everything, and is not
  kubectl create clusterrolebinding kube9-e2e-admins --clusterrole=cluster-admin --group=kube9-e2e-sre --group=kube9-e2e-admins \
    --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  pod=$(the_pod)
  # Pods that do not belong to this release, one with a similar name.
  for row in bystander kube9-node-x7k2m; do
    k run "$row" --image=kube9.test/pause:1 --restart=Never --overrides='{"spec": {"securityContext": {"runAsNonRoot": true, "runAsUser": 65534,
      "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [{"name": "app", "image": "kube9.test/pause:1", "securityContext":
      {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}}' >/dev/null || fail "the pod $row"
  done
  k wait --for=condition=Ready pod/bystander pod/kube9-node-x7k2m --timeout=60s >/dev/null || fail "neighbours are ready"

  local what name container expected found table='' wrong=0
  while read -r what name container expected; do
    [[ $name != kube9 ]] || name=$pod
    found="$(enters "$reader" "$name" "$what" "${container#-}") $(enters "$sre" "$name" "$what" "${container#-}") $(enters "$admin" "$name" "$what" "${container#-}")"
    table+=$(printf '%-13s %-24s %-10s %-8s %-12s %s' "$what" "$name" "$container" $found)$'\n'
    [[ $found == "$expected" ]] || wrong=$((wrong + 1))
    [[ $found == "$expected" ]] || fail "$what $name $container: reader, break glass, cluster-admin" "expected: $expected"$'\n'"found:    $found"
  done <<'ROWS'
exec kube9 query allowed allowed allowed
exec kube9 recorder policy allowed policy
exec kube9 - policy allowed policy
exec kube9 operator policy allowed policy
exec kube9 none policy allowed policy
exec bystander app allowed allowed allowed
exec bystander - allowed allowed allowed
exec kube9-node-x7k2m app allowed allowed allowed
attach kube9 query RBAC allowed policy
attach kube9 recorder RBAC allowed policy
attach kube9 - RBAC allowed policy
attach bystander app RBAC allowed allowed
port-forward kube9 - RBAC allowed policy
port-forward bystander - RBAC allowed allowed
ephemeral kube9 - RBAC allowed policy
ephemeral bystander - RBAC allowed allowed
ROWS
  equals "rows in which the policy does not do what it should" 0 "$wrong"
  say "$(printf '%-13s %-24s %-10s %-8s %-12s %s' what pod container reader 'break glass' cluster-admin)"
  while read -r row; do say "$row"; done <<<"${table%$'\n'}"

  # With kubectl.
  as() { kubectl --kubeconfig "$1" -n "$ns" "${@:2}"; }
  local refused='ValidatingAdmissionPolicy .*exec is allowed into the container query only: kubectl exec -c query'
  check "the reader queries" as "$reader" exec deploy/kube9 -c query -- kube9-query events list --limit=1
  check "also by the default container" as "$reader" exec deploy/kube9 -- kube9-query events list --limit=1
  contains "the error names the container to use" "$refused" "$(as "$reader" exec deploy/kube9 -c recorder -- /kube9-recorder check 2>&1 || true)"
  check "break glass reaches the recorder" as "$sre" exec deploy/kube9 -c recorder -- /kube9-recorder --version
  contains "a cluster-admin does not" "$refused" "$(as "$admin" exec deploy/kube9 -c recorder -- /kube9-recorder check 2>&1 || true)"
  refused='ValidatingAdmissionPolicy .*attach, port-forward and ephemeral containers are not allowed'
  contains "kubectl attach is denied" "$refused" "$(timeout 20 kubectl --kubeconfig "$admin" -n "$ns" attach "$pod" -c recorder 2>&1 || true)"
  contains "kubectl port-forward is denied" "$refused" "$(timeout 20 kubectl --kubeconfig "$admin" -n "$ns" port-forward "$pod" :8080 2>&1 || true)"
  contains "kubectl debug is denied" "$refused" \
    "$(timeout 20 kubectl --kubeconfig "$admin" -n "$ns" debug "$pod" --profile=restricted --image=kube9.test/busybox:1 --target=recorder -- true 2>&1 || true)"
  equals "the API server has no warning about the policies" "" \
    "$(kubectl get validatingadmissionpolicies -l app.kubernetes.io/instance=kube9 -o jsonpath='{.items[*].status.typeChecking.expressionWarnings}')"
  k delete pod bystander kube9-node-x7k2m --grace-period=1 --wait=false >/dev/null
}

# What a user in the recorder's container can do with its program: no token is sent, no file is shown.
own_flags() {
  local token=/var/run/secrets/kubernetes.io/serviceaccount/token out flag
  in_recorder() { k exec -i deploy/kube9 -c recorder -- /kube9-recorder "$@" 2>&1; }
  local kubeconfig="{apiVersion: v1, kind: Config, current-context: c, users: [{name: u, user: {tokenFile: $token}}],
    clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}], contexts: [{name: c, context: {cluster: c, user: u}}]}"
  for flag in --kubeconfig=/dev/stdin --config=/dev/stdin "--config=$token" "--kubeconfig=$token" --context=c --data-dir=/tmp --listen=0.0.0.0:9; do
    out=$(in_recorder check "$flag" <<<"$kubeconfig" || true)
    contains "check $flag is rejected" "inside a pod" "$out"
    contains "with exit code 2" "exit code 2" "$out"
    lacks "and shows no token" "eyJ" "$out"
  done
  out=$(in_recorder check --url=https://kubernetes.default.svc </dev/null || true)
  lacks "check --url shows nothing of the API server" "kind|Status|reason" "$out"
  out=$(in_recorder check --url=http://user:pass@127.0.0.1:8080 </dev/null || true)
  lacks "nor a password of its URL" "pass" "$out"
  out=$(in_recorder check --url=http://127.0.0.1:8080 </dev/null || true)
  contains "of its own recorder it shows status and checks" "^healthy|^degraded" "$out"
  lacks "and nothing else" "since|message|version" "$out"
  for flag in /data/mine.db /dev/shm/mine.db; do
    out=$(in_recorder snapshot "$flag" </dev/null || true)
    contains "snapshot $flag is rejected" "inside a pod, snapshot writes to stdout only" "$out"
  done
  out=$(in_recorder check --log-level=trace,hyper=trace,hyper_util=trace,kube_client=trace,rustls=trace,tower=trace </dev/null || true)
  contains "check works" "permissions are granted" "$out"
  lacks "and no log level shows the token" "eyJ|Bearer" "$out"
}

isolation() {
  local pid out
  pid=$(host_pid query) || { fail "the process of the query container"; return; }
  out=$(python3 "$e2e/attack.py" "$pid" 10002 10001 2>&1) && ok "nothing that an attacker tries works" || fail "what an attacker can do" "$out"
  local before after
  before=$(find "/proc/$pid/root/data" -type f | sort)
  k exec deploy/kube9 -- kube9-query --db /data/new.db events list >/dev/null 2>&1 && fail "a database that does not exist was read"
  k exec deploy/kube9 -- kube9-query --db 'file:/data/new2.db?mode=rwc' events list >/dev/null 2>&1 && fail "a URI is taken for a database"
  after=$(find "/proc/$pid/root/data" -type f | sort)
  equals "no flag makes a file" "$before" "$after"
  lacks "no token in the query container" "serviceaccount" "$(cat "/proc/$pid/mountinfo")"
  contains "the token is in the recorder" "serviceaccount" "$(cat "/proc/$(host_pid recorder)/mountinfo")"
  equals "the recorder's user" "10001 10001" "$(awk '/^Uid/ {u = $2} /^Gid/ {print u, $2}' "/proc/$(host_pid recorder)/status")"
  contains "the recorder has no capability" "^CapEff:.0+$" "$(cat "/proc/$(host_pid recorder)/status")"
}

# reader_pod VOLUME-JSON: a pod of its own with the query's image and a read-only volume.
reader_pod() {
  k delete pod reader --ignore-not-found --grace-period=1 --wait >/dev/null
  k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 10002, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: query
      image: localhost/kube9-query:dev
      imagePullPolicy: Never
      command: [/kube9-query, pause]
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
  volumes: [{name: data, $1}]
YAML
  k wait --for=condition=Ready pod/reader --timeout=60s >/dev/null || fail "the reader's pod is ready"
}
reader_says() { k exec reader -- kube9-query "$@"; }
reader_total() { reader_says events list --limit=1 | jq .pagination.total; }
stopped() { [[ -z $(k get pods -l app.kubernetes.io/component=recorder -o name) ]]; }

reader_states() {
  local claim='persistentVolumeClaim: {claimName: kube9}' rows out volume
  volume=$(kubectl get pv "$(k get pvc kube9 -o jsonpath='{.spec.volumeName}')" -o json |
    jq -r '.spec | (.hostPath // .local // .csi.volumeAttributes).path')
  check "recorder running: right answer" ask status

  # Clean stop.
  k scale deploy/kube9 --replicas=0 >/dev/null
  wait_for 60 "the recorder stops in order" stopped || return 0
  rows=$(sql "$volume/kube9.db" 'SELECT count(*) FROM events')
  reader_pod "$claim"
  equals "recorder stopped: right answer" "$rows" "$(reader_total)"
  local before
  before=$(cd "$volume" && md5sum kube9.db*)
  reader_says events list >/dev/null 2>&1 || true
  equals "recorder stopped: reading changes nothing" "$before" "$(cd "$volume" && md5sum kube9.db*)"
  rm -f "$volume/kube9.db-shm"
  out=$(reader_total 2>&1) || true
  if [[ $out == "$rows" ]]; then ok "-shm missing: right answer"; else contains "-shm missing: an error message" "^error: |\"error\"" "$out"; fi
  k delete pod reader --grace-period=1 >/dev/null

  # Killed with rows in the WAL: a process stopped by SIGSTOP does not react to the kubelet's SIGTERM.
  k scale deploy/kube9 --replicas=1 >/dev/null
  k rollout status deploy/kube9 --timeout=60s >/dev/null || fail "the recorder comes back"
  kubectl -n "$victims" run late --image=kube9.test/pause:1 --restart=Never >/dev/null
  wait_for 30 "a row that is only in the WAL" has_row --object-namespace="$victims" --object-name=late || true
  local pid n
  pid=$(host_pid recorder)
  is_frozen() { [[ -z $(grep -L '^State:.T' /proc/"$pid"/task/*/status) ]]; }
  for n in 1 2 3 4 5; do
    kill -STOP "$pid"
    # A thread stops only when its system call is done, which may be the one that truncates the log.
    until_true 10 is_frozen || fail "the recorder is frozen"
    [[ -s $volume/kube9.db-wal ]] && break
    # A checkpoint has just emptied it: continue the process until there is another row.
    kill -CONT "$pid"
    kubectl -n "$victims" run "late-$n" --image=kube9.test/pause:1 --restart=Never >/dev/null
    until_true 30 test -s "$volume/kube9.db-wal" || true
  done
  k scale deploy/kube9 --replicas=0 >/dev/null
  # Until its SIGTERM is pending, the kubelet would restart a container that ends; the recorder would then stop in order.
  is_ending() { (($((16#$(awk '$1 == "ShdPnd:" {print $2}' /proc/"$pid"/status))) & 1 << 14)); }
  until_true 20 is_ending || fail "the pod is terminating"
  kill -KILL "$pid"
  wait_for 60 "the recorder is killed" stopped || return 0
  [[ -s $volume/kube9.db-wal ]] && ok "and leaves a WAL of $(stat -c %s "$volume/kube9.db-wal") bytes" || fail "no WAL left: nothing is shown"
  rows=$(cp "$volume"/kube9.db* "$(mktemp -d -p "$work" killed.XXXX)" && sql "$(ls -td "$work"/killed.*/ | head -1)kube9.db" 'SELECT count(*) FROM events')
  reader_pod "$claim"
  equals "recorder killed: right answer, the WAL's rows too" "$rows" "$(reader_total)"
  k delete pod reader --grace-period=1 >/dev/null

  # An empty volume.
  reader_pod 'emptyDir: {}'
  out=$(reader_says events list 2>&1) && fail "empty volume: exit code" "$out"
  contains "empty volume: an error message" "database /data/kube9.db not found" "$out"
  equals "empty volume: still empty" "" "$(find "/proc/$(pgrep -nf '^/kube9-query pause')/root/data" -type f)"
  k delete pod reader --grace-period=1 >/dev/null

  k scale deploy/kube9 --replicas=1 >/dev/null
  k rollout status deploy/kube9 --timeout=60s >/dev/null || fail "the recorder comes back"
  wait_for 30 "recorder restarted and idle: right answer" has_row || true
  rm -rf "$work"/killed.*
}

# A full volume: another release, in memory, 1 MiB.
full_volume() {
  helm upgrade --install full "$chart" --namespace kube9-full --create-namespace "${image_values[@]}" \
    --set persistence.enabled=false,persistence.medium=Memory,persistence.size=1Mi,config.storage.max_bytes=64Mi,reader.create=false \
    --wait --timeout 90s >/dev/null 2>&1 || fail "a release on a tiny volume starts"
  background full-load kube events --kubeconfig "$KUBECONFIG" --namespace kube9-full -n 10000 -c 8 -no-watch -message 900
  local load=$pid
  full_is_degraded() { kubectl -n kube9-full exec deploy/full-kube9 -- kube9-query status | jq -e '.status == "degraded"'; }
  wait_for 60 "full: status says degraded" full_is_degraded || true
  check "full: the reader answers" kubectl -n kube9-full exec deploy/full-kube9 -- kube9-query events list --limit=5
  terminate "$load"
  equals "full: no restart" 0 "$(kubectl -n kube9-full get pods -o jsonpath='{.items[0].status.containerStatuses[?(@.name=="recorder")].restartCount}')"
  helm uninstall full --namespace kube9-full --wait >/dev/null 2>&1 || true
}

gaps_are_accounted() { # every gap row is closed and says why
  ask events list --type=system --search='Recording gap' --limit=1000 >"$work/gaps.json" || return 1
  jq -e '[.events[] | select(.metadata.cause == null or .metadata.recovery == null)] == []' "$work/gaps.json"
}
no_doubles() { # uids whose rows overlap: a uid may have a row for each window, never two with one beginning
  ask events list --type=cluster --object-namespace="$victims" --limit=1000 >"$work/rows.json" || return 1
  jq -e '[.events[] | select(.metadata.uid) | [.metadata.uid, .created_at]] | length == (unique | length)' "$work/rows.json"
}

restarts() {
  local before pod
  before=$(total)
  pod=$(the_pod)
  kill -KILL "$(host_pid recorder)"
  restarted() { [[ $(k get pod "$pod" -o jsonpath='{.status.containerStatuses[?(@.name=="recorder")].restartCount}') -ge 1 ]] && recorder_ready; }
  wait_for 60 "the killed container comes back" restarted || true
  kubectl -n "$victims" run after-kill --image=kube9.test/pause:1 --restart=Never >/dev/null
  wait_for 30 "and records" has_row --object-namespace="$victims" --object-name=after-kill || true
  k delete pod "$pod" --wait >/dev/null
  k rollout status deploy/kube9 --timeout=90s >/dev/null || fail "a deleted pod is replaced"
  kubectl -n "$victims" run after-delete --image=kube9.test/pause:1 --restart=Never >/dev/null
  wait_for 30 "the new pod records" has_row --object-namespace="$victims" --object-name=after-delete || true
  if (($(total) >= before)); then ok "the record is the same one"; else fail "rows were lost: $before before, $(total) now"; fi
  check "every gap has a cause and a result" gaps_are_accounted
  check "no Event has two rows with the same start" no_doubles
}

node_and_server() {
  "$cluster/restart" kubelet >>"$work/cluster.log" 2>&1 || fail "restart of the kubelet"
  wait_for 90 "after a restart of the kubelet the pod is ready" recorder_ready || true
  "$cluster/restart" apiserver >>"$work/cluster.log" 2>&1 || fail "restart of the API server"
  kubectl -n "$victims" run after-server --image=kube9.test/pause:1 --restart=Never >/dev/null
  wait_for 90 "after a restart of the API server it records" has_row --object-namespace="$victims" --object-name=after-server || true
  equals "neither restarted the recorder" "0 0" "$(k get pod "$(the_pod)" -o jsonpath='{.status.containerStatuses[*].restartCount}')"
  check "every gap has a cause and a result" gaps_are_accounted
  check "no Event has two rows with the same start" no_doubles
}

prometheus_scrapes() {
  local address annotations
  address=$(k get service kube9 -o jsonpath='{.spec.clusterIP}:{.spec.ports[?(@.name=="metrics")].port}')
  annotations=$(k get service kube9 -o json | jq -r '.metadata.annotations | "\(.["prometheus.io/scrape"]) \(.["prometheus.io/path"]) \(.["prometheus.io/port"])"')
  equals "annotations of the Service" "true /metrics 8080" "$annotations"
  # Short thresholds, so that a fault shows within seconds.
  local alert now=()
  for alert in Kube9Down Kube9EventsNotWatched Kube9Unhealthy; do now+=(--set "prometheusRule.alerts.$alert.for=4s"); done
  rendered_rules "$work/live.rules.yaml" "${now[@]}" \
    --set prometheusRule.alerts.Kube9Restarting.threshold=0,prometheusRule.alerts.Kube9Restarting.window=20s
  cat >"$work/prometheus.yaml" <<YAML
global: {scrape_interval: 2s, evaluation_interval: 2s}
rule_files: [$work/live.rules.yaml]
scrape_configs:
  - job_name: kube9
    static_configs: [{targets: ["$address"], labels: {namespace: $ns, pod: kube9-0}}]
YAML
  rm -rf "$work/prometheus"
  background prometheus "$cluster/enter" prometheus --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/prometheus" \
    --web.listen-address=127.0.0.1:9090
  local prometheus_pid=$pid
  # $1: a query; prints the JSON answer
  promql() { "$cluster/enter" curl -sf --noproxy '*' --max-time 10 http://127.0.0.1:9090/api/v1/query --data-urlencode "query=$1"; }
  scraped() { promql 'kube9_build_info' | jq -e '.data.result | length == 1'; }
  wait_for 40 "Prometheus scrapes the Service" scraped || return 0
  "$cluster/enter" curl -sf --noproxy '*' "http://$address/metrics" >"$work/metrics.txt"
  check "promtool check metrics" promtool check metrics <"$work/metrics.txt"
  sleep 6 # three scrapes, so that rates have two samples
  local query empty=()
  while read -r query; do
    case $(promql "$query" | jq -r '"\(.status) \(.data.result | length > 0)"') in
    "success true") ;;
    "success false") empty+=("$query") ;;
    *) fail "query of the dashboard" "$query" ;;
    esac
  done < <(python3 "$e2e/chart-manifests.py" dashboard-rules | python3 -c 'import sys, yaml
for rule in yaml.safe_load(sys.stdin)["groups"][0]["rules"]: print(rule["expr"])')
  # Metrics that count nothing here; their names are checked against docs/metrics.md.
  lacks "queries of the dashboard without data" . "$(printf '%s\n' "${empty[@]}" | grep -vE 'findings_open|kube9_changes_total|skipped|NaN|_bucket|^$' || true)"
  alerts() { promql 'ALERTS{alertstate="firing"}' | jq -r '[.data.result[].metric.alertname] | unique | join(" ")'; }
  equals "no alert fires" "" "$(alerts)"
  fires() { [[ " $(alerts) " == *" $1 "* ]]; }
  silent() { [[ -z $(alerts) ]]; }

  kill -KILL "$(host_pid recorder)"
  wait_for 40 "a restart: Kube9Restarting fires" fires Kube9Restarting || true
  k scale deploy/kube9 --replicas=0 >/dev/null
  wait_for 60 "the recorder is down: Kube9Down fires" fires Kube9Down || true
  # It starts again without its permissions.
  kubectl delete clusterrolebinding "$ns-kube9" >/dev/null
  k scale deploy/kube9 --replicas=1 >/dev/null
  wait_for 60 "rights are missing: Kube9EventsNotWatched fires" fires Kube9EventsNotWatched || true
  wait_for 20 "and Kube9Unhealthy" fires Kube9Unhealthy || true
  lacks "and Kube9Down is silent" Kube9Down "$(alerts)"
  upgrade >/dev/null 2>"$work/helm.log" || fail "helm upgrade puts the rights back" "$(tail -3 "$work/helm.log")"
  kubectl -n "$victims" run after-rights --image=kube9.test/pause:1 --restart=Never >/dev/null
  wait_for 45 "rights are back: Events are recorded" has_row --object-namespace="$victims" --object-name=after-rights || true
  equals "without a restart" 0 "$(k get pod "$(the_pod)" -o jsonpath='{.status.containerStatuses[?(@.name=="recorder")].restartCount}')"
  wait_for 60 "and every alert is silent" silent || true
  terminate "$prometheus_pid"
}

drop_in() {
  upgrade --set compat.vscode.enabled=true >/dev/null 2>"$work/helm.log" || { fail "helm upgrade to the drop-in" "$(tail -5 "$work/helm.log")"; return; }
  local pod out
  pod=$(k get pods -l app.kubernetes.io/name=kube9-operator --field-selector=status.phase=Running -o json |
    jq -r '.items[] | select(.status.containerStatuses[] | select(.name == "operator" and .ready)).metadata.name' | head -1)
  contains "a pod of that label has a ready container operator" "^kube9-" "$pod"
  out=$(k exec "$pod" -c operator -- kube9-operator query events list "--since=$(date -u -d '-1 hour' +%Y-%m-%dT%H:%M:%S.000Z)" \
    --object-namespace="$victims" --limit=25 --format=json) || fail "the extension's command: exit code"
  check "the extension's command answers with one JSON document" jq -es 'length == 1 and (.[0].events | length > 0)' <<<"$out"
  local reader
  reader=$("$cluster/user" kube9-e2e-reader kube9-e2e-oncall | tail -1)
  equals "a reader reaches the container operator only" "allowed policy policy" \
    "$(enters "$reader" "$pod" exec operator) $(enters "$reader" "$pod" exec recorder) $(enters "$reader" "$pod" exec query)"
  equals "ConfigMap kube9-operator-status names the namespace" "$ns" "$(k get configmap kube9-operator-status -o jsonpath='{.data.namespace}')"
  local account=system:serviceaccount:$ns:kube9
  check "the recorder may patch it" kubectl auth can-i patch configmaps/kube9-operator-status -n "$ns" --as "$account"
  refuses "and no other ConfigMap" kubectl auth can-i patch configmaps/kube9 -n "$ns" --as "$account"
  # What the extension requires: the fields, healthy, and not older than five minutes.
  status_is_there() {
    k get configmap kube9-operator-status -o json | jq -e --arg ns "$ns" '.data.status | fromjson |
      .mode == "operated" and .tier == "free" and (.version | length > 0) and .health == "healthy" and .error == null
      and .namespace == $ns and (now - (.lastUpdate | sub("\\.[0-9]+Z$"; "Z") | fromdate) | fabs) < 300'
  }
  wait_for 60 "the recorder says there that it is healthy" status_is_there || true
  upgrade --set compat.vscode.enabled=true,podAnnotations.again=yes >/dev/null 2>&1 || fail "helm upgrade with the drop-in on"
  wait_for 30 "an upgrade leaves the status" status_is_there || true
  has_no_change() { [[ $(query_container=operator total --object-kind=ConfigMap --object-name=kube9-operator-status) == 0 ]]; }
  check "and its changes are not recorded" has_no_change
  upgrade --set compat.vscode.enabled=false >/dev/null 2>&1 || fail "helm upgrade back"
}

figures() {
  local node stats pid
  node=$(k get pod "$(the_pod)" -o jsonpath='{.spec.nodeName}')
  memory() {
    kubectl get --raw "/api/v1/nodes/$node/proxy/stats/summary" | jq -c --arg pod "$(the_pod)" \
      '[.pods[] | select(.podRef.name == $pod).containers[] | {(.name): .memory.workingSetBytes}] | add'
  }
  stats=$(memory)
  say "memory as the kubelet accounts it: $stats"
  local already
  already=$(total --object-namespace="$victims" --reason=Load)
  kube events --kubeconfig "$KUBECONFIG" --namespace "$victims" -n 5000 -c 8 -no-watch >/dev/null || fail "load of 5000 Events"
  loaded() { (($(total --object-namespace="$victims" --reason=Load) >= already + 5000)); }
  wait_for 60 "a load of 5000 Events is recorded" loaded || true
  local loaded_at
  loaded_at=$(date +%s)
  measured() { # the kubelet measures every ten seconds
    kubectl get --raw "/api/v1/nodes/$node/proxy/stats/summary" | jq -e --arg pod "$(the_pod)" --argjson at "$loaded_at" \
      '[.pods[] | select(.podRef.name == $pod).containers[].memory.time | sub("\\.[0-9]+"; "") | fromdate] | length == 2 and min > $at'
  }
  wait_for 25 "the kubelet has measured since" measured || true
  stats=$(memory)
  say "and after the load: $stats"
  at_most "memory of the recorder" $((64 << 20)) "$(jq '.recorder // 0' <<<"$stats")" bytes
  at_most "memory of the query container" $((16 << 20)) "$(jq '.query // 0' <<<"$stats")" bytes
  at_most "recorder's image" 12000000 "$(stat -c %s "$root/target/images/recorder.tar")" bytes
  at_most "query's image" 5000000 "$(stat -c %s "$root/target/images/query.tar")" bytes

  # Latency of an exec, and the part of it that is kube9: the same binary on the same mount, started directly.
  pid=$(host_pid query)
  milliseconds() { # milliseconds COMMAND...: the fastest of seven
    local best=999999999 from took _
    for _ in 1 2 3 4 5 6 7; do
      from=$(date +%s%N)
      "$@" >/dev/null 2>&1 || return 1
      took=$((($(date +%s%N) - from) / 1000))
      ((took >= best)) || best=$took
    done
    printf '%d.%03d' $((best / 1000)) $((best % 1000))
  }
  say "kubectl exec … events list --limit=25: $(milliseconds ask events list --limit=25) ms, of which kube9:" \
    "$(milliseconds nsenter --target "$pid" --mount -- /kube9-query events list --limit=25) ms"
}

# The commands of docs/operations.md, with another image.
backup_and_restore() {
  local rows
  commands() { # commands FIRST-WORDS: the block of the page that begins so
    awk -v begins="$1" '/^```/ {inside = !inside; block = ""; next} inside {block = block $0 "\n"}
      inside && index(block, begins) == 1 {found = 1; text = block} END {printf "%s", text; exit !found}' "$root/docs/operations.md"
  }
  rows=$(total)
  (cd "$work" && rm -f kube9.db && bash -euc "$(commands 'kubectl exec -n kube9-system deploy/kube9 -c recorder -- /kube9-recorder snapshot' | head -1)") \
    >"$work/backup.log" 2>&1 || fail "snapshot to stdout" "$(tail -5 "$work/backup.log")"
  equals "the backup is intact" ok "$(sql "$work/kube9.db" 'PRAGMA integrity_check')"
  if (($(sql "$work/kube9.db" 'SELECT count(*) FROM events') >= rows)); then ok "it has all rows"; else fail "rows are missing from the backup"; fi
  sql "$work/kube9.db" 'SELECT id FROM events' | sort >"$work/backup.ids"
  (cd "$work" && bash -euc "$(commands 'kubectl scale -n kube9-system deploy/kube9 --replicas=0' | sed 's#image: busybox#image: kube9.test/busybox:1#')") \
    >"$work/restore.log" 2>&1 || fail "restore" "$(tail -5 "$work/restore.log")"
  k rollout status deploy/kube9 --timeout=60s >/dev/null || fail "the recorder starts on the backup"
  all_are_back() {
    ask events export --format=csv --fields=id | sort >"$work/restored.ids"
    ! comm -23 "$work/backup.ids" "$work/restored.ids" | grep .
  }
  wait_for 30 "every row of the backup is restored" all_are_back || true
}

upgrade_and_uninstall() {
  local rows
  upgrade >/dev/null 2>&1 || fail "helm upgrade"
  rows=$(total)
  helm uninstall kube9 --namespace "$ns" --wait >/dev/null || fail "helm uninstall"
  equals "uninstall keeps the claim" kube9 "$(k get pvc -o jsonpath='{.items[*].metadata.name}')"
  equals "and nothing else of the release" "" "$(k get deploy,cm,svc,sa,role,rolebinding -l app.kubernetes.io/instance=kube9 -o name)"
  equals "nor outside its namespace" "" \
    "$(kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings -l app.kubernetes.io/instance=kube9 -o name)"
  # The first version of the chart.
  rm -rf "$work/first"
  mkdir -p "$work/first"
  tar -xzf "$e2e/first-chart.tgz" -C "$work/first"
  helm install kube9 "$work/first/charts/kube9" --namespace "$ns" "${image_values[@]}" --wait --timeout 120s >/dev/null 2>"$work/helm.log" ||
    fail "install of the first chart" "$(tail -5 "$work/helm.log")"
  wait_for 30 "the first chart finds the record again" has_row || true
  upgrade >/dev/null 2>"$work/helm.log" || fail "upgrade from the first chart" "$(tail -5 "$work/helm.log")"
  if (($(total) >= rows)); then ok "upgrade from the first chart keeps the record"; else fail "upgrade lost rows: $rows, now $(total)"; fi
  helm rollback kube9 1 --namespace "$ns" --wait --timeout 120s >/dev/null 2>"$work/helm.log" || fail "helm rollback" "$(tail -5 "$work/helm.log")"
  if (($(total) >= rows)); then ok "and so does the way back (helm rollback)"; else fail "rollback lost rows: $rows, now $(total)"; fi
  upgrade --set persistence.retain=false --wait=false >/dev/null 2>&1 || fail "retain=false"
  helm uninstall kube9 --namespace "$ns" --wait >/dev/null || fail "helm uninstall"
  gone() { [[ -z $(k get pvc -o name) ]]; }
  wait_for 30 "retain=false deletes the claim" gone || true
  if [[ -n $keep ]]; then
    kubectl delete namespace "$ns" "$victims" kube9-full --wait=false >/dev/null 2>&1 || true
    kubectl delete -f "$work/crds" >/dev/null 2>&1 || true
  fi
}
