"""Instruments played from recordings of single notes."""

import functools
import re
from pathlib import Path

import numpy as np
import scipy.signal

from data_builders.rendering.score import Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ, play_notes
from irec_jax import audio as audio_io
from irec_jax.errors import UserError

#: Instrument name in the catalogue -> folder with its recorded notes.
FOLDERS = {
    "cello": "cello",
    "clarinet": "clarinet",
    "flute": "flute",
    "nylon guitar": "guitar-nylon",
    "steel guitar": "guitar-acoustic",
    "jazz guitar": "guitar-electric",
    "clean guitar": "guitar-electric",
    "church organ": "organ",
    "reed organ": "harmonium",
    "acoustic grand piano": "piano",
    "alto saxophone": "saxophone",
    "tenor saxophone": "saxophone",
    "trumpet": "trumpet",
    "violin": "violin",
    "fiddle": "violin",
    "fingered bass": "bass-electric",
    "double bass": "contrabass",
    "trombone": "trombone",
    "tuba": "tuba",
    "french horn": "french-horn",
    "bassoon": "bassoon",
    "harp": "harp",
    "xylophone": "xylophone",
}
_NOTE = re.compile(r"([A-G])([sb#]?)(-?\d)")
_SEMITONES = dict(C=0, D=2, E=4, F=5, G=7, A=9, B=11)
#: Start and end, as fractions of a recording, of the segment that is repeated to sustain longer
#: notes, and length of the cross-fade between repetitions.
_LOOP, _CROSSFADE_S = (0.3, 0.8), 0.08
#: Length of the fade-out after a note ends.
_RELEASE_S = 0.12
#: Low-pass cut-off frequencies for the softest and the loudest notes.
_CUTOFF_HZ = (1800.0, 16_000.0)


def midi_pitch(name: str) -> int | None:
    """Return the MIDI pitch of a note name such as C4 (60), Fs3 or Bb2; None for other names."""
    match = _NOTE.fullmatch(name)
    if match is None:
        return None
    letter, accidental, octave = match.groups()
    shift = {"": 0, "s": 1, "#": 1, "b": -1}[accidental]
    return 12 * (int(octave) + 1) + _SEMITONES[letter] + shift


