"""Layers that the networks share: activations, pooling, dropout, batch normalisation."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irec_jax import distributed, registry
from irec_jax.errors import UserError
from irec_jax.kernels import normalized


def leaky_relu(x: jax.Array, negative_slope: float) -> jax.Array:
    """x where x >= 0, ``negative_slope * x`` elsewhere; its derivative at 0 is 1.

    The gradient looks at the output only, so that the input need not be kept for it.

    Args:
        x: any shape.
        negative_slope: above 0, so that output and input have the same sign; or 0 (ReLU, whose
            derivative at 0 is then 0, since 0 is what all negative inputs become).
    """
    return _leaky_relu(x, float(negative_slope))


def _leaky(x, negative_slope):
    return jnp.where(x >= 0, x, negative_slope * x)


_leaky_relu = jax.custom_vjp(_leaky, nondiff_argnums=(1,))


def _leaky_relu_forward(x, negative_slope):
    y = _leaky(x, negative_slope)
    return y, y


def _leaky_relu_backward(negative_slope, y, cotangent):
    positive = y >= 0 if negative_slope else y > 0
    return (jnp.where(positive, cotangent, negative_slope * cotangent),)


_leaky_relu.defvjp(_leaky_relu_forward, _leaky_relu_backward)


#: Those that never fall, so that they commute with a maximum.
MONOTONIC = ("tanh", "relu", "lrelu_0.01", "lrelu_0.33")

#: Activations without parameters, by name; 'prelu' is the one with.
ACTIVATIONS = {
    "tanh": jnp.tanh,
    "relu": lambda x: leaky_relu(x, 0.0),
    "lrelu_0.01": lambda x: leaky_relu(x, 0.01),
    "lrelu_0.33": lambda x: leaky_relu(x, 0.33),
}


def check_activation(kind: str) -> None:
    """UserError for an activation that is not known."""
    if kind not in ACTIVATIONS and kind != "prelu":
        raise registry.unknown("activation", kind, [*ACTIVATIONS, "prelu"])


def check_sizes(**sizes: int | Sequence[int]) -> None:
    """UserError for a number of units, or one among several, that is no whole number above 0."""
    for name, value in sizes.items():
        for size in value if isinstance(value, Sequence) else (value,):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UserError(f"model.{name} is {value!r}: whole numbers from 1 on, please")


class Activation(nn.Module):
    """An activation by name: 'tanh', 'relu', 'lrelu_0.01', 'lrelu_0.33' or 'prelu'.

    'prelu' (He et al. 2015) learns one negative slope per channel, parameter
    ``negative_slope`` (channels,), from 0.25.

    Raises:
        UserError: an unknown name.
    """

    kind: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., channels) to the same shape and type."""
        if self.kind == "prelu":
            slope = self.param("negative_slope", nn.initializers.constant(0.25), x.shape[-1:])
            return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)
        check_activation(self.kind)
        return ACTIVATIONS[self.kind](x)


def global_pool(x: jax.Array, kind: str) -> jax.Array:
    """'max' or 'mean' over height and width: (batch, height, width, channels) to (batch, channels).

    Raises:
        UserError: an unknown kind.
    """
    kinds = {"max": jnp.max, "mean": jnp.mean}
    if kind not in kinds:
        raise registry.unknown("pooling", kind, kinds)
    return kinds[kind](x, axis=(1, 2))


