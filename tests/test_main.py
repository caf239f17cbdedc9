"""The main command as a user calls it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import irmas_fixture
import jax
import numpy as np
import pytest
import soundfile
from conftest import SMALL, call

from irec_jax.checkpoints import storage as checkpoints
from irec_jax.errors import UserError
from irec_jax.systems import load_recogniser

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in ("__init__", "common")
)
SEPARATORS = ("ligtenberg_unet",)
RECOGNISERS = [name for name in CONFIGS if name not in SEPARATORS]


def parameters(folder):
    """The best parameters in a workdir, layer by layer."""
    task = load_recogniser(folder).task
    target = jax.eval_shape(task.init, jax.random.key(0))
    return checkpoints.load_best_variables(folder / "checkpoints", target)[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_dry_run_shows_config_shapes_and_parameters_and_builds_nothing(
    name, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    assert call(f"--config=configs/{name}.py", "--dry_run") == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(r"parameters: \d+", shown.strip().splitlines()[-1])
    assert "features  (128, 43, 128) float32" in shown or name != "han"
    assert list(tmp_path.iterdir()) == []


def test_dry_run_of_han_has_the_papers_network(capsys):
    assert call("--config=configs/han.py", "--dry_run") == 0
    assert capsys.readouterr().out.strip().endswith("parameters: 1446123")


@pytest.mark.parametrize("name", RECOGNISERS)
def test_every_recogniser_runs_from_data_to_report(name, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert call(f"--config=configs/{name}.py:debug", f"--workdir={workdir}") == 0
    report = json.loads((workdir / "report.json").read_text())
    assert report["dataset"] == "gm_irmas" and report["rendered"] is True
    for kind in ("fixed", "validation", "oracle"):
        block = report["thresholds"][kind]
        for average in ("micro", "macro"):
            low, high = block[average]["f1_interval"]
            assert 0 <= low <= high <= 1
        assert set(block["per_class"]) == set(report["classes"])
    assert set(report["baselines"]) == {"majority", "MFCC + logistic regression"}
    assert len(report["history"]) == 2
    page = (workdir / "report.md").read_text()
    assert "rendered audio" in page and str(tmp_path) not in page.replace(str(workdir), "")
    for picture in re.findall(r"\]\(([^)]+\.png)\)", page):
        assert (workdir / picture).read_bytes().startswith(b"\x89PNG")
    assert any((workdir / "tensorboard").iterdir())
    system = json.loads((workdir / "system.json").read_text())
    assert set(system["thresholds"]) == {"fixed", "validation", "validation_per_class"}
    assert len(system["classes"]) == len(report["classes"]) and system["frontend"]["name"]
    # Anybody's stereo file, longer than a window and far shorter.
    recogniser = load_recogniser(workdir)
    sound = 0.1 * np.random.default_rng(0).normal(size=(150_000, 2))
    for samples in (sound, sound[:500]):
        found = recogniser.recognize(samples, sample_rate_hz=44_100)
        assert list(found.scores) == report["classes"] and found.note == ""
        assert ((found.window_scores >= 0) & (found.window_scores <= 1)).all()
    # The finished run is not trained again: it is evaluated again, with the same scores.
    capsys.readouterr()
    assert call(f"--config=configs/{name}.py:debug", f"--workdir={workdir}") == 0
    assert "epoch" not in capsys.readouterr().out.replace("best epoch", "").replace("per epoch", "")
    again = json.loads((workdir / "report.json").read_text())
    assert again["thresholds"] == report["thresholds"]


def test_the_real_dataset_by_one_argument(tmp_path, monkeypatch):
    from data_builders.irmas.builder import Irmas
    from irec_jax.labels import IRMAS

    irmas_fixture.write_unpacked(tmp_path / "manual")
    monkeypatch.setattr(Irmas, "NUM_TRAINING", irmas_fixture.num_training(IRMAS))
    monkeypatch.setattr(Irmas, "NUM_TEST", irmas_fixture.NUM_TEST)
    words = ["--config=configs/han.py:debug,dataset=irmas", f"--workdir={tmp_path / 'run'}", *SMALL]
    places = [f"--config.data.dir={tmp_path}", f"--config.data.manual_dir={tmp_path / 'manual'}"]
    assert call(*words, *places) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["dataset"] == "irmas" and report["rendered"] is False
    assert report["data"]["test"]["num_clips"] == len(irmas_fixture.TEST)
    assert report["data"]["test"]["num_contradictory_clips"] == 2
    page = (tmp_path / "run" / "report.md").read_text()
    assert "Han, Kim and Lee 2017" in page and "rendered" not in page


def test_sounds_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    for name, pitch_hz in (("bell", 2000), ("bass drum", 60), ("whistle", 900)):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for i in range(8):
            time_s = np.arange(16000 + 1000 * i) / 16000
            wave = 0.5 * np.sin(2 * np.pi * pitch_hz * time_s) + 0.01 * rng.normal(size=len(time_s))
            soundfile.write(tmp_path / "sounds" / name / f"{i}.wav", wave, 16000)
    words = ["--config=configs/han.py:debug,dataset=folder", f"--workdir={tmp_path / 'run'}"]
    assert call(*words, f"--config.data.path={tmp_path / 'sounds'}", *SMALL) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["classes"] == ["bass drum", "bell", "whistle"]
    assert (
        json.loads((tmp_path / "run" / "system.json").read_text())["classes"] == report["classes"]
    )


def test_another_config_is_refused_with_the_differing_keys(trained, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={trained}", *SMALL]
    assert call(*words, "--config.seed=3", "--config.optimizer.name=sgd") == 1
    shown = capsys.readouterr().err
    assert "optimizer.name: adam -> sgd" in shown and "seed: 0 -> 3" in shown
    assert shown.count("\n") == 1


def test_eval_takes_other_evaluation_settings(trained, capsys):
    before = json.loads((trained / "report.json").read_text())
    words = ["--config=configs/han.py:debug", f"--workdir={trained}", *SMALL, "--mode=eval"]
    assert call(*words, "--config.evaluation.aggregation=s1") == 0
    report = json.loads((trained / "report.json").read_text())
    assert report["aggregation"] == "s1" and len(report["history"]) == 2
    assert report["aggregations"]["s2"]["curve"] == before["aggregations"]["s2"]["curve"]
    assert call(*words) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=configs/hann.py"], "did you mean 'han'"),
        (["--config=configs/han.py", "--confg.seed=1"], "unknown argument '--confg.seed=1'"),
        (["--config=configs/han.py", "--config.seed"], "a value is missing"),
        (["--config=configs/han.py:debug", "--mode=eval"], "no trained system"),
        (["--config=configs/han.py:dataset=folder"], "path"),
        (["--config=configs/han.py:dataset=irmas", "--config.data.manual_dir=nowhere"], "nowhere"),
        (
            ["--config=configs/han.py:debug", "--config.training.batch_size=0"],
            "training.batch_size",
        ),
        (["--config=configs/han.py:debug", "--config.evaluation.hop_s=2"], "evaluation.hop_s"),
        (["--config=configs/han.py:debug", "--config.evaluation.aggregation=s3"], "'s3'"),
        (["--config=configs/han.py:debug", "--config.model.activation=lrelu"], "activation"),
        (["--config=configs/han.py:debug,window_s=0.001"], "too short"),
        (["--config=configs/han.py", "--config.model.dropout=1.5"], "1.5"),
        (["--config=configs/han.py", "--config.model.filters=abc"], "model"),
        (["--config=configs/han.py", "--config.model.dtype=float99"], "float99"),
        (["--config=configs/han.py", "--config.optimizer.mu_dtype=foo"], "optimizer"),
        (["--config=configs/han.py", "--config.optimizer.eps=1e999"], "optimizer.eps=inf"),
        (["--config=configs/han.py", "--config.seed=-1"], "seed=-1"),
        (["--config=configs/han.py", "--config.seed=4294967296"], "below 2**32"),
        (["--config=configs/han.py", "--config.evaluation.batch_size=0"], "evaluation.batch_size"),
        (["--config=configs/han.py", "--config.data.validation_fraction=2.0"], "between 0 and 1"),
        (
            ["--config=configs/han.py", "--config.task=separation"],
            "holds labelled clips, not tracks",
        ),
    ],
)
def test_mistakes_cost_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 1
    shown = capsys.readouterr().err
    assert message in shown and shown.startswith("error: ")
    assert "Traceback" not in shown and len(shown.strip().splitlines()) == 1
    # A failed try leaves nothing behind that would refuse the next one.
    assert not (tmp_path / "runs").exists()


def test_a_folder_with_other_files_is_no_workdir(tmp_path, capsys):
    (tmp_path / "song.wav").write_bytes(b"")
    assert call("--config=configs/han.py:debug", f"--workdir={tmp_path}") == 1
    assert "contains other files" in capsys.readouterr().err


def test_repeats_give_mean_and_standard_deviation(tmp_path, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    assert call(*words, "--config.training.repeats=2") == 0
    whole = json.loads((tmp_path / "run" / "report.json").read_text())
    single = [
        json.loads((tmp_path / "run" / f"seed_{seed}" / "report.json").read_text())
        for seed in (0, 1)
    ]
    values = [one["thresholds"]["fixed"]["micro"]["f1"] for one in single]
    micro = whole["repeats"]["thresholds"]["fixed"]["micro"]["f1"]
    assert micro["mean"] == pytest.approx(np.mean(values)) and micro["values"] == values
    assert micro["sd"] == pytest.approx(np.std(values, ddof=1))
    assert "±" in capsys.readouterr().out


def test_profile_says_where_the_trace_lies_and_the_rate(tmp_path, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    words += ["--config.profile.start_step=1", "--config.profile.num_steps=2"]
    assert call(*words) == 0
    shown = capsys.readouterr().out
    assert "GFLOP/s achieved" in shown and "ui.perfetto.dev" in shown
    traces = list((tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz"))
    assert len(traces) == 1
    # Steps that are never reached are said to be so.
    words[1] = f"--workdir={tmp_path / 'late'}"
    assert call(*words, "--config.profile.start_step=100") == 0
    assert "nothing traced" in capsys.readouterr().out


def start(words, **variables):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "irec_jax.main", *map(str, words)],
        cwd=ROOT,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(words):
    """Run the command in a process of its own to its end and return what it prints."""
    process = start(words)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output[-3000:]
    return output


def test_a_killed_run_resumes_and_ends_as_an_uninterrupted_one(tmp_path):
    """All runs are processes of the same kind: XLA may round differently in this one."""
    words = ["--config=configs/han.py:debug", *SMALL, "--config.training.num_epochs=6"]
    words += ["--config.training.checkpoint_every_steps=2", "--config.training.patience=9"]
    uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
    finish([*words, f"--workdir={uninterrupted}"])
    process = start([*words, f"--workdir={killed}"])
    folder = killed / "checkpoints"
    while process.poll() is None and not any(int(p.name) >= 4 for p in folder.glob("[0-9]")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert any(folder.glob("[0-9]*")) and not (killed / "report.json").exists()
    # The system can be applied before its training is complete.
    assert load_recogniser(killed).thresholds == {"fixed": 0.5}
    assert "resuming after step" in finish([*words, f"--workdir={killed}"])
    resumed = parameters(killed)
    for layer, arrays in parameters(uninterrupted).items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, resumed[layer][name])


def launch(count, *words):
    """Several processes on this machine."""
    return subprocess.run(
        ["launch/local.sh", str(count), "--config=configs/han.py:debug", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_processes_end_as_one(tmp_path, trained):
    workdir = tmp_path / "two"
    done = launch(2, f"--workdir={workdir}", *SMALL)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    one, two = parameters(trained), parameters(workdir)
    for layer, arrays in one.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(array, two[layer][name], rtol=1e-3, atol=2e-5)
    reports = [json.loads((folder / "report.json").read_text()) for folder in (trained, workdir)]
    assert reports[1]["provenance"]["hardware"]["num_processes"] == 2
    auc = [report["ranking"]["auc"]["macro"] for report in reports]
    assert auc[0] == pytest.approx(auc[1], abs=0.02)
    # Evaluation alone, and a mistake that one process finds, in two processes as well.
    (workdir / "report.json").unlink()
    assert launch(2, f"--workdir={workdir}", *SMALL, "--mode=eval").returncode == 0
    again = json.loads((workdir / "report.json").read_text())
    assert again["thresholds"] == reports[1]["thresholds"]
    refused = launch(2, f"--workdir={workdir}", *SMALL, "--config.seed=5")
    assert refused.returncode == 1 and "seed: 0 -> 5" in refused.stderr


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.argv = ["main", *{words!r}]
from irec_jax.cli.console import run_command
from irec_jax.main import main
from irec_jax.experiment.base import Experiment
train = Experiment.train
def limited(*arguments):  # no file beyond 100 kB, as if the disk were full
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    return train(*arguments)
Experiment.train = limited
sys.exit(run_command(main))
"""


def test_a_full_disk_costs_one_line_and_no_report(tmp_path, monkeypatch, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    with monkeypatch.context() as patch:
        full = shutil.disk_usage(tmp_path)._replace(free=1000)
        patch.setattr(shutil, "disk_usage", lambda folder: full)
        assert call(*words) == 1
    errors = [line for line in capsys.readouterr().err.split("\n") if "error: " in line]
    assert len(errors) == 1 and "MB needed, 0 MB free" in errors[0]
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))
    # With room again the same command goes on.
    assert call(*words) == 0
    capsys.readouterr()


def test_a_disk_that_fills_while_a_checkpoint_is_written(tmp_path):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    script = FULL_DISK.format(words=[*words, "--config.model.dense=4096"])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1 and "error: " in done.stderr and "cannot be written" in done.stderr
    assert not (tmp_path / "run" / "report.json").exists()
    with pytest.raises(UserError, match="no checkpoint"):
        load_recogniser(tmp_path / "run")


def test_ctrl_c_ends_a_run_at_once(tmp_path):
    process = start(["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL])
    for line in process.stdout:
        if "rendered audio" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "interrupted" in rest and "Traceback" not in rest
