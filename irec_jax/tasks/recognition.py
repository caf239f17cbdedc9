"""Recognition task: predict the probability of each class from windows of audio."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Key, Shaped

from irec_jax import frontends, losses, models, registry
from irec_jax.audio import to_float32
from irec_jax.augment import Augment
from irec_jax.errors import UserError
from irec_jax.metrics.multilabel import mean_roc_auc
from irec_jax.tasks.task import Batch, HostBatch, Losses, Settings, Task, example_keys

#: Allowed values of the `data.normalize` config key.
NORMALIZATIONS = ("peak", "none")


@dataclasses.dataclass(frozen=True, eq=False)
class Recognition(Task):
    """Front end, model and loss of a recogniser.

    Features are the outputs of the front end and the inputs of the model: an array, or a dict of
    arrays. A model may make M predictions per example, (B, M, K), such as one per step or image.
    The loss of an example is then the mean of the M losses, and its prediction the mean of the M
    probabilities; predictions that the model marks as invalid, such as those beyond the end of a
    clip, are left out of both.

    If a batch has a `weight` (B,), the losses of its examples are multiplied by it.

    Attributes:
        frontend: the front end, whose settings are stored with a checkpoint.
        to_probabilities: activation function for the logits; see `losses.activation`.
        criterion: function of `(logits, labels)` that returns the loss of each row.
        augment: augmentation of waveforms and features in training.
        normalize: 'peak' divides every waveform by the peak of its clip; 'none' keeps its level.
        window_samples: window length in samples.
        classes: names of the K outputs.
    """

    scalars: ClassVar[tuple[str, ...]] = ("top1",)
    split_scores: ClassVar[tuple[str, ...]] = ("auc",)

    frontend: frontends.FrontEnd
    model: nn.Module
    to_probabilities: Callable[[Float[Array, "... classes"]], Float[Array, "... classes"]]
    criterion: Callable[
        [Float[Array, "... classes"], Float[Array, "... classes"]], Float[Array, "..."]
    ]
    augment: Augment
    normalize: str
    window_samples: int
    classes: tuple[str, ...]

    def _init(self, rng: Key[Array, ""]) -> tuple[Any, Any]:
        return self._init_variables(rng, self.frontend(jnp.zeros((1, self.window_samples))))

    def loss(
        self, params: Any, model_state: Any, batch: Batch, rng: Key[Array, ""], train: bool
    ) -> Losses:
        augment_rng, dropout_rng = jax.random.split(rng)
        batch = self._mix(batch, augment_rng) if train else batch
        features = self._features(batch, augment_rng if train else None)
        outputs, model_state = self._apply(params, model_state, features, batch, dropout_rng, train)
        mask, labels = batch["mask"], batch["labels"]
        strongest = self._probabilities(outputs).argmax(axis=-1)
        hits = jnp.take_along_axis(labels, strongest[:, None], axis=-1)[:, 0]
        scalars = {"top1": jnp.sum(hits * mask)}
        total = jnp.sum(self._losses(outputs, labels) * mask * batch.get("weight", 1.0))
        return total, jnp.sum(mask), model_state, scalars

    def predict(self, params: Any, model_state: Any, batch: Batch) -> Float[Array, "batch classes"]:
        """Return the probabilities of each example."""
        outputs = self._predict(params, model_state, self.features(batch))
        return self._probabilities(outputs)

    def score_split(
        self,
        labels: Float[np.ndarray, "examples classes"],
        predictions: Float[np.ndarray, "examples classes"],
    ) -> dict[str, float]:
        """Return `auc`, the macro-averaged area under the ROC curve.

        Raises:
            UserError: no class has both positive and negative examples.
        """
        auc = mean_roc_auc(labels, predictions)
        if np.isnan(auc):
            raise UserError(
                "training.stop_by and best_by: the AUC is undefined, because every class occurs in "
                "all or in none of the validation examples; set both to loss"
            )
        return {"auc": auc}

    def features(self, batch: Batch) -> Any:
        """Return the model inputs, without augmentation."""
        return self._features(batch, None)

    def logits(self, params: Any, model_state: Any, features: Any) -> Float[Array, "batch classes"]:
        """Return the logits for model inputs, averaged over the predictions of each example."""
        logits, valid = unpack_logits(self._predict(params, model_state, features))
        return jnp.mean(logits, axis=1, where=valid[..., None])

    def summaries(
        self, params: Any, model_state: Any, batch: HostBatch
    ) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Return the waveform and features of the first example; the parameters are not used."""
        first = {k: jnp.asarray(v[:1]) for k, v in batch.items()}
        arrays = {}
        if _num_values(self.frontend) is None:
            arrays["audio"] = np.asarray(to_waveform(first, self.normalize))[0]
        for path, array in jax.tree_util.tree_leaves_with_path(self._features(first, None)):
            name = "/".join(["features", *(key.key for key in path)])
            array = np.asarray(array)[0]
            if array.ndim == 2 and min(array.shape) > 1:
                arrays[name] = self.frontend.as_image(array)
            elif array.ndim == 3:  # several images
                arrays |= {f"{name}/{i}": image for i, image in enumerate(array)}
        return arrays

    def _mix(self, batch: Batch, augment_rng: jax.Array) -> Batch:
        """Return a batch in which some examples are mixed with others; see `Augment.mixture`."""
        if not self.augment.mix:
            return batch
        keys = example_keys(jax.random.fold_in(augment_rng, 1), batch)
        audio, labels = self.augment.mixture(
            keys, to_waveform(batch, self.normalize), batch["labels"], batch["mask"]
        )
        pairs = jnp.asarray(batch["num_samples"]).reshape(-1, 2)
        num_samples = jnp.repeat(pairs.max(axis=1), 2)
        changed = {"audio": audio, "labels": labels, "num_samples": num_samples}
        return {**batch, **changed, "gain": jnp.ones_like(batch["gain"])}

    def _features(self, batch: Batch, augment_rng: jax.Array | None) -> Any:
        """Return the model inputs, augmented if a key is given."""
        waveform, num_samples = to_waveform(batch, self.normalize), batch["num_samples"]
        if augment_rng is None:
            return self.frontend(waveform, num_samples=num_samples)
        keys = jax.vmap(jax.random.split, (0, None), 1)(example_keys(augment_rng, batch), 3)
        waveform = jax.vmap(self.augment.waveform)(keys[0], waveform)
        features = self.frontend(waveform, num_samples=num_samples, keys=keys[2])
        augment = functools.partial(self.augment.features, axes=self.frontend.axes)
        return jax.vmap(augment)(keys[1], features)

    def _losses(self, outputs: Any, labels: Array | np.ndarray) -> Array:
        """Return the loss of each example, (B,)."""
        logits, valid = unpack_logits(outputs)
        targets = jnp.broadcast_to(labels[:, None], logits.shape)
        return jnp.mean(self.criterion(logits, targets), axis=1, where=valid)

    def _probabilities(self, outputs: Any) -> jax.Array:
        logits, valid = unpack_logits(outputs)
        return jnp.mean(self.to_probabilities(logits), axis=1, where=valid[..., None])


