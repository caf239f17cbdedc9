"""Spectrograms stored on disk, such as the outputs of a separator."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from irec_jax.dsp import decibels
from irec_jax.dsp.checks import check_signal
from irec_jax.frontends.settings import check_integers, is_number, setting_error


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSpectrogram:
    """Features of `spectrogram_db` that are read from disk instead of computed.

    The 'waveform' of an example is its spectrogram, row by row. Values below `post_db` are replaced
    by the floor (the postprocessing of Ligtenberg 2022), so that the same stored spectrograms serve
    with and without postprocessing.

    Attributes:
        num_bins: bins of the stored spectrogram.
        num_stored_frames: frames of the stored spectrogram.
        num_frames: frames of the features; frames that are not stored have the value of the floor.
        floor_db, scale_db: settings of the front end that computed the features.
        post_db: values below this level are removed; None keeps all.

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
                f"num_frames={self.num_frames}: expected at least num_stored_frames="
                f"{self.num_stored_frames}"
            )
        for name in ("floor_db", "scale_db", "post_db"):
            value = getattr(self, name)
            if not is_number(value) and not (name == "post_db" and value is None):
                raise setting_error(f"{name}={value!r}: expected a number in dB")
        if self.scale_db <= 0:
            raise setting_error(f"scale_db={self.scale_db!r}: expected more than 0 dB")

    @property
    def num_values(self) -> int:
        """Number of values per example."""
        return self.num_bins * self.num_stored_frames

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Return the features of stored spectrograms.

        Args:
            waveform: float32 (..., num_values), within -1..1.
            num_samples, keys: ignored.

        Returns:
            float32 (..., num_bins, num_frames).

        Raises:
            UserError: a wrong number of values.
            AssertionError: `waveform` does not have a floating-point dtype.
        """
        check_signal("waveform", waveform)
        self.output_shape(waveform.shape[-1])  # checks the number of values
        return _stored(self, waveform)

    def output_shape(self, num_samples: int) -> tuple[int, int]:
        """Return (num_bins, num_frames), for examples of `num_samples` values.

        Raises:
            UserError: a number of values other than `num_values`.
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
    features = values.reshape(*values.shape[:-1], frontend.num_bins, frontend.num_stored_frames)
    features = jnp.maximum(features, floor)  # stored values are rounded
    if frontend.post_db is not None:
        features = jnp.where(features < frontend.post_db / frontend.scale_db, floor, features)
    num_missing = frontend.num_frames - frontend.num_stored_frames
    widths = [(0, 0, 0)] * (features.ndim - 1) + [(0, num_missing, 0)]
    return jax.lax.pad(features, floor, widths)
