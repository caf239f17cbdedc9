"""Clips for a recogniser: audio that is decoded and measured once, and stored for later use."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from irec_jax import audio
from irec_jax.files import temporary_file_error

#: Peak below which a clip counts as silent: two 16-bit steps, the level of rounding noise.
SILENT_PEAK = 2 / 32_768
#: Minimum duration; shorter clips do not contain a full period of the lowest audible frequency.
MIN_DURATION_S = 0.05
# The content of a clip ends at the frequency above which the energy is 70 dB below the total
# energy. With a bandwidth of 11 kHz, this frequency is above 0.69 times the bandwidth for
# recordings of single instruments and for songs, and below 0.49 times the bandwidth if they were
# resampled from 11,025 Hz. Clips that were resampled from 16 kHz cannot be distinguished from soft
# recordings.
_CONTENT_LIMIT, _MIN_BAND = 1e-7, 0.6
# Up to 3 minutes at 22,050 Hz are kept in memory. Longer clips are stored in a temporary file.
_MAX_MEMORY_BYTES = 1 << 24
_BLOCK_SAMPLES = 1 << 16
_FRAME_LENGTH = 2048


class StoredSamples:
    """Memory-saving, lossless storage for samples that are written once and read repeatedly."""

    def __init__(self) -> None:
        self.num_samples = 0
        self._file = tempfile.SpooledTemporaryFile(_MAX_MEMORY_BYTES)  # noqa: SIM115

    def append(self, block: np.ndarray) -> None:
        """Append float32 samples (n,)."""
        try:
            self._file.write(np.ascontiguousarray(block, np.float32).tobytes())
        except OSError as error:
            raise temporary_file_error(error) from error
        self.num_samples += len(block)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the samples in blocks, float32 (n,)."""
        self._file.seek(0)
        while data := self._file.read(4 * _BLOCK_SAMPLES):
            yield np.frombuffer(data, np.float32)


@dataclasses.dataclass(frozen=True)
class Clip:
    """Mono audio at a system's sample rate.

    Attributes:
        samples: the audio.
        peak: largest absolute sample value.
        nothing: reason why there is nothing to recognise, such as 'silent'; usually empty.
        notes: other remarks for the user.
    """

    samples: StoredSamples
    peak: float
    nothing: str
    notes: tuple[str, ...]


def read_clip(read: Callable[..., Iterable[np.ndarray]], sample_rate_hz: int) -> Clip:
    """Read, store and measure a clip.

    Args:
        read: function that takes `channel`, `levels` and `notes` like `audio.blocks`, and returns
            mono blocks, float32 (n, 1), at the sample rate of the system. It is called a second
            time if the channels cancel each other out.
        sample_rate_hz: sample rate of the system.

    Raises:
        UserError: if the file cannot be read, or the folder for temporary files is full.
    """
    notes: list[str] = []
    levels = audio.ChannelLevels()
    samples, peak, spectrum = _store(read(channel=None, levels=levels, notes=notes))
    if levels.cancel:
        loudest = levels.loudest
        samples, peak, spectrum = _store(read(channel=loudest, levels=None, notes=[]))
        sides = ("the left channel", "the right channel")
        name = sides[loudest] if len(levels.products) == 2 else f"channel {loudest + 1}"
        notes.append(f"channels cancel in mono; {name} is used")
    nothing = ""
    duration_s = samples.num_samples / sample_rate_hz
    if peak < SILENT_PEAK:
        nothing = "silent"
    elif duration_s < MIN_DURATION_S:
        nothing = f"too short: {duration_s:.1g} s"
    elif np.max(levels.ranges) < 2 * SILENT_PEAK:
        nothing = "constant signal"
    else:
        notes += _missing_band(spectrum, sample_rate_hz)
    return Clip(samples, peak, nothing, tuple(notes))


def _missing_band(spectrum: np.ndarray, sample_rate_hz: int) -> list[str]:
    """Return a note if the upper part of the system's frequency band is empty."""
    spectrum = spectrum[2:]  # without DC
    above = np.cumsum(spectrum[::-1])[::-1]
    (filled,) = np.nonzero(above > _CONTENT_LIMIT * above[0])
    bin_hz, band_hz = sample_rate_hz / _FRAME_LENGTH, sample_rate_hz / 2
    content_hz = (filled[-1] + 2) * bin_hz if len(filled) else 0.0
    if content_hz >= _MIN_BAND * band_hz:
        return []
    limit, audible = content_hz / 1000, band_hz / 1000
    return [f"no content above {limit:.1f} kHz; the system analyses up to {audible:.1f} kHz"]


def _store(blocks: Iterable[np.ndarray]) -> tuple[StoredSamples, float, np.ndarray]:
    """Store blocks; return the samples, their peak and power spectrum (_FRAME_LENGTH / 2 + 1,)."""
    samples, peak = StoredSamples(), 0.0
    power = np.zeros(_FRAME_LENGTH // 2 + 1)
    window = np.hanning(_FRAME_LENGTH + 1)[:-1].astype(np.float32)
    rest = np.zeros(0, np.float32)
    for block in _split(blocks):
        samples.append(block)
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        rest = np.concatenate([rest, block])
        frames = rest[: len(rest) // _FRAME_LENGTH * _FRAME_LENGTH].reshape(-1, _FRAME_LENGTH)
        power += np.square(np.abs(np.fft.rfft(frames * window))).sum(axis=0)
        rest = rest[frames.size :]
    if samples.num_samples < _FRAME_LENGTH:
        power += np.square(np.abs(np.fft.rfft(rest, _FRAME_LENGTH)))
    return samples, peak, power


def _split(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Split blocks (n, 1) into shorter blocks (m,), so that their spectra need little memory."""
    for block in blocks:
        for start in range(0, len(block), _BLOCK_SAMPLES):
            yield block[start : start + _BLOCK_SAMPLES, 0]
