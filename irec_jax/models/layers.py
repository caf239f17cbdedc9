"""Layers shared by the networks: activations, pooling, dropout and batch normalisation."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32, PRNGKeyArray, UInt

from irec_jax import distributed, registry
from irec_jax.errors import UserError
from irec_jax.kernels import DeferredNorm


def _rows(module: nn.Module, name: str, num_rows: int) -> Array | np.ndarray | None:
    """Return an 'examples' variable with one value per row of the input, or None if it is absent.

    An input has one row per example or, for bags, one row per instance. Instances share their
    example's mask but have their own indices.
    """
    assert module.scope is not None  # within apply and init
    values = module.scope.root.get_variable("examples", name, None)
    if values is None or len(values) == num_rows:
        return values
    per_example = num_rows // len(values)
    repeated = jnp.repeat(values, per_example)
    if name == "index":
        return repeated * per_example + jnp.tile(jnp.arange(per_example), len(values))
    return repeated


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def leaky_relu(
    x: Float[Array | np.ndarray, "*shape"], negative_slope: float
) -> Float[Array, "*shape"]:
    """Return x where x >= 0 and ``negative_slope * x`` elsewhere; the derivative at 0 is 1.

    The gradient depends only on the output, so the input is not stored for the backward pass.

    Args:
        x: inputs.
        negative_slope: a positive slope, so that output and input have the same sign, or 0 for ReLU
            (whose derivative at 0 is 0, because all negative inputs become 0).
    """
    return jnp.where(x >= 0, x, negative_slope * x)


def _leaky_relu_forward(x, negative_slope):
    y = jnp.where(x >= 0, x, negative_slope * x)
    return y, y


def _leaky_relu_backward(negative_slope, y, cotangent):
    positive = y >= 0 if negative_slope else y > 0
    return (jnp.where(positive, cotangent, negative_slope * cotangent),)


leaky_relu.defvjp(_leaky_relu_forward, _leaky_relu_backward)


#: Activations without parameters, by name. They are monotonic and therefore commute with the
#: maximum. 'prelu' is missing because it has parameters and its slope can become negative.
ACTIVATIONS = {
    "tanh": jnp.tanh,
    "relu": lambda x: leaky_relu(x, 0.0),
    "lrelu_0.01": lambda x: leaky_relu(x, 0.01),
    "lrelu_0.33": lambda x: leaky_relu(x, 0.33),
}


def check_activation(kind: str) -> None:
    """Raise UserError if the activation is unknown."""
    if kind not in ACTIVATIONS and kind != "prelu":
        raise registry.unknown("activation", kind, [*ACTIVATIONS, "prelu"])


def check_sizes(**sizes: Any) -> None:
    """Raise UserError unless all numbers are positive integers."""
    for name, value in sizes.items():
        for size in value if isinstance(value, Sequence) else (value,):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UserError(f"model.{name}={value!r}: expected positive integers")


def zip_settings(hint: str = "", **lists: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the settings of each convolution, given one list per setting.

    Raises:
        UserError: if a value is not a positive integer, or lists are empty or differ in length.
    """
    check_sizes(**lists)
    lengths = {len(values) for values in lists.values()}
    if len(lengths) > 1 or 0 in lengths:
        counts = ", ".join(f"{len(values)} model.{name}" for name, values in lists.items())
        raise UserError(f"{counts}: expected one of each for every convolution{hint}")
    return list(zip(*lists.values(), strict=True))


def check_rates(**rates: float) -> None:
    """Raise UserError for a rate outside [0, 1)."""
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise UserError(f"model.{name}={rate!r}: expected a number in [0, 1)")


def check_features(features: Any, axes: str) -> None:
    """Raise ValueError unless features are an array with these axes and non-empty examples."""
    if getattr(features, "ndim", 0) != len(axes.split()) or 0 in features.shape[1:]:
        shape = jax.tree.map(jnp.shape, features)
        raise ValueError(f"features: expected non-empty ({axes}), got {shape}")


def dense(units: int, dtype: Any, **options: Any) -> nn.Dense:
    """Return a dense layer whose initial weights are Glorot-uniform by default, as in Keras."""
    options = dict(kernel_init=nn.initializers.glorot_uniform()) | options
    return nn.Dense(units, dtype=dtype, **options)


class Classifier(nn.Module):
    """Base class for networks with one output per class.

    Intermediates ('intermediates' collection): ``output``, the logits.

    Attributes:
        num_classes: number of outputs.
        dtype: dtype of the computation, float32 or bfloat16; parameters and the last layer are
            float32.
    """

    num_classes: int
    dtype: Any = jnp.float32

    def classify(
        self, x: Float[Array | np.ndarray, "*batch units"], **options: Any
    ) -> Float32[Array, "*batch {self.num_classes}"]:
        """Return the logits, computed by a dense layer with the given options."""
        # Use float32, because bfloat16 would round the logits to about three significant digits.
        logits = dense(self.num_classes, jnp.float32, **options)(x)
        self.sow("intermediates", "output", logits)
        return logits


class Activation(nn.Module):
    """Activation by name: 'tanh', 'relu', 'lrelu_0.01', 'lrelu_0.33' or 'prelu'.

    'prelu' (He et al. 2015) learns one negative slope per channel. The slopes are the parameter
    ``negative_slope`` (channels,), which is initialised to 0.25.

    Raises:
        UserError: if the name is unknown.
    """

    kind: str

    @nn.compact
    def __call__(
        self, x: Float[Array | np.ndarray, "*batch channels"]
    ) -> Float[Array, "*batch channels"]:
        """Apply the activation to x, without changing the dtype."""
        if self.kind == "prelu":
            slope = self.param("negative_slope", nn.initializers.constant(0.25), x.shape[-1:])
            return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)
        check_activation(self.kind)
        return ACTIVATIONS[self.kind](x)


