"""Files of a recognition report: contents, warnings, and behaviour on write errors."""

import dataclasses
import json
import math
import os
import re

import matplotlib.image
import numpy as np
import pytest
import report_pages

import data_builders
from irec_jax.errors import UserError
from irec_jax.evaluation import pieces, recognition
from irec_jax.inference import aggregation
from irec_jax.reports import page, provenance
from irec_jax.reports import recognition_report as report

CLASSES = ("cel", "flu", "pia", "kazoo | reed")
HISTORY = [
    {"epoch": 1, "train_loss": 2.0, "valid_loss": 1.9},
    {"epoch": 2, "train_loss": 1.5, "valid_loss": float("nan")},
]
REPORTED = {
    "dataset": "irmas",
    "source": "A paper, table 4",
    "rows": [
        {"setting": "theirs", "micro_p": 0.655, "micro_f1": 0.602},
        {"setting": "older", "macro_f1": 0.432},
    ],
}


def _predictions(seed, num_clips=40):
    generator = np.random.default_rng(seed)
    labels = np.eye(4)[generator.integers(4, size=num_clips)]
    labels[::3, 0] = 1
    windows = [np.clip(0.5 * row + 0.6 * generator.random((3, 4)), 0, 1) for row in labels]
    names = [str(i) for i in range(num_clips)]
    contradictory = np.zeros(num_clips, bool)
    return recognition.Predictions(names, names, labels, windows, CLASSES, contradictory)


def _report(dataset="gm_irmas", seed=0, predictions=None, **options):
    evaluation = recognition.evaluate(
        predictions or _predictions(seed), _predictions(9), num_resamples=20
    )
    source = provenance.collect(
        dataset=dataset,
        version="1.0.0",
        config="tiny-mono22k",
        split="test",
        seed=seed,
        durations_s={"train": 12.3456},
    )
    return report.assemble(
        evaluation,
        system="han",
        provenance=source,
        rendered=data_builders.describe(dataset).rendered,
        reported=REPORTED,
        **options,
    )


@pytest.fixture(scope="module")
def complete_report():
    baseline = recognition.compact(
        recognition.evaluate(_predictions(3), _predictions(4), num_resamples=20)
    )
    runs = [_report(seed=seed) for seed in (0, 1, 2)]
    return _report(
        baselines={"guess": baseline}, history=HISTORY, repeats=report.summarize_repeats(runs)
    )


def _text(page):
    """Return the text of a page without the padding of tables."""
    return re.sub(" +", " ", page.read_text())


def test_page_links_all_figures(complete_report, tmp_path):
    page = report.write(complete_report, tmp_path / "deep" / "folder")
    folder = page.parent
    names = {"class_f1.png", "thresholds.png", "confusion.png", "training.png"}
    assert {p.name for p in folder.iterdir()} == names | {"report.html", "report.json", "report.md"}
    text = page.read_text()
    assert set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)) == names
    for name in names:
        picture = matplotlib.image.imread(folder / name)
        assert min(picture.shape[:2]) > 500 and picture[..., :3].std() > 0.05  # not blank


def test_html_page_has_the_structure_of_all_reports(complete_report, tmp_path):
    report.write(complete_report | {"reported": REPORTED}, tmp_path)
    page = report_pages.check((tmp_path / "report.html").read_text(), num_pictures=4)
    assert page.title == "han on gm_irmas: predominant instruments"
    assert page.texts("p")[0].startswith("Micro F1 ") and "kazoo | reed" in page.texts("td")
    assert page.texts("figcaption")[0] == "F1 by class on the test split, at thresholds on S2"
    data = "Data: gm_irmas 1.0.0, tiny-mono22k, rendered audio. Command: "
    assert all(data in caption for caption in page.texts("figcaption") if "Command" in caption)


def test_json_contains_no_nan_and_has_the_documented_keys(complete_report, tmp_path):
    report.write(complete_report, tmp_path)

    def reject_constant(name):
        raise AssertionError(f"{name} in report.json")

    decoded = json.loads((tmp_path / "report.json").read_text(), parse_constant=reject_constant)
    assert decoded["dataset"] == "gm_irmas" and decoded["rendered"] is True
    assert {"fixed", "validation", "oracle"} <= set(decoded["thresholds"])
    for kind in ("fixed", "validation", "oracle"):
        assert {"threshold", "micro", "macro", "per_class"} <= set(decoded["thresholds"][kind])
        micro = decoded["thresholds"][kind]["micro"]
        assert micro["f1"] == complete_report["thresholds"][kind]["micro"]["f1"]
    assert decoded["history"][1]["valid_loss"] is None
    assert decoded["provenance"]["durations_s"] == {"train": 12.346}


