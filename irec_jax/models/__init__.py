"""Networks by name: Flax modules that map features to logits or, for separation, to features."""

from typing import Any

import flax.linen as nn

from irec_jax import registry
from irec_jax.distributed import has_bfloat16
from irec_jax.models.convnet import ConvNet
from irec_jax.models.crnn import CRNN
from irec_jax.models.dense import DenseNetwork
from irec_jax.models.image_cnn import ImageCNN
from irec_jax.models.recurrent import RecurrentNetwork
from irec_jax.models.spectrogram_cnn import SpectrogramCNN
from irec_jax.models.tagger import Tagger
from irec_jax.models.unet import UNet

MODELS = {
    "convnet": ConvNet,
    "crnn": CRNN,
    "dense": DenseNetwork,
    "image_cnn": ImageCNN,
    "recurrent": RecurrentNetwork,
    "spectrogram_cnn": SpectrogramCNN,
    "tagger": Tagger,
    "unet": UNet,
}


def find(name: str) -> type[nn.Module]:
    """Return the network class for a key of `MODELS` or for `module:Class` in another package.

    Raises:
        UserError: if the class cannot be found (see `registry.find_class`).
    """
    return registry.find_class("model", MODELS, name, nn.Module)


def default_dtype() -> str:
    """Return the default dtype: bfloat16 on devices that support it, otherwise float32."""
    return "bfloat16" if has_bfloat16() else "float32"


def create(name: str, **kwargs: Any) -> nn.Module:
    """Create a network that is called as ``network(features, *, train: bool) -> logits``.

    Features are an array or a dict of arrays with a leading batch axis. Logits are
    (batch, num_classes), or (batch, M, num_classes) with M predictions per example; in that case, a
    network may also return a bool array (batch, M) that marks the valid predictions. Separation
    networks return features with the shape and unit of their input instead of logits.

    Args:
        name: see `find`.
        **kwargs: attributes of the network. If `dtype` is None, `default_dtype` is used;
            parameters, statistics and logits are always float32.

    Raises:
        UserError: if the name or an argument is unknown, or an argument is missing.
    """
    if "dtype" in kwargs and kwargs["dtype"] is None:
        kwargs["dtype"] = default_dtype()
    return registry.create("model", {name: find(name)}, name, **kwargs)
