"""Benchmark of bags and of predictions over time, without PyTorch."""

import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import multi_instance, networks
from irec_jax.models.multi_instance import MultiInstanceNetwork


def test_step_on_bags_reduces_the_loss():
    settings = dict(num_classes=13, filters=(2,), dense=4)
    features = np.random.default_rng(0).standard_normal((4, 3, 6, 8), np.float32)
    labels = np.eye(13, dtype=np.float32)[:4]
    bags = MultiInstanceNetwork(networks=[models.create("convnet", **settings)], num_classes=13)
    params = networks.init_variables(bags, features)["params"]

    def loss(log_probabilities, labels):
        return losses.log_binary_cross_entropy(*log_probabilities, labels)

    start, step = networks.jax_step(bags, params, loss, features, labels)
    assert start > 0.3
    assert [step() for _ in range(150)][-1] < start


def test_recogniser_predicts_each_instance_of_a_recording_once():
    recogniser = multi_instance.create_recogniser(num_frames=4)
    audio = np.random.default_rng(0).normal(0, 0.1, 10 * 1024 + 1).astype(np.float32)
    result = recogniser.recognize(audio, sample_rate_hz=recogniser.sample_rate_hz)
    assert result.window_scores.shape == (3, 13)
    np.testing.assert_allclose(result.times_s, (np.arange(3) + 0.5) * 4 * 1024 / 44_100)
