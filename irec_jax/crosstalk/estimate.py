"""Crosstalk estimation: the weight of each track in every other track (Seipel 2018, 3.2.1).

For every target track l, weights lambda_lj >= 0 (j != l) minimise

    Theta_l(lambda) = 1/N sum_{n,k} [X_l(n, k) - sum_j lambda_lj X_j(n, k)]^2        (3.1)

over magnitude spectrograms X_j with N frames. The cost is quadratic. With the Gram matrix
G = 1/N sum_{n,k} X X^T, it equals G_ll - 2 lambda G_l + lambda G lambda, and its gradient is
2 (lambda G - G_l). The spectrograms are therefore read only once, and one solver step for all
targets is a product of small matrices. All functions accept leading axes (bands) before (J, J).

The weights are computed in float64: the tracks in an ensemble recording resemble each other, so G
is nearly singular. G itself is summed in float32 on the device, which is accurate to about 1e-6 of
its largest element for a minute of music; `irec_jax.crosstalk.streaming` sums longer recordings in
float64.
"""

import functools
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Float64, Int

from irec_jax import registry
from irec_jax.metrics.ratios import double_precision

#: Largest eigenvalue of the Hessian 2 G after `momentum_descent` has scaled the spectrograms.
HESSIAN_SCALE = 1_000.0
_INITIAL_RATE = 1e-3
_RATE_DECAY = 0.99
_MOMENTUM = 0.8
# Gradients below this value, relative to the track powers, are rounding errors.
_GRADIENT_TOLERANCE = 1e-10
# Number of elements in a chunk of spectrograms (1 MB).
_CHUNK_VALUES = 2**18


@jax.jit
def gram(
    magnitudes: Float[Array | np.ndarray, "*batch tracks frames bins"],
) -> Float[Array, "*batch tracks tracks"]:
    """Return the Gram matrix G_jl = 1/N sum_{n,k} X_j(n, k) X_l(n, k).

    Args:
        magnitudes: X, >= 0.
    """
    chex.assert_rank(magnitudes, {3, 4, 5})
    products = jax.lax.platform_dependent(magnitudes, cpu=_products_in_chunks, default=_products)
    return products / magnitudes.shape[-2]


def _products(magnitudes: jax.Array) -> jax.Array:
    flat = magnitudes.reshape(*magnitudes.shape[:-2], -1)
    return jnp.matmul(flat, flat.mT, precision=jax.lax.Precision.HIGHEST)