def random_integers(key: jax.Array, shape: Sequence[int], dtype: Any) -> jax.Array:
    """Uniform random unsigned integers of 8 or 16 bits, of 32-bit words cut in pieces: a quarter or
    half of the work of `jax.random.bits`, which spends a word on each."""
    size, per_word = math.prod(shape), 32 // jnp.iinfo(dtype).bits
    words = jax.random.bits(key, (-(-size // per_word),), jnp.uint32)
    return jax.lax.bitcast_convert_type(words, dtype).reshape(-1)[:size].reshape(shape)


class Dropout(nn.Module):
    """Dropout whose masks cost little: 8 random bits per element, or 16 where 8 are too coarse.

    An element is kept with a probability of (1 - rate) rounded to a multiple of 1/256 if that is
    exact (0.25, 0.5 ...), to one of 1/65,536 otherwise (0.1: 58,982/65,536 = 0.899994), and
    divided by this very probability, so that expectations are kept exactly.

    Random keys are drawn from the collection 'dropout' and folded with each example's place in
    the batch (axis 0): its number in the variable ``index`` (batch,) of the collection
    'examples' where that is given, so that a batch dealt to many devices gets the same masks.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Any shape to the same shape and type; ``train=False`` changes nothing."""
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate: {self.rate} is not in [0, 1)")
        if not train or self.rate == 0:
            return x
        bits = jnp.uint8 if float((1 - self.rate) * 256).is_integer() else jnp.uint16
        levels = jnp.iinfo(bits).max + 1
        kept = max(1, round((1 - self.rate) * levels))
        if kept == levels:
            return x
        index = self.scope.root.get_variable("examples", "index", jnp.arange(x.shape[0]))
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("dropout"), index)
        draw = functools.partial(random_integers, shape=x.shape[1:], dtype=bits)
        mask = jax.vmap(draw)(keys) < kept
        return jnp.where(mask, x * (levels / kept), jnp.zeros((), x.dtype))


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) of what a layer gives, to which neither padding
    nor dealing a batch to devices makes a difference.

    In training, mean and variance (biased) are those of the examples of all devices whose
    variable ``mask`` (batch,) in the collection 'examples' is 1; of all where it is not given.
    Devices share them where the step is mapped over them.

    What is used with ``train=False`` are moving averages in the collection 'batch_stats': `mean`,
    `var` and `count`, the number of steps so far. Up to 1 / (1 - momentum) steps they are plain
    averages of all steps, so that what they started from does not count.

    Attributes:
        channels: of what is normalised.
        momentum: share of the old average; that of Keras.
        epsilon: added to the variance; that of Keras.
        relu: whether ReLU follows.
    """

    channels: int
    momentum: float = 0.99
    epsilon: float = 1e-3
    relu: bool = False

    @nn.compact
    def __call__(
        self,
        layer: Callable[..., tuple[jax.Array, jax.Array, jax.Array]],
        batch_size: int,
        *,
        train: bool,
    ) -> normalized.Normalized:
        """What a layer gives, to be normalised.

        Args:
            layer: called with `shift` and `mask`, returns what `normalized.convolve` does.
            batch_size: of its input.
            train: see above.
        """
        shape = (self.channels,)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        count = self.variable("batch_stats", "count", jnp.zeros, ())
        mask = self.scope.root.get_variable("examples", "mask", jnp.ones(batch_size))
        shift = mean.value
        y, first, second = layer(shift=shift, mask=mask.astype(jnp.float32))
        if not train:
            return self._normalized(y, scale, bias, mean.value, var.value)
        number = jnp.sum(mask) * math.prod(y.shape[1:-1])
        number, first, second = distributed.sum_over_devices((number, first, second))
        some = number > 0
        number = jnp.maximum(number, 1.0)
        batch_mean = shift + first / number
        batch_var = jnp.maximum(second / number - jnp.square(first / number), 0.0)
        if not self.is_initializing():
            rate = jnp.where(some, jnp.maximum(1 - self.momentum, 1 / (count.value + 1)), 0.0)
            mean.value += rate * jax.lax.stop_gradient(batch_mean - mean.value)
            var.value += rate * jax.lax.stop_gradient(batch_var - var.value)
            count.value += some
        return self._normalized(y, scale, bias, batch_mean, batch_var)

    def _normalized(self, y, scale, bias, mean, var) -> normalized.Normalized:
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        return normalized.Normalized(y, mean, factor, bias, relu=self.relu)
