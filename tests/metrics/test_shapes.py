"""Wrong shapes: each metric refuses them at once, in one sentence, without filling the memory."""

import inspect
import tracemalloc

import numpy as np
import pytest

from irec_jax.metrics import (
    bss,
    confidence,
    multilabel,
    museval,
    scale_invariant,
    significance,
    spectral,
)

pytestmark = pytest.mark.usefixtures("unchecked")


def museval_scores(reference, estimated):
    return museval.museval_scores(reference, estimated, sample_rate_hz=100)


def f1_intervals(labels, predictions):
    return confidence.f1_intervals(labels, predictions, ["song"] * 6)


def auc_bootstrap(labels, scores):
    return significance.auc_bootstrap(labels, scores, ["song"] * 6)


def confusion_matrix(labels, predictions):
    return multilabel.confusion_matrix(labels, predictions, 3)


def accuracy_intervals(labels, predictions):
    return confidence.accuracy_intervals(labels, predictions, ["song"] * 6, num_classes=3)


#: Shapes of two arrays that each metric refuses.
SIGNALS = [
    ((66150, 2), (66150, 2)),
    ((2, 900), (2, 600)),
    ((2, 600), (2, 900)),
    ((3, 600), (2, 600)),
    ((2, 600), (600, 2)),
    ((2, 0), (2, 0)),
    ((0, 600), (0, 600)),
    ((0,), (0,)),
]
STACKS = [((), ()), ((600,), (600,)), ((2, 3, 600, 2), (2, 3, 600, 2))]
LABELS = [((), ()), ((6,), (6,)), ((6, 3), (3, 6)), ((6, 3), (5, 3)), ((6, 3), (6,))]
INDICES = [((), ()), ((6, 3), (6, 3)), ((6,), (5,)), ((6, 1), (6,))]
REFUSED = {
    bss.bss_eval_sources: [*SIGNALS, *STACKS, ((2, 600, 2), (2, 600, 2)), ((66150, 2), (2, 66150))],
    museval_scores: [*SIGNALS, *STACKS, ((66150, 2, 2), (66150, 2, 2)), ((2, 2, 600), (2, 2, 600))],
    scale_invariant.si_sdr: [*SIGNALS, ((), ()), ((3, 66150, 2), (3, 66150, 2))],
    spectral.amplitude_sdr: SIGNALS[1:],
    spectral.mdx_sdr: SIGNALS[1:],
    multilabel.count: LABELS,
    multilabel.roc_auc: [*LABELS, ((2, 6, 3), (2, 6, 3)), ((2, 66150), (2, 66150))],
    multilabel.mean_roc_auc: [*LABELS, ((2, 6, 3), (2, 6, 3)), ((2, 66150), (2, 66150))],
    multilabel.lrap: [*LABELS, ((2, 6, 3), (2, 6, 3)), ((2, 66150), (2, 66150))],
    multilabel.accuracy: INDICES,
    multilabel.balanced_accuracy: INDICES,
    confusion_matrix: INDICES,
    accuracy_intervals: [*INDICES, ((5,), (5,))],
    f1_intervals: [*LABELS, ((5, 3), (5, 3)), ((6, 66150), (6, 66150))],
    auc_bootstrap: [
        ((6, 3), (6, 3)),
        ((6, 3), (2, 6, 4)),
        ((6, 3), (2, 3, 6)),
        ((5, 3), (2, 5, 3)),
        ((6, 66150), (1, 6, 66150)),
    ],
    significance.independent_t_test: [((), ()), ((0,), (0,)), ((6, 3), (6, 3))],
    significance.paired_t_test: [((), ()), ((0,), (0,)), ((6, 3), (6, 3)), ((6,), (5,))],
}
CASES = [(metric, *shapes) for metric, grid in REFUSED.items() for shapes in grid]


@pytest.mark.parametrize(
    ("metric", "first", "second"), CASES, ids=lambda case: getattr(case, "__name__", str(case))
)
def test_wrong_shapes_are_refused_in_one_sentence(metric, first, second):
    arrays = np.ones(first, np.int64), np.ones(second, np.int64)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"\(|shape") as error:
            metric(*arrays)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(error.value)
    assert "\n" not in message and len(message) < 200
    assert "broadcast" not in message and "out of bounds" not in message
    assert peak_bytes < 30e6  # what a metric of such arrays would need is a hundred times that


def test_every_metric_of_two_arrays_is_in_the_grid():
    modules = (bss, confidence, multilabel, museval, scale_invariant, significance, spectral)
    public = {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith(("_", "check_"))
        and {"reference", "labels", "first"} & {*inspect.signature(function).parameters}
    }
    public -= {"prepare_references", "d_score"}  # of one array, and of broadcast numbers
    assert public == {metric.__name__ for metric in REFUSED}


def test_equations_that_do_not_fit_into_memory_are_refused():
    signals = np.ones((100, 600))
    with pytest.raises(ValueError, match=r"100 sources .* 41\.9 GB; score fewer sources"):
        bss.bss_eval_sources(signals, signals)
    with pytest.raises(ValueError, match="num_taps=10000000, the normal equations need"):
        bss.prepare_references(signals[:2], num_taps=10**7)
    with pytest.raises(ValueError, match="2 sources with 2 channels each"):
        stereo = np.ones((2, 600, 2))
        museval.museval_scores(stereo, stereo, sample_rate_hz=100, num_taps=10**5)


@pytest.mark.parametrize("rate", [0, -1, np.nan, np.inf])
def test_sample_rates_that_are_not_positive_are_refused(rate):
    with pytest.raises(ValueError, match="expected positive, finite numbers"):
        museval.museval_scores(np.ones((2, 600)), np.ones((2, 600)), sample_rate_hz=rate)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_class_indices_out_of_range_are_refused(labels):
    labels, predictions = np.array(labels), np.array([0, 0])
    for pair in ((labels, predictions), (predictions, labels)):
        with pytest.raises(ValueError, match="class indices from 0 to 2"):
            multilabel.confusion_matrix(*pair, 3)
        with pytest.raises(ValueError, match="class indices from 0 to 2"):
            confidence.accuracy_intervals(*pair, ["a", "b"], num_classes=3)


@pytest.mark.parametrize("options", [{"num_resamples": 0}, {"level": 0.0}, {"level": 95}])
def test_resamples_and_levels_out_of_range_are_refused(options):
    labels, songs = np.eye(3, dtype=int), ["a", "b", "c"]
    with pytest.raises(ValueError, match="expected at least one resample"):
        confidence.f1_intervals(labels, labels, songs, **options)
    with pytest.raises(ValueError, match="expected at least one resample"):
        confidence.accuracy_intervals(np.arange(3), np.arange(3), songs, num_classes=3, **options)
    with pytest.raises(ValueError, match="expected at least one resample"):
        significance.auc_bootstrap(labels, labels[None].astype(float), songs, **options)


def test_ranking_precision_of_groups_of_clips_is_that_of_single_clips(monkeypatch):
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, (50, 7)), rng.normal(size=(50, 7))
    expected = multilabel.lrap(labels, scores)
    monkeypatch.setattr(multilabel, "_MAX_COMPARISONS", 150)
    np.testing.assert_allclose(multilabel.lrap(labels, scores), expected, rtol=1e-12)
    singles = [multilabel.lrap(labels[i : i + 1], scores[i : i + 1]) for i in range(50)]
    np.testing.assert_allclose(np.mean(singles), expected, rtol=1e-12)
