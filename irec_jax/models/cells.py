"""Recurrent cells over long sequences: scans with a gradient that is fast and needs little memory.

The gradient of a scan, as JAX derives it, keeps the results of every step, and multiplies a small
matrix per step for each weight. Here the derivative is written out:

- The inputs of many steps are projected by one matrix product, outside the loop over time.
- The backward loop only finds the cotangents of the pre-activations; the gradients of the weights
  and of the inputs are one matrix product each over all of its steps.
- Sequences of more than `MAX_KEPT_STEPS` steps are cut into segments of the square root of their
  length, or less. Only the state before each segment is kept; the rest is computed again, segment
  by segment, in memory that stays in the caches.

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

#: Sequences up to this length are one segment: nothing is computed twice. With an LSTM of 50 units
#: and a batch of 64 this is faster at 294 steps of 300 samples and slower at 882 steps of 100.
MAX_KEPT_STEPS = 512
#: Longer segments leave the caches: those of 256 steps take 1.5 times as long (LSTM of 22 units,
#: batch 16). What is kept before each takes less memory than the sequences, if those are of
#: single samples, and the LSTM of up to 32 units.
MAX_SEGMENT_STEPS = 64

State = tuple[jax.Array, ...]  # (batch, hidden) each, the hidden state first


class Cell(NamedTuple):
    """A recurrent cell: how it steps, and how cotangents step back.

    Attributes:
        products: gates that are found by one product with the hidden state, or with something
            made of it, for each product. Kernels and bias have ``hidden`` columns for each gate.
        num_states: arrays that go from step to step.
        step: (weights, projected input (batch, gates * hidden), state) to (new state, gates
            (batch, gates * hidden) after their activations).
        pull: (weights, state before, gates, state after, cotangents of the state after) to
            (cotangents of the gates before their activations, cotangents of the state before).
        factors: (hidden states before, gates) to what is multiplied with the recurrent kernel,
            for each product.
    """

    products: tuple[int, ...]
    num_states: int
    step: Callable
    pull: Callable
    factors: Callable

    @property
    def num_gates(self) -> int:
        return sum(self.products)


def _sigmoid(x):
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _product(a, b):
    """a @ b of b's type, summed up in a's."""
    return jnp.matmul(a.astype(b.dtype), b, preferred_element_type=a.dtype)


def _rnn_step(weights, projected, state):
    hidden = jnp.tanh(projected + weights.bias + _product(state[0], weights.recurrent))
    return (hidden,), hidden


def _rnn_pull(weights, before, hidden, after, cotangents):
    gates = cotangents[0] * (1 - hidden**2)
    return gates, (_product(gates, weights.recurrent.T),)


def _lstm_scale(gates):
    """Of the gates' columns: 1 where the activation is tanh, 0.5 where it is the sigmoid, which is
    tanh of half of its argument, halved and shifted. So all gates are one tanh (twice as fast)."""
    return jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5], gates.dtype), gates.shape[1] // 4)


def _lstm_step(weights, projected, state):
    hidden, memory = state
    scale = _lstm_scale(projected)
    gates = projected + weights.bias + _product(hidden, weights.recurrent)
    gates = jnp.tanh(gates * scale) * scale + (1 - scale)
    write, forget, candidate, read = jnp.split(gates, 4, axis=1)
    memory = forget * memory + write * candidate
    return (read * jnp.tanh(memory), memory), gates


def _lstm_pull(weights, before, gates, after, cotangents):
    d_hidden, d_memory = cotangents
    write, forget, candidate, read = jnp.split(gates, 4, axis=1)
    squashed = jnp.tanh(after[1])
    d_memory = d_memory + d_hidden * read * (1 - squashed**2)
    d_gates = jnp.concatenate(
        [d_memory * candidate, d_memory * before[1], d_memory * write, d_hidden * squashed], axis=1
    )
    scale = _lstm_scale(gates)
    d_gates = d_gates * (scale**2 - (gates - (1 - scale)) ** 2)
    return d_gates, (_product(d_gates, weights.recurrent.T), d_memory * forget)


def _gru_step(weights, projected, state):
    (hidden,) = state
    split = 2 * hidden.shape[1]
    projected = projected + weights.bias
    gates = _sigmoid(projected[:, :split] + _product(hidden, weights.recurrent[:, :split]))
    update, reset = jnp.split(gates, 2, axis=1)
    product = _product(reset * hidden, weights.recurrent[:, split:])
    candidate = jnp.tanh(projected[:, split:] + product)
    return (hidden + update * (candidate - hidden),), jnp.concatenate([gates, candidate], axis=1)


def _gru_pull(weights, before, kept, after, cotangents):
    (hidden,), (d_hidden,) = before, cotangents
    split = 2 * hidden.shape[1]
    gates, candidate = kept[:, :split], kept[:, split:]
    update, reset = jnp.split(gates, 2, axis=1)
    d_candidate = d_hidden * update * (1 - candidate**2)
    d_product = _product(d_candidate, weights.recurrent[:, split:].T)
    d_gates = jnp.concatenate([d_hidden * (candidate - hidden), d_product * hidden], axis=1)
    d_gates = d_gates * gates * (1 - gates)
    d_before = d_hidden * (1 - update) + d_product * reset
    d_before = d_before + _product(d_gates, weights.recurrent[:, :split].T)
    return jnp.concatenate([d_gates, d_candidate], axis=1), (d_before,)


def _gru_factors(hidden, gates):
    size = hidden.shape[-1]
    return (hidden, gates[..., size : 2 * size] * hidden)


#: Cells by name. Blocks of the kernels' columns: LSTM input, forget, candidate, output; GRU
#: update, reset, candidate.
CELLS = {
    "rnn": Cell((1,), 1, _rnn_step, _rnn_pull, lambda hidden, gates: (hidden,)),
    "lstm": Cell((4,), 2, _lstm_step, _lstm_pull, lambda hidden, gates: (hidden,)),
    "gru": Cell((2, 1), 1, _gru_step, _gru_pull, _gru_factors),
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
        segment_length: steps that are computed again at a time in the backward pass; None: see
            `segment_steps`.

    Returns:
        The hidden state after the last step taken (batch, hidden), or (batch, steps, hidden):
        element t is the state after step t was taken. Of the type of the initial state.
    """
    total = steps.shape[1]
    length = segment_steps(total) if segment_length is None else segment_length
    if num_steps is not None:
        num_steps = num_steps.astype(jnp.int32)
    plan = _Plan(CELLS[cell], reverse, sequence, max(1, min(length, total)))
    return _scan(plan, weights, steps, tuple(initial), num_steps)


