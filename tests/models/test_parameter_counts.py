"""Parameter counts of all networks; a network missing from the list fails."""

import jax
import jax.numpy as jnp
import pytest

from irec_jax import models

CRNN = {"image": (2, 150, 150), "steps": (441, 300), "num_steps": ()}
COUNTS = [  # name, arguments, shape(s) of the features, parameters
    ("convnet", dict(num_classes=11), (43, 128), 1_446_123),
    ("convnet", dict(num_classes=11), (129, 128), 1_446_123),
    ("convnet", dict(num_classes=13, activation="relu"), (16, 128), 1_448_173),
    ("convnet", dict(num_classes=11, activation="prelu"), (43, 128), 1_446_123 + 1_984),
    ("dense", dict(num_classes=11), (442_000,), 40_188_107),
    ("dense", dict(num_classes=3, units=(5,)), (7,), 58),
    ("recurrent", dict(num_classes=5, cell="rnn"), (294, 300), 17_805),
    ("recurrent", dict(num_classes=5, cell="lstm"), (294, 300), 70_455),
    ("recurrent", dict(num_classes=5, cell="gru"), (294, 300), 52_905),
    ("recurrent", dict(num_classes=5, bidirectional=True), (294, 300), 140_905),
    ("recurrent", dict(num_classes=5, head="per_step"), (294, 300), 70_455),
    ("recurrent", dict(num_classes=5, dense=(50,)), (294, 300), 70_200 + 2_550 + 255),
    ("recurrent", dict(num_classes=5, hidden=(50, 20)), (294, 300), 70_200 + 5_680 + 105),
    (
        "recurrent",
        dict(num_classes=11, hidden=(22,), dense=(2048, 32, 1024), activation="lrelu_0.01"),
        (884_000, 1),
        159_851,
    ),
    # Counts for three input channels, although all channels are equal.
    ("image_cnn", dict(num_classes=5, net="b1"), (150, 150), 55_285),
    ("image_cnn", dict(num_classes=5, net="b2"), (2, 150, 150), 58_565),
    ("image_cnn", dict(num_classes=5, net="b3"), (150, 150), 63_717),
    ("image_cnn", dict(num_classes=5, net="b4"), (150, 150), 128_869),
    # The CNN without its classifier of 129 * 5 = 645; the LSTM on 300 samples and 128 units
    # 4 * (300 + 128 + 1) * 128 = 219,648; the classifier 645.
    ("crnn", dict(num_classes=5, net="b1"), CRNN, 55_285 + 219_648),
    ("crnn", dict(num_classes=5, net="b2"), CRNN, 58_565 + 219_648),
    ("crnn", dict(num_classes=5, net="b3"), CRNN, 63_717 + 219_648),
    ("crnn", dict(num_classes=5, net="b4"), CRNN, 128_869 + 219_648),
    # Encoder 1,581,936, decoder 1,981,186 with batch normalisation and without biases; dense layers
    # 32,768 * 128 + 128 and back.
    # Convolutions 1,298,664 with two numbers per filter for the normalisation; dense layers
    # 385 * 384 and 385 * 11.
    (
        "tagger",
        dict(num_classes=11, filters=(24, 48, 96, 96, 192, 192, 384), dense=384),
        (90, 80),
        1_450_739,
    ),
    ("unet", dict(bottleneck=()), (2048, 128), 1_581_936 + 1_981_186),
    ("unet", dict(), (2048, 128), 3_563_122 + 32_768 * 128 + 128 + 128 * 32_768 + 32_768),
    # Convolutions, then 16 * 1 * 1024 values to 128 units and 11 classes.
    ("spectrogram_cnn", dict(num_classes=11), (2048, 128), 6_302_960 + 16_384 * 128 + 128 + 1_419),
    # The projection 129 * 50 = 6,450, the LSTM 70,200 as above, the classifier 51 * 5 = 255.
    ("crnn", dict(num_classes=5, net="b1", hidden=50), CRNN, 55_285 - 645 + 6_450 + 70_200 + 255),
]


@pytest.mark.parametrize("name, arguments, shape, expected", COUNTS)
def test_parameter_count(name, arguments, shape, expected):
    def zeros(sizes):  # the only scalar, num_steps, is a count
        return jnp.zeros((1, *sizes), float if sizes else int)

    model = models.create(name, **arguments)
    features = jax.tree.map(zeros, shape, is_leaf=lambda node: isinstance(node, tuple))
    variables = jax.eval_shape(
        lambda key: model.init(key, features, train=False), jax.random.key(0)
    )
    assert sum(p.size for p in jax.tree.leaves(variables["params"])) == expected


def test_every_network_is_listed():
    assert {name for name, *_ in COUNTS} == set(models.MODELS)
