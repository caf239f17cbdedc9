"""Log-mel spectrograms."""

import dataclasses
import warnings
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex, Float, Float64

from irec_jax.dsp import framing, mel, stft, window_functions
from irec_jax.dsp.cpu_batching import map_in_batches
from irec_jax.errors import UserError
from irec_jax.frontends.base import FrontEnd, check_numbers, setting_error

# About this many STFT frames and their intermediate results fit in the caches of a CPU.
_FRAMES_PER_BATCH = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogMel(FrontEnd):
    """Log-mel spectrogram: log(mel bands of |STFT|^power + offset), natural logarithm.

    The features are float32 (..., frames, num_mels), lowest band first, >= log(offset); values and
    gradients are finite, even for silence. The defaults follow Han et al. (2017): magnitudes of a
    1,024-sample STFT with hop 512 at 22.05 kHz in 128 mel bands up to 11,025 Hz.

    **Frames.** Centred framing gives 1 + floor(T / hop) frames, as in librosa: 44 for 1.0 s. The
    last frame extends up to half a frame beyond the end; `drop_last` removes it and leaves floor(T
    / hop) frames: 21, 43, 64 and 129 for windows of 0.5, 1, 1.5 and 3 s at 22.05 kHz, including the
    paper's 43 x 128 for 1 s. The other frames equal librosa's.

    **Offset.** Waveforms should be divided by their peak. A sinusoid of amplitude 1 then gives
    about 10 in a low band with the default settings, 80 dB above an offset of 1e-3. Silence becomes
    -6.9, and the loudest bands become about 2. In pop music, about 99 % of the values are above
    1e-3, so music keeps its detail. With an offset of 1e-6, digital silence would become -13.8, and
    padding and pauses would take up half of the input range. The scale of the bands depends on
    `power` and `mel_norm` (without normalisation, they are 30 to 300 times larger), so changing
    these settings requires a different offset.

    Attributes:
        sample_rate_hz: sample rate of the waveforms.
        frame_length: samples per STFT frame.
        hop_length: samples between successive frames.
        num_mels: number of mel bands.
        min_hz: lower edge of the first band.
        max_hz: upper edge of the last band; if None, half the sample rate.
        window: 'hann', 'hamming', 'blackman' or 'rectangular', periodic.
        power: exponent of the magnitude: 1 for magnitude, 2 for power.
        mel_scale: 'slaney' or 'htk'.
        mel_norm: 'slaney' (triangles with an area of 1 in Hz) or None (peaks of 1).
        padding: 'center', 'end' (ceil(T / hop) frames) or 'none' (only complete frames).
        drop_last: whether to remove the last frame; used only with padding 'center'.
        offset: value added before the logarithm, > 0.

    Warns:
        UserWarning: if there are too many bands for the frame length, so that some contain no bin
            and are constant.
    """

    axes: ClassVar[tuple[str, ...] | None] = ("time", "frequency")

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
        check_numbers(
            "", above=0, sample_rate_hz=self.sample_rate_hz, power=self.power, offset=self.offset
        )
        check_numbers(" in Hz", min_hz=self.min_hz)
        if self.max_hz is not None:
            check_numbers(" in Hz", max_hz=self.max_hz)
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

    def output_shape(self, num_samples: int) -> tuple[int, int]:
        """Return (frames, num_mels) for waveforms of `num_samples` samples.

        Raises:
            UserError: if the waveforms are too short for one frame.
        """
        num_frames = framing.num_frames(num_samples, **self._framing)
        if self.padding == "center" and self.drop_last:
            num_frames -= 1
        if num_frames < 1:
            raise UserError(
                f"frontend: {num_samples} samples are too few for one frame (hop_length "
                f"{self.hop_length}, frame_length {self.frame_length}, padding "
                f"{self.padding!r}); use longer windows or padding 'end'"
            )
        return num_frames, self.num_mels

    def frequencies_hz(self, sample_rate_hz: float) -> Float64[np.ndarray, " frequencies"]:
        """Return the centre frequencies of the mel bands in Hz."""
        max_hz = self.sample_rate_hz / 2 if self.max_hz is None else self.max_hz
        return mel.mel_frequencies(
            self.num_mels, min_hz=self.min_hz, max_hz=max_hz, mel_scale=self.mel_scale
        )

    def _features(
        self, waveform: Float[Array, "*batch samples"], num_samples, keys
    ) -> Float[Array, "*batch frames {self.num_mels}"]:
        num_frames, _ = self.output_shape(waveform.shape[-1])
        filterbank = mel.mel_filterbank(**self._mel).astype(waveform.dtype)

        def features(waveform: Array | np.ndarray) -> Array:
            spectrum = stft.stft(waveform, window=self.window, **self._framing)
            magnitudes = _magnitude_power(spectrum[..., :num_frames, :], self.power)
            # Use full precision, because GPUs and TPUs keep only 8 to 10 bits by default.
            bands = jnp.matmul(magnitudes, filterbank, precision="highest")
            return jnp.log(bands + self.offset)

        batch_size = max(1, _FRAMES_PER_BATCH // num_frames)
        return map_in_batches(features, waveform, batch_size=batch_size)

    @property
    def _framing(self) -> dict[str, Any]:
        names = ("frame_length", "hop_length", "padding")
        return {name: getattr(self, name) for name in names}

    @property
    def _mel(self) -> dict[str, Any]:
        names = ("sample_rate_hz", "frame_length", "num_mels", "min_hz", "max_hz")
        return {name: getattr(self, name) for name in (*names, "mel_scale", "mel_norm")}


def _magnitude_power(spectrum: Complex[Array, "*shape"], power: float) -> Float[Array, "*shape"]:
    """Return |spectrum|^power, with finite gradients at 0."""
    if power == 2:
        return stft.power(spectrum)
    magnitude = stft.magnitude(spectrum)
    if power == 1:
        return magnitude
    positive = magnitude > 0
    return jnp.where(positive, jnp.where(positive, magnitude, 1.0) ** power, 0.0)
