"""Scripts and manifests of launch/, with stand-ins for the clusters' commands."""

import os
import shlex
import subprocess
import time
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

LAUNCH = Path(__file__).parents[1] / "launch"
KUBERNETES_VERSION = "1.33"


def install(folder, name, script):
    """Write a command."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


def run(script, *words, path, **variables):
    """Run a script with the commands of a folder first in PATH."""
    return subprocess.run(
        [LAUNCH / script, *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{path}:{os.environ['PATH']}"} | variables,
        timeout=60,
    )


def log_lines(file):
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize(("code", "requeued"), [(0, []), (1, []), (75, ["requeue 17"])])
def test_slurm_script_requeues_a_preempted_job(tmp_path, code, requeued):
    path, log = tmp_path / "bin", tmp_path / "log"
    command = tmp_path / "command"
    install(path, "scontrol", f'echo "$@" >> {log}')
    install(path, "srun", f'echo "$SRUN_CPUS_PER_TASK $@" > {command}; exit {code}')
    words = ["--config=configs/han.py:debug", "--config.model.filters=(4, 8)"]
    job = {"SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "3", "PYTHON": "python3"}
    completed = run("slurm.sh", *words, path=path, **job)
    assert completed.returncode == code and log_lines(log) == requeued
    expected = f"3 --kill-on-bad-exit=0 --wait=60 python3 -m irec_jax.main {' '.join(words)}"
    assert log_lines(command) == [expected]


def test_slurm_array_divides_the_runs_of_a_command(tmp_path):
    path, command = tmp_path / "bin", tmp_path / "command"
    install(path, "srun", f'echo "$@" > {command}; exit 75')
    install(path, "scontrol", f'echo "$@" >> {command}')
    job = array_job([1, 2, 3, 4], 3)
    assert run("slurm_array.sh", "study", "goel", "--quick", path=path, **job).returncode == 75
    expected = "--kill-on-bad-exit=0 --wait=60 python -m irec_jax.cli study goel --quick --task=3/4"
    assert log_lines(command) == [expected, "requeue 21"]


def array_job(ids, own, **variables):
    """Return the variables that Slurm sets in a task of an array with these numbers."""
    counts = dict(ID=own, COUNT=len(ids), MIN=min(ids), MAX=max(ids))
    job = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in counts.items()}
    return {"SLURM_JOB_ID": "21", "IREC_NUM_TASKS": ""} | job | variables


@pytest.mark.parametrize(
    ("ids", "own", "num_tasks", "task"),
    [
        (range(10), 0, "", "10/10"),  # --array=0-9%2
        (range(10), 9, "", "9/10"),
        ([2], 2, "10", "2/10"),  # --array=2
        ([1, 3], 3, "10", "3/10"),
        ([0], 0, "10", "10/10"),
        ([2], 2, "", None),
        ([1], 1, "", None),
        ([1, 3], 1, "", None),
        ([3, 4, 5], 4, "", None),
    ],
)
def test_number_of_tasks_is_not_that_of_a_part_of_an_array(tmp_path, ids, own, num_tasks, task):
    path, command = tmp_path / "bin", tmp_path / "command"
    install(path, "srun", f'echo "$@" > {command}')
    job = array_job(ids, own, IREC_NUM_TASKS=num_tasks)
    completed = run("slurm_array.sh", "study", "goel", path=path, **job)
    assert completed.returncode == (0 if task else 1)
    if task:
        assert log_lines(command)[0].endswith(f"study goel --task={task}")
    else:
        assert completed.stderr.count("\n") == 1 and "set IREC_NUM_TASKS" in completed.stderr
        assert not command.exists()


def jobs(document):
    """Yield the Jobs of a manifest's document: itself, or those of a JobSet."""
    if document["kind"] != "JobSet":
        yield document
        return
    for job in document["spec"]["replicatedJobs"]:
        name = {"metadata": {"name": job["name"]}}
        yield {"apiVersion": "batch/v1", "kind": "Job"} | name | job["template"]


@pytest.mark.parametrize("name", ["kubernetes.yaml", "kubernetes_jobset.yaml"])
def test_manifests_are_valid_and_restart_preempted_pods(name):
    documents = [
        job
        for document in yaml.safe_load_all((LAUNCH / name).read_text())
        for job in jobs(document)
    ]
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
    spec = documents[-1]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (rule,) = [rule for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert rule["onExitCodes"]["values"] == [75]
    count = next(entry for entry in container["env"] if entry["name"] == "IREC_NUM_PROCESSES")
    assert int(count["value"]) == spec["completions"] == spec["parallelism"]
    assert "exec python" in container["args"][0]  # a shell would keep SIGTERM to itself


@pytest.fixture
def pod(tmp_path):
    """Return the folder of commands and the home of a host of a pod slice, without a network."""
    path, home = tmp_path / "bin", tmp_path / "home"
    (home / "irec-jax").mkdir(parents=True)
    # The last argument is --command=TEXT, which ssh passes to a shell on the host.
    install(
        path,
        "gcloud",
        f'echo "${{@:1:5}}" >> {home}/gcloud.log\nlast="${{!#}}"\n'
        f'[[ "$last" != --command=* ]] || HOME={home} bash -c "${{last#--command=}}"',
    )
    install(
        path,
        "python",
        'trap "echo terminated; exit 75" TERM\n'
        'printf "%s|" "$IREC_COORDINATOR" "$@"; echo\n'
        "while true; do sleep 0.05; done",
    )
    return path, home


def wait_for(condition):
    while not condition():
        time.sleep(0.02)


def test_tpu_training_outlives_the_connection_and_is_stopped_by_sigterm(pod):
    path, home = pod
    words = ["--config=configs/han.py:debug", "--config.model.filters=(4, 8)", "it's"]
    log = home / "irec.log"
    assert run("tpu_pod.sh", "start", "NAME", "ZONE", *words, path=path).returncode == 0
    wait_for(lambda: log_lines(log))
    assert log_lines(log) == ["|".join(["auto", "-m", "irec_jax.main", *words, ""])]
    second = run("tpu_pod.sh", "start", "NAME", "ZONE", *words, path=path)
    assert second.returncode == 1 and "stop it first" in second.stderr
    assert run("tpu_pod.sh", "stop", "NAME", "ZONE", path=path).returncode == 0
    wait_for(lambda: log_lines(log)[-1] == "terminated")
    shown = run("tpu_pod.sh", "log", "NAME", "ZONE", path=path)
    assert shown.stdout.endswith("terminated\n")


def test_tpu_slice_is_requested_from_the_queue(pod):
    path, home = pod
    assert run("tpu_pod.sh", "request", "N", "Z", "v5litepod-16", "v2", path=path).returncode == 0
    assert log_lines(home / "gcloud.log")[0] == shlex.join(
        ["compute", "tpus", "queued-resources", "create", "N"]
    )
    assert run("tpu_pod.sh", "request", "N", "Z", path=path).returncode == 2
    assert run("tpu_pod.sh", "stopp", "N", "Z", path=path).returncode == 2
