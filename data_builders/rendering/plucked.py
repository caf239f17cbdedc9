"""Acoustic guitars synthesised as sums of decaying modes."""

import dataclasses

import numpy as np
from numpy.random import Generator

from data_builders.rendering import seeding
from data_builders.rendering.score import Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ, play_notes

#: Frequency up to which a harmonic series has partials, and their maximum number.
_MAX_HZ, _MAX_PARTIALS = 10_500.0, 48
#: Level at which a partial ends, relative to its start.
_END_DB = -70.0
#: Interval at which envelopes are computed, in samples.
_HOP = 128
#: Length of the noise of the pluck.
_PLUCK_S = 0.06


class GuitarPlayer:
    """Plays guitars that are drawn at random for each part.

    A string of stiffness B has partials at f_k = k f_0 sqrt(1 + B k^2). Plucked at the fraction b
    of its length, it excites them in proportion to sin(pi k b) / k, low-pass filtered by the width
    and softness of finger or plectrum. The body amplifies partials near its resonances. Partials
    decay exponentially, higher ones faster. The second polarisation of the string, which decays
    more slowly and is slightly detuned, is modelled as beats of the amplitude (Fletcher and
    Rossing, The Physics of Musical Instruments, chapter 9).
    """

    def plays(self, instrument) -> bool:
        """Return whether an instrument is an acoustic guitar."""
        return instrument.kind == "gac"

    def play(self, part: Part, num_samples: int) -> np.ndarray:
        """Render a part as float32 (num_samples, 1); see `synth.SoundFontPlayer.play`."""
        notes = " ".join(f"{note.onset_s:.3f} {note.pitch}" for note in part.notes)
        # Part of the music, like all words of a key.
        rng = seeding.generator("plucked", part.instrument.name, notes)
        guitar = _draw_guitar(rng, steel=part.instrument.name == "steel guitar")
        return play_notes(
            part, num_samples, lambda note, remaining: _pluck(guitar, note, part, remaining, rng)
        )


@dataclasses.dataclass(frozen=True)
class _Guitar:
    """A guitar and its player.

    Attributes:
        stiffness: inharmonicity B of the strings.
        position: plucking point as a fraction of the string's length.
        cutoff_hz: cut-off frequency of the pluck at full velocity.
        decay_s: 60 dB decay time at 110 Hz without frequency-dependent damping.
        damping_hz: frequency at which partials decay twice as fast.
        slow: relative amplitude of the second polarisation.
        beat_hz: rate of the beats of the fundamental.
        resonances: frequency in Hz, gain, and bandwidth in Hz of each body resonance, (N, 3).
        rolloff_hz: frequency above which the body radiates less.
        pluck_db: peak of the noise of the pluck relative to the sum of the partials' amplitudes.
        release_s: 60 dB decay time of a damped string.
    """

    stiffness: float
    position: float
    cutoff_hz: float
    decay_s: float
    damping_hz: float
    slow: float
    beat_hz: float
    resonances: np.ndarray
    rolloff_hz: float
    pluck_db: float
    release_s: float

    def radiation(self, frequencies_hz: np.ndarray) -> np.ndarray:
        """Return the relative amplitudes with which the body radiates frequencies."""
        centres, gains, widths = self.resonances.T[:, :, None]
        peaks = gains / (1 + ((frequencies_hz - centres) / (0.5 * widths)) ** 2)
        return (1 + peaks.sum(axis=0)) / np.sqrt(1 + (frequencies_hz / self.rolloff_hz) ** 4)


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_guitar(rng: Generator, *, steel: bool) -> _Guitar:
    """Draw a guitar with nylon or steel strings and the manner in which it is played."""
    # The air and the top plate resonate strongly; above 300 Hz there are many weaker resonances.
    centres = [rng.uniform(85, 125), rng.uniform(165, 250), rng.uniform(350, 450)]
    centres += [_log_uniform(rng, 450, 5000) for _ in range(12)]
    gains = [rng.uniform(1, 4), rng.uniform(1, 4), *rng.uniform(0, 2, 13)]
    widths = np.array(centres) / rng.uniform(6, 25, len(centres))
    return _Guitar(
        stiffness=_log_uniform(rng, *((2e-5, 3e-4) if steel else (5e-6, 1e-4))),
        position=rng.uniform(0.06, 0.42),
        cutoff_hz=_log_uniform(rng, *((1200, 9000) if steel else (500, 5000))),
        decay_s=rng.uniform(3, 10) if steel else rng.uniform(1.5, 6),
        damping_hz=_log_uniform(rng, *((400, 2500) if steel else (200, 1200))),
        slow=rng.uniform(0.02, 0.4),
        beat_hz=rng.uniform(0.05, 0.8),
        resonances=np.stack([centres, gains, widths], axis=1),
        rolloff_hz=_log_uniform(rng, 1200, 7000),
        pluck_db=rng.uniform(-45, -18),
        release_s=rng.uniform(0.05, 0.3),
    )


