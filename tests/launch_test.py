"""launch/: what would be submitted is well formed, and places a study without saying anything of it."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
STUDY = ("--config=configs/mixture.py:smoke", "--config.optimizer={'name': 'sgd', 'lr': 0.1}", "--workdir=/data/it's")
GIVEN = {
    "local": ("--processes=3", "--port=4000"),
    "slurm": ("--shards=4", "--nodes=2", "--tasks-per-node=8", "--sbatch=--partition=gpu --time=60"),
    "tpu": ("--name=pod", "--zone=here"),
    "gke": (
        "--name=study",
        "--image=image",
        "--hosts=4",
        "--resource=google.com/tpu:4",
        "--select=a=b,c=4x4",
        "--claim=disk",
    ),
}


def launch(name, *given, code=0, **environment):
    inherited = {key: text for key, text in os.environ.items() if key not in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS")}
    command, environment = ["bash", LAUNCH / f"{name}.sh", *given], inherited | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def printed(name):
    return launch(name, *GIVEN[name], "--print", "--", *STUDY)


def test_scripts_pass_shellcheck():
    check = shutil.which("shellcheck", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    if check is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([check, *LAUNCH.glob("*.sh")], check=True)
    body = printed("slurm").split("<<'SCRIPT'\n")[1].split("\nSCRIPT\n")[0]
    subprocess.run([check, "-"], input=body, text=True, check=True)


def test_local_processes_know_each_other():
    commands = [shlex.split(line) for line in printed("local").splitlines()]
    assert len(commands) == 3
    for index, (devices, *command) in enumerate(commands):
        assert (
            devices == f"CUDA_VISIBLE_DEVICES={index}"
            and command[1:3] == ["-m", "bottleneck.main"]
            and tuple(command[-3:]) == STUDY
        )
        assert command[3:6] == ["--coordinator=localhost:4000", "--processes=3", f"--process={index}"]


SHARES = {
    "4,5,6,7": ("4,5", "6,7"),
    "2,0,1": ("2", "0,1"),
    "GPU-a1,GPU-b2": ("GPU-a1", "GPU-b2"),
    "": ("", ""),  # none
    "-1": ("-1", "-1"),
}


@pytest.mark.parametrize("visible", SHARES)
def test_local_processes_share_the_devices_that_are_visible(visible, tmp_path):
    python = tmp_path / "python"
    python.write_text(
        '#!/usr/bin/env bash\nfor each in "$@"; do case $each in --process=*) echo "$CUDA_VISIBLE_DEVICES" '
        f'>"{tmp_path}/${{each#*=}}" ;; esac; done\n'
    )
    python.chmod(0o755)
    launch("local", "--port=1", "--", *STUDY, CUDA_VISIBLE_DEVICES=visible, PYTHON=str(python))
    assert tuple((tmp_path / str(index)).read_text().strip() for index in range(2)) == SHARES[visible]


def test_fewer_devices_than_processes_are_a_mistake():
    (line,) = launch("local", "--port=1", "--", *STUDY, code=2, CUDA_VISIBLE_DEVICES="3").splitlines()
    assert line.startswith("error: CUDA_VISIBLE_DEVICES=3: expected one at least for each of 2")


def test_on_the_cpu_the_list_of_devices_does_not_matter():
    given = ("local", "--port=1", "--print", "--", *STUDY)
    assert "CUDA_VISIBLE_DEVICES=3 " in launch(*given, CUDA_VISIBLE_DEVICES="3", JAX_PLATFORMS="cpu")


def test_slurm_has_a_job_a_stage_that_waits_for_the_one_before():
    jobs = printed("slurm").split("sbatch --parsable")[1:]
    stages = [job.split("job-name=bottleneck-")[1].split("\n")[0] for job in jobs]
    assert stages == ["pretrain", "transfer", "analyze", "report"]  # a round: see slurm_test
    assert "--dependency" not in jobs[0] and all("--dependency=afterany:" in job for job in jobs[1:])
    assert all(
        "--partition=gpu --time=60" in job and f"--stage={s}" in job for s, job in zip(stages, jobs, strict=True)
    )
    assert "--array=0-3" in jobs[0] and "--nodes=2" in jobs[0] and "--ntasks-per-node=8" in jobs[0]
    assert "--shard=$SLURM_ARRAY_TASK_ID/4" in jobs[0] and "--array=0-0" in jobs[-1]
    line = next(line for line in jobs[0].splitlines() if line.startswith("srun"))
    assert tuple(shlex.split(line.removesuffix("&"))[-3:]) == STUDY


def test_a_job_set_has_a_pod_a_host():
    made = yaml.safe_load(printed("gke"))
    assert (made["apiVersion"], made["kind"], made["metadata"]["name"]) == (
        "jobset.x-k8s.io/v1alpha2",
        "JobSet",
        "study",
    )
    assert made["spec"]["failurePolicy"]["maxRestarts"] > 0  # what was pre-empted goes on
    (rule,) = made["spec"]["failurePolicy"]["rules"]  # and a mistake does not
    assert rule == {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    (replicated,) = made["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert (job["parallelism"], job["completions"], job["completionMode"]) == (4, 4, "Indexed")
    (rule,) = job["podFailurePolicy"]["rules"]
    mistake = {"containerName": "main", "operator": "In", "values": [2]}
    assert rule == {"action": "FailJob", "onExitCodes": mistake, "onPodConditions": []}
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never" and pod["nodeSelector"] == {"a": "b", "c": "4x4"}
    (container,) = pod["containers"]
    assert container["name"] == "main"
    (volume,), (mount,) = pod["volumes"], container["volumeMounts"]
    assert volume["persistentVolumeClaim"] == {"claimName": "disk"} and volume["name"] == mount["name"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["BOTTLENECK_CACHE"].startswith(mount["mountPath"] + "/")
    assert int(environment["BOTTLENECK_JOINING"]) >= 600  # a pod that comes late is no mistake
    assert container["resources"] == {"limits": {"google.com/tpu": 4}}
    assert container["command"][:3] == ["python", "-m", "bottleneck.main"] and tuple(container["command"][-3:]) == STUDY
    assert (
        "--coordinator=study-hosts-0-0.study:55527" in container["command"] and "--processes=4" in container["command"]
    )


def test_without_a_claim_nothing_is_placed_on_one():
    said = launch("gke", "--name=study", "--image=image", "--print", "--", *STUDY)
    (container,) = yaml.safe_load(said)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert "volumeMounts" not in container and "BOTTLENECK_CACHE" not in said


def test_a_pod_slice_runs_one_command_on_all_hosts():
    command = shlex.split(printed("tpu"))
    assert "--worker=all" in command and "pod" in command
    remote = next(word for word in command if word.startswith("--command=")).removeprefix("--command=")
    assert tuple(shlex.split(remote)[-3:]) == STUDY


@pytest.mark.parametrize("name", GIVEN)
def test_mistakes_are_one_line(name):
    for given in (("--hosts",), GIVEN[name]):
        assert launch(name, *given, code=2).startswith("error: --") or name == "gke"
    (line,) = launch(name, *GIVEN[name], code=2).splitlines()
    assert "--config=FILE" in line


@pytest.mark.parametrize(
    ("name", "flag", "text"),
    [("local", "--processes", "x"), ("local", "--processes", "0"), ("slurm", "--shards", "0")]
    + [("slurm", flag, "2.5") for flag in ("--nodes", "--tasks-per-node", "--rounds")]
    + [("gke", "--hosts", "")],
)
def test_a_number_that_is_none_is_a_mistake(name, flag, text):
    said = launch(name, *GIVEN[name], f"{flag}={text}", "--print", "--", *STUDY, code=2)
    assert said == f"error: {flag}={text}: expected a whole number, at least 1\n"
