"""Experiments on multitrack pieces, run by the main command: instances and bags of instances."""

import json

import numpy as np
import pytest
from conftest import SMALL, call
from multitrack_sessions import RATE_HZ, SECONDS, write_sessions

from irec_jax.systems import load_recogniser


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = write_sessions(tmp_path_factory.mktemp("sessions"), train=4, test=2)
    return [
        *SMALL, f"--config.data.path={folder}", "--config.data.classes=flute,viola",
        "--config.training.num_epochs=3", "--config.evaluation.num_bootstrap=20",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    ["", ",context=3", ",instances=3,aggregate=attention", ",instances=3,share=false"],
)
def test_training_evaluation_and_recognition(arguments, words, tmp_path, capsys):
    config = f"--config=configs/seipel.py:debug,dataset=multitrack,frames=16{arguments}"
    instance_s = 16 * 1024 / RATE_HZ
    assert call(config, *words, f"--workdir={tmp_path}") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    # The last epoch is kept, whether it is the best or not.
    assert report["best_epoch"]["epoch"] == len(report["history"]) == 3
    num_instances = -(-SECONDS // instance_s)
    assert report["data"]["test"]["num_clips"] == 2 * num_instances
    pieces = report["pieces"]
    assert pieces["model"]["num_pieces"] == 2
    assert set(pieces["baselines"]) == {"majority", "MFCC + logistic regression"}
    assert 0 <= pieces["model"]["macro"]["auc"] <= 1
    frames = pieces["frames"]
    assert frames["model"]["num_frames"] == 2 * -(-SECONDS * RATE_HZ // 1024)
    assert set(frames["baselines"]) == set(pieces["baselines"])
    assert 0 <= frames["model"]["micro"]["f1"] <= 1
    assert "instances of 0.372 s" in report["protocol"]["examples"]
    recogniser = load_recogniser(tmp_path)
    noise = np.random.default_rng(1).normal(0, 0.1, SECONDS * RATE_HZ).astype(np.float32)
    result = recogniser.recognize(noise, sample_rate_hz=RATE_HZ)
    assert len(result.times_s) == num_instances and set(result.scores) == {"flute", "viola"}
    page = (tmp_path / "report.md").read_text()
    assert "each of the" in page and "frames of 1,024 samples" in page


def test_pieces_shorter_than_a_bag_are_left_out_or_reported(words, tmp_path, capsys):
    config = "--config=configs/seipel.py:debug,dataset=multitrack,frames=48,instances=5"
    assert call(config, *words, f"--workdir={tmp_path}") == 1
    assert (
        "bag.num_instances=5: the longest piece has 2 instances; use shorter windows, smaller bags "
        "or longer pieces" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("context=2", "context=2: expected an odd number"),
        ("frames=0", "frames=0: expected at least 1"),
        ("instances=3,aggregate=maen", "unknown bag.aggregate 'maen': did you mean 'mean'"),
    ],
)
def test_invalid_arguments_are_reported(arguments, message, capsys):
    assert call(f"--config=configs/seipel.py:{arguments}", "--dry_run") == 1
    assert message in capsys.readouterr().err
