"""Goel study: rows run once, tables show the leakage, and a complete run on tiny data."""

import dataclasses
import json

import numpy as np
import pytest
import report_pages
import sklearn.metrics
from study_helpers import irec, table_cells

from irec_jax import cli, config
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.studies import goel, options, runs

CLASSES = ["gel", "pia", "sax", "vio", "voi"]
#: Rows: labels, columns: predictions.
CONFUSION = [[6, 1, 1, 1, 1], [0, 5, 0, 0, 0], [2, 0, 3, 0, 0], [0, 0, 0, 0, 4], [1, 1, 0, 0, 6]]


def make_report(split, accuracy=0.5, **changes):
    """Return the entries of a report that the study needs."""
    splits = {
        name: {"num_examples": number, "num_songs": 7, "per_class": dict.fromkeys(CLASSES, 2)}
        for name, number in (("training", 70), ("validation", 15), ("test", 15))
    }
    history = [
        {"epoch": i, "train_top1": 0.3 + i / 100, "valid_top1": 0.4, "valid_loss": 1.0}
        for i in (1, 2, 3)
    ]
    report = {
        "rendered": True,
        "dataset": "gm_irmas",
        "classes": CLASSES,
        "predominant": {
            "accuracy": accuracy,
            "accuracy_interval": [accuracy - 0.1, accuracy + 0.1],
            "balanced_accuracy": 0.45,
            "balanced_accuracy_interval": [0.3, 0.6],
            "chance": 0.2,
            "majority": {"class": "gel", "accuracy": 0.31},
            "confusion": CONFUSION,
        },
        "best_epoch": history[1],
        "history": history,
        "protocol": {
            "split": split,
            "examples": "windows of 2 s every 1 s",
            "sides": splits,
            "num_songs_on_both_sides": 7 if split == "window" else 0,
        },
        "provenance": {
            "dataset": {"name": "gm_irmas", "version": "1.0.0", "config": "tiny-stereo44k"},
            "command": "irec study",
            "durations_s": {"training": 3.0, "evaluation": 1.0},
        },
    }
    return report | changes


@pytest.fixture
def fake_runs(monkeypatch):
    """Replace experiments by fakes that only write reports; return the names of executed runs."""
    executed = []

    def experiment(name, settings, folder, mode):
        print(f"experiment {folder.name} prints this")
        executed.append(folder.name)
        write_json(folder / "config.json", config.flatten(settings))
        if folder.name.startswith("gru-300-50-song"):
            raise UserError("the loss is nan at step 3, clips a, b: lower it")
        accuracy = {"song": 0.5, "window": 0.75, "official": 0.375}[settings.data.split]
        accuracy += 0.1 * settings.seed
        baselines = {}
        if settings.evaluation.baselines:
            predominant = {"accuracy": 0.6, "accuracy_interval": [0.5, 0.7]}
            baselines = {"baselines": {"MFCC + logistic regression": {"predominant": predominant}}}
        changes = baselines | {"settings": settings.evaluation.to_dict()}
        write_json(folder / "report.json", make_report(settings.data.split, accuracy, **changes))

    monkeypatch.setattr(runs.experiment, "run", experiment)
    monkeypatch.setattr(runs.data, "load", lambda settings: None)
    return executed


def study(workdir, *words):
    return irec("study", "goel", "--debug", f"--workdir={workdir}", *words)


