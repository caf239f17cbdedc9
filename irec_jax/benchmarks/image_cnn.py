"""Training steps of Goel's networks B1 to B4 on the CPU, compared with PyTorch in channels_last.

    python -m irec_jax.benchmarks.image_cnn [--nets b1 b2 b3 b4] [--batch 64] [--rounds 20]

A step consists of the forward pass with dropout, the loss (softmax cross-entropy), the backward
pass and the Adam update, on images with 150 x 150 pixels and 5 classes. PyTorch's images have three
identical channels, as in Goel's paper; ours have one. Both frameworks start from the same weights;
before timing, the benchmark checks that they compute the same loss without dropout. `--no_dropout`
times the step without dropout.
"""

from typing import Any

import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import networks, timing
from irec_jax.models import image_cnn

SIZE, NUM_CLASSES = 150, 5


def torch_layers(model: image_cnn.ImageCNN) -> list:
    """Return the network's layers as PyTorch modules."""
    torch = networks.import_torch()
    modules, num_inputs, size = [], model.input_channels, SIZE
    for layer in image_cnn.NETS[model.net]:
        modules += [
            torch.nn.Conv2d(num_inputs, layer.filters, layer.kernel, layer.stride),
            torch.nn.ReLU(inplace=True),
            torch.nn.MaxPool2d(layer.pool),
            torch.nn.Dropout(model.dropout),
        ]
        num_inputs = layer.filters
        size = ((size - layer.kernel) // layer.stride + 1) // layer.pool
    return [
        *modules,
        networks.torch_flatten(),
        torch.nn.Linear(num_inputs * size**2, model.dense),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(model.dense_dropout),
        torch.nn.Linear(model.dense, NUM_CLASSES),
    ]


def implementations(
    net: str, batch_size: int, *, dropout: bool = True
) -> dict[str, networks.Implementation]:
    """Return our training step and PyTorch's for the same network and weights.

    Raises:
        UserError: if the network is unknown.
    """
    rng = np.random.default_rng(0)
    images = rng.random((batch_size, SIZE, SIZE), np.float32)
    labels = np.eye(NUM_CLASSES, dtype=np.float32)[rng.integers(NUM_CLASSES, size=batch_size)]
    rates: dict[str, Any] = {} if dropout else dict(dropout=0.0, dense_dropout=0.0)
    model = models.ImageCNN(num_classes=NUM_CLASSES, net=net, **rates)
    params = networks.init_variables(model, images[:1])["params"]
    torch_model = networks.torch_sequential(torch_layers(model), params)
    torch_images = np.repeat(images[:, None], model.input_channels, 1)
    cross_entropy = networks.import_torch().nn.functional.cross_entropy
    loss_of = losses.softmax_cross_entropy
    return {
        networks.OURS: networks.jax_step(model, params, loss_of, images, labels),
        networks.PEER: networks.torch_step(torch_model, cross_entropy, torch_images, labels),
    }


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "image_cnn",
        arguments,
        nets=(list(image_cnn.NETS), None, "networks to time"),
        batch=(64, 1, "batch size"),
        rounds=(20, 1, timing.ROUNDS),
        no_dropout=(False, None, "time the step without dropout"),
    )
    print(timing.environment(networks.PACKAGES))
    for net in options.nets:
        steps = implementations(net, options.batch, dropout=not options.no_dropout)
        networks.compare(f"{net}, batch {options.batch}", steps, num_rounds=options.rounds)


if __name__ == "__main__":
    timing.run(main, on_cpu=True)
