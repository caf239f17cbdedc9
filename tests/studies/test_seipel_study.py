"""Seipel study: labels against notes, differences of runs, and a complete run on tiny data."""

import argparse
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import report_pages
import sklearn.metrics
from study_helpers import irec, table_cells, use_small_networks

from data_builders.gm_multitrack import plan
from data_builders.gm_multitrack.builder import GmMultitrack
from irec_jax import config, data
from irec_jax.crosstalk import activity
from irec_jax.evaluation import pieces as piece_evaluation
from irec_jax.evaluation import recognition
from irec_jax.files import write_json
from irec_jax.labels import ORCHESTRA
from irec_jax.reports import recognition_report
from irec_jax.reports.writing import strict_json
from irec_jax.studies import options, runs, seipel, seipel_labels
from irec_jax.studies.published import seipel as published


def study(workdir, *words):
    return irec("study", "seipel", "--debug", f"--workdir={workdir}", *words)


# The runs


def test_rows_are_those_of_the_figures():
    rows = seipel.list_rows(quick=False)
    assert len({row.name for row in rows}) == len(rows)
    standard = [row.frames for row in rows if row.name == row.standard]
    assert standard == list(range(16, 321, 16))
    for key, values in (("context", published.CONTEXTS), ("instances", published.INSTANCES)):
        for value in values[1:]:
            frames = [r.frames for r in rows if getattr(r, key) == value and r.aggregate == "mean"]
            assert set(frames) == set(published.FRAMES)
    quick = seipel.list_rows(quick=True)
    assert set(quick) <= set(rows) and len(quick) == 12
    assert {row.context for row in quick} == {row.instances for row in quick} == {1, 3}
    row = seipel.Row(16, instances=3, share=False)
    assert row.config == "configs/seipel.py:frames=16,instances=3,share=false"
    assert row.name == "frames-16-instances-3-separate" and row.standard == "frames-16"


def test_configs_of_all_rows_are_valid():
    for row in seipel.list_rows(quick=False):
        settings = runs.resolve(runs.Run(row.name, f"{row.config},dataset=gm_multitrack"))
        assert settings.data.label_s == pytest.approx(row.frames * 1024 / 44_100)
        assert settings.data.window_s == pytest.approx(row.context * settings.data.label_s)
        assert (settings.task == "multi_instance") == (row.instances > 1)


# Labels


@pytest.mark.parametrize("length", [1, 4, 16])
def test_instances_match_a_loop(length):
    frames = np.random.default_rng(0).random((3, 37))
    expected = [frames[:, start : start + length].max(1) for start in range(0, 37, length)]
    np.testing.assert_array_equal(seipel_labels.instances(frames, length), expected)
    np.testing.assert_array_equal(
        seipel_labels.instances(frames > 0.8, length), np.array(expected) > 0.8
    )


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """One training and two test pieces of 12 s with three tracks."""
    ensembles = {"piano_trio": plan.ENSEMBLES["piano_trio"]._replace(tiny=(1, 2))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "ENSEMBLES", ensembles)
        patch.setattr(plan, "DURATIONS_S", {"tiny": ((12.0, 12.0), (12.0, 12.0))})
        builder = GmMultitrack(
            data_dir=tmp_path_factory.mktemp("trios"), config="tiny-multitrack44k"
        )
        builder.num_workers = 1
        builder.download_and_prepare()
        yield [data.Pieces(builder, [split], 44_100) for split in ("train", "test")]


OPTIONS: dict[str, Any] = dict(levels_db=(-6,), decay_s=0.8, seed=0)


@pytest.fixture(scope="module")
def labels(tmp_path_factory, splits):
    """Folder of the activities of the pieces, and the results."""
    folder = tmp_path_factory.mktemp("labels")
    return folder, seipel_labels.study(*splits, folder, **OPTIONS)


