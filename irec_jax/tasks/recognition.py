"""Recognition: windows of audio to one probability per instrument."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax import frontends, losses, models, registry
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


NORMALIZATIONS = ("peak", "none")


def to_waveform(batch: Batch, normalize: str = "peak") -> jax.Array:
    """Audio of a batch as float32 (B, T) in -1..1; divided by the peak of its whole clip with
    'peak', where silence stays silence, or as it was recorded with 'none'."""
    audio = batch["audio"]
    if audio.dtype == jnp.int16:
        audio = audio.astype(jnp.float32) / INT16_SCALE
    if normalize == "none":
        return audio
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
    normalize: str = "peak",
) -> Recognition:
    """The recognition task of a config.

    Features are what the front end gives and the model takes, an array or a dict of arrays. A
    model that says M things about an example, (B, M, K), one per step or picture, is trained on
    the mean of their losses, and says the mean of their probabilities; what is NaN, such as a step
    beyond the end of a clip, is left out.

    Args:
        classes: names of the K outputs.
        sample_rate_hz: of the audio.
        window_s: length of a window in seconds.
        frontend, model, loss: named things, `dict(name=..., **arguments)`.
        augment: settings of `Augment`.
        normalize: 'peak' divides every waveform by the peak of its clip, 'none' leaves it.

    Raises:
        UserError: an unknown name or argument, settings that do not go together.
    """
    if not window_s > 0:
        raise UserError(f"config key data.window_s={window_s} must be above 0 seconds")
    if normalize not in NORMALIZATIONS:
        raise registry.unknown("data.normalize", normalize, NORMALIZATIONS)
    if loss["name"] in losses.REGRESSION:
        raise registry.unknown("loss of a recogniser", loss["name"], losses.CLASSIFICATION)
    front = _create_frontend(frontend, sample_rate_hz)
    # One that takes something else than audio says how much of it an example has.
    is_audio = not hasattr(front, "num_values")
    window_samples = round(window_s * sample_rate_hz) if is_audio else front.num_values
    network = models.create(**({"num_classes": len(classes)} | dict(model)))
    loss_of = losses.create(**{k: v for k, v in loss.items() if k != "l2"})
    augmented = Augment(**augment)
    augmented.check_features(front.output_shape(window_samples))
    if not is_audio and (augmented.gain_db or augmented.polarity or normalize != "none"):
        raise UserError(
            f"config keys augment.gain_db, augment.polarity and data.normalize are about audio, "
            f"which frontend.name={frontend['name']} does not take: set 0, False and 'none'"
        )

    def init(rng: jax.Array) -> tuple[Any, Any]:
        silence = jnp.zeros((1, window_samples))
        variables = dict(network.init({"params": rng}, front(silence), train=False))
        return variables.pop("params"), variables

    def features(batch: Batch, rng: jax.Array | None) -> Any:
        waveform, num_samples = to_waveform(batch, normalize), batch["num_samples"]
        if rng is None:
            return front(waveform, num_samples=num_samples)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, batch["index"])
        keys = jax.vmap(jax.random.split, (0, None), 1)(keys, 3)
        waveform = jax.vmap(augmented.waveform)(keys[0], waveform)
        found = front(waveform, num_samples=num_samples, keys=keys[2])
        return jax.vmap(augmented.features)(keys[1], found)

    def logits(params, model_state, batch, rng, train):
        augment_rng, dropout_rng = jax.random.split(rng)
        examples = {"index": batch["index"], "mask": batch["mask"]}
        return network.apply(
            {"params": params, "examples": examples} | model_state,
            features(batch, augment_rng if train else None),
            train=train,
            rngs={"dropout": dropout_rng},
            mutable=list(model_state) if train else False,
        )

    def loss_function(params, model_state, batch, rng, train):
        outputs = logits(params, model_state, batch, rng, train)
        outputs, model_state = outputs if train else (outputs, model_state)
        mask, labels = batch["mask"], batch["labels"]
        strongest = probabilities(outputs).argmax(axis=-1)
        hit = jnp.take_along_axis(labels, strongest[:, None], axis=-1)[:, 0]
        scalars = {"top1": jnp.sum(hit * mask)}
        total = jnp.sum(examples_loss(outputs, labels) * mask)
        return total, jnp.sum(mask), model_state, scalars

    def examples_loss(outputs: Any, labels: jax.Array) -> jax.Array:
        scores, counts = _said(outputs)
        labels = jnp.broadcast_to(labels[:, None], scores.shape)
        return jnp.mean(loss_of(scores, labels), axis=1, where=counts)

    def probabilities(outputs: Any) -> jax.Array:
        scores, counts = _said(outputs)
        return jnp.mean(losses.probabilities(loss["name"], scores), axis=1, where=counts[..., None])

    def predict(params, model_state, batch):
        variables = {"params": params} | model_state
        return probabilities(network.apply(variables, features(batch, None), train=False))

    def summaries(params, model_state, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        del params, model_state  # what goes in is of interest
        first = {k: jnp.asarray(v[:1]) for k, v in batch.items()}
        found = {"audio": np.asarray(to_waveform(first, normalize))[0]} if is_audio else {}
        for path, array in jax.tree_util.tree_leaves_with_path(features(first, None)):
            name = "/".join(["features", *(key.key for key in path)])
            array = np.asarray(array)[0]
            if array.ndim == 2 and min(array.shape) > 1:
                found[name] = array
            elif array.ndim == 3:  # several pictures
                found |= {f"{name}/{i}": picture for i, picture in enumerate(array)}
        return found

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


def _said(outputs: Any) -> tuple[jax.Array, jax.Array]:
    """Logits (B, M, K) of what a model returned, and which of the M count, bool (B, M)."""
    scores, counts = outputs if isinstance(outputs, tuple) else (outputs, None)
    if scores.ndim == 2:
        scores = scores[:, None]
    return scores, jnp.ones(scores.shape[:2], bool) if counts is None else counts


def _create_frontend(settings: Mapping[str, Any], sample_rate_hz: int) -> frontends.FrontEnd:
    """The front end of a config; one that depends on the sample rate is told that of the audio."""
    settings = dict(settings)
    kind = frontends.FRONTENDS.get(settings["name"])
    if kind is not None and "sample_rate_hz" in registry.parameters(kind):
        given = settings.setdefault("sample_rate_hz", sample_rate_hz)
        if given != sample_rate_hz:
            raise UserError(
                f"config key frontend.sample_rate_hz={given} differs from the {sample_rate_hz} Hz "
                "of data.format; leave it out"
            )
    return frontends.create(**settings)
