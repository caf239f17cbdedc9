"""Recurrent cells over long sequences: scans with a gradient that is fast and needs little memory.

The gradient of a scan, as JAX derives it, keeps the results of every step, and multiplies a small
matrix per step for each weight. Here the derivative is written out:

- The inputs of many steps are projected by one matrix product, outside the loop over time.
- The backward loop only finds the cotangents of the gates before their activations. What it needs
  of each step is found for many steps at once before it, and the gradients of the weights and of
  the inputs are one matrix product each after it.
- It does so segment by segment, in memory that stays in the caches. Of sequences of more than
  `MAX_KEPT_STEPS` steps only the state before each segment is kept; the rest is computed again.

Everything is batch-major, so nothing is transposed. Products are of the inputs' type; states and
sums are float32 at least.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

#: Of sequences up to this length nothing is computed twice. With an LSTM of 50 units and a batch of
#: 64 that is faster at 294 steps of 300 samples and slower at 882 steps of 100: memory costs time.
MAX_KEPT_STEPS = 512
#: Longer segments leave the caches: those of 256 steps take 1.5 times as long (LSTM of 22 units,
#: batch 16). The states before segments as short as this take no more memory than single samples.
MAX_SEGMENT_STEPS, MIN_SEGMENT_STEPS = 64, 20

State = tuple[jax.Array, ...]  # (batch, hidden) each, the hidden state first


class Cell(NamedTuple):
    """A recurrent cell: how it steps, and how cotangents step back.

    Attributes:
        products: gates that are found by one product with the hidden state, or with something
            made of it, for each product. Kernels and bias have ``hidden`` columns for each gate.
        num_states: arrays that go from step to step.
        step: (recurrent kernel of each product, projected input plus bias (batch, gates * hidden),
            state) to (new state, gates (batch, gates * hidden) after their activations).
        slopes: (states before, gates, states after), each (batch, steps, ...), to what the way back
            needs of each step and can be found for many steps at once.
        pull: (transposed recurrent kernel of each product, slopes of a step, cotangents of the
            state after it) to (cotangents of the gates before their activations, cotangents of
            the state before).
        factors: (hidden states before, gates) to what is multiplied with the recurrent kernel,
            for each product.
    """

    products: tuple[int, ...]
    num_states: int
    step: Callable
    slopes: Callable
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


def _rnn_step(recurrent, projected, state):
    hidden = jnp.tanh(projected + _product(state[0], recurrent[0]))
    return (hidden,), hidden


def _rnn_slopes(before, gates, after):
    return (1 - gates**2,)


def _rnn_pull(transposed, slopes, cotangents):
    d_gates = cotangents[0] * slopes[0]
    return d_gates, (_product(d_gates, transposed[0]),)


def _lstm_scale(gates):
    """Of the gates' columns: 1 where the activation is tanh, 0.5 where it is the sigmoid, which is
    tanh of half of its argument, halved and shifted. So all gates are one tanh (twice as fast)."""
    return jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5], gates.dtype), gates.shape[1] // 4)


def _lstm_step(recurrent, projected, state):
    hidden, memory = state
    scale = _lstm_scale(projected)
    gates = projected + _product(hidden, recurrent[0])
    gates = jnp.tanh(gates * scale) * scale + (1 - scale)
    write, forget, candidate, read = jnp.split(gates, 4, axis=1)
    memory = forget * memory + write * candidate
    return (read * jnp.tanh(memory), memory), gates


def _lstm_slopes(before, gates, after):
    write, forget, candidate, read = jnp.split(gates, 4, axis=-1)
    squashed = jnp.tanh(after[1])
    return (
        candidate * write * (1 - write),
        before[1] * forget * (1 - forget),
        write * (1 - candidate**2),
        squashed * read * (1 - read),
        read * (1 - squashed**2),
        forget,
    )


def _lstm_pull(transposed, slopes, cotangents):
    write, forget, candidate, read, memory, kept = slopes
    d_hidden, d_memory = cotangents
    d_memory = d_memory + d_hidden * memory
    d_gates = [d_memory * write, d_memory * forget, d_memory * candidate, d_hidden * read]
    d_gates = jnp.concatenate(d_gates, axis=1)
    return d_gates, (_product(d_gates, transposed[0]), d_memory * kept)


def _gru_step(recurrent, projected, state):
    (hidden,) = state
    split = 2 * hidden.shape[1]
    gates = _sigmoid(projected[:, :split] + _product(hidden, recurrent[0]))
    update, reset = jnp.split(gates, 2, axis=1)
    product = _product(reset * hidden, recurrent[1])
    candidate = jnp.tanh(projected[:, split:] + product)
    return (hidden + update * (candidate - hidden),), jnp.concatenate([gates, candidate], axis=1)


def _gru_slopes(before, gates, after):
    (hidden,), (update, reset, candidate) = before, jnp.split(gates, 3, axis=-1)
    return (
        (candidate - hidden) * update * (1 - update),
        hidden * reset * (1 - reset),
        update * (1 - candidate**2),
        reset,
        1 - update,
    )


def _gru_pull(transposed, slopes, cotangents):
    (update, reset, candidate, passed, kept), (d_hidden,) = slopes, cotangents
    d_candidate = d_hidden * candidate
    d_product = _product(d_candidate, transposed[1])
    d_gates = jnp.concatenate([d_hidden * update, d_product * reset], axis=1)
    d_before = d_hidden * kept + d_product * passed
    d_before = d_before + _product(d_gates, transposed[0])
    return jnp.concatenate([d_gates, d_candidate], axis=1), (d_before,)


def _gru_factors(hidden, gates):
    size = hidden.shape[-1]
    return (hidden, gates[..., size : 2 * size] * hidden)


#: Cells by name. Blocks of the kernels' columns: LSTM input, forget, candidate, output; GRU
#: update, reset, candidate.
CELLS = {
    "rnn": Cell((1,), 1, _rnn_step, _rnn_slopes, _rnn_pull, lambda hidden, gates: (hidden,)),
    "lstm": Cell((4,), 2, _lstm_step, _lstm_slopes, _lstm_pull, lambda hidden, gates: (hidden,)),
    "gru": Cell((2, 1), 1, _gru_step, _gru_slopes, _gru_pull, _gru_factors),
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
    keep: bool  # everything for the way back, instead of computing it again


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
    keep: bool | None = None,
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
        segment_length: steps that the way back works on at a time; None: see `segment_steps`.
        keep: keep everything that the way back needs, instead of the state before each segment;
            None: up to `MAX_KEPT_STEPS` steps.

    Returns:
        The hidden state after the last step taken (batch, hidden), or (batch, steps, hidden):
        element t is the state after step t was taken. Of the type of the initial state.
    """
    total = steps.shape[1]
    length = segment_steps(total) if segment_length is None else segment_length
    if num_steps is not None:
        num_steps = num_steps.astype(jnp.int32)
    keep = total <= MAX_KEPT_STEPS if keep is None else keep
    plan = _Plan(CELLS[cell], reverse, sequence, max(1, min(length, total)), keep)
    return _scan(plan, weights, steps, tuple(initial), num_steps)


