"""The main command from the command line to the report."""

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

from irec_jax import cli
from irec_jax.checkpoints import storage as checkpoints
from irec_jax.errors import UserError
from irec_jax.systems import load_recogniser
from irec_jax.systems import recogniser as recogniser_module

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in ("__init__", "common")
)
SEPARATORS = ("ligtenberg_unet",)
RECOGNISERS = [name for name in CONFIGS if name not in SEPARATORS]
_SMALL_IMAGE = ["filters=(4, 4)", "kernels=(5, 3)", "strides=(3, 2)", "pools=(2, 2)", "dense=8"]
#: Settings of networks that compile quickly, of the same kind as those of the configs.
_SMALL = {
    "goel_cnn": _SMALL_IMAGE,
    "goel_crnn": [*_SMALL_IMAGE, "hidden=8"],
    "goel_rnn": ["hidden=(8,)"],
    "ligtenberg_cnn": ["filters=(4, 6, 8)", "kernels=(5, 3, 3)", "strides=(2, 2, 2)",
                       "dilations=(1, 1, 1)", "dense=8"],
    "vazonis_lstm": ["hidden=(4,)", "dense=(8, 4)"],
    "wild": ["filters=(4, 6)", "kernels=(5, 3)", "strides=(2, 1)", "dense=8"],
}  # fmt: skip


def parameters(folder):
    """Return the best parameters in a workdir by layer."""
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
    printed = capsys.readouterr().out
    assert re.fullmatch(r"parameters: \d+", printed.strip().splitlines()[-1])
    assert "features  (128, 43, 128) float32" in printed or name != "han"
    assert list(tmp_path.iterdir()) == []


def test_values_after_a_space_may_come_before_the_config(capsys):
    words = ["--config.training.repeats", "3", "--config", "configs/han.py", "--dry_run"]
    assert call(*words) == 0
    printed = capsys.readouterr().out
    assert re.search(r"repeats: 3\b", printed) and "parameters: 1446123" in printed
    assert cli.run(["train", "--config.seed", "7", "configs/han.py", "--dry-run"]) == 0
    assert re.search(r"^seed: 7\b", capsys.readouterr().out, re.MULTILINE)


def test_dry_run_of_han_has_the_papers_network(capsys):
    assert call("--config=configs/han.py", "--dry_run") == 0
    assert capsys.readouterr().out.strip().endswith("parameters: 1446123")


@pytest.mark.parametrize("name", RECOGNISERS)
def test_every_recogniser_runs_from_data_to_report(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recogniser_module, "BATCH_SIZE", 8)
    workdir = tmp_path / "run"
    words = [f"--config=configs/{name}.py:debug", f"--workdir={workdir}"]
    words += ["--config.training.batch_size=4", "--config.training.max_steps_per_epoch=2"]
    words += [f"--config.model.{setting}" for setting in _SMALL.get(name, ())]
    if name in ("han", "seipel"):
        words += SMALL
    if name == "han":
        words += ["--config.training.ema_decay=0.9"]
    if name == "vazonis_lstm":  # one step of the network per sample
        words += ["--config.data.window_s=0.5", "--config.evaluation.hop_s=0.5"]
    assert call(*words) == 0
    report = json.loads((workdir / "report.json").read_text())
    dataset = {"seipel": "gm_multitrack", "wild": "gm_wild"}.get(name, "gm_irmas")
    assert report["dataset"] == dataset and report["rendered"] is True
    for kind in ("fixed", "validation", "oracle"):
        metrics = report["thresholds"][kind]
        for average in ("micro", "macro"):
            low, high = metrics[average]["f1_interval"]
            assert 0 <= low <= high <= 1
        assert set(metrics["per_class"]) == set(report["classes"])
    assert set(report["baselines"]) == {"majority", "MFCC + logistic regression"}
    assert len(report["history"]) == 2
    page = (workdir / "report.md").read_text()
    assert ("moving averages over training steps, decay 0.9." in page) == (name == "han")
    assert "rendered audio" in page and str(tmp_path) not in page.replace(str(workdir), "")
    for picture in re.findall(r"\]\(([^)]+\.png)\)", page):
        assert (workdir / picture).read_bytes().startswith(b"\x89PNG")
    assert any((workdir / "tensorboard").iterdir())
    system = json.loads((workdir / "system.json").read_text())
    assert set(system["thresholds"]) == {"fixed", "validation", "validation_per_class"}
    assert len(system["classes"]) == len(report["classes"]) and system["frontend"]["name"]
    # Stereo arrays, longer and much shorter than a window.
    recogniser = load_recogniser(workdir)
    noise = 0.1 * np.random.default_rng(0).normal(size=(150_000, 2))
    for samples in (noise, noise[:5000]):
        result = recogniser.recognize(samples, sample_rate_hz=44_100)
        assert list(result.scores) == report["classes"] and result.note == ""
        assert ((result.window_scores >= 0) & (result.window_scores <= 1)).all()
    if name not in ("han", "seipel"):
        return
    # A finished run is not trained further; its second evaluation gives the same scores.
    capsys.readouterr()
    assert call(*words) == 0
    assert not re.search(r"(?<!best |last |.per )epoch", capsys.readouterr().out)
    second_report = json.loads((workdir / "report.json").read_text())
    assert second_report["thresholds"] == report["thresholds"]