def test_page_states_scores_data_and_baselines(complete_report, tmp_path):
    text = report.write(complete_report, tmp_path).read_text()
    fixed = complete_report["thresholds"]["fixed"]
    assert f"Micro F1 {fixed['micro']['f1']:.3f} [" in text
    assert "rendered audio (gm_irmas): not comparable with scores on IRMAS" in text
    assert (
        "guess" in text
        and "oracle (best micro F1 on test)" in text
        and "40 clips of 40 songs" in text
    )
    assert "A paper" not in text  # scores on another dataset
    assert "top: mean of the largest quarter of the window probabilities" in text
    assert not re.search(r"\bTOP\b|Debug run", text)
    assert page.CLIP_SCORES.keys() == aggregation.AGGREGATIONS.keys()
    assert "Mean ± standard deviation of 3 runs (seeds 0, 1, 2)" in text
    assert "Warning" not in text and not re.search(r"\bnan\b", text)
    for table in re.findall(r"(?m)(?:^\|.*\n)+", text):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table  # a vertical bar in a class name does not end the cell


def test_page_of_a_debug_run_on_own_sounds_says_so_and_names_the_folder(tmp_path):
    config = "MY_SOUNDS-mono22k-8ae1056ff8f4"
    assert page.data_name({"name": "gm_irmas", "version": "1.0.0", "config": "tiny-mono22k"}) == (
        "gm_irmas 1.0.0, tiny-mono22k"
    )
    complete = _report("folder", debug=True)
    complete["provenance"]["dataset"]["config"] = config
    complete["data"]["test"] = dict(num_clips=1, num_songs=1, num_labels=1)
    text = report.write(complete, tmp_path).read_text()
    assert text.split("\n\n")[1].startswith("> **Debug run: trained briefly on little data")
    assert "(1 clip of 1 song, 1 label, 4 classes)" in text
    assert "Data: folder 1.0.0, MY_SOUNDS, mono22k. Command:" in text
    assert config in text.partition("## Provenance")[2] and text.count(config) == 1


def test_page_shows_scores_by_piece(tmp_path):
    test = dataclasses.replace(_predictions(0), songs=[f"piece {i % 3}" for i in range(40)])
    labels = test.labels.copy()
    labels[::3, 1], labels[1::3, 2] = 0, 1  # never in one piece, always in another
    test = dataclasses.replace(test, labels=labels)
    guess = dataclasses.replace(test, windows=_predictions(3).windows)
    entry = pieces.evaluate(test, {"guess": guess}, num_resamples=20)
    complete = _report(predictions=test) | {"pieces": entry}
    text = _text(report.write(complete, tmp_path))
    macro, lead = entry["model"]["macro"], entry["differences"]["guess"]["macro"]
    low, high = lead["auc_interval"]
    assert "## Scores by piece" in text and "each of the 3 test pieces" in text
    (model,) = re.findall(r"^\| \*\*han\*\* \| (.*) \|$", text, flags=re.MULTILINE)
    assert [cell.split()[0] for cell in model.split(" | ")] == [
        f"{macro[score]:.3f}" for score in pieces.SCORES
    ]
    (row,) = re.findall(r"^\| han minus guess \| (.*) \|$", text, flags=re.MULTILINE)
    assert row.split(" | ")[3] == f"{lead['auc']:+.3f} [{low:+.3f}, {high:+.3f}]"
    flute, piano = (
        re.findall(rf"^\| {name} \| (.*) \|$", text.partition("pieces without P")[2], re.MULTILINE)
        for name in ("flute", "piano")
    )
    assert flute[0].split(" | ")[-2:] == ["1", "1"]
    assert piano[0].split(" | ")[-2:] == ["0", "1"]
    report_pages.check((tmp_path / "report.html").read_text(), num_pictures=3)
    assert "## Scores by piece" not in _text(report.write(_report(), tmp_path))


def test_page_on_irmas_shows_published_scores(tmp_path):
    text = _text(report.write(_report("irmas"), tmp_path))
    assert "rendered" not in text and "not comparable" not in text
    assert "A paper, table 4" in text and "Not measured by this run." in text
    assert "| theirs | 0.655 | – | 0.602 | – | – | – |" in text


def test_page_warns_about_a_collapsed_model(tmp_path):
    constant = dataclasses.replace(_predictions(0), windows=[np.array([[0.9, 0, 0, 0.8]])] * 40)
    text = report.write(_report(predictions=constant), tmp_path).read_text()
    assert "Warning: collapsed." in text and "' is predicted for 100% of the clips" in text


def test_no_confusion_matrix_without_single_label_clips(tmp_path):
    double = dataclasses.replace(_predictions(0), labels=np.tile([1, 1, 0, 0], (40, 1)))
    text = report.write(_report(predictions=double), tmp_path).read_text()
    assert "No test clip has exactly one label." in text
    assert not (tmp_path / "confusion.png").exists()


