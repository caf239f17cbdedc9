"""Training step of Han's network on the CPU, compared with PyTorch in channels_last.

    python -m irec_jax.benchmarks.train_step [--batch 32 128] [--rounds 20] [--stock]

A step consists of the forward pass with dropout, the loss (categorical cross-entropy on sigmoid
outputs divided by their sum), the backward pass and the Adam update, on windows of 1 s (43 frames x
128 bands) and 11 classes. All implementations start from the same weights; before timing, the
benchmark checks that they compute the same loss without dropout. `--stock` also times the network
built from plain Flax layers.
"""

import flax.linen as nn
import jax
import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import networks, timing

NUM_FRAMES, NUM_BANDS, NUM_CLASSES = 43, 128, 11
FILTERS, DENSE, DROPOUT, DENSE_DROPOUT, SLOPE = (32, 64, 128, 256), 1024, 0.25, 0.5, 0.33


class StockConvNet(nn.Module):
    """Han's network in plain Flax layers, with the same parameters as `models.ConvNet`."""

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


def torch_layers(
    *, num_classes: int = NUM_CLASSES, slope: float = SLOPE, pooled_dropout: float = DROPOUT
) -> list:
    """Return the PyTorch layers of Han's network, or of Seipel's if the slope is 0 (ReLU)."""
    torch = networks.import_torch()
    layers, num_inputs = [], 1
    for block, num_filters in enumerate(FILTERS, 1):
        for _ in range(2):
            layers.append(torch.nn.Conv2d(num_inputs, num_filters, 3, padding=2))
            layers.append(torch.nn.LeakyReLU(slope, inplace=True))
            num_inputs = num_filters
        last = block == len(FILTERS)
        layers.append(torch.nn.AdaptiveMaxPool2d(1) if last else torch.nn.MaxPool2d(3))
        layers.append(torch.nn.Dropout(pooled_dropout if last else DROPOUT))
    layers += [torch.nn.Flatten(), torch.nn.Linear(num_inputs, DENSE)]
    layers += [torch.nn.LeakyReLU(slope, inplace=True), torch.nn.Dropout(DENSE_DROPOUT)]
    return [*layers, torch.nn.Linear(DENSE, num_classes)]


def torch_loss(outputs, labels):
    """Return the mean categorical cross-entropy on sigmoid outputs divided by their sum."""
    outputs = outputs.sigmoid()
    shares = outputs / outputs.sum(-1, keepdim=True)
    return -(labels * shares.log()).sum(-1).mean()


def implementations(batch_size: int, *, stock: bool) -> dict[str, networks.Implementation]:
    """Return all implementations by name, with the same weights."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((batch_size, NUM_FRAMES, NUM_BANDS), np.float32)
    labels = np.eye(NUM_CLASSES, dtype=np.float32)[rng.integers(NUM_CLASSES, size=batch_size)]
    model = models.create("convnet", num_classes=NUM_CLASSES, activation="lrelu_0.33")
    params = networks.init_variables(model, features[:1])["params"]
    arguments = (params, losses.categorical_cross_entropy, features, labels)
    torch_model = networks.torch_sequential(torch_layers(), params)
    steps = {
        networks.OURS: networks.jax_step(model, *arguments),
        networks.PEER: networks.torch_step(torch_model, torch_loss, features[:, None], labels),
    }
    return steps | ({"stock Flax": networks.jax_step(StockConvNet(), *arguments)} if stock else {})


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "train_step",
        arguments,
        batch=([32, 128], 1, "batch sizes"),
        rounds=(20, 1, timing.ROUNDS),
        stock=(False, None, "also time plain Flax layers (slow)"),
    )
    print(timing.environment(networks.PACKAGES))
    for size in options.batch:
        steps = implementations(size, stock=options.stock)
        networks.compare(f"Han's network, batch {size}", steps, num_rounds=options.rounds)


if __name__ == "__main__":
    timing.run(main, on_cpu=True)
