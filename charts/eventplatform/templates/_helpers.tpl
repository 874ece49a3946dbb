{{/* Name of the operator's objects. 40 characters leave room for suffixes. */}}
{{- define "eventplatform.name" -}}
{{- $name := .Values.nameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- if contains "operator" $name }}{{ $name }}{{ else }}{{ printf "%s-operator" $name }}{{ end -}}
{{- end }}

{{/* The NetworkPolicies of a platform let pods with this name in: app.kubernetes.io/name must stay as it is. */}}
{{- define "eventplatform.selector" -}}
app.kubernetes.io/name: eventplatform-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "eventplatform.labels" -}}
{{ include "eventplatform.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: eventplatform
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "eventplatform.tag" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "eventplatform.image" -}}
{{ printf "%s/eventplatform-operator:%s" .Values.image.registry (include "eventplatform.tag" .) }}
{{- end }}

{{- define "eventplatform.platformNamespace" -}}
{{ .Values.platform.namespace | default .Release.Namespace }}
{{- end }}

{{- define "eventplatform.pullSecrets" -}}
{{- range .Values.image.pullSecrets }}
- name: {{ . }}
{{- end }}
{{- end }}

{{- define "eventplatform.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "eventplatform.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