def segment_steps(num_steps: int) -> int:
    """Steps of a segment: `MAX_SEGMENT_STEPS`, or less, down to `MIN_SEGMENT_STEPS`, where no step
    is left over then (it would need a loop of its own)."""
    longest = min(num_steps, MAX_SEGMENT_STEPS)
    even = (n for n in range(longest, MIN_SEGMENT_STEPS - 1, -1) if num_steps % n == 0)
    return next(even, longest)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(plan, weights, steps, initial, num_steps):
    return _forward(plan._replace(keep=False), weights, steps, initial, num_steps)[0]


def _forward(plan, weights, steps, initial, num_steps):
    """The result, and what the backward pass needs: everything, or the state before each
    segment."""
    run = functools.partial(_run, plan, weights, num_steps=num_steps)
    if plan.keep:
        state, (states, gates) = run(steps, initial, 0)
        output = states[0] if plan.sequence else state[0]
        return output, (weights, steps, num_steps, (initial, states, gates))
    total = steps.shape[1]
    num_segments, rest = divmod(total, plan.length)
    starts = tuple(jnp.zeros((num_segments + (rest > 0), *s.shape), s.dtype) for s in initial)
    batch, size = initial[0].shape
    hidden = jnp.zeros((batch, total, size), initial[0].dtype) if plan.sequence else None

    def segment(number, length, carry):
        state, starts, hidden = carry
        starts = tuple(s.at[number].set(x) for s, x in zip(starts, state, strict=True))
        first = _first_step(plan, number, total)
        part = lax.dynamic_slice_in_dim(steps, first, length, axis=1)
        state, (states, _) = run(part, state, first)
        if plan.sequence:
            hidden = lax.dynamic_update_slice_in_dim(hidden, states[0], first, axis=1)
        return state, starts, hidden

    carry = lax.fori_loop(
        0, num_segments, lambda n, c: segment(n, plan.length, c), (initial, starts, hidden)
    )
    state, starts, hidden = segment(num_segments, rest, carry) if rest else carry
    return hidden if plan.sequence else state[0], (weights, steps, num_steps, starts)


