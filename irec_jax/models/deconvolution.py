"""Deconvolution of Han's network, which shows what a unit responds to in a spectrogram.

The method follows Zeiler and Fergus, Visualizing and understanding convolutional networks (2014),
and is used in figure 7 of Han et al. (2017). The activations of one unit are projected back to the
input through the inverse of each stage, in reverse order:

- pooling: each value is placed at the position of the maximum of its region (the switch), with
  zeros elsewhere; for global mean pooling, it is divided evenly among all positions;
- activation: the same activation is applied to the projected values (ReLU in Zeiler and Fergus;
  leaky ReLU or tanh for networks that use them);
- convolution: the transposed convolution with the same kernel, without bias.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from irec_jax.models import layers
from irec_jax.models.convnet import PADDING, POOL, ConvNet


class Unit(NamedTuple):
    """A unit of a block, and the part of a spectrogram that it responds to.

    Attributes:
        block: number of the block, from 1.
        channel: channel in the block's output.
        activation: the value with the largest magnitude in the channel's pooled output.
        picture: the deconvolved activations, float32 (frames, bands), of either sign and in
            arbitrary units.
    """

    block: int
    channel: int
    activation: float
    picture: Float[np.ndarray, "frames bands"]


class _Block(NamedTuple):
    """The pooled output of a block (rows, columns, channels), and the inverse of the block."""

    pooled: Array
    invert: Callable[[Array], Array]


def deconvolve(
    model: ConvNet,
    params: Mapping[str, Any],
    features: Float[Array | np.ndarray, "frames bands"],
    *,
    num_units: int = 2,
) -> list[Unit]:
    """Return the most active units of each block, with their deconvolved activations.

    Args:
        model: the network, which is evaluated in float32.
        params: the parameters of the network.
        features: one spectrogram with any number of frames.
        num_units: number of units per block; all units are returned for blocks that have fewer.

    Returns:
        The units, block by block, in decreasing order of the magnitude of their activation.

    Raises:
        ValueError: if the features are empty or have the wrong number of axes.
        UserError: if the activation or pooling is unknown.
    """
    layers.check_features(features, "frames, bands")
    blocks: list[_Block] = []
    units = []
    x = jnp.asarray(features, jnp.float32)[..., None]
    for number in range(1, len(model.filters) + 1):
        blocks.append(_apply_block(model, params, number, x))
        x = blocks[-1].pooled
        by_channel = x.reshape(-1, x.shape[-1])
        position = jnp.abs(by_channel).argmax(axis=0)
        strongest = np.asarray(jnp.take_along_axis(by_channel, position[None], axis=0)[0])
        order = np.argsort(-np.abs(strongest), kind="stable")
        for channel in map(int, order[:num_units]):
            back = jnp.zeros_like(x).at[..., channel].set(x[..., channel])
            for block in reversed(blocks):
                back = block.invert(back)
            picture = np.asarray(back[..., 0])
            units.append(Unit(number, channel, float(strongest[channel]), picture))
    return units


def _apply_block(model: ConvNet, params: Mapping[str, Any], number: int, x: Array) -> _Block:
    """Return a block's output for an input (height, width, channels), and the block's inverse."""
    inverses: list[Callable[[Array], Array]] = []
    for layer in (2 * number - 2, 2 * number - 1):
        weights = params[f"Conv_{layer}"]
        activate = _activation(model.activation, params.get(f"Activation_{layer}", {}))
        convolve = _convolution(jnp.asarray(weights["kernel"], jnp.float32))
        transposed = jax.linear_transpose(convolve, jax.ShapeDtypeStruct(x.shape, x.dtype))
        inverses += [lambda back, transposed=transposed: transposed(back)[0], activate]
        x = activate(convolve(x) + weights["bias"])
    is_last = number == len(model.filters)
    size = x.shape[:2] if is_last else POOL
    pooled, shares = pool(x, size, kind=model.pooling if is_last else "max")

    def invert(back: Array) -> Array:
        back = unpool(back, shares, size)
        for inverse in reversed(inverses):
            back = inverse(back)
        return back

    return _Block(pooled, invert)


def _activation(kind: str, params: Mapping[str, Any]) -> Callable[[Array], Array]:
    module = layers.Activation(kind)
    return lambda x: module.apply({"params": params}, x)  # pyright: ignore[reportReturnType]


def _convolution(kernel: Array) -> Callable[[Array], Array]:
    """Return a function that convolves images (height, width, channels) as the network does."""

    def convolve(x: Array) -> Array:
        return jax.lax.conv_general_dilated(
            x[None],
            kernel,
            (1, 1),
            PADDING,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )[0]

    return convolve


def pool(
    x: Float[Array | np.ndarray, "height width channels"], size: Sequence[int], *, kind: str = "max"
) -> tuple[Float[Array, "rows columns channels"], Float[Array, "height width channels"]]:
    """Pool non-overlapping regions; remaining rows and columns are dropped.

    Args:
        x: the values to pool.
        size: height and width of a region.
        kind: 'max' or 'mean'.

    Returns:
        The pooled values, and the share of each value in the pooled value of its region. For 'max',
        the share is 1 at the position of the first maximum (the switch) and 0 elsewhere; for
        'mean', it is the same everywhere. Dropped values have a share of 0.
    """
    x = jnp.asarray(x)
    (height, width, channels), (rows, columns) = x.shape, size
    num_rows, num_columns = height // rows, width // columns
    regions = x[: num_rows * rows, : num_columns * columns]
    regions = regions.reshape(num_rows, rows, num_columns, columns, channels)
    regions = regions.swapaxes(1, 2).reshape(num_rows, num_columns, rows * columns, channels)
    if kind == "max":
        shares = jax.nn.one_hot(regions.argmax(axis=2), rows * columns, axis=2)
    else:
        shares = jnp.full_like(regions, 1 / (rows * columns))
    pooled = layers.global_pool(regions.reshape(-1, rows * columns, 1, channels), kind)
    shares = shares.reshape(num_rows, num_columns, rows, columns, channels).swapaxes(1, 2)
    shares = shares.reshape(num_rows * rows, num_columns * columns, channels)
    left_out = ((0, height % rows), (0, width % columns), (0, 0))
    return pooled.reshape(num_rows, num_columns, channels), jnp.pad(shares, left_out)


def unpool(
    pooled: Float[Array | np.ndarray, "rows columns channels"],
    shares: Float[Array | np.ndarray, "height width channels"],
    size: Sequence[int],
) -> Float[Array, "height width channels"]:
    """Distribute pooled values over their regions according to the shares from `pool`."""
    pooled, shares = jnp.asarray(pooled), jnp.asarray(shares)
    spread = jnp.repeat(jnp.repeat(pooled, size[0], axis=0), size[1], axis=1)
    missing = [(0, s - n) for s, n in zip(shares.shape[:2], spread.shape[:2], strict=True)]
    return shares * jnp.pad(spread, [*missing, (0, 0)])
