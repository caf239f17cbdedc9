"""Steps of recurrent cells (RNN, LSTM, GRU) and their derivatives."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp


class Cell(NamedTuple):
    """A recurrent cell: one step forward in time, and the corresponding backward step.

    The derivative of a step is divided so that only `step_backward` runs step by step;
    `local_derivatives` and `factors` are computed for many steps at once.

    Attributes:
        products: number of gates computed by each product with the hidden state, or with a function
            of it. Kernels and bias have ``hidden`` columns for each gate.
        num_states: number of arrays in the state.
        step: (recurrent kernel of each product, projected input plus bias (batch, gates * hidden),
            state) -> (new state, gates (batch, gates * hidden) after their activations).
        local_derivatives: (states before, gates, states after), each (batch, steps, ...) -> the
            derivatives that `step_backward` needs at each step.
        step_backward: (transposed recurrent kernel of each product, local derivatives of a step,
            cotangents of the state after it) -> (cotangents of the gates before their
            activations, cotangents of the state before).
        factors: (hidden states before, gates) -> the factor of the recurrent kernel in each
            product.
    """

    products: tuple[int, ...]
    num_states: int
    step: Callable
    local_derivatives: Callable
    step_backward: Callable
    factors: Callable

    @property
    def num_gates(self) -> int:
        return sum(self.products)


def _sigmoid(x):
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _matmul(a, b):
    """Return a @ b, multiplied in the dtype of b and summed in the dtype of a."""
    return jnp.matmul(a.astype(b.dtype), b, preferred_element_type=a.dtype)


def _rnn_step(recurrent, projected, state):
    hidden = jnp.tanh(projected + _matmul(state[0], recurrent[0]))
    return (hidden,), hidden


def _rnn_local_derivatives(before, gates, after):
    return (1 - gates**2,)


def _rnn_step_backward(transposed, derivatives, cotangents):
    d_gates = cotangents[0] * derivatives[0]
    return d_gates, (_matmul(d_gates, transposed[0]),)


def _lstm_scale(gates):
    """Return the scale of each column: 1 for tanh, 0.5 for sigmoid(x) = 0.5 tanh(0.5 x) + 0.5.

    With these scales, a single tanh computes all gates, which is twice as fast.
    """
    return jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5], gates.dtype), gates.shape[1] // 4)


def _lstm_step(recurrent, projected, state):
    hidden, memory = state
    scale = _lstm_scale(projected)
    gates = projected + _matmul(hidden, recurrent[0])
    gates = jnp.tanh(gates * scale) * scale + (1 - scale)
    i, f, g, o = jnp.split(gates, 4, axis=1)
    memory = f * memory + i * g
    return (o * jnp.tanh(memory), memory), gates


def _lstm_local_derivatives(before, gates, after):
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    output = jnp.tanh(after[1])
    return (
        g * i * (1 - i),
        before[1] * f * (1 - f),
        i * (1 - g**2),
        output * o * (1 - o),
        o * (1 - output**2),
        f,
    )


def _lstm_step_backward(transposed, derivatives, cotangents):
    i, f, g, o, memory_per_hidden, memory_per_memory = derivatives
    d_hidden, d_memory = cotangents
    d_memory = d_memory + d_hidden * memory_per_hidden
    d_gates = jnp.concatenate([d_memory * i, d_memory * f, d_memory * g, d_hidden * o], axis=1)
    return d_gates, (_matmul(d_gates, transposed[0]), d_memory * memory_per_memory)


def _gru_step(recurrent, projected, state):
    (hidden,) = state
    split = 2 * hidden.shape[1]
    gates = _sigmoid(projected[:, :split] + _matmul(hidden, recurrent[0]))
    z, r = jnp.split(gates, 2, axis=1)
    product = _matmul(r * hidden, recurrent[1])
    g = jnp.tanh(projected[:, split:] + product)
    return (hidden + z * (g - hidden),), jnp.concatenate([gates, g], axis=1)


def _gru_local_derivatives(before, gates, after):
    (hidden,), (z, r, g) = before, jnp.split(gates, 3, axis=-1)
    return ((g - hidden) * z * (1 - z), hidden * r * (1 - r), z * (1 - g**2), r, 1 - z)


def _gru_step_backward(transposed, derivatives, cotangents):
    (z, r, g, hidden_per_reset, hidden_per_hidden), (d_hidden,) = derivatives, cotangents
    d_g = d_hidden * g
    d_reset_hidden = _matmul(d_g, transposed[1])
    d_gates = jnp.concatenate([d_hidden * z, d_reset_hidden * r], axis=1)
    d_before = d_hidden * hidden_per_hidden + d_reset_hidden * hidden_per_reset
    d_before = d_before + _matmul(d_gates, transposed[0])
    return jnp.concatenate([d_gates, d_g], axis=1), (d_before,)


def _hidden_factor(hidden, gates):
    return (hidden,)


def _gru_factors(hidden, gates):
    size = hidden.shape[-1]
    return (hidden, gates[..., size : 2 * size] * hidden)


#: Cells by name. The columns of their kernels are blocks for the gates i, f, g, o (input, forget,
#: candidate, output) of the LSTM and z, r, g (update, reset, candidate) of the GRU.
CELLS = {
    "rnn": Cell((1,), 1, _rnn_step, _rnn_local_derivatives, _rnn_step_backward, _hidden_factor),
    "lstm": Cell((4,), 2, _lstm_step, _lstm_local_derivatives, _lstm_step_backward, _hidden_factor),
    "gru": Cell((2, 1), 1, _gru_step, _gru_local_derivatives, _gru_step_backward, _gru_factors),
}