def _first_step(plan, number, total):
    """Where the segment of that number, in the order of computation, starts. The last one is
    shorter where steps are left over."""
    if plan.reverse:
        return jnp.maximum(total - (number + 1) * plan.length, 0)
    return number * plan.length


def _run(plan, weights, steps, state, first, *, num_steps):
    """One segment: last state, and (states, gates) if kept, or (hidden states, none) if wanted.

    The gates take the place of the projected inputs: less memory is faster.
    """
    batch, length, num_inputs = steps.shape
    cell, dtype = plan.cell, state[0].dtype
    projected = jnp.matmul(
        steps.reshape(-1, num_inputs), weights.kernel, preferred_element_type=dtype
    ).reshape(batch, length, -1)
    recurrent = _by_product(cell, weights.recurrent)

    def one(count, carry):
        state, gates, stacks = carry
        place = length - 1 - count if plan.reverse else count
        step = _at(gates if plan.keep else projected, place) + weights.bias
        new, kept = cell.step(recurrent, step, state)
        if num_steps is not None:
            real = (first + place < num_steps)[:, None]
            new = tuple(jnp.where(real, a, b) for a, b in zip(new, state, strict=True))
        gates = _put(gates, kept, place) if plan.keep else None
        return new, gates, tuple(_put(s, n, place) for s, n in zip(stacks, new, strict=False))

    wanted = state if plan.keep else state[:1] if plan.sequence else ()
    stacks = tuple(jnp.zeros((batch, length, s.shape[1]), s.dtype) for s in wanted)
    carry = state, projected if plan.keep else None, stacks
    state, gates, stacks = lax.fori_loop(0, length, one, carry)
    return state, (stacks, gates)


def _by_product(cell, array):
    """The last axis, of all gates, in pieces: the gates of each product."""
    size = array.shape[-1] // cell.num_gates
    return jnp.split(array, [size * n for n in itertools.accumulate(cell.products[:-1])], axis=-1)


def _at(stack, place):
    return lax.dynamic_index_in_dim(stack, place, axis=1, keepdims=False)


def _put(stack, value, place):
    return lax.dynamic_update_index_in_dim(stack, value, place, 1)


