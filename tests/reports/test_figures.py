"""Figures: contents read back from their artists, edge cases, and image files."""

import io

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from irec_jax import text
from irec_jax.errors import UserError
from irec_jax.reports import figures, recognition_figures, timeline


def _rendered(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer)
    buffer.seek(0)
    return matplotlib.image.imread(buffer)


def test_class_f1_bars_have_the_height_of_their_values():
    figure = recognition_figures.class_f1_bars(("cel", "x"), {"a": [0.25, 0.5], "b": [0.75, 1.0]})
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.25, 0.5, 0.75, 1.0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["cello", "x"]
    _rendered(figure)


def test_threshold_curve_marks_the_thresholds():
    figure = recognition_figures.threshold_curve(
        [0.1, 0.5, 1.0], [0.2, 0.6, 0.4], [0.1, 0.5, 0.3], marks={"fixed": 0.5}, score="S2"
    )
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_array_equal(lines["micro F1"].get_ydata(), [0.2, 0.6, 0.4])
    assert set(lines["fixed (0.50)"].get_xdata()) == {0.5}
    _rendered(figure)


def test_confusion_matrix_shows_counts_and_an_empty_row():
    figure = recognition_figures.confusion_matrix([[3, 1], [0, 0]], ("cel", "flu"))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["3", "1"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cello (4)", "flute (0)"]
    _rendered(figure)


@pytest.mark.parametrize(
    "valid, label", [([3, 1, 2], "lowest: epoch 2, 1.000"), ([np.nan] * 3, "")]
)
def test_training_curves_mark_the_best_epoch(valid, label):
    history = [{"epoch": i + 1, "train_loss": 1.0, "valid_loss": v} for i, v in enumerate(valid)]
    figure = recognition_figures.training_curves(history)
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["training", "validation"] + [label] * bool(label)
    _rendered(figure)


@pytest.mark.parametrize("num_windows", [1, 2, 39, 7199])
def test_timeline_spans_the_recording_and_shows_short_solos(num_windows):
    times_s = 0.5 + 0.5 * np.arange(num_windows)
    scores = np.zeros((num_windows, 3))
    scores[num_windows // 2, 1] = 0.9  # a single window, even in an hour
    figure = timeline.instruments_over_time(times_s, scores, ("cel", "flu", "my own"), 0.5, ["flu"])
    axes = figure.axes[0]
    assert axes.get_xlim() == (0.0, times_s[-1] + 0.5)
    mesh, *underlines = axes.collections[:2]
    assert mesh.get_array().max() == 0.9 and len(underlines) == 1
    first, last = underlines[0].get_paths()[0].vertices[:, 0][[0, 2]]
    assert min(first, last) <= times_s[num_windows // 2] <= max(first, last)
    weights = {t.get_text(): t.get_fontweight() for t in axes.get_yticklabels()}
    assert weights == {"cello": "normal", "flute": "bold", "my own": "normal"}
    assert 1 <= len([t for t in axes.get_xticks() if t <= axes.get_xlim()[1]]) <= 15
    assert _rendered(figure).shape[1] > 1000


def test_tracks_over_time_have_bars_where_they_play():
    activity = np.zeros((3, 1600))
    activity[0, 200:400] = 1
    activity[2, [100, 1598]] = 0.1, 1
    edges_s = np.arange(1601) / 100
    names = ["flute", "oboe", "a very long name of a track"]
    figure = timeline.tracks_over_time(edges_s, activity, names, -20.0)
    axes = figure.axes[0]
    rows = [bars for bars in axes.collections if isinstance(bars, PolyCollection)]
    spans = [
        [tuple(np.round(path.get_extents().intervalx, 6)) for path in bars.get_paths()]
        for bars in rows
    ]
    # Two frames share a column of the figure.
    assert spans == [[(2.0, 4.0)], [], [(1.0, 1.02), (15.98, 16.0)]]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["flute", "oboe", "…ry long name of a track"]
    assert axes.get_xlim() == (0, 16)


def test_clock_writes_hours_and_tenths_only_if_needed():
    seconds = (0, 59.9, 60, 61.5, 3600, 3725)
    assert [text.clock(s) for s in seconds] == [
        "0:00",
        "0:59.9",
        "1:00",
        "1:01.5",
        "1:00:00",
        "1:02:05",
    ]


def test_matplotlib_settings_stay_unchanged():
    original = dict(matplotlib.rcParams)
    recognition_figures.confusion_matrix(np.eye(2, dtype=int), ("a", "b"))
    assert dict(matplotlib.rcParams) == original


@pytest.mark.parametrize(
    "name, start", [("a.png", b"\x89PNG"), ("new/b.PDF", b"%PDF"), ("c.svg", b"<?xml")]
)
def test_save_uses_the_format_of_the_suffix(name, start, tmp_path):
    figure = recognition_figures.confusion_matrix(np.eye(2, dtype=int), ("a", "b"))
    figures.save(figure, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [p.name for p in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


def test_save_reports_unknown_formats_and_unwritable_paths(tmp_path):
    figure = recognition_figures.confusion_matrix(np.eye(2, dtype=int), ("a", "b"))
    with pytest.raises(UserError, match="ends with .png"):
        figures.save(figure, tmp_path / "a.txt")
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        figures.save(figure, tmp_path / "taken" / "a.png")
