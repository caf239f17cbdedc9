"""One training step of Ligtenberg's networks on the CPU: JAX against PyTorch in channels_last.

    python -m irec_jax.benchmarks.unet [--model unet spectrogram_cnn] [--batch_size 8] [--rounds 20]

The step is all of forward pass, loss (mean absolute error of the U-Net, binary cross-entropy of
the classifier), backward pass and Adam, on spectrograms of 2048 bins and 128 frames. Both start
from the same weights; that they compute the same loss is checked, with the statistics of batch
normalisation fixed and dropout off, before anything is timed.

PyTorch pads both sides of a picture alike, Keras and we the far side more. On a picture that is
turned around, with kernels that are turned around, its way gives the same: so it gets them, and
each framework does what costs it least.

The contestants take turns in one process, as many threads as cores each. The ratio is PyTorch's
median time divided by ours: above 1 ours is faster.
"""

import argparse
import sys
from typing import Any

import jax
import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import networks, timing
from irec_jax.errors import UserError
from irec_jax.models import layers
from irec_jax.models.spectrogram_cnn import SpectrogramCNN
from irec_jax.models.unet import ATTENUATION_DB, ATTENUATION_SHIFT, UNet

SHAPE, NUM_CLASSES = (2048, 128), 11
MODELS = ("unet", "spectrogram_cnn")


def variables_of(model: Any, shape: tuple[int, int]) -> dict[str, Any]:
    """Variables of a network, statistics and all drawn by chance."""
    features = np.zeros((1, *shape), np.float32)
    init = jax.jit(model.init, static_argnames="train")
    variables = init(jax.random.key(0, impl="rbg"), features, train=False)
    rng = np.random.default_rng(0)

    def draw(path, array):
        name = path[-1].key
        if array.ndim > 1 or name == "count":
            return np.asarray(array)
        low = 0.5 if name in ("scale", "var") else -0.5
        return rng.uniform(low, low + 1, array.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, variables)


