"""Spectrograms that lie ready on disk, such as those a separator made."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from irec_jax.dsp import decibels
from irec_jax.dsp.checks import check_signal
from irec_jax.frontends.settings import check_integers, is_number, setting_error


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSpectrogram:
    """Takes stored features of `spectrogram_db` for what they are (`data.stored`).

    The 'waveform' of an example is its spectrogram, row after row. Values below `post_db` are
    replaced by the floor: the postprocessing of Ligtenberg (2022), so that spectrograms with and
    without it are stored once.

    Attributes:
        num_bins: of the stored spectrogram.
        num_stored_frames: of the stored spectrogram.
        num_frames: frames of the picture; those that are not stored hold the floor.
        floor_db, scale_db: of the front end that the features come from.
        post_db: what lies below it is removed; None: nothing is.

    Raises:
        UserError: a setting out of range; the message names it.
    """

    num_bins: int = 2048
    num_stored_frames: int = 126
    num_frames: int = 128
    floor_db: float = decibels.FLOOR_DB
    scale_db: float = 150.0
    post_db: float | None = None

    def __post_init__(self):
        names = ("num_bins", "num_stored_frames", "num_frames")
        check_integers(1, **{name: getattr(self, name) for name in names})
        if self.num_stored_frames > self.num_frames:
            raise setting_error(
                f"num_frames is {self.num_frames}: less than num_stored_frames="
                f"{self.num_stored_frames}"
            )
        for name in ("floor_db", "scale_db", "post_db"):
            value = getattr(self, name)
            if not is_number(value) and not (name == "post_db" and value is None):
                raise setting_error(f"{name} is {value!r}: must be a number in dB")
        if self.scale_db <= 0:
            raise setting_error(f"scale_db is {self.scale_db!r}: must be above 0 dB")

    @property
    def num_values(self) -> int:
        """How many values an example has."""
        return self.num_bins * self.num_stored_frames

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Features of stored values.

        Args:
            waveform: float32 (..., num_values), within -1..1.
            num_samples, keys: not needed.

        Returns:
            float32 (..., num_bins, num_frames).

        Raises:
            UserError: another number of values.
            AssertionError: `waveform` is not floating point.
        """
        check_signal("waveform", waveform)
        self.output_shape(waveform.shape[-1])  # reports another number of values
        return _stored(self, waveform)

    def output_shape(self, num_samples: int) -> tuple[int, int]:
        """(num_bins, num_frames), for examples of `num_samples` values.

        Raises:
            UserError: not those of a spectrogram.
        """
        if num_samples != self.num_values:
            raise setting_error(
                f"num_bins={self.num_bins} and num_stored_frames={self.num_stored_frames} make "
                f"{self.num_values} values, and an example has {num_samples}"
            )
        return self.num_bins, self.num_frames


@functools.partial(jax.jit, static_argnums=0)
def _stored(frontend: StoredSpectrogram, values: jax.Array) -> jax.Array:
    floor = jnp.asarray(frontend.floor_db / frontend.scale_db, values.dtype)
    found = values.reshape(*values.shape[:-1], frontend.num_bins, frontend.num_stored_frames)
    found = jnp.maximum(found, floor)  # which is rounded where it is stored
    if frontend.post_db is not None:
        found = jnp.where(found < frontend.post_db / frontend.scale_db, floor, found)
    num_missing = frontend.num_frames - frontend.num_stored_frames
    widths = [(0, 0, 0)] * (found.ndim - 1) + [(0, num_missing, 0)]
    return jax.lax.pad(found, floor, widths)
