"""Separation: the spectrogram of a mixture to that of some of its stems."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax import frontends, losses, models, registry
from irec_jax.audio import INT16_SCALE
from irec_jax.augment import StemAugment
from irec_jax.errors import UserError
from irec_jax.metrics import amplitude_sdr
from irec_jax.tasks.task import Batch, Task

#: What the loss compares.
DOMAINS = ("amplitudes", "decibels")
# An example counts by its error relative to its target, as in the score; a target far softer than
# its mixture, or silent, counts as if it were 30 dB below that.
_LEAST_LEVEL_DB = -30.0
_SILENCE = 1e-3  # amplitude of spectra; 1,024 is full scale


@dataclasses.dataclass(frozen=True)
class Separation(Task):
    """The task of a separator, with what its users need to feed it.

    `predict` takes a batch of mixtures, `audio` (B, T), to the target's features (B, bins, frames).

    Attributes:
        frontend: the front end, whose settings travel with a checkpoint.
        window_samples: length of the windows it was built for.
        stems: names of what a mixture is the sum of.
        target: those of them that are to stay.
    """

    frontend: frontends.SpectrogramDb
    window_samples: int
    stems: tuple[str, ...]
    target: tuple[str, ...]


def create_separation(
    *,
    stems: Sequence[str],
    target: Sequence[str],
    sample_rate_hz: int,
    window_s: float,
    frontend: Mapping[str, Any],
    model: Mapping[str, Any],
    loss: Mapping[str, Any],
    augment: Mapping[str, Any],
) -> Separation:
    """The separation task of a config.

    Stems are augmented and then summed, so that a mixture is always the sum of its stems; where a
    batch brings a `mixture` of its own (the released one of a track), validation uses that.

    Args:
        stems: names of the S stems in a batch.
        target: those that are to stay.
        sample_rate_hz: of the audio.
        window_s: length of a window in seconds.
        frontend, model: named things, `dict(name=..., **arguments)`.
        loss: the same, with `domain`: 'decibels' compares features as they are, as the source
            does; 'amplitudes' compares linear amplitudes, divided by the RMS of the target's.
        augment: settings of `StemAugment`.

    Raises:
        UserError: an unknown name or argument, settings that do not go together.
    """
    if frontend["name"] != "spectrogram_db":
        raise UserError(
            f"config key frontend.name={frontend['name']!r}: a separator needs spectrogram_db, "
            "the one that has an inverse"
        )
    if loss["name"] not in losses.REGRESSION:
        raise registry.unknown("loss of a separator", loss["name"], losses.REGRESSION)
    window_samples = round(window_s * sample_rate_hz)
    front = frontends.create(**frontend)
    shape = front.output_shape(window_samples)
    # Set once, in the front end; what a checkpoint was trained with holds.
    network = models.create(**dict(scale_db=front.scale_db, floor_db=front.floor_db) | dict(model))
    for key in ("scale_db", "floor_db"):
        if getattr(network, key) != getattr(front, key):
            raise UserError(
                f"config key model.{key}={getattr(network, key)} differs from frontend.{key}="
                f"{getattr(front, key)}; leave it out"
            )
    loss_of = losses.create(**{k: v for k, v in loss.items() if k not in ("l2", "domain")})
    if loss["domain"] not in DOMAINS:
        raise registry.unknown("config key loss.domain", loss["domain"], DOMAINS)
    augmented = StemAugment(**augment)
    kept = np.array([name in target for name in stems])

    def init(rng: jax.Array) -> tuple[Any, Any]:
        features = jnp.zeros((1, *shape))
        variables = dict(network.init({"params": rng}, features, train=False))
        return variables.pop("params"), variables

    def waveforms(batch: Batch, rng: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Mixture and target (B, T)."""
        parts = _to_float(batch["stems"])
        if rng is not None:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, batch["index"])
            parts = jax.vmap(augmented)(keys, parts)
        elif "mixture" in batch:
            return _to_float(batch["mixture"]), parts[:, kept].sum(axis=1)
        return parts.sum(axis=1), parts[:, kept].sum(axis=1)

    def loss_function(params, model_state, batch, rng, train):
        augment_rng, dropout_rng = jax.random.split(rng)
        mixture, wanted = front(jnp.stack(waveforms(batch, augment_rng if train else None)))
        examples = {"index": batch["index"], "mask": batch["mask"]}
        found = network.apply(
            {"params": params, "examples": examples} | model_state,
            mixture,
            train=train,
            rngs={"dropout": dropout_rng},
            mutable=list(model_state) if train else False,
        )
        estimate, model_state = found if train else (found, model_state)
        mask = batch["mask"]
        amplitudes = front.amplitudes(estimate), front.amplitudes(wanted)
        if loss["domain"] == "amplitudes":
            least = 10 ** (_LEAST_LEVEL_DB / 20) * _rms(front.amplitudes(mixture)) + _SILENCE
            level = jnp.maximum(_rms(amplitudes[1]), least)
            compared = loss_of(*(amplitude / level for amplitude in amplitudes))
        else:
            compared = loss_of(estimate, wanted)
        scores = {"amplitude_sdr": jnp.sum(score(*jax.lax.stop_gradient(amplitudes)) * mask)}
        return jnp.sum(compared * mask), jnp.sum(mask), model_state, scores

    def score(estimate: jax.Array, wanted: jax.Array) -> jax.Array:
        """Amplitude SDR of each segment (B,), within -20..40 dB; 0 where the target is silent."""
        found = amplitude_sdr(wanted, estimate, axis=(-2, -1))
        return jnp.clip(jnp.nan_to_num(found, nan=0.0), -20.0, 40.0)

    def predict(params, model_state, batch):
        features = front(_to_float(batch["audio"]))
        return network.apply({"params": params} | model_state, features, train=False)

    def summaries(params, model_state, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        first = {k: jnp.asarray(v[:1]) for k, v in batch.items()}
        mixture, wanted = waveforms(first, None)
        estimate = predict(params, model_state, {"audio": mixture})
        sounds = {
            "mixture": mixture,
            "target": wanted,
            "estimate": front.inverse(estimate, num_samples=window_samples),
        }
        pictures = {"mixture": front(mixture), "target": front(wanted), "estimate": estimate}
        found = {f"audio/{name}": np.asarray(sound)[0] for name, sound in sounds.items()}
        return found | {f"features/{k}": np.asarray(v)[0].T for k, v in pictures.items()}

    return Separation(
        init=init,
        loss=loss_function,
        predict=predict,
        scalars=("amplitude_sdr",),
        summaries=summaries,
        frontend=front,
        window_samples=window_samples,
        stems=tuple(stems),
        target=tuple(target),
    )


def _rms(amplitudes: jax.Array) -> jax.Array:
    """(B, bins, frames) to (B, 1, 1)."""
    return jnp.sqrt(jnp.mean(jnp.square(amplitudes), axis=(1, 2), keepdims=True))


def _to_float(audio: jax.Array) -> jax.Array:
    return audio.astype(jnp.float32) / INT16_SCALE if audio.dtype == jnp.int16 else audio
