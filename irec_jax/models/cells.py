"""Recurrent cells over long sequences: scans with a gradient that is fast and needs little memory.

The gradient of a scan, as JAX derives it, keeps the results of every step, and multiplies a small
matrix per step for each weight. Here the derivative is written out:

- The inputs of many steps are projected by one matrix product, outside the loop over time.
- The backward loop only finds the cotangents of the pre-activations; the gradients of the weights
  and of the inputs are one matrix product each over all of its steps.
- Sequences of more than `MAX_KEPT_STEPS` steps are cut into segments of about the square root of
  their length. Only the state before each segment is kept; the rest is computed again, segment by
  segment. So the memory grows with the square root of the length.

Everything is batch-major, so nothing is transposed. Products are of the inputs' type; states and
sums are float32 at least.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

#: Sequences up to this length are one segment: nothing is computed twice.
MAX_KEPT_STEPS = 512

State = tuple[jax.Array, ...]  # (batch, hidden) each, the hidden state first


class Cell(NamedTuple):
    """A recurrent cell: how it steps, and how cotangents step back.

    Attributes:
        num_gates: blocks of ``hidden`` columns in kernel, recurrent kernel and bias.
        num_states: arrays that go from step to step.
        step: (recurrent kernel, projected input (batch, gates * hidden), state) to (new state,
            what the way back needs beside the states).
        pull: (recurrent kernel, state before, kept, state after, cotangents of the state after)
            to (cotangents of the pre-activations, cotangents of the state before).
        recurrent_input: (hidden states before, kept) to what the columns of each block of the
            recurrent kernel were multiplied with: a list of (array, number of gates).
    """

    num_gates: int
    num_states: int
    step: Callable
    pull: Callable
    recurrent_input: Callable


def _sigmoid(x):
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _product(a, b):
    """a @ b of b's type, summed up in a's."""
    return jnp.matmul(a.astype(b.dtype), b, preferred_element_type=a.dtype)


def _rnn_step(recurrent, projected, state):
    return (jnp.tanh(projected + _product(state[0], recurrent)),), ()


def _rnn_pull(recurrent, before, kept, after, cotangents):
    gate = cotangents[0] * (1 - after[0] ** 2)
    return gate, (_product(gate, recurrent.T),)


def _lstm_step(recurrent, projected, state):
    hidden, memory = state
    gates = jnp.split(projected + _product(hidden, recurrent), 4, axis=1)
    write, forget, candidate, read = (
        jnp.tanh(gate) if place == 2 else _sigmoid(gate) for place, gate in enumerate(gates)
    )
    memory = forget * memory + write * candidate
    return (read * jnp.tanh(memory), memory), (write, forget, candidate, read)


def _lstm_pull(recurrent, before, kept, after, cotangents):
    write, forget, candidate, read = kept
    d_hidden, d_memory = cotangents
    squashed = jnp.tanh(after[1])
    d_memory = d_memory + d_hidden * read * (1 - squashed**2)
    gates = jnp.concatenate(
        [
            d_memory * candidate * write * (1 - write),
            d_memory * before[1] * forget * (1 - forget),
            d_memory * write * (1 - candidate**2),
            d_hidden * squashed * read * (1 - read),
        ],
        axis=1,
    )
    return gates, (_product(gates, recurrent.T), d_memory * forget)


def _gru_step(recurrent, projected, state):
    (hidden,) = state
    size = hidden.shape[1]
    gates = _sigmoid(projected[:, : 2 * size] + _product(hidden, recurrent[:, : 2 * size]))
    update, reset = jnp.split(gates, 2, axis=1)
    candidate = jnp.tanh(
        projected[:, 2 * size :] + _product(reset * hidden, recurrent[:, 2 * size :])
    )
    return (hidden + update * (candidate - hidden),), (update, reset, candidate)


def _gru_pull(recurrent, before, kept, after, cotangents):
    (hidden,), (update, reset, candidate), (d_hidden,) = before, kept, cotangents
    size = hidden.shape[1]
    d_candidate = d_hidden * update * (1 - candidate**2)
    d_product = _product(d_candidate, recurrent[:, 2 * size :].T)
    d_gates = jnp.concatenate(
        [
            d_hidden * (candidate - hidden) * update * (1 - update),
            d_product * hidden * reset * (1 - reset),
        ],
        axis=1,
    )
    d_before = d_hidden * (1 - update) + d_product * reset
    d_before = d_before + _product(d_gates, recurrent[:, : 2 * size].T)
    return jnp.concatenate([d_gates, d_candidate], axis=1), (d_before,)


#: Cells by name. Blocks of the kernels' columns: LSTM input, forget, candidate, output; GRU
#: update, reset, candidate.
CELLS = {
    "rnn": Cell(1, 1, _rnn_step, _rnn_pull, lambda hidden, kept: [(hidden, 1)]),
    "lstm": Cell(4, 2, _lstm_step, _lstm_pull, lambda hidden, kept: [(hidden, 4)]),
    "gru": Cell(3, 1, _gru_step, _gru_pull, lambda h, kept: [(h, 2), (kept[1] * h, 1)]),
}


class Weights(NamedTuple):
    """(inputs, gates * hidden), (hidden, gates * hidden), (gates * hidden,)."""

    kernel: jax.Array
    recurrent: jax.Array
    bias: jax.Array


class _Plan(NamedTuple):
    """What is static of a scan."""

    cell: Cell
    reverse: bool
    sequence: bool
    length: int  # steps of a segment


def scan(
    cell: str,
    weights: Weights,
    steps: jax.Array,
    initial: State,
    *,
    num_steps: jax.Array | None = None,
    reverse: bool = False,
    sequence: bool = False,
    segment_length: int | None = None,
) -> jax.Array:
    """A cell over sequences.

    Second derivatives and forward mode are not defined.

    Args:
        cell: a key of `CELLS`.
        weights: kernel, recurrent kernel and bias; the kernels of the steps' type.
        steps: (batch, steps, inputs), float32 or bfloat16.
        initial: the state before the first step, `Cell.num_states` arrays (batch, hidden), float32.
        num_steps: (batch,) int, how many steps at the start of each example are real. The state
            passes the others unchanged. None: all are real.
        reverse: from the last step to the first.
        sequence: return the hidden state after every step.
        segment_length: steps that are computed again at a time in the backward pass; None: all
            are kept up to `MAX_KEPT_STEPS`, the square root of the length beyond.

    Returns:
        The hidden state after the last step taken (batch, hidden), or (batch, steps, hidden):
        element t is the state after step t was taken. Of the type of the initial state.
    """
    length = segment_length
    if length is None:
        total = steps.shape[1]
        length = total if total <= MAX_KEPT_STEPS else math.isqrt(total)
    if num_steps is not None:
        num_steps = num_steps.astype(jnp.int32)
    plan = _Plan(CELLS[cell], reverse, sequence, max(1, min(length, steps.shape[1])))
    return _scan(plan, weights, steps, tuple(initial), num_steps)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(plan, weights, steps, initial, num_steps):
    return _forward(plan, weights, steps, initial, num_steps, keep=False)[0]


def _forward(plan, weights, steps, initial, num_steps, keep=True):
    """The result, and what the backward pass needs: of one segment everything, of several the
    state before each."""
    total = steps.shape[1]
    run = functools.partial(_run, plan, weights, num_steps=num_steps)
    if plan.length == total:
        state, hidden, kept = run(steps, initial, 0, keep=keep)
        output = hidden if plan.sequence else state[0]
        return output, (weights, steps, initial, num_steps, kept)
    num_segments, rest = divmod(total, plan.length)
    starts = tuple(jnp.zeros((num_segments, *s.shape), s.dtype) for s in initial)
    shape = (*initial[0].shape[:1], total, *initial[0].shape[1:])
    hidden = jnp.zeros(shape, initial[0].dtype) if plan.sequence else None

    def segment(number, carry):
        state, starts, hidden = carry
        starts = tuple(s.at[number].set(x) for s, x in zip(starts, state, strict=True))
        first = _first_step(plan, number, total)
        part = lax.dynamic_slice_in_dim(steps, first, plan.length, axis=1)
        state, states, _ = run(part, state, first, keep=False)
        if plan.sequence:
            hidden = lax.dynamic_update_slice_in_dim(hidden, states, first, axis=1)
        return state, starts, hidden

    state, starts, hidden = lax.fori_loop(0, num_segments, segment, (initial, starts, hidden))
    last = state
    if rest:
        first = 0 if plan.reverse else total - rest
        part = lax.slice_in_dim(steps, first, first + rest, axis=1)
        last, states, _ = run(part, state, first, keep=False)
        if plan.sequence:
            hidden = lax.dynamic_update_slice_in_dim(hidden, states, first, axis=1)
    return hidden if plan.sequence else last[0], (weights, steps, state, num_steps, starts)


def _first_step(plan, number, total):
    """Where the segment of that number, in the order of computation, starts."""
    return total - (number + 1) * plan.length if plan.reverse else number * plan.length


def _run(plan, weights, steps, state, first, *, num_steps, keep):
    """One segment: last state, hidden states if kept or wanted, and if kept, (states, kept)."""
    batch, length, num_inputs = steps.shape
    cell, dtype = plan.cell, state[0].dtype
    projected = jnp.matmul(
        steps.reshape(-1, num_inputs), weights.kernel, preferred_element_type=dtype
    )
    projected = (projected + weights.bias.astype(dtype)).reshape(batch, length, -1)

    def one(count, carry):
        state, stacks = carry
        place = length - 1 - count if plan.reverse else count
        step = lax.dynamic_index_in_dim(projected, place, 1, keepdims=False)
        new, kept = cell.step(weights.recurrent, step, state)
        if num_steps is not None:
            real = (first + place < num_steps)[:, None]
            new = tuple(jnp.where(real, a, b) for a, b in zip(new, state, strict=True))
        values = (*new, *kept) if keep else new[:1] if plan.sequence else ()
        return new, tuple(_put(s, v, place) for s, v in zip(stacks, values, strict=True))

    kept = jax.eval_shape(cell.step, weights.recurrent, projected[:, 0], state)
    shapes = jax.tree.leaves(kept) if keep else state[:1] if plan.sequence else ()
    stacks = tuple(jnp.zeros((batch, length, *s.shape[1:]), s.dtype) for s in shapes)
    state, stacks = lax.fori_loop(0, length, one, (state, stacks))
    hidden = stacks[0] if stacks else None
    return state, hidden, (stacks[: cell.num_states], stacks[cell.num_states :]) if keep else None


def _put(stack, value, place):
    return lax.dynamic_update_index_in_dim(stack, value, place, 1)


def _backward(plan, residuals, cotangent):
    weights, steps, state, num_steps, kept = residuals
    total = steps.shape[1]
    pull = functools.partial(_pull, plan, weights, num_steps=num_steps)
    if plan.sequence:
        d_state = tuple(jnp.zeros_like(s) for s in state)
    else:
        d_state = (cotangent, *(jnp.zeros_like(s) for s in state[1:]))
    if plan.length == total:
        d_hidden = cotangent if plan.sequence else None
        d_weights, d_steps, d_state = pull(steps, state, kept, 0, d_state, d_hidden)
        return _typed(d_weights, weights), d_steps, d_state, None

    def segment(first, length, state, carry):
        d_weights, d_steps, d_state = carry
        part = lax.dynamic_slice_in_dim(steps, first, length, axis=1)
        _, _, kept = _run(plan, weights, part, state, first, num_steps=num_steps, keep=True)
        d_hidden = None
        if plan.sequence:
            d_hidden = lax.dynamic_slice_in_dim(cotangent, first, length, axis=1)
        added, d_part, d_state = pull(part, state, kept, first, d_state, d_hidden)
        d_weights = jax.tree.map(jnp.add, d_weights, added)
        return d_weights, lax.dynamic_update_slice_in_dim(d_steps, d_part, first, 1), d_state

    dtype = state[0].dtype
    d_weights = jax.tree.map(lambda w: jnp.zeros(w.shape, dtype), weights)
    carry = d_weights, jnp.zeros_like(steps), d_state
    num_segments, rest = divmod(total, plan.length)
    if rest:
        carry = segment(0 if plan.reverse else total - rest, rest, state, carry)

    def one(count, carry):
        number = num_segments - 1 - count
        before = tuple(lax.dynamic_index_in_dim(s, number, keepdims=False) for s in kept)
        return segment(_first_step(plan, number, total), plan.length, before, carry)

    d_weights, d_steps, d_state = lax.fori_loop(0, num_segments, one, carry)
    return _typed(d_weights, weights), d_steps, d_state, None


_scan.defvjp(_forward, _backward)


def _typed(gradients, weights):
    return jax.tree.map(lambda g, w: g.astype(w.dtype), gradients, weights)


def _pull(plan, weights, steps, initial, kept, first, d_state, d_hidden, *, num_steps):
    """Cotangents of one segment's weights, inputs and state before."""
    batch, length, num_inputs = steps.shape
    cell, dtype = plan.cell, d_state[0].dtype
    states, kept = kept
    before = tuple(_shifted(s, i, plan.reverse) for s, i in zip(states, initial, strict=True))

    def one(count, carry):
        d_state, stack = carry
        place = count if plan.reverse else length - 1 - count
        at = functools.partial(lax.dynamic_index_in_dim, index=place, axis=1, keepdims=False)
        if d_hidden is not None:
            d_state = (d_state[0] + at(d_hidden), *d_state[1:])
        values = jax.tree.map(at, (before, kept, states))
        gates, d_before = cell.pull(weights.recurrent, *values, d_state)
        if num_steps is not None:
            real = (first + place < num_steps)[:, None]
            gates = jnp.where(real, gates, 0)
            d_before = tuple(jnp.where(real, a, b) for a, b in zip(d_before, d_state, strict=True))
        return d_before, _put(stack, gates, place)

    stack = jnp.zeros((batch, length, weights.bias.size), dtype)
    d_state, stack = lax.fori_loop(0, length, one, (d_state, stack))

    stack = stack.reshape(batch * length, -1)
    gates = stack.astype(steps.dtype)
    summed = functools.partial(jnp.matmul, preferred_element_type=dtype)
    hidden, column, columns = d_state[0].shape[1], 0, []
    for inputs, num_gates in cell.recurrent_input(before[0], kept):
        width = num_gates * hidden
        inputs = inputs.reshape(batch * length, -1).astype(gates.dtype)
        columns.append(summed(inputs.T, gates[:, column : column + width]))
        column += width
    gradients = Weights(
        kernel=summed(steps.reshape(-1, num_inputs).T, gates),
        recurrent=jnp.concatenate(columns, axis=1),
        bias=stack.sum(0),
    )
    return gradients, (gates @ weights.kernel.T).reshape(steps.shape), d_state


def _shifted(states, initial, reverse):
    """The states before each step, of those after each step and the one before all."""
    initial, length = initial[:, None], states.shape[1]
    if reverse:
        return jnp.concatenate([lax.slice_in_dim(states, 1, length, axis=1), initial], axis=1)
    return jnp.concatenate([initial, lax.slice_in_dim(states, 0, length - 1, axis=1)], axis=1)
