"""Han study: tables from stored window probabilities, t-SNE, and complete runs on tiny data."""

import argparse
import dataclasses
import json
import types

import numpy as np
import pytest
import report_pages
import sklearn.metrics
import sklearn.neighbors
from study_helpers import irec, table_cells, use_small_networks

from irec_jax import config
from irec_jax.errors import UserError
from irec_jax.evaluation import recognition
from irec_jax.labels import IRMAS
from irec_jax.studies import han, han_figures, han_tables, han_visualisations, options, runs
from irec_jax.studies.published import han as published


def study(workdir, *words):
    return irec("study", "han", "--debug", f"--workdir={workdir}", *words)


def plan(*words):
    parser = argparse.ArgumentParser()
    options.add_arguments("han", parser)
    return {run.name: runs.resolve(run) for run in han.plan(parser.parse_args(words))}


def test_rows_are_those_of_the_paper():
    configs = {name: config.flatten(settings) for name, settings in plan().items()}
    assert {flat["model.activation"] for flat in configs.values()} == {
        "tanh", "relu", "prelu", "lrelu_0.01", "lrelu_0.33"
    }  # fmt: skip
    windows = {name: flat["data.window_s"] for name, flat in configs.items()}
    assert sorted({*windows.values()}) == list(published.WINDOWS_S)
    assert {flat["training.repeats"] for flat in configs.values()} == {3}
    baselines = [name for name, flat in configs.items() if flat["evaluation.baselines"]]
    assert baselines == [han.DEFAULT]
    quick = {name: config.flatten(settings) for name, settings in plan("--quick").items()}
    assert list(quick) == list(configs)
    assert [flat["training.repeats"] for flat in quick.values()] == [3] * 5 + [1] * 3
    # All networks are trained for as many steps, although there are more short windows.
    for bound in ("min", "max"):
        assert {flat[f"training.{bound}_steps_per_epoch"] for flat in quick.values()} == {89}


def predictions(seed):
    rng = np.random.default_rng(seed)
    labels = np.eye(11, dtype=bool)[np.arange(33) % 11] | (rng.random((33, 11)) < 0.1)
    windows = [
        np.clip(0.5 * row + 0.6 * rng.random((rng.integers(1, 6), 11)), 0, 1).astype(np.float32)
        for row in labels
    ]
    return recognition.Predictions(
        ids=[f"clip {i}" for i in range(33)],
        songs=[f"song {i // 2}" for i in range(33)],
        labels=labels,
        windows=windows,
        classes=IRMAS,
        contradictory=np.arange(33) == 4,
    )


def test_predictions_are_read_as_they_were_written(tmp_path):
    test, validation = predictions(0), predictions(1)
    recognition.write_scores(tmp_path, test=test, validation=validation)
    for split, written in (("test", test), ("validation", validation)):
        read = recognition.read_predictions(tmp_path, split)
        for name in ("ids", "songs", "labels", "contradictory", "classes"):
            np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        for windows, expected in zip(read.windows, written.windows, strict=True):
            np.testing.assert_array_equal(windows, expected)
    with pytest.raises(UserError, match="no window probabilities .*; evaluate again"):
        recognition.read_predictions(tmp_path, "training")


def test_scores_follow_from_window_probabilities(tmp_path):
    """Compared with scikit-learn, two seeds."""
    folders, splits = [tmp_path / f"seed_{seed}" for seed in (3, 12)], []
    for number, folder in enumerate(folders):
        folder.mkdir()
        splits.append((predictions(2 * number), predictions(2 * number + 1)))
        recognition.write_scores(folder, test=splits[-1][0], validation=splits[-1][1])
        report = {
            "provenance": {"seed": number, "durations_s": {"training": 2.0}},
            "best_epoch": {"epoch": 1},
            "history": [{}, {}],
        }
        (folder / "report.json").write_text(json.dumps(report))
    assert han.seed_folders(tmp_path) == folders and han.seed_folders(folders[0]) == folders[:1]
    result = han.scores(folders)
    assert result["seconds"] == 4.0 and result["epochs"] == [[1, 2], [1, 2]]

    def clip_scores(split, name):
        means = np.stack([windows.mean(0) for windows in split.windows]).astype(float)
        return means if name == "s1" else means / means.max(1, keepdims=True)

    def f1(split, name, threshold, average):
        predicted = clip_scores(split, name) >= threshold - 1e-9
        return sklearn.metrics.f1_score(split.labels, predicted, average=average, zero_division=0)

    for name, fixed in (("s1", 0.16), ("s2", 0.5)):
        blocks = result["scores"][name]
        for average in ("micro", "macro"):
            values = [f1(test, name, fixed, average) for test, _ in splits]
            block = blocks["fixed"][average]["f1"]
            assert block["values"] == pytest.approx(values)
            assert block["mean"] == pytest.approx(np.mean(values))
            assert block["sd"] == pytest.approx(np.std(values, ddof=1))
        grid = result["sweep"][name]["thresholds"]
        for seed, (test, validation) in enumerate(splits):
            curve = [f1(test, name, threshold, "micro") for threshold in grid]
            measured = [block["values"][seed] for block in result["sweep"][name]["micro"]]
            assert measured == pytest.approx(curve)
            assert blocks["oracle"]["micro"]["f1"]["values"][seed] == pytest.approx(max(curve))
            chosen = blocks["validation"]["threshold"]["values"][seed]
            best = max(f1(validation, name, threshold, "micro") for threshold in grid)
            assert f1(validation, name, chosen, "micro") == pytest.approx(best)
    low = result["scores"]["s2"]["low"]["micro"]["f1"]["values"]
    assert low == pytest.approx([f1(test, "s2", 0.2, "micro") for test, _ in splits])
    check_page(result, [f1(test, "s2", 0.45, "micro") for test, _ in splits])


