"""Scores averaged over pieces, compared with scikit-learn and naive loops."""

import math

import numpy as np
import pytest
import sklearn.metrics
from example_predictions import make_predictions

from irec_jax.evaluation import pieces
from irec_jax.metrics.confidence import song_weights

CLASSES = ("flute", "piano", "tuba", "violin")
#: Instances of each piece; instances of a piece need not be adjacent.
SIZES = {"a": 7, "b": 12, "c": 5, "d": 9, "e": 1}


def make_instances(seed=0):
    """Return labels, scores of two systems, and pieces.

    The flute is absent from two pieces, the piano plays all the time in two, the tuba is never
    predicted by the first system and absent from all but one piece, the violin has ties.
    """
    generator = np.random.default_rng(seed)
    names = generator.permutation([name for name, size in SIZES.items() for _ in range(size)])
    labels = generator.random((len(names), 4)) < 0.5
    labels[np.isin(names, ["a", "d"]), 0] = False
    labels[np.isin(names, ["b", "d"]), 1] = True
    labels[:, 2] &= names == "c"
    systems = [np.clip(0.3 * labels + 0.7 * generator.random(labels.shape), 0, 1) for _ in range(2)]
    systems[0][:, 2] *= 0.4
    systems[0][:, 3] = np.round(systems[0][:, 3], 1)
    return labels, *systems, names.tolist()


def naive(labels, scores, names, threshold=0.5):
    """Return class -> score -> value by piece, by scikit-learn where the score is defined."""
    table = {}
    for k, name in enumerate(CLASSES):
        values = {score: {} for score in pieces.SCORES}
        for piece in sorted(set(names)):
            inside = np.array(names) == piece
            true, score = labels[inside, k], scores[inside, k]
            predicted = score >= threshold
            if true.any() or predicted.any():
                values["precision"][piece] = sklearn.metrics.precision_score(
                    true, predicted, zero_division=0
                )
            if true.any():
                values["recall"][piece] = sklearn.metrics.recall_score(true, predicted)
                values["f1"][piece] = sklearn.metrics.f1_score(true, predicted)
            if true.any() and not true.all():
                values["auc"][piece] = sklearn.metrics.roc_auc_score(true, score)
        table[name] = values
    return table


def mean(values):
    values = [value for value in values if not math.isnan(value)]
    return sum(values) / len(values) if values else math.nan


def naive_means(table, drawn):
    """Return class -> score -> mean over the drawn pieces that have the score."""
    return {
        name: {score: mean([v[piece] for piece in drawn if piece in v]) for score, v in row.items()}
        for name, row in table.items()
    }


def macro(means):
    return {score: mean([row[score] for row in means.values()]) for score in pieces.SCORES}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_match_sklearn_in_each_piece(seed):
    labels, scores, _, names = make_instances(seed)
    report = pieces.piece_scores(labels, scores, names, CLASSES, num_resamples=3)
    table = naive(labels, scores, names)
    means = naive_means(table, sorted(SIZES))
    assert report["num_pieces"] == len(SIZES) and list(report["per_class"]) == list(CLASSES)
    for name, row in table.items():
        block = report["per_class"][name]
        for score, by_piece in row.items():
            np.testing.assert_allclose(block[score], means[name][score], rtol=1e-12)
            assert block["num_pieces"][score] == len(by_piece)
            assert block["num_left_out"][score] == len(SIZES) - len(by_piece)
    for score, value in macro(means).items():
        assert report["macro"][score] == pytest.approx(value, rel=1e-12)


def test_undefined_scores_are_left_out_and_counted():
    labels, scores, _, names = make_instances()
    blocks = pieces.piece_scores(labels, scores, names, CLASSES, num_resamples=3)["per_class"]
    assert blocks["flute"]["num_left_out"]["recall"] >= 2
    # The piano plays all the time in b and d, and piece e has a single instance.
    assert blocks["piano"]["num_left_out"]["auc"] == 3
    assert blocks["piano"]["num_left_out"]["f1"] == int(not labels[names.index("e"), 1])
    # The tuba plays in c only and is never predicted.
    tuba = blocks["tuba"]
    assert tuba["num_pieces"] == {"precision": 1, "recall": 1, "f1": 1, "auc": 1}
    assert tuba["precision"] == tuba["recall"] == tuba["f1"] == 0 < tuba["auc"]


