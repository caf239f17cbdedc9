"""Locks of workdirs: refusal, heartbeat, takeover, release."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SMALL, call

from irec_jax import cli
from irec_jax.checkpoints import lock
from irec_jax.checkpoints.lock import LOCK_FILE, run_lock
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys, time; from pathlib import Path; from irec_jax.checkpoints.lock import run_lock\n"
    "with run_lock(Path(sys.argv[1])): print('locked', flush=True); time.sleep(600)"
)


def write_lock(folder, *, age_s=0.0, **changes):
    """Write the lock of a living process of another machine, last renewed `age_s` ago."""
    owner = dict(token="t", host="node7", pid=os.getpid(), machine="node7", started="2026-01-02")
    folder.mkdir(exist_ok=True)
    file = folder / LOCK_FILE
    file.write_text(json.dumps(owner | changes))
    now_s = time.time()
    os.utime(file, (now_s - age_s, now_s - age_s))
    return file


def read_lock(folder):
    return json.loads((folder / LOCK_FILE).read_text())


@pytest.fixture
def other_process(tmp_path):
    """Return a process that holds the lock of the folder `run`."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None and process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_second_run_is_refused_with_the_first_ones_host_and_process(tmp_path, other_process):
    expected = rf"process {other_process.pid} on {socket.gethostname()}, started 20"
    with pytest.raises(UserError, match=expected), run_lock(tmp_path / "run"):
        pass
    assert read_lock(tmp_path / "run")["pid"] == other_process.pid
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    with run_lock(tmp_path / "run"):
        assert read_lock(tmp_path / "run")["pid"] == os.getpid()
    assert not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize(("age_s", "taken_over"), [(100, False), (130, True), (-3000, False)])
def test_lock_of_another_machine_expires_without_a_heartbeat(tmp_path, age_s, taken_over):
    file = write_lock(tmp_path, age_s=age_s)
    before = file.read_text()
    if taken_over:
        with run_lock(tmp_path):
            assert read_lock(tmp_path)["host"] == socket.gethostname()
        assert not file.exists()
        return
    with pytest.raises(UserError, match=r"process \d+ on node7, started 2026"), run_lock(tmp_path):
        pass
    assert file.read_text() == before


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "IREC_JOB"])
def test_restarted_job_takes_over_its_lock_on_another_machine(tmp_path, monkeypatch, variable):
    write_lock(tmp_path, job="17")
    for job in (None, "18"):
        monkeypatch.setenv(variable, job) if job else monkeypatch.delenv(variable, raising=False)
        with pytest.raises(UserError, match="node7"), run_lock(tmp_path):
            pass
    monkeypatch.setenv(variable, "17")
    with run_lock(tmp_path):
        assert read_lock(tmp_path)["job"] == "17"
        # On the same machine the process counts, such as that of another step of the job.
        with pytest.raises(UserError, match="uses this folder"), run_lock(tmp_path):
            pass


def test_age_is_measured_by_the_clock_of_the_file_system(tmp_path, monkeypatch):
    write_lock(tmp_path, age_s=10)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with pytest.raises(UserError, match="node7"), run_lock(tmp_path):
        pass


def test_process_ids_of_another_container_are_not_compared(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_lock(tmp_path, pid=ended.pid, host=socket.gethostname())
    with pytest.raises(UserError, match=f"process {ended.pid}"), run_lock(tmp_path):
        pass
    write_lock(tmp_path, pid=ended.pid, machine=lock._machine())
    with run_lock(tmp_path):
        pass


def test_restarted_container_takes_over_the_lock_of_its_main_process(tmp_path):
    with run_lock(tmp_path):
        owner = json.loads((tmp_path / LOCK_FILE).read_text())
        with pytest.raises(UserError, match="uses this folder"), run_lock(tmp_path):
            pass
    (tmp_path / LOCK_FILE).write_text(json.dumps(owner | {"token": "of the killed process"}))
    with run_lock(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["token"] != owner["token"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": "x"}', '{"token": 3}'])
def test_damaged_lock_counts_until_it_expires(tmp_path, content):
    file = tmp_path / LOCK_FILE
    file.write_text(content)
    with pytest.raises(UserError, match="uses this folder"), run_lock(tmp_path):
        pass
    with run_lock(tmp_path, timeout_s=-1):
        pass


def test_heartbeat_renews_the_lock(tmp_path):
    with run_lock(tmp_path, interval_s=0.02):
        file = tmp_path / LOCK_FILE
        os.utime(file, (0, 0))
        wait_until(lambda: file.stat().st_mtime > 0)
        file.unlink()
        wait_until(file.exists)
    assert not file.exists()


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("the condition has not become true")


def test_run_ends_when_another_one_has_taken_its_lock_over(tmp_path):
    with (
        pytest.raises(UserError, match="process 1 on node7, started 2026-01-02, has taken over"),
        run_lock(tmp_path, interval_s=0.02),
    ):
        write_lock(tmp_path, pid=1)
        wait_until(
            lambda: False
        )  # in short sleeps: an interrupt by a thread does not end a long one
    assert read_lock(tmp_path)["pid"] == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_lock_is_released_after_errors(tmp_path, error):
    with pytest.raises(error), run_lock(tmp_path / "new" / "run"):
        raise error
    assert not (tmp_path / "new" / "run").exists()
    tmp_path.joinpath("empty").mkdir()
    with run_lock(tmp_path / "empty"):
        pass
    assert tmp_path.joinpath("empty").is_dir()


def test_folder_that_cannot_be_locked_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "run" / LOCK_FILE).mkdir(parents=True)
    for name, message in {"file": "is a file", "file/run": "cannot", "run": "cannot"}.items():
        with pytest.raises(UserError, match=f"{name}: {message}"), run_lock(tmp_path / name):
            pass


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_training_and_evaluation_respect_the_lock(trained, mode, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={trained}", f"--mode={mode}", *SMALL]
    file = write_lock(trained)
    report = (trained / "report.json").read_bytes()
    assert call(*words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{trained}: process {os.getpid()} on node7" in error
    assert (trained / "report.json").read_bytes() == report
    file.unlink()
    assert call(*words) == 0
    assert not file.exists()


def test_lock_of_a_repeat_is_respected(tmp_path, capsys):
    words = ["--config=configs/han.py:debug", *SMALL, "--config.training.repeats=2"]
    (tmp_path / "config.json").write_text("{}")
    write_lock(tmp_path / "seed_0", pid=5)
    assert call(*words, f"--workdir={tmp_path}") == 1
    assert "seed_0: process 5 on node7" in capsys.readouterr().err
    assert not (tmp_path / LOCK_FILE).exists()


def test_shell_pattern_is_not_a_workdir(tmp_path, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path}/run*", *SMALL]
    assert call(*words) == 1
    assert f"{tmp_path}/run*: is a shell pattern" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_studies_respect_the_lock(tmp_path, capsys):
    write_lock(tmp_path)
    words = ["study", "goel", "--debug", f"--workdir={tmp_path}"]
    assert run_command(lambda: cli.run(words)) == 1
    assert "on node7" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