def _pluck(guitar: _Guitar, note: Note, part: Part, num_samples: int, rng: Generator) -> np.ndarray:
    """Return the samples of a note with its release, float32 (T,), at most ``num_samples``."""
    frequency_hz = 440 * 2 ** ((note.pitch - 69 + part.tuning_cents / 100) / 12)
    strength = note.velocity / 127
    num_samples = min(num_samples, round((note.duration_s + 3 * guitar.release_s) * SAMPLE_RATE_HZ))
    count = int(np.clip(_MAX_HZ / frequency_hz, 1, _MAX_PARTIALS))
    numbers = np.arange(1, count + 1)
    ratios = numbers * np.sqrt(1 + guitar.stiffness * numbers**2)
    frequencies_hz = frequency_hz * ratios
    cutoff_hz = guitar.cutoff_hz * (0.3 + 0.7 * strength)
    amplitudes = np.sin(np.pi * numbers * guitar.position) / numbers
    amplitudes *= guitar.radiation(frequencies_hz) / (1 + (frequencies_hz / cutoff_hz) ** 2)
    decay_s = guitar.decay_s * (110 / frequency_hz) ** 0.4
    rates = 6.9 / decay_s * (1 + (frequencies_hz / guitar.damping_hz) ** 1.2)

    coarse_s = np.arange(0, num_samples + _HOP, _HOP) / SAMPLE_RATE_HZ
    held = np.exp(-np.maximum(coarse_s - note.duration_s, 0) * 6.9 / guitar.release_s)
    phase = 2 * np.pi * np.cumsum(_frequency(note, part, num_samples) * frequency_hz)
    phase /= SAMPLE_RATE_HZ
    samples = np.zeros(num_samples)
    times = np.arange(num_samples)
    for ratio, amplitude, rate in zip(ratios, amplitudes, rates, strict=True):
        beat = np.cos(2 * np.pi * guitar.beat_hz * ratio**0.5 * coarse_s + rng.uniform(0, 6.28))
        envelope = np.exp(-rate * coarse_s) + guitar.slow * np.exp(-0.3 * rate * coarse_s) * beat
        envelope *= held
        audible = np.flatnonzero(np.abs(envelope) > 10 ** (_END_DB / 20))
        end = min(num_samples, (audible[-1] + 1) * _HOP if len(audible) else 0)
        gains = np.interp(times[:end], coarse_s * SAMPLE_RATE_HZ, envelope)
        samples[:end] += amplitude * gains * np.sin(ratio * phase[:end] + rng.uniform(0, 0.5))
    samples *= np.minimum(1.0, times / (0.002 * SAMPLE_RATE_HZ))
    samples += _pluck_noise(guitar, num_samples, np.abs(amplitudes).sum(), rng)
    return (0.25 * samples * 10 ** (1.5 * (strength - 1))).astype(np.float32)


def _frequency(note: Note, part: Part, num_samples: int) -> np.ndarray:
    """Return the frequency of a note relative to its pitch, (T,), which follows the bend."""
    times_s = note.onset_s + np.arange(num_samples) / SAMPLE_RATE_HZ
    return 2.0 ** (part.bend_cents(times_s) / 1200)


def _pluck_noise(guitar: _Guitar, num_samples: int, level: float, rng: Generator) -> np.ndarray:
    """Return the noise of finger and body at the start of a note, float64 (num_samples,)."""
    length = round(_PLUCK_S * SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequencies_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    noise = np.fft.irfft(spectrum * guitar.radiation(frequencies_hz), length)
    noise *= np.exp(-np.arange(length) / (0.012 * SAMPLE_RATE_HZ))
    noise *= level * 10 ** (guitar.pluck_db / 20) / max(np.abs(noise).max(), 1e-9)
    return np.pad(noise, (0, max(0, num_samples - length)))[:num_samples]