def torch_block(variables: dict[str, Any], name: str, stride: int, *, transposed: bool, last: bool):
    """Convolution, batch normalisation and, unless it is the last, ReLU, with their weights."""
    torch = networks.import_torch()
    params, norm = variables["params"][name], variables["params"][name]["BatchNorm_0"]
    kernel = np.asarray(params["kernel"])[::-1, ::-1].transpose(3, 2, 0, 1)
    size, options = kernel.shape[2], dict(stride=stride, bias=False)
    if transposed:
        channels = kernel.shape[1]
        convolution = torch.nn.ConvTranspose2d(
            *kernel.shape[:2], size, padding=size // 2, output_padding=stride - 1, **options
        )
    else:
        channels = kernel.shape[0]
        convolution = torch.nn.Conv2d(*kernel.shape[1::-1], size, padding=size // 2, **options)
    convolution.weight.data = torch.tensor(kernel.copy())
    batch_norm = torch.nn.BatchNorm2d(channels, eps=layers.BatchNorm.epsilon, momentum=0.01)
    batch_norm.weight.data = torch.tensor(norm["scale"])
    batch_norm.bias.data = torch.tensor(norm["bias"])
    statistics = variables["batch_stats"][name]["BatchNorm_0"]
    batch_norm.running_mean = torch.tensor(statistics["mean"])
    batch_norm.running_var = torch.tensor(statistics["var"])
    relu = [] if last else [torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(convolution, batch_norm, *relu)


def torch_linear(params: dict[str, Any], *, inputs=None, outputs=None):
    """A dense layer whose units are pictures (height, width, channels) that are turned around."""
    torch = networks.import_torch()
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    if inputs is not None:
        kernel = kernel.reshape(*inputs, -1)[::-1, ::-1].reshape(kernel.shape)
    if outputs is not None:
        kernel = kernel.reshape(-1, *outputs)[:, ::-1, ::-1].reshape(kernel.shape)
        bias = bias.reshape(outputs)[::-1, ::-1].reshape(-1)
    linear = torch.nn.Linear(*kernel.shape)
    linear.weight.data = torch.tensor(kernel.T.copy())
    linear.bias.data = torch.tensor(bias.copy())
    return linear


def torch_unet(model: UNet, variables: dict[str, Any], shape: tuple[int, int]):
    """The U-Net in PyTorch, of pictures (batch, 1, bins, frames) that are turned around.

    Raises:
        UserError: torch is not installed.
    """
    torch = networks.import_torch()
    number = len(model.filters)
    inner = tuple(size // int(np.prod(model.strides)) for size in shape)
    inner = (*inner, model.filters[-1])

    class TorchUNet(torch.nn.Module):
        """With one dense layer to the bottleneck, one back, and the output 'attenuation'."""

        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.ModuleList(
                torch_block(variables, f"Encoder_{i}", stride, transposed=False, last=False)
                for i, stride in enumerate(model.strides, 1)
            )
            self.inward = torch_linear(variables["params"]["Bottleneck_1"], inputs=inner)
            self.outward = torch_linear(variables["params"]["Bottleneck_2"], outputs=inner)
            self.decoder = torch.nn.ModuleList(
                torch_block(variables, f"Decoder_{i}", stride, transposed=True, last=i == number)
                for i, stride in enumerate(model.strides[::-1], 1)
            )

        def forward(self, features):
            x, skips = features, []
            for layer in self.encoder:
                x = layer(x)
                skips.append(x)
            # In channels_last nothing is moved.
            flat = x.permute(0, 2, 3, 1).flatten(1)
            x = self.outward(self.inward(flat)).reshape(-1, *inner).permute(0, 3, 1, 2)
            for i, layer in enumerate(self.decoder):
                x = layer(torch.cat([x, skips[-i - 1]], 1) if i else x)
            amount = torch.nn.functional.softplus(x - ATTENUATION_SHIFT)
            attenuated = features - amount * (ATTENUATION_DB / model.scale_db)
            return attenuated.clamp(min=model.floor_db / model.scale_db)

    return TorchUNet()


def torch_cnn(model: SpectrogramCNN, variables: dict[str, Any], shape: tuple[int, int]):
    """The classifier in PyTorch, of pictures as `torch_unet` takes them.

    Raises:
        UserError: torch is not installed.
    """
    torch = networks.import_torch()

    class Flatten(torch.nn.Module):
        """Rows, columns, channels, as Flax has them: in channels_last nothing is moved."""

        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    modules, inner = [], shape
    for i, stride in enumerate(model.strides, 1):
        modules.append(torch_block(variables, f"Block_{i}", stride, transposed=False, last=False))
        modules.append(torch.nn.Dropout(model.dropout))
        inner = tuple(-(-size // stride) for size in inner)
    params = variables["params"]
    return torch.nn.Sequential(
        *modules,
        Flatten(),
        torch_linear(params["Dense_0"], inputs=(*inner, model.filters[-1])),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(model.dense_dropout),
        torch_linear(params["Dense_1"]),
    )


def contestants(
    name: str, batch_size: int, *, shape: tuple[int, int] = SHAPE, **options: Any
) -> dict[str, networks.Contestant]:
    """Ours and PyTorch's step of a network of `MODELS`, from the same weights.

    Args:
        name: of the network.
        batch_size: spectrograms in a batch.
        shape: bins and frames of each.
        **options: of the network.

    Raises:
        UserError: torch is not installed.
    """
    torch = networks.import_torch()
    rng = np.random.default_rng(0)
    features = rng.uniform(-0.6, 0, (batch_size, *shape)).astype(np.float32)
    turned = features[:, None, ::-1, ::-1].copy()
    if name == "unet":
        model = models.create(name, **options)
        loss_of, torch_loss = losses.mean_absolute_error, torch.nn.functional.l1_loss
        labels = features - rng.uniform(0, 0.2, features.shape).astype(np.float32)
        torch_labels, torch_model = labels[:, None, ::-1, ::-1].copy(), torch_unet
    else:
        model = models.create(name, num_classes=NUM_CLASSES, **options)
        loss_of = losses.binary_cross_entropy
        labels = rng.integers(0, 2, (batch_size, NUM_CLASSES)).astype(np.float32)
        torch_labels, torch_model = labels, torch_cnn
        torch_loss = torch.nn.functional.binary_cross_entropy_with_logits
    variables = variables_of(model, shape)
    state = {key: value for key, value in variables.items() if key != "params"}
    return {
        networks.OURS: networks.jax_contestant(
            model, variables["params"], loss_of, features, labels, state
        ),
        networks.PEER: networks.torch_steps(
            torch_model(model, variables, shape), torch_loss, turned, torch_labels
        ),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.unet")
    parser.add_argument("--model", nargs="+", default=["unet"], choices=MODELS, help="networks")
    parser.add_argument("--batch_size", type=int, default=8, help="spectrograms in a batch")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contestant")
    options = parser.parse_args(arguments)
    for name in ("batch_size", "rounds"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}: must be 1 or more")

    print(timing.environment(("jax", "jaxlib", "flax", "optax", "torch")))
    for name in options.model:
        entries = contestants(name, options.batch_size)
        print(f"\ntraining step of {name}, batch {options.batch_size}, {options.rounds} rounds")
        print(networks.compare(entries, num_rounds=options.rounds))


if __name__ == "__main__":
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
