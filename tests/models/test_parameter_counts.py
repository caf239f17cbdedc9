"""The number of parameters of every network; a network that is not listed here fails."""

import jax
import jax.numpy as jnp
import pytest

from irec_jax import models

COUNTS = [  # name, arguments, shape of the features, parameters
    ("convnet", dict(num_classes=11), (43, 128), 1_446_123),
    ("convnet", dict(num_classes=11), (129, 128), 1_446_123),
    ("convnet", dict(num_classes=13, activation="relu"), (16, 128), 1_448_173),
    ("convnet", dict(num_classes=11, activation="prelu"), (43, 128), 1_446_123 + 1_984),
]


@pytest.mark.parametrize("name, arguments, shape, expected", COUNTS)
def test_number_of_parameters(name, arguments, shape, expected):
    model = models.create(name, **arguments)
    variables = jax.eval_shape(
        lambda key: model.init(key, jnp.zeros((1, *shape)), train=False), jax.random.key(0)
    )
    assert sum(p.size for p in jax.tree.leaves(variables["params"])) == expected


def test_every_network_is_listed():
    assert {name for name, *_ in COUNTS} == set(models.MODELS)
