"""Separation task: estimate the spectrogram of selected stems from that of the mixture."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key, Shaped

from irec_jax import frontends, losses, models, registry
from irec_jax.audio import to_float32
from irec_jax.augment import StemAugment
from irec_jax.errors import UserError
from irec_jax.metrics import amplitude_sdr
from irec_jax.tasks.task import Batch, HostBatch, Losses, Settings, Task, example_keys

#: Allowed values of the `loss.domain` config key: the quantities that the loss compares.
DOMAINS = ("amplitudes", "decibels")
# The error of an example is divided by the level of its target, as in the amplitude SDR. A target
# that is silent or far softer than its mixture is treated as if it were 30 dB below the mixture.
_MIN_LEVEL_DB = -30.0
_SILENCE = 1e-3  # spectral amplitude; full scale is 1,024


@dataclasses.dataclass(frozen=True, eq=False)
class Separation(Task):
    """Front end, model and loss of a separator.

    In training, stems are augmented and then summed, so that a mixture is the sum of its stems. If
    a batch contains the released `mixture` of each track, validation uses it instead of the sum.

    Attributes:
        frontend: the front end, whose settings are stored with a checkpoint.
        criterion: function of `(estimate, target)` that returns the loss of each example.
        domain: 'decibels' compares features, as Ligtenberg (2022) does; 'amplitudes' compares
            linear amplitudes divided by the RMS amplitude of the target.
        augment: augmentation of stems in training.
        window_samples: window length in samples.
        stems: names of the S stems in a mixture.
        target: names of the stems to keep.
    """

    scalars: ClassVar[tuple[str, ...]] = ("amplitude_sdr",)

    frontend: frontends.SpectrogramDb
    model: nn.Module
    criterion: Callable[
        [Float[Array, "batch bins frames"], Float[Array, "batch bins frames"]],
        Float[Array, " batch"],
    ]
    domain: str
    augment: StemAugment
    window_samples: int
    stems: tuple[str, ...]
    target: tuple[str, ...]

    def _init(self, rng: Key[Array, ""]) -> tuple[Any, Any]:
        shape = self.frontend.output_shape(self.window_samples)
        return self._init_variables(rng, jnp.zeros((1, *shape)))

    def loss(
        self, params: Any, model_state: Any, batch: Batch, rng: Key[Array, ""], train: bool
    ) -> Losses:
        augment_rng, dropout_rng = jax.random.split(rng)
        waveforms = self._mixture_and_target(batch, augment_rng if train else None)
        mixture, target = cast(Array, self.frontend(jnp.stack(waveforms)))
        estimate, model_state = self._apply(params, model_state, mixture, batch, dropout_rng, train)
        mask = batch["mask"]
        amplitudes = self.frontend.amplitudes(estimate), self.frontend.amplitudes(target)
        if self.domain == "amplitudes":
            mixture_rms = _rms(self.frontend.amplitudes(mixture))
            min_level = 10 ** (_MIN_LEVEL_DB / 20) * mixture_rms + _SILENCE
            level = jnp.maximum(_rms(amplitudes[1]), min_level)
            values = self.criterion(*(amplitude / level for amplitude in amplitudes))
        else:
            values = self.criterion(estimate, target)
        sdr = _clipped_sdr(*jax.lax.stop_gradient(amplitudes))
        scalars = {"amplitude_sdr": jnp.sum(sdr * mask)}
        return jnp.sum(values * mask), jnp.sum(mask), model_state, scalars

    def predict(
        self, params: Any, model_state: Any, batch: Batch
    ) -> Float[Array, "batch bins frames"]:
        """Return estimated features of the target, given mixtures in `audio`."""
        return self._predict(params, model_state, self.frontend(to_float32(batch["audio"])))

    def summaries(
        self, params: Any, model_state: Any, batch: HostBatch
    ) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Return waveforms and features of the mixture, the target and the estimate."""
        first = {k: v[:1] for k, v in batch.items()}
        arrays = {}
        for name, pair in self._compiled_summaries(params, model_state, first).items():
            waveform, features = (np.asarray(array)[0] for array in pair)
            arrays[f"audio/{name}"] = waveform
            arrays[f"features/{name}"] = self.frontend.as_image(features)
        return arrays

    @functools.cached_property
    def _compiled_summaries(self) -> Callable[..., dict[str, tuple[Array, Array]]]:
        return jax.jit(self._summaries)

    def _summaries(
        self, params: Any, model_state: Any, batch: Batch
    ) -> dict[str, tuple[Array, Array]]:
        """Return waveforms (B, T) and features of mixture, target and estimate; runs under jit."""
        mixture, target = self._mixture_and_target(batch, None)
        estimate = self.predict(params, model_state, {"audio": mixture})
        estimated = self.frontend.inverse(estimate, num_samples=self.window_samples)
        return {
            "mixture": (mixture, jnp.asarray(self.frontend(mixture))),
            "target": (target, jnp.asarray(self.frontend(target))),
            "estimate": (estimated, estimate),
        }

    def _mixture_and_target(
        self, batch: Batch, augment_rng: jax.Array | None
    ) -> tuple[Array, Array]:
        """Return the waveforms (B, T) of the mixture and target, augmented if a key is given."""
        kept = np.array([name in self.target for name in self.stems])
        stems = jnp.asarray(to_float32(batch["stems"]))
        if augment_rng is not None:
            stems = jnp.asarray(jax.vmap(self.augment)(example_keys(augment_rng, batch), stems))
        elif "mixture" in batch:
            return jnp.asarray(to_float32(batch["mixture"])), stems[:, kept].sum(axis=1)
        return stems.sum(axis=1), stems[:, kept].sum(axis=1)


