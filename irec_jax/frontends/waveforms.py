"""Front ends that leave sound as it is: single samples, chunks of them, or its spectrum."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from irec_jax.dsp import stft
from irec_jax.dsp.checks import check_signal
from irec_jax.dsp.padding import fix_length, place
from irec_jax.frontends.settings import check_choice, check_integers, check_length, setting_error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Raw:
    """Samples as steps of a recurrent network (Vazonis et al. 2022): one value per step.

    Every waveform is brought to `length_samples` with zeros, in one of two ways:

    - `'silence'`: before and after it, and the network hears them. In training the split is drawn,
      all splits being equally likely, 'so that the network learns to ignore silence'; else half of
      the zeros come before it, the smaller half where they are odd.
    - `'mask'`: after it, and `num_steps` tells the network where it ends.

    Attributes:
        length_samples: steps; 0: as many as the waveform has samples.
        padding: 'silence' or 'mask'.

    Raises:
        UserError: a setting out of range; the message names it.
    """

    length_samples: int = 0
    padding: str = "silence"

    def __post_init__(self):
        check_integers(0, length_samples=self.length_samples)
        check_choice(("silence", "mask"), padding=self.padding)

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Steps of waveforms.

        Args:
            waveform: float32 (..., T).
            num_samples: ints (...,), real samples at the start, the rest being zeros; None: T.
            keys: PRNG keys (...,) that draw where the waveform is placed; None: in the middle.

        Returns:
            `steps`: float32 (..., N, 1). `num_steps`: int32 (...,), how many of them count: N, or
            with 'mask' `num_samples`, at least 1.

        Raises:
            UserError: T is more than `length_samples`.
            AssertionError: `waveform` is not floating point.
        """
        check_signal("waveform", waveform)
        self.output_shape(waveform.shape[-1])  # reports a waveform that is too long
        return _raw(self, waveform, num_samples, keys)

    def output_shape(self, num_samples: int) -> dict[str, tuple[int, ...]]:
        """Shapes for waveforms of `num_samples` samples.

        Raises:
            UserError: more than `length_samples`.
        """
        check_length(num_samples, self.length_samples)
        return {"steps": (self.length_samples or num_samples, 1), "num_steps": ()}


@functools.partial(jax.jit, static_argnums=0)
def _raw(frontend: Raw, waveform, num_samples, keys) -> dict[str, jax.Array]:
    num_steps = frontend.output_shape(waveform.shape[-1])["steps"][0]
    num_real = _num_real(waveform, num_samples)
    if frontend.padding == "mask":
        steps = fix_length(waveform, num_samples=num_steps)
        return {"steps": steps[..., None], "num_steps": jnp.clip(num_real, 1, num_steps)}
    num_zeros = num_steps - num_real
    before = num_zeros // 2 if keys is None else _draw(keys, num_zeros)
    steps = place(waveform, start=before, num_samples=num_steps)
    return {"steps": steps[..., None], "num_steps": jnp.full(num_real.shape, num_steps, jnp.int32)}


def _num_real(waveform: jax.Array, num_samples: jax.Array | None) -> jax.Array:
    """How many samples of each waveform (..., T) are real: int32 (...,)."""
    num_all = waveform.shape[-1]
    num_samples = num_all if num_samples is None else num_samples
    return jnp.broadcast_to(jnp.clip(num_samples, 0, num_all), waveform.shape[:-1]).astype("int32")


