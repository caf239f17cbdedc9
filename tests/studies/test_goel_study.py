"""The Goel study: rows that are run once, a table that says what leaks, and one real run."""

import json
import re

import numpy as np
import pytest
import sklearn.metrics

from irec_jax import cli, config
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.studies import goel, runs

CLASSES = ["gel", "pia", "sax", "vio", "voi"]
#: Row: the label, column: the answer.
CONFUSION = [[6, 1, 1, 1, 1], [0, 5, 0, 0, 0], [2, 0, 3, 0, 0], [0, 0, 0, 0, 4], [1, 1, 0, 0, 6]]


def irec(*words):
    """Exit code of `irec`, run in this process."""

    def command():
        arguments = cli.parser().parse_args([str(word) for word in words])
        return arguments.run(arguments)

    return run_command(command)


def a_report(split, accuracy=0.5, **more):
    """What the study needs of a report."""
    splits = {
        side: {"num_examples": number, "num_songs": 7, "per_class": dict.fromkeys(CLASSES, 2)}
        for side, number in (("training", 70), ("validation", 15), ("test", 15))
    }
    history = [
        {"epoch": i, "train_top1": 0.3 + i / 100, "valid_top1": 0.4, "valid_loss": 1.0}
        for i in (1, 2, 3)
    ]
    found = {
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
            "durations_s": {"training": 3.0, "evaluation": 1.0},
        },
    }
    return found | more


@pytest.fixture
def pretended(monkeypatch):
    """Experiments that only write a report; the names of those that were done."""
    done = []

    def experiment(name, settings, folder, mode):
        print(f"experiment {folder.name} speaks")
        done.append(folder.name)
        write_json(folder / "config.json", config.flatten(settings))
        if folder.name.startswith("gru-300-50-song"):
            raise UserError("the loss is nan at step 3, clips a, b: lower it")
        accuracy = 0.75 if settings.data.split == "window" else 0.5
        more = {}
        if settings.evaluation.baselines:
            found = {"accuracy": 0.6, "accuracy_interval": [0.5, 0.7]}
            more = {"baselines": {"MFCC + logistic regression": {"predominant": found}}}
        write_json(folder / "report.json", a_report(settings.data.split, accuracy, **more))

    monkeypatch.setattr(runs.experiment, "run", experiment)
    monkeypatch.setattr(runs.data, "load", lambda settings: None)
    return done


def study(workdir, *more):
    return irec("study", "goel", "--debug", f"--workdir={workdir}", *more)


@pytest.mark.parametrize(("words", "num_rows"), [([], 41), (["--quick"], 14), (["--debug"], 41)])
def test_every_run_has_a_config_of_its_own(words, num_rows):
    parser = cli.argparse.ArgumentParser()
    goel.add_arguments(parser)
    plan = goel.plan(parser.parse_args(words), ("song", "window"))
    assert len(plan) == 2 * num_rows == len({run.name for run in plan})
    resolved = {run.name: config.flatten(runs.resolve(run)) for run in plan}
    assert len({json.dumps(one) for one in resolved.values()}) == len(plan)
    lstm = resolved["lstm-300-50-window"]
    assert (lstm["model.cell"], lstm["data.split"]) == ("lstm", "window")
    assert lstm["evaluation.baselines"] and not resolved["gru-300-50-song"]["evaluation.baselines"]
    if "--debug" in words:
        assert lstm["data.size"] == "tiny" and lstm["training.num_epochs"] == 2
    if not words:
        assert resolved["crnn-b3-song"]["training.num_epochs"] == 10
        assert resolved["lstm-100-150-song"]["model.hidden"] == [150]
        assert resolved["lstm-300-50-dense50-song"]["model.dense"] == [50]


def test_scores_by_class_are_those_of_an_independent_implementation():
    truth, said = np.repeat(np.indices((5, 5)).reshape(2, -1), np.ravel(CONFUSION), axis=1)
    found = goel.scores(a_report("song", accuracy=float(np.mean(truth == said))))
    options = dict(labels=range(5), zero_division=0)
    by_class = sklearn.metrics.precision_recall_fscore_support(truth, said, **options)
    for k, name in enumerate(CLASSES):
        ours = list(found["per_class"][name].values())
        np.testing.assert_allclose(ours, [values[k] for values in by_class[:3]])
    for average in ("micro", "macro"):
        theirs = sklearn.metrics.precision_recall_fscore_support(
            truth, said, average=average, **options
        )
        np.testing.assert_allclose(list(found[average].values()), theirs[:3])
    np.testing.assert_allclose(found["micro"]["f1"], found["test"])
    assert found["training"] == 0.32 and found["best_epoch"] == 2 and found["seconds"] == 4.0


def test_one_answer_to_everything_is_told():
    assert goel.scores(a_report("song"))["collapse"] is None
    deaf = a_report("song")
    deaf["predominant"]["confusion"] = [[0, 4, 0, 0, 0]] * 5
    assert "'pia'" in goel.scores(deaf)["collapse"]


def cells(page, row):
    """The cells of the lines that begin with a name."""
    found = re.findall(rf"^\| {re.escape(row)} +\|(.*)\|$", page, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in found]


