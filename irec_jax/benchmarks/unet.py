"""Training steps of Ligtenberg's networks on the CPU, compared with PyTorch in channels_last.

    python -m irec_jax.benchmarks.unet [--model unet spectrogram_cnn] [--batch_size 8] [--rounds 20]

A step consists of the forward pass, the loss (mean absolute error for the U-Net, binary
cross-entropy for the classifier), the backward pass and the Adam update, on spectrograms with 2048
bins and 128 frames. Both frameworks start from the same weights; before timing, the benchmark
checks that they compute the same loss with fixed batch-normalisation statistics and no dropout.

PyTorch pads both edges of an image equally, whereas Keras and our networks pad the far edge more.
Flipping images and kernels along both axes makes the two ways of padding equivalent. PyTorch
therefore receives flipped images and kernels, so that each framework can use its cheapest padding.
"""

import functools
from typing import Any

import jax
import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import networks, timing
from irec_jax.models import layers
from irec_jax.models.spectrogram_cnn import SpectrogramCNN
from irec_jax.models.unet import ATTENUATION_DB, ATTENUATION_SHIFT, UNet

SHAPE, NUM_CLASSES = (2048, 128), 11
MODELS = ("unet", "spectrogram_cnn")


def random_variables(model: Any, shape: tuple[int, int]) -> dict[str, Any]:
    """Return random variables for a network, including batch-normalisation statistics."""
    variables = networks.init_variables(model, np.zeros((1, *shape), np.float32))
    rng = np.random.default_rng(0)

    def draw(path, array):
        name = path[-1].key
        if array.ndim > 1 or name == "count":
            return np.asarray(array)
        low = 0.5 if name in ("scale", "var") else -0.5
        return rng.uniform(low, low + 1, array.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, variables)


def torch_block(variables: dict[str, Any], name: str, stride: int, *, transposed: bool, last: bool):
    """Return a PyTorch block with our weights: convolution, batch norm and, unless last, ReLU."""
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
    """Return a PyTorch dense layer with our parameters.

    ``inputs`` or ``outputs`` is (height, width, channels) if the input or output units form a
    flipped image.
    """
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
    """Return the U-Net as a PyTorch module for flipped spectrograms (batch, 1, bins, frames)."""
    torch = networks.import_torch()
    number = len(model.filters)
    inner = tuple(size // int(np.prod(model.strides)) for size in shape)
    inner = (*inner, model.filters[-1])

    class TorchUNet(torch.nn.Module):
        """U-Net with a bottleneck of two dense layers and 'attenuation' as its output."""

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
            # In channels_last, this does not copy any data.
            flat = x.permute(0, 2, 3, 1).flatten(1)
            x = self.outward(self.inward(flat)).reshape(-1, *inner).permute(0, 3, 1, 2)
            for i, layer in enumerate(self.decoder):
                x = layer(torch.cat([x, skips[-i - 1]], 1) if i else x)
            amount = torch.nn.functional.softplus(x - ATTENUATION_SHIFT)
            attenuated = features - amount * (ATTENUATION_DB / model.scale_db)
            return attenuated.clamp(min=model.floor_db / model.scale_db)

    return TorchUNet()


def torch_cnn(model: SpectrogramCNN, variables: dict[str, Any], shape: tuple[int, int]):
    """Return the classifier as a PyTorch module that takes the same inputs as `torch_unet`."""
    torch = networks.import_torch()
    modules, inner = [], shape
    for i, stride in enumerate(model.strides, 1):
        modules.append(torch_block(variables, f"Block_{i}", stride, transposed=False, last=False))
        modules.append(torch.nn.Dropout(model.dropout))
        inner = tuple(-(-size // stride) for size in inner)
    params = variables["params"]
    return torch.nn.Sequential(
        *modules,
        networks.torch_flatten(),
        torch_linear(params["Dense_0"], inputs=(*inner, model.filters[-1])),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(model.dense_dropout),
        torch_linear(params["Dense_1"]),
    )


def implementations(
    name: str, batch_size: int, *, shape: tuple[int, int] = SHAPE, **options: Any
) -> dict[str, networks.Implementation]:
    """Return our training step and PyTorch's for the same network and weights.

    Args:
        name: one of `MODELS`.
        batch_size: number of spectrograms per batch.
        shape: numbers of bins and frames per spectrogram.
        **options: network arguments.
    """
    torch = networks.import_torch()
    rng = np.random.default_rng(0)
    features = rng.uniform(-0.6, 0, (batch_size, *shape)).astype(np.float32)
    flipped = features[:, None, ::-1, ::-1].copy()
    if name == "unet":
        model = models.UNet(**options)
        create_peer = functools.partial(torch_unet, model)
        loss_of, torch_loss = losses.mean_absolute_error, torch.nn.functional.l1_loss
        labels = features - rng.uniform(0, 0.2, features.shape).astype(np.float32)
        torch_labels = labels[:, None, ::-1, ::-1].copy()
    else:
        model = models.SpectrogramCNN(num_classes=NUM_CLASSES, **options)
        create_peer = functools.partial(torch_cnn, model)
        loss_of = losses.binary_cross_entropy
        labels = rng.integers(0, 2, (batch_size, NUM_CLASSES)).astype(np.float32)
        torch_labels = labels
        torch_loss = torch.nn.functional.binary_cross_entropy_with_logits
    variables = random_variables(model, shape)
    state = {key: value for key, value in variables.items() if key != "params"}
    ours = networks.jax_step(model, variables["params"], loss_of, features, labels, state)
    peer = networks.torch_step(create_peer(variables, shape), torch_loss, flipped, torch_labels)
    return {networks.OURS: ours, networks.PEER: peer}


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "unet",
        arguments,
        model=(["unet"], MODELS, "networks to time"),
        batch_size=(8, 1, "batch size"),
        rounds=(20, 1, timing.ROUNDS),
    )
    print(timing.environment(networks.PACKAGES))
    for name in options.model:
        steps = implementations(name, options.batch_size)
        networks.compare(f"{name}, batch {options.batch_size}", steps, num_rounds=options.rounds)


if __name__ == "__main__":
    timing.run(main, on_cpu=True)
