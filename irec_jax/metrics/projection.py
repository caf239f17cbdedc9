"""Projection of estimates onto delayed references, the core of BSS-Eval.

The references x_i, filtered with num_taps taps, span the same space as copies of the x_i delayed by
0 .. num_taps - 1 samples, including the tails beyond the end of the signals. The projection of an
estimate e onto this space is given by the filters c that solve G c = d, where G holds the inner
products of the delayed references and d their inner products with e. G depends only on the
references, so `prepare` builds and factorises it once for any number of estimate sets.

- **Inner products** are needed at only num_taps lags, so they are computed with short FFTs over
  overlapping blocks. Cross spectra are matrix products per frequency. They are summed over the
  blocks and transformed back once per pair of signals.
- **Energies** of the projections and residuals are summed in the time domain. The quadratic form
  |e|^2 - d'c is cheaper, but it subtracts nearly equal numbers and loses the precision that scores
  above 60 dB need.
- **Memory.** Signals stay on the host and are copied to the device a few blocks at a time, so
  device memory does not grow with signal length, and a new length needs no recompilation.
- **Singular G.** If references are linearly dependent, or so sharply band-limited that less than
  1e-14 of their energy is outside the band, G has no Cholesky factor in float64. In that case,
  1e-13 is added to its diagonal (the signals are scaled to unit energy), so that directions with
  less energy are ignored.

All computations are in float64.
"""

import functools
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Complex, Float, Float64, Shaped

from irec_jax.metrics.ratios import double_precision
from irec_jax.text import plural

#: FFT length, except for very long filters and very short signals.
_FFT_LENGTH = 2**14
#: Number of FFT blocks on the device at a time.
_NUM_BLOCKS = 8
#: Smallest value that is added to the diagonal of a singular G.
_RIDGE = 1e-13
#: Maximum total size of G and its factor in bytes, or half of the memory if that is less.
_MAX_BYTES = 2**34


class References(NamedTuple):
    """References and the factors of their normal equations.

    Attributes:
        signals: the original references.
        num_taps: length of the filters.
        scale: gains that normalise the energy of each signal to 1; 1 for silent signals.
        every: lower Cholesky factor of G for the scaled signals of all sources.
        own: lower Cholesky factors of G for each source alone.
        ridge: value added to the diagonal of G before computing `every`; 0 unless G is singular.
    """

    signals: Shaped[np.ndarray, "sources channels samples"]
    num_taps: int
    scale: Float64[np.ndarray, "sources channels"]
    every: Float64[Array, "sources*channels*taps sources*channels*taps"]
    own: Float64[np.ndarray, "sources channels*taps channels*taps"]
    ridge: float


class Filters(NamedTuple):
    """Distortion filters for the output channels of each estimate.

    Attributes:
        every: filters for all references.
        own: filters for the reference that belongs to the estimate.
    """

    every: Float64[np.ndarray, "estimates outputs sources channels taps"]
    own: Float64[np.ndarray, "estimates outputs channels taps"]


class Energies(NamedTuple):
    """Energies of the components of each estimate e, summed over samples and channels.

    P_j projects onto delayed copies of reference j, and P onto delayed copies of all references.

    Attributes:
        own: |P_j e|^2.
        every: |P e|^2.
        interference: |P e - P_j e|^2.
        artifacts: |e - P e|^2.
        distortion: |e - P_j e|^2.
    """

    own: Float64[np.ndarray, " sources"]
    every: Float64[np.ndarray, " sources"]
    interference: Float64[np.ndarray, " sources"]
    artifacts: Float64[np.ndarray, " sources"]
    distortion: Float64[np.ndarray, " sources"]


def prepare(signals: Float[np.ndarray, "sources channels samples"], *, num_taps: int) -> References:
    """Build and factorise the normal equations.

    Args:
        signals: references with finite samples; silent references have no effect.
        num_taps: length of the filters. G takes 8 (sources * channels * num_taps)^2 bytes: 0.4 GB
            for 14 mono sources and 512 taps, and twice as much temporarily.

    Raises:
        ValueError: num_taps is not a positive integer, or G does not fit in memory.
    """
    if not isinstance(num_taps, int | np.integer) or num_taps < 1:
        raise ValueError(f"num_taps={num_taps!r}: expected a positive integer")
    num_sources, num_channels, _ = signals.shape
    num_bytes = 16 * (num_sources * num_channels * int(num_taps)) ** 2
    if num_bytes > min(_MAX_BYTES, _memory_bytes() / 2):
        raise ValueError(
            f"reference has {num_sources} sources with {plural(num_channels, 'channel')} each: "
            f"with num_taps={num_taps}, the normal equations need {num_bytes / 1e9:.1f} GB; "
            "score fewer sources or reduce num_taps"
        )
    energy = np.stack([np.square(source, dtype=np.float64).sum(-1) for source in signals])
    scale = 1 / np.sqrt(np.where(energy > 0, energy, 1.0))
    with double_precision():
        chunks = ((chunk, chunk) for (chunk,) in _chunks(num_taps, signals))
        correlations = _correlate(chunks, num_taps)
        correlations *= scale.reshape(-1, 1, 1) * scale.reshape(1, -1, 1)
        own = []
        for first in range(0, num_sources * num_channels, num_channels):
            source = slice(first, first + num_channels)
            own.append(_factorise(correlations[source, source])[0])
        every, ridge = _factorise(correlations)
        return References(signals, int(num_taps), scale, every, np.stack(own), ridge)