def test_irmas_is_selected_by_one_argument(tmp_path, monkeypatch):
    from data_builders.irmas.builder import Irmas
    from irec_jax.labels import IRMAS

    irmas_fixture.write_unpacked(tmp_path / "manual")
    monkeypatch.setattr(Irmas, "NUM_TRAINING", irmas_fixture.num_training(IRMAS))
    monkeypatch.setattr(Irmas, "NUM_TEST", irmas_fixture.NUM_TEST)
    words = ["--config=configs/han.py:debug,dataset=irmas", f"--workdir={tmp_path / 'run'}", *SMALL]
    data_options = [
        f"--config.data.dir={tmp_path}",
        f"--config.data.manual_dir={tmp_path / 'manual'}",
    ]
    assert call(*words, *data_options, "--config.training.num_epochs=1") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["dataset"] == "irmas" and report["rendered"] is False
    assert report["data"]["test"]["num_clips"] == len(irmas_fixture.TEST)
    assert report["data"]["test"]["num_contradictory_clips"] == 2
    page = (tmp_path / "run" / "report.md").read_text()
    assert "Han, Kim and Lee 2017" in page and "rendered" not in page


def test_recogniser_is_trained_on_a_user_folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, pitch_hz in (("bell", 2000), ("bass drum", 60), ("whistle", 900)):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for i in range(8):
            time_s = np.arange(16000 + 1000 * i) / 16000
            wave = 0.5 * np.sin(2 * np.pi * pitch_hz * time_s) + 0.01 * rng.normal(size=len(time_s))
            soundfile.write(tmp_path / "sounds" / name / f"{i}.wav", wave, 16000)
    words = ["--config=configs/han.py:debug,dataset=folder", f"--workdir={tmp_path / 'run'}"]
    words += ["--config.training.num_epochs=1", *SMALL]
    assert call(*words, f"--config.data.path={tmp_path / 'sounds'}") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["classes"] == ["bass drum", "bell", "whistle"]
    assert report["protocol"]["description"].startswith("official: a fifth of the songs, held out")
    assert (
        json.loads((tmp_path / "run" / "system.json").read_text())["classes"] == report["classes"]
    )


def test_changed_config_is_rejected_with_the_differing_keys(trained, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={trained}", *SMALL]
    assert call(*words, "--config.seed=3", "--config.optimizer.name=sgd") == 1
    error = capsys.readouterr().err
    assert "optimizer.name: adam -> sgd" in error and "seed: 0 -> 3" in error
    assert error.count("\n") == 1


def test_eval_mode_accepts_changed_evaluation_settings(trained, capsys):
    report_before = json.loads((trained / "report.json").read_text())
    system_before = (trained / "system.json").read_text()
    words = ["--config=configs/han.py:debug", f"--workdir={trained}", *SMALL, "--mode=eval"]
    assert call(*words, "--config.evaluation.aggregation=s1") == 0
    report = json.loads((trained / "report.json").read_text())
    assert report["aggregation"] == "s1" and len(report["history"]) == 2
    assert report["aggregations"]["s2"]["curve"] == report_before["aggregations"]["s2"]["curve"]
    assert "keeps its settings; the report uses evaluation.aggregation: s2 -> s1" in (
        capsys.readouterr().out
    )
    assert (trained / "system.json").read_text() == system_before
    assert call(*words) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=configs/hann.py"], "did you mean 'han'"),
        (["--config=configs/han.py", "--confg.seed=1"], "unknown argument '--confg.seed=1'"),
        (["--config=configs/han.py:debug", "--workdir="], "--workdir: empty name"),
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
        (["--config=configs/han.py:debug,window_s=0.001"], "too few"),
        (["--config=configs/han.py", "--config.model.dropout=1.5"], "1.5"),
        (["--config=configs/han.py", "--config.model.filters=abc"], "model"),
        (["--config=configs/han.py", "--config.model.dtype=float99"], "float99"),
        (["--config=configs/han.py", "--config.optimizer.mu_dtype=foo"], "optimizer"),
        (["--config=configs/han.py", "--config.optimizer.eps=1e999"], "optimizer.eps=inf"),
        (["--config=configs/han.py", "--config.seed=-1"], "seed=-1"),
        (["--config=configs/han.py", "--config.seed=4294967296"], "below 2**32"),
        (["--config=configs/han.py", "--config.evaluation.batch_size=0"], "evaluation.batch_size"),
        (["--config=configs/han.py", "--config.evaluation.max_decay_db=-1"], "max_decay_db=-1"),
        (["--config=configs/seipel.py", "--config.evaluation.max_decay_db=2"], "labels over time"),
        (["--config=configs/han.py", "--config.data.validation_fraction=2.0"], "between 0 and 1"),
        (
            ["--config=configs/han.py", "--config.task=separation"],
            "holds labelled clips, not tracks",
        ),
    ],
)
def test_mistakes_are_reported_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 1
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ")
    assert "Traceback" not in error and len(error.strip().splitlines()) == 1
    # A failed run leaves no workdir that would block the next one.
    assert not (tmp_path / "runs").exists()


