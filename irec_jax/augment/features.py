"""Augmentation of the waveforms and features of a recogniser."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, PRNGKeyArray, PyTree, Shaped

from irec_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """Random gain and polarity of waveforms, and SpecAugment masks (Park et al. 2019) of features.

    Masked values are replaced by the mean of the example.

    Attributes:
        gain_db: gain drawn uniformly from -gain_db..gain_db.
        polarity: invert the sign in half of the examples.
        num_time_masks: number of masked spans of frames.
        time_mask_frames: maximum length of such a span; the minimum is 0.
        num_mel_masks: number of masked spans of bands.
        mel_mask_bands: maximum width of such a span.
    """

    gain_db: float = 0.0
    polarity: bool = False
    num_time_masks: int = 0
    time_mask_frames: int = 8
    num_mel_masks: int = 0
    mel_mask_bands: int = 16

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) < 0:
                raise UserError(f"augment.{field.name}={value}: expected 0 or more")

    def waveform(
        self, key: PRNGKeyArray, waveform: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """Return a waveform with random gain and polarity."""
        gain_key, polarity_key = jax.random.split(key)
        if self.gain_db:
            gain_db = jax.random.uniform(gain_key, (), minval=-self.gain_db, maxval=self.gain_db)
            waveform = waveform * 10 ** (gain_db / 20)
        if self.polarity:
            waveform = waveform * jax.random.rademacher(polarity_key, (), waveform.dtype)
        return waveform

    def check_features(self, shape: Any) -> None:
        """Check that masks, if set, are applied to spectrograms.

        Args:
            shape: `output_shape` of the front end.

        Raises:
            UserError: masks are set and the features do not have two axes.
        """
        if self._masks and not (isinstance(shape, tuple) and len(shape) == 2):
            raise UserError(
                "augment.num_time_masks, augment.num_mel_masks: the features of this front end are "
                "not spectrograms; set both to 0"
            )

    @property
    def _masks(self) -> bool:
        return bool(self.num_time_masks or self.num_mel_masks)

    def features(
        self, key: PRNGKeyArray, features: PyTree[Shaped[Array, "..."]]
    ) -> PyTree[Shaped[Array, "..."]]:
        """Return a spectrogram (frames, bands) with masked spans; other features unchanged."""
        if not self._masks:
            return features
        time_key, mel_key = jax.random.split(key)
        keep = jnp.ones(features.shape, bool)
        for axis, axis_key, num_spans, max_width in (
            (0, time_key, self.num_time_masks, self.time_mask_frames),
            (1, mel_key, self.num_mel_masks, self.mel_mask_bands),
        ):
            for span_key in jax.random.split(axis_key, num_spans) if num_spans else ():
                span = _random_span(span_key, features.shape[axis], max_width)
                keep &= jnp.expand_dims(~span, 1 - axis)
        return jnp.where(keep, features, features.mean())


def _random_span(key: PRNGKeyArray, size: int, max_width: int) -> Bool[Array, " {size}"]:
    """Return an array that is true within a random span of width 0..max_width."""
    width_key, start_key = jax.random.split(key)
    width = jax.random.randint(width_key, (), 0, min(max_width, size) + 1)
    start = jax.random.randint(start_key, (), 0, size - width + 1)
    position = jnp.arange(size)
    return (position >= start) & (position < start + width)