@pytest.mark.parametrize(("words", "num_rows"), [([], 41), (["--quick"], 14), (["--debug"], 41)])
def test_every_run_has_its_own_config(words, num_rows):
    parser = cli.argparse.ArgumentParser()
    options.add_arguments("goel", parser)
    plan = goel.plan(parser.parse_args(words)).values()
    assert len(plan) == 3 * num_rows == len({run.name for run in plan})
    resolved = {run.name: config.flatten(runs.resolve(run)) for run in plan}
    assert len({json.dumps(settings) for settings in resolved.values()}) == len(plan)
    lstm = resolved["lstm-300-50-window"]
    assert (lstm["model.cell"], lstm["data.split"]) == ("lstm", "window")
    assert lstm["evaluation.baselines"] and not resolved["gru-300-50-song"]["evaluation.baselines"]
    if "--debug" in words:
        assert lstm["data.size"] == "tiny" and lstm["training.num_epochs"] == 2
    if not words:
        assert resolved["crnn-b3-song"]["training.num_epochs"] == 10
        assert resolved["lstm-100-150-song"]["model.hidden"] == [150]
        assert resolved["lstm-300-50-dense50-song"]["model.dense"] == [50]


def test_scores_match_those_of_sklearn():
    labels, predictions = np.repeat(np.indices((5, 5)).reshape(2, -1), np.ravel(CONFUSION), axis=1)
    scores = goel.scores(make_report("song", accuracy=float(np.mean(labels == predictions))))
    options = dict(labels=range(5), zero_division=0)
    by_class = sklearn.metrics.precision_recall_fscore_support(labels, predictions, **options)
    for k, name in enumerate(CLASSES):
        actual = list(scores["per_class"][name].values())
        np.testing.assert_allclose(actual, [values[k] for values in by_class[:3]])
    for average in ("micro", "macro"):
        expected = sklearn.metrics.precision_recall_fscore_support(
            labels, predictions, average=average, **options
        )
        np.testing.assert_allclose(list(scores[average].values()), expected[:3])
    np.testing.assert_allclose(scores["micro"]["f1"], scores["test"])
    assert scores["training"] == 0.32 and scores["best_epoch"] == 2 and scores["seconds"] == 4.0


def test_constant_prediction_is_reported_as_collapsed():
    assert goel.scores(make_report("song"))["collapse"] is None
    constant = make_report("song")
    constant["predominant"]["confusion"] = [[0, 4, 0, 0, 0]] * 5
    assert "'pia'" in goel.scores(constant)["collapse"]


def test_both_splits_are_shown_next_to_the_published_figures(fake_runs, tmp_path, capsys):
    assert study(tmp_path, "--rows=lstm-300-50,recurrence-b3") == 0
    names = ["lstm-300-50", "blstm-300-50", "lstm-300-50-dense50", "blstm-300-50-dense50"]
    names.append("recurrence-b3")
    splits = ("song", "window", "official")
    assert fake_runs == [f"{row}-{split}" for row in names for split in splits]
    page = (tmp_path / "report.md").read_text()
    assert "rendered audio" in page.splitlines()[2]
    summary, table, window, song, official = _lines(page)
    accuracies = ["0.750 [0.650, 0.850]", "0.500 [0.400, 0.600]", "0.375 [0.275, 0.475]"]
    assert summary == ["0.653", *accuracies, "+0.250"]
    window_cells = ["0.320", "0.400", "0.750 [0.650, 0.850]", "0.450", "2 of 3"]
    song_cells = ["0.320", "0.400", "0.500 [0.400, 0.600]", "0.450", "2 of 3"]
    official_cells = [*song_cells[:2], "0.375 [0.275, 0.475]", *song_cells[3:]]
    measured = [*window_cells, *song_cells, *official_cells]
    assert table == ["0.640", "0.671", "0.653", *measured, "+0.250"]
    assert window[4] == song[4] == official[4] == "0.60 / 0.63"
    assert table_cells(page, "lstm-300-50-dense50")[0][:3] == ["–", "–", "0.706"]
    html = report_pages.check((tmp_path / "report.html").read_text(), num_pictures=1)
    assert html.texts("p")[0].startswith("Results. With the song split, lstm-300-50")
    assert "scores mean nothing" in html.texts("warning")[1]
    (baseline,) = table_cells(page, "baseline: MFCC + logistic regression")
    assert baseline[2:] == ["0.600 [0.500, 0.700]"] * 3 + ["+0.000"]
    assert "the window split changes the test accuracy by +0.250" in page
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"]["lstm-300-50"]["song"]["test"] == 0.5
    assert report["provenance"]["dataset"]["config"] == "tiny-stereo44k"
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000
    printed = capsys.readouterr().out.splitlines()
    progress = [
        line for line in printed if line.startswith("lstm-300-50-song: accuracy 0.500 [0.400")
    ]
    assert len(progress) == 1 and "left, about" in progress[0]
    assert not any("prints this" in line for line in printed)
    log = (tmp_path / "runs" / "lstm-300-50-song.log").read_text()
    assert log == "experiment lstm-300-50-song prints this\n"


