#!/usr/bin/env bash
# A study on SLURM: an array job a stage, an element of it a shard, each of one or several nodes, a task a GPU.
#
#   launch/slurm.sh --shards=8 --nodes=1 --tasks-per-node=8 [--rounds=2] [--sbatch="--partition=gpu --time=12:00:00"]
#                   [--print] -- --config=configs/imagenet.py --workdir=/shared/runs/imagenet
#
# Every stage waits for the one before. What is trained only where something is lost is trained in the second round. An
# element that is about to be pre-empted saves and is queued again; what is done is not done again.
set -euo pipefail
shards=1 nodes=1 tasks=1 rounds=2 more='' print='' arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --shards=*) shards=${1#*=} ;;
    --nodes=*) nodes=${1#*=} ;;
    --tasks-per-node=*) tasks=${1#*=} ;;
    --rounds=*) rounds=${1#*=} ;;
    --sbatch=*) more=${1#*=} ;;
    --print) print=1 ;;
    --) shift; arguments=("$@"); break ;;
    *) echo "error: $1: expected --shards, --nodes, --tasks-per-node, --rounds, --sbatch, --print or --" >&2; exit 2 ;;
  esac
  shift
done
[ ${#arguments[@]} -gt 0 ] || { echo "error: --: expected the study's arguments after it, such as --config=FILE" >&2; exit 2; }
python=${PYTHON:-python}
read -r -a options <<<"$more"
quoted=$(printf '%q ' "${arguments[@]}")

script_of() { # script_of STAGE: what an element of the array runs
  cat <<SCRIPT
#!/usr/bin/env bash
#SBATCH --job-name=bottleneck-$1
#SBATCH --array=0-$((shards - 1))
#SBATCH --nodes=$nodes
#SBATCH --ntasks-per-node=$tasks
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
together=--processes=1
if [ "\$SLURM_NTASKS" -gt 1 ]; then
  master=\$(scontrol show hostnames "\$SLURM_JOB_NODELIST" | head -n 1):\$((61000 + SLURM_JOB_ID % 4000))
  together="--coordinator=\$master --processes=\$SLURM_NTASKS --process=\\\$SLURM_PROCID"
fi
srun --kill-on-bad-exit=0 bash -c "exec $python -m bottleneck.main \$together --stage=$1 --shard=\$SLURM_ARRAY_TASK_ID/$shards \\"\\\$@\\"" main $quoted &
step=\$! stopped=''
trap 'stopped=1; scancel --signal=TERM "\$SLURM_JOB_ID.0"' TERM
code=0; wait "\$step" || code=\$?
if [ -n "\$stopped" ]; then
  code=0; wait "\$step" || code=\$?
  [ "\$code" != 3 ] || scontrol requeue "\$SLURM_JOB_ID"
fi
exit "\$code"
SCRIPT
}

stages=()
for ((round = 0; round < rounds; round++)); do stages+=(pretrain transfer analyze); done
previous=''
for stage in "${stages[@]}" report; do
  dependency=(); [ -z "$previous" ] || dependency=("--dependency=afterany:$previous")
  if [ "$stage" = report ]; then shards=1 nodes=1 tasks=1; fi
  if [ -n "$print" ]; then
    echo "sbatch --parsable ${dependency[*]} ${options[*]} <<'SCRIPT'"; script_of "$stage"; echo SCRIPT
    previous="\$$stage"
  else
    previous=$(script_of "$stage" | sbatch --parsable "${dependency[@]}" "${options[@]}")
    echo "$stage: job $previous"
  fi
done
