{{/* Name of the chart, as in labels. */}}
{{- define "kube9.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Name of the objects: the release's name if it contains the chart's. */}}
{{- define "kube9.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Selector of the pod. Without app.kubernetes.io/name, because compat.vscode changes that label, and selectors are immutable. */}}
{{- define "kube9.selectorLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: recorder
{{- end }}

{{/* Labels of every object except the pod. */}}
{{- define "kube9.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "kube9.name" . }}
{{ include "kube9.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: kube9
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of the pod, without those that change with each version, so that the recorder does not restart for a label. */}}
{{- define "kube9.podLabels" -}}
app.kubernetes.io/name: {{ .Values.compat.vscode.enabled | ternary "kube9-operator" (include "kube9.name" .) }}
{{ include "kube9.selectorLabels" . }}
app.kubernetes.io/part-of: kube9
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name of the container that people exec into. */}}
{{- define "kube9.queryContainer" -}}
{{- .Values.compat.vscode.enabled | ternary "operator" .Values.query.containerName }}
{{- end }}

{{- define "kube9.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kube9.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Name of an image. Context: dict "image" MAP "root" $ */}}
{{- define "kube9.image" -}}
{{- $name := .image.repository }}
{{- with .image.registry }}
{{- $name = printf "%s/%s" . $name }}
{{- end }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) }}
{{- end }}
{{- end }}

{{/* Bytes of a Kubernetes quantity, as an integer. The schema allows only a number and a suffix. */}}
{{- define "kube9.bytes" -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 "" 1 }}
{{- $text := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $text }}
{{- if not (hasKey $units $unit) }}{{ fail (printf "%q is not a size such as 512Mi or 1Gi" $text) }}{{ end }}
{{- mulf (float64 (trimSuffix $unit $text)) (get $units $unit) | floor | int64 }}
{{- end }}

{{/* Namespaces that a namespaced install records, as a JSON list. */}}
{{- define "kube9.namespaces" -}}
{{- default (list .Release.Namespace) .Values.rbac.namespaces | uniq | toJson }}
{{- end }}

{{/* The recorder's configuration: derived from the values, overridden by `config`. */}}
{{- define "kube9.config" -}}
{{- $config := dict
      "data_dir" "/data"
      "listen" (printf "%s:%d" .Values.recorder.bindAddress (int .Values.recorder.port))
      "retention" (dict "info_warning" .Values.retention.infoWarning "error_critical" .Values.retention.errorCritical "revisions" .Values.retention.revisions) }}
{{- /* Only what differs from the recorder's defaults: `false` in `config` would not replace `true`. */}}
{{- $changes := dict }}
{{- if not .Values.changes.enabled }}{{ $_ := set $changes "enabled" false }}{{ end }}
{{- with .Values.changes.kinds }}{{ $_ := set $changes "kinds" . }}{{ end }}
{{- with .Values.changes.resources }}{{ $_ := set $changes "resources" . }}{{ end }}
{{- with $changes }}{{ $_ := set $config "changes" . }}{{ end }}
{{- if not .Values.lastWords.messages }}{{ $_ := set $config "analysis" (dict "last_words" (dict "messages" false)) }}{{ end }}
{{- if not .Values.rbac.clusterWide }}
{{- $_ := set $config "kube" (dict "namespaces" (include "kube9.namespaces" . | fromJsonArray)) }}
{{- end }}
{{- /* A volume can be larger than requested, and the file system of an emptyDir is shared, so the limit is derived from the requested size. */}}
{{- if not .Values.persistence.existingClaim }}
{{- $bytes := include "kube9.bytes" .Values.persistence.size | int64 }}
{{- /* The kubelet evicts a pod whose emptyDir exceeds its limit, so a snapshot must fit in addition to the database. */}}
{{- $percent := ternary 60 40 .Values.persistence.enabled }}
{{- $_ := set $config "storage" (dict "max_bytes" (printf "%dKi" (div (mul $bytes $percent) 102400))) }}
{{- end }}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.config)) }}
{{- end }}

{{/* Whether the recorder is configured to watch more than Events; empty means no. */}}
{{- define "kube9.analysis" -}}
{{- $config := include "kube9.config" . | fromYaml }}
{{- if ne (get ($config.analysis | default dict) "enabled" | toString) "false" }}true{{ end }}
{{- end }}

{{/* What the change history tracks, as JSON: `resources`, a list of {group, resource}; `leftOut`, the default kinds that it does not track; `resources` is empty if it is off. The recorder reads the same settings (recorder/app/src/config/changes.rs). */}}
{{- define "kube9.tracked" -}}
{{- $config := include "kube9.config" . | fromYaml }}
{{- $changes := $config.changes | default dict }}
{{- $namespaces := ($config.kube | default dict).namespaces | default list }}
{{- $known := .Files.Get "tracked.yaml" | fromYaml }}
{{- $names := list }}
{{- range $known.kinds }}{{ $names = append $names .resource }}{{ end }}
{{- $named := list }}
{{- $leftOut := list }}
{{- range $changes.kinds | default list }}
{{- $word := toString . | trim }}
{{- $name := trimPrefix "-" $word }}
{{- if regexMatch "(?i)(^|[/.])[[:space:]]*secrets?[[:space:]]*([/.]|$)" $name }}
{{- fail (printf "changes.kinds: %q: secrets are never tracked; remove it" $word) }}
{{- end }}
{{- if not (has $name $names) }}
{{- fail (printf "changes.kinds: %q is not the plural name of a default kind: %s; name other resources in changes.resources" $word (join ", " $names)) }}
{{- end }}
{{- if hasPrefix "-" $word }}{{ $leftOut = append $leftOut $name }}{{ else }}{{ $named = append $named $name }}{{ end }}
{{- end }}
{{- $resources := list }}
{{- $others := list }}
{{- range $known.kinds }}
{{- $is := not (or $namespaces (has .resource $leftOut)) }}
{{- if $namespaces }}
{{- if and (has .resource $named) (not .namespaced) }}
{{- fail (printf "changes.kinds: %q is cluster-scoped, and rbac.clusterWide is off; remove it" .resource) }}
{{- end }}
{{- $is = and .namespaced (ne .group "rbac.authorization.k8s.io") (not (has .resource $leftOut)) }}
{{- end }}
{{- if $named }}{{ $is = and (has .resource $named) (not (has .resource $leftOut)) }}{{ end }}
{{- if $is }}
{{- $resources = append $resources (dict "group" .group "resource" .resource) }}
{{- else }}
{{- $others = append $others .resource }}
{{- end }}
{{- end }}
{{- range $changes.resources | default list }}
{{- $word := toString . | trim }}
{{- range (hasKey $known.presets $word | ternary (get $known.presets $word) (list $word)) }}
{{- if regexMatch "(?i)(^|/)[[:space:]]*secrets?[[:space:]]*(/|$)" . }}
{{- fail (printf "changes.resources: %q: secrets are never tracked; remove it" .) }}
{{- end }}
{{- if contains "*" . }}
{{- fail (printf "changes.resources: %q has a wildcard; name each resource" .) }}
{{- end }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[0-9]+((alpha|beta)[0-9]+)?/[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .) }}
{{- fail (printf "changes.resources: %q is neither group/version/resource, such as argoproj.io/v1alpha1/rollouts, nor one of %s" . (keys $known.presets | sortAlpha | join ", ")) }}
{{- end }}
{{- $parts := splitList "/" . }}
{{- $resource := dict "group" (gt (len $parts) 2 | ternary (first $parts) "") "resource" (last $parts) }}
{{- range $known.kinds }}
{{- if and (eq .group $resource.group) (eq .resource $resource.resource) }}
{{- fail (printf "changes.resources: %q is a default kind; name %s in changes.kinds" $word .resource) }}
{{- end }}
{{- end }}
{{- if not (has $resource $resources) }}{{ $resources = append $resources $resource }}{{ end }}
{{- end }}
{{- end }}
{{- if eq (get $changes "enabled" | toString) "false" }}
{{- $resources = list }}
{{- end }}
{{- $watches := mul (len $resources) (len $namespaces) }}
{{- if gt $watches 100 }}
{{- fail (printf "changes.kinds: %d kinds in %d namespaces are %d watches, more than 100; name fewer kinds, or set rbac.clusterWide" (len $resources) (len $namespaces) $watches) }}
{{- end }}
{{- dict "resources" $resources "leftOut" $others | toJson }}
{{- end }}

{{/* Requests and limits of the recorder. An emptyDir on the node's disk counts against the containers' limits. */}}
{{- define "kube9.recorderResources" -}}
{{- $resources := deepCopy (.Values.recorder.resources | default dict) }}
{{- $limits := $resources.limits | default dict }}
{{- if and (not .Values.persistence.enabled) (ne .Values.persistence.medium "Memory") (hasKey $limits "ephemeral-storage") }}
{{- $own := include "kube9.bytes" (get $limits "ephemeral-storage") | int64 }}
{{- $size := include "kube9.bytes" .Values.persistence.size | int64 }}
{{- $_ := set $limits "ephemeral-storage" (add $own $size | toString) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* Whether the admission policy for exec is created; empty means no. `helm template` knows at most a version, not the kinds. */}}
{{- define "kube9.queryOnly" -}}
{{- $there := or (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy") (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}
{{- if and .Values.reader.queryOnly $there }}true{{ end }}
{{- end }}

{{/* Names of the Deployment's pods, as an anchored RE2 pattern: the name, the hash of the ReplicaSet, five characters.
     Kubernetes uses an alphabet without vowels for both, so `NAME-node-x7k2m` of a DaemonSet does not match. A long name
     is truncated to 58 characters before the last five, which can remove the dash between them. */}}
{{- define "kube9.podPattern" -}}
{{- $name := include "kube9.fullname" . }}
{{- $letters := "[bcdfghjklmnpqrstvwxz2456789]" }}
{{- printf "^%s-%s{1,10}-%s%s{5}$" (regexQuoteMeta $name) $letters (gt (len $name) 46 | ternary "?" "") $letters }}
{{- end }}

{{/* Label matchers of every alert expression. */}}
{{- define "kube9.alertSelector" -}}
{{- default (printf "namespace=%q" .Release.Namespace) .Values.prometheusRule.selector }}
{{- end }}

{{/* Values that cannot work fail before anything is applied. */}}
{{- define "kube9.validate" -}}
{{- if and (eq .Values.recorder.securityContext.runAsUser .Values.query.securityContext.runAsUser) (not (hasKey .Values.securityContext "runAsUser")) }}
{{- fail "recorder.securityContext.runAsUser and query.securityContext.runAsUser must differ: the query container must not be able to write what the recorder owns" }}
{{- end }}
{{- if eq (include "kube9.queryContainer" .) "recorder" }}
{{- fail "query.containerName must not be \"recorder\", the name of the other container" }}
{{- end }}
{{- with .Values.import.existingClaim }}
{{- if and $.Values.persistence.enabled (eq . (default (include "kube9.fullname" $) $.Values.persistence.existingClaim)) }}
{{- fail "import.existingClaim must not be the claim that the recorder writes to: copy the file to a separate claim" }}
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) }}
{{- fail "serviceMonitor.enabled requires service.enabled; without a Service, use podMonitor.enabled" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.apiServerTo) }}
{{- fail "networkPolicy.enabled requires networkPolicy.apiServerTo: without the API server's address, the policy would allow egress to any address (docs/install.md explains how to find it)" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled together would scrape everything twice: choose one" }}
{{- end }}
{{- end }}
