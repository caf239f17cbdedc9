"""Vazonis study: scores, collapse checks, and a complete run on tiny data."""

import json

import numpy as np
import pytest
import report_pages
from study_helpers import irec, table_cells

from irec_jax import cli, config
from irec_jax.evaluation import recognition
from irec_jax.files import write_json
from irec_jax.labels import IRMAS
from irec_jax.reports import recognition_report
from irec_jax.reports.writing import strict_json
from irec_jax.studies import options, runs, vazonis
from irec_jax.studies.published import vazonis as published

ALWAYS = [name in published.LSTM_ALWAYS for name in IRMAS]


def study(workdir, *words):
    return irec("study", "vazonis", "--debug", f"--workdir={workdir}", *words)


def make_report(varies):
    """Return a real report, of correct predictions or of the same prediction for every clip."""
    labels = np.eye(11)[np.arange(44) % 11]
    labels[::4, 10] = 1
    probabilities = labels * 0.8 + 0.1 if varies else np.tile(np.where(ALWAYS, 0.9, 0.1), (44, 1))
    predictions = recognition.Predictions(
        ids=[f"clip {i}" for i in range(44)],
        songs=[f"song {i // 2}" for i in range(44)],
        labels=labels,
        windows=list(probabilities[:, None]),
        classes=IRMAS,
        contradictory=np.zeros(44, bool),
    )
    evaluation = recognition.evaluate(
        predictions, predictions, aggregation="s1", threshold=0.5, num_resamples=20
    )
    history = [
        {"epoch": i, "train_top1": 0.3, "valid_top1": 0.2, "train_loss": 2.0, "valid_loss": 2.0 / i}
        for i in (1, 2)
    ]
    dataset = {"name": "gm_irmas", "version": "1.0.0", "config": "tiny", "split": "official"}
    per_class = {name: i + 1 for i, name in enumerate(IRMAS)}
    return recognition_report.assemble(
        evaluation,
        system="vazonis",
        rendered=True,
        provenance={"dataset": dataset, "command": "irec study", "durations_s": {"training": 2.0}},
        protocol={
            "examples": "clips",
            "sides": {"training": {"per_class": per_class}, "validation": {"per_class": per_class}},
        },
        best_epoch=history[1],
        history=history,
        baselines={"majority": recognition.compact(evaluation)},
    )


@pytest.fixture
def fake_runs(monkeypatch):
    """Replace experiments by fakes that only write reports, in which only the LSTM collapses."""
    executed, reports = [], {varies: strict_json(make_report(varies)) for varies in (0, 1)}

    def experiment(name, settings, folder, mode):
        executed.append((folder.name, name, config.flatten(settings)))
        write_json(folder / "config.json", config.flatten(settings))
        (folder / "report.json").write_text(reports[name != "vazonis_lstm"])

    monkeypatch.setattr(runs.experiment, "run", experiment)
    monkeypatch.setattr(runs.data, "load", lambda settings: None)
    return executed


