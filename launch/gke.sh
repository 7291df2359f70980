#!/usr/bin/env bash
# A study as a JobSet on GKE: one pod a host, on TPU or GPU nodes.
#
#   launch/gke.sh --name=study --image=IMAGE --hosts=4 --resource=google.com/tpu:4 \
#     [--select=cloud.google.com/gke-tpu-accelerator=tpu-v5-lite-podslice,cloud.google.com/gke-tpu-topology=4x4] \
#     [--claim=VOLUMECLAIM] [--print] -- --config=configs/imagenet.py --workdir=/data/imagenet
#
# --claim names a PersistentVolumeClaim that many may write (Filestore), mounted at /data; what was read of image files
# is remembered there, too. Pre-empted pods save; the set is started again, and goes on, up to 100 times. A mistake
# (status 2) fails it at once. Pods that do not find each other end with 2 as well: they have an hour for it, as their
# nodes may come minutes apart. Needs Kubernetes 1.26 and JobSet 0.6, or later.
set -euo pipefail
name='' image='' hosts=1 resource='' select='' claim='' print='' arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --image=*) image=${1#*=} ;;
    --hosts=*) hosts=${1#*=} ;;
    --resource=*) resource=${1#*=} ;;
    --select=*) select=${1#*=} ;;
    --claim=*) claim=${1#*=} ;;
    --print) print=1 ;;
    --) shift; arguments=("$@"); break ;;
    *) echo "error: $1: expected --name, --image, --hosts, --resource, --select, --claim, --print or --" >&2; exit 2 ;;
  esac
  shift
done
[ -n "$name" ] && [ -n "$image" ] || { echo "error: --name, --image: expected both, of the JobSet" >&2; exit 2; }
whole() { [[ $2 =~ ^[1-9][0-9]*$ ]] || { echo "error: $1=$2: expected a whole number, at least 1" >&2; exit 2; }; }
whole --hosts "$hosts"
[ ${#arguments[@]} -gt 0 ] || { echo "error: --: expected the study's arguments after it, such as --config=FILE" >&2; exit 2; }

manifest() {
  cat <<YAML
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
spec:
  failurePolicy:
    maxRestarts: 100
    rules:
      - action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: hosts
      replicas: 1
      template:
        spec:
          parallelism: $hosts
          completions: $hosts
          completionMode: Indexed
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes: {containerName: main, operator: In, values: [2]}
                onPodConditions: [] # which JobSet's older schemas require
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 120
YAML
  if [ -n "$select" ]; then
    echo "              nodeSelector:"
    IFS=, read -r -a pairs <<<"$select"
    for pair in "${pairs[@]}"; do echo "                ${pair%%=*}: '${pair#*=}'"; done
  fi
  cat <<YAML
              containers:
                - name: main
                  image: $image
                  env:
                    - name: INDEX
                      valueFrom: {fieldRef: {fieldPath: "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
                    - {name: BOTTLENECK_JOINING, value: '3600'}
YAML
  [ -z "$claim" ] || echo "                    - {name: BOTTLENECK_CACHE, value: /data/.bottleneck}"
  cat <<YAML
                  command:
                    - python
                    - -m
                    - bottleneck.main
                    - --coordinator=$name-hosts-0-0.$name:55527
                    - --processes=$hosts
                    - --process=\$(INDEX)
YAML
  for each in "${arguments[@]}"; do printf "                    - '%s'\n" "${each//\'/\'\'}"; done
  if [ -n "$resource" ]; then
    echo "                  resources: {limits: {${resource%:*}: ${resource##*:}}}"
  fi
  if [ -n "$claim" ]; then
    cat <<YAML
                  volumeMounts: [{name: data, mountPath: /data}]
              volumes: [{name: data, persistentVolumeClaim: {claimName: $claim}}]
YAML
  fi
}

if [ -n "$print" ]; then manifest; else manifest | kubectl apply -f -; fi