def test_labels_are_compared_with_the_notes(labels, splits):
    folder, result = labels
    assert result["num_pieces"] == [1, 2]
    assert list(result["conditions"]) == ["free field, -6 dB", "room, -6 dB"]
    pieces = splits[1]
    true, activities, names = [], [], []
    for index, name in enumerate(pieces.names):
        piece = pieces[index]
        with np.load(folder / f"{name}.npz") as arrays:
            stored = dict(arrays)
        notes = pieces.note_activity(index, frame_length=1024)
        levels = activity.track_activity(
            lambda piece=piece: [piece.stems], None,
            num_samples=piece.stems.shape[1], sample_rate_hz=44_100,
        )  # fmt: skip
        expected = activity.class_activity(levels, piece.instruments, ORCHESTRA)
        np.testing.assert_allclose(stored["stems"], expected, atol=1e-6)
        for k, name_of_class in enumerate(ORCHESTRA):
            own = [j for j, label in enumerate(piece.instruments) if label == name_of_class]
            np.testing.assert_array_equal(stored["notes"][k], notes[own].any(0))
        true.append(seipel_labels.instances(stored["notes"], 16))
        activities.append(seipel_labels.instances(stored["free field, -6 dB, reduced"], 16))
        names += [name] * len(true[-1])
    block = result["conditions"]["free field, -6 dB"]["16"]["reduced"]
    expected = piece_evaluation.piece_scores(
        np.concatenate(true), np.concatenate(activities), names, ORCHESTRA,
        threshold=10 ** (block["threshold_db"] / 20), num_resamples=2,
    )  # fmt: skip
    for score in piece_evaluation.SCORES:
        assert block["scores"]["macro"][score] == pytest.approx(expected["macro"][score])
    curves = result["curves"]
    curve = dict(zip(curves["thresholds_db"], curves["f1"]["dry tracks"], strict=True))
    assert max(curve.values()) > 0.7 > curve[-3.0]


def test_thresholds_are_chosen_on_training_pieces(labels, splits):
    folder, result = labels
    names = splits[0].names
    stored = [dict(np.load(folder / f"{name}.npz")) for name in names]
    for name, by_frames in result["conditions"].items():
        for frames, methods in by_frames.items():
            for method in ("unreduced", "reduced"):
                true, scores = (
                    np.concatenate([seipel_labels.instances(s[key], int(frames)) for s in stored])
                    for key in ("notes", f"{name}, {method}")
                )
                playing = true.any(0)
                f1 = [
                    sklearn.metrics.f1_score(
                        true[:, playing],
                        scores[:, playing] >= 10 ** (db / 20),
                        average="macro",
                        zero_division=0,
                    )  # fmt: skip
                    for db in seipel_labels.GRID_DB
                ]
                chosen = seipel_labels.GRID_DB.index(methods[method]["threshold_db"])
                assert f1[chosen] == pytest.approx(max(f1))
            gain = methods["difference"]["macro"]["auc"]
            auc = [methods[method]["scores"]["macro"]["auc"] for method in ("unreduced", "reduced")]
            assert gain == pytest.approx(auc[1] - auc[0])


def test_crosstalk_reduction_improves_the_labels(labels):
    for by_frames in labels[1]["conditions"].values():
        assert by_frames["16"]["difference"]["macro"]["f1"] > 0


def test_measured_pieces_are_not_repeated(labels, splits, monkeypatch):
    folder, result = labels
    last = sorted(folder.iterdir())[-1]
    content = dict(np.load(last))
    last.unlink()
    measured = []
    original = seipel_labels.measure
    monkeypatch.setattr(
        seipel_labels,
        "measure",
        lambda pieces, i, **k: measured.append(pieces.names[i]) or original(pieces, i, **k),
    )
    again = seipel_labels.study(*splits, folder, **OPTIONS)
    assert measured == [last.stem]
    for key, values in content.items():
        np.testing.assert_array_equal(dict(np.load(last))[key], values)
    assert strict_json(again) == strict_json(result)


# The study