def _draw(keys: jax.Array, largest: jax.Array) -> jax.Array:
    """A whole number 0..largest for each of the keys (...,), all equally likely."""
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        keys = jax.random.wrap_key_data(keys)

    def draw(key: jax.Array, largest: jax.Array) -> jax.Array:
        return jax.random.randint(key, (), 0, largest + 1)

    return jnp.vectorize(draw)(keys, largest)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FftMagnitude:
    """Magnitude of the spectrum of a whole waveform (Vazonis et al. 2022), |rfft|.

    The waveform is followed by zeros up to `length_samples`, N. Where in the zeros it lies, at
    random in the paper, changes phases and no magnitude, so nothing is drawn. Of the N / 2 + 1
    bins up to half of the sample rate the last one, the Nyquist bin, is left out: N / 2 remain,
    442,000 with the default (of an odd N the last of the floor(N / 2) + 1 bins goes).

    Attributes:
        length_samples: N, 884,000 in the paper (20.05 s at 44.1 kHz); 0: as many as the waveform
            has samples.
        norm: 'ortho' divides by sqrt(N), which keeps the energy and makes features about as large
            as samples; 'backward' is the plain sum; 'forward' divides by N. The paper tells no
            scale.

    Raises:
        UserError: a setting out of range; the message names it.
    """

    length_samples: int = 884_000
    norm: str = "ortho"

    def __post_init__(self):
        check_integers(0, length_samples=self.length_samples)
        check_choice(("ortho", "backward", "forward"), norm=self.norm)

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Magnitudes of waveforms.

        Args:
            waveform: float32 (..., T).
            num_samples, keys: not needed.

        Returns:
            float32 (..., floor(N / 2)), lowest frequency first, >= 0; finite gradients for silence.

        Raises:
            UserError: T is more than `length_samples`, or a single sample.
            AssertionError: `waveform` is not floating point.
        """
        check_signal("waveform", waveform)
        self.output_shape(waveform.shape[-1])  # reports a waveform that is too long
        return _fft_magnitude(self, waveform)

    def output_shape(self, num_samples: int) -> tuple[int]:
        """(floor(N / 2),) for waveforms of `num_samples` samples.

        Raises:
            UserError: more than `length_samples`, or too few for any bin.
        """
        check_length(num_samples, self.length_samples)
        length = self.length_samples or num_samples
        if length < 2:
            raise setting_error(f"length_samples: {length} samples are too few for a spectrum")
        return (length // 2,)


@functools.partial(jax.jit, static_argnums=0)
def _fft_magnitude(frontend: FftMagnitude, waveform: jax.Array) -> jax.Array:
    (num_bins,) = frontend.output_shape(waveform.shape[-1])
    length = frontend.length_samples or waveform.shape[-1]
    spectrum = jnp.fft.rfft(waveform, n=length, norm=frontend.norm)
    return stft.magnitude(spectrum[..., :num_bins])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunks:
    """Samples cut without overlap to vectors, the steps of a recurrent network (Goel's |X|).

    Samples after the last whole chunk are left out.

    Attributes:
        chunk_samples: samples per step, 300 or 100 in the source.

    Raises:
        UserError: a setting out of range; the message names it.
    """

    chunk_samples: int = 300

    def __post_init__(self):
        check_integers(1, chunk_samples=self.chunk_samples)

    def __call__(
        self,
        waveform: jax.Array,
        *,
        num_samples: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Steps of waveforms.

        Args:
            waveform: float32 (..., T).
            num_samples: ints (...,), real samples at the start, the rest being zeros; None: T.
            keys: not needed.

        Returns:
            `steps`: float32 (..., N, chunk_samples) with N = floor(T / chunk_samples).
            `num_steps`: int32 (...,), how many of them hold real samples, 1..N.

        Raises:
            UserError: T is less than a chunk.
            AssertionError: `waveform` is not floating point.
        """
        check_signal("waveform", waveform)
        self.output_shape(waveform.shape[-1])  # reports a waveform that is too short
        return _chunks(self, waveform, num_samples)

    def output_shape(self, num_samples: int) -> dict[str, tuple[int, ...]]:
        """Shapes for waveforms of `num_samples` samples.

        Raises:
            UserError: fewer than a chunk.
        """
        num_steps = num_samples // self.chunk_samples
        if num_steps < 1:
            raise setting_error(
                f"chunk_samples={self.chunk_samples} is more than the {num_samples} samples of a "
                "waveform; use smaller chunks or longer windows"
            )
        return {"steps": (num_steps, self.chunk_samples), "num_steps": ()}


@functools.partial(jax.jit, static_argnums=0)
def _chunks(frontend: Chunks, waveform: jax.Array, num_samples) -> dict[str, jax.Array]:
    shape = frontend.output_shape(waveform.shape[-1])["steps"]
    whole = waveform[..., : shape[0] * shape[1]]
    num_real = -(-_num_real(waveform, num_samples) // frontend.chunk_samples)
    return {
        "steps": whole.reshape(*waveform.shape[:-1], *shape),
        "num_steps": jnp.clip(num_real, 1, shape[0]),
    }
