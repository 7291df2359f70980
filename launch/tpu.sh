#!/usr/bin/env bash
# A study on all hosts of a Cloud TPU VM pod slice; JAX finds out by itself which of them each one is.
#
#   launch/tpu.sh --name=TPU --zone=ZONE [--project=PROJECT] [--directory=bottleneck] [--print] -- \
#     --config=configs/imagenet.py --workdir=/shared/runs/imagenet
#
# The work directory is on a file system that all hosts have mounted at one place, such as Filestore; an address (gs://)
# is none. Hosts that do not see each other's files say so and end with status 2.
# The checkout is in --directory on every host, with `pip install '.[tpu]'` done (--worker=all does that, too). Run the
# same command again where it ends with status 3.
set -euo pipefail
name='' zone='' project='' directory=bottleneck print='' arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --directory=*) directory=${1#*=} ;;
    --print) print=1 ;;
    --) shift; arguments=("$@"); break ;;
    *) echo "error: $1: expected --name, --zone, --project, --directory, --print or --" >&2; exit 2 ;;
  esac
  shift
done
[ -n "$name" ] && [ -n "$zone" ] || { echo "error: --name, --zone: expected both, of the TPU VM" >&2; exit 2; }
[ ${#arguments[@]} -gt 0 ] || { echo "error: --: expected the study's arguments after it, such as --config=FILE" >&2; exit 2; }
remote="cd $(printf '%q' "$directory") && exec ${PYTHON:-python3} -m bottleneck.main$(printf ' %q' "${arguments[@]}")"
command=(gcloud compute tpus tpu-vm ssh "$name" "--zone=$zone" --worker=all "--command=$remote")
[ -z "$project" ] || command+=("--project=$project")
if [ -n "$print" ]; then printf '%q ' "${command[@]}"; echo; else exec "${command[@]}"; fi
