"""Front ends that draw pictures of waveforms (Goel), computed on the fly: no image files."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from irec_jax.dsp.checks import check_signal
from irec_jax.dsp.cpu_batching import map_in_batches
from irec_jax.dsp.padding import fix_length
from irec_jax.dsp.recurrence_plot import POOLINGS, recurrence_plot
from irec_jax.dsp.resize import resize
from irec_jax.dsp.stacked_image import smallest_side, stack
from irec_jax.frontends.settings import check_choice, check_integers, setting_error
from irec_jax.frontends.waveforms import Chunks

# So many pictures stay in the caches of a CPU together with what they are made of; one at a time
# would leave the other cores idle.
_EXAMPLES_PER_CHUNK = 4
# 2^24 samples are more than six minutes at 44.1 kHz; beyond, a typing error would fill the memory.
_LARGEST_EXPONENT = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stacked:
    """Stacked image: samples as grey values, written line by line into a square, then resized.

    See `irec_jax.dsp.stacked_image.stack` for the grey values and `irec_jax.dsp.resize` for the
    interpolation. Where the source's image files hold whole grey values after resizing, ours keep
    their fractions.

    Attributes:
        side: N of the N x N samples (367 in the source for 3 s); longer waveforms are cut, shorter
            ones filled with silence, which is grey. 0: the smallest square that holds the waveform.
        size: rows and columns after resizing.

    Raises:
        UserError: a setting out of range; the message names it.
    """

    side: int = 0
    size: int = 150

    def __post_init__(self):
        check_integers(0, side=self.side)
        check_integers(1, size=self.size)

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures of waveforms.

        Args:
            waveform: float32 (..., T) in -1..1; what lies beyond is black or white.
            num_samples, keys: not needed.

        Returns:
            float32 (..., size, size), grey values / 255: 0 black, 1 white, silence 128 / 255.

        Raises:
            AssertionError: `waveform` is not floating point or has no samples.
        """
        check_signal("waveform", waveform)
        return _stacked(self, waveform)

    def output_shape(self, num_samples: int) -> tuple[int, int]:
        """(size, size), whatever the waveform's length."""
        return self.size, self.size


@functools.partial(jax.jit, static_argnums=0)
def _stacked(frontend: Stacked, waveform: jax.Array) -> jax.Array:
    side = frontend.side or smallest_side(waveform.shape[-1])

    def picture(waveform: jax.Array) -> jax.Array:
        grey = stack(waveform, side=side)
        return resize(grey, height=frontend.size, width=frontend.size) / 255

    return map_in_batches(picture, waveform, batch_size=_EXAMPLES_PER_CHUNK)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recurrence:
    """Multiresolution recurrence plots: |x[i] - x[j]| / 2 over spans of 2^n samples, resized.

    See `irec_jax.dsp.recurrence_plot.recurrence_plot` for the two ways of pooling and
    `irec_jax.dsp.resize` for the interpolation.

    Attributes:
        exponents: n of every resolution: its picture is of the first 2^n samples; shorter waveforms
            are filled with silence.
        points: moments after max-pooling; divides every 2^n.
        size: rows and columns after resizing.
        pooling: '1d' pools the signal and plots what remains, '2d' pools the plot.

    Raises:
        UserError: a setting out of range; the message names it.
    """

    exponents: tuple[int, ...] = (16, 17)
    points: int = 256
    size: int = 150
    pooling: str = "1d"

    def __post_init__(self):
        if not isinstance(self.exponents, list | tuple) or not self.exponents:
            raise setting_error(
                f"exponents is {self.exponents!r}: must be whole numbers such as (16, 17)"
            )
        object.__setattr__(self, "exponents", tuple(self.exponents))  # JSON makes lists of them
        check_integers(1, points=self.points, size=self.size)
        for exponent in self.exponents:
            check_integers(0, exponents=exponent)
            if exponent > _LARGEST_EXPONENT:
                raise setting_error(f"exponents holds {exponent}: at most {_LARGEST_EXPONENT}")
            if 2**exponent % self.points:
                raise setting_error(
                    f"points is {self.points}: must divide 2^{exponent}, for frontend.exponents "
                    f"holds {exponent}"
                )
        check_choice(POOLINGS, pooling=self.pooling)

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures of waveforms.

        Args:
            waveform: float32 (..., T) in -1..1.
            num_samples, keys: not needed.

        Returns:
            float32 (..., R, size, size) in 0..1, a picture per exponent; 0 where two moments are
            alike.

        Raises:
            AssertionError: `waveform` is not floating point or has no samples.
        """
        check_signal("waveform", waveform)
        return _recurrence(self, waveform)

    def output_shape(self, num_samples: int) -> tuple[int, int, int]:
        """(R, size, size), whatever the waveform's length."""
        return len(self.exponents), self.size, self.size


