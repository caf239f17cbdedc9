"""Deterministic SoundFont synthesis of single parts."""

import functools
import importlib.util
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data_builders.rendering.instruments import Instrument
from data_builders.rendering.score import Note, Part
from irec_jax.errors import UserError
from irec_jax.files import expand_home

SAMPLE_RATE_HZ = 44_100
_CHANNEL = 0
_BEND_RANGE_SEMITONES = 2.0
#: Samples between the gains that `gain_curve` computes, 4 ms; it interpolates the others.
GAIN_STEP = 176
# Stopped voices fade out within this many samples; they must not be audible in the next part.
_FLUSH_SAMPLES = 8192


def default_soundfont() -> Path:
    """Return the path to TimGM6mb.sf2, which comes with pretty_midi.

    Raises:
        UserError: if pretty_midi is not installed.
    """
    spec = importlib.util.find_spec("pretty_midi")
    if spec is None or spec.origin is None:
        raise UserError(
            "soundfont: pretty_midi, which contains the default SoundFont, is not installed; "
            "run pip install pretty_midi, or pass the path of a .sf2 file"
        )
    return Path(spec.origin).with_name("TimGM6mb.sf2")


def check_soundfont(path: str | os.PathLike | None = None) -> Path:
    """Check that a SoundFont (None for the default one) can be read, and return its path.

    Raises:
        UserError: if the file is missing or not a SoundFont, or tinysoundfont is not installed.
    """
    soundfont = default_soundfont() if path is None else expand_home(path)
    try:
        header = soundfont.open("rb").read(12)
    except OSError as error:
        raise UserError(f"{soundfont}: {error.strerror}; pass the path of a .sf2 file") from None
    if header[:4] != b"RIFF" or header[8:] != b"sfbk":
        raise UserError(f"{soundfont}: not a SoundFont; pass the path of a .sf2 file")
    _tinysoundfont()
    return soundfont


def name_with_soundfont(name: str, soundfont: str | os.PathLike | None) -> tuple[str, str | None]:
    """Append a SoundFont's name and checksum to the name of a dataset config.

    Returns:
        The new name and the absolute path of the SoundFont; without a SoundFont, the unchanged name
        and None.

    Raises:
        UserError: as for `check_soundfont`.
    """
    if soundfont is None:
        return name, None
    path = check_soundfont(soundfont)
    # Two SoundFonts with the same file name must not share prepared data.
    return f"{name}-{path.stem}-{zlib.crc32(path.read_bytes()):08x}", str(path.resolve())


def _tinysoundfont():
    try:
        import tinysoundfont
    except ModuleNotFoundError:
        # There are no wheels for Python versions newer than 3.12.
        hint = ", which needs a C++ compiler on this Python" if sys.version_info >= (3, 13) else ""
        raise UserError(
            "tinysoundfont, which plays the instruments, is not installed; "
            f"run pip install --no-deps tinysoundfont{hint}"
        ) from None
    return tinysoundfont


@functools.lru_cache(maxsize=2)
def load_player(soundfont: str | None = None) -> "SoundFontPlayer":
    """Load a General MIDI SoundFont, once per process; see `check_soundfont`."""
    return SoundFontPlayer(check_soundfont(soundfont))


