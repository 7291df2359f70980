"""launch/slurm.sh: what it submits is run by stubs of SLURM's commands, each job at once and to its end."""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
STUDY = ("--config=it's.py:smoke", "--config.optimizer={'name': 'sgd', 'lr': 0.1}")
STAGES = ["pretrain", "transfer", "analyze", "report"]
COMMANDS = {
    "sbatch": r"""
[ -z "${SLURM_JOB_ID-}${SLURM_NTASKS-}" ] || exit 9 # a job's own variables would speak for the one it submits
id=$(($(find "$CLUSTER" -name '*.job' | wc -l) + 1)); job=$CLUSTER/$id.job
cat >"$job"; echo "$*" >"$CLUSTER/$id.given"
given() { sed -n "s/^#SBATCH --$1=//p" "$job"; }
export SLURM_JOB_ID=$id SLURM_JOB_NODELIST=nodes SLURM_NTASKS=$(($(given nodes) * $(given ntasks-per-node)))
last=$(given array); last=${last#0-}
for ((element = 0; element <= last; element++)); do
  code=0; SLURM_ARRAY_TASK_ID=$element bash "$job" >>"$CLUSTER/out" 2>&1 || code=$?
  echo "$(given job-name) $code" >>"$CLUSTER/ended"
done
echo "$id;cluster" """,
    "srun": r"""
shift; steps=() worst=0
for ((task = 0; task < SLURM_NTASKS; task++)); do SLURM_PROCID=$task "$@" & steps+=($!); done
echo "${steps[*]}" >"$CLUSTER/steps"
for step in "${steps[@]}"; do code=0; wait "$step" || code=$?; ((code <= worst)) || worst=$code; done
exit "$worst" """,
    "scontrol": r"""
if [ "$1" = show ]; then printf 'first\nsecond\n'; else echo "$*" >>"$CLUSTER/$1"; fi""",
    "scancel": r"""read -r -a steps <"$CLUSTER/steps"; kill -TERM "${steps[@]}" """,
    "python": r"""
line=$(printf '%q ' "$@"); echo "$line" >>"$CLUSTER/calls" # in one write: tasks are many
for word in "$@"; do case $word in --stage=*) stage=${word#*=} ;; --process=*) process=${word#*=} ;; esac; done
round=$(grep -l job-name=bottleneck-pretrain "$CLUSTER"/*.job | wc -l)
. "$CLUSTER/behaviour" """,
}


