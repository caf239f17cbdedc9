"""Goel's convolutional recurrent network: a picture of a waveform, then the waveform itself."""

import flax.linen as nn
import jax

from irec_jax.models import image_cnn, layers
from irec_jax.models.recurrent import RecurrentLayer


class CRNN(image_cnn.ImageCNN):
    """A recurrent layer that starts from what a convolutional network has made of a picture.

    Goel: the output of the dense layer of B1 to B4 is the initial hidden state of an LSTM (whose
    memory starts at zero) over chunks of the same waveform; its last hidden state is classified.
    The size of the LSTM is not stated there. Where it is not that of the dense layer, a dense
    layer without activation comes between (parameters ``projection``).

    Intermediates (collection 'intermediates'): those of `ImageCNN`, and ``recurrent_0``, the last
    hidden state.

    Attributes:
        cell: 'lstm', 'rnn' or 'gru' (`recurrent.RecurrentLayer`).
        hidden: size of the hidden state.
        input_dropout: rate on the chunks.
        output_dropout: rate on the last hidden state.
        the others: of the convolutional network, see `ImageCNN`.
    """

    cell: str = "lstm"
    hidden: int = 128
    input_dropout: float = 0.0
    output_dropout: float = 0.0

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], *, train: bool) -> jax.Array:
        """Logits of each picture.

        Args:
            features: "image", pictures (batch, height, width) or (batch, pictures, height, width);
                "steps", chunks of the waveform (batch, steps, samples); "num_steps" (batch,), how
                many steps at the start are real.
            train: whether to drop units (random keys from the collection 'dropout').

        Returns:
            float32 (batch, num_classes) or (batch, pictures, num_classes), before the softmax.

        Raises:
            ValueError: features of another shape, or pictures that are too small.
            UserError: unknown net, activation or cell, or lists that do not go together.
        """
        if not isinstance(features, dict) or {"image", "steps", "num_steps"} - set(features):
            raise ValueError(
                'features: expected a dict of "image", "steps" and "num_steps", as the front end '
                "image_and_chunks makes it"
            )
        layers.check_sizes(hidden=self.hidden)
        state = self.encode(features["image"], train=train)
        if state.shape[-1] != self.hidden:
            state = self.dense_layer(self.hidden, name="projection")(state)
        steps = layers.Dropout(self.input_dropout)(features["steps"], train=train)

        def run(layer, initial_hidden):
            return layer(steps, num_steps=features["num_steps"], initial_hidden=initial_hidden)

        if state.ndim == 3:
            # Over the pictures of an example, so that its chunks are projected once for all.
            axes = dict(variable_axes={"params": None}, split_rngs={"params": False})
            run = nn.vmap(run, in_axes=1, out_axes=1, **axes)
        x = run(RecurrentLayer(self.cell, self.hidden, dtype=self.dtype, name="forward_0"), state)
        self.sow("intermediates", "recurrent_0", x)
        return self.classify(layers.Dropout(self.output_dropout)(x, train=train))