class SoundFontPlayer:
    """Plays parts with a SoundFont."""

    def __init__(self, soundfont: str | os.PathLike):
        self._synth = _tinysoundfont().Synth(samplerate=SAMPLE_RATE_HZ, gain=0.0)
        self._path = soundfont
        self._font = self._synth.sfload(str(soundfont), max_voices=256)

    def plays(self, instrument: Instrument) -> bool:
        """Return whether the SoundFont has an instrument's program."""
        return (
            self._synth.sfpreset_name(self._font, instrument.bank, instrument.program) is not None
        )

    def play(self, part: Part, num_samples: int) -> np.ndarray:
        """Render a part.

        Args:
            part: the part to render; notes that begin after ``num_samples`` are left out.
            num_samples: output length in samples at 44.1 kHz.

        Returns:
            float32 (num_samples, 1) if both channels are equal, otherwise (num_samples, 2).

        Raises:
            UserError: if the SoundFont lacks the instrument.
        """
        synth, instrument = self._synth, part.instrument
        # The synthesiser silently replaces programs that the SoundFont lacks.
        if not self.plays(instrument):
            raise UserError(
                f"{self._path}: no program {instrument.program} in bank {instrument.bank} "
                f"({instrument.name}); use a General MIDI SoundFont"
            )
        program = (instrument.bank, instrument.program, instrument.is_drums)
        synth.program_select(_CHANNEL, self._font, *program)
        synth.pitchbend_range(_CHANNEL, _BEND_RANGE_SEMITONES)
        synth.pitchbend(_CHANNEL, 8192)
        synth.set_tuning(_CHANNEL, part.tuning_cents / 100.0)
        audio = np.zeros((num_samples, 2), np.float32)
        view, position = memoryview(audio.data).cast("B"), 0
        for at_samples, _, action, arguments in _events(part):
            at_samples = min(at_samples, num_samples)
            if at_samples > position:
                synth.generate_simple(at_samples - position, view[8 * position : 8 * at_samples])
                position = at_samples
            if at_samples == num_samples:
                break
            getattr(synth, action)(_CHANNEL, *arguments)
        if position < num_samples:
            synth.generate_simple(num_samples - position, view[8 * position :])
        synth.sounds_off(_CHANNEL)
        synth.generate_simple(_FLUSH_SAMPLES)
        if np.array_equal(audio[:, 0], audio[:, 1]):
            audio = audio[:, :1]
        return audio * gain_curve(part.swell, num_samples)


def _events(part: Part) -> list:
    """Return sorted (sample, order, action, arguments); note-offs come first, note-ons last."""
    events = []
    for note in part.notes:
        start = round(note.onset_s * SAMPLE_RATE_HZ)
        end = max(start + 1, round((note.onset_s + note.duration_s) * SAMPLE_RATE_HZ))
        events.append((start, 2, "noteon", (note.pitch, note.velocity)))
        events.append((end, 0, "noteoff", (note.pitch,)))
    for time_s, cents in part.bend:
        value = 8192 + round(8191 * np.clip(cents / (100 * _BEND_RANGE_SEMITONES), -1, 1))
        events.append((round(time_s * SAMPLE_RATE_HZ), 1, "pitchbend", (int(value),)))
    return sorted(events, key=lambda event: event[:2])


def play_notes(part: Part, num_samples: int, play: Callable[[Note, int], np.ndarray]) -> np.ndarray:
    """Render a part note by note, as float32 (num_samples, 1) at 44.1 kHz.

    Args:
        part: the part to render; notes that begin after ``num_samples`` are left out.
        num_samples: output length in samples.
        play: function that returns the samples (T,) of a note, given the note and the number of
            samples that remain from its onset; further samples are ignored.
    """
    sound = np.zeros(num_samples, np.float32)
    for note in part.notes:
        start = round(note.onset_s * SAMPLE_RATE_HZ)
        if start < num_samples:
            samples = play(note, num_samples - start)[: num_samples - start]
            sound[start : start + len(samples)] += samples
    return sound[:, None] * gain_curve(part.swell, num_samples)


def gain_curve(swell: Sequence[tuple[float, float]], num_samples: int) -> np.ndarray:
    """Convert (time_s, gain_db) breakpoints to linear gains, float32 (num_samples, 1).

    Without breakpoints, the result is a single gain of 1, float32 (1, 1).
    """
    if not swell:
        return np.ones((1, 1), np.float32)
    times, gains_db = np.array(swell, np.float64).T
    # The gain changes slowly, and interpolation avoids clicks.
    coarse = np.arange(0, num_samples + GAIN_STEP, GAIN_STEP)
    gains = 10.0 ** (np.interp(coarse / SAMPLE_RATE_HZ, times, gains_db) / 20.0)
    return np.interp(np.arange(num_samples), coarse, gains).astype(np.float32)[:, None]