def test_folder_with_other_files_is_rejected_as_workdir(tmp_path, capsys):
    (tmp_path / "song.wav").write_bytes(b"")
    assert call("--config=configs/han.py:debug", f"--workdir={tmp_path}") == 1
    assert "contains other files" in capsys.readouterr().err


def test_repeats_give_mean_and_standard_deviation(tmp_path, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    words += ["--config.training.num_epochs=1"]
    assert call(*words, "--config.training.repeats=2") == 0
    summary = json.loads((tmp_path / "run" / "report.json").read_text())
    reports = [
        json.loads((tmp_path / "run" / f"seed_{seed}" / "report.json").read_text())
        for seed in (0, 1)
    ]
    values = [report["thresholds"]["fixed"]["micro"]["f1"] for report in reports]
    micro = summary["repeats"]["thresholds"]["fixed"]["micro"]["f1"]
    assert micro["mean"] == pytest.approx(np.mean(values)) and micro["values"] == values
    assert micro["sd"] == pytest.approx(np.std(values, ddof=1))
    assert "±" in capsys.readouterr().out


def test_profile_prints_the_rate_and_how_to_view_the_trace(tmp_path, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    words += ["--config.profile.start_step=1", "--config.profile.num_steps=2"]
    words += ["--config.training.num_epochs=1", "--config.evaluation.baselines=False"]
    assert call(*words) == 0
    printed = capsys.readouterr().out
    assert "GFLOP/s achieved" in printed and "ui.perfetto.dev" in printed
    traces = list((tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz"))
    assert len(traces) == 1
    # A start step that is never reached is reported.
    words[1] = f"--workdir={tmp_path / 'late'}"
    assert call(*words, "--config.profile.start_step=100") == 0
    assert "nothing traced" in capsys.readouterr().out


def start(words, command=(sys.executable, "-m", "irec_jax.main")):
    """Start the command in a separate process."""
    return subprocess.Popen(
        [*command, *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(words):
    """Run the command in a separate process to completion and return its output."""
    process = start(words)
    output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output[-3000:]
    return output


LONG = ["--config=configs/han.py:debug", *SMALL, "--config.training.num_epochs=8"]
LONG += ["--config.training.checkpoint_every_steps=2", "--config.training.patience=99"]
LONG += ["--config.evaluation.baselines=False"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Workdir of the training `LONG`, in a process of its own: XLA may round differently here."""
    workdir = tmp_path_factory.mktemp("long") / "uninterrupted"
    finish([*LONG, f"--workdir={workdir}"])
    return workdir


def test_killed_run_resumes_and_matches_an_uninterrupted_run(tmp_path, uninterrupted):
    words, killed = LONG, tmp_path / "killed"
    process = start([*words, f"--workdir={killed}"])
    folder = killed / "checkpoints"
    while process.poll() is None and not any(int(p.name) >= 4 for p in folder.glob("[0-9]")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert any(folder.glob("[0-9]*")) and not (killed / "report.json").exists()
    # The system can be used before its training is complete.
    assert load_recogniser(killed).thresholds == {"fixed": 0.5}
    assert "resuming after step" in finish([*words, f"--workdir={killed}"])
    resumed = parameters(killed)
    for layer, arrays in parameters(uninterrupted).items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, resumed[layer][name])


def launch(num_processes, *words):
    """Run the command with several processes on this machine."""
    return subprocess.run(
        ["launch/local.sh", str(num_processes), "--config=configs/han.py:debug", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_two_processes_match_one_process(tmp_path, trained):
    workdir = tmp_path / "two"
    completed = launch(2, f"--workdir={workdir}", *SMALL)
    assert completed.returncode == 0, completed.stdout[-1500:] + completed.stderr[-1500:]
    expected, actual = parameters(trained), parameters(workdir)
    for layer, arrays in expected.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(array, actual[layer][name], rtol=1e-3, atol=2e-5)
    reports = [json.loads((folder / "report.json").read_text()) for folder in (trained, workdir)]
    assert reports[1]["provenance"]["hardware"]["num_processes"] == 2
    auc = [report["ranking"]["auc"]["macro"] for report in reports]
    assert auc[0] == pytest.approx(auc[1], abs=0.02)
    # Evaluation only, and an error that one process detects, also with two processes.
    (workdir / "report.json").unlink()
    words = [*SMALL, "--mode=eval", "--config.evaluation.baselines=False"]
    assert launch(2, f"--workdir={workdir}", *words).returncode == 0
    second_report = json.loads((workdir / "report.json").read_text())
    assert second_report["thresholds"] == reports[1]["thresholds"]
    failed = launch(2, f"--workdir={workdir}", *SMALL, "--config.seed=5")
    assert failed.returncode == 1 and "seed: 0 -> 5" in failed.stderr


def test_preempted_processes_save_the_same_step_and_one_continues(tmp_path, uninterrupted):
    words = [*LONG, f"--workdir={tmp_path / 'run'}"]
    launcher = start(words, command=["launch/local.sh", "2"])
    for line in launcher.stdout:
        if line.startswith("epoch   2 of"):
            break
    launcher.send_signal(signal.SIGTERM)
    output = launcher.communicate(timeout=900)[0]
    assert launcher.returncode == 75, output
    (step,) = re.findall(r"^ended by SIGTERM, checkpoint after step (\d+); run", output, re.M)
    assert (tmp_path / "run" / "checkpoints" / step / "checksums.json").exists()
    assert not (tmp_path / "run" / "report.json").exists()
    # The same command with one process ends as if it had trained alone.
    assert f"resuming after step {step}\n" in finish(words)
    expected, actual = parameters(uninterrupted), parameters(tmp_path / "run")
    for layer, arrays in expected.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(array, actual[layer][name], rtol=1e-3, atol=2e-5)
    reports = [
        json.loads((folder / "report.json").read_text())
        for folder in (uninterrupted, tmp_path / "run")
    ]
    for row, resumed in zip(*(report["history"] for report in reports), strict=True):
        for name in row.keys() - {"seconds"}:
            assert row[name] == pytest.approx(resumed[name], abs=1e-3)


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


def test_full_disk_is_reported_in_one_line_and_the_run_can_continue(tmp_path, monkeypatch, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        patch.setattr(shutil, "disk_usage", lambda folder: usage)
        assert call(*words) == 1
    errors = [line for line in capsys.readouterr().err.split("\n") if "error: " in line]
    assert len(errors) == 1 and "MB needed, 0 MB free" in errors[0]
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))
    # With enough disk space the same command continues.
    assert call(*words) == 0
    capsys.readouterr()


def test_disk_that_fills_while_writing_a_checkpoint_is_reported(tmp_path):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    script = FULL_DISK.format(words=[*words, "--config.model.dense=4096"])
    completed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (
        completed.returncode == 1
        and "error: " in completed.stderr
        and "cannot be written" in completed.stderr
    )
    assert not (tmp_path / "run" / "report.json").exists()
    with pytest.raises(UserError, match="no checkpoint"):
        load_recogniser(tmp_path / "run")


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 75, "ended by SIGTERM")],
)
def test_ctrl_c_and_sigterm_end_a_run_in_one_line(tmp_path, number, code, message):
    process = start(["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL])
    for line in process.stdout:
        if "rendered audio" in line:
            break
    process.send_signal(number)
    output = process.communicate(timeout=900)[0]
    assert process.returncode == code and "Traceback" not in output
    assert re.search(rf"^{message}.*; run the same command again to continue$", output, re.M)
