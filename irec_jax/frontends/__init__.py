"""Front ends: model inputs from waveforms.

A front end is a frozen dataclass of static settings that can be written as JSON (the checkpoint
stores its `dataclasses.asdict`), derived from `FrontEnd`:

- `__call__(waveform (..., T), *, num_samples=None, keys=None) -> features`, an array (..., *shape)
  or a dict of such arrays,
- `output_shape(num_samples) -> shape`, the shape of the features of one example (a dict of shapes
  if the features are a dict), computed without running the front end, and
- `axes`, the names of these axes, `time` and `frequency`, if the features are a spectrogram.

Front ends that depend on the sample rate have a field `sample_rate_hz`. A front end whose input is
not audio (`stored`) states the length of its 'waveforms' as `num_values`.
Batched and unbatched waveforms, under jit and vmap, give the same features.
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
    """Return the class of a front end: a key of `FRONTENDS`, or `module:Class` of another package.

    Raises:
        UserError: see `registry.find_class`.
    """
    return registry.find_class("front end", FRONTENDS, name, FrontEnd)


def create(name: str, **settings: Any) -> FrontEnd:
    """Return the front end of a given name with the given settings.

    Raises:
        UserError: unknown name or setting (the nearest known one is suggested), or a value out of
            range.
    """
    return registry.create("front end", {name: find(name)}, name, **settings)
