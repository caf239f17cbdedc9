"""Networks by name: Flax modules from features to logits, or to features."""

from typing import Any

import flax.linen as nn

from irec_jax import registry
from irec_jax.models.convnet import ConvNet
from irec_jax.models.crnn import CRNN
from irec_jax.models.dense import DenseNetwork
from irec_jax.models.image_cnn import ImageCNN
from irec_jax.models.recurrent import RecurrentNetwork
from irec_jax.models.spectrogram_cnn import SpectrogramCNN
from irec_jax.models.unet import UNet

MODELS = {
    "convnet": ConvNet,
    "crnn": CRNN,
    "dense": DenseNetwork,
    "image_cnn": ImageCNN,
    "recurrent": RecurrentNetwork,
    "spectrogram_cnn": SpectrogramCNN,
    "unet": UNet,
}


def create(name: str, **kwargs: Any) -> nn.Module:
    """The network of that name, ``__call__(features, *, train: bool) -> logits`` or features.

    Features are an array or a dict of arrays, batch first. Logits are (batch, num_classes), or
    (batch, M, num_classes) where a network says something M times about an example; it may then
    return two arrays, the other one bool (batch, M): what counts. A separator returns features of
    the shape and unit of those it was given.

    Args:
        name: a key of `MODELS`.
        **kwargs: its attributes.

    Raises:
        UserError: unknown name, unknown or missing argument.
    """
    return registry.create("model", MODELS, name, **kwargs)
