"""Goel's convolutional recurrent network for an image and the chunks of a waveform."""

from typing import Any

import flax.linen as nn
import numpy as np
from jax import Array
from jaxtyping import Float32, Shaped

from irec_jax.models import image_cnn, layers
from irec_jax.models.recurrent import RecurrentLayer


class CRNN(image_cnn.ImageCNN):
    """Recurrent layer whose initial state is the output of a convolutional network.

    In Goel's network, the dense-layer output of B1 to B4 is the initial hidden state of an
    LSTM over chunks of the same waveform. The LSTM's memory starts at zero, and its last hidden
    state is classified. Goel does not state the size of the LSTM. If it differs from the size of
    the dense layer, a dense layer without activation is inserted between the two (parameters
    ``projection``).

    Intermediates ('intermediates' collection): those of `ImageCNN`, and ``recurrent_0``, the last
    hidden state.

    Attributes, in addition to those of `ImageCNN`:
        cell: 'lstm', 'rnn' or 'gru' (`recurrent.RecurrentLayer`).
        hidden: size of the hidden state.
        input_dropout: dropout rate on the chunks.
        output_dropout: dropout rate on the last hidden state.
    """

    cell: str = "lstm"
    hidden: int = 128
    input_dropout: float = 0.0
    output_dropout: float = 0.0

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  # also takes chunks
        self, features: dict[str, Shaped[Array | np.ndarray, "batch ..."]], *, train: bool
    ) -> Float32[Array, "batch ... {self.num_classes}"]:
        """Return the logits of each image.

        Args:
            features: a dict with "image": images (batch, height, width) or (batch, images, height,
                width); "steps": chunks of the waveform (batch, steps, samples); and "num_steps":
                the number of valid steps at the start of each example (batch,).
            train: whether to apply dropout (random keys from the 'dropout' collection).

        Returns:
            Logits (batch, num_classes) or (batch, images, num_classes), before the softmax.

        Raises:
            ValueError: if the features have the wrong shape, or the images are too small.
            UserError: if the net, activation or cell is unknown, or lists differ in length.
        """
        if not isinstance(features, dict) or {"image", "steps", "num_steps"} - set(features):
            raise ValueError(
                'features: expected a dict with "image", "steps" and "num_steps", as returned by '
                "the image_and_chunks front end"
            )
        layers.check_sizes(hidden=self.hidden)
        state = self.encode(features["image"], train=train)
        if state.shape[-1] != self.hidden:
            state = layers.dense(self.hidden, self.dtype, name="projection")(state)
        steps = layers.Dropout(self.input_dropout)(features["steps"], train=train)

        def last_hidden(layer, initial_hidden):
            return layer(steps, num_steps=features["num_steps"], initial_hidden=initial_hidden)

        if state.ndim == 3:
            # Map over the images of an example, so that its chunks are projected only once.
            axes: dict[str, Any] = dict(
                variable_axes={"params": None}, split_rngs={"params": False}
            )
            last_hidden = nn.vmap(last_hidden, in_axes=1, out_axes=1, **axes)
        layer = RecurrentLayer(self.cell, self.hidden, dtype=self.dtype, name="forward_0")
        x = last_hidden(layer, state)
        self.sow("intermediates", "recurrent_0", x)
        return self.classify(layers.Dropout(self.output_dropout)(x, train=train))