def _lines(page):
    """Return the lines of lstm-300-50 in the summary, Goel's table and the class tables."""
    summary = [line[1:] for line in table_cells(page, "LSTM") if line[0] == "lstm-300-50"][0]
    return summary, *table_cells(page, "lstm-300-50")


def test_repeats_train_each_row_with_consecutive_seeds(fake_runs, tmp_path):
    words = ["--rows=stacked-b1,stacked-b2", "--split=song", "--repeats=3"]
    assert study(tmp_path, *words) == 0
    names = ("stacked-b1-song", "stacked-b2-song")
    assert fake_runs == [name + seed for seed in ("", "-seed1", "-seed2") for name in names]
    seeds = [
        json.loads((tmp_path / "runs" / f"stacked-b1-song{seed}" / "config.json").read_text())
        for seed in ("", "-seed1", "-seed2")
    ]
    assert [settings["seed"] for settings in seeds] == [0, 1, 2]
    report = json.loads((tmp_path / "report.json").read_text())
    repeats = report["rows"]["stacked-b1"]["song"]["repeats"]["test"]
    np.testing.assert_allclose(repeats["values"], [0.5, 0.6, 0.7])
    np.testing.assert_allclose([repeats["mean"], repeats["sd"]], [0.6, 0.1])
    # The same predictions three times: scores by class as of one run.
    single = goel.scores(make_report("song"))
    assert report["rows"]["stacked-b1"]["song"]["per_class"] == single["per_class"]
    cells = table_cells((tmp_path / "report.md").read_text(), "stacked-b1")
    assert any("0.600 ± 0.100" in line for line in cells)
    fake_runs.clear()
    assert study(tmp_path, "--rows=stacked-b1", "--split=song") == 0 and not fake_runs


def test_finished_runs_are_not_repeated(fake_runs, tmp_path):
    assert study(tmp_path, "--rows=lstm-100", "--split=song") == 0
    assert fake_runs == [f"lstm-100-{hidden}-song" for hidden in (50, 100, 150)] + [
        f"blstm-100-{hidden}-song" for hidden in (50, 100, 150)
    ]
    fake_runs.clear()
    (tmp_path / "runs" / "lstm-100-100-song" / "report.json").unlink()
    assert study(tmp_path, "--rows=lstm-100-100", "--split=song,window") == 0
    expected = ["lstm-100-100-song", "lstm-100-100-window", "blstm-100-100-window"]
    assert fake_runs == expected
    # The report includes runs of earlier calls.
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["rows"]["blstm-100-150"]) == {"song"} and len(report["rows"]) == 6


