"""Seipel's network on the CPU: training on bags of instances, and prediction over time.

    python -m irec_jax.benchmarks.multi_instance [--frames 112] [--instances 5] [--minutes 10]

The training step on bags is compared with an ordinary step on the same number of instances, which
in turn is compared with a step of the same network in PyTorch (channels_last). All three use
spectrograms with 128 bands. Predictions over time are computed from a waveform in windows
with a context of three instances, as in `irec recognize`. The time for computing the spectrograms
alone is listed as well.
"""

import functools

import jax
import numpy as np

from irec_jax import config as configs
from irec_jax import losses, models
from irec_jax.benchmarks import networks, timing, train_step
from irec_jax.inference.prediction import create_predict
from irec_jax.models.multi_instance import MultiInstanceNetwork
from irec_jax.systems.recogniser import Recogniser
from irec_jax.tasks import Recognition

NUM_BANDS, NUM_CLASSES = 128, 13
SETTINGS = dict(num_classes=NUM_CLASSES, activation="relu", pooled_dropout=0.0)
BAGS = "irec-jax, bags"


def implementations(
    num_frames: int, num_instances: int, batch_size: int
) -> dict[str, networks.Implementation]:
    """Return the training steps on instances, on bags and in PyTorch, with the same weights.

    Args:
        num_frames: frames per instance.
        num_instances: instances per bag.
        batch_size: instances per batch, a multiple of `num_instances`.
    """
    rng = np.random.default_rng(0)
    features = rng.standard_normal((batch_size, num_frames, NUM_BANDS), np.float32)
    labels = (rng.random((batch_size, NUM_CLASSES)) < 0.3).astype(np.float32)
    model = models.create("convnet", **SETTINGS)
    params = networks.init_variables(model, features[:1])["params"]
    bags = MultiInstanceNetwork(networks=[model.copy()], num_classes=NUM_CLASSES)
    bag_features = features.reshape(-1, num_instances, num_frames, NUM_BANDS)
    bag_labels = labels.reshape(-1, num_instances, NUM_CLASSES).max(axis=1)

    def bag_loss(log_probabilities, labels):
        log_p, log_not_p = log_probabilities
        return losses.log_binary_cross_entropy(log_p, log_not_p, labels)

    layers = train_step.torch_layers(num_classes=NUM_CLASSES, slope=0.0, pooled_dropout=0.0)
    torch_loss = networks.import_torch().nn.functional.binary_cross_entropy_with_logits
    return {
        networks.OURS: networks.jax_step(
            model, params, losses.binary_cross_entropy, features, labels
        ),
        BAGS: networks.jax_step(bags, {"networks_0": params}, bag_loss, bag_features, bag_labels),
        networks.PEER: networks.torch_step(
            networks.torch_sequential(layers, params), torch_loss, features[:, None], labels
        ),
    }


def create_recogniser(num_frames: int) -> Recogniser:
    """Return a recogniser with a context of three instances and random weights."""
    config = configs.load(f"seipel.py:frames={num_frames},context=3")
    task, _, sample_rate_hz = configs.check_config(config)
    assert isinstance(task, Recognition)
    return Recogniser(
        task=task,
        predict=create_predict(task, *task.init(jax.random.key(0))),
        sample_rate_hz=sample_rate_hz,
        hop_samples=round(config.evaluation.hop_s * sample_rate_hz),
        label_samples=round(config.data.label_s * sample_rate_hz),
        aggregation=config.evaluation.aggregation,
        thresholds={"fixed": 0.5},
    )


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "multi_instance",
        arguments,
        frames=(112, 1, "frames per instance"),
        instances=(5, 1, "instances per bag"),
        batch=(64, 1, "instances per batch, rounded down to complete bags"),
        minutes=(10, 1, "length of the recording in minutes"),
        rounds=(10, 1, timing.ROUNDS),
    )
    print(timing.environment(networks.PACKAGES))
    batch_size = max(1, options.batch // options.instances) * options.instances
    steps = implementations(options.frames, options.instances, batch_size)
    print(
        f"\ntraining step on {batch_size} instances of {options.frames} frames in bags of "
        f"{options.instances}, {options.rounds} rounds"
    )
    networks.check_losses({name: steps[name].loss for name in (networks.OURS, networks.PEER)})
    seconds = timing.alternate(
        {name: implementation.step for name, implementation in steps.items()},
        num_rounds=options.rounds,
    )
    ours_s, bags_s, peer_s = (
        np.median(seconds[name]) for name in (networks.OURS, BAGS, networks.PEER)
    )
    print(timing.table(seconds, ours=networks.OURS))
    print(f"ratio bags / instances: {bags_s / ours_s:.3f} (1: bags cost no extra time)")
    print(f"ratio PyTorch / irec-jax: {peer_s / ours_s:.3f} (above 1: irec-jax is faster)")

    recogniser = create_recogniser(options.frames)
    rate_hz = recogniser.sample_rate_hz
    num_samples = round(60 * options.minutes) * rate_hz
    audio = np.random.default_rng(0).normal(0, 0.1, num_samples).astype(np.float32)
    frontend = jax.jit(recogniser.task.frontend)
    size = recogniser.task.window_samples
    windows = audio[: num_samples // size * size].reshape(-1, size)
    rounds = {
        "predictions": functools.partial(recogniser.recognize, audio, sample_rate_hz=rate_hz),
        "spectrograms alone": lambda: [
            jax.block_until_ready(frontend(window[None])) for window in windows
        ],
    }
    seconds = timing.alternate(rounds, num_rounds=max(1, options.rounds // 5))
    length = f"{options.minutes:g} minutes of audio"
    print(f"\npredictions every {options.frames} frames with a context of 3 instances, {length}")
    print(timing.table(seconds, ours="predictions"))
    print(f"{num_samples / rate_hz / np.median(seconds['predictions']):.1f} x real time")


if __name__ == "__main__":
    timing.run(main, on_cpu=True)