def test_both_splits_stand_beside_what_was_reported(pretended, tmp_path, capsys):
    assert study(tmp_path, "--rows=lstm-300-50,recurrence-b3") == 0
    names = ["lstm-300-50", "blstm-300-50", "lstm-300-50-dense50", "blstm-300-50-dense50"]
    names.append("recurrence-b3")
    assert pretended == [f"{row}-{split}" for row in names for split in ("song", "window")]
    page = (tmp_path / "report.md").read_text()
    assert "rendered audio" in page.splitlines()[2]
    summary, table, window, song = _lines(page)
    assert summary == ["0.653", "0.750 [0.650, 0.850]", "0.500 [0.400, 0.600]", "+0.250"]
    ours = ["0.320", "0.400", "0.750 [0.650, 0.850]", "0.450", "2 of 3"]
    apart = ["0.320", "0.400", "0.500 [0.400, 0.600]", "0.450", "2 of 3"]
    assert table == ["0.640", "0.671", "0.653", *ours, *apart, "+0.250"]
    assert window[4] == song[4] == "0.60 / 0.63"
    assert cells(page, "lstm-300-50-dense50")[0][:3] == ["–", "–", "0.706"]
    (baseline,) = cells(page, "baseline: MFCC + logistic regression")
    assert baseline[2:] == ["0.600 [0.500, 0.700]"] * 2 + ["+0.000"]
    assert "adds +0.250 on average" in page
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"]["lstm-300-50"]["song"]["test"] == 0.5
    assert report["provenance"]["dataset"]["config"] == "tiny-stereo44k"
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000
    printed = capsys.readouterr().out.splitlines()
    told = [line for line in printed if line.startswith("lstm-300-50-song: accuracy 0.500 [0.400")]
    assert len(told) == 1 and "left, about" in told[0]
    assert not any("speaks" in line for line in printed)
    log = (tmp_path / "runs" / "lstm-300-50-song.log").read_text()
    assert log == "experiment lstm-300-50-song speaks\n"


def _lines(page):
    """Of one row: the summary's, the source's table, and by class of both splits."""
    summary = [line[1:] for line in cells(page, "LSTM") if line[0] == "lstm-300-50"][0]
    return summary, *cells(page, "lstm-300-50")


def test_nothing_is_run_twice(pretended, tmp_path):
    assert study(tmp_path, "--rows=lstm-100", "--split=song") == 0
    assert pretended == [f"lstm-100-{hidden}-song" for hidden in (50, 100, 150)] + [
        f"blstm-100-{hidden}-song" for hidden in (50, 100, 150)
    ]
    pretended.clear()
    (tmp_path / "runs" / "lstm-100-100-song" / "report.json").unlink()
    assert study(tmp_path, "--rows=lstm-100-100", "--split=song,window") == 0
    expected = ["lstm-100-100-song", "lstm-100-100-window", "blstm-100-100-window"]
    assert pretended == expected
    # What was done before is in the report too.
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["rows"]["blstm-100-150"]) == {"song"} and len(report["rows"]) == 6


def test_a_run_that_fails_is_told_and_the_others_are_done(pretended, tmp_path, capsys):
    assert study(tmp_path, "--rows=gru-300-50,rnn-300-100") == 1
    assert len(pretended) == 6
    printed = capsys.readouterr().out
    assert printed.count("gru-300-50-song: failed: the loss is nan at step 3") == 1
    page = (tmp_path / "report.md").read_text()
    assert "- gru-300-50-song: the loss is nan" in page
    assert cells(page, "gru-300-50")[0][-6:] == ["–"] * 6
    pretended.clear()
    assert study(tmp_path, "--rows=gru-300-50,rnn-300-100") == 1
    assert pretended == ["gru-300-50-song"]


def test_an_interrupted_study_goes_on(pretended, tmp_path, capsys, monkeypatch):
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
    assert pretended.count("rnn-300-50-song") == pretended.count("rnn-300-50-window") == 1


def test_other_settings_need_another_workdir(pretended, tmp_path, capsys):
    assert study(tmp_path, "--rows=lstm-300-100", "--split=song") == 0
    assert study(tmp_path, "--rows=lstm-300-100", "--split=song", "--seed=1") == 1
    error = capsys.readouterr().err
    assert "other settings (seed)" in error and error.count("\n") == 1
    assert study(tmp_path, "--quick") == 1
    assert "other settings (quick)" in capsys.readouterr().err


def test_a_try_that_came_to_nothing_holds_no_workdir(pretended, tmp_path, monkeypatch):
    def missing(settings):
        raise UserError(f"no dataset {settings.size}")

    words = ["study", "goel", "--rows=rnn-100-50", f"--workdir={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(runs.data, "load", missing)
        assert irec(*words, "--size=smal") == 1
    assert not pretended
    assert irec(*words, "--size=full") == 0 and len(pretended) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows=magic"], "--rows magic: in none of rnn-300-50"),
        (["--split=official"], "--split official: known are song and window"),
        (["--dataset=gm_multitrack"], "--dataset gm_multitrack: known are"),
        (["--quick", "--rows=lstm-100"], "--rows lstm-100: in none of"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, capsys, words, message):
    assert study(tmp_path / "x", *words) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_real_run_from_the_data_to_the_report(tmp_path, capsys):
    assert study(tmp_path, "--rows=per_step-300-50", "--split=song") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    (one,) = report["rows"].values()
    folder = tmp_path / "runs" / "per_step-300-50-song"
    theirs = json.loads((folder / "report.json").read_text())["predominant"]
    assert one["song"]["test"] == theirs["accuracy"]
    np.testing.assert_allclose(one["song"]["macro"]["recall"], theirs["balanced_accuracy"])
    assert 0 <= one["song"]["training"] <= 1 and one["song"]["num_epochs"] == 2
    (protocol,) = report["protocols"]
    assert protocol["num_songs_on_both_sides"] == 0
    assert "epoch   2" in (tmp_path / "runs" / "per_step-300-50-song.log").read_text()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("per_step-300-50-song: ") for line in lines) == 1