def test_tasks_of_a_job_array_divide_the_runs_and_collect_reports_them(
    fake_runs, tmp_path, capsys, monkeypatch
):
    words = ["--rows=rnn-300,lstm-300-50", "--split=song"]
    assert study(tmp_path, *words, "--collect") == 1
    assert "no run has finished" in capsys.readouterr().err
    assert study(tmp_path, *words, "--task=2/3") == 0
    assert study(tmp_path, *words, "--task=1/3") == 0
    first_two = list(fake_runs)
    assert not (tmp_path / "report.json").exists()
    assert study(tmp_path, *words, "--collect") == 0  # without the third task
    assert fake_runs == first_two
    report = json.loads((tmp_path / "report.json").read_text())
    assert {f"{row}-song" for row in report["rows"]} == set(first_two)
    assert study(tmp_path, *words, "--task=3/3") == 0 and study(tmp_path, *words) == 0
    assert len(fake_runs) == len(set(fake_runs)) > len(first_two)  # each run once
    report = json.loads((tmp_path / "report.json").read_text())
    assert {f"{row}-song" for row in report["rows"]} == set(fake_runs)
    # Tasks run at the same time; a failed run is the failure of its task.
    (tmp_path / ".lock.json").write_text('{"pid": 5, "host": "node7"}')
    assert study(tmp_path, "--rows=gru-300-50", "--split=song", "--task=1/1") == 1


def test_failed_run_is_reported_and_the_others_are_executed(fake_runs, tmp_path, capsys):
    words = ["--rows=gru-300-50,rnn-300-100", "--split=song,window"]
    assert study(tmp_path, *words) == 1
    assert len(fake_runs) == 6
    printed = capsys.readouterr().out
    assert printed.count("gru-300-50-song: failed: the loss is nan at step 3") == 1
    page = (tmp_path / "report.md").read_text()
    assert "- gru-300-50-song: the loss is nan" in page
    assert table_cells(page, "gru-300-50")[0][-6:] == ["–"] * 6
    fake_runs.clear()
    assert study(tmp_path, *words) == 1
    assert fake_runs == ["gru-300-50-song"]


def test_interrupted_study_resumes(fake_runs, tmp_path, capsys, monkeypatch):
    original = runs.experiment.run

    def interrupted(name, settings, folder, mode):
        if folder.name == "rnn-300-50-window":
            raise KeyboardInterrupt
        original(name, settings, folder, mode)

    monkeypatch.setattr(runs.experiment, "run", interrupted)
    assert study(tmp_path, "--rows=rnn-300-50") == 130
    assert "run the same command again" in capsys.readouterr().err
    assert not (tmp_path / "report.json").exists()
    monkeypatch.setattr(runs.experiment, "run", original)
    assert study(tmp_path, "--rows=rnn-300-50") == 0
    assert fake_runs.count("rnn-300-50-song") == fake_runs.count("rnn-300-50-window") == 1


def change_evaluation(patch, *overrides):
    """Change the evaluation settings of all runs, as an edited config file does."""
    resolve = runs.resolve
    patch.setattr(
        runs,
        "resolve",
        lambda run: resolve(dataclasses.replace(run, overrides=(*run.overrides, *overrides))),
    )


def test_interrupted_evaluation_with_other_settings_is_repeated(fake_runs, tmp_path, monkeypatch):
    words = ["--rows=rnn-100-50", "--split=song"]
    assert study(tmp_path, *words) == 0

    def interrupted(name, settings, folder, mode):
        write_json(folder / "config.json", config.flatten(settings))
        raise KeyboardInterrupt

    change_evaluation(monkeypatch, ("evaluation.hop_s", "0.5"))
    with monkeypatch.context() as patch:
        patch.setattr(runs.experiment, "run", interrupted)
        assert study(tmp_path, *words) == 130
    fake_runs.clear()
    assert study(tmp_path, *words) == 0 and fake_runs == ["rnn-100-50-song"]
    fake_runs.clear()
    assert study(tmp_path, *words) == 0 and not fake_runs


