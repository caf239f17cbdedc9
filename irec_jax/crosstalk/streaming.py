"""Crosstalk estimated and reduced in recordings of any length, a few seconds at a time.

Audio comes in blocks of any lengths and is cut into pieces of 64 frames of the STFT (centred
frames, as `irec_jax.dsp.stft` with padding 'center' makes them), so that the result does not depend
on the blocks and equals that of whole spectrograms. Gram matrices of pieces add up in float64;
memory holds a few pieces, and the spectra of eleven for alignment.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.crosstalk import align
from irec_jax.crosstalk.estimate import estimate, gram
from irec_jax.crosstalk.reduce import gains
from irec_jax.crosstalk.settings import Crosstalk, Settings
from irec_jax.dsp.framing import num_frames, overlap_add
from irec_jax.dsp.stft import magnitude, power, stft
from irec_jax.dsp.window_functions import get_window
from irec_jax.errors import UserError

PIECE_FRAMES = 64
#: Pieces, spread over a recording, from which direct sound is found: half a minute at the defaults.
ALIGNMENT_PIECES = 11
# From fewer frames nothing can be told.
_MIN_FRAMES = 8
# Below, there is no music: what crosstalk is found in must not be direct current.
_LOWEST_HZ = 20.0
# Two tracks are the same if what differs is 40 dB below them.
_SAME = 0.9999
# A track of which alignment leaves less than -20 dB is a copy or a sum of others, or nearly silent.
# What is left of it are errors, which must not explain what is left of the others.
_LEAST_LEFT = 1e-2
_MIN_WINDOW_SUM = 1e-3  # as in irec_jax.dsp.stft


def num_passes(settings: Settings) -> int:
    """How many times `analyse` reads the tracks."""
    return 2 if settings.align else 1


def min_samples(settings: Settings) -> int:
    """The length of tracks from which on crosstalk is found."""
    return (_MIN_FRAMES - 1) * settings.hop_length


def analyse(
    read: Callable[[], Iterable[np.ndarray]],
    settings: Settings,
    *,
    num_samples: int,
    sample_rate_hz: float,
    names: Sequence[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Crosstalk:
    """Estimates crosstalk in tracks; none in recordings shorter than `min_samples`.

    Args:
        read: begins to read the tracks, from the start: float32 blocks (J, n) of any lengths, with
            one row for each track (the mean of its channels). Called `num_passes` times.
        settings: how.
        num_samples: length of the tracks.
        sample_rate_hz: in Hz.
        names: of the tracks, for messages.
        progress: called after every block with its length.

    Returns:
        What was found.

    Raises:
        UserError: two tracks are the same, but for their level: each would take the other out.
    """
    products: list[np.ndarray] = []
    total = num_frames(num_samples, **_framing(settings))

    def blocks() -> Iterator[np.ndarray]:
        for block in read():
            yield block
            with_ones = np.concatenate([block, np.ones((1, block.shape[1]))])  # float64
            products.append(with_ones @ with_ones.T)
            if progress is not None:
                progress(block.shape[-1])

    def pieces() -> Iterator[tuple[np.ndarray, int]]:
        products.clear()
        yield from _pieces(blocks(), settings, num_samples)
        if total >= _MIN_FRAMES:
            _check_different(np.sum(products, axis=0), names)

    first_bin = int(np.ceil(_LOWEST_HZ * settings.frame_length / sample_rate_hz))
    bands = settings.bands(sample_rate_hz)
    matrix = amplitudes = delays = None
    if settings.align and total >= _MIN_FRAMES:
        amplitudes, delays = _find_direct_sound(pieces(), settings, total, first_bin)
        matrix = align.demixing(amplitudes, delays, frame_length=settings.frame_length)
    grams = energies = 0.0
    for piece in pieces():
        one, energy = _gram_of(*piece, matrix, settings=settings, bands=bands, first_bin=first_bin)
        grams = grams + np.asarray(one, np.float64) * PIECE_FRAMES
        energies = energies + np.asarray(energy, np.float64) * PIECE_FRAMES
    grams = grams / total
    explain = np.einsum("bjj->j", grams) >= _LEAST_LEFT * energies / total
    weights = estimate(grams, solver=settings.solver) * (total >= _MIN_FRAMES)
    if not explain.all():
        among_themselves = estimate(grams * (explain[:, None] & explain), solver=settings.solver)
        weights = np.where(explain[:, None], among_themselves, weights)
    if amplitudes is None:
        amplitudes = np.eye(weights.shape[-1])
        delays = np.zeros(amplitudes.shape, np.int64)
    return Crosstalk(amplitudes, delays, weights)


def reduce_blocks(
    blocks: Iterable[Sequence[np.ndarray]],
    crosstalk: Crosstalk,
    settings: Settings,
    *,
    num_samples: int,
    sample_rate_hz: float,
) -> Iterator[list[np.ndarray]]:
    """Takes estimated crosstalk out of tracks.

    Crosstalk is estimated in the mean of a track's channels and taken from each of them alike.

    Args:
        blocks: lists of J float32 arrays (C_j, n), with the channels of each track; n may change
            from block to block.
        crosstalk: from `analyse`.
        settings: those with which it was found.
        num_samples: length of the tracks.
        sample_rate_hz: in Hz.

    Yields:
        Lists of J float32 arrays (C_j, m), as many samples in all as came in.
    """
    blocks = iter(blocks)
    first = next(blocks)
    num_channels = tuple(len(track) for track in first)
    splits = np.cumsum(num_channels)[:-1]
    rows = (np.concatenate(block) for block in _chained(first, blocks))
    matrix = None
    if settings.align:
        matrix = align.demixing(
            crosstalk.amplitudes, crosstalk.delays_samples, frame_length=settings.frame_length
        )
    weights = jnp.asarray(crosstalk.weights, jnp.float32)
    options = dict(
        settings=settings, bands=settings.bands(sample_rate_hz), num_channels=num_channels
    )
    reduced = (
        _reduce_piece(*piece, matrix, weights, **options)
        for piece in _pieces(rows, settings, num_samples)
    )
    for added in _overlapped(reduced, settings, num_samples):
        yield np.split(added, splits)


def debleed_array(
    tracks: np.ndarray, settings: Settings | None = None, *, sample_rate_hz: float
) -> tuple[np.ndarray, Crosstalk]:
    """Tracks without crosstalk.

    Args:
        tracks: float32 (J, T), J >= 2 microphones of one performance.
        settings: how; None for the defaults.
        sample_rate_hz: in Hz.

    Returns:
        float32 (J, T), and what was found.
    """
    tracks = np.asarray(tracks, np.float32)
    if tracks.ndim != 2 or len(tracks) < 2 or not tracks.shape[1]:
        raise ValueError(f"tracks: expected (J, T) with two tracks or more, not {tracks.shape}")
    settings = settings or Settings()
    known = dict(num_samples=tracks.shape[1], sample_rate_hz=sample_rate_hz)
    crosstalk = analyse(lambda: [tracks], settings, **known)
    blocks = [[track[None] for track in tracks]]
    reduced = reduce_blocks(blocks, crosstalk, settings, **known)
    return np.concatenate([np.concatenate(block) for block in reduced], axis=1), crosstalk


def _framing(settings: Settings) -> dict:
    return dict(
        frame_length=settings.frame_length, hop_length=settings.hop_length, padding="center"
    )


def _chained(first, rest: Iterator) -> Iterator:
    yield first
    yield from rest


def _check_different(products: np.ndarray, names: Sequence[str] | None) -> None:
    """UserError if two tracks are the same, of inner products (J + 1, J + 1) of tracks and ones."""
    sums = products[:-1, -1]
    products = products[:-1, :-1] - np.outer(sums, sums) / products[-1, -1]  # without their means
    size = np.sqrt(np.maximum(np.diag(products), 0))
    alike = np.abs(products) > _SAME * size[:, None] * size
    alike &= (size[:, None] > 0) & (size > 0) & ~np.eye(len(size), dtype=bool)
    if alike.any():
        one, other = (names[j] if names else f"track {j}" for j in np.argwhere(alike)[0])
        raise UserError(
            f"{one} and {other}: hold the same sound, each would take the other out; leave one out"
        )


def _pieces(
    blocks: Iterable[np.ndarray], settings: Settings, num_samples: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Overlapping pieces (R, span) of PIECE_FRAMES frames, and how many frames of each count.

    The last one is filled with zeros. ValueError if the blocks do not hold num_samples samples,
    or NaN or infinite ones.
    """
    step = PIECE_FRAMES * settings.hop_length
    span = step - settings.hop_length + settings.frame_length
    total = num_frames(num_samples, **_framing(settings))
    num_read, num_left = 0, total
    held, pending, num_pending = None, [], 0
    for block in blocks:
        block = np.asarray(block, np.float32)
        if not np.isfinite(block).all():  # magnitudes and gains would hide them
            raise ValueError("the blocks hold NaN or infinite samples")
        num_read += block.shape[1]
        if held is None:
            held = np.zeros((len(block), settings.frame_length // 2), np.float32)
        pending.append(block)
        num_pending += block.shape[1]
        if held.shape[1] + num_pending < span:
            continue
        held = np.concatenate([held, *pending], axis=1)
        pending, num_pending = [], 0
        while held.shape[1] >= span and num_left > 0:
            yield held[:, :span], min(num_left, PIECE_FRAMES)
            held, num_left = held[:, step:], num_left - PIECE_FRAMES
    if num_read != num_samples:
        raise ValueError(f"the blocks hold {num_read} samples, not num_samples ({num_samples})")
    held = np.concatenate([held, *pending], axis=1)
    while num_left > 0:
        piece = held[:, :span]
        piece = np.pad(piece, ((0, 0), (0, span - piece.shape[1])))
        yield piece, min(num_left, PIECE_FRAMES)
        held, num_left = held[:, step:], num_left - PIECE_FRAMES


@functools.partial(jax.jit, static_argnames=("settings", "first_bin"))
def _transform(
    piece: jax.Array, num_valid: jax.Array, *, settings: Settings, first_bin: int = 0
) -> jax.Array:
    """complex (R, PIECE_FRAMES, bins), zero in frames and bins that do not count."""
    spectra = stft(
        piece,
        frame_length=settings.frame_length,
        hop_length=settings.hop_length,
        window=settings.window,
        padding="none",
    )
    counts = jnp.arange(PIECE_FRAMES)[:, None] < num_valid
    return jnp.where(counts & (jnp.arange(spectra.shape[-1]) >= first_bin), spectra, 0)


def _find_direct_sound(
    pieces: Iterator[tuple], settings: Settings, total_frames: int, first_bin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes and delays, from pieces evenly spread over the recording."""
    available = -(-total_frames // PIECE_FRAMES)
    wanted = min(available, ALIGNMENT_PIECES)
    chosen = set(np.linspace(0, available - 1, wanted).round().astype(int))
    # All pieces are read: a source may be no file in which one can jump.
    spectra = [
        _transform(*piece, settings=settings, first_bin=first_bin)
        for i, piece in enumerate(pieces)
        if i in chosen
    ]
    return align.find_direct_sound(
        spectra,
        frame_length=settings.frame_length,
        window=settings.window,
        solver=settings.solver,
    )


@functools.partial(jax.jit, static_argnames=("settings", "bands", "first_bin"))
def _gram_of(piece, num_valid, matrix, *, settings: Settings, bands, first_bin: int):
    """Gram matrices (bands, J, J) and energies (J,) before alignment, means over PIECE_FRAMES."""
    spectra = _transform(piece, num_valid, settings=settings, first_bin=first_bin)
    energies = power(spectra).sum((1, 2)) / PIECE_FRAMES
    if matrix is not None:
        spectra = align.demix(spectra, matrix)
    magnitudes = magnitude(spectra)
    return jnp.stack([gram(magnitudes[..., low:high]) for low, high in bands]), energies


@functools.partial(jax.jit, static_argnames=("settings", "bands", "num_channels"))
def _reduce_piece(
    piece,
    num_valid,
    matrix,
    weights,
    *,
    settings: Settings,
    bands: tuple[tuple[int, int], ...],
    num_channels,
) -> jax.Array:
    """Windowed frames (R, PIECE_FRAMES, frame_length) of the reduced channels."""
    channels = _transform(piece, num_valid, settings=settings)
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
    factors = [
        gains(
            magnitudes[..., low:high],
            one,
            strength=settings.strength,
            floor=settings.floor,
            method=settings.method,
        )
        for (low, high), one in zip(bands, weights, strict=True)
    ]
    channels = channels * jnp.concatenate(factors, axis=-1)[track_of]
    frames = jnp.fft.irfft(channels, n=settings.frame_length)
    return frames * get_window(settings.window, settings.frame_length).astype(frames.dtype)


def _overlapped(
    pieces: Iterable[jax.Array], settings: Settings, num_samples: int
) -> Iterator[np.ndarray]:
    """Adds windowed frames up and divides by the sum of squared windows: (R, m) in order."""
    hop, length = settings.hop_length, settings.frame_length
    step = PIECE_FRAMES * hop
    span = step - hop + length
    squares = np.square(get_window(settings.window, length))
    total = num_frames(num_samples, **_framing(settings))
    smallest = None
    carried = carried_sums = None
    num_out = -(length // 2)  # what lies before the start is not given out
    for index, frames in enumerate(pieces):
        num_valid = min(PIECE_FRAMES, total - index * PIECE_FRAMES)
        added = np.array(_add_up(frames, hop_length=hop, num_samples=span))
        sums = np.zeros(span)
        for first in range(0, num_valid * hop, hop):
            sums[first : first + length] += squares
        if smallest is None:
            smallest = _MIN_WINDOW_SUM * sums.max()
        else:
            added[:, : length - hop] += carried
            sums[: length - hop] += carried_sums
        carried, carried_sums = added[:, step:].copy(), sums[step:]
        last = (index + 1) * PIECE_FRAMES >= total
        whole = added if last else added[:, :step]
        whole = whole / np.maximum(sums[: whole.shape[1]], smallest).astype(np.float32)
        whole = whole[:, max(0, -num_out) : max(0, num_samples - num_out)]
        num_out += span if last else step
        if whole.shape[1]:
            yield whole


_add_up = jax.jit(overlap_add, static_argnames=("hop_length", "num_samples"))
