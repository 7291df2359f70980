#!/usr/bin/env bash
# Several processes on this machine work together on one study: a GPU each, or a trial of what a pod does.
#
#   launch/local.sh --processes=2 [--port=PORT] [--print] -- --config=configs/mixture.py:smoke
#
# Each has the GPU of its number, or its share of those that CUDA_VISIBLE_DEVICES lists. Ends with the exit status of
# bottleneck.main: 0 done, 3 run again, else the first failure's.
set -euo pipefail
processes=2 port='' print='' arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --processes=*) processes=${1#*=} ;;
    --port=*) port=${1#*=} ;;
    --print) print=1 ;;
    --) shift; arguments=("$@"); break ;;
    *) echo "error: $1: expected --processes=N, --port=PORT, --print or -- before the study's arguments" >&2; exit 2 ;;
  esac
  shift
done
whole() { [[ $2 =~ ^[1-9][0-9]*$ ]] || { echo "error: $1=$2: expected a whole number, at least 1" >&2; exit 2; }; }
whole --processes "$processes"
[ ${#arguments[@]} -gt 0 ] || { echo "error: --: expected the study's arguments after it, such as --config=FILE" >&2; exit 2; }
python=${PYTHON:-python}
visible=()
if [ -n "${CUDA_VISIBLE_DEVICES-}" ] && [ "$CUDA_VISIBLE_DEVICES" != -1 ] && [ "${JAX_PLATFORMS-}" != cpu ]; then
  IFS=, read -r -a visible <<<"$CUDA_VISIBLE_DEVICES"
  if [ ${#visible[@]} -lt "$processes" ]; then
    echo "error: CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES: expected one at least for each of $processes processes" >&2
    exit 2
  fi
fi
[ -n "$port" ] || port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')

devices_of() { # devices_of INDEX -> `devices`, that process's own
  devices=${CUDA_VISIBLE_DEVICES-$1}
  if [ ${#visible[@]} -gt 0 ]; then
    local from=$(($1 * ${#visible[@]} / processes)) until=$((($1 + 1) * ${#visible[@]} / processes))
    devices=$(IFS=,; echo "${visible[*]:from:until - from}")
  fi
}

command_of() { # command_of INDEX -> the array `command`
  command=("$python" -m bottleneck.main "--coordinator=localhost:$port" "--processes=$processes" "--process=$1" "${arguments[@]}")
}

if [ -n "$print" ]; then
  for ((index = 0; index < processes; index++)); do
    command_of "$index"; devices_of "$index"
    printf '%q ' "CUDA_VISIBLE_DEVICES=$devices" "${command[@]}"; echo
  done
  exit
fi
children=()
for ((index = 0; index < processes; index++)); do
  command_of "$index"; devices_of "$index"
  CUDA_VISIBLE_DEVICES=$devices "${command[@]}" &
  children+=($!)
done
trap 'kill -TERM "${children[@]}" 2>/dev/null || true' TERM INT
status=0
for child in "${children[@]}"; do
  while :; do
    code=0; wait "$child" || code=$?
    kill -0 "$child" 2>/dev/null || break # else a signal came, and it is still saving
  done
  case $code in 0) ;; 3) [ "$status" != 0 ] || status=3 ;; *) [ "$status" != 0 ] && [ "$status" != 3 ] || status=$code ;; esac
done
exit "$status"
