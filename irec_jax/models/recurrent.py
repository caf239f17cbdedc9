"""Recurrent networks for chunks or samples of a waveform (Goel; Vazonis et al. 2022)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Float32, Int, Shaped

from irec_jax import kernels, registry
from irec_jax.errors import UserError
from irec_jax.models import layers


class RecurrentLayer(nn.Module):
    """Unidirectional recurrent layer with Keras's initial weights.

    x is the input of a step, h the hidden state before it, and "." the element-wise product:

        rnn:  h' = tanh(x W + h U + b)
        lstm: i, f, o = sigmoid(x W + h U + b), g = tanh(x W + h U + b),
              c' = f . c + i . g, h' = o . tanh(c')                       (Goel, 4 to 9)
        gru:  z, r = sigmoid(x W + h U + b), g = tanh(x W + (r . h) U + b),
              h' = (1 - z) . h + z . g                                    (Goel, 10 to 13)

    The parameters are ``kernel`` W (inputs, gates * hidden), ``recurrent_kernel`` U (hidden, gates
    * hidden) and ``bias`` b (gates * hidden,). Each gate has its own block of columns, in the order
    i, f, g, o or z, r, g. The initial values are Glorot-uniform, orthogonal and zero, respectively.

    Attributes:
        cell: 'rnn', 'lstm' or 'gru'.
        hidden: size of the hidden state.
        reverse: run from the last step to the first.
        unit_forget_bias: initialise an LSTM's forget-gate bias to 1, as in Keras, instead of 0.
        dtype: dtype of the products, float32 or bfloat16; everything else is float32.

    Raises:
        UserError: if the cell is unknown.
    """

    cell: str
    hidden: int
    reverse: bool = False
    unit_forget_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        steps: Float[Array | np.ndarray, "batch steps inputs"],
        *,
        num_steps: Int[Array | np.ndarray, " batch"] | None = None,
        initial_hidden: Float[Array, "batch {self.hidden}"] | None = None,
        sequence: bool = False,
    ) -> Float32[Array, "batch {self.hidden}"] | Float32[Array, "batch steps {self.hidden}"]:
        """Return the hidden states.

        Args:
            steps: inputs, at least one step.
            num_steps: number of valid steps at the start of each example. Padding steps leave the
                state unchanged, so that a reverse scan starts at the last valid step of each
                example. If None, all steps are valid.
            initial_hidden: the hidden state before the first step; if None, zeros. The memory of an
                LSTM always starts at zero.
            sequence: return the hidden state after every step.

        Returns:
            The last hidden state or, with `sequence`, the hidden state after every step. On padding
            steps, the sequence repeats the last valid state or, in reverse, the initial state.

        Raises:
            ValueError: if the steps are empty or have the wrong number of axes.
        """
        cell = registry.find("cell", kernels.CELLS, self.cell)
        if steps.ndim != 3 or 0 in steps.shape[1:]:
            raise ValueError(f"steps: expected non-empty (batch, steps, inputs), got {steps.shape}")
        width = cell.num_gates * self.hidden
        weights = kernels.RecurrentWeights(
            self.param("kernel", nn.initializers.glorot_uniform(), (steps.shape[2], width)),
            self.param("recurrent_kernel", nn.initializers.orthogonal(), (self.hidden, width)),
            self.param("bias", self._initial_bias, (width,)),
        )
        shape = (steps.shape[0], self.hidden)
        initial = [jnp.zeros(shape, jnp.float32) for _ in range(cell.num_states)]
        if initial_hidden is not None:
            initial[0] = jnp.broadcast_to(initial_hidden, shape).astype(jnp.float32)
        weights = jax.tree.map(lambda weight: weight.astype(self.dtype), weights)
        arguments = (self.cell, weights, steps.astype(self.dtype), initial)
        return kernels.recurrent_scan(
            *arguments, num_steps=num_steps, reverse=self.reverse, sequence=sequence
        )

    def _initial_bias(self, key, shape):
        bias = jnp.zeros(shape)
        forget = slice(self.hidden, 2 * self.hidden)
        return bias.at[forget].set(1) if self.cell == "lstm" and self.unit_forget_bias else bias


class RecurrentNetwork(layers.Classifier):
    """Recurrent layers over the steps, then dense layers and one output per class.

    The default is Goel's LSTM; ``hidden=(22,), dense=(2048, 32, 1024)`` on single samples is the
    LSTM network of Vazonis et al. (2022).

    Attributes, in addition to those of `layers.Classifier`:
        cell: 'rnn', 'lstm' or 'gru' (`RecurrentLayer`).
        hidden: sizes of the recurrent layers.
        bidirectional: pair each recurrent layer with a second layer that runs from the last valid
            step to the first, and concatenate their hidden states (the second layer's last state is
            at step 0).
        head: 'last' for one prediction from the last hidden state (of both directions), or
            'per_step' for one prediction from the hidden state at each step.
        dense: units of the dense layers between the hidden state and the classifier.
        activation: name of the activation after the dense layers (`layers.Activation`).
        input_dropout: dropout rate on the steps.
        dropout: dropout rate after every recurrent and dense layer.
        unit_forget_bias: see `RecurrentLayer`.
    """

    cell: str = "lstm"
    hidden: Sequence[int] = (50,)
    bidirectional: bool = False
    head: str = "last"
    dense: Sequence[int] = ()
    activation: str = "relu"
    input_dropout: float = 0.0
    dropout: float = 0.0
    unit_forget_bias: bool = True

    @nn.compact
    def __call__(
        self,
        features: Float[Array | np.ndarray, "batch steps inputs"]
        | dict[str, Shaped[Array | np.ndarray, "batch ..."]],
        *,
        train: bool,
    ) -> (
        Float32[Array, "batch {self.num_classes}"]
        | Float32[Array, "batch steps {self.num_classes}"]
        | tuple[Float32[Array, "batch steps {self.num_classes}"], Bool[Array, "batch steps"]]
    ):
        """Return the logits of each example.

        Args:
            features: inputs, or a dict with the inputs as "steps" and, optionally, "num_steps"
                (batch,), the number of valid steps at the start of each example.
            train: whether to apply dropout (random keys from the 'dropout' collection).

        Returns:
            Logits of each example or, with the 'per_step' head, of each step. In the latter case,
            if "num_steps" is given, a second array marks the valid steps; padding steps must be
            excluded from means.

        Raises:
            ValueError: if the features are empty or have the wrong number of axes.
            UserError: if the cell, head or activation is unknown, there is no recurrent layer, or a
                size is below 1.
        """
        if self.head not in ("last", "per_step"):
            raise registry.unknown("head", self.head, ["last", "per_step"])
        if not self.hidden:
            raise UserError("model.hidden=(): expected at least one recurrent layer")
        layers.check_sizes(hidden=self.hidden, dense=self.dense)
        layers.check_activation(self.activation)
        num_steps = None
        if isinstance(features, dict):
            features, num_steps = features["steps"], features.get("num_steps")
        x = layers.Dropout(self.input_dropout)(features, train=train)
        directions = ("forward", "backward") if self.bidirectional else ("forward",)
        for number, size in enumerate(self.hidden):
            sequence = self.head == "per_step" or number < len(self.hidden) - 1
            states = []
            for direction in directions:
                options = (self.cell, size, direction == "backward", self.unit_forget_bias)
                layer = RecurrentLayer(*options, self.dtype, name=f"{direction}_{number}")
                states.append(layer(x, num_steps=num_steps, sequence=sequence))
            x = jnp.concatenate(states, axis=-1)
            self.sow("intermediates", f"recurrent_{number}", x)
            x = layers.Dropout(self.dropout)(x, train=train)
        for units in self.dense:
            x = layers.Activation(self.activation)(layers.dense(units, self.dtype)(x))
            x = layers.Dropout(self.dropout)(x, train=train)
        logits = self.classify(x)
        if self.head == "per_step" and num_steps is not None:
            return logits, jnp.arange(logits.shape[1]) < num_steps[:, None]
        return logits