def make_predictions(frames, skill, *, seed):
    """Return predictions for instances of four pieces of different lengths."""
    generator = np.random.default_rng(frames + seed)
    counts = [6 + 3 * i for i in range(4)]
    songs = [f"piece {i}" for i, count in enumerate(counts) for _ in range(count)]
    labels = generator.random((len(songs), 13)) < 0.4
    noise = np.random.default_rng(seed + 1).random(labels.shape)
    scores = np.clip(skill * labels + (1 - skill) * noise, 0, 1)
    return recognition.Predictions(
        ids=[f"{song}@{i}" for i, song in enumerate(songs)],
        songs=songs,
        labels=labels,
        windows=list(scores[:, None]),
        classes=ORCHESTRA,
        contradictory=np.zeros(len(songs), bool),
    )


def write_run(folder, *, frames, context, instances, baselines):
    """Write the results of a run; context helps, and bags do not."""
    skill = 0.2 + 0.2 * (context > 1) - 0.1 * (instances > 1) + 0.1 * (frames == 112)
    test, validation = (make_predictions(frames, skill, seed=seed) for seed in (0, 50))
    guess = make_predictions(frames, 0.0, seed=0)
    evaluation = recognition.evaluate(
        test, validation, aggregation="s1", threshold=0.5, num_resamples=5
    )
    evaluation["pieces"] = piece_evaluation.evaluate(
        test, {"majority": guess} if baselines else {}, num_resamples=50
    )
    dataset = {"name": "gm_multitrack", "version": "1.0.0", "config": "tiny", "split": "official"}
    report = recognition_report.assemble(
        evaluation,
        system="seipel",
        rendered=True,
        provenance={"dataset": dataset, "command": "irec", "durations_s": {"training": 60.0}},
        history=[{"epoch": 1, "train_loss": 1.0, "valid_loss": 1.0}],
    )
    recognition.write_scores(folder, test=test, validation=validation)
    (folder / "report.json").write_text(strict_json(report))


@pytest.fixture
def fake_runs(monkeypatch, labels, splits):
    """Replace experiments by fakes that write results, and the pieces by three short ones."""
    executed = []

    def experiment(name, settings, folder, mode):
        executed.append((folder.name, settings))
        folder.mkdir(parents=True)
        write_json(folder / "config.json", config.flatten(settings))
        write_run(
            folder,
            frames=round(settings.data.label_s * 44_100 / 1024),
            context=round(settings.data.window_s / settings.data.label_s),
            instances=settings.bag.num_instances if "bag" in settings else 1,
            baselines=settings.evaluation.baselines,
        )

    monkeypatch.setattr(runs.experiment, "run", experiment)
    monkeypatch.setattr(runs.data, "load", lambda settings: None)
    monkeypatch.setattr(seipel_labels, "study", lambda *pieces, **options: labels[1])
    monkeypatch.setattr(seipel, "_load", lambda arguments, split: splits[split == "test"])
    return executed


def test_findings_of_the_thesis_are_compared(fake_runs, tmp_path, capsys):
    assert study(tmp_path, "--quick") == 0
    names = [name for name, _ in fake_runs]
    assert names == [row.name for row in seipel.list_rows(quick=True)]
    assert [settings.evaluation.baselines for _, settings in fake_runs].count(True) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["rows"]) == set(names)
    row = report["rows"]["frames-16-context-3"]
    arrays = {
        name: np.load(tmp_path / "runs" / name / "predictions.npz")
        for name in ("frames-16-context-3", "frames-16")
    }
    longer, standard = (arrays[name] for name in ("frames-16-context-3", "frames-16"))
    expected = piece_evaluation.paired_difference(
        longer["test_labels"], longer["test_scores"], standard["test_scores"],
        longer["test_songs"].tolist(), ORCHESTRA,
    )  # fmt: skip
    assert row["difference"]["f1"] == pytest.approx(expected["macro"]["f1"])
    # Six instances of every piece, as many as the shortest one has.
    songs = longer["test_songs"]
    first = np.concatenate([np.flatnonzero(songs == f"piece {i}")[:6] for i in range(4)])
    expected = piece_evaluation.piece_scores(
        longer["test_labels"][first], longer["test_scores"][first], songs[first].tolist(), ORCHESTRA
    )
    assert row["equal_lengths"]["macro"]["auc"] == pytest.approx(expected["macro"]["auc"])
    page = (tmp_path / "report.md").read_text()
    assert "F1 is highest with n_F = 112 (2.60 s); ROC AUC is highest with n_F = 112." in page
    assert "Measured: r = 3 significantly raises F1 with n_F = 16, 48, 112, 160 (95 %" in page
    assert "Measured: n_I = 3 significantly lowers F1 with" in page
    assert "Debug run" in page and "Rendered music" in page.splitlines()[2]
    (cells,) = table_cells(page, "n_F = 112: majority")
    assert cells[0] == "2.60" and cells[-1] == "–"
    tuba = table_cells(page, "tuba")[-1]
    assert tuba[-3:] == ["24", "2.47", "21%"]
    report_pages.check((tmp_path / "report.html").read_text(), num_pictures=6)
    assert capsys.readouterr().out.count("frames-16: F1 ") == 1
    fake_runs.clear()
    assert study(tmp_path, "--quick") == 0 and not fake_runs


