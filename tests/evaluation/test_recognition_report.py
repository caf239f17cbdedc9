"""Scores of the recognition report, compared with scikit-learn and with manual counts."""

import dataclasses
import json

import numpy as np
import pytest
import sklearn.metrics
from example_predictions import CLASSES, make_predictions

from irec_jax.errors import UserError
from irec_jax.evaluation import recognition
from irec_jax.inference import aggregation
from irec_jax.metrics import confidence
from irec_jax.reports import writing

TEST, VALIDATION = make_predictions(), make_predictions(50, seed=1, max_labels=1)


@pytest.fixture(scope="module")
def evaluation():
    return recognition.evaluate(TEST, VALIDATION, num_resamples=100)


@pytest.mark.parametrize("name", ["s1", "s2", "max", "top"])
@pytest.mark.parametrize("kind", recognition.KINDS)
def test_scores_match_sklearn(evaluation, name, kind):
    metrics = evaluation["aggregations"][name]["thresholds"][kind]
    threshold = metrics["threshold"]
    if kind == "validation_per_class":
        assert list(threshold) == list(CLASSES)
        threshold = np.array(list(threshold.values()))
    predicted_labels = aggregation.get(name)(TEST.windows) >= threshold
    for average in ("micro", "macro"):
        expected = sklearn.metrics.precision_recall_fscore_support(
            TEST.labels, predicted_labels, average=average, zero_division=0
        )[:3]
        actual = [metrics[average][key] for key in ("precision", "recall", "f1")]
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
        low, high = metrics[average]["f1_interval"]
        assert low < metrics[average]["f1"] < high
    by_class = sklearn.metrics.precision_recall_fscore_support(
        TEST.labels, predicted_labels, average=None, zero_division=0
    )
    for k, scores in enumerate(metrics["per_class"].values()):
        actual = [scores[key] for key in ("precision", "recall", "f1", "num_positives")]
        np.testing.assert_allclose(actual, [column[k] for column in by_class], rtol=1e-12)
        assert scores["num_predicted"] == predicted_labels[:, k].sum()


def test_oracle_is_the_best_threshold_and_tuning_ignores_test_labels(evaluation):
    for scores in evaluation["aggregations"].values():
        blocks, curve = scores["thresholds"], scores["curve"]
        for kind in ("fixed", "validation"):
            assert blocks["oracle"]["micro"]["f1"] >= blocks[kind]["micro"]["f1"]
        assert blocks["oracle"]["micro"]["f1"] == pytest.approx(max(curve["micro_f1"]))
    inverted = dataclasses.replace(TEST, labels=1 - TEST.labels)
    evaluation_of_inverted = recognition.evaluate(inverted, VALIDATION, num_resamples=2)
    for kind in ("fixed", "validation", "validation_per_class"):
        threshold, threshold_of_inverted = (
            e["thresholds"][kind]["threshold"] for e in (evaluation, evaluation_of_inverted)
        )
        assert threshold == threshold_of_inverted


def test_main_thresholds_belong_to_the_chosen_aggregation(evaluation):
    assert evaluation["aggregation"] == "s2"
    assert evaluation["thresholds"] == evaluation["aggregations"]["s2"]["thresholds"]
    assert evaluation["thresholds"]["fixed"]["threshold"] == 0.5
    s1_evaluation = recognition.evaluate(
        TEST, VALIDATION, aggregation="s1", threshold=0.333, num_resamples=2
    )
    assert s1_evaluation["thresholds"]["fixed"]["threshold"] == 0.333
    assert s1_evaluation["thresholds"] == s1_evaluation["aggregations"]["s1"]["thresholds"]
    assert s1_evaluation["aggregations"]["s2"]["thresholds"]["fixed"]["threshold"] == 0.5
    blocks = s1_evaluation["thresholds"]
    assert blocks["oracle"]["micro"]["f1"] >= blocks["fixed"]["micro"]["f1"]


def test_ranking_uses_unscaled_scores(evaluation):
    mean = np.array([w.mean(0, dtype=np.float64) for w in TEST.windows])
    ranking = evaluation["ranking"]
    expected = sklearn.metrics.roc_auc_score(TEST.labels, mean, average=None)
    np.testing.assert_allclose(list(ranking["auc"]["per_class"].values()), expected)
    assert ranking["auc"]["macro"] == pytest.approx(expected.mean())
    expected = sklearn.metrics.label_ranking_average_precision_score(TEST.labels, mean)
    assert ranking["lrap"] == pytest.approx(expected)


