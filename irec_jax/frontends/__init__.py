"""Front ends, which compute model inputs from waveforms.

A front end is a subclass of `FrontEnd`: a frozen dataclass of static settings that can be written
as JSON (checkpoints store the result of `dataclasses.asdict`). It has the following members:

- `__call__(waveform (..., T), *, num_samples=None, keys=None) -> features`, an array (..., *shape)
  or a dict of such arrays,
- `output_shape(num_samples) -> shape`, the shape of one example's features (a dict of shapes
  if the features are a dict), computed without running the front end, and
- `axes`, the names of the feature axes, such as `time` and `frequency` for spectrograms.

Front ends that depend on the sample rate have a `sample_rate_hz` field. A front end whose input is
not audio (`stored`) has a `num_values` attribute, the length of its 'waveforms'. Batched and
unbatched waveforms give the same features, including under jit and vmap.
"""

from typing import Any

from irec_jax import registry
from irec_jax.frontends.base import Features, FrontEnd, Shape
from irec_jax.frontends.gate import Gate
from irec_jax.frontends.images import ImageAndChunks, Recurrence, Stacked
from irec_jax.frontends.log_mel import LogMel
from irec_jax.frontends.spectrogram_db import SpectrogramDb
from irec_jax.frontends.stored_spectrogram import StoredSpectrogram
from irec_jax.frontends.waveforms import Chunks, FftMagnitude, Raw

__all__ = [
    "FRONTENDS",
    "Features",
    "FrontEnd",
    "Gate",
    "Shape",
    "SpectrogramDb",
    "StoredSpectrogram",
    "create",
    "find",
]

FRONTENDS = {
    "chunks": Chunks,
    "fft_magnitude": FftMagnitude,
    "image_and_chunks": ImageAndChunks,
    "log_mel": LogMel,
    "raw": Raw,
    "recurrence": Recurrence,
    "spectrogram_db": SpectrogramDb,
    "stacked": Stacked,
    "stored": StoredSpectrogram,
}


def find(name: str) -> type[FrontEnd]:
    """Return the front-end class for a key of `FRONTENDS` or for `module:Class` in another package.

    Raises:
        UserError: if the class cannot be found (see `registry.find_class`).
    """
    return registry.find_class("front end", FRONTENDS, name, FrontEnd)


def create(name: str, **settings: Any) -> FrontEnd:
    """Return the front end with the given name and settings.

    Raises:
        UserError: if the name or a setting is unknown (the message suggests the nearest known one),
            or a value is out of range.
    """
    return registry.create("front end", {name: find(name)}, name, **settings)