@functools.partial(jax.jit, static_argnums=0)
def _recurrence(frontend: Recurrence, waveform: jax.Array) -> jax.Array:
    def picture(waveform: jax.Array, exponent: int) -> jax.Array:
        samples = fix_length(waveform, num_samples=2**exponent)
        plot = recurrence_plot(samples, num_points=frontend.points, pooling=frontend.pooling)
        return resize(plot, height=frontend.size, width=frontend.size)

    def pictures(waveform: jax.Array) -> jax.Array:
        return jnp.stack([picture(waveform, n) for n in frontend.exponents], axis=-3)

    return map_in_batches(pictures, waveform, batch_size=_EXAMPLES_PER_CHUNK)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageAndChunks:
    """A picture of a waveform, and its samples in chunks: what a CRNN eats.

    Attributes:
        image: 'recurrence' or 'stacked', with its settings; those of the other stay as they are:
        exponents, points, pooling: of `Recurrence`.
        side: of `Stacked`.
        size: of both.
        chunk_samples: of `Chunks`.

    Raises:
        UserError: a setting out of range; the message names it.
    """

    image: str = "recurrence"
    exponents: tuple[int, ...] = (16, 17)
    points: int = 256
    pooling: str = "1d"
    side: int = 0
    size: int = 150
    chunk_samples: int = 300

    def __post_init__(self):
        check_choice(("recurrence", "stacked"), image=self.image)
        object.__setattr__(self, "exponents", self._part(Recurrence).exponents)
        self._part(Stacked), self._part(Chunks)
        other = ("side",) if self.image == "recurrence" else ("exponents", "points", "pooling")
        for field in dataclasses.fields(self):
            if field.name in other and getattr(self, field.name) != field.default:
                raise setting_error(f"{field.name}: frontend.image={self.image!r} has none")

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Pictures and steps of waveforms; see the three front ends that this one is made of.

        Args:
            waveform: float32 (..., T) in -1..1.
            num_samples: ints (...,), real samples at the start, the rest being zeros; None: T.
            keys: not needed.

        Returns:
            `image`: float32 (..., R, size, size) or (..., size, size); `steps` and `num_steps` as
            of `Chunks`.

        Raises:
            UserError: T is less than a chunk.
            AssertionError: `waveform` is not floating point.
        """
        steps = self._part(Chunks)(waveform, num_samples=num_samples)
        return {"image": self._picture(waveform)} | steps

    def output_shape(self, num_samples: int) -> dict[str, tuple[int, ...]]:
        """Shapes for waveforms of `num_samples` samples.

        Raises:
            UserError: fewer than a chunk.
        """
        steps = self._part(Chunks).output_shape(num_samples)
        return {"image": self._picture.output_shape(num_samples)} | steps

    @property
    def _picture(self) -> Recurrence | Stacked:
        return self._part(Recurrence if self.image == "recurrence" else Stacked)

    def _part(self, kind: type) -> Recurrence | Stacked | Chunks:
        """The front end of that class with our settings."""
        return kind(**{field.name: getattr(self, field.name) for field in dataclasses.fields(kind)})
