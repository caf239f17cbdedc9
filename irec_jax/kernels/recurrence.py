"""Scans of recurrent cells over long sequences, with fast gradients that need little memory.

JAX's own gradient of a scan stores the intermediate results of every step and multiplies small
matrices for each weight at every step. Here, the derivative is written by hand:

- The inputs of many steps are projected by one matrix product, outside the loop over time.
- The backward loop computes only the cotangents of the gates before their activations. The local
  derivatives that it needs are computed beforehand for many steps at once. The gradients of the
  weights and inputs are computed afterwards by one matrix product each.
- The backward pass runs segment by segment, so that its data stays in the caches. For sequences of
  more than `MAX_STORED_STEPS` steps, only the state before each segment is stored; the rest is
  recomputed.

Sequences are batch-major and never transposed. Products are computed in the dtype of the inputs;
states and sums are float32 or wider.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from irec_jax.kernels.recurrent_cells import CELLS, Cell

#: Up to this many steps, nothing is recomputed. With an LSTM of 50 units and a batch of 64, storing
#: everything is faster for 294 steps of 300 samples but, due to memory traffic, slower for 882
#: steps of 100.
MAX_STORED_STEPS = 512
#: Limits on the segment length. Longer segments do not fit into the caches: segments of 256 steps
#: take 1.5 times as long (LSTM of 22 units, batch of 16). Even with the shortest segments, the
#: stored states need no more memory than the samples.
MAX_SEGMENT_STEPS, MIN_SEGMENT_STEPS = 64, 20


class RecurrentWeights(NamedTuple):
    """Weights of a recurrent layer, where units = gates * hidden."""

    kernel: Float[Array, "inputs units"]
    recurrent: Float[Array, "hidden units"]
    bias: Float[Array, " units"]


class _Options(NamedTuple):
    """Static options of a scan."""

    cell: Cell
    reverse: bool
    sequence: bool
    segment_length: int
    store_all: bool  # store everything for the backward pass instead of recomputing it


def recurrent_scan(
    cell: str,
    weights: RecurrentWeights,
    steps: Float[Array | np.ndarray, "batch steps inputs"],
    initial: Sequence[Float[Array | np.ndarray, "batch hidden"]],
    *,
    num_steps: Int[Array | np.ndarray, " batch"] | None = None,
    reverse: bool = False,
    sequence: bool = False,
    segment_length: int | None = None,
    store_all: bool | None = None,
) -> Float[Array, "batch hidden"] | Float[Array, "batch steps hidden"]:
    """Run a recurrent cell over sequences.

    Second derivatives and forward mode are not supported.

    Args:
        cell: a key of `CELLS`.
        weights: kernel, recurrent kernel and bias; the kernels have the dtype of the steps.
        steps: inputs, float32 or bfloat16.
        initial: the state before the first step, `Cell.num_states` float32 arrays.
        num_steps: number of valid steps at the start of each example; the padding steps after them
            leave the state unchanged. If None, all steps are valid.
        reverse: run from the last step to the first.
        sequence: return the hidden state after every step.
        segment_length: number of steps per segment of the backward pass; if None,
            `choose_segment_length` chooses it.
        store_all: store everything that the backward pass needs, instead of only the state before
            each segment; if None, this is done for sequences of up to `MAX_STORED_STEPS` steps.

    Returns:
        The hidden state after the last step in the direction of the scan. With `sequence`, the
        hidden state after every step, where element t is the state after step t. The dtype matches
        the initial state.
    """
    total = steps.shape[1]
    length = choose_segment_length(total) if segment_length is None else segment_length
    if num_steps is not None:
        num_steps = num_steps.astype(jnp.int32)
    stored = bool(total <= MAX_STORED_STEPS) if store_all is None else store_all
    options = _Options(CELLS[cell], reverse, sequence, max(1, min(length, total)), stored)
    return _scan(options, weights, steps, tuple(initial), num_steps)


def choose_segment_length(num_steps: int) -> int:
    """Return the number of steps per segment, at most `MAX_SEGMENT_STEPS`.

    Divisors of num_steps that are at least `MIN_SEGMENT_STEPS` are preferred, because a remainder
    would need another loop.
    """
    longest = min(num_steps, MAX_SEGMENT_STEPS)
    divisors = (n for n in range(longest, MIN_SEGMENT_STEPS - 1, -1) if num_steps % n == 0)
    return next(divisors, longest)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(options, weights, steps, initial, num_steps):
    return _forward(options._replace(store_all=False), weights, steps, initial, num_steps)[0]


def _forward(options, weights, steps, initial, num_steps):
    """Return the result and the residuals, with all states or only the states between segments."""
    run_segment = functools.partial(_segment_forward, options, weights, num_steps=num_steps)
    if options.store_all:
        state, (states, gates) = run_segment(steps, initial, 0)
        output = states[0] if options.sequence else state[0]
        return output, (weights, steps, num_steps, (initial, states, gates))
    total = steps.shape[1]
    num_segments, remainder = divmod(total, options.segment_length)
    starts = tuple(jnp.zeros((num_segments + (remainder > 0), *s.shape), s.dtype) for s in initial)
    batch, size = initial[0].shape
    hidden = jnp.zeros((batch, total, size), initial[0].dtype) if options.sequence else None

    def segment(index, length, carry):
        state, starts, hidden = carry
        starts = tuple(s.at[index].set(x) for s, x in zip(starts, state, strict=True))
        first = _first_step(options, index, total)
        segment_steps = _cut(steps, first, length)
        state, (states, _) = run_segment(segment_steps, state, first)
        if options.sequence:
            hidden = lax.dynamic_update_slice_in_dim(hidden, states[0], first, axis=1)
        return state, starts, hidden

    def full_segment(index, carry):
        return segment(index, options.segment_length, carry)

    carry = lax.fori_loop(0, num_segments, full_segment, (initial, starts, hidden))
    state, starts, hidden = segment(num_segments, remainder, carry) if remainder else carry
    return hidden if options.sequence else state[0], (weights, steps, num_steps, starts)


def _first_step(options, index, total):
    """Return the first time step of a segment; segments are numbered in computation order."""
    if options.reverse:
        return jnp.maximum(total - (index + 1) * options.segment_length, 0)
    return index * options.segment_length


def _segment_forward(options, weights, steps, state, first, *, num_steps):
    """Return the last state, and (states, gates) of all steps for the backward pass.

    Without `store_all`, the gates are None, and the states contain the hidden states if `sequence`
    is set and are otherwise empty. The gates overwrite the projected inputs, which saves memory and
    time.
    """
    batch, length, num_inputs = steps.shape
    cell, dtype = options.cell, state[0].dtype
    inputs = steps.reshape(-1, num_inputs)
    projected = jnp.matmul(inputs, weights.kernel, preferred_element_type=dtype)
    projected = projected.reshape(batch, length, -1)
    recurrent = _split_products(cell, weights.recurrent)

    def step(count, carry):
        state, gates, stacks = carry
        t = length - 1 - count if options.reverse else count
        step_inputs = _at(gates if options.store_all else projected, t) + weights.bias
        new, step_gates = cell.step(recurrent, step_inputs, state)
        new = _keep_padding(new, state, first, t, num_steps)
        gates = _put(gates, step_gates, t) if options.store_all else None
        return new, gates, tuple(_put(s, n, t) for s, n in zip(stacks, new, strict=False))

    stacked = state if options.store_all else state[:1] if options.sequence else ()
    stacks = tuple(jnp.zeros((batch, length, s.shape[1]), s.dtype) for s in stacked)
    carry = state, projected if options.store_all else None, stacks
    state, gates, stacks = lax.fori_loop(0, length, step, carry)
    return state, (stacks, gates)


def _keep_padding(new, old, first, t, num_steps):
    """Return the new arrays, or the old ones for examples in which step first + t is padding."""
    if num_steps is None:
        return new
    is_valid = (first + t < num_steps)[:, None]
    return tuple(jnp.where(is_valid, a, b) for a, b in zip(new, old, strict=True))


def _split_products(cell, array):
    """Split the last axis, which contains all gates, into the gates of each product."""
    size = array.shape[-1] // cell.num_gates
    return jnp.split(array, [size * n for n in itertools.accumulate(cell.products[:-1])], axis=-1)


def _at(stack, t):
    return lax.dynamic_index_in_dim(stack, t, axis=1, keepdims=False)


def _cut(stack, first, length):
    return lax.dynamic_slice_in_dim(stack, first, length, axis=1)


def _put(stack, value, t):
    return lax.dynamic_update_index_in_dim(stack, value, t, 1)


def _backward(options, residuals, cotangent):
    weights, steps, num_steps, stored = residuals
    batch, total, _ = steps.shape
    dtype, size = cotangent.dtype, cotangent.shape[-1]

    def segment(index, length, carry):
        d_weights, d_steps, d_state = carry
        first = _first_step(options, index, total)
        segment_steps = _cut(steps, first, length)
        if options.store_all:
            start, intermediates = _slice_stored(options, stored, first, length)
        else:
            start = tuple(lax.dynamic_index_in_dim(s, index, keepdims=False) for s in stored)
            recompute = options._replace(store_all=True)
            arguments = (recompute, weights, segment_steps, start, first)
            _, intermediates = _segment_forward(*arguments, num_steps=num_steps)
        d_hidden = _cut(cotangent, first, length) if options.sequence else None
        stored_segment = (segment_steps, start, intermediates, first)
        d_segment_weights, d_segment_steps, d_state = _segment_backward(
            options, weights, *stored_segment, d_state, d_hidden, num_steps=num_steps
        )
        d_weights = jax.tree.map(jnp.add, d_weights, d_segment_weights)
        d_steps = lax.dynamic_update_slice_in_dim(d_steps, d_segment_steps, first, 1)
        return d_weights, d_steps, d_state

    d_state = [jnp.zeros((batch, size), dtype) for _ in range(options.cell.num_states)]
    if not options.sequence:
        d_state[0] = cotangent
    d_weights = jax.tree.map(lambda w: jnp.zeros(w.shape, dtype), weights)
    carry = d_weights, jnp.zeros_like(steps), tuple(d_state)
    num_segments, remainder = divmod(total, options.segment_length)
    if remainder:
        carry = segment(num_segments, remainder, carry)

    def full_segment(count, carry):
        return segment(num_segments - 1 - count, options.segment_length, carry)

    d_weights, d_steps, d_state = lax.fori_loop(0, num_segments, full_segment, carry)
    d_weights = jax.tree.map(lambda d, w: d.astype(w.dtype), d_weights, weights)
    return d_weights, d_steps, d_state, None


def _slice_stored(options, stored, first, length):
    """Return the state before a segment, and the (states, gates) of the segment."""
    initial, states, gates = stored
    before = first + length if options.reverse else first - 1
    is_inside = (before >= 0) & (before < gates.shape[1])
    start = tuple(
        jnp.where(is_inside, _at(s, jnp.clip(before, 0, gates.shape[1] - 1)), i)
        for s, i in zip(states, initial, strict=True)
    )
    return start, jax.tree.map(lambda stack: _cut(stack, first, length), (states, gates))


_scan.defvjp(_forward, _backward)


def _segment_backward(
    options, weights, steps, initial, intermediates, first, d_state, d_hidden, *, num_steps
):
    """Run the backward pass of a segment.

    Returns the segment's contribution to the gradient of the weights, and the cotangents of its
    inputs and of the state before it.
    """
    batch, length, num_inputs = steps.shape
    cell, dtype = options.cell, d_state[0].dtype
    states, gates = intermediates
    pairs = zip(states, initial, strict=True)
    before = tuple(_states_before(s, i, options.reverse) for s, i in pairs)
    factors = cell.factors(before[0], gates)
    derivatives = cell.local_derivatives(before, gates, states)
    if num_steps is not None:
        is_valid = (first + jnp.arange(length) < num_steps[:, None])[..., None]
        derivatives = tuple(jnp.where(is_valid, derivative, 0) for derivative in derivatives)
    transposed = [kernel.T for kernel in _split_products(cell, weights.recurrent)]

    def step(count, carry):
        d_state, stack = carry
        t = count if options.reverse else length - 1 - count
        if d_hidden is not None:
            d_state = (d_state[0] + _at(d_hidden, t), *d_state[1:])
        step_derivatives = tuple(_at(d, t) for d in derivatives)
        d_gates, d_before = cell.step_backward(transposed, step_derivatives, d_state)
        d_before = _keep_padding(d_before, d_state, first, t, num_steps)
        return d_before, _put(stack, d_gates, t)

    d_state, stack = lax.fori_loop(0, length, step, (d_state, jnp.zeros_like(gates)))

    stack = stack.reshape(batch * length, -1)
    d_gates = stack.astype(steps.dtype)
    matmul = functools.partial(jnp.matmul, preferred_element_type=dtype)
    factors = [factor.reshape(batch * length, -1).astype(steps.dtype) for factor in factors]
    columns = zip(factors, _split_products(cell, d_gates), strict=True)
    gradients = RecurrentWeights(
        kernel=matmul(steps.reshape(-1, num_inputs).T, d_gates),
        recurrent=jnp.concatenate([matmul(f.T, gates) for f, gates in columns], axis=1),
        bias=stack.sum(0),
    )
    return gradients, (d_gates @ weights.kernel.T).reshape(steps.shape), d_state


def _states_before(states, initial, reverse):
    """Return the state before each step, given the initial state and the state after each step."""
    initial, length = initial[:, None], states.shape[1]
    if reverse:
        return jnp.concatenate([lax.slice_in_dim(states, 1, length, axis=1), initial], axis=1)
    return jnp.concatenate([initial, lax.slice_in_dim(states, 0, length - 1, axis=1)], axis=1)
