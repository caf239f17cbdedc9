"""Recognition experiments with every data split, run by the main command."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, call

from irec_jax import config as configs
from irec_jax import data
from irec_jax.config.checks import check_config
from irec_jax.experiment import RecognitionExperiment
from irec_jax.systems import load_recogniser

ROOT = Path(__file__).parents[2]
WORDS = ["--config=configs/han.py:debug", *SMALL, "--config.data.classes=voi,pia,gel"]


def read(folder):
    return json.loads((folder / "report.json").read_text())


def test_random_split_of_windows_with_separate_channels(tmp_path, capsys):
    words = [*WORDS, f"--workdir={tmp_path}", "--config.data.split=window"]
    words += ["--config.data.hop_s=0.5", "--config.evaluation.hop_s=1.0"]
    words += ["--config.data.format=stereo44k", "--config.data.channels=separate"]
    words += ["--config.training.stop_by=top1", "--config.training.best_by=loss"]
    words += ["--config.data.normalize=none", "--config.evaluation.threshold=0.3"]
    assert call(*words) == 0
    printed, report = capsys.readouterr().out, read(tmp_path)
    assert report["classes"] == ["voi", "pia", "gel"] and report["aggregation"] == "s2"
    protocol, predominant = report["protocol"], report["predominant"]
    assert "window: " in report["provenance"]["dataset"]["split"]
    splits = protocol["sides"]
    for name, split in splits.items():
        # Windows of the rendered training clips have one label each.
        assert split["num_examples"] == sum(split["per_class"].values()) > 0
        if name != "training":
            assert report["data"][name]["num_clips"] == split["num_examples"]
            assert report["data"][name]["mean_windows_per_clip"] == 1
    assert protocol["num_songs_on_both_sides"] > 0 and predominant["all_clips"]
    # The report has the accuracies of the best epoch.
    best = report["best_epoch"]
    assert best["valid_loss"] == min(row["valid_loss"] for row in report["history"])
    assert 0 <= best["train_top1"] <= 1 and 0 <= best["valid_top1"] <= 1
    assert best["test_accuracy"] == predominant["accuracy"]
    largest = max(splits["training"]["per_class"].values())
    assert splits["training"]["per_class"][predominant["majority"]["class"]] == largest
    assert report["baselines"]["majority"]["predominant"] == {
        key: value for key, value in predominant["majority"].items() if key != "class"
    }
    assert report["thresholds"]["fixed"]["threshold"] == 0.3
    lines = [line for line in printed.splitlines() if line.startswith("accuracy ")]
    assert len(lines) == 1 and f"accuracy {predominant['accuracy']:.3f} [" in lines[0]
    assert "(data.split=window), rendered audio; chance 0.333, majority 0." in lines[0]
    page = (tmp_path / "report.md").read_text()
    assert "**Accuracy" in page and "Warning: data leakage" in page
    system = json.loads((tmp_path / "system.json").read_text())
    assert system["classes"] == report["classes"] and system["thresholds"]["fixed"] == 0.3
    # The loaded system has the same classes and is not normalised; a second evaluation agrees.
    recogniser = load_recogniser(tmp_path)
    tone = 0.1 * np.sin(np.arange(88_200) / 9).astype(np.float32)
    loud, soft = (recogniser.recognize(a, sample_rate_hz=44_100) for a in (tone, 0.01 * tone))
    assert list(loud.scores) == report["classes"]
    assert not np.allclose(loud.window_scores, soft.window_scores, rtol=1e-6)
    assert call(*words, "--mode=eval", "--config.evaluation.baselines=False") == 0
    second_report = read(tmp_path)
    assert "baselines" not in second_report and second_report["best_epoch"] == best
    assert (
        second_report["predominant"] == predominant
        and second_report["thresholds"] == report["thresholds"]
    )


def test_class_weights_of_the_training_split_are_stored_and_reported(tmp_path, capsys):
    words = [*WORDS, f"--workdir={tmp_path}", "--config.training.num_epochs=1"]
    words += ["--config.data.hop_s=1.0", "--config.evaluation.baselines=False"]
    words += ["--config.loss.class_weights=balanced"]
    assert call(*words, "--dry_run") == 0
    assert "class_weights: balanced" in capsys.readouterr().out
    assert call(*words) == 0
    printed, report = capsys.readouterr().out, read(tmp_path)
    counts = report["protocol"]["sides"]["training"]["per_class"]
    assert len({*counts.values()}) > 1
    # Each clip has one label and three windows.
    expected = {name: sum(counts.values()) / (3 * n) for name, n in counts.items()}
    assert report["class_weights"] == {"kind": "balanced", "weights": pytest.approx(expected)}
    assert f"class weights (balanced): {min(expected.values()):.2f} to " in printed
    page = (tmp_path / "report.md").read_text()
    assert f"in training (balanced): voice {expected['voi']:.2f}, piano" in page
    # Evaluation and resuming take the stored weights, not new ones.
    stored = {"kind": "balanced", "weights": {"voi": 1.0, "pia": 2.0, "gel": 3.0}}
    (tmp_path / "class_weights.json").write_text(json.dumps(stored))
    assert call(*words, "--mode=eval") == 0
    assert read(tmp_path)["class_weights"] == stored
    config = configs.load("configs/han.py:debug")
    configs.override(config, [(w[9:].split("=")) for w in words if w.startswith("--config.")])
    experiment = RecognitionExperiment("han", config, check_config(config)[0])
    training = experiment.split(0).training
    resumed = experiment.training_batches(training, tmp_path, seed=0)
    assert resumed.class_weights.tolist() == [1.0, 2.0, 3.0] and "weight" in resumed[0]
    assert "weight" not in experiment.batches(training, shuffle=False)[0]
    (tmp_path / "class_weights.json").write_text('{"kind": "balanced"}')
    assert call(*words, "--mode=eval") == 1
    assert "class_weights.json: damaged; restore it" in capsys.readouterr().err


def launch(num_processes, *words):
    return subprocess.run(
        ["launch/local.sh", str(num_processes), *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_song_split_in_two_processes_keeps_each_song_in_one_split(tmp_path):
    words = [*WORDS, "--config.data.split=song", "--config.data.test_fraction=0.25"]
    words += ["--config.data.window_s=0.5", "--config.evaluation.hop_s=0.5", "--config.seed=4"]
    words += ["--config.evaluation.baselines=False", "--config.training.num_epochs=1"]
    completed = launch(2, *words, f"--workdir={tmp_path}")
    assert completed.returncode == 0, completed.stdout[-1500:] + completed.stderr[-1500:]
    report = read(tmp_path)
    # Two processes use the same splits as one process.
    config = configs.load("configs/han.py:debug")
    config.data.update(
        classes=("voi", "pia", "gel"), split="song", test_fraction=0.25, window_s=0.5
    )
    dataset = data.load(config.data)
    splits = data.split_clips(dataset, config.data, seed=4)
    assert report["protocol"] == data.protocol(config.data, splits, dataset)
    assert report["debug"] and "> **Debug run" in (tmp_path / "report.md").read_text()
    assert report["protocol"]["num_songs_on_both_sides"] == 0
    assert report["provenance"]["hardware"]["num_processes"] == 2
    assert report["data"]["test"]["num_songs"] == len(set(splits.test.songs))
    confusion = np.array(report["predominant"]["confusion"])
    np.testing.assert_array_equal(confusion.sum(axis=1), splits.test.labels.sum(axis=0))
    assert report["predominant"]["accuracy"] == np.trace(confusion) / confusion.sum()
    assert "data leakage" not in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.data.classes=('gel','pianoo')"], "did you mean"),
        (["--config.data.classes=gel"], "one class, 'gel'"),
        (["--config.data.classes=gel,gel"], "twice"),
        (["--config.data.channels=left"], "data.channels 'left'"),
        (["--config.data.split=songs"], "data.split 'songs': did you mean 'song'"),
        (["--config.data.normalize=rms"], "data.normalize 'rms'"),
        (["--config.data.hop_s=-1"], "data.hop_s=-1.0"),
        (["--config.data.hop_s=1.5"], "data.hop_s=1.5"),
        (["--config.data.hop_s=0.001"], "more than a thousandth of data.window_s=1.0"),
        (["--config.loss.class_weights=equal"], "loss.class_weights 'equal'"),
        (
            ["--config.loss.domain=decibels"],
            "unknown config key 'domain' in the loss section",
        ),
        (["--config.model.dtype=float16"], "model.dtype 'float16': did you mean 'bfloat16'"),
        (
            ["--config.frontend.name=chunks"],
            "expected non-empty (batch, frames, bands), got {'num_steps': (1,), 'steps'",
        ),
        (
            ["--config.frontend.name=chunks", "--config.model.name=dense"],
            "expected non-empty (batch, features), got {'num_steps': (1,), 'steps'",
        ),
        (
            ["--config.data.test_fraction=0.0"],
            "data.test_fraction=0.0: expected a number between 0 and 1",
        ),
        (
            ["--config.data.split=song", "--config.data.test_fraction=0.9"],
            "leave no examples for training",
        ),
        (["--config.training.stop_by=f1"], "training.stop_by 'f1'"),
        (["--config.evaluation.threshold=1.5"], "evaluation.threshold=1.5"),
        (["--config.evaluation.baselines=2"], "expected bool"),
    ],
)
def test_invalid_settings_are_reported_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("--config=configs/han.py:debug", *words) == 1
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ")
    assert len(error.strip().splitlines()) == 1 and not (tmp_path / "runs").exists()


def test_dry_run_prints_classes_split_and_feature_shapes(capsys):
    words = ["--config=configs/goel_rnn.py", "--config.training.batch_size=4"]
    assert call(*words, "--config.data.classes=sax,cel", "--dry_run") == 0
    printed = capsys.readouterr().out
    assert "classes   2: sax, cel" in printed and "split     song: " in printed
    assert "features  (4, 294, 300) float32 steps" in printed
    assert "features  (4,) int32 num_steps" in printed and "output    (4, 2) float32" in printed


def test_number_of_steps_follows_from_the_training_windows():
    """The learning rate schedule is as long as training."""
    for split, share in (("official", 0.8), ("song", 0.6)):
        config = configs.load("configs/han.py:debug")
        config.training.max_steps_per_epoch = 0
        config.data.update(hop_s=0.5, split=split, validation_fraction=0.2, test_fraction=0.2)
        dataset = data.load(config.data)
        experiment = RecognitionExperiment("han", config, check_config(config)[0])
        # A clip of 3 s has five windows of 1 s with a hop of 0.5 s.
        steps = math.ceil(len(dataset.train) * 5 * share / config.training.batch_size)
        splits = data.split_clips(dataset, config.data, seed=0)
        batches = experiment.batches(splits.training, shuffle=True)
        assert experiment.num_steps == batches.steps_per_epoch * config.training.num_epochs
        assert batches.steps_per_epoch == pytest.approx(steps, rel=0.25)