def create_recognition(
    *,
    classes: Sequence[str],
    sample_rate_hz: int,
    window_s: float,
    frontend: Settings,
    model: Settings,
    loss: Settings,
    augment: Settings,
    normalize: str = "peak",
) -> Recognition:
    """Create the recognition task that a config describes.

    Args:
        classes: names of the K outputs.
        sample_rate_hz, window_s: sample rate of the audio and window length.
        frontend, model, loss: `dict(name=..., **arguments)`.
        augment: arguments of `Augment`.
        normalize: see `Recognition`.

    Raises:
        UserError: an unknown name or argument, or settings that contradict each other.
    """
    if not window_s > 0:
        raise UserError(f"data.window_s={window_s}: expected a positive number of seconds")
    if normalize not in NORMALIZATIONS:
        raise registry.unknown("data.normalize", normalize, NORMALIZATIONS)
    if loss["name"] in losses.REGRESSION:
        raise registry.unknown("recogniser loss", loss["name"], losses.CLASSIFICATION)
    created = _create_frontend(frontend, sample_rate_hz)
    num_values = _num_values(created)
    network: dict[str, Any] = {"num_classes": len(classes)} | dict(model)
    task = Recognition(
        frontend=created,
        model=models.create(**network),
        to_probabilities=losses.activation(loss["name"]),
        criterion=losses.create(
            **{k: v for k, v in loss.items() if k not in ("l2", "class_weights")}
        ),
        augment=Augment(**augment, sample_rate_hz=sample_rate_hz),
        normalize=normalize,
        window_samples=round(window_s * sample_rate_hz) if num_values is None else num_values,
        classes=tuple(classes),
    )
    task.augment.check_axes(created.axes)
    if num_values is not None and (task.augment.changes_audio or normalize != "none"):
        raise UserError(
            f"data.normalize and waveform augmentation apply to audio, but "
            f"frontend.name={frontend['name']} takes features; set data.normalize to none and "
            "leave waveform augmentation unset"
        )
    return task


def to_waveform(batch: Batch, normalize: str = "peak") -> Float[Array, "batch samples"]:
    """Return the audio of a batch as float32.

    With 'peak', the audio is divided by `gain`, the peak of the clip that each window was cut from
    (silence stays silent); with 'none', it keeps the recorded level.
    """
    audio = jnp.asarray(to_float32(batch["audio"]))
    if normalize == "none":
        return audio
    gain = batch["gain"]
    return audio / jnp.where(gain > 0, gain, 1.0)[:, None]


def unpack_logits(
    outputs: Any,
) -> tuple[Float[Array, "batch predictions classes"], Bool[Array, "batch predictions"]]:
    """Return a model's logits, and a mask that marks each example's valid predictions.

    Args:
        outputs: model outputs: logits (batch, classes) or (batch, predictions, classes), or a tuple
            of the latter and the mask.
    """
    logits, valid = outputs if isinstance(outputs, tuple) else (outputs, None)
    if logits.ndim == 2:
        logits = logits[:, None]
    return logits, jnp.ones(logits.shape[:2], bool) if valid is None else valid


def _num_values(frontend: frontends.FrontEnd) -> int | None:
    """Return the number of values per stored example; None if the front end takes audio."""
    return getattr(frontend, "num_values", None)


def _create_frontend(settings: Settings, sample_rate_hz: int) -> frontends.FrontEnd:
    """Create a front end, passing the sample rate of the audio if it takes one."""
    settings = dict(settings)
    known = registry.parameters(frontends.find(settings["name"])) or {}
    if "sample_rate_hz" in known:
        given = settings.setdefault("sample_rate_hz", sample_rate_hz)
        if given != sample_rate_hz:
            raise UserError(
                f"frontend.sample_rate_hz={given}: differs from the {sample_rate_hz} Hz "
                "of data.format; leave it out"
            )
    return frontends.create(**settings)
