"""Calibration against scikit-learn and on probabilities with a known distortion."""

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression

from irec_jax.inference import calibration
from irec_jax.metrics.calibration import expected_calibration_error, top_calibration_error

RNG = np.random.default_rng(4)


def draw(num_clips, scale=1.0, offsets=(0.0, 0.0, 0.0)):
    """Return labels and the distorted probabilities of a recogniser."""
    logits = RNG.normal(0, 2, (num_clips, 3))
    labels = RNG.random(logits.shape) < scipy.special.expit(logits)
    return labels, scipy.special.expit((logits - np.array(offsets)) / scale)


def test_a_known_distortion_is_undone():
    labels, probabilities = draw(20_000, scale=0.4, offsets=(1.0, -0.5, 0.0))
    fitted = calibration.fit(labels, probabilities)
    assert fitted.scale == pytest.approx(0.4, rel=0.05)
    np.testing.assert_allclose(fitted.offsets, (1.0, -0.5, 0.0), atol=0.1)
    before = expected_calibration_error(labels, probabilities)
    after = expected_calibration_error(labels, fitted(probabilities))
    assert before > 0.1 and after < 0.01


def test_one_class_agrees_with_logistic_regression_without_penalty():
    labels, probabilities = draw(5000, scale=0.7)
    fitted = calibration.fit(labels[:, :1], probabilities[:, :1])
    reference = LogisticRegression(C=1e9).fit(
        scipy.special.logit(probabilities[:, :1]), labels[:, 0]
    )
    assert fitted.scale == pytest.approx(reference.coef_[0, 0], rel=0.01)
    assert fitted.offsets[0] == pytest.approx(reference.intercept_[0], abs=0.01)


def test_extreme_probabilities_and_absent_classes_stay_finite():
    labels = np.array([[1, 0], [0, 0], [1, 0]])
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], np.float32)
    fitted = calibration.fit(labels, probabilities)
    result = fitted(probabilities)
    assert result.dtype == np.float32 and np.isfinite(result).all()
    assert np.isfinite([fitted.scale, *fitted.offsets]).all()


def test_calibration_errors_by_hand():
    # Bins [0, .5) and [.5, 1]: |.1 - 0| for three values, |.8 - .5| for two.
    labels = np.array([[0, 0, 0], [1, 0, 0]])
    probabilities = np.array([[0.1, 0.1, 0.1], [0.8, 0.8, 0.4]])
    measured = expected_calibration_error(labels, probabilities, num_bins=2)
    assert measured == pytest.approx((abs(0.7) + abs(1 - 1.6)) / 6)
    # The strongest classes: .1, which is absent, and the first .8, which is present.
    assert top_calibration_error(labels, probabilities, num_bins=2) == pytest.approx(0.3 / 2)