def test_a_false_alarm_in_a_piece_without_the_class_has_precision_0():
    labels = np.array([[True], [True], [False], [False]])
    scores = np.array([[0.9], [0.8], [0.7], [0.1]])
    report = pieces.piece_scores(labels, scores, list("xxyy"), ["oboe"], num_resamples=3)
    oboe = report["per_class"]["oboe"]
    assert (oboe["precision"], oboe["recall"], oboe["f1"]) == (0.5, 1.0, 1.0)
    assert oboe["num_pieces"] == {"precision": 2, "recall": 1, "f1": 1, "auc": 0}
    assert math.isnan(oboe["auc"]) and math.isnan(report["macro"]["auc"])


def test_thresholds_may_differ_by_class():
    labels, scores, _, names = make_instances()
    thresholds = np.array([0.2, 0.4, 0.1, 0.7])
    report = pieces.piece_scores(
        labels, scores, names, CLASSES, threshold=thresholds, num_resamples=3
    )
    for name, threshold in zip(CLASSES, thresholds, strict=True):
        row = naive(labels, scores, names, threshold)[name]
        for score in pieces.SCORES:
            assert report["per_class"][name][score] == pytest.approx(mean(row[score].values()))


def naive_resamples(num_resamples, seed):
    """Return the pieces drawn in each resample."""
    order = sorted(SIZES)
    for weights in song_weights(len(order), num_resamples=num_resamples, seed=seed):
        for row in weights:
            yield [name for name, n in zip(order, row, strict=True) for _ in range(int(n))]


def check_interval(actual, resampled, level):
    """Compare an interval with the percentiles of the resamples that are not NaN."""
    defined = [value for value in resampled if not math.isnan(value)]
    ends = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    np.testing.assert_allclose(actual, ends, rtol=1e-9, atol=1e-12)


def test_intervals_match_a_loop_over_resamples():
    labels, scores, _, names = make_instances()
    report = pieces.piece_scores(
        labels, scores, names, CLASSES, num_resamples=200, level=0.8, seed=4
    )
    table = naive(labels, scores, names)
    resampled = [naive_means(table, drawn) for drawn in naive_resamples(200, 4)]
    for score in pieces.SCORES:
        macros = [macro(means)[score] for means in resampled]
        check_interval(report["macro"][f"{score}_interval"], macros, 0.8)
        for name in CLASSES:
            values = [means[name][score] for means in resampled]
            check_interval(report["per_class"][name][f"{score}_interval"], values, 0.8)
    # In some resamples no piece has a tuba.
    assert any(math.isnan(means["tuba"]["recall"]) for means in resampled)


def test_paired_differences_match_a_loop_over_resamples():
    labels, first, second, names = make_instances()
    options = dict(num_resamples=200, level=0.8, seed=4)
    result = pieces.paired_difference(
        labels, first, second, names, CLASSES, thresholds=(0.5, 0.3), **options
    )
    tables = naive(labels, first, names), naive(labels, second, names, 0.3)

    def differences(drawn):
        one, other = (naive_means(table, drawn) for table in tables)
        return {
            name: {score: one[name][score] - other[name][score] for score in pieces.SCORES}
            for name in CLASSES
        }

    observed = differences(sorted(SIZES))
    resampled = [differences(drawn) for drawn in naive_resamples(200, 4)]
    for score in pieces.SCORES:
        assert result["macro"][score] == pytest.approx(macro(observed)[score])
        macros = [macro(row)[score] for row in resampled]
        check_interval(result["macro"][f"{score}_interval"], macros, 0.8)
        for name in CLASSES:
            assert result["per_class"][name][score] == pytest.approx(observed[name][score])
            values = [row[name][score] for row in resampled]
            check_interval(result["per_class"][name][f"{score}_interval"], values, 0.8)


def test_pairing_narrows_the_interval_of_similar_systems():
    labels, first, _, names = make_instances()
    generator = np.random.default_rng(3)
    second = np.clip(first + 0.02 * generator.standard_normal(first.shape), 0, 1)
    paired = pieces.paired_difference(labels, first, second, names, CLASSES)["macro"]
    alone = pieces.piece_scores(labels, first, names, CLASSES)["macro"]
    assert np.ptp(paired["auc_interval"]) < np.ptp(alone["auc_interval"])
    same = pieces.paired_difference(labels, first, first, names, CLASSES)["macro"]
    assert all(same[score] == 0 and same[f"{score}_interval"] == [0, 0] for score in pieces.SCORES)