def distortion_filters(
    references: References, estimated: Float[np.ndarray, "sources outputs samples"]
) -> Filters:
    """Return the least-squares filters that map the references to the estimates.

    Args:
        references: result of `prepare`.
        estimated: estimates, in the order of the references.
    """
    num_sources, num_outputs, _ = estimated.shape
    num_taps, scale = references.num_taps, references.scale
    num_channels = scale.shape[1]
    with double_precision():
        products = _correlate(_chunks(num_taps, references.signals, estimated), num_taps)
        products *= scale.reshape(-1, 1, 1)
        products = products.reshape(num_sources, num_channels, num_sources, num_outputs, num_taps)
        # (source, channel, estimate, output, tap) -> unknowns first, right-hand sides last
        every = products.transpose(0, 1, 4, 2, 3).reshape(len(references.every), -1)
        own = np.stack([products[j, :, j] for j in range(num_sources)]).swapaxes(-1, -2)
        own = own.reshape(num_sources, num_channels * num_taps, num_outputs)
        every = np.asarray(_solve(references.every, every))
        own = np.asarray(_solve(references.own, own))
    every = every.reshape(num_sources, num_channels, num_taps, num_sources, num_outputs)
    own = own.reshape(num_sources, num_channels, num_taps, num_outputs)
    return Filters(
        np.moveaxis(every * scale[..., None, None, None], (3, 4), (0, 1)),
        np.moveaxis(own * scale[..., None, None], 3, 1),
    )


def energies(
    references: References, estimated: Float[np.ndarray, "sources outputs samples"]
) -> Energies:
    """Return the energies of the components of each estimate, including filter tails."""
    num_taps = references.num_taps
    filters = distortion_filters(references, estimated)
    with double_precision():
        chunks = _chunks(num_taps, references.signals, estimated)
        parts = [_chunk_energies(chunk, estimate, filters) for chunk, estimate in chunks]
        return Energies(*np.sum(parts, axis=0))


def project(
    spectra: Complex[Array, "sources channels blocks {fft_length}//2+1"],
    filters: Filters,
    fft_length: int,
) -> tuple[
    Float[Array, "sources outputs blocks {fft_length}"],
    Float[Array, "sources outputs blocks {fft_length}"],
]:
    """Return the projections P_j e and P e of each block, computed by circular convolution.

    Args:
        spectra: spectra of the references.
        filters: distortion filters of the estimates.
        fft_length: length of the blocks.
    """
    every, own = (jnp.fft.rfft(part, fft_length) for part in filters)
    own = jnp.einsum("jdcf,jcbf->jdbf", own, spectra)
    every = jnp.einsum("jdicf,icbf->jdbf", every, spectra)
    return jnp.fft.irfft(own, fft_length), jnp.fft.irfft(every, fft_length)


def energy(
    signal: Float[Array, "sources channels *blocks samples"],
) -> Float[Array, " sources *blocks"]:
    """Return the energy, summed over channels and samples."""
    return jnp.square(signal).sum((1, -1))


def _memory_bytes() -> int:
    """Return the size of this machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _chunks(num_taps: int, *signals: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield time-aligned chunks (J, C, num_taps - 1 + step) of the signals, padded with zeros.

    Each chunk begins with the last num_taps - 1 samples of the previous one; the last chunk extends
    to the end of the filter tails.
    """
    num_samples, reach = signals[0].shape[-1], num_taps - 1
    fft_length = max(_FFT_LENGTH, 1 << (4 * num_taps).bit_length())
    fft_length = min(fft_length, 1 << (num_samples + 4 * num_taps).bit_length())
    step = (fft_length - reach) * _NUM_BLOCKS
    for start in range(-reach, num_samples, step):
        first, last = max(start, 0), min(start + reach + step, num_samples)
        chunks = []
        for signal in signals:
            chunk = np.zeros((*signal.shape[:-1], reach + step), signal.dtype)
            chunk[..., first - start : last - start] = signal[..., first:last]
            chunks.append(chunk)
        yield chunks


