"""Image resizing."""

import numpy as np
from jax import Array
from jaxtyping import Float

from irec_jax.dsp.checks import check_floating, check_positive


def resize(
    image: Float[Array | np.ndarray, "... rows columns"], *, height: int, width: int
) -> Float[Array | np.ndarray, "... {height} {width}"]:
    """Resize an image by bilinear interpolation, like OpenCV's INTER_LINEAR.

    Pixel p of n is centred at (p + 1/2) / n of the image size. Positions beyond the centres of the
    outermost pixels take the values of these pixels. There is no antialiasing: each new pixel is
    interpolated from the four pixels around its centre.

    Args:
        image: one or more images (..., rows, columns).
        height, width: numbers of rows and columns in the result.

    Returns:
        The resized image, in the dtype of the image.
    """
    check_floating("image", image)
    check_positive(height=height, width=width)
    # On a CPU, gathering is several times faster than multiplying by sparse matrices.
    above, below, weight = _neighbours(image.shape[-2], height)
    weight = weight[:, None].astype(image.dtype)
    rows = image[..., above, :] * (1 - weight) + image[..., below, :] * weight
    left, right, weight = _neighbours(image.shape[-1], width)
    weight = weight.astype(image.dtype)
    return rows[..., left] * (1 - weight) + rows[..., right] * weight


def _neighbours(num_before: int, num_after: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices of the two pixels around each new pixel, and the second one's weight."""
    position = (np.arange(num_after) + 0.5) * num_before / num_after - 0.5
    position = np.clip(position, 0, num_before - 1)
    first = np.floor(position).astype(np.int32)
    second = np.minimum(first + 1, num_before - 1)
    return first, second, position - first