def test_rows_and_tasks_are_evaluated_independently_with_the_current_settings(
    fake_runs, tmp_path, capsys, monkeypatch
):
    words = ["--rows=rnn-100-50,rnn-100-100", "--split=song"]
    names = ["rnn-100-50-song", "rnn-100-100-song"]

    def rows():
        return [*json.loads((tmp_path / "report.json").read_text())["rows"]]

    assert study(tmp_path, *words) == 0 and fake_runs == names
    change_evaluation(monkeypatch, ("evaluation.hop_s", "0.5"))
    capsys.readouterr()
    assert study(tmp_path, "--rows=rnn-100-50", "--split=song") == 0
    assert fake_runs == [*names, names[0]] and rows() == ["rnn-100-50"]
    printed = capsys.readouterr().out
    assert f"{names[1]}: omitted, because it was evaluated with other settings (eval" in printed
    assert study(tmp_path, "--rows=rnn-100-100", "--split=song") == 0
    assert fake_runs == names + names and rows() == ["rnn-100-50", "rnn-100-100"]
    assert "omitted" not in capsys.readouterr().out
    change_evaluation(monkeypatch, ("evaluation.num_bootstrap", "50"))
    assert study(tmp_path, *words, "--task=1/2") == 0 and fake_runs[4:] == names[:1]
    assert "omitted" not in capsys.readouterr().out  # tasks do not report
    assert study(tmp_path, *words, "--collect") == 0 and rows() == ["rnn-100-50"]
    assert f"{names[1]}: omitted" in capsys.readouterr().out
    assert study(tmp_path, *words, "--task=2/2") == 0 and fake_runs[4:] == names
    assert study(tmp_path, *words, "--collect") == 0 and rows() == ["rnn-100-50", "rnn-100-100"]


def test_workdir_with_other_settings_is_rejected(fake_runs, tmp_path, capsys):
    assert study(tmp_path, "--rows=lstm-300-100", "--split=song") == 0
    assert study(tmp_path, "--rows=lstm-300-100", "--split=song", "--seed=1") == 1
    error = capsys.readouterr().err
    assert "other settings (seed)" in error and error.count("\n") == 1
    assert study(tmp_path, "--quick") == 1
    assert "other settings (quick)" in capsys.readouterr().err


def test_failed_attempt_does_not_fix_the_settings_of_the_workdir(fake_runs, tmp_path, monkeypatch):
    def missing(settings):
        raise UserError(f"no dataset {settings.size}")

    words = ["study", "goel", "--rows=rnn-100-50", f"--workdir={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(runs.data, "load", missing)
        assert irec(*words, "--size=smal") == 1
    assert not fake_runs
    assert irec(*words, "--size=full") == 0 and len(fake_runs) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows=magic"], "--rows magic: matches none of rnn-300-50"),
        (["--task=0/2"], "--task 0/2: expected I/N with 1 <= I <= N, such as 2/5"),
        (["--task=3/2"], "--task 3/2: expected I/N"),
        (["--task=two"], "--task two: expected I/N"),
        (["--rows=,"], "--rows ',': contains no name; omit it"),
        (["--split="], "--split '': contains no name"),
        (["--split=clip"], "--split clip: unknown; choose from song, window and official"),
        (["--repeats=0"], "--repeats 0: expected at least 1"),
        (["--dataset=gm_multitrack"], "--dataset gm_multitrack: unknown; choose from"),
        (["--quick", "--rows=lstm-100"], "--rows lstm-100: matches none of"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(tmp_path, capsys, words, message):
    assert study(tmp_path / "x", *words) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_complete_run_from_data_to_report(tmp_path, capsys):
    assert study(tmp_path, "--rows=per_step-300-50", "--split=song") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    (row,) = report["rows"].values()
    folder = tmp_path / "runs" / "per_step-300-50-song"
    predominant = json.loads((folder / "report.json").read_text())["predominant"]
    assert row["song"]["test"] == predominant["accuracy"]
    np.testing.assert_allclose(row["song"]["macro"]["recall"], predominant["balanced_accuracy"])
    assert 0 <= row["song"]["training"] <= 1 and row["song"]["num_epochs"] == 2
    (protocol,) = report["protocols"]
    assert protocol["num_songs_on_both_sides"] == 0
    assert "epoch   2" in (tmp_path / "runs" / "per_step-300-50-song.log").read_text()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("per_step-300-50-song: ") for line in lines) == 1
