"""How much of each track is in each other track (Seipel 2018, section 3.2.1).

For every target track l, weights lambda_lj >= 0 (j != l) minimise

    Theta_l(lambda) = 1/N sum_{n,k} [X_l(n, k) - sum_j lambda_lj X_j(n, k)]^2        (3.1)

over magnitude spectrograms X of N frames. The cost is quadratic: with the Gram matrix
G = 1/N sum_{n,k} X X^T it is G_ll - 2 lambda G_l + lambda G lambda, and its gradient
2 (lambda G - G_l). So the spectrograms are needed once, and every step of a solver costs a product
of small matrices for all targets together. All functions take leading axes (bands) before (J, J).

Weights are solved for in float64: the tracks of an ensemble resemble each other, and G is nearly
singular. G itself is summed in float32 on the device, accurate to about 1e-6 of its largest
element for a minute of music; `irec_jax.crosstalk.streaming` adds up such pieces in float64.
"""

import functools
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from irec_jax import registry
from irec_jax.metrics.ratios import double_precision

#: The largest eigenvalue of the Hessian 2 G to which `solve_momentum` scales the spectrograms.
HESSIAN_SCALE = 1_000.0
_INITIAL_RATE = 1e-3
_RATE_DECAY = 0.99
_MOMENTUM = 0.8
# A gradient this small, in units of the tracks' own powers, is rounding: its track is left out.
_GRADIENT_TOLERANCE = 1e-10
# Of a chunk of spectrograms: 1 MB.
_CHUNK_VALUES = 2**18


@jax.jit
def gram(magnitudes: jax.Array) -> jax.Array:
    """G = 1/N sum_{n,k} X_j(n, k) X_l(n, k).

    Args:
        magnitudes: float32 (..., J, frames, bins), >= 0.

    Returns:
        float32 (..., J, J).
    """
    chex.assert_rank(magnitudes, {3, 4, 5})
    products = jax.lax.platform_dependent(magnitudes, cpu=_products_in_chunks, default=_products)
    return products / magnitudes.shape[-2]


def _products(magnitudes: jax.Array) -> jax.Array:
    flat = magnitudes.reshape(*magnitudes.shape[:-2], -1)
    return jnp.matmul(flat, flat.mT, precision=jax.lax.Precision.HIGHEST)