def _products_in_chunks(magnitudes: jax.Array) -> jax.Array:
    """Return the result of `_products`, computed in chunks of frames.

    On the CPU, XLA multiplies a few long rows twenty times more slowly once they exceed the caches.
    """
    *leading, num_tracks, num_frames, num_bins = magnitudes.shape
    size = max(1, _CHUNK_VALUES // (math.prod(leading) * num_tracks * num_bins))
    if size >= num_frames:
        return _products(magnitudes)
    num_chunks = num_frames // size

    def add(total: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        chunk = jax.lax.dynamic_slice_in_dim(magnitudes, i * size, size, axis=-2)
        return total + _products(chunk), None

    remainder = _products(magnitudes[..., num_chunks * size :, :])
    return jax.lax.scan(add, remainder, jnp.arange(num_chunks))[0]


class Descent(NamedTuple):
    """Weights with a zero diagonal, and the number of steps taken for each target."""

    weights: Float64[np.ndarray, "... tracks tracks"]
    num_steps: Int[np.ndarray, "... tracks"]


def estimate(
    gram: Float[Array | np.ndarray, "..."], *, solver: str = "nnls", **options: Any
) -> Float64[np.ndarray, "... tracks tracks"]:
    """Return the weights lambda of every track in every other track.

    Args:
        gram: G, (..., tracks, tracks), as returned by `gram`.
        solver: 'nnls' for the exact minimum, or 'momentum' for Seipel's gradient descent.
        **options: keyword arguments for the solver.

    Returns:
        Non-negative weights; row l holds the weights of the other tracks in track l. The diagonal
        and the weights of silent tracks are zero.

    Raises:
        UserError: if the solver or an option is unknown.
    """
    return registry.create("solver", SOLVERS, solver, gram=gram, **options)


def cost(
    gram: Float[Array | np.ndarray, "*batch tracks tracks"],
    weights: Float[Array | np.ndarray, "*batch tracks tracks"],
) -> Float64[np.ndarray, "*batch tracks"]:
    """Return Theta (equation 3.1) for every target.

    Args:
        gram: G.
        weights: lambda, with zero diagonal.

    Returns:
        Mean residual energy per frame in each track.
    """
    residual = np.eye(gram.shape[-1]) - np.asarray(weights, np.float64)
    return np.einsum("...li,...ij,...lj->...l", residual, np.asarray(gram, np.float64), residual)


def solve_nnls(
    gram: Float[Array | np.ndarray, "..."],
) -> Float64[np.ndarray, "... tracks tracks"]:
    """Minimise (3.1) exactly by non-negative least squares with active sets.

    This is Lawson and Hanson's algorithm applied to the Gram matrix (Bro and de Jong 1997), for all
    targets in parallel.

    Args:
        gram: (..., tracks, tracks), symmetric, positive semidefinite.

    Returns:
        Weights with zero diagonal. If several tracks are identical, one of them carries all the
        weight.
    """
    gram = _check_gram(gram)
    with double_precision():
        return np.asarray(_nnls(jnp.asarray(gram)))


def momentum_descent(
    gram: Float[Array | np.ndarray, "..."],
    *,
    max_steps: int = 1_000,
    tolerance: float = 1e-12,
    initial: Float[np.ndarray, "..."] | None = None,
) -> Descent:
    """Minimise (3.1) with Seipel's solver: gradient descent with momentum (3.2-3.6).

        v(m+1) = 0.8 v(m) + dTheta/dlambda                                     (3.4)
        lambda(m+1) = max(lambda(m) - gamma(m) v(m+1), 0)                      (3.3)
        gamma(m+1) = 0.99 gamma(m), gamma(0) = 0.001                           (3.5)

    A suitable step size depends on the spectrograms' scale, which Seipel does not state. If the
    magnitudes are on the order of the samples, the descent stalls near zero. Spectrograms are
    therefore scaled so that the largest eigenvalue of the Hessian 2 G is 1,000. With largest
    eigenvalues from 300 to 5,000, the descent comes within 3e-7 of the minimum Theta for 14 tracks
    with -6 dB crosstalk.

    Args:
        gram: (..., tracks, tracks).
        max_steps: maximum number of steps m.
        tolerance: delta in (3.6) relative to the target's own energy. A target has converged when a
            step changes Theta by less than delta, unless momentum holds a weight at zero that the
            gradient would raise. An increase of Theta, caused by overshooting, counts as a change.
        initial: lambda(0), with the shape of `gram`; None for zeros.
    """
    gram = _check_gram(gram)
    initial = np.zeros_like(gram) if initial is None else np.asarray(initial, np.float64)
    if initial.shape != gram.shape or (initial < 0).any():
        raise ValueError(f"initial: expected non-negative weights of shape {gram.shape}")
    with double_precision():
        result = _descend(gram, initial, max_steps=max_steps, tolerance=tolerance)
        return Descent(*map(np.asarray, result))


@functools.wraps(momentum_descent)
def solve_momentum(
    gram: Float[Array | np.ndarray, "..."], **options: Any
) -> Float64[np.ndarray, "... tracks tracks"]:
    return momentum_descent(gram, **options).weights


#: Solvers by name.
SOLVERS = {"nnls": solve_nnls, "momentum": solve_momentum}


def _check_gram(gram: Array | np.ndarray) -> np.ndarray:
    gram = np.asarray(gram, np.float64)
    if gram.ndim < 2 or gram.shape[-1] != gram.shape[-2] or not np.isfinite(gram).all():
        raise ValueError(f"gram: expected finite (..., J, J), got shape {gram.shape}")
    return gram


@jax.jit
@functools.partial(jnp.vectorize, signature="(j,j)->(j,j)")
def _nnls(gram: jax.Array) -> jax.Array:
    return jax.vmap(_nnls_target, in_axes=(None, 0))(gram, jnp.arange(len(gram)))


def _nnls_target(gram: jax.Array, target: jax.Array) -> jax.Array:
    """Return the weights (J,) for one target.

    The passive set holds the tracks with positive weights. A track that, because of rounding
    errors, is removed right after it was added is blocked until another track is added.
    """
    num_tracks = len(gram)
    allowed = jnp.arange(num_tracks) != target
    # Dividing by the track norms makes tolerances independent of the track levels.
    norm = jnp.sqrt(jnp.diag(gram))
    scale = jnp.where(norm > 0, 1 / jnp.where(norm > 0, norm, 1), 0)
    gram = gram * scale[:, None] * scale
    correlation = gram[target]

    def minimum(passive: jax.Array) -> jax.Array:
        """Return the least-squares weights of the passive tracks, 0 for the others."""
        both = passive[:, None] & passive
        matrix = jnp.where(both, gram, jnp.eye(num_tracks))
        return jnp.where(passive, jnp.linalg.solve(matrix, jnp.where(passive, correlation, 0)), 0)

    def gradient(state) -> jax.Array:
        passive, blocked, weights, _ = state
        return jnp.where(allowed & ~passive & ~blocked, correlation - gram @ weights, -jnp.inf)

    def unfinished(state) -> jax.Array:
        return (gradient(state).max() > _GRADIENT_TOLERANCE) & (state[-1] < 3 * num_tracks)

    def add_variable(state):
        passive, blocked, weights, step = state
        # Under vmap this also runs for finished targets, which must not change.
        entering = (jnp.arange(num_tracks) == gradient(state).argmax()) & unfinished(state)
        passive = passive | entering

        def is_infeasible(inner) -> jax.Array:
            passive, _, solution = inner
            return jnp.where(passive, solution, 1).min() <= 0

        def step_to_boundary(inner):
            passive, weights, solution = inner
            leaving = passive & (solution <= 0)
            moving = leaving & (weights > 0)  # other leaving tracks are already at it
            steps = jnp.where(moving, weights / jnp.where(moving, weights - solution, 1), 0)
            steps = jnp.where(leaving, steps, jnp.inf)
            weights = weights + steps.min() * (solution - weights)
            passive = passive & ~(leaving & (steps <= steps.min()))
            weights = jnp.where(passive, weights, 0)
            return passive, weights, minimum(passive)

        inner = (passive, weights, minimum(passive))
        passive, _, solution = jax.lax.while_loop(is_infeasible, step_to_boundary, inner)
        removed = entering & ~passive
        blocked = removed | (blocked & removed.any())
        return passive, blocked, solution, step + 1

    empty = jnp.zeros(num_tracks, bool)
    start = (empty, empty, jnp.zeros(num_tracks, gram.dtype), 0)
    *_, weights, _ = jax.lax.while_loop(unfinished, add_variable, start)
    return weights * scale / jnp.where(scale[target] > 0, scale[target], 1) * (scale[target] > 0)


@jax.jit
def _descend(
    gram: jax.Array, initial: jax.Array, *, max_steps: jax.Array | int, tolerance: ArrayLike
):
    largest = 2 * jnp.linalg.eigvalsh(gram)[..., -1:, None]
    scaled = jnp.where(largest > 0, HESSIAN_SCALE / jnp.where(largest > 0, largest, 1), 0) * gram
    energies = jnp.diagonal(scaled, axis1=-2, axis2=-1)
    off_diagonal = 1 - jnp.eye(gram.shape[-1])

    def theta(weights: jax.Array) -> jax.Array:
        products = weights @ scaled
        return energies + ((products - 2 * scaled) * weights).sum(-1)

    def step(state):
        weights, velocity, old_theta, running, num_steps, m = state
        gradient = 2 * (weights @ scaled - scaled) * off_diagonal
        velocity = _MOMENTUM * velocity + gradient
        moved = jnp.maximum(weights - _INITIAL_RATE * _RATE_DECAY**m * velocity, 0)
        weights = jnp.where(running[..., None], moved, weights)
        new_theta = theta(weights)
        num_steps = num_steps + running
        held_at_zero = ((moved == 0) & (gradient < 0)).any(-1)
        unfinished = held_at_zero | (jnp.abs(old_theta - new_theta) >= tolerance * energies)
        return weights, velocity, new_theta, running & unfinished, num_steps, m + 1

    weights = initial * off_diagonal
    state = (
        weights, jnp.zeros_like(weights), theta(weights), energies > 0,
        jnp.zeros(energies.shape, jnp.int32), 0,
    )  # fmt: skip
    final = jax.lax.while_loop(lambda s: s[3].any() & (s[5] < max_steps), step, state)
    return final[0], final[4]
