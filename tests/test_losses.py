"""Losses compared with the equations of Keras in NumPy float64."""

import jax
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from irec_jax import losses
from irec_jax.errors import UserError

RNG = np.random.default_rng(0)
MULTI_HOT = (RNG.random((6, 11)) < 0.3).astype(np.float32)
ONE_HOT = np.eye(11, dtype=np.float32)[RNG.integers(11, size=6)]
SOFT = RNG.random((6, 11)).astype(np.float32)


def sigmoid(logits):
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


def keras_binary(logits, labels, label_smoothing=0.0):
    p = sigmoid(logits)
    y = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return np.mean(-(y * np.log(p) + (1.0 - y) * np.log(1.0 - p)), axis=-1)


def keras_categorical(logits, labels, label_smoothing=0.0):
    p = sigmoid(logits)
    y = labels * (1.0 - label_smoothing) + label_smoothing / labels.shape[-1]
    return -np.sum(y * np.log(p / p.sum(axis=-1, keepdims=True)), axis=-1)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True).astype(np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


def keras_softmax(logits, labels, label_smoothing=0.0):
    y = labels * (1.0 - label_smoothing) + label_smoothing / labels.shape[-1]
    return -np.sum(y * np.log(softmax(logits)), axis=-1)


REFERENCES = {
    "binary_cross_entropy": keras_binary,
    "categorical_cross_entropy": keras_categorical,
    "softmax_cross_entropy": keras_softmax,
}
OUTPUTS = {
    "binary_cross_entropy": sigmoid,
    "categorical_cross_entropy": sigmoid,
    "softmax_cross_entropy": softmax,
}


def test_every_loss_has_a_reference():
    assert REFERENCES.keys() == losses.CLASSIFICATION.keys()


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("arguments", [{}, dict(label_smoothing=0.1)], ids=str)
def test_loss_matches_keras(name, arguments):
    loss = losses.create(name, **arguments)
    logits = RNG.normal(0, 4, (6, 11)).astype(np.float32)
    for labels in (MULTI_HOT, ONE_HOT, SOFT, np.zeros_like(SOFT)):
        expected = REFERENCES[name](logits, labels, **arguments)
        np.testing.assert_allclose(loss(logits, labels), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(loss(logits[0], labels[0]), expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", REFERENCES)
def test_extreme_logits_are_exact(name):
    signs = np.array([[1, 1, -1], [-1, -1, -1], [1, -1, -1], [-1, 1, 1]])
    logits = (100.0 * signs).astype(np.float32)
    labels = np.array([[0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.float32)
    # Manual result, accurate to e^-100: the outputs are 1 and e^-100.
    expected = {
        "binary_cross_entropy": [100, 100 / 3, 0, 100],
        "categorical_cross_entropy": [100 + np.log(2), np.log(3), 0, 100 + np.log(2)],
        "softmax_cross_entropy": [200 + np.log(2), np.log(3), 0, 200 + np.log(2)],
    }[name]
    loss = losses.create(name)
    np.testing.assert_allclose(loss(logits, labels), expected, rtol=1e-6, atol=1e-6)
    gradient = jax.grad(lambda logits: loss(logits, labels).sum())(logits)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", REFERENCES)
def test_gradient_matches_a_finite_difference(name):
    logits = RNG.normal(0, 2, 11).astype(np.float32)
    gradient = jax.grad(losses.create(name))(logits, MULTI_HOT[0])
    step = 1e-6 * np.eye(11)
    above, below = (REFERENCES[name](logits[None] + d, MULTI_HOT[0]) for d in (step, -step))
    np.testing.assert_allclose(gradient, (above - below) / 2e-6, atol=1e-5)


def test_loss_of_several_labels_is_minimal_at_equal_outputs():
    labels = np.array([1.0, 1.0, 0.0], np.float32)
    loss = losses.create("categorical_cross_entropy")
    best = loss(np.array([3.0, 3.0, -100.0], np.float32), labels)
    np.testing.assert_allclose(best, 2 * np.log(2), rtol=1e-5)
    assert loss(np.array([3.0, 2.0, -100.0], np.float32), labels) > best
    assert loss(np.array([3.0, 2.0, -100.0], np.float32), 0 * labels) == 0


@pytest.mark.parametrize("name", REFERENCES)
def test_half_precision_logits_are_computed_in_float32(name):
    logits = RNG.normal(0, 4, (6, 11)).astype(np.float16)
    actual = losses.create(name)(logits, MULTI_HOT)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, REFERENCES[name](logits, MULTI_HOT), rtol=1e-5)


@pytest.mark.parametrize("name", REFERENCES)
def test_probabilities_match_the_loss(name):
    logits = RNG.normal(0, 4, (6, 11)).astype(np.float32)
    expected = OUTPUTS[name](logits)
    np.testing.assert_allclose(losses.activation(name)(logits), expected, rtol=1e-5)


@pytest.mark.usefixtures("unchecked")
def test_invalid_arguments_are_reported_in_one_line():
    with pytest.raises(UserError, match="unknown loss 'binary_crossentropy': did you mean"):
        losses.create("binary_crossentropy")
    with pytest.raises(UserError, match="did you mean 'label_smoothing'"):
        losses.create("binary_cross_entropy", label_smothing=0.1)
    with pytest.raises(UserError, match="unknown argument"):
        losses.create("binary_cross_entropy", logits=0)
    for value in (1.0, -0.1, "a"):
        with pytest.raises(UserError, match="loss.label_smoothing="):
            losses.create("categorical_cross_entropy", label_smoothing=value)
    with pytest.raises(UserError, match="loss.floor_db='low': expected a number"):
        losses.create("log_mean_squared_error", floor_db="low")
    with pytest.raises(AssertionError, match="logits and labels must both have shape"):
        losses.binary_cross_entropy(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))


def test_regression_losses_match_numpy():
    estimate, target = RNG.normal(size=(2, 5, 7, 3)).astype(np.float32)
    expected = {
        "mean_absolute_error": np.abs(estimate - target).mean(axis=(1, 2)),
        "mean_squared_error": np.square(estimate - target).mean(axis=(1, 2)),
        "log_mean_squared_error": 10
        * np.log10(np.square(estimate - target).mean(axis=(1, 2)) + 1e-3),
    }
    assert expected.keys() == losses.REGRESSION.keys()
    for name, value in expected.items():
        result = losses.create(name)(estimate, target)
        np.testing.assert_allclose(result, value, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", losses.REGRESSION)
def test_regression_losses_reject_arrays_of_different_shapes(name):
    estimate = np.zeros((5, 7, 3), np.float32)
    with pytest.raises(AssertionError):
        losses.create(name)(estimate, estimate[:, :1])


def test_log_error_of_a_perfect_estimate_is_the_floor():
    target = RNG.normal(size=(2, 5)).astype(np.float32)
    loss = losses.create("log_mean_squared_error", floor_db=-40.0)
    np.testing.assert_allclose(loss(target, target), -40.0, rtol=1e-5)
    gradient = jax.grad(lambda x: loss(x, target).sum())(target)
    np.testing.assert_array_equal(gradient, 0)


def test_balanced_class_weights_match_scikit_learn():
    counts = np.array([3, 1, 0, 12])
    targets = np.repeat(np.arange(4), counts)
    expected = compute_class_weight("balanced", classes=np.unique(targets), y=targets)
    weights = losses.class_weights("balanced", counts)
    np.testing.assert_allclose(weights[counts > 0], expected)
    # On average an example has weight 1.
    example_weights = losses.example_weights(np.eye(4)[targets], weights)
    np.testing.assert_allclose(example_weights, weights[targets])
    assert example_weights.mean() == pytest.approx(1.0)


def test_effective_class_weights_match_the_formula_of_the_paper():
    counts, beta = np.array([1, 40, 700, 0, 30_000]), 0.999
    # Effective number of n samples: sum of beta^i for i < n.
    effective = np.array([sum(beta**i for i in range(n)) for n in counts])
    inverse = 1 / effective[counts > 0]
    weights = losses.class_weights("effective", counts)
    # They sum to the number of classes, as in Cui et al. (2019), section 4.
    np.testing.assert_allclose(weights[counts > 0], 4 * inverse / inverse.sum(), rtol=1e-9)
    assert weights[3] == 1.0
    # Between no weights and balanced ones.
    balanced = losses.class_weights("balanced", counts)
    assert 1 < weights[1] / weights[2] < balanced[1] / balanced[2]


def test_weight_of_an_example_is_the_mean_of_its_classes():
    labels = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]], np.float32)
    weights = losses.example_weights(labels, np.array([0.5, 1.0, 4.0]))
    np.testing.assert_allclose(weights, [0.5, 2.5, 5.5 / 3, 1.0])


def test_unknown_class_weights_are_reported():
    with pytest.raises(UserError, match="loss.class_weights 'balance': did you mean 'balanced'"):
        losses.class_weights("balance", np.ones(3))
