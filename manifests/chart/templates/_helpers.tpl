{{/* Labels of every object. Those of helm come beside those of the manifests. */}}
{{- define "evenkeel.labels" -}}
app.kubernetes.io/name: evenkeel
app.kubernetes.io/part-of: evenkeel
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* Repository with digest, else with tag. */}}
{{- define "evenkeel.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/*
The objects of a file below files/, a copy of one of the manifests, of which nothing is a template. Takes a dict: root,
file, namespace for namespaced objects, and further labels. Bindings are bound to the account of the values, and admission policies
know it by its name.
*/}}
{{- define "evenkeel.objects" -}}
{{- $root := .root }}
{{- $namespace := .namespace | default $root.Release.Namespace }}
{{- $account := dict "kind" "ServiceAccount" "name" $root.Values.serviceAccount.name "namespace" $root.Release.Namespace }}
{{- $labels := merge (include "evenkeel.labels" $root | fromYaml) (.labels | default dict) }}
{{- range $text := $root.Files.Get .file | replace ":evenkeel'" (printf ":%s'" $account.name) | splitList "\n---\n" }}
{{- $object := fromYaml $text }}
{{- $_ := set $object.metadata "labels" (merge (deepCopy $labels) ($object.metadata.labels | default dict)) }}
{{- if $object.metadata.namespace }}
{{- $_ := set $object.metadata "namespace" $namespace }}
{{- end }}
{{- with dig "spec" "paramRef" dict $object }}
{{- $_ := set . "namespace" $root.Release.Namespace }}
{{- end }}
{{- if $object.subjects }}
{{- $_ := set $object "subjects" (list $account) }}
{{- end }}
---
{{ toYaml $object }}
{{ end }}
{{- end }}