def _blocks(chunk: jax.Array, num_taps: int) -> jax.Array:
    """Split a chunk into overlapping float64 blocks (J, C, _NUM_BLOCKS, fft_length)."""
    reach = num_taps - 1
    length = chunk.shape[-1] - reach
    blocks = chunk[..., :length].reshape(*chunk.shape[:-1], _NUM_BLOCKS, -1)
    following = jnp.concatenate([blocks[..., 1:, :reach], chunk[..., None, length:]], axis=-2)
    return jnp.concatenate([blocks, following], axis=-1).astype(jnp.float64)


def _correlate(chunks: Iterable[Sequence[np.ndarray]], num_taps: int) -> np.ndarray:
    """Return the inner products of delayed signals with other signals: (signals, others, num_taps).

    r_im(l) = sum_t x_i(t - l) y_m(t) for l = 0 .. num_taps - 1.
    """
    spectra = functools.reduce(
        operator.add, (_cross_spectra(chunk, others, num_taps) for chunk, others in chunks)
    )
    return np.fft.irfft(np.asarray(spectra))[..., :num_taps]


@functools.partial(jax.jit, static_argnums=2)
def _cross_spectra(chunk: jax.Array, others: jax.Array, num_taps: int) -> jax.Array:
    """Return cross spectra summed over blocks: (signals, others, F)."""
    blocks, others = _blocks(chunk, num_taps), _blocks(others, num_taps)
    # Zeros in the overlap of one of the signals prevent wrap-around of the circular correlation.
    others = others.at[..., : num_taps - 1].set(0.0)
    spectra, others = jnp.fft.rfft(blocks).conj(), jnp.fft.rfft(others)
    spectra, others = (part.reshape(-1, *part.shape[2:]) for part in (spectra, others))
    return jnp.einsum("sbf,mbf->smf", spectra, others)


@jax.jit
def _chunk_energies(chunk: jax.Array, estimated: jax.Array, filters: Filters) -> jax.Array:
    """Return the `Energies` of a chunk, stacked as (5, J)."""
    num_taps = filters.own.shape[-1]
    blocks, estimated = _blocks(chunk, num_taps), _blocks(estimated, num_taps)
    own, every = project(jnp.fft.rfft(blocks), filters, blocks.shape[-1])
    # Wrap-around makes the first num_taps - 1 samples of each block invalid. The previous block
    # covers them.
    own, every, estimated = (
        part[..., num_taps - 1 :].reshape(*part.shape[:2], -1) for part in (own, every, estimated)
    )
    parts = own, every, every - own, estimated - every, estimated - own
    return jnp.stack([energy(part) for part in parts])


def _factorise(correlations: np.ndarray) -> tuple[jax.Array, float]:
    """Return the Cholesky factor of G for correlations (S, S, L), and the ridge it required."""
    ridge = 0.0
    while True:
        factor, exists = _cholesky(correlations, ridge)
        if exists:
            return factor, ridge
        ridge = max(10 * ridge, _RIDGE)
        if ridge > 1:  # energies overflow or underflow in float64
            raise ValueError("reference contains samples that are too small or too large to score")


@jax.jit
def _cholesky(correlations: jax.Array, ridge: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return the lower Cholesky factor (S L, S L) of G + ridge I, and whether it exists.

    G has Toeplitz blocks: G[(i, a), (j, b)] = r_ij(a - b), and r_ij(-l) = r_ji(l). The diagonal of
    silent signals is set to 1.
    """
    num_signals, _, num_taps = correlations.shape

    def block_row(i: jax.Array) -> jax.Array:
        # Row a of a block holds L of the lags r(L - 1) .. r(1 - L), starting at index L - 1 - a.
        # Appending a zero, tiling, and reshaping to rows of 2 L - 1 shifts each row by one sample.
        lags = jnp.concatenate(
            [jnp.flip(correlations[i], -1), correlations[:, i, 1:], jnp.zeros((num_signals, 1))],
            axis=-1,
        )
        row_length = 2 * num_taps - 1
        rows = jnp.tile(lags, (1, num_taps))[:, num_taps - 1 :][:, : num_taps * row_length]
        rows = rows.reshape(num_signals, num_taps, row_length)[..., :num_taps]
        return rows.swapaxes(0, 1)

    size = num_signals * num_taps
    gram = jax.lax.map(block_row, jnp.arange(num_signals)).reshape(size, size)
    diagonal = jnp.diagonal(gram)
    silent = diagonal == 0
    gram = gram.at[jnp.arange(size), jnp.arange(size)].set(jnp.where(silent, 1.0, diagonal + ridge))
    factor = jax.lax.linalg.cholesky(gram, symmetrize_input=False)
    return factor, jnp.isfinite(factor[-1, -1])


@jax.jit
def _solve(factor: jax.Array, right: jax.Array) -> jax.Array:
    return jax.scipy.linalg.cho_solve((factor, True), right)
