#!/usr/bin/env bash
# cluster.sh [--full]: tests both containers in a real cluster: images, Helm, exec, RBAC, probes, scrape, faults.
# --full adds the long scenes: restarts of the node and the API server, reader states that need a pod's grace period.
source "$(dirname "$0")/lib.sh"
full=
[[ ${1:-} != --full ]] || full=1
ns=kube9-system
victims=kube9-victims
need jq jq
need curl curl
need sqlite3 sqlite3
need promtool prometheus
need python3
[[ $(id -u) == 0 ]] || skip "the cluster needs root"

source "$e2e/cluster-scenes.sh"
source "$e2e/cluster-findings.sh"
source "$e2e/cluster-import.sh"

cluster_up
need helm
need kubectl
# Removes what an earlier run left, if the cluster was kept.
kubectl delete namespace "$ns" "$victims" kube9-full --ignore-not-found >/dev/null
namespaces
aside dry-runs dry_runs
images_are_loaded
scene "install" install
scene "Events become rows" real_events
scene "the chart against the API server" rejoin dry-runs
scene "what the rules find" findings
scene "changes while the recorder is stopped" findings_after_restart
scene "a kind without permission" one_kind_forbidden
scene "permissions" rights
scene "access to containers" query_only
scene "what a user in the recorder's container can do" own_flags
scene "an attacker in the query container" isolation
aside full-volume full_volume
scene "the read-only reader on a real mount" reader_states
scene "restarts" restarts
scene "a full volume" rejoin full-volume
scene "Prometheus" prometheus_scrapes
scene "the drop-in for VS Code" drop_in
scene "sizes and times" figures
if [[ -n $full ]]; then scene "node and API server restart" node_and_server; fi
scene "the history of the original operator" history_of_the_original
scene "backup and restore" backup_and_restore
scene "upgrade and uninstall" upgrade_and_uninstall
finish
