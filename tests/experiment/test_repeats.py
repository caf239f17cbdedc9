"""Repeats of a training as the jobs of an array, and their common report."""

import json

import pytest
from conftest import SMALL, call

from irec_jax import experiment
from irec_jax.files import read_json, write_json

WORDS = ["--config=configs/han.py:debug", *SMALL, "--config.training.repeats=3"]


@pytest.fixture
def executed(trained, monkeypatch):
    """Replace each training by the report of a trained system; return the seeds in order."""
    report, seeds = read_json(trained / "report.json"), []

    def execute(of, folder, seed, mode, durations_s):
        seeds.append(seed)
        copy = json.loads(json.dumps(report))
        copy["provenance"]["seed"] = seed
        copy["thresholds"]["fixed"]["micro"]["f1"] = seed / 10
        write_json(folder / "report.json", copy)
        return copy

    monkeypatch.setattr(experiment, "_run_once", execute)
    return seeds


def test_jobs_of_an_array_give_the_report_of_one_job(executed, tmp_path, capsys):
    one, array = tmp_path / "one", tmp_path / "array"
    assert call(*WORDS, f"--workdir={one}") == 0 and executed == [0, 1, 2]
    words = [*WORDS, f"--workdir={array}"]
    assert call(*words, "--collect") == 1
    assert "no repeat has finished; run the repeats without --collect" in capsys.readouterr().err
    assert call(*words, "--task=2/2") == 0 and executed[3:] == [1]
    assert not (array / "report.json").exists()
    assert call(*words, "--collect") == 0
    assert "1 of 3 repeats have finished; unfinished: seed_0, seed_2" in capsys.readouterr().out
    assert call(*words, "--task=1/2") == 0 and executed[4:] == [0, 2]
    assert call(*words, "--collect") == 0 and len(executed) == 6
    reports = [read_json(folder / "report.json")["repeats"] for folder in (one, array)]
    assert reports[0] == reports[1] and reports[0]["seeds"] == [0, 1, 2]
    assert reports[0]["thresholds"]["fixed"]["micro"]["f1"]["mean"] == pytest.approx(0.1)
    capsys.readouterr()
    assert call(*words, "--collect", "--config.evaluation.aggregation=s1") == 1
    error = capsys.readouterr().err
    assert "seed_0/report.json: evaluated with other settings (evaluation.aggregation)" in error


def test_an_undefined_score_makes_the_mean_undefined(executed, tmp_path):
    workdir = tmp_path / "run"
    assert call(*WORDS, f"--workdir={workdir}") == 0
    for seed in (0, 2):
        report = read_json(workdir / f"seed_{seed}" / "report.json")
        # As in the report on test clips none of which has a single label.
        report["predominant"] |= dict(num_clips=0, accuracy=None, balanced_accuracy=None)
        write_json(workdir / f"seed_{seed}" / "report.json", report)
    assert call(*WORDS, f"--workdir={workdir}", "--collect") == 0
    summary = read_json(workdir / "report.json")["repeats"]
    assert summary["thresholds"]["fixed"]["micro"]["f1"]["mean"] == pytest.approx(0.1)
    assert summary["accuracy"]["mean"] is None and summary["accuracy"]["values"][1] is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task=4/3"], "--task 4/3: expected I/N with 1 <= I <= N, such as 2/5"),
        (["--task=1/2", "--config.training.repeats=1"], "training.repeats=1: --task and --collect"),
        (["--collect", "--config.training.repeats=1"], "training.repeats=1: --task and --collect"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, words, message):
    assert call(*WORDS, *words, f"--workdir={tmp_path / 'run'}") == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
