{{- define "depthcast.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "depthcast.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "depthcast.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of one role; they never change. Arguments: root, role. */}}
{{- define "depthcast.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "depthcast.labels" -}}
{{ include "depthcast.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "depthcast.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{/* Settings as variables of the environment; an empty value is none. Argument: a map of settings. */}}
{{- define "depthcast.settings" -}}
{{- range $name, $value := . }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
- name: DEPTHCAST_{{ upper $name }}
  {{- /* A large number would be written as 1e+06. */}}
  value: {{ (kindIs "float64" $value | ternary (toJson $value) (toString $value)) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The address of Redis, with the authority that is mounted. */}}
{{- define "depthcast.redisUrl" -}}
{{- if .Values.redis.tls.caSecret -}}
{{- .Values.redis.url }}{{ contains "?" .Values.redis.url | ternary "&" "?" }}ssl_ca_certs=/etc/depthcast/redis-ca/{{ .Values.redis.tls.caKey }}
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end -}}

{{/* Whose tokens a gateway takes, as variables of the environment. Argument: the values of gateways. */}}
{{- define "depthcast.tokens" -}}
{{- $sources := compact (list .tokens.keysSecret .tokens.jwksUrl .tokens.hs256Secret) }}
{{- if gt (len $sources) 1 }}
{{- fail "gateway.tokens: keep one of keysSecret, jwksUrl and hs256Secret" }}
{{- end }}
{{- if not (or $sources .anonymous) }}
{{- fail "gateway.tokens: name keysSecret, jwksUrl or hs256Secret; or set gateway.anonymous to true if everybody may read every book" }}
{{- end }}
{{- if .tokens.keysSecret }}
- name: DEPTHCAST_TOKEN_KEYS
  value: /etc/depthcast/token-keys/{{ .tokens.keysKey }}
{{- end }}
{{- with .tokens.jwksUrl }}
- name: DEPTHCAST_TOKEN_JWKS_URL
  value: {{ . | quote }}
{{- end }}
{{- if .tokens.hs256Secret }}
- name: DEPTHCAST_TOKEN_SECRET_FILE
  value: /etc/depthcast/token-keys/{{ .tokens.hs256Key }}
{{- end }}
- name: DEPTHCAST_ANONYMOUS
  value: {{ .anonymous | quote }}
{{- end -}}

{{/* The Secret with keys of tokens; empty where there is none. Argument: the values of either role. */}}
{{- define "depthcast.tokenSecret" -}}
{{- with .tokens }}{{ default .hs256Secret .keysSecret }}{{ end -}}
{{- end -}}

{{/* What a container of either role has in common. Arguments: root, role, values (of the role). */}}
{{- define "depthcast.container" -}}
name: {{ .role }}
image: {{ include "depthcast.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: [{{ .role }}]
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - name: DEPTHCAST_REDIS_URL
    value: {{ include "depthcast.redisUrl" .root | quote }}
  {{- with .values.redis.username }}
  - name: DEPTHCAST_REDIS_USERNAME
    value: {{ . | quote }}
  {{- end }}
  {{- if .values.redis.passwordSecret }}
  - name: DEPTHCAST_REDIS_PASSWORD_FILE
    value: /etc/depthcast/redis-password/{{ .values.redis.passwordKey }}
  {{- end }}
  {{- /* Probes come from the node, and Prometheus from elsewhere; the network policy says who may. */}}
  - name: DEPTHCAST_ADMIN_HOST
    value: 0.0.0.0
  {{- if and (eq .role "ingestor") .values.instruments }}
  - name: DEPTHCAST_INSTRUMENTS
    value: /etc/depthcast/instruments/instruments.toml
  {{- end }}
  {{- if eq .role "gateway" }}
  {{- include "depthcast.tokens" .values | nindent 2 }}
  {{- end }}
  {{- include "depthcast.settings" .root.Values.settings | nindent 2 }}
  {{- include "depthcast.settings" .values.settings | nindent 2 }}
{{- /* A process that waits for Redis, or stands by, is alive. */}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
resources:
  {{- toYaml .values.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if .values.redis.passwordSecret }}
  - name: redis-password
    mountPath: /etc/depthcast/redis-password
    readOnly: true
  {{- end }}
  {{- if include "depthcast.tokenSecret" .values }}
  - name: token-keys
    mountPath: /etc/depthcast/token-keys
    readOnly: true
  {{- end }}
  {{- if .root.Values.redis.tls.caSecret }}
  - name: redis-ca
    mountPath: /etc/depthcast/redis-ca
    readOnly: true
  {{- end }}
  {{- if and (eq .role "ingestor") .values.instruments }}
  - name: instruments
    mountPath: /etc/depthcast/instruments
    readOnly: true
  {{- end }}
{{- end -}}

{{/* What a pod of either role has in common, but its containers. Arguments as for depthcast.container. */}}
{{- define "depthcast.pod" -}}
serviceAccountName: {{ include "depthcast.serviceAccount" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with .root.Values.topologyKeys }}
topologySpreadConstraints:
  {{- range . }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "depthcast.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 64Mi}
  {{- if .values.redis.passwordSecret }}
  - name: redis-password
    secret:
      secretName: {{ .values.redis.passwordSecret }}
      defaultMode: 0440
  {{- end }}
  {{- with include "depthcast.tokenSecret" .values }}
  - name: token-keys
    secret:
      secretName: {{ . }}
      defaultMode: 0440
  {{- end }}
  {{- if .root.Values.redis.tls.caSecret }}
  - name: redis-ca
    secret:
      secretName: {{ .root.Values.redis.tls.caSecret }}
      defaultMode: 0440
  {{- end }}
  {{- if and (eq .role "ingestor") .values.instruments }}
  - name: instruments
    configMap:
      name: {{ include "depthcast.name" .root }}-instruments
  {{- end }}
{{- end -}}

{{/* For a Prometheus that looks for them. */}}
{{- define "depthcast.scrape" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "9100"
prometheus.io/path: /metrics
{{- end -}}
