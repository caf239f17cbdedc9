"""Networks by name: Flax modules from features (batch, frames, bands) to logits."""

from typing import Any

import flax.linen as nn

from irec_jax import registry
from irec_jax.models.convnet import ConvNet

MODELS = {
    "convnet": ConvNet,
}


def create(name: str, **kwargs: Any) -> nn.Module:
    """The network of that name, ``__call__(features, *, train: bool) -> logits``.

    Args:
        name: a key of `MODELS`.
        **kwargs: its attributes.

    Raises:
        UserError: unknown name, unknown or missing argument.
    """
    return registry.create("model", MODELS, name, **kwargs)