def test_repeats_are_summarised_by_mean_and_standard_deviation():
    runs = [_report(seed=seed) for seed in (4, 5, 6)]
    summary = report.summarize_repeats(runs)
    accuracies = [run["predominant"]["accuracy"] for run in runs]
    assert summary["accuracy"]["values"] == accuracies
    assert summary["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 3)
    assert "train_accuracy" not in summary  # missing in some runs
    values = [run["thresholds"]["oracle"]["macro"]["f1"] for run in runs]
    macro_f1 = summary["thresholds"]["oracle"]["macro"]["f1"]
    assert (
        summary["num_runs"] == 3 and summary["seeds"] == [4, 5, 6] and macro_f1["values"] == values
    )
    assert macro_f1["mean"] == pytest.approx(sum(values) / 3)
    expected_sd = math.sqrt(sum((v - macro_f1["mean"]) ** 2 for v in values) / 2)
    assert macro_f1["sd"] == pytest.approx(expected_sd)
    single_run = report.summarize_repeats(runs[:1])
    assert math.isnan(single_run["thresholds"]["fixed"]["micro"]["f1"]["sd"])


PROTOCOL = {
    "split": "window",
    "description": "window: here and there",
    "unit": "windows",
    "examples": "windows of 2 s every 1 s",
    "sides": {
        "training": {"num_examples": 80, "num_songs": 31, "per_class": {}},
        "validation": {"num_examples": 12, "num_songs": 7, "per_class": {}},
        "test": {"num_examples": 40, "num_songs": 40, "per_class": {}},
    },
    "num_songs_on_both_sides": 5,
}
BEST = {"epoch": 2, "train_loss": 1.5, "valid_loss": 1.4, "train_top1": 0.875, "valid_top1": 0.625}


def test_page_on_single_label_clips_starts_with_the_accuracy(tmp_path):
    single_label = _predictions(0)
    single_label = dataclasses.replace(
        single_label, labels=np.eye(4)[single_label.labels.argmax(1)]
    )
    baseline = recognition.compact(
        recognition.evaluate(single_label, single_label, num_resamples=20)
    )
    complete_report = _report(
        predictions=single_label, protocol=PROTOCOL, best_epoch=BEST, baselines={"guess": baseline}
    )
    predominant = complete_report["predominant"]
    assert complete_report["best_epoch"] == BEST | {"test_accuracy": predominant["accuracy"]}
    text = _text(report.write(complete_report, tmp_path))
    low, high = predominant["accuracy_interval"]
    first = text.split("\n\n")[2]
    assert first.startswith(
        f"**Accuracy {predominant['accuracy']:.3f} [{low:.3f}, {high:.3f}], balanced"
    )
    assert "gm_irmas, split by *window: here and there* (40 windows of 40 songs" in first
    assert "chance 0.250" in first and f"guess {baseline['predominant']['accuracy']:.3f}" in first
    assert "Micro F1 " in text.split("\n\n")[3]
    page = report_pages.check((tmp_path / "report.html").read_text(), num_pictures=3)
    assert page.texts("figcaption")[0] == "Confusion matrix of test clips with one label"
    assert [line.split(".")[0] for line in page.texts("warning")[1:]] == ["Warning: data leakage"]
    assert "leakage.** 5 of the 40 test songs" in text
    assert "Examples are windows of 2 s every 1 s. Accuracy at epoch 2" in text
    assert "| training | 80 | 31 | 0.875 |" in text and "| validation | 12 | 7 | 0.625 |" in text
    assert f"| test | 40 | 40 | {predominant['accuracy']:.3f} |" in text
    repeats = report.summarize_repeats([complete_report, complete_report])
    assert repeats["valid_accuracy"] == {"mean": 0.625, "sd": 0.0, "values": [0.625] * 2}
    page_of_repeats = report.write(complete_report | {"repeats": repeats}, tmp_path).read_text()
    assert "training accuracy 0.875 ± 0.000, validation accuracy 0.625 ± 0.000" in page_of_repeats
    # No warning without shared songs; with several labels per clip, F1 comes before accuracy.
    without_leakage = _report(protocol=PROTOCOL | {"num_songs_on_both_sides": 0})
    page = report.write(without_leakage, tmp_path).read_text()
    assert "leakage" not in page and "**Micro F1" in page and "**Accuracy" not in page


def test_full_disk_is_reported_and_keeps_the_old_report(complete_report, tmp_path, monkeypatch):
    report.write(complete_report, tmp_path)
    old = (tmp_path / "report.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device") as error:
        report.write(complete_report | {"system": "other"}, tmp_path)
    assert "\n" not in str(error.value)
    assert (tmp_path / "report.json").read_bytes() == old
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


def test_file_in_place_of_the_report_folder_is_reported(complete_report, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        report.write(complete_report, tmp_path / "taken")
