"""Augmentation of a recogniser: of waveforms, and of the features made from them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from irec_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """Settings of both stages.

    Attributes:
        gain_db: gain drawn uniformly from -gain_db..gain_db.
        polarity: whether the sign is inverted in half of the examples.
        num_time_masks: SpecAugment (Park et al. 2019): so many spans of frames ...
        time_mask_frames: ... of 0 to so many frames each are set to the example's mean.
        num_mel_masks: the same for bands.
        mel_mask_bands: widest span of bands.
    """

    gain_db: float = 0.0
    polarity: bool = False
    num_time_masks: int = 0
    time_mask_frames: int = 8
    num_mel_masks: int = 0
    mel_mask_bands: int = 16

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise UserError(f"config key augment.{field.name} must not be negative")

    def waveform(self, key: jax.Array, waveform: jax.Array) -> jax.Array:
        """One waveform (T,) with another gain and polarity."""
        gain_key, polarity_key = jax.random.split(key)
        if self.gain_db:
            gain_db = jax.random.uniform(gain_key, (), minval=-self.gain_db, maxval=self.gain_db)
            waveform = waveform * 10 ** (gain_db / 20)
        if self.polarity:
            waveform = waveform * jax.random.rademacher(polarity_key, (), waveform.dtype)
        return waveform

    def check_features(self, shape: Any) -> None:
        """UserError when spans are to be masked in features that are no spectrogram.

        Args:
            shape: of one example's features, of `output_shape` of a front end.
        """
        if self._masks and not (isinstance(shape, tuple) and len(shape) == 2):
            raise UserError(
                "config keys augment.num_time_masks and augment.num_mel_masks mask spectrograms: "
                "set both to 0 with this front end"
            )

    @property
    def _masks(self) -> bool:
        return bool(self.num_time_masks or self.num_mel_masks)

    def features(self, key: jax.Array, features: Any) -> Any:
        """One spectrogram (frames, bands) with spans masked; other features as they are."""
        if not self._masks:
            return features
        time_key, mel_key = jax.random.split(key)
        keep = jnp.ones(features.shape, bool)
        for axis, axis_key, number, widest in (
            (0, time_key, self.num_time_masks, self.time_mask_frames),
            (1, mel_key, self.num_mel_masks, self.mel_mask_bands),
        ):
            for span_key in jax.random.split(axis_key, number) if number else ():
                span = ~_span(span_key, features.shape[axis], widest)
                keep &= jnp.expand_dims(span, 1 - axis)
        return jnp.where(keep, features, features.mean())


def _span(key: jax.Array, size: int, widest: int) -> jax.Array:
    """bool (size,), true within one random span of 0..widest."""
    width_key, start_key = jax.random.split(key)
    width = jax.random.randint(width_key, (), 0, min(widest, size) + 1)
    start = jax.random.randint(start_key, (), 0, size - width + 1)
    position = jnp.arange(size)
    return (position >= start) & (position < start + width)