class Cluster:
    """Stubs of SLURM's commands on a PATH of their own, and of a Python that behaves as a test says."""

    def __init__(self, place):
        self.place = place
        for name, body in COMMANDS.items():
            (place / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (place / name).chmod(0o755)
        self.environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("SLURM_")},
            "PATH": f"{place}:{os.environ['PATH']}",
            "CLUSTER": str(place),
            "PYTHON": str(place / "python"),
        }

    def submit(self, *given, study=STUDY, **environment):
        command = ["bash", ROOT / "launch" / "slurm.sh", *given, "--", *study]
        done = subprocess.run(
            command, cwd=ROOT, env={**self.environment, **environment}, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def behaves(self, script):
        (self.place / "behaviour").write_text(script)

    def lines(self, name):
        path = self.place / name
        return path.read_text().splitlines() if path.exists() else []

    def stages(self):
        """Of each job the stage, in the order in which they began."""
        return [path.read_text().split("job-name=bottleneck-")[1].split("\n")[0] for path in self.jobs()]

    def jobs(self):
        return sorted(self.place.glob("*.job"), key=lambda path: int(path.stem))


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def test_rounds_are_submitted_until_nothing_is_left(cluster):
    cluster.behaves('[ "$stage" != report ] && [ "$round" = 3 ] && exit 0; [ "$round" = 3 ] || exit 3')
    cluster.submit("--shards=2", "--sbatch=--partition=gpu --time=60")
    assert cluster.stages() == STAGES * 3
    given = [shlex.split((cluster.place / f"{path.stem}.given").read_text()) for path in cluster.jobs()]
    assert given[5] == ["--parsable", "--dependency=afterany:5", "--partition=gpu", "--time=60"]
    calls = [shlex.split(line) for line in cluster.lines("calls")]
    assert all(tuple(call[-2:]) == STUDY for call in calls)  # whatever the words, in every round
    stages = [f"--stage={stage}" for stage in STAGES[:3] for _ in range(2)] + ["--stage=report"]
    assert [call[3] for call in calls] == stages * 3
    shards = ["--shard=0/2", "--shard=1/2"] * 3 + ["--shard=0/1"]
    assert [call[4] for call in calls] == shards * 3
    assert cluster.lines("ended").count("bottleneck-report 0") == 1
    # who submits the next round is not queued again half-way
    assert cluster.lines("update") == ["update JobId=4 Requeue=0", "update JobId=8 Requeue=0"]


def test_rounds_are_bounded(cluster):
    cluster.behaves("exit 3")
    cluster.submit("--rounds=2")
    assert cluster.stages() == STAGES * 2
    assert any("unfinished after the last round" in line for line in cluster.lines("out"))


@pytest.mark.parametrize("code", [0, 1, 2])
def test_any_other_end_is_the_last(cluster, code):
    cluster.behaves(f"exit {code}")
    cluster.submit("--shards=2")
    assert cluster.stages() == STAGES and not cluster.lines("requeue")


def test_what_a_crashed_task_left_is_done_in_the_next_round(cluster):
    cluster.behaves('[ "$round" = 2 ] || { [ "$stage" = report ] && exit 3; exit $((process ? 3 : 139)); }')
    cluster.submit("--nodes=2", "--tasks-per-node=2")
    assert cluster.stages() == STAGES * 2
    assert cluster.lines("ended")[:3] == [f"bottleneck-{stage} 139" for stage in STAGES[:3]]
    places = [shlex.split(line)[2:5] for line in cluster.lines("calls")[:4]]
    assert sorted(places) == [["--coordinator=first:61001", "--processes=4", f"--process={i}"] for i in range(4)]


@pytest.mark.parametrize("stage", ["pretrain", "report"])
def test_a_job_about_to_be_pre_empted_is_queued_again_and_no_round_submitted(cluster, stage):
    cluster.behaves("exit 0")
    cluster.submit()
    jobs = cluster.jobs()
    cluster.behaves("trap 'exit 3' TERM; touch \"$CLUSTER/begun\"; sleep 60 & wait")
    environment = cluster.environment | dict(SLURM_JOB_ID="7", SLURM_NTASKS="1", SLURM_ARRAY_TASK_ID="0")
    job = subprocess.Popen(["bash", jobs[STAGES.index(stage)]], env=environment)
    until = time.monotonic() + 30
    while not (cluster.place / "begun").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=30) == 3 and cluster.lines("requeue") == ["requeue 7"]
    assert cluster.jobs() == jobs


def test_the_report_s_job_passes_shellcheck(cluster):
    check = shutil.which("shellcheck", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    if check is None:
        pytest.skip("shellcheck is not installed")
    cluster.behaves("exit 0")
    cluster.submit("--rounds=2")
    subprocess.run([check, *cluster.jobs()], check=True)


@pytest.mark.slow
def test_shards_that_wait_for_each_other_end_with_the_report(cluster, tmp_path):
    study = (
        f"--config={ROOT / 'tests' / 'tiny.py'}",
        f"--workdir={tmp_path / 'study'}",
        "--config.seeds=1",
        "--config.arms=mixture,direct,alone,heads",
        "--config.components.first.source.reliability={'background': 1.0}",
        "--config.components.second.source.reliability={'background': 0.0}",
    )
    cluster.submit("--shards=2", study=study, PYTHON=sys.executable, JAX_PLATFORMS="cpu")
    assert len(cluster.jobs()) > len(STAGES)  # one round was not enough
    assert (tmp_path / "study" / "report.html").exists(), "\n".join(cluster.lines("out"))
    assert cluster.lines("ended").count("bottleneck-report 0") == 1
