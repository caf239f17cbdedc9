"""Spectrograms in decibels."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from irec_jax.dsp import decibels, framing, stft, windows
from irec_jax.dsp.checks import check_signal
from irec_jax.dsp.chunks import map_chunks
from irec_jax.frontends.settings import (
    check_choice,
    check_whole,
    is_number,
    setting_error,
)

# About as many STFT frames stay in the caches of a CPU together with what is made of them.
_FRAMES_PER_CHUNK = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectrogramDb:
    """Power spectrogram in dB, scaled to within -1..1 (Ligtenberg 2022).

    features = 10 log10(max(|X(t, k)|^2, 10^(floor_db / 10))) / scale_db with X the STFT, which is
    not scaled: a sinusoid of amplitude 1 lies at 20 log10(sum(w) / 2), 60 dB with the defaults,
    and nothing within -1..1 lies above 66 dB. The paper states no floor: with -100 dB, 160 dB below
    that sinusoid, no sound of 16 bits is cut.

    **Frames.** Frame t begins at sample t * hop_length; what lies beyond the end counts as zero.
    T samples make ceil(T / hop_length) frames, 126 for 3 s at 44.1 kHz, and frames of floor follow
    up to `num_frames`. **Bins.** The lowest `num_bins`; the defaults leave the highest out, the one
    at half of the sample rate. So the paper's picture has 2048 x 128 values.

    Attributes:
        frame_length: samples per STFT frame.
        hop_length: samples from one frame to the next.
        num_bins: lowest bins that are kept, at most frame_length // 2 + 1.
        num_frames: frames of the picture.
        floor_db: the lowest value; silence, too, comes out as this.
        scale_db: dB by which the result is divided.
        window: 'hann', 'hamming', 'blackman' or 'rectangular', periodic.

    Raises:
        UserError: a setting out of range; the message names it.
    """

    frame_length: int = 4096
    hop_length: int = 1050
    num_bins: int = 2048
    num_frames: int = 128
    floor_db: float = decibels.FLOOR_DB
    scale_db: float = 150.0
    window: str = "hann"

    def __post_init__(self):
        names = ("frame_length", "hop_length", "num_bins", "num_frames")
        check_whole(1, **{name: getattr(self, name) for name in names})
        check_choice(windows.WINDOWS, window=self.window)
        num_all = self.frame_length // 2 + 1
        if self.num_bins > num_all:
            raise setting_error(
                f"num_bins is {self.num_bins}: frame_length={self.frame_length} makes {num_all}"
            )
        if not is_number(self.floor_db):
            raise setting_error(f"floor_db is {self.floor_db!r}: must be a number in dB")
        if not is_number(self.scale_db) or self.scale_db <= 0:
            raise setting_error(f"scale_db is {self.scale_db!r}: must be a number of dB above 0")

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Features of waveforms.

        Args:
            waveform: float32 (..., T).
            num_samples, keys: not needed.

        Returns:
            float32 (..., num_bins, num_frames), lowest frequency first, >= floor_db / scale_db;
            gradient 0 where the floor holds.

        Raises:
            UserError: T makes more than `num_frames` frames.
            AssertionError: `waveform` is not floating point.
        """
        check_signal("waveform", waveform)
        self.output_shape(waveform.shape[-1])  # reports a waveform that is too long
        return _spectrogram_db(self, waveform)

    def output_shape(self, num_samples: int) -> tuple[int, int]:
        """(num_bins, num_frames), for waveforms of `num_samples` samples.

        Raises:
            UserError: more samples than fit.
        """
        if num_samples > self.num_frames * self.hop_length:
            raise setting_error(
                f"num_frames={self.num_frames} frames of hop_length={self.hop_length} are too few "
                f"for the {num_samples} samples of a waveform; take more, or shorter windows"
            )
        return self.num_bins, self.num_frames

    def decibels(self, features: jax.Array) -> jax.Array:
        """dB that features (any shape) stand for, not below the floor."""
        return jnp.maximum(features * self.scale_db, self.floor_db)

    def amplitudes(self, features: jax.Array) -> jax.Array:
        """|X| that features (any shape) stand for; 0 for what lies at the floor or below."""
        # A little above the floor: its own features come back rounded.
        audible = features > self.floor_db / self.scale_db + 1e-6
        decibel = jnp.where(audible, features * self.scale_db, 0.0)
        return jnp.where(audible, decibels.db_to_amplitude(decibel), 0.0)

    def from_amplitudes(self, amplitudes: jax.Array) -> jax.Array:
        """Features of |X| (any shape): the inverse of `amplitudes` above the floor."""
        return decibels.amplitude_to_db(amplitudes, floor_db=float(self.floor_db)) / self.scale_db

    @property
    def framing(self) -> dict[str, Any]:
        """Arguments of `dsp.stft` that make the frames."""
        names = ("frame_length", "hop_length", "window")
        return {name: getattr(self, name) for name in names} | {"padding": "end"}


@functools.partial(jax.jit, static_argnums=0)
def _spectrogram_db(frontend: SpectrogramDb, waveform: jax.Array) -> jax.Array:
    """Features (..., num_bins, num_frames) of waveforms (..., T)."""
    num_frames = framing.num_frames(
        waveform.shape[-1],
        frame_length=frontend.frame_length,
        hop_length=frontend.hop_length,
        padding="end",
    )

    def features(waveform: jax.Array) -> jax.Array:
        spectrum = stft.stft(waveform, **frontend.framing)[..., : frontend.num_bins]
        db = decibels.power_to_db(stft.power(spectrum), floor_db=float(frontend.floor_db))
        widths = [(0, 0, 0)] * (db.ndim - 2) + [(0, frontend.num_frames - num_frames, 0), (0, 0, 0)]
        padded = jax.lax.pad(db, jnp.asarray(frontend.floor_db, db.dtype), widths)
        return padded.swapaxes(-1, -2) / frontend.scale_db

    return map_chunks(features, waveform, chunk_size=max(1, _FRAMES_PER_CHUNK // num_frames))
