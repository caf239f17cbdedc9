"""Spectrograms in decibels."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from irec_jax.dsp import decibels, stft, window_functions
from irec_jax.dsp.checks import check_floating, check_positive, check_signal
from irec_jax.dsp.cpu_batching import map_in_batches
from irec_jax.dsp.griffin_lim import griffin_lim, with_phase
from irec_jax.frontends.settings import (
    check_choice,
    check_integers,
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
        check_integers(1, **{name: getattr(self, name) for name in names})
        check_choice(window_functions.WINDOWS, window=self.window)
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

    def inverse(
        self,
        features: jax.Array,
        *,
        num_samples: int,
        phase: jax.Array | None = None,
        num_iterations: int = 32,
        momentum: float = 0.99,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Waveforms whose features are about these.

        Round trip of excerpts of 3 s from eight pop songs with the defaults: with their own phase
        97 to 122 dB of signal to noise after the first 300 samples (23 to 33 dB with them); with
        Griffin-Lim a spectral convergence, || |X'| - |X| || / || |X| ||, of -21 to -23 dB after 32
        iterations, -26 to -30 dB after 100, and without momentum -16 to -18 dB after 32. As
        waveforms what Griffin-Lim makes does not resemble the original (below 0 dB): magnitudes
        leave phases free.

        Args:
            features: floats (..., num_bins, num_frames).
            num_samples: T, length of the waveforms; frames beyond its ceil(T / hop_length) are
                left out.
            phase: that of the waveforms, or of a mixture they are part of: angles in radians, or
                complex numbers that have them, of the shape of `features`. None: Griffin-Lim.
            num_iterations, momentum, key: of `dsp.griffin_lim`; mean nothing with a phase.

        Returns:
            float (..., T). Bins above `num_bins` are empty; samples that the windows do not
            determine, about the first 260 with the defaults (6 ms), are faded in.

        Raises:
            UserError: T makes more than `num_frames` frames.
            ValueError: features of another shape, or an option out of range.
            AssertionError: `features` is not floating point.
        """
        check_floating("features", features)
        check_positive(num_samples=num_samples)
        if features.shape[-2:] != self.output_shape(num_samples):
            raise ValueError(
                f"features has shape {features.shape}: must be "
                f"(..., {self.num_bins}, {self.num_frames})"
            )
        if phase is not None and jnp.shape(phase) != features.shape:
            raise ValueError(f"phase has shape {jnp.shape(phase)}: must be {features.shape}")
        framing = dict(self.framing, num_samples=num_samples)
        num_real = self.num_real_frames(num_samples)
        magnitudes = self.to_stft(self.amplitudes(features[..., :num_real]))
        if phase is None:
            options = dict(num_iterations=num_iterations, momentum=momentum, key=key)
            return griffin_lim(magnitudes, **framing, **options)
        spectrum = with_phase(magnitudes, self.to_stft(jnp.asarray(phase)[..., :num_real]))
        return stft.istft(spectrum, exact=False, **framing)

    @property
    def framing(self) -> dict[str, Any]:
        """Arguments of `dsp.stft` that make the frames."""
        names = ("frame_length", "hop_length", "window")
        return {name: getattr(self, name) for name in names} | {"padding": "end"}

    def num_real_frames(self, num_samples: int) -> int:
        """Frames that so many samples make, not counting those that are added."""
        return -(-num_samples // self.hop_length)

    def to_stft(self, picture: jax.Array) -> jax.Array:
        """Amplitudes or phases (..., num_bins, N) as `dsp.stft` orders them, for any N.

        Returns:
            (..., N, frame_length // 2 + 1), the bins that are not kept being 0.
        """
        num_missing = self.frame_length // 2 + 1 - self.num_bins
        frames = jnp.swapaxes(picture, -1, -2)
        return jnp.pad(frames, [(0, 0)] * (frames.ndim - 1) + [(0, num_missing)])


@functools.partial(jax.jit, static_argnums=0)
def _spectrogram_db(frontend: SpectrogramDb, waveform: jax.Array) -> jax.Array:
    """Features (..., num_bins, num_frames) of waveforms (..., T)."""
    num_frames = frontend.num_real_frames(waveform.shape[-1])

    def features(waveform: jax.Array) -> jax.Array:
        spectrum = stft.stft(waveform, **frontend.framing)[..., : frontend.num_bins]
        db = decibels.power_to_db(stft.power(spectrum), floor_db=float(frontend.floor_db))
        widths = [(0, 0, 0)] * (db.ndim - 2) + [(0, frontend.num_frames - num_frames, 0), (0, 0, 0)]
        padded = jax.lax.pad(db, jnp.asarray(frontend.floor_db, db.dtype), widths)
        return padded.swapaxes(-1, -2) / frontend.scale_db

    return map_in_batches(features, waveform, batch_size=max(1, _FRAMES_PER_CHUNK // num_frames))