def test_confusion_matrix_counts_only_single_label_clips():
    test = make_predictions(150, seed=5, max_labels=2)
    matrix = np.zeros((4, 4), int)
    for labels, windows in zip(test.labels, test.windows, strict=True):
        if labels.sum() == 1:
            matrix[labels.argmax(), windows.mean(0).argmax()] += 1
    assert (matrix != matrix.T).any() and 0 < matrix.sum() < 150
    result = recognition.evaluate(test, VALIDATION, num_resamples=2)["predominant"]
    np.testing.assert_array_equal(result["confusion"], matrix)
    assert result["num_clips"] == matrix.sum()
    assert result["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())


def test_accuracy_is_compared_with_chance_and_the_most_frequent_class():
    test = make_predictions(150, seed=5, max_labels=2)
    training = np.repeat(np.eye(4), [3, 9, 4, 9], axis=0)  # 'flu' and 'voi' are equally frequent
    result = recognition.evaluate(
        test, VALIDATION, training_labels=training, num_resamples=40, seed=2
    )["predominant"]
    single = test.labels.sum(1) == 1
    truth = test.labels[single].argmax(1)
    songs = np.array(test.songs)[single]
    strongest = np.array([w.mean(0).argmax() for w in test.windows])[single]
    assert result["all_clips"] is False and result["chance"] == 0.25
    cases = ((result, strongest), (result["majority"], np.full(len(truth), 1)))
    for metrics, predicted in cases:
        assert metrics["accuracy"] == np.mean(truth == predicted)
        assert metrics["balanced_accuracy"] == pytest.approx(
            sklearn.metrics.balanced_accuracy_score(truth, predicted)
        )
        intervals = confidence.accuracy_intervals(
            truth, predicted, songs, num_classes=4, num_resamples=40, seed=2
        )
        assert metrics["accuracy_interval"] == intervals.accuracy.tolist()
        assert metrics["balanced_accuracy_interval"] == intervals.balanced.tolist()
    assert result["majority"]["class"] == "flu"
    low, high = result["accuracy_interval"]
    assert low < result["accuracy"] < high
    # Without training labels there is no majority baseline.
    alone = recognition.evaluate(VALIDATION, VALIDATION, num_resamples=2)
    assert "majority" not in alone["predominant"] and alone["predominant"]["all_clips"] is True
    compact = recognition.compact(alone)["predominant"]
    assert compact["accuracy"] == alone["predominant"]["accuracy"] and "confusion" not in compact


def test_sizes_and_notes(evaluation):
    sizes = evaluation["data"]["test"]
    assert sizes["num_clips"] == 80 and sizes["num_songs"] == len(set(TEST.songs))
    assert sizes["num_labels"] == TEST.labels.sum() and sizes["num_contradictory_clips"] == 2
    notes = " ".join(evaluation["notes"])
    assert "biased" in notes and "2 test clips are byte-identical" in notes
    same = recognition.evaluate(VALIDATION, VALIDATION, num_resamples=2)
    assert "biased" not in " ".join(same["notes"])


def test_collapse_is_checked_at_the_fixed_threshold(evaluation):
    assert evaluation["collapse"]["warning"] is None
    constant = dataclasses.replace(TEST, windows=[np.array([[0.1, 0.2, 0.9, 0.8]])] * 80)
    result = recognition.evaluate(constant, VALIDATION, num_resamples=2)["collapse"]
    assert result["collapsed"] and result["most_frequent_predicted"]["labels"] == ["pia", "voi"]


def test_zero_probabilities_and_absent_classes_give_a_complete_report():
    labels = np.tile(np.array([[0, 1, 1, 0]], np.float32), (20, 1))
    zeros = dataclasses.replace(
        make_predictions(20), labels=labels, windows=[np.zeros((2, 4), np.float32)] * 20
    )
    result = recognition.evaluate(zeros, VALIDATION, num_resamples=5)
    assert result["thresholds"]["fixed"]["micro"]["f1"] == 0
    assert "Labels that no test clip has: cel, voi." in " ".join(result["notes"])
    decoded = json.loads(writing.strict_json(result))
    assert decoded["predominant"]["accuracy"] is None and decoded["ranking"]["auc"]["macro"] is None


def test_invalid_input_is_rejected():
    with pytest.raises(UserError, match="aggregation 's3'"):
        recognition.evaluate(TEST, VALIDATION, aggregation="s3")
    with pytest.raises(ValueError, match="clip 7.*NaN"):
        windows = list(TEST.windows)
        windows[7] = np.full((1, 4), np.nan)
        dataclasses.replace(TEST, windows=windows)
    with pytest.raises(ValueError, match="clip 0"):
        dataclasses.replace(TEST, windows=[np.zeros((3, 5))] * 80)
    with pytest.raises(ValueError, match="songs"):
        dataclasses.replace(TEST, songs=["a"])
    with pytest.raises(ValueError, match="no clips"):
        recognition.Predictions([], [], np.zeros((0, 4)), [], CLASSES, [])
    with pytest.raises(ValueError, match="different classes"):
        recognition.evaluate(TEST, dataclasses.replace(VALIDATION, classes=("a", "b", "c", "d")))
