"""Multi-label metrics compared with scikit-learn, with ties and empty classes."""

import warnings

import numpy as np
import pytest
import sklearn.metrics

from irec_jax.metrics import multilabel


def _case(seed, num_clips, num_classes, levels):
    """Return labels and scores with many ties and with classes without positives or negatives."""
    generator = np.random.default_rng(seed)
    labels = generator.random((num_clips, num_classes)) < generator.uniform(0.05, 0.6, num_classes)
    scores = generator.integers(levels, size=labels.shape) / levels + 0.3 * labels
    scores = np.round(scores, 1) if levels < 50 else scores
    if num_classes > 3:
        labels[:, 0] = False  # no positives
        labels[:, 1] = True  # no negatives
        labels[:, 2], scores[:, 2] = False, -1.0  # neither positives nor predictions
    return labels, scores


CASES = [
    (seed, num_clips, num_classes, levels)
    for seed, (num_clips, num_classes) in enumerate([(1, 5), (2, 2), (7, 3), (60, 11), (400, 5)])
    for levels in (2, 5, 1000)
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_precision_recall_f1_match_sklearn(case):
    labels, scores = _case(*case)
    for threshold in (-2.0, 0.3, 0.5, 0.9, 5.0):
        predictions = scores >= threshold
        counts = multilabel.count(labels, predictions)
        for average, actual in (
            (None, multilabel.by_class(counts)),
            ("micro", multilabel.micro(counts)),
            ("macro", multilabel.macro(counts)),
        ):
            expected_scores = sklearn.metrics.precision_recall_fscore_support(
                labels, predictions, average=average, zero_division=0
            )[:3]
            for name, value, expected in zip(actual._fields, actual, expected_scores, strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-12, err_msg=f"{average} {name}")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_roc_auc_matches_sklearn(case):
    labels, scores = _case(*case)
    areas = multilabel.roc_auc(labels, scores)
    for column, area in enumerate(areas):
        if labels[:, column].any() and not labels[:, column].all():
            expected = sklearn.metrics.roc_auc_score(labels[:, column], scores[:, column])
            assert area == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(area)
    mean = multilabel.mean_roc_auc(labels, scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # mean of an empty array
        np.testing.assert_allclose(mean, np.nanmean(areas), rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_lrap_matches_sklearn(case):
    labels, scores = _case(*case)
    expected = sklearn.metrics.label_ranking_average_precision_score(labels, scores)
    assert multilabel.lrap(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_lrap_is_1_for_examples_with_no_or_all_labels():
    labels, scores = np.array([[0, 0], [1, 1]]), np.array([[0.1, 0.2], [0.3, 0.3]])
    assert multilabel.lrap(labels, scores) == 1.0


def test_accuracy_and_confusion_match_sklearn():
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(5, size=(2, 200))
    labels[labels == 3] = 2  # a class without examples
    assert multilabel.accuracy(labels, predictions) == sklearn.metrics.accuracy_score(
        labels, predictions
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns about the class without examples
        expected = sklearn.metrics.balanced_accuracy_score(labels, predictions)
    assert multilabel.balanced_accuracy(labels, predictions) == pytest.approx(expected)
    recalls = [(predictions[labels == k] == k).mean() for k in np.unique(labels)]
    assert multilabel.balanced_accuracy(labels, predictions) == pytest.approx(np.mean(recalls))
    np.testing.assert_array_equal(
        multilabel.confusion_matrix(labels, predictions, 5),
        sklearn.metrics.confusion_matrix(labels, predictions, labels=range(5)),
    )


def test_scores_of_empty_input_are_nan():
    empty = np.zeros((0, 3))
    assert multilabel.macro(multilabel.count(empty, empty)).f1 == 0.0
    assert np.isnan(multilabel.roc_auc(empty, empty)).all()
    assert np.isnan(multilabel.lrap(empty, empty))
    none = np.zeros(0, int), np.zeros(0, int)
    assert np.isnan(multilabel.accuracy(*none)) and np.isnan(multilabel.balanced_accuracy(*none))


def test_errors_for_invalid_input_name_the_argument():
    with pytest.raises(ValueError, match="labels .* predictions"):
        multilabel.count(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="NaN"):
        multilabel.lrap(np.ones((1, 2)), np.full((1, 2), np.nan))
