"""Estimation and reduction of crosstalk in recordings of any length, a few seconds at a time.

Audio arrives in blocks of any length and is divided into chunks of 64 STFT frames (centred frames,
as in `irec_jax.dsp.stft` with padding 'center'). The result does not depend on the block lengths
and equals the result for complete spectrograms. Gram matrices are summed over chunks in float64.
Memory holds a few chunks, plus the spectra of eleven chunks for alignment.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Num

from irec_jax.crosstalk import align, suppression
from irec_jax.crosstalk.estimate import estimate, gram
from irec_jax.crosstalk.reduce import continue_gains
from irec_jax.crosstalk.settings import Crosstalk, Settings
from irec_jax.dsp.framing import num_frames, overlap_add
from irec_jax.dsp.stft import magnitude, power, stft
from irec_jax.dsp.window_functions import get_window
from irec_jax.errors import UserError

CHUNK_FRAMES = 64
#: Number of chunks, spread over a recording, used to estimate direct sound; about 30 s by default.
ALIGNMENT_CHUNKS = 11
# Minimum number of frames for an estimate.
_MIN_FRAMES = 8
# Lower frequencies hold no music, and a DC offset must not be mistaken for crosstalk.
_LOWEST_HZ = 20.0
# Tracks with a higher correlation count as identical: their difference is at least 37 dB lower.
_EQUAL_CORRELATION = 0.9999
# A track that alignment attenuates by more than 20 dB is a copy or a sum of other tracks, or nearly
# silent. Its residual consists of errors, which must not explain the residuals of other tracks.
_MIN_RESIDUAL = 1e-2
_MIN_WINDOW_SUM = 1e-3  # as in irec_jax.dsp.stft


def num_passes(settings: Settings) -> int:
    """Return the number of times that `analyse` reads the tracks."""
    return 2 if settings.align else 1


def min_samples(settings: Settings) -> int:
    """Return the minimum track length, in samples, for which crosstalk is estimated."""
    return (_MIN_FRAMES - 1) * settings.hop_length


def analyse(
    read: Callable[[], Iterable[Float[np.ndarray, "tracks _samples"]]],
    settings: Settings,
    *,
    num_samples: int,
    sample_rate_hz: float,
    names: Sequence[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Crosstalk:
    """Estimate the crosstalk between tracks.

    Args:
        read: function that reads the tracks from the beginning in blocks of any length, with one
            row for each track (the mean of its channels); called `num_passes` times.
        settings: analysis settings.
        num_samples: length of the tracks.
        names: track names for error messages.
        progress: called with the length of each block after it has been read.

    Returns:
        The estimated crosstalk, which is zero for tracks shorter than `min_samples`.

    Raises:
        UserError: if two tracks are identical except for their level, so that each would remove the
            other.
    """
    products: list[np.ndarray] = []
    total = _num_frames(num_samples, settings)

    def blocks() -> Iterator[np.ndarray]:
        for block in read():
            yield block
            with_ones = np.concatenate([block, np.ones((1, block.shape[1]))])  # float64
            products.append(with_ones @ with_ones.T)
            if progress is not None:
                progress(block.shape[-1])

    def chunks() -> Iterator[tuple[np.ndarray, int]]:
        products.clear()
        yield from _chunks(blocks(), settings, num_samples)
        if total >= _MIN_FRAMES:
            _check_distinct(np.sum(products, axis=0), names)

    first_bin = int(np.ceil(_LOWEST_HZ * settings.frame_length / sample_rate_hz))
    ranges = dict(bands=settings.bands(sample_rate_hz), first_bin=first_bin)
    matrix = direct = None
    if settings.align and total >= _MIN_FRAMES:
        direct = _estimate_direct_sound(chunks(), settings, total, first_bin)
        matrix = align.demixing(*direct, frame_length=settings.frame_length)
    grams = energies = np.zeros(())
    for chunk in chunks():
        chunk_grams, energy = _chunk_gram(*chunk, matrix, settings=settings, **ranges)
        grams = grams + np.asarray(chunk_grams, np.float64) * CHUNK_FRAMES
        energies = energies + np.asarray(energy, np.float64) * CHUNK_FRAMES
    grams = grams / total
    is_valid = np.einsum("bjj->j", grams) >= _MIN_RESIDUAL * energies / total
    weights = estimate(grams, solver=settings.solver) * (total >= _MIN_FRAMES)
    if not is_valid.all():
        valid_weights = estimate(grams * (is_valid[:, None] & is_valid), solver=settings.solver)
        weights = np.where(is_valid[:, None], valid_weights, weights)
    if direct is None:
        num_tracks = weights.shape[-1]
        direct = np.eye(num_tracks), np.zeros((num_tracks, num_tracks), np.int64)
    return Crosstalk(*direct, weights)


def reduce_blocks(
    blocks: Iterable[Sequence[Float[np.ndarray, "_channels _samples"]]],
    crosstalk: Crosstalk,
    settings: Settings,
    *,
    num_samples: int,
    sample_rate_hz: float,
) -> Iterator[list[Float32[np.ndarray, "_channels _samples"]]]:
    """Remove the estimated crosstalk from tracks.

    Crosstalk is estimated in the mean of a track's channels and removed from all of them equally.

    Args:
        blocks: blocks of any length; each block is a list with one (channels, samples) array per
            track.
        crosstalk, settings: the result of `analyse`, and the settings passed to it.
        num_samples: length of the tracks.

    Yields:
        Blocks in the same format. Their total length is the length of the tracks.
    """
    blocks = iter(blocks)
    first = next(blocks)
    num_channels = tuple(len(track) for track in first)
    splits = np.cumsum(num_channels)[:-1]
    rows = (np.concatenate(block) for block in itertools.chain([first], blocks))
    matrix = None
    if settings.align:
        direct = crosstalk.amplitudes, crosstalk.delays_samples
        matrix = align.demixing(*direct, frame_length=settings.frame_length)
    weights = jnp.asarray(crosstalk.weights, jnp.float32)
    options = dict(
        bands=settings.bands(sample_rate_hz),
        num_channels=num_channels,
        sample_rate_hz=float(sample_rate_hz),
    )

    def reduced() -> Iterator[jax.Array]:
        memory = suppression.start((len(num_channels), settings.frame_length // 2 + 1))
        for chunk in _chunks(rows, settings, num_samples):
            frames, memory = _reduce_chunk(
                *chunk, matrix, weights, memory, settings=settings, **options
            )
            yield frames

    for samples in _overlap_add(reduced(), settings, num_samples):
        yield np.split(samples, splits)


def debleed_array(
    tracks: Num[Array | np.ndarray, "..."],
    settings: Settings | None = None,
    *,
    sample_rate_hz: float,
) -> tuple[Float32[np.ndarray, "tracks samples"], Crosstalk]:
    """Reduce the crosstalk between tracks.

    Args:
        tracks: (tracks, samples), signals of two or more microphones that recorded the same
            performance.
        settings: reduction settings; None for the defaults.

    Returns:
        Reduced tracks and the estimated crosstalk.
    """
    tracks = np.asarray(tracks, np.float32)
    if tracks.ndim != 2 or len(tracks) < 2 or not tracks.shape[1]:
        raise ValueError(f"tracks: expected (J, T) with at least two tracks, got {tracks.shape}")
    settings = settings or Settings()
    audio_format = dict(num_samples=tracks.shape[1], sample_rate_hz=sample_rate_hz)
    crosstalk = analyse(lambda: [tracks], settings, **audio_format)
    blocks = [[track[None] for track in tracks]]
    reduced = reduce_blocks(blocks, crosstalk, settings, **audio_format)
    return np.concatenate([np.concatenate(block) for block in reduced], axis=1), crosstalk


def _num_frames(num_samples: int, settings: Settings) -> int:
    lengths = dict(frame_length=settings.frame_length, hop_length=settings.hop_length)
    return num_frames(num_samples, padding="center", **lengths)


def _check_distinct(products: np.ndarray, names: Sequence[str] | None) -> None:
    """Raise UserError if two tracks are identical except for their level.

    Args:
        products: (J + 1, J + 1) inner products of the J tracks and a signal of ones.
        names: track names for the error message.
    """
    sums = products[:-1, -1]
    products = products[:-1, :-1] - np.outer(sums, sums) / products[-1, -1]  # of centred tracks
    norm = np.sqrt(np.maximum(np.diag(products), 0))
    is_equal = np.abs(products) > _EQUAL_CORRELATION * norm[:, None] * norm
    is_equal &= (norm[:, None] > 0) & (norm > 0) & ~np.eye(len(norm), dtype=bool)
    if is_equal.any():
        first, second = (names[j] if names else f"track {j}" for j in np.argwhere(is_equal)[0])
        raise UserError(
            f"{first} and {second}: contain the same sound, so each would remove the other; leave "
            "one out"
        )


def _chunks(
    blocks: Iterable[np.ndarray], settings: Settings, num_samples: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield overlapping chunks (R, span) of CHUNK_FRAMES frames, each with its valid frame count.

    The last chunk is zero-padded.

    Raises:
        ValueError: if the blocks do not contain num_samples samples, or if a sample is NaN or
            infinite.
    """
    step = CHUNK_FRAMES * settings.hop_length
    span = step - settings.hop_length + settings.frame_length
    total = _num_frames(num_samples, settings)
    num_read, num_remaining = 0, total
    buffer, pending, num_pending = None, [], 0
    for block in blocks:
        block = np.asarray(block, np.float32)
        if not np.isfinite(block).all():  # the gains would mask such samples
            raise ValueError("the blocks hold NaN or infinite samples")
        num_read += block.shape[1]
        if buffer is None:
            buffer = np.zeros((len(block), settings.frame_length // 2), np.float32)
        pending.append(block)
        num_pending += block.shape[1]
        if buffer.shape[1] + num_pending < span:
            continue
        buffer = np.concatenate([buffer, *pending], axis=1)
        pending, num_pending = [], 0
        while buffer.shape[1] >= span and num_remaining > 0:
            yield buffer[:, :span], min(num_remaining, CHUNK_FRAMES)
            buffer, num_remaining = buffer[:, step:], num_remaining - CHUNK_FRAMES
    if num_read != num_samples:
        raise ValueError(f"the blocks hold {num_read} samples, not num_samples ({num_samples})")
    if buffer is None:
        return
    buffer = np.concatenate([buffer, *pending], axis=1)
    while num_remaining > 0:
        chunk = buffer[:, :span]
        chunk = np.pad(chunk, ((0, 0), (0, span - chunk.shape[1])))
        yield chunk, min(num_remaining, CHUNK_FRAMES)
        buffer, num_remaining = buffer[:, step:], num_remaining - CHUNK_FRAMES


@functools.partial(jax.jit, static_argnames=("settings", "first_bin"))
def _transform(
    chunk: jax.Array, num_valid: jax.Array, *, settings: Settings, first_bin: int = 0
) -> jax.Array:
    """Return complex spectra (R, CHUNK_FRAMES, bins), with zeros in invalid frames and low bins."""
    lengths = dict(frame_length=settings.frame_length, hop_length=settings.hop_length)
    spectra = stft(chunk, window=settings.window, padding="none", **lengths)
    is_valid = jnp.arange(CHUNK_FRAMES)[:, None] < num_valid
    return jnp.where(is_valid & (jnp.arange(spectra.shape[-1]) >= first_bin), spectra, 0)


def _estimate_direct_sound(
    chunks: Iterator[tuple], settings: Settings, total_frames: int, first_bin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate amplitudes and delays from chunks evenly spread over the recording."""
    available = -(-total_frames // CHUNK_FRAMES)
    num_chosen = min(available, ALIGNMENT_CHUNKS)
    chosen = set(np.linspace(0, available - 1, num_chosen).round().astype(int))
    # All chunks are read, since the input may not be seekable.
    spectra = [
        _transform(*chunk, settings=settings, first_bin=first_bin)
        for i, chunk in enumerate(chunks)
        if i in chosen
    ]
    options = dict(window=settings.window, solver=settings.solver)
    return align.estimate_direct_sound(spectra, frame_length=settings.frame_length, **options)


@functools.partial(jax.jit, static_argnames=("settings", "bands", "first_bin"))
def _chunk_gram(chunk, num_valid, matrix, *, settings: Settings, bands, first_bin: int):
    """Return Gram matrices (bands, J, J), and energies (J,) before alignment, both per frame."""
    spectra = _transform(chunk, num_valid, settings=settings, first_bin=first_bin)
    energies = power(spectra).sum((1, 2)) / CHUNK_FRAMES
    if matrix is not None:
        spectra = align.demix(spectra, matrix)
    magnitudes = magnitude(spectra)
    return jnp.stack([gram(magnitudes[..., low:high]) for low, high in bands]), energies


@functools.partial(jax.jit, static_argnames=("settings", "bands", "num_channels", "sample_rate_hz"))
def _reduce_chunk(
    chunk, num_valid, matrix, weights, memory, *, settings: Settings, bands, num_channels,
    sample_rate_hz,
):  # fmt: skip
    """Return reduced, windowed frames (R, CHUNK_FRAMES, frame_length), and the new memory."""
    channels = _transform(chunk, num_valid, settings=settings)
    track_of = np.repeat(np.arange(len(num_channels)), num_channels)
    if len(track_of) == len(num_channels):
        spectra = channels
    else:
        groups = np.split(np.arange(len(track_of)), np.cumsum(num_channels)[:-1])
        spectra = jnp.stack([channels[group].mean(0) for group in groups])
    if matrix is not None:
        aligned = align.demix(spectra, matrix)
        channels = channels - (spectra - aligned)[track_of]
        spectra = aligned
    magnitudes = magnitude(spectra)
    per_frame = functools.partial(
        suppression.per_frame, hop_length=settings.hop_length, sample_rate_hz=sample_rate_hz
    )
    gains, memories = [], []
    for (low, high), band_weights in zip(bands, weights, strict=True):
        band_gains, band_memory = continue_gains(
            magnitudes[..., low:high],
            band_weights,
            jax.tree.map(lambda array, low=low, high=high: array[..., low:high], memory),
            strength=settings.strength,
            floor=settings.floor,
            method=settings.method,
            prior_weight=per_frame(settings.prior_s),
            smoothing=per_frame(settings.smoothing_s),
        )
        gains.append(band_gains)
        memories.append(band_memory)
    channels = channels * jnp.concatenate(gains, axis=-1)[track_of]
    frames = jnp.fft.irfft(channels, n=settings.frame_length)
    frames = frames * get_window(settings.window, settings.frame_length).astype(frames.dtype)
    return frames, jax.tree.map(lambda *arrays: jnp.concatenate(arrays, axis=-1), *memories)


def _overlap_add(
    chunks: Iterable[jax.Array], settings: Settings, num_samples: int
) -> Iterator[np.ndarray]:
    """Overlap-add windowed frames and divide by the sum of squared windows.

    Yields:
        Consecutive segments (R, m) of the result, with varying length m.
    """
    hop, length = settings.hop_length, settings.frame_length
    step = CHUNK_FRAMES * hop
    span = step - hop + length
    squares = np.square(get_window(settings.window, length))
    total = _num_frames(num_samples, settings)
    min_sum, tail, tail_sums = 0.0, None, None
    num_out = -(length // 2)  # samples before the start are dropped
    for index, frames in enumerate(chunks):
        num_valid = min(CHUNK_FRAMES, total - index * CHUNK_FRAMES)
        samples = np.array(_overlap_add_frames(frames, hop_length=hop, num_samples=span))
        sums = np.zeros(span)
        for first in range(0, num_valid * hop, hop):
            sums[first : first + length] += squares
        if tail_sums is None:
            min_sum = _MIN_WINDOW_SUM * sums.max()
        else:
            samples[:, : length - hop] += tail
            sums[: length - hop] += tail_sums
        tail, tail_sums = samples[:, step:].copy(), sums[step:]
        is_last = (index + 1) * CHUNK_FRAMES >= total
        complete = samples if is_last else samples[:, :step]
        complete = complete / np.maximum(sums[: complete.shape[1]], min_sum).astype(np.float32)
        complete = complete[:, max(0, -num_out) : max(0, num_samples - num_out)]
        num_out += span if is_last else step
        if complete.shape[1]:
            yield complete


_overlap_add_frames = jax.jit(overlap_add, static_argnames=("hop_length", "num_samples"))
