"""Spectrograms stored on disk, such as the outputs of a separator."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from irec_jax.dsp import decibels
from irec_jax.frontends.base import (
    FrontEnd,
    check_choice,
    check_integers,
    check_numbers,
    setting_error,
)
from irec_jax.frontends.gate import FILLS, REFERENCES, Gate


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSpectrogram(FrontEnd):
    """Features of the `spectrogram_db` front end, read from disk instead of being computed.

    The 'waveform' of an example is its spectrogram, row by row: float32 (..., num_values) within
    -1..1. The features are float32 (..., num_bins, num_frames). Values below `post_db` are replaced
    (as in Ligtenberg 2022; see `gate.Gate`), so that the same stored spectrograms can be used with
    and without postprocessing. Each example is treated as a separate track with a single segment.

    Attributes:
        num_bins: number of bins in the stored spectrogram.
        num_stored_frames: number of frames in the stored spectrogram.
        num_frames: number of frames in the features; frames beyond the stored ones are filled with
            the floor.
        floor_db, scale_db: settings of the front end that computed the features.
        post_db: level below which values are removed; if None, all values are kept.
        post_reference, post_fill: reference level for `post_db`, and the value that replaces
            removed values.
    """

    axes: ClassVar[tuple[str, ...] | None] = ("frequency", "time")

    num_bins: int = 2048
    num_stored_frames: int = 126
    num_frames: int = 128
    floor_db: float = decibels.FLOOR_DB
    scale_db: float = 150.0
    post_db: float | None = None
    post_reference: str = "absolute"
    post_fill: str = "floor"

    def __post_init__(self):
        names = ("num_bins", "num_stored_frames", "num_frames")
        check_integers(1, **{name: getattr(self, name) for name in names})
        if self.num_stored_frames > self.num_frames:
            raise setting_error(
                f"num_frames={self.num_frames}: expected at least num_stored_frames="
                f"{self.num_stored_frames}"
            )
        check_numbers(" in dB", floor_db=self.floor_db)
        check_numbers(" of dB", above=0, scale_db=self.scale_db)
        check_choice(REFERENCES, post_reference=self.post_reference)
        check_choice(FILLS, post_fill=self.post_fill)
        if self.post_db is not None:
            check_numbers(" in dB", post_db=self.post_db)

    @property
    def num_values(self) -> int:
        """Number of values per example."""
        return self.num_bins * self.num_stored_frames

    def output_shape(self, num_samples: int) -> tuple[int, int]:
        """Return (num_bins, num_frames), for examples of `num_samples` values.

        Raises:
            UserError: if the number of values is not `num_values`.
        """
        if num_samples != self.num_values:
            raise setting_error(
                f"num_bins={self.num_bins} and num_stored_frames={self.num_stored_frames} make "
                f"{self.num_values} values, but an example has {num_samples}"
            )
        return self.num_bins, self.num_frames

    def _features(
        self, waveform: Float[Array, "*batch values"], num_samples, keys
    ) -> Float[Array, "*batch {self.num_bins} {self.num_frames}"]:
        floor = jnp.asarray(self.floor_db / self.scale_db, waveform.dtype)
        features = waveform.reshape(*waveform.shape[:-1], self.num_bins, self.num_stored_frames)
        features = jnp.maximum(features, floor)  # stored values are rounded
        if self.post_db is not None:
            gate = Gate(post_db=self.post_db, reference=self.post_reference, fill=self.post_fill)
            features = jnp.asarray(gate(features, self))
        num_missing = self.num_frames - self.num_stored_frames
        widths = [(0, 0, 0)] * (features.ndim - 1) + [(0, num_missing, 0)]
        return jax.lax.pad(features, floor, widths)
