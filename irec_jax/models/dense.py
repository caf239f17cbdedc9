"""Dense network with one input vector per example (the FFT network in Vazonis et al. 2022)."""

from collections.abc import Sequence

import flax.linen as nn
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from irec_jax.models import layers


class DenseNetwork(layers.Classifier):
    """Dense layers with activations, then one output per class.

    With the defaults and 442,000 Fourier magnitudes as features, this is the network of Vazonis et
    al. (2022): 64, 100,000, 32 and 50,000 units, and 40,188,107 parameters with 11 classes.
    Training with Adam needs three more arrays of this size: the gradients and two moments.

    Attributes, in addition to those of `layers.Classifier`:
        units: units of the dense layers before the classifier.
        activation: name of the activation after each of these layers (`layers.Activation`).
        dropout: dropout rate after each of these layers.
    """

    units: Sequence[int] = (64, 100_000, 32, 50_000)
    activation: str = "lrelu_0.01"
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, features: Float[Array | np.ndarray, "batch features"], *, train: bool
    ) -> Float32[Array, "batch {self.num_classes}"]:
        """Return the logits of each example.

        Args:
            features: one vector per example.
            train: whether to apply dropout (random keys from the 'dropout' collection).

        Returns:
            Logits, before the sigmoid or softmax.

        Raises:
            ValueError: if the features are empty or have the wrong number of axes.
            UserError: if the activation is unknown, or a size is not a positive integer.
        """
        layers.check_features(features, "batch, features")
        layers.check_sizes(units=self.units)
        layers.check_activation(self.activation)
        x = features
        for number, units in enumerate(self.units):
            x = layers.Activation(self.activation)(layers.dense(units, self.dtype)(x))
            self.sow("intermediates", f"dense_{number}", x)
            x = layers.Dropout(self.dropout)(x, train=train)
        return self.classify(x)