def _backward(plan, residuals, cotangent):
    weights, steps, num_steps, kept = residuals
    batch, total, _ = steps.shape
    dtype, size = cotangent.dtype, cotangent.shape[-1]

    def segment(number, length, carry):
        d_weights, d_steps, d_state = carry
        first = _first_step(plan, number, total)
        part = lax.dynamic_slice_in_dim(steps, first, length, axis=1)
        if plan.keep:
            start, found = _cut(plan, kept, first, length)
        else:
            start = tuple(lax.dynamic_index_in_dim(s, number, keepdims=False) for s in kept)
            again = plan._replace(keep=True)
            _, found = _run(again, weights, part, start, first, num_steps=num_steps)
        d_hidden = None
        if plan.sequence:
            d_hidden = lax.dynamic_slice_in_dim(cotangent, first, length, axis=1)
        added, d_part, d_state = _pull(
            plan, weights, part, start, found, first, d_state, d_hidden, num_steps=num_steps
        )
        d_weights = jax.tree.map(jnp.add, d_weights, added)
        return d_weights, lax.dynamic_update_slice_in_dim(d_steps, d_part, first, 1), d_state

    d_state = [jnp.zeros((batch, size), dtype) for _ in range(plan.cell.num_states)]
    if not plan.sequence:
        d_state[0] = cotangent
    d_weights = jax.tree.map(lambda w: jnp.zeros(w.shape, dtype), weights)
    carry = d_weights, jnp.zeros_like(steps), tuple(d_state)
    num_segments, rest = divmod(total, plan.length)
    if rest:
        carry = segment(num_segments, rest, carry)
    d_weights, d_steps, d_state = lax.fori_loop(
        0, num_segments, lambda n, c: segment(num_segments - 1 - n, plan.length, c), carry
    )
    d_weights = jax.tree.map(lambda d, w: d.astype(w.dtype), d_weights, weights)
    return d_weights, d_steps, d_state, None


def _cut(plan, kept, first, length):
    """State before a segment, and its (states, gates), of all that was kept."""
    initial, states, gates = kept
    before = first + length if plan.reverse else first - 1
    inside = (before >= 0) & (before < gates.shape[1])
    start = tuple(
        jnp.where(inside, _at(s, jnp.clip(before, 0, gates.shape[1] - 1)), i)
        for s, i in zip(states, initial, strict=True)
    )
    return start, jax.tree.map(
        lambda stack: lax.dynamic_slice_in_dim(stack, first, length, axis=1), (states, gates)
    )


_scan.defvjp(_forward, _backward)


def _pull(plan, weights, steps, initial, kept, first, d_state, d_hidden, *, num_steps):
    """Cotangents of one segment's weights, inputs and state before."""
    batch, length, num_inputs = steps.shape
    cell, dtype = plan.cell, d_state[0].dtype
    states, gates = kept
    before = tuple(_shifted(s, i, plan.reverse) for s, i in zip(states, initial, strict=True))
    factors = cell.factors(before[0], gates)
    slopes = cell.slopes(before, gates, states)
    if num_steps is not None:
        real = (first + jnp.arange(length) < num_steps[:, None])[..., None]
        slopes = tuple(jnp.where(real, slope, 0) for slope in slopes)
    transposed = [kernel.T for kernel in _by_product(cell, weights.recurrent)]

    def one(count, carry):
        d_state, stack = carry
        place = count if plan.reverse else length - 1 - count
        if d_hidden is not None:
            d_state = (d_state[0] + _at(d_hidden, place), *d_state[1:])
        d_gates, d_before = cell.pull(transposed, tuple(_at(s, place) for s in slopes), d_state)
        if num_steps is not None:
            real = (first + place < num_steps)[:, None]
            d_before = tuple(jnp.where(real, a, b) for a, b in zip(d_before, d_state, strict=True))
        return d_before, _put(stack, d_gates, place)

    d_state, stack = lax.fori_loop(0, length, one, (d_state, jnp.zeros_like(gates)))

    stack = stack.reshape(batch * length, -1)
    d_gates = stack.astype(steps.dtype)
    summed = functools.partial(jnp.matmul, preferred_element_type=dtype)
    factors = [factor.reshape(batch * length, -1).astype(steps.dtype) for factor in factors]
    columns = zip(factors, _by_product(cell, d_gates), strict=True)
    gradients = Weights(
        kernel=summed(steps.reshape(-1, num_inputs).T, d_gates),
        recurrent=jnp.concatenate([summed(f.T, gates) for f, gates in columns], axis=1),
        bias=stack.sum(0),
    )
    return gradients, (d_gates @ weights.kernel.T).reshape(steps.shape), d_state


def _shifted(states, initial, reverse):
    """The states before each step, of those after each step and the one before all."""
    initial, length = initial[:, None], states.shape[1]
    if reverse:
        return jnp.concatenate([lax.slice_in_dim(states, 1, length, axis=1), initial], axis=1)
    return jnp.concatenate([initial, lax.slice_in_dim(states, 0, length - 1, axis=1)], axis=1)
