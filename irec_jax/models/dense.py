"""Dense network on one vector per example (the FFT network of Vazonis et al. 2022)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irec_jax.models import layers


class DenseNetwork(nn.Module):
    """Dense layers with an activation each, then one output per class.

    The default on 442,000 magnitudes of a Fourier transform is the network of Vazonis et al.
    (2022): 64, 100,000, 32 and 50,000 units, 40,188,107 parameters with 11 classes; Adam stores
    three more copies of them.

    Attributes:
        num_classes: number of outputs.
        units: of the dense layers before the classifier.
        activation: after each of them, a name of `layers.Activation`.
        dropout: rate after each of them.
        dtype: of the computation, float32 or bfloat16; parameters and logits are float32.
    """

    num_classes: int
    units: Sequence[int] = (64, 100_000, 32, 50_000)
    activation: str = "lrelu_0.01"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        """Return the logits of each example.

        Args:
            features: (batch, features).
            train: whether to apply dropout (random keys from the collection 'dropout').

        Returns:
            float32 (batch, num_classes), before sigmoid or softmax.

        Raises:
            ValueError: features of another rank, or empty.
            UserError: unknown activation, or sizes that are not positive integers.
        """
        if getattr(features, "ndim", 0) != 2 or features.shape[1] == 0:
            raise ValueError(
                "features: expected non-empty (batch, features), got "
                f"{jax.tree.map(jnp.shape, features)}"
            )
        layers.check_sizes(units=self.units)
        layers.check_activation(self.activation)
        x = features
        for number, units in enumerate(self.units):
            x = layers.Activation(self.activation)(layers.dense(units, self.dtype)(x))
            self.sow("intermediates", f"dense_{number}", x)
            x = layers.Dropout(self.dropout)(x, train=train)
        logits = layers.dense(self.num_classes, self.dtype)(x).astype(jnp.float32)
        self.sow("intermediates", "output", logits)
        return logits