def check_page(result, f1_at_45):
    """Check the page of a study all of whose networks have the same results."""
    settings = {"debug": False, "quick": True}
    dataset = {"name": "irmas", "version": "1.0.0", "config": "full", "split": "official"}
    provenance = {"dataset": dataset, "command": "irec", "durations_s": {}, "seed": 0, "git": None}
    hardware = {"devices": {"cpu": 1}, "platform": "cpu", "num_processes": 1}
    hardware |= {"cpu": "cpu", "num_cores": 2, "system": "Linux"}
    counts = {"num_labels": 60, "num_clips": 33, "num_songs": 17}
    report = {
        "rows": {row.name: dataclasses.asdict(row) | result for row in han.ROWS},
        "baselines": {},
        "classes": IRMAS,
        "data": {"test": counts},
        "dataset": "irmas",
        "rendered": False,
        "settings": settings,
        "provenance": provenance | {"hardware": hardware, "date": "", "versions": {}},
    }
    page = han_tables.markdown_page(report)
    assert "trained for 178 steps" in page and "rendered" not in page
    assert "has the highest (.602)" in page and "S2 reaches .602 and S1 .595." in page
    for window_s in ("0.5 s", "1 s", "1.5 s", "3 s"):
        ((*cells,),) = table_cells(page, window_s)
        assert len(cells) == 9 and cells[5] == f"{np.mean(f1_at_45):.3f}"
    oracle = result["scores"]["s1"]["oracle"]["threshold"]["mean"]
    kinds = {cells[0]: cells[1] for cells in table_cells(page, "S1")}
    assert kinds["oracle: best on test"] == f"{oracle:.2f}" and len(kinds) == 4
    assert len(table_cells(page, "cello")[0]) == 6


def test_neighbours_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    x = np.eye(4)[labels] + 0.6 * rng.normal(size=(40, 4))
    tree = sklearn.neighbors.NearestNeighbors(n_neighbors=5).fit(x)
    nearest = tree.kneighbors(return_distance=False)
    expected = np.mean(labels[nearest] == labels[:, None])
    assert han_visualisations.same_class(x, labels) == pytest.approx(expected)
    positions = [han_visualisations.embed(x, seed=3) for _ in range(2)]
    np.testing.assert_array_equal(*positions)
    assert positions[0].shape == (40, 2) and np.ptp(positions[0]) > 0


def test_equal_points_have_a_position():
    assert np.isfinite(han_visualisations.embed(np.ones((8, 3)), seed=0)).all()