def test_interrupted_study_resumes(fake_runs, tmp_path):
    assert study(tmp_path, "--quick", "--rows=frames-16") == 0
    first = [name for name, _ in fake_runs]
    assert len(first) == 6 and all(name.startswith("frames-16") for name in first)
    fake_runs.clear()
    assert study(tmp_path, "--quick") == 0
    assert len(fake_runs) == 6 and not set(first) & {name for name, _ in fake_runs}


def test_quick_runs_take_as_many_steps_whatever_their_instances():
    parser = argparse.ArgumentParser()
    options.add_arguments("seipel", parser)
    hops_s = {}
    for run in seipel.plan(parser.parse_args(["--quick"])):
        overrides = dict(run.overrides)
        hops_s[run.name] = float(overrides["data.hop_s"])
        steps = {overrides[f"training.{end}_steps_per_epoch"] for end in ("min", "max")}
        assert len(steps) == 1
    frame_s = 1024 / 44_100
    assert hops_s["frames-160"] == hops_s["frames-16-context-3"] == pytest.approx(16 * frame_s)
    # The instances of a bag follow one another.
    assert hops_s["frames-160-instances-3"] == pytest.approx(160 * frame_s)
    for run in seipel.plan(parser.parse_args([])):
        frames = int(run.name.split("-")[1])
        assert float(dict(run.overrides)["data.hop_s"]) == pytest.approx(frames * frame_s)


def test_instruments_are_counted_once_per_piece():
    train = SimpleNamespace(
        classes=("viola", "violin"),
        instruments=(("violin", "violin"), ("viola", "violin")),
        num_samples=(44_100 * 36, 44_100 * 72),
        sample_rate_hz=44_100,
    )
    test = SimpleNamespace(
        **{**vars(train), "instruments": (("viola",),), "num_samples": (44_100,)}
    )
    assert seipel.count_instruments(train, test) == {
        "viola": {"num_pieces": 2, "hours": pytest.approx(73 / 3600)},
        "violin": {"num_pieces": 2, "hours": pytest.approx(0.03)},
        "all": {"num_pieces": 3, "hours": pytest.approx(109 / 3600)},
    }


def test_errors_are_one_line(tmp_path, capsys):
    for words, message in (
        (["--dataset=gm_irmas"], "--dataset gm_irmas: unknown; choose from gm_multitrack"),
        (["--decay-s=0"], "--decay-s 0.0: expected more than 0 and at most 20 s"),
        (["--rows=magic"], "--rows magic: matches none of frames-16"),
    ):
        assert study(tmp_path, *words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_complete_run_from_data_to_report(tmp_path, labels, monkeypatch):
    monkeypatch.setattr(seipel_labels, "study", lambda *pieces, **options: labels[1])
    use_small_networks(monkeypatch)
    assert study(tmp_path, "--rows=frames-16-instances-3-max") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    (row,) = report["rows"].values()
    own = json.loads((tmp_path / "runs/frames-16-instances-3-max/report.json").read_text())
    assert row["scores"] == own["pieces"]["model"] and row["difference"] is None
    assert row["scores"]["num_pieces"] == row["tuned"]["num_pieces"] == 2