def global_pool(
    x: Float[Array | np.ndarray, "batch height width channels"], kind: str
) -> Float[Array, "batch channels"]:
    """Return the maximum ('max') or mean ('mean') over the pixels.

    Raises:
        UserError: if the kind is unknown.
    """
    return registry.find("pooling", {"max": jnp.max, "mean": jnp.mean}, kind)(x, axis=(1, 2))


def random_integers(key: PRNGKeyArray, shape: Sequence[int], dtype: Any) -> UInt[Array, "..."]:
    """Return uniform random unsigned integers of 8 or 16 bits.

    Random 32-bit words are split into several integers. This takes a quarter or half the work of
    `jax.random.bits`, which draws one word per integer.
    """
    size, per_word = math.prod(shape), 32 // jnp.iinfo(dtype).bits
    words = jax.random.bits(key, (-(-size // per_word),), jnp.uint32)
    return jax.lax.bitcast_convert_type(words, dtype).reshape(-1)[:size].reshape(shape)


class Dropout(nn.Module):
    """Dropout with cheap masks: 8 random bits per element, or 16 if 8 are too coarse.

    Elements are kept with probability 1 - rate, which is represented in 8 bits if that is exact
    (rates of 0.25, 0.5 ...) and otherwise rounded to 16 bits (58,982/65,536 = 0.899994 for a rate
    of 0.1). Kept elements are divided by the rounded probability, so that expectations are exact.

    The index of each example in the batch (axis 0) is folded into the random key from the 'dropout'
    collection. If the 'examples' collection contains an ``index`` variable (batch,), its values
    replace these indices, so that a batch split across devices gets the same masks.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array | np.ndarray, "*shape"], *, train: bool
    ) -> Float[Array | np.ndarray, "*shape"]:
        """Return x in the same dtype, with elements dropped if `train`."""
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate={self.rate}: expected a number in [0, 1)")
        if not train or self.rate == 0:
            return x
        bits = jnp.uint8 if float((1 - self.rate) * 256).is_integer() else jnp.uint16
        levels = jnp.iinfo(bits).max + 1
        num_kept = max(1, round((1 - self.rate) * levels))
        if num_kept == levels:
            return x
        index = _rows(self, "index", x.shape[0])
        index = jnp.arange(x.shape[0]) if index is None else index
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("dropout"), index)
        draw = functools.partial(random_integers, shape=x.shape[1:], dtype=bits)
        mask = jax.vmap(draw)(keys) < num_kept
        return jnp.where(mask, x * (levels / num_kept), jnp.zeros((), x.dtype))


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015), independent of padding and device count.

    In training, the mean and (biased) variance are computed across all devices, over the examples
    whose value in the ``mask`` variable (batch,) of the 'examples' collection is 1, or over all
    examples if there is no mask.

    With ``train=False``, the moving averages `mean` and `var` in the 'batch_stats' collection are
    used; `count` is the number of steps so far. During the first 1 / (1 - momentum) steps, the
    moving averages are plain averages of all steps, so that their initial values have no weight.

    Attributes:
        channels: number of channels.
        momentum: weight of the old average; the default is Keras's.
        epsilon: value added to the variance; the default is Keras's.
        relu: whether to apply ReLU afterwards.
    """

    channels: int
    momentum: float = 0.99
    epsilon: float = 1e-3
    relu: bool = False

    @nn.compact
    def __call__(
        self, layer: Callable[..., tuple[Array, ...]], batch_size: int, *, train: bool
    ) -> DeferredNorm:
        """Return a layer's output with its deferred normalisation.

        Args:
            layer: function of `shift` and `mask` that returns the layer's output and sums, like
                `kernels.conv_with_moments`.
            batch_size: batch size of the layer's input.
            train: whether to normalise with batch statistics and update the averages.
        """
        shape = (self.channels,)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        count = self.variable("batch_stats", "count", jnp.zeros, ())
        mask = _rows(self, "mask", batch_size)
        mask = jnp.ones(batch_size) if mask is None else mask
        shift = mean.value
        y, shifted_sum, square_sum = layer(shift=shift, mask=mask.astype(jnp.float32))
        if not train:
            return self._deferred(y, scale, bias, mean.value, var.value)
        num_values = jnp.sum(mask) * math.prod(y.shape[1:-1])
        sums = (num_values, shifted_sum, square_sum)
        num_values, shifted_sum, square_sum = distributed.sum_over_devices(sums)
        has_values = num_values > 0
        num_values = jnp.maximum(num_values, 1.0)
        batch_mean = shift + shifted_sum / num_values
        batch_var = jnp.maximum(square_sum / num_values - jnp.square(shifted_sum / num_values), 0.0)
        if not self.is_initializing():
            rate = jnp.where(has_values, jnp.maximum(1 - self.momentum, 1 / (count.value + 1)), 0.0)
            mean.value += rate * jax.lax.stop_gradient(batch_mean - mean.value)
            var.value += rate * jax.lax.stop_gradient(batch_var - var.value)
            count.value += has_values
        return self._deferred(y, scale, bias, batch_mean, batch_var)

    def _deferred(self, y, scale, bias, mean, var) -> DeferredNorm:
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        return DeferredNorm(y, mean, factor, bias, relu=self.relu)
