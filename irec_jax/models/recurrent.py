"""Recurrent networks on chunks or single samples of a waveform (Goel; Vazonis et al. 2022)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.kernels import cells
from irec_jax.models import layers


class RecurrentLayer(nn.Module):
    """A recurrent layer in one direction, with the initial weights of Keras.

    With x the step's input, h the hidden state before and . the element-wise product:

        rnn:  h' = tanh(x W + h U + b)
        lstm: i, f, o = sigmoid(x W + h U + b), g = tanh(x W + h U + b) with columns of their own,
              c' = f . c + i . g, h' = o . tanh(c')                       (Goel, (4) to (9))
        gru:  z, r = sigmoid(x W + h U + b), g = tanh(x W + (r . h) U + b),
              h' = (1 - z) . h + z . g                                    (Goel, (10) to (13))

    Parameters ``kernel`` W (inputs, gates * hidden), ``recurrent_kernel`` U (hidden, gates *
    hidden) and ``bias`` b (gates * hidden,); blocks of columns: i, f, g, o and z, r, g. Start
    values: Glorot uniform, orthogonal, zeros.

    Attributes:
        cell: 'rnn', 'lstm' or 'gru'.
        hidden: size of the hidden state.
        reverse: from the last step to the first.
        unit_forget_bias: the bias of an LSTM's forget gate starts at 1 (as in Keras), not 0.
        dtype: of the products, float32 or bfloat16; states, parameters and results are float32.

    Raises:
        UserError: unknown cell.
    """

    cell: str
    hidden: int
    reverse: bool = False
    unit_forget_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        steps: jax.Array,
        *,
        num_steps: jax.Array | None = None,
        initial_hidden: jax.Array | None = None,
        sequence: bool = False,
    ) -> jax.Array:
        """Hidden states.

        Args:
            steps: (batch, steps, inputs), at least one step.
            num_steps: (batch,) int, how many steps at the start of each example are real: the
                others change nothing, so the result is that of the real steps alone (in reverse,
                too: it starts at each example's own last real step). None: all are real.
            initial_hidden: (batch, hidden), the hidden state before the first step; None: zeros.
                The memory of an LSTM starts at zero in either case.
            sequence: return the state after every step.

        Returns:
            float32, the last hidden state (batch, hidden), or (batch, steps, hidden). Beyond an
            example's real steps the sequence repeats its last one (in reverse: the initial one).

        Raises:
            ValueError: steps of another rank, or none.
        """
        if self.cell not in cells.CELLS:
            raise registry.unknown("cell", self.cell, cells.CELLS)
        if steps.ndim != 3 or 0 in steps.shape[1:]:
            raise ValueError(
                f"steps: expected (batch, steps, inputs), none of them 0, got {steps.shape}"
            )
        cell = cells.CELLS[self.cell]
        width = cell.num_gates * self.hidden
        weights = cells.Weights(
            self.param("kernel", nn.initializers.glorot_uniform(), (steps.shape[2], width)),
            self.param("recurrent_kernel", nn.initializers.orthogonal(), (self.hidden, width)),
            self.param("bias", self._initial_bias, (width,)),
        )
        shape = (steps.shape[0], self.hidden)
        initial = [jnp.zeros(shape, jnp.float32) for _ in range(cell.num_states)]
        if initial_hidden is not None:
            initial[0] = jnp.broadcast_to(initial_hidden, shape).astype(jnp.float32)
        return cells.scan(
            self.cell,
            jax.tree.map(lambda weight: weight.astype(self.dtype), weights),
            steps.astype(self.dtype),
            initial,
            num_steps=num_steps,
            reverse=self.reverse,
            sequence=sequence,
        )

    def _initial_bias(self, key, shape):
        bias = jnp.zeros(shape)
        forget = slice(self.hidden, 2 * self.hidden)
        return bias.at[forget].set(1) if self.cell == "lstm" and self.unit_forget_bias else bias


class RecurrentNetwork(nn.Module):
    """Recurrent layers over the steps, dense layers, one output per class.

    With the default the LSTM of Goel; ``hidden=(22,), dense=(2048, 32, 1024)`` on single samples
    is the LSTM network of Vazonis et al. (2022).

    Attributes:
        num_classes: number of outputs.
        cell: 'rnn', 'lstm' or 'gru' (`RecurrentLayer`).
        hidden: sizes of the recurrent layers, the first one first.
        bidirectional: a second layer beside each, which goes from the last real step to the
            first; their hidden states are concatenated (its last state is that at step 0).
        head: 'last', one prediction from the last hidden state (of both directions), or
            'per_step', one from the hidden state at each step.
        dense: units of dense layers between the hidden state and the classifier.
        activation: of the dense layers, a name of `layers.Activation`.
        input_dropout: rate on the steps.
        dropout: rate after every recurrent and dense layer.
        unit_forget_bias: see `RecurrentLayer`.
        dtype: of the computation, float32 or bfloat16; parameters, states and logits are float32.
    """

    num_classes: int
    cell: str = "lstm"
    hidden: Sequence[int] = (50,)
    bidirectional: bool = False
    head: str = "last"
    dense: Sequence[int] = ()
    activation: str = "relu"
    input_dropout: float = 0.0
    dropout: float = 0.0
    unit_forget_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, features: jax.Array | dict, *, train: bool
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Logits of each example.

        Args:
            features: (batch, steps, inputs), or a dict with those as "steps" and, unless all
                steps are real, "num_steps" (batch,) int: how many at the start of each example
                are.
            train: whether to drop units (random keys from the collection 'dropout').

        Returns:
            float32 (batch, num_classes), or with the head 'per_step' (batch, steps, num_classes);
            there, if `num_steps` is given, with a second array, bool (batch, steps): which of the
            steps are real. The others count in no mean.

        Raises:
            ValueError: features of another rank, or empty.
            UserError: unknown cell, head or activation; no recurrent layer; a size below 1.
        """
        if self.head not in ("last", "per_step"):
            raise registry.unknown("head", self.head, ["last", "per_step"])
        if not self.hidden:
            raise UserError("model.hidden: at least one recurrent layer is needed")
        layers.check_sizes(hidden=self.hidden, dense=self.dense)
        layers.check_activation(self.activation)
        num_steps = None
        if isinstance(features, dict):
            features, num_steps = features["steps"], features.get("num_steps")
        x = layers.Dropout(self.input_dropout)(features, train=train)
        for number, size in enumerate(self.hidden):
            sequence = self.head == "per_step" or number < len(self.hidden) - 1
            settings = dict(unit_forget_bias=self.unit_forget_bias, dtype=self.dtype)
            x = jnp.concatenate(
                [
                    RecurrentLayer(
                        self.cell, size, reverse=reverse, name=f"{way}_{number}", **settings
                    )(x, num_steps=num_steps, sequence=sequence)
                    for way, reverse in [("forward", False), ("backward", True)]
                    if self.bidirectional or not reverse
                ],
                axis=-1,
            )
            self.sow("intermediates", f"recurrent_{number}", x)
            x = layers.Dropout(self.dropout)(x, train=train)
        init = dict(kernel_init=nn.initializers.glorot_uniform(), dtype=self.dtype)
        for size in self.dense:
            x = layers.Activation(self.activation)(nn.Dense(size, **init)(x))
            x = layers.Dropout(self.dropout)(x, train=train)
        logits = nn.Dense(self.num_classes, **init)(x).astype(jnp.float32)
        self.sow("intermediates", "output", logits)
        if self.head == "per_step" and num_steps is not None:
            return logits, jnp.arange(logits.shape[1]) < num_steps[:, None]
        return logits
