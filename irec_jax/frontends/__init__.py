"""Front ends by name: waveforms to what a model eats.

A front end is a frozen dataclass of static, JSON-able settings (`dataclasses.asdict` of it
travels in the checkpoint) with

- `__call__(waveform (..., T), *, num_samples=None, keys=None) -> features`, an array (..., *shape)
  or a dict of such arrays, and
- `output_shape(num_samples) -> shape`, that of one example's features (a dict of shapes where the
  features are a dict), which computes nothing.

One that needs the sample rate has it as the field `sample_rate_hz`. One that takes something else
than audio (`stored`) says by `num_values` how long its 'waveforms' are.
Batched and unbatched waveforms, under jit and vmap, give the same features.
"""

from typing import Any, Protocol

import jax

from irec_jax import registry
from irec_jax.frontends.images import ImageAndChunks, Recurrence, Stacked
from irec_jax.frontends.log_mel import LogMel
from irec_jax.frontends.spectrogram_db import SpectrogramDb
from irec_jax.frontends.stored_spectrogram import StoredSpectrogram
from irec_jax.frontends.waveforms import Chunks, FftMagnitude, Raw

Features = jax.Array | dict[str, jax.Array]
Shape = tuple[int, ...]


class FrontEnd(Protocol):
    """What every front end offers.

    Args of a call:
        waveform: floats (..., T), each divided by its clip's peak.
        num_samples: ints (...,): how many samples at the start of each waveform are real, the rest
            being zeros; None: all. Front ends that treat zeros as sound ignore it.
        keys: PRNG keys (...,), one for each waveform, given in training only; None: nothing is
            drawn. Front ends without randomness ignore them.
    """

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> Features: ...

    def output_shape(self, num_samples: int) -> Shape | dict[str, Shape]: ...


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


def create(name: str, **settings: Any) -> FrontEnd:
    """The front end of that name with the given settings.

    Raises:
        UserError: unknown name or setting (with the nearest known one), or a value out of range.
    """
    return registry.create("front end", FRONTENDS, name, **settings)
