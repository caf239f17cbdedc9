"""Simulation of spot microphone signals with crosstalk (Seipel 2018, section 3.3.1)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Int32, Key, Num

from irec_jax import registry

SPEED_OF_SOUND_M_S = 343.0
#: Functions that convert a source's amplitude into its distance in metres (amplitude 1 at 1 m).
DISTANCE_LAWS = {
    # Seipel's 'reciprocal quadratic relation of distance and amplitude'.
    "inverse_square": lambda amplitude: amplitude**-0.5,
    # Sound pressure in a free field.
    "inverse": lambda amplitude: 1 / amplitude,
}


def draw_mixing(
    key: Key[Array, ""], num_tracks: int, *, max_crosstalk: float
) -> Float[Array, "{num_tracks} {num_tracks}"]:
    """Draw a random symmetric mixing matrix A.

    Args:
        key: random key.
        num_tracks: number of tracks, each with its own microphone.
        max_crosstalk: largest off-diagonal amplitude; Seipel's -6, -12 and -18 dB are 0.5, 0.25 and
            0.126.

    Returns:
        Amplitudes: 1 on the diagonal and uniformly distributed in (0, max_crosstalk) elsewhere.
    """
    if not 0 < max_crosstalk <= 1:
        raise ValueError(f"max_crosstalk={max_crosstalk}: expected an amplitude in (0, 1]")
    # Amplitude 0 would correspond to an infinite distance.
    shape, smallest = (num_tracks, num_tracks), 1e-3 * max_crosstalk
    drawn = jax.random.uniform(key, shape, minval=smallest, maxval=max_crosstalk)
    upper = jnp.triu(drawn, 1)
    return upper + upper.T + jnp.eye(num_tracks)


def delays_samples(
    mixing: Num[Array | np.ndarray, "tracks tracks"],
    sample_rate_hz: float,
    *,
    law: str = "inverse_square",
) -> Int32[np.ndarray, "tracks tracks"]:
    """Return the delay of each source at each microphone, relative to its own microphone.

    A source is 1 m from its own microphone, with amplitude 1.

    Args:
        mixing: amplitudes within (0, 1].
        law: 'inverse_square' for a distance of A^(-1/2) m, as in Seipel (2018), or 'inverse' for a
            distance of 1/A m.

    Returns:
        Delays, rounded to samples; 0 where the amplitude is 1.

    Raises:
        UserError: if the law is unknown.
    """
    distance = registry.find("distance law", DISTANCE_LAWS, law)
    mixing = np.asarray(mixing, np.float64)
    if not ((mixing > 0) & (mixing <= 1)).all():
        raise ValueError("mixing: expected amplitudes in (0, 1]")
    distances_m = distance(mixing) - 1.0
    return np.rint(distances_m / SPEED_OF_SOUND_M_S * sample_rate_hz).astype(np.int32)


@jax.jit
def simulate(
    tracks: Float[Array | np.ndarray, "tracks samples"],
    mixing: Num[Array | np.ndarray, "tracks tracks"],
    delays: Int[Array | np.ndarray, "tracks tracks"],
) -> tuple[Float[Array, "tracks samples"], Float[Array, ""]]:
    """Mix dry tracks into spot microphone signals.

        spot_l(t) = gain * sum_j A_lj x_j(t - d_lj)

    Args:
        tracks: dry sources.
        mixing: A.
        delays: d in samples, non-negative.

    Returns:
        Spot signals with the same length as the tracks, normalised jointly to a maximum peak of 1
        (silence stays silent), and the normalisation gain. The spots contain the sources as
        ``gain * tracks``.
    """
    time = jnp.arange(tracks.shape[-1])

    def add_source(spots: jax.Array, source) -> tuple[jax.Array, None]:
        track, amplitudes, source_delays = source

        def delayed(delay: jax.Array) -> jax.Array:
            return jnp.where(time < delay, 0, jnp.roll(track, delay))

        return spots + amplitudes[:, None] * jax.lax.map(delayed, source_delays), None

    # Sources are added one at a time, so that memory holds the spots and one extra set of tracks.
    sources = (tracks, jnp.asarray(mixing, tracks.dtype).T, jnp.asarray(delays).T)
    spots, _ = jax.lax.scan(add_source, jnp.zeros_like(tracks), sources)
    gain = _normalising_gain(spots)
    return spots * gain, gain


def _normalising_gain(spots: jax.Array) -> jax.Array:
    """Return the gain that normalises the maximum peak to 1; 1 for silence."""
    peak = jnp.abs(spots).max(initial=0)
    return jnp.where(peak > 0, 1 / jnp.where(peak > 0, peak, 1), 1)


@functools.partial(
    jax.jit, static_argnames=("decay_s", "sample_rate_hz", "crosstalk_tail_db", "own_tail_db")
)
def simulate_room(
    key: Key[Array, ""],
    tracks: Float[Array | np.ndarray, "tracks samples"],
    mixing: Num[Array | np.ndarray, "tracks tracks"],
    delays: Int[Array | np.ndarray, "tracks tracks"],
    *,
    decay_s: float,
    sample_rate_hz: float,
    crosstalk_tail_db: float = 0.0,
    own_tail_db: float = -12.0,
) -> tuple[Float[Array, "tracks samples"], Float[Array, "tracks samples"]]:
    """Mix dry tracks into spot microphone signals in a room: `simulate` with diffuse tails.

    Each pair of source and microphone has its own tail: noise that starts with the direct sound,
    fades in within 5 ms and decays exponentially.

    Args:
        key: random key for the tails.
        tracks, mixing, delays: see `simulate`.
        decay_s: reverberation time in seconds, during which tails decay by 60 dB.
        crosstalk_tail_db: energy of the crosstalk's tail in dB, relative to its direct sound.
        own_tail_db: the same for the tail of the microphone's own source.

    Returns:
        Spot signals, and the contribution of each microphone's own source, including its tail. The
        same gain, which gives the spots a maximum peak of 1, is applied to both.
    """
    num_tracks, num_samples = tracks.shape
    num_tail = round(decay_s * sample_rate_hz)
    # A power of two with room for delays, so that no sound wraps around to the start.
    size = 1 << (num_samples + num_tail + round(0.3 * sample_rate_hz)).bit_length()
    spectra = jnp.fft.rfft(tracks, size)
    time_s = jnp.arange(num_tail) / sample_rate_hz
    envelope = 10 ** (-3 * time_s / decay_s) * jnp.minimum(time_s / 0.005, 1)

    def image(mic: jax.Array, source: jax.Array) -> jax.Array:
        """Return the spectrum of a source as recorded by a microphone."""
        noise = jax.random.normal(jax.random.fold_in(key, mic * num_tracks + source), (num_tail,))
        tail = noise * envelope
        level_db = jnp.where(mic == source, own_tail_db, crosstalk_tail_db)
        tail = tail / jnp.linalg.norm(tail) * 10 ** (level_db / 20)
        phase = -2 * jnp.pi * jnp.arange(size // 2 + 1) * (delays[mic, source] / size)
        response = (jnp.fft.rfft(tail, size) + 1) * jnp.exp(1j * phase)
        return mixing[mic, source] * response * spectra[source]

    def record(mic: jax.Array) -> tuple[jax.Array, jax.Array]:
        def add(source: jax.Array, total: jax.Array) -> jax.Array:
            return total + image(mic, source)

        spot = jax.lax.fori_loop(0, num_tracks, add, jnp.zeros_like(spectra[0]))
        both = jnp.stack([spot, image(mic, mic)])
        spot, own = jnp.fft.irfft(both, size)[:, :num_samples]
        return spot, own

    spots, own = jax.lax.map(record, jnp.arange(num_tracks))
    gain = _normalising_gain(spots)
    return spots * gain, own * gain
