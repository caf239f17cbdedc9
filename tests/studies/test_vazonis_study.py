"""The Vazonis study: what was said against what is true, in tables and in words."""

import json
import re

import numpy as np
import pytest

from irec_jax import cli, config
from irec_jax.cli.console import run_command
from irec_jax.evaluation import recognition
from irec_jax.files import write_json
from irec_jax.labels import IRMAS
from irec_jax.reports import recognition_report, writing
from irec_jax.studies import runs
from irec_jax.studies.published import vazonis as vazonis_reported

ALWAYS = [name in vazonis_reported.LSTM_ALWAYS for name in IRMAS]


def irec(*words):
    """Exit code of `irec`, run in this process."""

    def command():
        arguments = cli.parser().parse_args([str(word) for word in words])
        return arguments.run(arguments)

    return run_command(command)


def study(workdir, *more):
    return irec("study", "vazonis", "--debug", f"--workdir={workdir}", *more)


def a_report(hears):
    """A real report of a recogniser that is right, or that says the same of every clip."""
    labels = np.eye(11)[np.arange(44) % 11]
    labels[::4, 10] = 1
    said = labels * 0.8 + 0.1 if hears else np.tile(np.where(ALWAYS, 0.9, 0.1), (44, 1))
    predictions = recognition.Predictions(
        ids=[f"clip {i}" for i in range(44)],
        songs=[f"song {i // 2}" for i in range(44)],
        labels=labels,
        windows=list(said[:, None]),
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
        provenance={"dataset": dataset, "durations_s": {"training": 2.0}},
        protocol={
            "examples": "clips",
            "sides": {"training": {"per_class": per_class}, "validation": {"per_class": per_class}},
        },
        best_epoch=history[1],
        history=history,
        baselines={"majority": recognition.compact(evaluation)},
    )


@pytest.fixture
def pretended(monkeypatch):
    """Experiments that only write a report: the LSTM is deaf, the others are right."""
    done, reports = [], {hears: writing.strict_json(a_report(hears)) for hears in (0, 1)}

    def experiment(name, settings, folder, mode):
        done.append((folder.name, name, config.flatten(settings)))
        write_json(folder / "config.json", config.flatten(settings))
        (folder / "report.json").write_text(reports[name != "vazonis_lstm"])

    monkeypatch.setattr(runs.experiment, "run", experiment)
    monkeypatch.setattr(runs.data, "load", lambda settings: None)
    return done


def cells(page, row):
    found = re.findall(rf"^\| {re.escape(row)} +\|(.*)\|$", page, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in found]


def test_who_says_the_same_of_everything_is_told(pretended, tmp_path, capsys):
    assert study(tmp_path) == 0
    assert [name for name, _, _ in pretended] == [
        "lstm",
        "lstm_relu",
        "lstm_binary",
        "fft",
        "fft_relu",
        "fft_binary",
    ]
    settings = {name: flat for name, _, flat in pretended}
    assert settings["lstm_relu"]["model.activation"] == "relu"
    assert settings["fft_binary"]["loss.name"] == "binary_cross_entropy"
    assert settings["lstm"]["evaluation.baselines"]
    assert not settings["fft"]["evaluation.baselines"]
    page = (tmp_path / "report.md").read_text()
    assert "rendered audio" in page.splitlines()[2]
    # Of 44 clips 4 show each class; voice is in every fourth, and in 3 clips more.
    positives = {name: 4 for name in IRMAS} | {"voi": 14}
    right, total = sum(positives[n] for n in vazonis_reported.LSTM_ALWAYS), sum(positives.values())
    lstm, fft = cells(page, "LSTM")[0], cells(page, "FFT and dense layers")[0]
    assert lstm[:2] == [f"{right / (5 * 44):.3f}", f"{right / total:.3f}"]
    assert lstm[-1] == "collapsed" and fft[:2] == ["1.000", "1.000"] and fft[-1] == "answers vary"
    assert cells(page, "reported: LSTM")[0] == ["0.250", "0.750", "0.380", "–", "collapsed"]
    assert cells(page, "reported: Bosch 2012, one model, four streams by panning")[0][2] == "0.451"
    piano, clarinet = cells(page, "piano")[0], cells(page, "clarinet")[0]
    assert piano[:2] == ["4", f"0.09 / 1.00 / {2 * (4 / 44) / (1 + 4 / 44):.2f}"]
    assert clarinet[1] == "0.00 / 0.00 / 0.00" and clarinet[-1] == "0.02 / 0.74 / 0.05"
    assert "answer to every clip: LSTM; LSTM, ReLU; LSTM, binary cross-entropy." in page
    assert cells(page, "always voi")[0][:3] == [f"{14 / 44:.3f}", f"{14 / 54:.3f}", "0.286"]
    assert "The predictions hardly depend on the clip" in page
    assert "Its answers vary with the clip." in page
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["training_labels"] == {name: 2 * (i + 1) for i, name in enumerate(IRMAS)}
    assert (tmp_path / "labels.png").exists() and (tmp_path / "learning.png").exists()
    printed = capsys.readouterr().out
    assert printed.count("lstm: micro F1") == 1
    pretended.clear()
    assert study(tmp_path) == 0 and not pretended


def test_the_source_s_input_is_done_when_it_is_named(pretended, tmp_path):
    assert study(tmp_path, "--rows=lstm_paper") == 0
    ((name, _, settings),) = pretended
    assert name == "lstm_paper" and settings["data.format"] == "stereo44k"
    assert "LSTM, input of the source" in (tmp_path / "report.md").read_text()


def test_quick_is_a_part_that_is_trained_briefly(pretended, tmp_path):
    assert irec("study", "vazonis", "--quick", f"--workdir={tmp_path}") == 0
    settings = {name: flat for name, _, flat in pretended}
    assert list(settings) == ["lstm", "fft"]
    assert all(one["training.num_epochs"] < 15 for one in settings.values())
    assert settings["fft"]["model.units"] == [64, 100_000, 32, 50_000]


def test_other_settings_need_another_workdir(pretended, tmp_path, capsys):
    assert study(tmp_path, "--rows=fft") == 0
    assert study(tmp_path, "--rows=fft", "--seed=3") == 1
    assert "other settings (seed)" in capsys.readouterr().err


def test_a_wrong_row_is_one_line(tmp_path, capsys):
    assert study(tmp_path, "--rows=magic") == 1
    error = capsys.readouterr().err
    assert "--rows magic: in none of lstm" in error and error.count("\n") == 1


def test_a_real_run_from_the_data_to_the_report(tmp_path):
    assert study(tmp_path, "--rows=fft_relu") == 0
    found = json.loads((tmp_path / "report.json").read_text())
    theirs = json.loads((tmp_path / "runs" / "fft_relu" / "report.json").read_text())
    assert list(found["rows"]) == ["fft_relu"]
    ours = found["rows"]["fft_relu"]
    assert ours["micro"] == theirs["thresholds"]["fixed"]["micro"] and ours["threshold"] == 0.5
    assert sum(found["training_labels"].values()) == 40
