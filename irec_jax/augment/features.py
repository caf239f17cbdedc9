"""Augmentation of the waveforms and features of a recogniser."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, PRNGKeyArray, PyTree, Shaped

from irec_jax.augment import recording
from irec_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """Random recording conditions of waveforms, and SpecAugment masks (Park et al. 2019).

    Masked values of features are replaced by the mean of the example. The functions of
    `augment.recording` describe the recording conditions.

    Attributes:
        gain_db: gain drawn uniformly from -gain_db..gain_db.
        polarity: invert the sign in half of the examples.
        speed_semitones: speed, and with it pitch, changed by up to this many semitones.
        distortion: probability of saturation.
        equaliser_db: gains of a random equaliser, drawn from -equaliser_db..equaliser_db.
        band_limit: probability of a low-pass filter, and of a high-pass filter.
        room: probability of a synthetic room.
        noise_db: level of the strongest noise relative to the waveform; None for no noise.
        num_time_masks: number of masked spans of frames.
        time_mask_frames: maximum length of such a span; the minimum is 0.
        num_mel_masks: number of masked spans of bands, or of bins.
        mel_mask_bands: maximum width of such a span.
        sample_rate_hz: sample rate of the waveforms.
    """

    gain_db: float = 0.0
    polarity: bool = False
    speed_semitones: float = 0.0
    distortion: float = 0.0
    equaliser_db: float = 0.0
    band_limit: float = 0.0
    room: float = 0.0
    noise_db: float | None = None
    num_time_masks: int = 0
    time_mask_frames: int = 8
    num_mel_masks: int = 0
    mel_mask_bands: int = 16
    sample_rate_hz: float = 22_050

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "noise_db" and value < 0:
                raise UserError(f"augment.{field.name}={value}: expected 0 or more")
        for name in ("distortion", "band_limit", "room"):
            if (value := getattr(self, name)) > 1:
                raise UserError(f"augment.{name}={value}: expected a probability, 0 to 1")
        if self.noise_db is not None and self.noise_db < recording.QUIETEST_DB:
            raise UserError(
                f"augment.noise_db={self.noise_db}: expected {recording.QUIETEST_DB:g} or more"
            )

    @property
    def changes_audio(self) -> bool:
        """Whether waveforms are changed."""
        rates = (self.speed_semitones, self.distortion, self.gain_db, self.polarity)
        return bool(any(rates) or self._filters)

    @property
    def _filters(self) -> bool:
        return bool(self.equaliser_db or self.band_limit or self.room) or self.noise_db is not None

    def waveform(
        self, key: PRNGKeyArray, waveform: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """Return a waveform under random recording conditions."""
        gain_key, polarity_key = jax.random.split(key)
        # Folded, so that the numbers drawn for gain and polarity do not depend on the others.
        speed_key, distortion_key, filter_key = jax.random.split(jax.random.fold_in(key, 1), 3)
        if self.speed_semitones:
            semitones = self.speed_semitones
            waveform = recording.change_speed(speed_key, waveform, semitones=semitones)
        if self.distortion:
            probability = self.distortion
            waveform = recording.distort(distortion_key, waveform, probability=probability)
        if self._filters:
            waveform = recording.convolve(
                filter_key,
                waveform,
                sample_rate_hz=self.sample_rate_hz,
                equaliser_db=self.equaliser_db,
                band_limit=self.band_limit,
                room=self.room,
                noise_db=self.noise_db,
            )
        if self.gain_db:
            gain_db = jax.random.uniform(gain_key, (), minval=-self.gain_db, maxval=self.gain_db)
            waveform = waveform * 10 ** (gain_db / 20)
        if self.polarity:
            waveform = waveform * jax.random.rademacher(polarity_key, (), waveform.dtype)
        return waveform

    def check_axes(self, axes: Sequence[str] | None) -> None:
        """Check that the features have the axes that masks are set for.

        Args:
            axes: `axes` of the front end.

        Raises:
            UserError: they do not.
        """
        for name, axis, num_masks in (
            ("num_time_masks", "time", self.num_time_masks),
            ("num_mel_masks", "frequency", self.num_mel_masks),
        ):
            if num_masks and axis not in (axes or ()):
                raise UserError(
                    f"augment.{name}={num_masks}: the features of this front end have no "
                    f"{axis} axis; set it to 0"
                )

    def features(
        self,
        key: PRNGKeyArray,
        features: PyTree[Shaped[Array, "..."]],
        axes: Sequence[str] | None,
    ) -> PyTree[Shaped[Array, "..."]]:
        """Return the features of an example with masked spans.

        Args:
            key: key of the random numbers.
            features: the features; those without axes are returned unchanged.
            axes: names of their axes, see `FrontEnd`.
        """
        if not (self.num_time_masks or self.num_mel_masks):
            return features
        assert axes is not None
        time_key, mel_key = jax.random.split(key)
        keep = jnp.ones(features.shape, bool)
        for name, axis_key, num_spans, max_width in (
            ("time", time_key, self.num_time_masks, self.time_mask_frames),
            ("frequency", mel_key, self.num_mel_masks, self.mel_mask_bands),
        ):
            for span_key in jax.random.split(axis_key, num_spans) if num_spans else ():
                axis = axes.index(name)
                span = _random_span(span_key, features.shape[axis], max_width)
                others = [i for i in range(features.ndim) if i != axis]
                keep &= jnp.expand_dims(~span, others)
        return jnp.where(keep, features, features.mean())


def _random_span(key: PRNGKeyArray, size: int, max_width: int) -> Bool[Array, " {size}"]:
    """Return an array that is true within a random span of width 0..max_width."""
    width_key, start_key = jax.random.split(key)
    width = jax.random.randint(width_key, (), 0, min(max_width, size) + 1)
    start = jax.random.randint(start_key, (), 0, size - width + 1)
    position = jnp.arange(size)
    return (position >= start) & (position < start + width)
