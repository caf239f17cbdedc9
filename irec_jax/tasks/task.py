"""Task interface for the training loop, the evaluation and the commands."""

import abc
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Key, Shaped
from ml_collections.config_dict import ConfigDict

Batch = Mapping[str, Shaped[Array | np.ndarray, "batch ..."]]
HostBatch = Mapping[str, Shaped[np.ndarray, "batch ..."]]
#: Name and keyword arguments of a front end, model, loss or augmentation.
Settings = Mapping[str, Any] | ConfigDict
#: Summed loss, number of examples, new model state, summed scalars: see `Task.loss`.
Losses = tuple[Float[Array, ""], Float[Array, ""], Any, dict[str, Float[Array, ""]]]


class Task(abc.ABC):
    """Base class for tasks: pure functions of a model's parameters and state (`model_state`).

    Attributes:
        scalars: names of the scalars that `loss` returns.
        split_scores: names of the scores that `score_split` returns.
        model: the network, a Linen module.
    """

    scalars: ClassVar[tuple[str, ...]]
    split_scores: ClassVar[tuple[str, ...]] = ()
    model: nn.Module

    def init(self, rng: Key[Array, ""]) -> tuple[Any, Any]:
        """Return initial parameters and model state."""
        return self._compiled_init(rng)

    @functools.cached_property
    def _compiled_init(self) -> Callable[[Key[Array, ""]], tuple[Any, Any]]:
        # Cached, so that a command that needs the shapes first and the values later traces the
        # network only once.
        return jax.jit(self._init)

    @abc.abstractmethod
    def _init(self, rng: Key[Array, ""]) -> tuple[Any, Any]:
        """Return initial parameters and model state; called under jit."""

    @abc.abstractmethod
    def loss(
        self, params: Any, model_state: Any, batch: Batch, rng: Key[Array, ""], train: bool
    ) -> Losses:
        """Return the summed loss of a batch.

        Args:
            params, model_state: parameters and state of the model.
            batch: arrays with a leading batch axis, including `index` (B,), the position of each
                example in the global batch, and `mask` (B,), 0 for padding examples.
            rng: random key for the step; the key of each example is derived from it and `index`.
            train: whether to augment, apply dropout and update the model state.

        Returns:
            The sum of the losses over unmasked examples, the number of these examples, the new
            model state, and the sums of the `scalars` over the same examples.
        """

    @abc.abstractmethod
    def predict(self, params: Any, model_state: Any, batch: Batch) -> Float[Array, "batch ..."]:
        """Return the outputs for a batch, one per example."""

    @abc.abstractmethod
    def summaries(
        self, params: Any, model_state: Any, batch: HostBatch
    ) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Return images (rows, columns) and waveforms (T,) of the first example, by name."""

    def score_split(
        self,
        labels: Float[np.ndarray, "examples classes"],
        predictions: Float[np.ndarray, "examples classes"],
    ) -> dict[str, float]:
        """Return the scores named in `split_scores` for the predictions of a split.

        Unlike the scalars of `loss`, these scores are not means over examples.
        """
        del labels, predictions
        return {}

    def _init_variables(self, rng: jax.Array, features: Any) -> tuple[Any, Any]:
        """Return the initial parameters and the model's other variable collections."""
        variables = dict(self.model.init({"params": rng}, features, train=False))
        return variables.pop("params"), variables

    def _predict(self, params: Any, model_state: Any, features: Any) -> Any:
        """Return the outputs of the model in inference mode."""
        return self.model.apply({"params": params} | model_state, features, train=False)

    def _apply(
        self, params, model_state, features: Any, batch: Batch, dropout_rng: jax.Array, train: bool
    ) -> tuple[Any, Any]:
        """Return the outputs of the model and the model state, which is updated in training."""
        examples = {"index": batch["index"], "mask": batch["mask"]}
        outputs = self.model.apply(
            {"params": params, "examples": examples} | model_state,
            features,
            train=train,
            rngs={"dropout": dropout_rng},
            mutable=list(model_state) if train else False,
        )
        return outputs if train else (outputs, model_state)


def example_keys(rng: Key[Array, ""], batch: Batch) -> Key[Array, " batch"]:
    """Return a random key per example, independent of how examples are divided among devices."""
    return jax.vmap(jax.random.fold_in, (None, 0))(rng, batch["index"])
