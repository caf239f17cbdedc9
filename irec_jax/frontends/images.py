"""Front ends that turn waveforms into images (Goel) on the fly, without image files."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Shaped

from irec_jax.dsp.cpu_batching import map_in_batches
from irec_jax.dsp.padding import fix_length
from irec_jax.dsp.recurrence_plot import POOLINGS, recurrence_plot
from irec_jax.dsp.resize import resize
from irec_jax.dsp.stacked_image import smallest_side, stacked_image
from irec_jax.frontends.base import FrontEnd, check_choice, check_integers, setting_error
from irec_jax.frontends.waveforms import Chunks

# About this many images and their intermediate results fit in the caches of a CPU; computing one
# at a time would leave the other cores idle.
_EXAMPLES_PER_BATCH = 4
# 2^24 samples are more than six minutes at 44.1 kHz; a larger value is most likely a typo and would
# exhaust the memory.
_MAX_EXPONENT = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stacked(FrontEnd):
    """Stacked image: samples as grey values, written row by row into a square, then resized.

    See `irec_jax.dsp.stacked_image` for the grey values and `irec_jax.dsp.resize` for the
    interpolation. Goel's image files hold integer grey values after resizing; here, values are not
    rounded. The features are grey values divided by 255, float32 (..., size, size): 0 is black, 1
    is white and silence is 128 / 255; samples outside -1..1 are black or white.

    Attributes:
        side: side of the square in samples (367 in Goel for 3 s). Longer waveforms are trimmed, and
            shorter ones are padded with silence, which is grey. If 0, the smallest square that
            holds the waveform is used.
        size: number of rows and of columns after resizing.
    """

    side: int = 0
    size: int = 150

    def __post_init__(self):
        check_integers(0, side=self.side)
        check_integers(1, size=self.size)

    def output_shape(self, num_samples: int) -> tuple[int, int]:
        """Return (size, size), for waveforms of any length."""
        return self.size, self.size

    def _features(
        self, waveform: Float[Array, "*batch samples"], num_samples, keys
    ) -> Float[Array, "*batch {self.size} {self.size}"]:
        side = self.side or smallest_side(waveform.shape[-1])

        def image(waveform: Array | np.ndarray) -> Array:
            grey = stacked_image(waveform, side=side)
            return jnp.asarray(resize(grey, height=self.size, width=self.size)) / 255

        return map_in_batches(image, waveform, batch_size=_EXAMPLES_PER_BATCH)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recurrence(FrontEnd):
    """Multiresolution recurrence plots: |x[i] - x[j]| / 2 over segments of 2^n samples, resized.

    See `irec_jax.dsp.recurrence_plot.recurrence_plot` for the two kinds of pooling and
    `irec_jax.dsp.resize` for the interpolation. The features of waveforms in -1..1 are float32
    (..., R, size, size) in 0..1, with one image per exponent; equal samples give 0.

    Attributes:
        exponents: exponents n, one per image; each image covers the first 2^n samples, and shorter
            waveforms are padded with silence.
        points: number of points after max-pooling, which must divide each 2^n.
        size: number of rows and of columns after resizing.
        pooling: '1d' pools the signal before plotting, '2d' pools the plot.
    """

    exponents: Sequence[int] = (16, 17)
    points: int = 256
    size: int = 150
    pooling: str = "1d"

    def __post_init__(self):
        if not isinstance(self.exponents, list | tuple) or not self.exponents:
            raise setting_error(f"exponents={self.exponents!r}: expected integers like (16, 17)")
        object.__setattr__(self, "exponents", tuple(self.exponents))  # JSON has only lists
        check_integers(1, points=self.points, size=self.size)
        for exponent in self.exponents:
            check_integers(0, exponents=exponent)
            if exponent > _MAX_EXPONENT:
                raise setting_error(f"exponents={exponent}: expected at most {_MAX_EXPONENT}")
            if 2**exponent % self.points:
                raise setting_error(
                    f"points={self.points}: expected a divisor of 2^{exponent}, because "
                    f"frontend.exponents contains {exponent}"
                )
        check_choice(POOLINGS, pooling=self.pooling)

    def output_shape(self, num_samples: int) -> tuple[int, int, int]:
        """Return (R, size, size), for waveforms of any length."""
        return len(self.exponents), self.size, self.size

    def _features(
        self, waveform: Float[Array, "*batch samples"], num_samples, keys
    ) -> Float[Array, "*batch {len(self.exponents)} {self.size} {self.size}"]:
        def image(waveform: Array | np.ndarray, exponent: int) -> Array | np.ndarray:
            samples = fix_length(waveform, num_samples=2**exponent)
            plot = recurrence_plot(samples, num_points=self.points, pooling=self.pooling)
            return resize(plot, height=self.size, width=self.size)

        def images(waveform: Array | np.ndarray) -> Array:
            return jnp.stack([image(waveform, n) for n in self.exponents], axis=-3)

        return map_in_batches(images, waveform, batch_size=_EXAMPLES_PER_BATCH)


Part = TypeVar("Part", Recurrence, Stacked, Chunks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageAndChunks(FrontEnd):
    """Inputs of Goel's CRNN: an image of a waveform, and its samples in chunks.

    The features are `image`, float32 (..., R, size, size) from `Recurrence` or (..., size, size)
    from `Stacked`, and `steps` and `num_steps` from `Chunks`.

    Attributes:
        image: 'recurrence' or 'stacked'; settings of the unused kind must keep their defaults.
        exponents, points, pooling: settings of `Recurrence`.
        side: setting of `Stacked`.
        size: setting of both `Recurrence` and `Stacked`.
        chunk_samples: setting of `Chunks`.
    """

    image: str = "recurrence"
    exponents: Sequence[int] = (16, 17)
    points: int = 256
    pooling: str = "1d"
    side: int = 0
    size: int = 150
    chunk_samples: int = 300

    def __post_init__(self):
        check_choice(("recurrence", "stacked"), image=self.image)
        recurrence, _, _ = self._part(Recurrence), self._part(Stacked), self._part(Chunks)
        object.__setattr__(self, "exponents", recurrence.exponents)
        unused = ("side",) if self.image == "recurrence" else ("exponents", "points", "pooling")
        for field in dataclasses.fields(self):
            if field.name in unused and getattr(self, field.name) != field.default:
                raise setting_error(
                    f"{field.name}: not used with frontend.image={self.image!r}; remove it"
                )

    def output_shape(self, num_samples: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes for waveforms of `num_samples` samples.

        Raises:
            UserError: if there are fewer samples than in one chunk.
        """
        steps = self._part(Chunks).output_shape(num_samples)
        return {"image": self._image_frontend.output_shape(num_samples), **steps}

    def _features(
        self, waveform: Float[Array, "... samples"], num_samples, keys
    ) -> dict[str, Shaped[Array, "..."]]:
        steps: Any = self._part(Chunks)(waveform, num_samples=num_samples)
        image: Any = self._image_frontend(waveform)
        return {"image": image, **steps}

    @property
    def _image_frontend(self) -> Recurrence | Stacked:
        return self._part(Recurrence) if self.image == "recurrence" else self._part(Stacked)

    def _part(self, kind: type[Part]) -> Part:
        """Return a front end of the given class with its settings copied from this front end."""
        return kind(**{field.name: getattr(self, field.name) for field in dataclasses.fields(kind)})