def check_folder(folder: Path, name: str) -> None:
    """Raise UserError if a library's folder does not exist."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no folder of recorded {name}; run irec fetch-sounds {name}")


class NotePlayer:
    """Plays recorded notes from a library with one folder per instrument.

    File names give the pitch, such as ``cello/C4.mp3``. A note is played from the recording with
    the nearest pitch, resampled to the right pitch; vibrato and glides vary the playback speed. If
    a sustained note is longer than its recording, the middle of the recording is repeated with
    cross-fades. Soft notes are quieter and duller.
    """

    def __init__(self, folder: Path):
        check_folder(folder, "notes")
        self._folder = folder

    def plays(self, instrument) -> bool:
        """Return whether there are recorded notes for an instrument."""
        name = FOLDERS.get(instrument.name)
        return name is not None and bool(_recordings(self._folder / name))

    def play(self, part: Part, num_samples: int) -> np.ndarray:
        """Render a part as float32 (num_samples, 1); see `synth.SoundFontPlayer.play`."""
        recordings = _recordings(self._folder / FOLDERS[part.instrument.name])
        return play_notes(part, num_samples, lambda note, _: _play_note(recordings, note, part))


def _play_note(recordings: dict[int, Path], note: Note, part: Part) -> np.ndarray:
    """Return the samples of one note with its release, float32 (T,)."""
    pitches = np.array(list(recordings))
    recorded = int(pitches[np.argmin(np.abs(pitches - note.pitch))])
    recording = _load(recordings[recorded])
    release = round(_RELEASE_S * SAMPLE_RATE_HZ)
    num_samples = round(note.duration_s * SAMPLE_RATE_HZ) + release
    positions = note_positions(note, part, recorded, note.onset_s, num_samples)
    if part.instrument.sustains and positions[-1] > len(recording):
        recording = _sustain(recording, int(positions[-1]) + 2)
    samples = np.interp(positions, np.arange(len(recording)), recording, right=0.0)
    fade = np.minimum(1.0, np.arange(num_samples, 0, -1) / release)
    return with_velocity(samples * fade, note.velocity)


def note_positions(
    note: Note, part: Part, recorded: float, start_s: float, num_samples: int
) -> np.ndarray:
    """Return the read positions of a note in its recording, in samples, as (num_samples,).

    Args:
        note: the note.
        part: part that contains the note and defines its bend and tuning.
        recorded: MIDI pitch of the recording.
        start_s: time of the first sample in the piece.
        num_samples: length of the note in samples.
    """
    times_s = start_s + np.arange(num_samples) / SAMPLE_RATE_HZ
    cents = part.bend_cents(times_s) + part.tuning_cents
    speed = 2.0 ** ((note.pitch - recorded + cents / 100.0) / 12.0)
    return np.cumsum(speed) - speed[0]


@functools.cache
def _recordings(folder: Path) -> dict[int, Path]:
    """Return a dict from MIDI pitch to recording for a folder, lowest pitch first."""
    files = {midi_pitch(path.stem): path for path in sorted(folder.glob("*.*"))}
    return {pitch: files[pitch] for pitch in sorted(p for p in files if p is not None)}


def load_recording(file: Path) -> np.ndarray:
    """Load a recording without leading silence, as float32 (T,) with a peak of 1."""
    samples = audio_io.read(file, sample_rate_hz=SAMPLE_RATE_HZ, mono=True)[0][:, 0]
    peak = np.abs(samples).max()
    if not peak:
        raise UserError(f"{file}: silent; delete its folder and fetch it again")
    audible = np.abs(samples) > 0.01 * peak
    return samples[max(0, int(audible.argmax()) - 64) :] / peak


_load = functools.cache(load_recording)


def _sustain(recording: np.ndarray, num_samples: int) -> np.ndarray:
    """Extend a recording to at least ``num_samples`` by repeating its middle with cross-fades."""
    first, last = (int(part * len(recording)) for part in _LOOP)
    fade = min(round(_CROSSFADE_S * SAMPLE_RATE_HZ), (last - first) // 2)
    if fade < 1:
        return np.pad(recording, (0, max(0, num_samples - len(recording))))
    # The cross-fade has equal power, since repetitions are not in phase.
    rise = np.sin(0.5 * np.pi * np.arange(fade) / fade).astype(np.float32)
    return repeat(recording, (first, last), (rise[::-1], rise), num_samples)


def repeat(
    recording: np.ndarray,
    loop: tuple[int, int],
    fades: tuple[np.ndarray, np.ndarray],
    num_samples: int,
) -> np.ndarray:
    """Play a recording up to the end of its loop, then repeat the loop up to ``num_samples``.

    Args:
        recording: float32 (T,).
        loop: start and end of the segment that is repeated, in samples.
        fades: gains at the end of a repetition and at the start of the next one, (F,) each.
        num_samples: minimum length of the result.
    """
    first, last = loop
    fall, rise = fades
    fade, middle = len(rise), recording[first:last]
    joined = recording[:last].copy()
    pieces, length = [joined], last
    while length < num_samples:
        pieces[-1][-fade:] = pieces[-1][-fade:] * fall + middle[:fade] * rise
        pieces.append(middle[fade:].copy())
        length += len(middle) - fade
    return np.concatenate(pieces)


def with_velocity(samples: np.ndarray, velocity: int) -> np.ndarray:
    """Make a note quieter (by up to 40 dB) and duller for lower velocities."""
    strength = np.clip(velocity / 127.0, 0.0, 1.0)
    low, high = _CUTOFF_HZ
    cutoff_hz = low * (high / low) ** strength
    pole = np.exp(-2 * np.pi * cutoff_hz / SAMPLE_RATE_HZ)
    filtered = scipy.signal.lfilter([1 - pole], [1, -pole], samples)
    return (filtered * 10 ** (2 * (strength - 1))).astype(np.float32)
