"""Removal of the softest values in a spectrogram, as in Ligtenberg's (2022) postprocessing."""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from irec_jax.frontends.base import check_choice, check_numbers

#: Reference levels for the threshold, and replacements for the values below it.
REFERENCES, FILLS = ("absolute", "track", "segment"), ("floor", "zero")


@runtime_checkable
class Levels(Protocol):
    """A front end whose features are levels in dB, at least `floor_db`, divided by `scale_db`."""

    @property
    def scale_db(self) -> float: ...

    @property
    def floor_db(self) -> float: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """Gate that replaces the values below a threshold.

    Ligtenberg removes 'the softest sounds of the model output (less than 60dB)' but states neither
    the reference level nor the value that replaces them.

    Attributes:
        post_db: the threshold, in dB relative to the reference.
        reference: 'absolute' for the front end's 0 dB, which is 60 dB below full scale with the
            defaults of `SpectrogramDb`; 'track' for the largest value in the track; 'segment'
            for the largest value in each segment.
        fill: 'floor' for the front end's floor (silence), or 'zero' for 0 dB.

    Raises:
        UserError: if a value is out of range; the message names the key in the `frontend` config
            section.
    """

    post_db: float
    reference: str = "absolute"
    fill: str = "floor"

    def __post_init__(self):
        check_numbers(" in dB", post_db=self.post_db)
        check_choice(REFERENCES, post_reference=self.reference)
        check_choice(FILLS, post_fill=self.fill)

    def __call__(
        self,
        features: Float[Array | np.ndarray, "*batch bins frames"],
        frontend: Levels,
        *,
        segment_frames: int | None = None,
        maximum: Float[Array | np.ndarray, "*batch 1 1"] | None = None,
    ) -> Float[Array | np.ndarray, "*batch bins frames"]:
        """Return the features with the values below the threshold replaced.

        Args:
            features: spectrograms, each with its own reference.
            frontend: the front end of the features.
            segment_frames: number of frames per segment (the last segment may be shorter); if None,
                all frames are one segment.
            maximum: largest value in the track to which each spectrogram belongs; if None, each
                spectrogram is a complete track.
        """
        array = jnp if isinstance(features, jax.Array) else np
        reference = self._reference(array, features, segment_frames, maximum)
        fill = np.float32(frontend.floor_db / frontend.scale_db if self.fill == "floor" else 0.0)
        below = features < reference + np.float32(self.post_db / frontend.scale_db)
        return array.where(below, fill, features)

    def _reference(self, array, features, segment_frames: int | None, maximum):
        """Return the reference level of the threshold, which broadcasts against the features."""
        if self.reference == "absolute":
            return np.float32(0.0)
        if self.reference == "track" and maximum is not None:
            return maximum
        num_frames = features.shape[-1]
        if self.reference == "track" or segment_frames is None or segment_frames >= num_frames:
            return features.max(axis=(-2, -1), keepdims=True)
        largest = features.max(axis=-2, keepdims=True)
        num_segments = -(-num_frames // segment_frames)
        widths = [(0, 0)] * (largest.ndim - 1) + [(0, num_segments * segment_frames - num_frames)]
        padded = array.pad(largest, widths, constant_values=-np.inf)
        by_segment = padded.reshape(*largest.shape[:-1], num_segments, segment_frames).max(axis=-1)
        return array.repeat(by_segment, segment_frames, axis=-1)[..., :num_frames]