def test_colours_of_classes_are_distinct():
    assert len(set(han_figures.CLASS_COLOURS)) >= len(IRMAS) == 11


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Workdir of a study of the default row, with two seeds."""
    workdir = tmp_path_factory.mktemp("han")
    with pytest.MonkeyPatch.context() as patch:
        use_small_networks(patch)
        assert study(workdir, "--quick", "--repeats=2", "--rows=lrelu_0.33") == 0
        yield workdir


def test_complete_run_from_data_to_page(finished):
    report = json.loads((finished / "report.json").read_text())
    assert list(report["rows"]) == ["lrelu_0.33"]
    default = report["rows"]["lrelu_0.33"]
    assert default["seeds"] == [0, 1]
    own = json.loads((finished / "runs/lrelu_0.33/report.json").read_text())
    for average in ("micro", "macro"):
        measured = default["scores"]["s2"]["fixed"][average]["f1"]
        assert measured == own["repeats"]["thresholds"]["fixed"][average]["f1"]
    page = (finished / "report.md").read_text()
    assert "Debug run" in page and "rendered audio" in page.splitlines()[2]
    f1 = default["scores"]["s2"]["fixed"]["micro"]["f1"]
    cells = table_cells(page, "LReLU 0.33")[0]
    assert cells[0] == "2" and cells[3] == f"{f1['mean']:.3f} ± {f1['sd']:.3f}"
    assert table_cells(page, "reported: LReLU 0.33")[0] == [
        "3", "0.655", "0.557", "0.602", "0.541", "0.508", "0.503"
    ]  # fmt: skip
    assert table_cells(page, "baseline: majority")
    assert [cells[0] for cells in table_cells(page, "S2")][0] == "fixed, as published"
    assert table_cells(page, "voice")[0][-1] == "about 0.90"
    report_pages.check((finished / "report.html").read_text(), num_pictures=6)
    with np.load(finished / "visualisations.npz") as arrays:
        for split in han_visualisations.SPLITS:
            count = len(arrays[f"{split}_labels"])
            assert np.bincount(arrays[f"{split}_labels"]).min() > 0
            for layer in han_visualisations.LAYERS:
                assert arrays[f"{split}_{layer}"].shape == (count, 2)
        segments = han_visualisations.segments(arrays)
    assert [segment.title.partition(":")[0] for segment in segments] == ["voice", "acoustic guitar"]
    for segment in segments:
        assert [len(units) for units in segment.units] == [2] * 4
        for units in segment.units:
            assert all(unit.values.shape == segment.spectrogram.shape for unit in units)


def test_finished_study_is_drawn_again_without_training(finished, monkeypatch, capsys):
    def fail(*arguments, **options):
        pytest.fail("a finished run was trained or predicted again")

    before = (finished / "report.md").read_text()
    monkeypatch.setattr(runs.experiment, "run", fail)
    monkeypatch.setattr(han_visualisations, "load_explainer", fail)
    assert study(finished, "--quick", "--repeats=2", "--rows=lrelu_0.33") == 0
    after = (finished / "report.md").read_text()
    assert after.partition("## Provenance")[0] == before.partition("## Provenance")[0]
    assert study(finished, "--quick", "--repeats=3") == 1
    assert "other settings (repeats)" in capsys.readouterr().err


def test_errors_are_one_line(tmp_path, capsys):
    for words, message in (
        (["--repeats=0"], "--repeats 0: expected at least 1"),
        (["--rows=magic"], "--rows magic: matches none of tanh"),
    ):
        assert study(tmp_path, *words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_interrupted_figures_continue_with_the_next_split(tmp_path, monkeypatch, capsys):
    """The positions of a finished split are not computed again."""
    computed, module = [], han_visualisations
    splits = types.SimpleNamespace(training="training", validation="validation")
    monkeypatch.setattr(
        module, "load_explainer", lambda _: types.SimpleNamespace(frequencies_hz=np.arange(3.0))
    )
    monkeypatch.setattr(module.data, "load", lambda _: None)
    monkeypatch.setattr(module.data, "split_clips", lambda *_, **__: splits)
    monkeypatch.setattr(
        module,
        "_sample",
        lambda clips, *_, **__: (types.SimpleNamespace(labels=np.eye(2), clips=clips), None),
    )
    monkeypatch.setattr(
        module, "activations", lambda _, windows: dict.fromkeys(module.LAYERS, windows.clips)
    )
    monkeypatch.setattr(module, "same_class", lambda *_: 0.5)

    def embed(clips, *, seed):
        computed.append(clips)
        if len(computed) == len(module.LAYERS) + 2:
            raise KeyboardInterrupt
        return np.zeros((2, 2))

    monkeypatch.setattr(module, "embed", embed)
    path, config = tmp_path / "v.npz", types.SimpleNamespace(data=None, seed=0)

    def compute():
        return module.load_or_compute(path, config, tmp_path, classes=(), quick=True)

    with pytest.raises(KeyboardInterrupt):
        compute()
    assert not path.exists()
    computed[:] = ["interrupted"] * len(module.LAYERS) * 2
    arrays = compute()
    assert computed[len(module.LAYERS) * 2 :] == ["validation"] * len(module.LAYERS)
    assert [file.name for file in tmp_path.iterdir()] == [
        "v.npz"
    ] and arrays.keys() == compute().keys()
    assert "t-SNE, validation clips: 100%" in capsys.readouterr().err
