#!/usr/bin/env bash
# crds.sh: generates the CRDs of ServiceMonitor, PodMonitor and PrometheusRule into target/e2e/crds, from the Go module
# that defines them, so that a real API server validates what the chart renders. The first run takes a minute.
source "$(dirname "$0")/lib.sh"
monitoring=v0.95.1
controller_tools=v0.23.0
out=$work/crds
[[ ! -f $out/$monitoring-$controller_tools ]] || exit 0
need go
rm -rf "$out"
mkdir -p "$out"
cd "$out"
{
  go mod init crds
  go get "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring@$monitoring"
  go get -tool "sigs.k8s.io/controller-tools/cmd/controller-gen@$controller_tools"
  printf 'package crds\n\nimport _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"\n' >crds.go
  go mod tidy
  nice go tool controller-gen crd output:crd:dir=all \
    paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1
} >"$work/crds.log" 2>&1 || die "generating the CRDs" "$(tail -5 "$work/crds.log")"
for kind in servicemonitors podmonitors prometheusrules; do mv "all/monitoring.coreos.com_$kind.yaml" "$kind.yaml"; done
rm -rf all go.mod go.sum crds.go
: >"$monitoring-$controller_tools"
