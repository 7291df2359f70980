#!/usr/bin/env bash
# A study on SLURM: an array job a stage, an element of it a shard, each of one or several nodes, a task a GPU.
#
#   launch/slurm.sh --shards=8 --nodes=1 --tasks-per-node=8 [--rounds=10] [--sbatch="--partition=gpu --time=12:00:00"]
#                   [--print] -- --config=configs/imagenet.py --workdir=/shared/runs/imagenet
#
# A round is pretrain, transfer, analyze and report, each after the end of the one before, however that ended. A shard
# whose next task needs another shard's, or another stage's (what is trained only where something is lost), ends with
# status 3 and holds no node while it waits; one that crashed leaves its tasks. So the last job looks at what is left:
# where the report ends with status 3, it submits the next round, of ROUNDS in all. What is done is not done again, and
# jobs that have nothing to do end at once. Any other end of the report (0: done, 2: a mistake) is the end.
#
# An element that is about to be pre-empted saves and is queued again, within its round. To give up, cancel the report's
# job first: the jobs after a cancelled one run.
set -euo pipefail
launcher=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/${BASH_SOURCE[0]##*/}
shards=1 nodes=1 tasks=1 rounds=10 more='' print='' arguments=()
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
whole() { [[ $2 =~ ^[1-9][0-9]*$ ]] || { echo "error: $1=$2: expected a whole number, at least 1" >&2; exit 2; }; }
whole --shards "$shards"
whole --nodes "$nodes"
whole --tasks-per-node "$tasks"
whole --rounds "$rounds"
[ ${#arguments[@]} -gt 0 ] || { echo "error: --: expected the study's arguments after it, such as --config=FILE" >&2; exit 2; }
python=${PYTHON:-python}
read -r -a options <<<"$more"
quoted=$(printf '%q ' "${arguments[@]}")

again=$(printf '%q ' env "PYTHON=$python" bash "$launcher" "--shards=$shards" "--nodes=$nodes" \
  "--tasks-per-node=$tasks" "--rounds=$((rounds - 1))" "--sbatch=$more" -- "${arguments[@]}")

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
  exit "\$code"
fi
SCRIPT
  [ "$1" != report ] || next_round
  echo "exit \"\$code\""
}

next_round() { # what the last job does where the study is unfinished
  local submit="echo 'unfinished after the last round; the same launch/slurm.sh goes on' >&2"
  if [ "$rounds" -gt 1 ]; then
    # queued again when half of it is submitted, this job would begin a second round beside the first
    submit="scontrol update \"JobId=\$SLURM_JOB_ID\" Requeue=0 || true
  $again|| echo 'error: the next round could not be submitted; the same launch/slurm.sh goes on' >&2"
  fi
  cat <<SCRIPT
if [ "\$code" = 3 ]; then
  $submit
fi
SCRIPT
}

# the report's job, which submits the next round, must not hand on what SLURM says of it
for name in "${!SLURM_@}"; do case $name in SLURM_CONF | SLURM_CLUSTERS) ;; *) unset "$name" ;; esac; done
previous=''
for stage in pretrain transfer analyze report; do
  dependency=(); [ -z "$previous" ] || dependency=("--dependency=afterany:$previous")
  if [ "$stage" = report ]; then shards=1 nodes=1 tasks=1; fi
  if [ -n "$print" ]; then
    echo "sbatch --parsable ${dependency[*]} ${options[*]} <<'SCRIPT'"; script_of "$stage"; echo SCRIPT
    previous="\$$stage"
  else
    previous=$(script_of "$stage" | sbatch --parsable "${dependency[@]}" "${options[@]}")
    previous=${previous%%;*} # ID;CLUSTER where there are several
    echo "$stage: job $previous"
  fi
done
