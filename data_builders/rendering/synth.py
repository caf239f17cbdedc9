"""Plays parts through a SoundFont, one at a time: the same part always gives the same samples."""

import functools
import importlib.util
import os
import zlib
from pathlib import Path

import numpy as np

from data_builders.rendering.score import Part
from irec_jax.errors import UserError

SAMPLE_RATE_HZ = 44_100
_CHANNEL = 0
_BEND_RANGE_SEMITONES = 2.0
# Voices that are ended fade out within milliseconds; nothing of them may reach the next part.
_FLUSH_SAMPLES = 8192


def default_soundfont() -> Path:
    """TimGM6mb.sf2, which pretty_midi ships.

    Raises:
        UserError: pretty_midi is not installed.
    """
    spec = importlib.util.find_spec("pretty_midi")
    if spec is None:
        raise UserError(
            "SoundFont: pretty_midi, which ships the default one, is missing; "
            "pip install pretty_midi, or name a SoundFont by its path"
        )
    return Path(spec.origin).with_name("TimGM6mb.sf2")


def check_soundfont(path: str | os.PathLike | None = None) -> Path:
    """The path of a SoundFont that can be read, the default one for None.

    Raises:
        UserError: no file there, or none that is a SoundFont; or tinysoundfont is missing.
    """
    soundfont = default_soundfont() if path is None else Path(path).expanduser()
    try:
        header = soundfont.open("rb").read(12)
    except OSError as error:
        raise UserError(f"{soundfont}: {error.strerror}; name a .sf2 file") from None
    if header[:4] != b"RIFF" or header[8:] != b"sfbk":
        raise UserError(f"{soundfont}: not a SoundFont; name a .sf2 file")
    _tinysoundfont()
    return soundfont


def named_after(name: str, soundfont: str | os.PathLike | None) -> tuple[str, str | None]:
    """A dataset's name with that of the SoundFont that plays it, and the SoundFont's full path.

    Raises:
        UserError: as `check_soundfont`.
    """
    if soundfont is None:
        return name, None
    path = check_soundfont(soundfont)
    # Two fonts may bear one name: the data of one must not be taken for the other's.
    return f"{name}-{path.stem}-{zlib.crc32(path.read_bytes()):08x}", str(path.resolve())


def _tinysoundfont():
    try:
        import tinysoundfont
    except ModuleNotFoundError:
        raise UserError(
            "tinysoundfont, which plays the instruments, is missing; "
            "pip install --no-deps tinysoundfont"
        ) from None
    return tinysoundfont


@functools.lru_cache(maxsize=2)
def load_player(soundfont: str | None = None) -> "SoundFontPlayer":
    """The player of a SoundFont, loaded once in a process."""
    return SoundFontPlayer(check_soundfont(soundfont))


class SoundFontPlayer:
    """A loaded SoundFont."""

    def __init__(self, soundfont: str | os.PathLike):
        self._synth = _tinysoundfont().Synth(samplerate=SAMPLE_RATE_HZ, gain=0.0)
        self._path = soundfont
        self._font = self._synth.sfload(str(soundfont), max_voices=256)

    def play(self, part: Part, num_samples: int) -> np.ndarray:
        """Audio of a part.

        Args:
            part: what to play; notes that begin after the end are left out.
            num_samples: how long, at 44.1 kHz.

        Returns:
            float32 (num_samples, 1) where both channels are the same, else (num_samples, 2).

        Raises:
            UserError: the SoundFont lacks the instrument.
        """
        synth, instrument = self._synth, part.instrument
        # Asked for a program it lacks, the synthesiser would quietly play another one.
        if synth.sfpreset_name(self._font, instrument.bank, instrument.program) is None:
            raise UserError(
                f"{self._path}: has no program {instrument.program} in bank {instrument.bank} "
                f"({instrument.name}); use a General MIDI SoundFont"
            )
        synth.program_select(
            _CHANNEL, self._font, instrument.bank, instrument.program, instrument.is_drums
        )
        synth.pitchbend_range(_CHANNEL, _BEND_RANGE_SEMITONES)
        synth.pitchbend(_CHANNEL, 8192)
        synth.set_tuning(_CHANNEL, part.tuning_cents / 100.0)
        audio = np.zeros((num_samples, 2), np.float32)
        view, position = memoryview(audio).cast("B"), 0
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
        return audio * _gain_curve(part.swell, num_samples)


def _events(part: Part) -> list:
    """(sample, order, action, arguments): at one time releases first, then bends, then attacks."""
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


def _gain_curve(swell, num_samples: int) -> np.ndarray:
    """(num_samples, 1) linear gains of (time_s, gain_db) breakpoints."""
    if not swell:
        return np.ones((1, 1), np.float32)
    times, gains_db = np.array(swell, np.float64).T
    # A gain moves slowly: 4 ms are fine enough for its shape, linear in between against clicks.
    coarse = np.arange(0, num_samples + 176, 176)
    gains = 10.0 ** (np.interp(coarse / SAMPLE_RATE_HZ, times, gains_db) / 20.0)
    return np.interp(np.arange(num_samples), coarse, gains).astype(np.float32)[:, None]
