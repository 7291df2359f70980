#!/usr/bin/env bash
# Several processes on this machine work together on one study: a GPU each, or a trial of what a pod does.
#
#   launch/local.sh --processes=2 [--port=PORT] [--print] -- --config=configs/mixture.py:smoke
#
# Ends with the exit status of bottleneck.main: 0 done, 3 run again, else the first failure's.
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
[ ${#arguments[@]} -gt 0 ] || { echo "error: --: expected the study's arguments after it, such as --config=FILE" >&2; exit 2; }
python=${PYTHON:-python}
[ -n "$port" ] || port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')

command_of() { # command_of INDEX -> the array `command`
  command=("$python" -m bottleneck.main "--coordinator=localhost:$port" "--processes=$processes" "--process=$1" "${arguments[@]}")
}

if [ -n "$print" ]; then
  for ((index = 0; index < processes; index++)); do command_of "$index"; printf '%q ' "${command[@]}"; echo; done
  exit
fi
children=()
for ((index = 0; index < processes; index++)); do
  command_of "$index"
  # where each has one of several GPUs
  CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES-$index} "${command[@]}" &
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