def create_separation(
    *,
    stems: Sequence[str],
    target: Sequence[str],
    sample_rate_hz: int,
    window_s: float,
    frontend: Settings,
    model: Settings,
    loss: Settings,
    augment: Settings,
) -> Separation:
    """Create the separation task that a config describes.

    Args:
        stems: names of the S stems in a batch.
        target: names of the stems to keep.
        sample_rate_hz, window_s: sample rate of the audio and window length.
        frontend, model: `dict(name=..., **arguments)`.
        loss: `dict(name=..., domain=..., **arguments)`; see `Separation` for `domain`.
        augment: arguments of `StemAugment`.

    Raises:
        UserError: an unknown name or argument, or settings that contradict each other.
    """
    if frontend["name"] != "spectrogram_db":
        raise UserError(
            f"frontend.name={frontend['name']}: a separator needs spectrogram_db, the front end "
            "with an inverse"
        )
    if loss["name"] not in losses.REGRESSION:
        raise registry.unknown("separator loss", loss["name"], losses.REGRESSION)
    window_samples = round(window_s * sample_rate_hz)
    created = frontends.create(**frontend)
    assert isinstance(created, frontends.SpectrogramDb)
    created.output_shape(window_samples)  # raises UserError for an unsuitable window
    # The scale and the floor are set only in the front end.
    scale: dict[str, Any] = dict(scale_db=created.scale_db, floor_db=created.floor_db)
    network = models.create(**scale | dict(model))
    for key, value in scale.items():
        if getattr(network, key) != value:
            raise UserError(
                f"model.{key}={getattr(network, key)}: differs from frontend.{key}={value}; "
                "leave it out"
            )
    criterion = losses.create(**{k: v for k, v in loss.items() if k not in ("l2", "domain")})
    if loss["domain"] not in DOMAINS:
        raise registry.unknown("loss.domain", loss["domain"], DOMAINS)
    return Separation(
        frontend=created,
        model=network,
        criterion=criterion,
        domain=loss["domain"],
        augment=StemAugment(**augment),
        window_samples=window_samples,
        stems=tuple(stems),
        target=tuple(target),
    )


def _clipped_sdr(estimate: jax.Array, target: jax.Array) -> jax.Array:
    """Return the amplitude SDR (B,), clipped to -20..40 dB; 0 where the target is silent."""
    sdr = amplitude_sdr(target, estimate, axis=(-2, -1))
    return jnp.clip(jnp.nan_to_num(sdr, nan=0.0), -20.0, 40.0)


def _rms(amplitudes: jax.Array) -> jax.Array:
    """Return the RMS (B, 1, 1) of amplitudes (B, bins, frames) over bins and frames."""
    return jnp.sqrt(jnp.mean(jnp.square(amplitudes), axis=(1, 2), keepdims=True))
