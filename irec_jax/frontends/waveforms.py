"""Front ends without a time-frequency representation: samples, chunks or a single spectrum."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Int32, Shaped

from irec_jax.dsp import stft
from irec_jax.dsp.padding import delay, fix_length
from irec_jax.frontends.base import (
    FrontEnd,
    check_choice,
    check_integers,
    check_length,
    setting_error,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Raw(FrontEnd):
    """Samples as the steps of a recurrent network (Vazonis et al. 2022): one value per step.

    Each waveform is padded to `length_samples` with zeros in one of two ways:

    - `'silence'`: before and after the waveform, as silence that the network processes. In
      training, the position of the waveform is drawn uniformly from all possible positions, 'so
      that the network learns to ignore silence'. Otherwise, the waveform is centred; if the number
      of zeros is odd, the extra zero goes at the end.
    - `'mask'`: after the waveform; `num_steps` indicates where the waveform ends.

    The features are `steps`, float32 (..., N, 1), and `num_steps`, int32 (...,), the number of
    valid steps: N or, with 'mask', `num_samples` (at least 1).

    Attributes:
        length_samples: number of steps; if 0, the length of the waveform.
        padding: 'silence' or 'mask'.
    """

    length_samples: int = 0
    padding: str = "silence"

    def __post_init__(self):
        check_integers(0, length_samples=self.length_samples)
        check_choice(("silence", "mask"), padding=self.padding)

    def output_shape(self, num_samples: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes for waveforms of `num_samples` samples.

        Raises:
            UserError: if there are more than `length_samples` samples.
        """
        check_length(num_samples, self.length_samples)
        return {"steps": (self.length_samples or num_samples, 1), "num_steps": ()}

    def _features(
        self, waveform: Float[Array, "... samples"], num_samples, keys
    ) -> dict[str, Shaped[Array, "..."]]:
        num_steps, _ = self.output_shape(waveform.shape[-1])["steps"]
        num_real = _num_real(waveform, num_samples)
        if self.padding == "mask":
            steps = fix_length(waveform, num_samples=num_steps)
            return {"steps": steps[..., None], "num_steps": jnp.clip(num_real, 1, num_steps)}
        num_zeros = num_steps - num_real
        before = num_zeros // 2 if keys is None else _draw(keys, num_zeros)
        steps = delay(waveform, start=before, num_samples=num_steps)
        return {"steps": steps[..., None], "num_steps": jnp.full_like(num_real, num_steps)}


def _num_real(
    waveform: Float[Array, "*batch samples"], num_samples: Int[ArrayLike, "#*batch"] | None
) -> Int32[Array, "*batch"]:
    """Return the number of samples in each waveform before the padding."""
    length = waveform.shape[-1]
    num_samples = length if num_samples is None else num_samples
    return jnp.broadcast_to(jnp.clip(num_samples, 0, length), waveform.shape[:-1]).astype("int32")


def _draw(keys: Shaped[Array, "..."], maximum: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
    """Draw an integer uniformly from 0..maximum for each key; keys may be typed or raw."""
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        keys = jax.random.wrap_key_data(keys)

    def draw(key: Array, maximum: Array) -> Array:
        return jax.random.randint(key, (), 0, maximum + 1)

    return jnp.vectorize(draw)(keys, maximum)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FftMagnitude(FrontEnd):
    """Magnitude spectrum |rfft| of a complete waveform (Vazonis et al. 2022).

    The end of the waveform is padded with zeros to N = `length_samples` samples. The paper places
    the waveform at random within the padding; this changes phases but not magnitudes and is
    therefore not done here. The last of the floor(N / 2) + 1 bins (the Nyquist bin if N is even) is
    omitted, which leaves 442,000 bins by default. The features are float32 (..., floor(N / 2)),
    lowest frequency first, >= 0; the gradient is finite, even for silence.

    Attributes:
        length_samples: N, 884,000 in the paper (20.05 s at 44.1 kHz); if 0, the length of the
            waveform.
        norm: 'ortho' divides by sqrt(N), which preserves the energy and gives features about as
            large as the samples; 'backward' does not scale; 'forward' divides by N. The paper does
            not state a scale.
    """

    axes: ClassVar[tuple[str, ...] | None] = ("frequency",)

    length_samples: int = 884_000
    norm: str = "ortho"

    def __post_init__(self):
        check_integers(0, length_samples=self.length_samples)
        check_choice(("ortho", "backward", "forward"), norm=self.norm)

    def output_shape(self, num_samples: int) -> tuple[int]:
        """Return (floor(N / 2),) for waveforms of `num_samples` samples.

        Raises:
            UserError: if there are more than `length_samples` samples, or N is below 2.
        """
        check_length(num_samples, self.length_samples)
        length = self.length_samples or num_samples
        if length < 2:
            raise setting_error(f"length_samples: {length} samples are too few; use 2 or more")
        return (length // 2,)

    def _features(
        self, waveform: Float[Array, "*batch samples"], num_samples, keys
    ) -> Float[Array, "*batch bins"]:
        (num_bins,) = self.output_shape(waveform.shape[-1])
        length = self.length_samples or waveform.shape[-1]
        spectrum = jnp.fft.rfft(waveform, n=length, norm=self.norm)
        return stft.magnitude(spectrum[..., :num_bins])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunks(FrontEnd):
    """Non-overlapping chunks of samples, used as the steps of a recurrent network (Goel's |X|).

    Samples after the last complete chunk are dropped. The features are `steps`, float32
    (..., N, chunk_samples) with N = floor(T / chunk_samples), and `num_steps`, int32 (...,), the
    number of steps before the padding, 1..N.

    Attributes:
        chunk_samples: samples per step, 300 or 100 in Goel.
    """

    chunk_samples: int = 300

    def __post_init__(self):
        check_integers(1, chunk_samples=self.chunk_samples)

    def output_shape(self, num_samples: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes for waveforms of `num_samples` samples.

        Raises:
            UserError: if there are fewer samples than in one chunk.
        """
        num_steps = num_samples // self.chunk_samples
        if num_steps < 1:
            raise setting_error(
                f"chunk_samples={self.chunk_samples} is more than the {num_samples} samples of a "
                "waveform; use smaller chunks or longer windows"
            )
        return {"steps": (num_steps, self.chunk_samples), "num_steps": ()}

    def _features(
        self, waveform: Float[Array, "... samples"], num_samples, keys
    ) -> dict[str, Shaped[Array, "..."]]:
        num_steps, _ = shape = self.output_shape(waveform.shape[-1])["steps"]
        chunked = waveform[..., : num_steps * self.chunk_samples]
        num_real = -(-_num_real(waveform, num_samples) // self.chunk_samples)
        return {
            "steps": chunked.reshape(*waveform.shape[:-1], *shape),
            "num_steps": jnp.clip(num_real, 1, num_steps),
        }
