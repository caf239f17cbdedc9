"""Augmentation of waveforms and features for recognisers."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Key, PRNGKeyArray, PyTree, Shaped

from irec_jax.augment import recording
from irec_jax.augment.tempo import change_tempo, check_tempo
from irec_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """Random recording conditions for waveforms, and SpecAugment masks (Park et al. 2019).

    Masked features are replaced by the mean of the example's features. For details of the recording
    conditions, see the functions in `augment.recording`.

    Attributes:
        mix: probability of adding another example from the batch to an example; the result has the
            labels of both examples.
        mix_db: largest attenuation of the added example in dB; its gain is drawn uniformly from
            -mix_db..0.
        stretch, pitch_semitones: time stretch and pitch shift, which are independent of each other;
            see `augment.tempo.change_tempo`.
        gain_db: largest gain in dB; the gain is drawn uniformly from -gain_db..gain_db.
        polarity: whether to invert the sign of each example with a probability of 0.5.
        speed_semitones: largest change in speed, and thus in pitch, in semitones.
        distortion: probability of saturation.
        compression: probability of dynamic range compression.
        equaliser_db: largest gain of a random equaliser in dB; the gains are drawn uniformly from
            -equaliser_db..equaliser_db.
        band_limit: probability of a low-pass filter, and of a high-pass filter.
        room: probability of a synthetic room.
        noise_db: level of the strongest noise relative to the waveform; None for no noise.
        num_time_masks: number of time masks.
        time_mask_frames: maximum length of a time mask in frames; the minimum is 0.
        num_mel_masks: number of frequency masks.
        mel_mask_bands: maximum width of a frequency mask in mel bands or frequency bins; the
            minimum is 0.
        sample_rate_hz: sample rate of the waveforms.
    """

    mix: float = 0.0
    mix_db: float = 10.0
    stretch: Sequence[float] = (1.0, 1.0)
    pitch_semitones: float = 0.0
    gain_db: float = 0.0
    polarity: bool = False
    speed_semitones: float = 0.0
    distortion: float = 0.0
    compression: float = 0.0
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
            if field.name not in ("noise_db", "stretch") and value < 0:
                raise UserError(f"augment.{field.name}={value}: expected 0 or more")
        object.__setattr__(self, "stretch", check_tempo(self.stretch, self.pitch_semitones))
        for name in ("mix", "distortion", "compression", "band_limit", "room"):
            if (value := getattr(self, name)) > 1:
                raise UserError(f"augment.{name}={value}: expected a probability, 0 to 1")
        if self.noise_db is not None and self.noise_db < recording.QUIETEST_DB:
            raise UserError(
                f"augment.noise_db={self.noise_db}: expected {recording.QUIETEST_DB:g} or more"
            )

    @property
    def changes_audio(self) -> bool:
        """Whether waveforms are changed."""
        names = ("mix", "pitch_semitones", "speed_semitones", "distortion", "compression")
        names = (*names, "gain_db", "polarity")
        is_stretched = self.stretch != (1.0, 1.0)
        return is_stretched or self._filters or any(getattr(self, name) for name in names)

    @property
    def _filters(self) -> bool:
        return bool(self.equaliser_db or self.band_limit or self.room) or self.noise_db is not None

    def mixture(
        self,
        keys: Key[Array, " batch"],
        waveforms: Float[Array, "batch samples"],
        labels: Float[Array | np.ndarray, "batch classes"],
        mask: Float[Array | np.ndarray, " batch"],
    ) -> tuple[Float[Array, "batch samples"], Float[Array, "batch classes"]]:
        """Mix some examples with their neighbours in the batch and combine the labels.

        Batches are shuffled, so neighbours are random. On each device, examples 2 i and 2 i + 1 are
        neighbours. A mixture has the same peak as the example before mixing.

        Args:
            keys: one random key per example.
            waveforms: waveforms in the batch.
            labels: labels of the waveforms, within 0..1.
            mask: 0 for padding examples, which are not added.

        Raises:
            UserError: the number of examples is odd.
        """
        num_examples = len(waveforms)
        if num_examples % 2:
            raise UserError(
                f"augment.mix={self.mix}: examples are mixed in pairs, but each device has "
                f"{num_examples}; set training.batch_size to an even number per device"
            )
        neighbour = np.arange(num_examples) ^ 1

        def draw(key: PRNGKeyArray) -> Float[Array, ""]:
            use_key, level_key = jax.random.split(key)
            level_db = jax.random.uniform(level_key, minval=-self.mix_db, maxval=0.0)
            return jax.random.bernoulli(use_key, self.mix) * 10.0 ** (level_db / 20.0)

        gains = jax.vmap(draw)(keys) * jnp.asarray(mask)[neighbour]
        mixed = waveforms + gains[:, None] * waveforms[neighbour]
        peaks, new_peaks = (jnp.abs(w).max(axis=1, keepdims=True) for w in (waveforms, mixed))
        mixed = mixed * jnp.where(new_peaks > 0, peaks / jnp.maximum(new_peaks, 1e-9), 1.0)
        labels = jnp.asarray(labels)
        return mixed, jnp.maximum(labels, (gains > 0)[:, None] * labels[neighbour])

    def waveform(
        self, key: PRNGKeyArray, waveform: Float[Array, " samples"]
    ) -> Float[Array, " samples"]:
        """Apply random recording conditions to a waveform."""
        gain_key, polarity_key = jax.random.split(key)
        # With fold_in, the random gain and polarity do not depend on the other effects.
        speed_key, distortion_key, filter_key = jax.random.split(jax.random.fold_in(key, 1), 3)
        stretch_key, pitch_key, range_key = jax.random.split(jax.random.fold_in(key, 2), 3)
        waveform = change_tempo(
            stretch_key,
            pitch_key,
            waveform[None],
            stretch=tuple(self.stretch),
            pitch_semitones=self.pitch_semitones,
        )[0]
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
        if self.compression:
            waveform = recording.compress(
                range_key,
                waveform,
                sample_rate_hz=self.sample_rate_hz,
                probability=self.compression,
            )
        if self.gain_db:
            gain_db = jax.random.uniform(gain_key, (), minval=-self.gain_db, maxval=self.gain_db)
            waveform = waveform * 10 ** (gain_db / 20)
        if self.polarity:
            waveform = waveform * jax.random.rademacher(polarity_key, (), waveform.dtype)
        return waveform

    def check_axes(self, axes: Sequence[str] | None) -> None:
        """Check that the features have the axes that the masks apply to.

        Args:
            axes: the front end's `axes` attribute.

        Raises:
            UserError: an axis is missing.
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
        """Mask random spans in the features of an example.

        Args:
            key: random key.
            features: features of an example; if no masks are set, they are returned unchanged.
            axes: names of the feature axes; see `FrontEnd`.
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
