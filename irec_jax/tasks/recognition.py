"""Recognition: windows of audio to one probability per instrument."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax import frontends, losses, models
from irec_jax.audio import INT16_SCALE
from irec_jax.augment import Augment
from irec_jax.errors import UserError
from irec_jax.tasks.task import Batch, Task


@dataclasses.dataclass(frozen=True)
class Recognition(Task):
    """The task of a recogniser, with what its users need to feed it.

    Attributes:
        frontend: the front end, whose settings travel with a checkpoint.
        window_samples: length of the windows it was built for.
        classes: names of the outputs.
    """

    frontend: frontends.FrontEnd
    window_samples: int
    classes: tuple[str, ...]


def to_waveform(batch: Batch) -> jax.Array:
    """Audio of a batch as float32 (B, T), divided by the peak of its whole clip; silence stays."""
    audio = batch["audio"]
    if audio.dtype == jnp.int16:
        audio = audio.astype(jnp.float32) / INT16_SCALE
    gain = batch["gain"]
    return audio / jnp.where(gain > 0, gain, 1.0)[:, None]


def create_recognition(
    *,
    classes: Sequence[str],
    sample_rate_hz: int,
    window_s: float,
    frontend: Mapping[str, Any],
    model: Mapping[str, Any],
    loss: Mapping[str, Any],
    augment: Mapping[str, Any],
) -> Recognition:
    """The recognition task of a config.

    Args:
        classes: names of the K outputs.
        sample_rate_hz: of the audio.
        window_s: length of a window in seconds.
        frontend, model, loss: named things, `dict(name=..., **arguments)`.
        augment: settings of `Augment`.

    Raises:
        UserError: an unknown name or argument, settings that do not go together.
    """
    if not window_s > 0:
        raise UserError(f"config key data.window_s={window_s} must be above 0 seconds")
    window_samples = round(window_s * sample_rate_hz)
    front = frontends.create(**({"sample_rate_hz": sample_rate_hz} | dict(frontend)))
    if getattr(front, "sample_rate_hz", sample_rate_hz) != sample_rate_hz:
        raise UserError(
            f"config key frontend.sample_rate_hz={front.sample_rate_hz} differs from the "
            f"{sample_rate_hz} Hz of data.format; leave it out"
        )
    network = models.create(**({"num_classes": len(classes)} | dict(model)))
    loss_of = losses.create(**{k: v for k, v in loss.items() if k != "l2"})
    augmented = Augment(**augment)
    example_shape = (1, *front.output_shape(window_samples))

    def init(rng: jax.Array) -> tuple[Any, Any]:
        variables = dict(network.init({"params": rng}, jnp.zeros(example_shape), train=False))
        return variables.pop("params"), variables

    def features(batch: Batch, rng: jax.Array | None) -> jax.Array:
        waveform = to_waveform(batch)
        if rng is None:
            return front(waveform)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, batch["index"])
        keys = jax.vmap(jax.random.split)(keys)
        waveform = jax.vmap(augmented.waveform)(keys[:, 0], waveform)
        return jax.vmap(augmented.features)(keys[:, 1], front(waveform))

    def logits(params, model_state, batch, rng, train):
        augment_rng, dropout_rng = jax.random.split(rng)
        variables = {"params": params, "examples": {"index": batch["index"]}} | model_state
        return network.apply(
            variables,
            features(batch, augment_rng if train else None),
            train=train,
            rngs={"dropout": dropout_rng},
            mutable=list(model_state) if train else False,
        )

    def loss_function(params, model_state, batch, rng, train):
        outputs = logits(params, model_state, batch, rng, train)
        scores, model_state = outputs if train else (outputs, model_state)
        mask, labels = batch["mask"], batch["labels"]
        hit = jnp.take_along_axis(labels, scores.argmax(axis=-1)[:, None], axis=-1)[:, 0]
        scalars = {"top1": jnp.sum(hit * mask)}
        total = jnp.sum(loss_of(scores, labels) * mask)
        return total, jnp.sum(mask), model_state, scalars

    def predict(params, model_state, batch):
        scores = network.apply({"params": params} | model_state, features(batch, None), train=False)
        return jax.nn.sigmoid(scores)

    def summaries(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        first = {k: jnp.asarray(v[:1]) for k, v in batch.items()}
        spectrogram = np.asarray(features(first, None))[0]
        return {"audio": np.asarray(to_waveform(first))[0], "features": spectrogram}

    return Recognition(
        init=init,
        loss=loss_function,
        predict=predict,
        scalars=("top1",),
        summaries=summaries,
        frontend=front,
        window_samples=window_samples,
        classes=tuple(classes),
    )
