"""One training step of Goel's networks B1 to B4 on the CPU: JAX against PyTorch in channels_last.

    python -m irec_jax.benchmarks.image_cnn [--nets b1 b2 b3 b4] [--batch 64] [--rounds 20]

The step is all of forward pass with dropout, loss (softmax cross-entropy), backward pass and Adam,
on pictures of 150 x 150 and 5 classes. PyTorch gets them as three equal channels, as the paper has
them; ours as one. Both start from the same weights; that they compute the same loss is checked,
with dropout off, before anything is timed. `--no_dropout` leaves it out of the step too.

The contestants take turns in one process, as many threads as cores each. The ratio is PyTorch's
median time divided by ours: above 1 ours is faster.
"""

import argparse
import sys

import jax
import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import networks, timing
from irec_jax.errors import UserError
from irec_jax.models import image_cnn

SIZE, NUM_CLASSES = 150, 5


def torch_layers(model: image_cnn.ImageCNN) -> list:
    """The network in PyTorch.

    Raises:
        UserError: torch is not installed.
    """
    torch = networks.import_torch()

    class Flatten(torch.nn.Module):
        """Rows, columns, channels, as Flax has them: in channels_last nothing is moved."""

        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

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
        Flatten(),
        torch.nn.Linear(num_inputs * size**2, model.dense),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(model.dense_dropout),
        torch.nn.Linear(model.dense, NUM_CLASSES),
    ]


def contestants(
    net: str, batch_size: int, *, dropout: bool = True
) -> dict[str, networks.Contestant]:
    """Ours and PyTorch's step of a net, from the same weights.

    Raises:
        UserError: unknown net, or torch is not installed.
    """
    rng = np.random.default_rng(0)
    pictures = rng.random((batch_size, SIZE, SIZE), np.float32)
    labels = np.eye(NUM_CLASSES, dtype=np.float32)[rng.integers(NUM_CLASSES, size=batch_size)]
    rates = {} if dropout else dict(dropout=0.0, dense_dropout=0.0)
    model = models.create("image_cnn", num_classes=NUM_CLASSES, net=net, **rates)
    init = jax.jit(model.init, static_argnames="train")
    params = init(jax.random.key(0, impl="rbg"), pictures[:1], train=False)["params"]
    torch_pictures = np.repeat(pictures[:, None], model.input_channels, 1)
    cross_entropy = networks.import_torch().nn.functional.cross_entropy
    return {
        networks.OURS: networks.jax_contestant(
            model, params, losses.softmax_cross_entropy, pictures, labels
        ),
        networks.PEER: networks.torch_contestant(
            torch_layers(model), params, cross_entropy, torch_pictures, labels
        ),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.image_cnn")
    parser.add_argument("--nets", nargs="+", default=list(image_cnn.NETS), help="networks")
    parser.add_argument("--batch", type=int, default=64, help="pictures in a batch")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contestant")
    parser.add_argument("--no_dropout", action="store_true", help="a step without dropout")
    options = parser.parse_args(arguments)
    for name in ("batch", "rounds"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}: must be 1 or more")

    print(timing.environment(("jax", "jaxlib", "flax", "optax", "torch")))
    for net in options.nets:
        entries = contestants(net, options.batch, dropout=not options.no_dropout)
        print(f"\ntraining step of {net}, batch {options.batch}, {options.rounds} rounds")
        print(networks.compare(entries, num_rounds=options.rounds))


if __name__ == "__main__":
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
