"""The tagger: parts against a plain implementation, independence of the level, any length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.errors import UserError
from irec_jax.models import create

SMALL = dict(filters=(4, 6), kernels=(5, 3), strides=(2, 1), dense=8, dropout=0.0)


@pytest.fixture(scope="module")
def tagger():
    model = create("tagger", num_classes=3, dense_dropout=0.0, **SMALL)
    features = np.random.default_rng(0).normal(size=(2, 9, 8)).astype(np.float32)
    init = jax.jit(lambda key: model.init(key, features, train=False))
    return model, init(jax.random.key(1)), features


def test_output_equals_a_plain_implementation(tagger):
    model, variables, features = tagger
    params, stats = variables["params"], variables["batch_stats"]
    x = np.asarray(features)
    x = x - x.max(axis=(1, 2), keepdims=True)
    span = 70 * np.log(10) / 20
    x = (2 * np.maximum(x, -span) / span + 1)[..., None]
    for number, stride in ((1, 2), (2, 1)):
        block = params[f"Block_{number}"]
        x = jax.lax.conv_general_dilated(
            jnp.asarray(x),
            block["kernel"],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        norm, moments = block["BatchNorm_0"], stats[f"Block_{number}"]["BatchNorm_0"]
        x = (x - moments["mean"]) / np.sqrt(moments["var"] + 1e-3) * norm["scale"] + norm["bias"]
        x = np.maximum(x, 0)
    over_time = x.mean(axis=2)
    pooled = over_time.max(axis=1) + over_time.mean(axis=1)
    first, last = params["Dense_0"], params["Dense_1"]
    hidden = np.maximum(pooled @ first["kernel"] + first["bias"], 0)
    expected = hidden @ last["kernel"] + last["bias"]
    actual = jax.jit(lambda v: model.apply(v, features, train=False))(variables)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_output_does_not_depend_on_the_level_and_takes_any_length(tagger):
    model, variables, features = tagger
    apply = jax.jit(lambda x: model.apply(variables, x, train=False))
    louder = features + 3.0  # natural logarithms: 26 dB
    np.testing.assert_allclose(apply(louder), apply(features), atol=1e-5)
    for shape in ((1, 1, 1), (3, 40, 8)):
        assert apply(np.zeros(shape, np.float32)).shape == (shape[0], 3)


def test_invalid_settings_are_reported(tagger):
    with pytest.raises(UserError, match="one of each for every convolution"):
        create("tagger", num_classes=3, **SMALL | dict(strides=(1,))).init(
            jax.random.key(0), jnp.zeros((1, 8, 8)), train=False
        )
