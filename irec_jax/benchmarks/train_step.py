"""One training step of Han's network on the CPU: JAX against PyTorch in channels_last.

    python -m irec_jax.benchmarks.train_step [--batch 32 128] [--rounds 20] [--stock]

The step is all of forward pass with dropout, loss (categorical cross-entropy on sigmoid outputs
divided by their sum), backward pass and Adam, on 1 s windows (43 frames x 128 bands) and 11
classes. Both frameworks start from the same weights; that they compute the same loss is checked,
with dropout off, before anything is timed. `--stock` adds the network of plain Flax layers.

The contestants take turns in one process, as many threads as cores each. The ratio is PyTorch's
median time divided by ours: above 1 ours is faster.
"""

import argparse
import functools
import sys

import flax.linen as nn
import jax
import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import networks, timing
from irec_jax.errors import UserError

NUM_FRAMES, NUM_BANDS, NUM_CLASSES = 43, 128, 11
FILTERS, DENSE, DROPOUT, DENSE_DROPOUT, SLOPE = (32, 64, 128, 256), 1024, 0.25, 0.5, 0.33


class StockConvNet(nn.Module):
    """Han's network as one writes it in plain Flax; parameters as in `models.ConvNet`."""

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        x = features[..., None]
        for block, num_filters in enumerate(FILTERS, 1):
            for _ in range(2):
                x = nn.leaky_relu(nn.Conv(num_filters, (3, 3), padding=2)(x), SLOPE)
            x = nn.max_pool(x, (3, 3), (3, 3)) if block < len(FILTERS) else x.max((1, 2))
            x = nn.Dropout(DROPOUT)(x, deterministic=not train)
        x = nn.leaky_relu(nn.Dense(DENSE)(x), SLOPE)
        x = nn.Dropout(DENSE_DROPOUT)(x, deterministic=not train)
        return nn.Dense(NUM_CLASSES)(x)


def torch_layers() -> list:
    """Han's network in PyTorch.

    Raises:
        UserError: torch is not installed.
    """
    torch = networks.import_torch()
    layers, num_inputs = [], 1
    for block, num_filters in enumerate(FILTERS, 1):
        for _ in range(2):
            layers.append(torch.nn.Conv2d(num_inputs, num_filters, 3, padding=2))
            layers.append(torch.nn.LeakyReLU(SLOPE, inplace=True))
            num_inputs = num_filters
        last = block == len(FILTERS)
        layers.append(torch.nn.AdaptiveMaxPool2d(1) if last else torch.nn.MaxPool2d(3))
        layers.append(torch.nn.Dropout(DROPOUT))
    layers += [torch.nn.Flatten(), torch.nn.Linear(num_inputs, DENSE)]
    layers += [torch.nn.LeakyReLU(SLOPE, inplace=True), torch.nn.Dropout(DENSE_DROPOUT)]
    return [*layers, torch.nn.Linear(DENSE, NUM_CLASSES)]


def torch_loss(outputs, labels):
    """Categorical cross-entropy on sigmoid outputs, the mean over the batch."""
    outputs = outputs.sigmoid()
    shares = outputs / outputs.sum(-1, keepdim=True)
    return -(labels * shares.log()).sum(-1).mean()


def contestants(batch_size: int, *, stock: bool) -> dict[str, networks.Contestant]:
    """Every contestant's loss and step, by name, from the same weights.

    Raises:
        UserError: torch is not installed.
    """
    rng = np.random.default_rng(0)
    features = rng.standard_normal((batch_size, NUM_FRAMES, NUM_BANDS), np.float32)
    labels = np.eye(NUM_CLASSES, dtype=np.float32)[rng.integers(NUM_CLASSES, size=batch_size)]
    model = models.create("convnet", num_classes=NUM_CLASSES, activation="lrelu_0.33")
    init = jax.jit(model.init, static_argnames="train")
    params = init(jax.random.key(0, impl="rbg"), features[:1], train=False)["params"]
    ours = functools.partial(
        networks.jax_contestant,
        params=params,
        loss_of=losses.categorical_cross_entropy,
        features=features,
        labels=labels,
    )
    entries = {
        networks.OURS: ours(model),
        networks.PEER: networks.torch_contestant(
            torch_layers(), params, torch_loss, features[:, None], labels
        ),
    }
    return entries | ({"stock Flax": ours(StockConvNet())} if stock else {})


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.train_step")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128], help="batch sizes")
    parser.add_argument("--rounds", type=int, default=20, help="turns of every contestant")
    parser.add_argument("--stock", action="store_true", help="add plain Flax (slow)")
    options = parser.parse_args(arguments)

    print(timing.environment(("jax", "jaxlib", "flax", "optax", "torch")))
    for batch_size in options.batch:
        print(f"\ntraining step of Han's network, batch {batch_size}, {options.rounds} rounds")
        entries = contestants(batch_size, stock=options.stock)
        print(networks.compare(entries, num_rounds=options.rounds))


if __name__ == "__main__":
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