def _products_in_chunks(magnitudes: jax.Array) -> jax.Array:
    """As `_products`, a few frames after another.

    So long a sum of so few rows takes XLA twenty times longer on a CPU when it leaves the caches.
    """
    *leading, num_tracks, num_frames, num_bins = magnitudes.shape
    size = max(1, _CHUNK_VALUES // (math.prod(leading) * num_tracks * num_bins))
    if size >= num_frames:
        return _products(magnitudes)
    num_chunks = num_frames // size

    def add(total: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        chunk = jax.lax.dynamic_slice_in_dim(magnitudes, i * size, size, axis=-2)
        return total + _products(chunk), None

    rest = _products(magnitudes[..., num_chunks * size :, :])
    return jax.lax.scan(add, rest, jnp.arange(num_chunks))[0]


class Momentum(NamedTuple):
    """What `solve_momentum` found: weights (..., J, J) and steps taken (..., J), by target."""

    weights: np.ndarray
    num_steps: np.ndarray


def estimate(gram: np.ndarray, *, solver: str = "nnls", **options) -> np.ndarray:
    """Weights lambda of every track in every other one.

    Args:
        gram: (..., J, J), as `gram` gives it.
        solver: 'nnls', the exact minimum, or 'momentum', the source's descent.
        **options: keyword arguments of the solver.

    Returns:
        float64 (..., J, J), >= 0: row l holds what is to be taken from track l; zero diagonal, and
        zeros for silent tracks.

    Raises:
        UserError: unknown solver or option.
    """
    return registry.create("solver", SOLVERS, solver, gram=gram, **options)


def cost(gram: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Theta of equation 3.1 for every target.

    Args:
        gram: (..., J, J).
        weights: (..., J, J) with zero diagonal.

    Returns:
        float64 (..., J): mean energy per frame that the weights leave in each track.
    """
    residual = np.eye(gram.shape[-1]) - np.asarray(weights, np.float64)
    return np.einsum("...li,...ij,...lj->...l", residual, np.asarray(gram, np.float64), residual)


def solve_nnls(gram: np.ndarray) -> np.ndarray:
    """The exact minimum of (3.1): non-negative least squares by active sets.

    Lawson and Hanson's method on the Gram matrix (Bro and de Jong 1997), for all targets at once.

    Args:
        gram: (..., J, J), symmetric, positive semidefinite.

    Returns:
        float64 (..., J, J), zero diagonal; of equal tracks one bears the weight.
    """
    gram = _checked(gram)
    with double_precision():
        return np.asarray(_nnls(jnp.asarray(gram)))


def solve_momentum(
    gram: np.ndarray,
    *,
    max_steps: int = 1_000,
    tolerance: float = 1e-12,
    initial: np.ndarray | None = None,
) -> np.ndarray:
    """The source's solver: gradient descent with momentum (3.2-3.6).

        v(m+1) = 0.8 v(m) + dTheta/dlambda                                     (3.4)
        lambda(m+1) = max(lambda(m) - gamma(m) v(m+1), 0)                      (3.3)
        gamma(m+1) = 0.99 gamma(m), gamma(0) = 0.001                           (3.5)

    The source leaves the scale of the spectrograms open, on which the size of its steps depends:
    at magnitudes of the order of the samples the descent stalls near zero. They are scaled so that
    the largest eigenvalue of the Hessian 2 G is 1,000; from 300 to 5,000 it reaches the minimum,
    but for a last 3e-7 of Theta where 14 tracks hear each other at -6 dB.

    Args:
        gram: (..., J, J).
        max_steps: at most so many steps m.
        tolerance: delta of (3.6) as a part of the target's own energy: a target is finished when a
            step changes Theta by less. Not when momentum overshoots, so that Theta rises, or holds
            a weight at zero that the gradient would raise.
        initial: lambda(0), (..., J, J); None is zeros.

    Returns:
        float64 (..., J, J), zero diagonal.
    """
    return momentum_descent(gram, max_steps=max_steps, tolerance=tolerance, initial=initial).weights


def momentum_descent(
    gram: np.ndarray,
    *,
    max_steps: int = 1_000,
    tolerance: float = 1e-12,
    initial: np.ndarray | None = None,
) -> Momentum:
    """As `solve_momentum`, with the number of steps that each target took."""
    gram = _checked(gram)
    initial = np.zeros_like(gram) if initial is None else np.asarray(initial, np.float64)
    if initial.shape != gram.shape or (initial < 0).any():
        raise ValueError(f"initial: expected weights {gram.shape}, all >= 0")
    with double_precision():
        found = _descend(gram, initial, max_steps=max_steps, tolerance=tolerance)
        return Momentum(*(np.asarray(one) for one in found))


#: The solvers, by name.
SOLVERS = {"nnls": solve_nnls, "momentum": solve_momentum}


def _checked(gram: np.ndarray) -> np.ndarray:
    gram = np.asarray(gram, np.float64)
    if gram.ndim < 2 or gram.shape[-1] != gram.shape[-2] or not np.isfinite(gram).all():
        raise ValueError(f"gram: expected finite (..., J, J), got shape {gram.shape}")
    return gram


@functools.partial(jnp.vectorize, signature="(j,j)->(j,j)")
def _nnls_all(gram: jax.Array) -> jax.Array:
    return jax.vmap(_nnls_one, in_axes=(None, 0))(gram, jnp.arange(len(gram)))


_nnls = jax.jit(_nnls_all)


def _nnls_one(gram: jax.Array, target: jax.Array) -> jax.Array:
    """Weights (J,) of one target."""
    num_tracks = len(gram)
    allowed = jnp.arange(num_tracks) != target
    # In units of the tracks' own powers, tolerances mean the same whatever the levels.
    size = jnp.sqrt(jnp.diag(gram))
    unit = jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 0)
    gram = gram * unit[:, None] * unit
    wanted = gram[target]

    def minimum(passive: jax.Array) -> jax.Array:
        """Least squares over the passive tracks, the others 0."""
        both = passive[:, None] & passive
        matrix = jnp.where(both, gram, jnp.eye(num_tracks))
        return jnp.where(passive, jnp.linalg.solve(matrix, jnp.where(passive, wanted, 0)), 0)

    def gradient(state) -> jax.Array:
        passive, refused, weights, _ = state
        return jnp.where(allowed & ~passive & ~refused, wanted - gram @ weights, -jnp.inf)

    def unfinished(state) -> jax.Array:
        return (gradient(state).max() > _GRADIENT_TOLERANCE) & (state[-1] < 3 * num_tracks)

    def let_one_in(state):
        passive, refused, weights, step = state
        # While other targets are at work, a finished one comes by here too: it lets nobody in.
        entering = (jnp.arange(num_tracks) == gradient(state).argmax()) & unfinished(state)
        passive = passive | entering

        def infeasible(inner) -> jax.Array:
            passive, _, solution = inner
            return jnp.where(passive, solution, 1).min() <= 0

        def go_to_the_border(inner):
            passive, weights, solution = inner
            leaving = passive & (solution <= 0)
            moving = leaving & (weights > 0)  # the others are at the border
            steps = jnp.where(moving, weights / jnp.where(moving, weights - solution, 1), 0)
            steps = jnp.where(leaving, steps, jnp.inf)
            weights = weights + steps.min() * (solution - weights)
            passive = passive & ~(leaving & (steps <= steps.min()))
            weights = jnp.where(passive, weights, 0)
            return passive, weights, minimum(passive)

        inner = (passive, weights, minimum(passive))
        passive, _, solution = jax.lax.while_loop(infeasible, go_to_the_border, inner)
        # Rounding can turn away at once what the gradient let in: the next one gets its turn.
        turned_away = entering & ~passive
        refused = turned_away | (refused & turned_away.any())
        return passive, refused, solution, step + 1

    nobody = jnp.zeros(num_tracks, bool)
    start = (nobody, nobody, jnp.zeros(num_tracks, gram.dtype), 0)
    *_, weights, _ = jax.lax.while_loop(unfinished, let_one_in, start)
    return weights * unit / jnp.where(unit[target] > 0, unit[target], 1) * (unit[target] > 0)


@functools.partial(jax.jit, static_argnames="max_steps")
def _descend(gram: jax.Array, initial: jax.Array, *, max_steps: int, tolerance: float):
    largest = 2 * jnp.linalg.eigvalsh(gram)[..., -1:, None]
    scaled = jnp.where(largest > 0, HESSIAN_SCALE / jnp.where(largest > 0, largest, 1), 0) * gram
    energies = jnp.diagonal(scaled, axis1=-2, axis2=-1)
    off_diagonal = 1 - jnp.eye(gram.shape[-1])

    def theta(weights: jax.Array) -> jax.Array:
        products = weights @ scaled
        return energies + ((products - 2 * scaled) * weights).sum(-1)

    def step(state):
        weights, velocity, old, running, num_steps, m = state
        slope = 2 * (weights @ scaled - scaled) * off_diagonal
        velocity = _MOMENTUM * velocity + slope
        moved = jnp.maximum(weights - _INITIAL_RATE * _RATE_DECAY**m * velocity, 0)
        weights = jnp.where(running[..., None], moved, weights)
        new = theta(weights)
        num_steps = num_steps + running
        held = ((moved == 0) & (slope < 0)).any(-1)
        unfinished = held | (jnp.abs(old - new) >= tolerance * energies)
        return weights, velocity, new, running & unfinished, num_steps, m + 1

    weights = initial * off_diagonal
    state = (
        weights, jnp.zeros_like(weights), theta(weights), energies > 0,
        jnp.zeros(energies.shape, jnp.int32), 0,
    )  # fmt: skip
    final = jax.lax.while_loop(lambda s: s[3].any() & (s[5] < max_steps), step, state)
    return final[0], final[4]
