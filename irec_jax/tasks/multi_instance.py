"""Recognition by multiple-instance learning: the loss is computed for bags of instances."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from irec_jax import losses, models
from irec_jax.errors import UserError
from irec_jax.models.multi_instance import MultiInstanceNetwork, num_outputs
from irec_jax.tasks.recognition import Recognition, create_recognition
from irec_jax.tasks.task import Batch, Losses, Settings


@dataclasses.dataclass(frozen=True, eq=False)
class MultiInstance(Recognition):
    """Front end, model and loss of a recogniser trained on bags (Seipel 2018, section 4.3.5).

    `loss` takes bags: audio (B, I x window_samples), the concatenated instances, and the labels of
    each bag. `predict` takes single instances, as in any other recogniser.

    Attributes:
        num_instances: number of instances per bag.
        label_smoothing: label smoothing in the loss.
    """

    # Empty, because `predict` takes single instances, whereas validation batches hold bags.
    split_scores: ClassVar[tuple[str, ...]] = ()

    model: MultiInstanceNetwork
    num_instances: int
    label_smoothing: float

    @property
    def bag_samples(self) -> int:
        """Number of samples per bag."""
        return self.num_instances * self.window_samples

    def _init(self, rng: Key[Array, ""]) -> tuple[Any, Any]:
        shape = self.frontend.output_shape(self.window_samples)
        return self._init_variables(rng, jnp.zeros((1, self.num_instances, *shape)))

    def loss(
        self, params: Any, model_state: Any, batch: Batch, rng: Key[Array, ""], train: bool
    ) -> Losses:
        augment_rng, dropout_rng = jax.random.split(rng)
        batch = self._mix(batch, augment_rng) if train else batch
        features = self._features(self._instances(batch), augment_rng if train else None)
        bags = features.reshape(-1, self.num_instances, *features.shape[1:])
        outputs, model_state = self._apply(params, model_state, bags, batch, dropout_rng, train)
        log_p, log_not_p = outputs
        mask, labels = batch["mask"], batch["labels"]
        strongest = log_p.argmax(axis=-1)
        hits = jnp.take_along_axis(labels, strongest[:, None], axis=-1)[:, 0]
        values = losses.log_binary_cross_entropy(
            log_p, log_not_p, labels, label_smoothing=self.label_smoothing
        )
        scalars = {"top1": jnp.sum(hits * mask)}
        total = jnp.sum(values * mask * batch.get("weight", 1.0))
        return total, jnp.sum(mask), model_state, scalars

    def predict(self, params: Any, model_state: Any, batch: Batch) -> Float[Array, "batch classes"]:
        return self.to_probabilities(self.logits(params, model_state, self.features(batch)))

    def logits(self, params: Any, model_state: Any, features: Any) -> Float[Array, "batch classes"]:
        """Return the logits of single instances."""
        variables = {"params": params} | model_state
        logits: Any = self.model.apply(variables, features, method="classify")
        return logits

    def _instances(self, batch: Batch) -> dict[str, Any]:
        """Convert a batch of bags to a batch of instances, (B I, ...)."""
        count = self.num_instances
        batch = {key: value for key, value in batch.items() if key != "labels"}
        expanded = {key: jnp.repeat(value, count, axis=0) for key, value in batch.items()}
        position = jnp.tile(jnp.arange(count), len(batch["audio"]))
        return expanded | {
            "audio": jnp.asarray(batch["audio"]).reshape(-1, self.window_samples),
            "num_samples": jnp.full(len(position), self.window_samples, jnp.int32),
            "index": expanded["index"] * count + position,
        }


def create_multi_instance(
    *, bag: Settings, model: Settings, loss: Settings, classes: Sequence[str], **settings: Any
) -> MultiInstance:
    """Create the multi-instance task that a config describes.

    Args:
        bag: `num_instances`; `share`, whether all instances share the weights of one network; and
            `aggregate`, a key in `multi_instance.AGGREGATIONS`.
        model, loss, classes, **settings: see `create_recognition`; `model` is the network
            applied to each instance.

    Raises:
        UserError: an unknown name or argument, or settings that contradict each other.
    """
    num_instances = bag["num_instances"]
    if num_instances < 1:
        raise UserError(f"bag.num_instances={num_instances}: expected at least 1")
    if loss["name"] != "binary_cross_entropy":
        raise UserError(
            f"loss.name={loss['name']}: not available for bags; set it to binary_cross_entropy"
        )
    outputs = num_outputs(bag["aggregate"], len(classes))
    base = create_recognition(classes=classes, model=model, loss=loss, **settings)
    arguments: dict[str, Any] = dict(model) | {"num_classes": outputs}
    network = MultiInstanceNetwork(
        networks=[models.create(**arguments) for _ in range(1 if bag["share"] else num_instances)],
        num_classes=len(classes),
        aggregate=bag["aggregate"],
    )
    fields: dict[str, Any] = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)} | {
        "model": network
    }
    return MultiInstance(
        **fields,
        num_instances=num_instances,
        label_smoothing=loss.get("label_smoothing", 0.0),
    )