def test_one_piece_has_no_interval():
    labels, scores, other, _ = make_instances()
    names = ["a"] * len(labels)
    for block in (
        pieces.piece_scores(labels, scores, names, CLASSES)["macro"],
        pieces.paired_difference(labels, scores, other, names, CLASSES)["macro"],
    ):
        assert np.isfinite(block["f1"]) and np.isnan(block["f1_interval"]).all()


def test_entry_of_a_report_compares_the_model_with_each_baseline():
    test = make_predictions(60, num_songs=6)
    baselines = {"other": make_predictions(60, seed=7, num_songs=6)}
    baselines["other"] = baselines["other"].__class__(
        **{**vars(test), "windows": baselines["other"].windows}
    )
    entry = pieces.evaluate(test, baselines, threshold=0.4, num_resamples=20)
    scores = {
        name: np.array([w.mean(0) for w in system.windows])
        for name, system in (("model", test), *baselines.items())
    }
    options = dict(pieces=test.songs, classes=test.classes, num_resamples=20)
    model = pieces.piece_scores(test.labels, scores["model"], threshold=0.4, **options)
    assert entry["model"]["macro"]["f1"] == pytest.approx(model["macro"]["f1"])
    assert entry["model"]["num_pieces"] == len(set(test.songs)) and entry["threshold"] == 0.4
    difference = entry["differences"]["other"]["macro"]
    for score in pieces.SCORES:
        baseline = entry["baselines"]["other"]["macro"][score]
        assert difference[score] == pytest.approx(entry["model"]["macro"][score] - baseline)


def test_frames_have_the_scores_of_their_instance():
    labels, scores, _, names = make_instances()
    generator = np.random.default_rng(3)
    # Instances of 2.5 frames; the last one of a piece may be incomplete.
    num_frames = {name: int(2.5 * size - 1) for name, size in SIZES.items()}
    frame_labels = {name: generator.random((n, 4)) < 0.4 for name, n in num_frames.items()}
    expected_labels, expected_scores, of_frame = [], [], []
    for name in sorted(SIZES):
        instances = scores[np.array(names) == name]
        for frame in range(num_frames[name]):
            expected_labels.append(frame_labels[name][frame])
            expected_scores.append(instances[math.floor(frame / 2.5)])
            of_frame.append(name)
    options = dict(frames_per_instance=2.5, threshold=0.4, num_resamples=5)
    result = pieces.frame_scores(scores, names, CLASSES, frame_labels, **options)
    expected = np.array(expected_labels), np.array(expected_scores)
    table = naive(*expected, of_frame, threshold=0.4)
    for name in CLASSES:
        for score in pieces.SCORES:
            value = mean(list(table[name][score].values()))
            assert result["per_class"][name][score] == pytest.approx(value, nan_ok=True)
    micro = sklearn.metrics.f1_score(expected[0], expected[1] >= 0.4, average="micro")
    assert result["micro"]["f1"] == pytest.approx(micro)
    assert result["num_frames"] == len(of_frame)
    with pytest.raises(ValueError, match="expected labels for the piece 'a'"):
        pieces.frame_scores(scores, names, CLASSES, {}, **options)
    with pytest.raises(ValueError, match="scores: expected"):
        pieces.frame_scores(scores[1:], names, CLASSES, frame_labels, **options)


def test_invalid_input_is_rejected():
    labels, scores, _, names = make_instances()
    with pytest.raises(ValueError, match="labels: expected"):
        pieces.piece_scores(labels, scores, names[1:], CLASSES)
    with pytest.raises(ValueError, match="labels: expected"):
        pieces.piece_scores(labels[:0], scores[:0], [], CLASSES)
    with pytest.raises(ValueError, match="differ in shape"):
        pieces.piece_scores(labels, scores[:, :3], names, CLASSES)
    with pytest.raises(ValueError, match="NaN"):
        pieces.piece_scores(labels, np.where(scores > 0.9, np.nan, scores), names, CLASSES)
    with pytest.raises(ValueError, match="num_resamples=0"):
        pieces.piece_scores(labels, scores, names, CLASSES, num_resamples=0)