def segment_steps(num_steps: int) -> int:
    """Steps of a segment: all of them up to `MAX_KEPT_STEPS`; the square root of their number or
    `MAX_SEGMENT_STEPS` beyond, or up to a third less, where no step is left over then (it would
    need a loop of its own)."""
    if num_steps <= MAX_KEPT_STEPS:
        return num_steps
    longest = min(math.isqrt(num_steps), MAX_SEGMENT_STEPS)
    even = (n for n in range(longest, longest * 2 // 3, -1) if num_steps % n == 0)
    return next(even, longest)


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
    """One segment: last state, hidden states if kept or wanted, and if kept, (states, gates).

    The gates take the place of the projected inputs: less memory is faster.
    """
    batch, length, num_inputs = steps.shape
    cell, dtype = plan.cell, state[0].dtype
    projected = jnp.matmul(
        steps.reshape(-1, num_inputs), weights.kernel, preferred_element_type=dtype
    ).reshape(batch, length, -1)

    def one(count, carry):
        state, gates, stacks = carry
        place = length - 1 - count if plan.reverse else count
        new, kept = cell.step(weights, _at(gates if keep else projected, place), state)
        if num_steps is not None:
            real = (first + place < num_steps)[:, None]
            new = tuple(jnp.where(real, a, b) for a, b in zip(new, state, strict=True))
        gates = _put(gates, kept, place) if keep else None
        return new, gates, tuple(_put(s, n, place) for s, n in zip(stacks, new, strict=False))

    wanted = state if keep else state[:1] if plan.sequence else ()
    stacks = tuple(jnp.zeros((batch, length, s.shape[1]), s.dtype) for s in wanted)
    carry = state, projected if keep else None, stacks
    state, gates, stacks = lax.fori_loop(0, length, one, carry)
    return state, stacks[0] if stacks else None, (stacks, gates)


def _at(stack, place):
    return lax.dynamic_index_in_dim(stack, place, axis=1, keepdims=False)


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
    states, gates = kept
    before = tuple(_shifted(s, i, plan.reverse) for s, i in zip(states, initial, strict=True))
    factors = cell.factors(before[0], gates)

    def one(count, carry):
        d_state, stack = carry
        place = count if plan.reverse else length - 1 - count
        if d_hidden is not None:
            d_state = (d_state[0] + _at(d_hidden, place), *d_state[1:])
        values = (tuple(_at(s, place) for s in before), _at(gates, place))
        after = tuple(_at(s, place) for s in states)
        d_gates, d_before = cell.pull(weights, *values, after, d_state)
        if num_steps is not None:
            real = (first + place < num_steps)[:, None]
            d_gates = jnp.where(real, d_gates, 0)
            d_before = tuple(jnp.where(real, a, b) for a, b in zip(d_before, d_state, strict=True))
        return d_before, _put(stack, d_gates, place)

    d_state, stack = lax.fori_loop(0, length, one, (d_state, jnp.zeros_like(gates)))

    stack = stack.reshape(batch * length, -1)
    d_gates = stack.astype(steps.dtype)
    summed = functools.partial(jnp.matmul, preferred_element_type=dtype)
    column, columns = 0, []
    for factor, num_gates in zip(factors, cell.products, strict=True):
        width = num_gates * d_state[0].shape[1]
        factor = factor.reshape(batch * length, -1).astype(steps.dtype)
        columns.append(summed(factor.T, d_gates[:, column : column + width]))
        column += width
    gradients = Weights(
        kernel=summed(steps.reshape(-1, num_inputs).T, d_gates),
        recurrent=jnp.concatenate(columns, axis=1),
        bias=stack.sum(0),
    )
    return gradients, (d_gates @ weights.kernel.T).reshape(steps.shape), d_state


def _shifted(states, initial, reverse):
    """The states before each step, of those after each step and the one before all."""
    initial, length = initial[:, None], states.shape[1]
    if reverse:
        return jnp.concatenate([lax.slice_in_dim(states, 1, length, axis=1), initial], axis=1)
    return jnp.concatenate([initial, lax.slice_in_dim(states, 0, length - 1, axis=1)], axis=1)