def test_collapsed_networks_are_reported(fake_runs, tmp_path, capsys):
    assert study(tmp_path) == 0
    assert [name for name, _, _ in fake_runs] == [
        "lstm",
        "lstm_1e-3",
        "lstm_1e-2",
        "lstm_relu",
        "lstm_binary",
        "fft",
        "fft_75",
        "fft_relu",
        "fft_binary",
    ]
    settings = {name: flat for name, _, flat in fake_runs}
    rates = [
        settings[name]["optimizer.learning_rate"] for name in ("lstm", "lstm_1e-3", "lstm_1e-2")
    ]
    assert rates == [1e-4, 1e-3, 1e-2]
    assert {flat["training.keep"] for flat in settings.values()} == {"last"}
    assert settings["lstm_relu"]["model.activation"] == "relu"
    assert settings["fft_binary"]["loss.name"] == "binary_cross_entropy"
    assert settings["lstm"]["evaluation.baselines"]
    assert not settings["fft"]["evaluation.baselines"]
    page = (tmp_path / "report.md").read_text()
    assert "rendered audio" in page.splitlines()[2]
    # Each class is a label of 4 of the 44 clips; voice of every fourth clip and of 3 others.
    positives = {name: 4 for name in IRMAS} | {"voi": 14}
    correct, total = sum(positives[n] for n in published.LSTM_ALWAYS), sum(positives.values())
    lstm, fft = table_cells(page, "LSTM")[0], table_cells(page, "FFT and dense layers")[0]
    assert lstm[:2] == [f"{correct / (5 * 44):.3f}", f"{correct / total:.3f}"]
    assert (
        lstm[-1] == "collapsed" and fft[:2] == ["1.000", "1.000"] and fft[-1] == "predictions vary"
    )
    assert table_cells(page, "reported: LSTM")[0] == ["0.250", "0.750", "0.380", "–", "collapsed"]
    assert (
        table_cells(page, "reported: Bosch 2012, one model, four streams by panning")[0][2]
        == "0.451"
    )
    piano, clarinet = table_cells(page, "piano")[0], table_cells(page, "clarinet")[0]
    assert piano[:2] == ["4", f"0.09 / 1.00 / {2 * (4 / 44) / (1 + 4 / 44):.2f}"]
    assert clarinet[1] == "0.00 / 0.00 / 0.00" and clarinet[-1] == "0.02 / 0.74 / 0.05"
    rates = "LSTM, learning rate 0.001; LSTM, learning rate 0.01"
    others = "LSTM, ReLU; LSTM, binary cross-entropy"
    assert f"prediction for every clip: LSTM; {rates}; {others}." in page
    assert table_cells(page, "always voi")[0][:3] == [f"{14 / 44:.3f}", f"{14 / 54:.3f}", "0.286"]
    assert "The predictions hardly depend on the clip" in page
    assert "The predictions vary with the clip." in page
    html = report_pages.check((tmp_path / "report.html").read_text(), num_pictures=3)
    assert html.texts("figcaption")[0].startswith("Micro F1 of every network")
    result = json.loads((tmp_path / "report.json").read_text())
    assert result["training_labels"] == {name: 2 * (i + 1) for i, name in enumerate(IRMAS)}
    assert (tmp_path / "labels.png").exists() and (tmp_path / "learning.png").exists()
    printed = capsys.readouterr().out
    assert printed.count("lstm: micro F1") == 1
    fake_runs.clear()
    assert study(tmp_path) == 0 and not fake_runs


def test_input_of_the_paper_runs_on_request(fake_runs, tmp_path):
    assert study(tmp_path, "--rows=lstm_paper") == 0
    ((name, _, settings),) = fake_runs
    assert name == "lstm_paper" and settings["data.format"] == "stereo44k"
    assert "LSTM, the paper's input" in (tmp_path / "report.md").read_text()


def test_quick_runs_two_networks_with_brief_training(fake_runs, tmp_path):
    assert irec("study", "vazonis", "--quick", f"--workdir={tmp_path}") == 0
    settings = {name: flat for name, _, flat in fake_runs}
    assert list(settings) == ["lstm", "lstm_1e-3", "lstm_1e-2", "fft"]
    assert all(flat["training.num_epochs"] < 15 for flat in settings.values())
    assert settings["fft"]["model.units"] == [64, 100_000, 32, 50_000]


def test_complete_study_trains_the_dense_network_for_75_epochs_and_longer():
    parser = cli.argparse.ArgumentParser()
    options.add_arguments("vazonis", parser)
    plan = {
        run.name: config.flatten(runs.resolve(run)) for run in vazonis.plan(parser.parse_args([]))
    }
    assert plan["fft_75"]["training.num_epochs"] == 75 < plan["fft"]["training.num_epochs"]
    # No early stopping.
    for flat in plan.values():
        assert flat["training.patience"] >= flat["training.num_epochs"]


def test_workdir_with_other_settings_is_rejected(fake_runs, tmp_path, capsys):
    assert study(tmp_path, "--rows=fft") == 0
    assert study(tmp_path, "--rows=fft", "--seed=3") == 1
    assert "other settings (seed)" in capsys.readouterr().err


def test_unknown_row_is_reported_in_one_line(tmp_path, capsys):
    assert study(tmp_path, "--rows=magic") == 1
    error = capsys.readouterr().err
    assert "--rows magic: matches none of lstm" in error and error.count("\n") == 1


def test_complete_run_from_data_to_report(tmp_path):
    assert study(tmp_path, "--rows=fft_relu") == 0
    result = json.loads((tmp_path / "report.json").read_text())
    run_report = json.loads((tmp_path / "runs" / "fft_relu" / "report.json").read_text())
    assert list(result["rows"]) == ["fft_relu"]
    row = result["rows"]["fft_relu"]
    assert row["micro"] == run_report["thresholds"]["fixed"]["micro"] and row["threshold"] == 0.5
    assert sum(result["training_labels"].values()) == 40
