"""Log-mel spectrograms."""

import dataclasses
import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp

from irec_jax.dsp import framing, mel, stft, window_functions
from irec_jax.dsp.checks import check_signal
from irec_jax.dsp.cpu_batching import map_in_batches
from irec_jax.errors import UserError
from irec_jax.frontends.settings import is_number, setting_error

# About as many STFT frames stay in the caches of a CPU together with what is made of them.
_FRAMES_PER_CHUNK = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogMel:
    """Log-mel spectrogram: log(mel bands of |STFT|^power + offset), natural logarithm.

    The defaults are Han's (Han, Kim and Lee 2017): magnitudes of a 1,024-sample STFT with hop 512
    at 22.05 kHz in 128 mel bands up to 11,025 Hz.

    **Frames.** Centred framing makes 1 + floor(T / hop) frames, librosa's number: 44 for 1.0 s.
    The last of them reaches past the end by up to half a frame; `drop_last` leaves it out,
    which makes floor(T / hop): 21, 43, 64 and 129 frames for windows of 0.5, 1, 1.5 and 3 s at
    22.05 kHz, among them the paper's 43 x 128 for 1 s. The other frames are librosa's.

    **Offset.** The waveform is expected divided by its peak. A sinusoid of amplitude 1 then
    gives about 10 in a low band of the default settings, so that 1e-3 lies 80 dB below it:
    silence comes out as -6.9, the loudest bands as about 2. In mixtures of pop music about 99 %
    of the values lie above 1e-3, so music keeps its detail, whereas 1e-6 would put digital
    silence at -13.8 and let padding and pauses take half of the input's range. The scale of the
    bands depends on `power` and `mel_norm` (without it they are 30 to 300 times larger): a
    change of these wants another offset.

    Attributes:
        sample_rate_hz: of the waveforms.
        frame_length: samples per STFT frame.
        hop_length: samples from one frame to the next.
        num_mels: mel bands.
        min_hz: lower edge of the first band.
        max_hz: upper edge of the last band; None is half of the sample rate.
        window: 'hann', 'hamming', 'blackman' or 'rectangular', periodic.
        power: exponent of the magnitude: 1 is magnitude, 2 is power.
        mel_scale: 'slaney' or 'htk'.
        mel_norm: 'slaney' (triangles of area 1 over Hz) or None (peaks of 1).
        padding: 'center', 'end' (ceil(T / hop) frames) or 'none' (whole frames only).
        drop_last: with 'center', leave the last frame out; means nothing for other paddings.
        offset: added before the logarithm, > 0.

    Raises:
        UserError: a setting out of range; the message names it. Bands that no bin feeds (too
            many for the frame length) are constant: they cost a warning, not an error.
    """

    sample_rate_hz: float = 22050
    frame_length: int = 1024
    hop_length: int = 512
    num_mels: int = 128
    min_hz: float = 0.0
    max_hz: float | None = None
    window: str = "hann"
    power: float = 1.0
    mel_scale: str = "slaney"
    mel_norm: str | None = "slaney"
    padding: str = "center"
    drop_last: bool = True
    offset: float = 1e-3

    def __post_init__(self):
        for name in ("sample_rate_hz", "power", "offset"):
            value = getattr(self, name)
            if not (is_number(value) and value > 0):
                raise setting_error(f"{name} is {value!r}: must be a number above 0")
        for name in ("min_hz", "max_hz"):
            value = getattr(self, name)
            if not (is_number(value) or (name == "max_hz" and value is None)):
                raise setting_error(f"{name} is {value!r}: must be a number in Hz")
        try:
            framing.num_frames(1, **self._framing)
            window_functions.get_window(self.window, self.frame_length)
            filterbank = mel.mel_filterbank(**self._mel)
        except ValueError as error:
            raise setting_error(str(error)) from error
        if num_empty := mel.empty_bands(filterbank):
            warnings.warn(
                f"frontend: {num_empty} of num_mels={self.num_mels} mel bands lie between the bins"
                f" of frame_length={self.frame_length} and stay constant; use fewer bands or"
                " longer frames",
                stacklevel=3,
            )

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Features of waveforms.

        Args:
            waveform: float32 (..., T) at `sample_rate_hz`, each divided by its clip's peak.
            num_samples, keys: not needed.

        Returns:
            float32 (..., frames, num_mels), lowest band first, >= log(offset); finite, with
            finite gradients, for silence too.

        Raises:
            UserError: T is too short for one frame.
            AssertionError: `waveform` is not floating point.
        """
        check_signal("waveform", waveform)
        self.output_shape(waveform.shape[-1])  # reports a waveform that is too short
        return _log_mel(self, waveform)

    def output_shape(self, num_samples: int) -> tuple[int, int]:
        """(frames, num_mels) for waveforms of `num_samples` samples.

        Raises:
            UserError: too short for one frame.
        """
        num = framing.num_frames(num_samples, **self._framing)
        if self.padding == "center" and self.drop_last:
            num -= 1
        if num < 1:
            raise UserError(
                f"frontend: {num_samples} samples are too short for one frame (hop_length "
                f"{self.hop_length}, frame_length {self.frame_length}, padding "
                f"{self.padding!r}); use longer windows or padding 'end'"
            )
        return num, self.num_mels

    @property
    def _framing(self) -> dict[str, Any]:
        names = ("frame_length", "hop_length", "padding")
        return {name: getattr(self, name) for name in names}

    @property
    def _mel(self) -> dict[str, Any]:
        names = ("sample_rate_hz", "frame_length", "num_mels", "min_hz", "max_hz")
        return {name: getattr(self, name) for name in (*names, "mel_scale", "mel_norm")}


@functools.partial(jax.jit, static_argnums=0)
def _log_mel(frontend: LogMel, waveform: jax.Array) -> jax.Array:
    """Features (..., frames, num_mels) of waveforms (..., T)."""
    num_frames, _ = frontend.output_shape(waveform.shape[-1])
    filterbank = mel.mel_filterbank(**frontend._mel).astype(waveform.dtype)

    def features(waveform: jax.Array) -> jax.Array:
        spectrum = stft.stft(waveform, window=frontend.window, **frontend._framing)
        bands = _raised(spectrum[..., :num_frames, :], frontend.power) @ filterbank
        return jnp.log(bands + frontend.offset)

    return map_in_batches(features, waveform, batch_size=max(1, _FRAMES_PER_CHUNK // num_frames))


def _raised(spectrum: jax.Array, power: float) -> jax.Array:
    """|spectrum|^power, with finite gradients at 0."""
    if power == 2:
        return stft.power(spectrum)
    magnitude = stft.magnitude(spectrum)
    if power == 1:
        return magnitude
    positive = magnitude > 0
    return jnp.where(positive, jnp.where(positive, magnitude, 1.0) ** power, 0.0)
