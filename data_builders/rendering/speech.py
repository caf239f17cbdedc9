"""Synthetic singers: syllables at a constant pitch from the eSpeak NG speech synthesiser."""

import dataclasses
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_builders.rendering import seeding
from irec_jax import audio as audio_io
from irec_jax.errors import UserError

PROGRAM = "espeak-ng"
SAMPLE_RATE_HZ = 22_050
#: eSpeak NG voice -> monosyllabic words. Together, the words cover most of the vowels, diphthongs
#: and consonants that eSpeak NG can produce.
_WORDS = {
    "en-us": "la na me you day love oh my night time heart say go rain eyes down hey blue soul "
    "fall kiss she dream world boy",
    "de": "Haus neu",
    "es": "sol voz",
    "fr": "beau vie",
    "it": "mai",
    "sv": "du",
}
_NUM_WORDS = 14
#: Interval between a singer's recorded pitches, and range of these pitches, in semitones.
_STEP, _COMPASS = 4, 24
#: Amount in Hz by which eSpeak NG's speech is lower than a specified constant pitch.
_OFFSET_HZ = 9
#: Spectral envelopes, each given as pairs of a frequency in Hz and a level up to 255.
_TONES = (
    "600 170 1200 135 2000 110",
    "600 255 1200 255 2000 255",
    "600 255 1200 200 2000 255",
    "600 255 1200 255 2000 150",
    "420 255 1300 130 4000 100",
)


@dataclasses.dataclass(frozen=True)
class Singer:
    """A synthetic singer.

    Attributes:
        name: unique name, also used for the folder of recordings.
        pitches: MIDI pitches of the recordings.
        words: (eSpeak NG voice, word) for each recorded syllable.
        words_per_minute: speaking rate.
        variant: lines of the eSpeak NG voice variant that define the timbre.
    """

    name: str
    pitches: tuple[int, ...]
    words: tuple[tuple[str, str], ...]
    words_per_minute: int
    variant: str


def _draw_singer(sex: str, number: int) -> Singer:
    """Draw a male singer (bass to tenor) or a female one (alto to soprano)."""
    rng = seeding.generator("voices", sex, number)
    lowest, scale = (40, 0.92) if sex == "male" else (57, 1.1)
    above = int(rng.integers(0, 7 if sex == "male" else 4))
    low = lowest + above
    scale = (scale + 0.02 * above) * rng.uniform(0.96, 1.04)  # vocal tract length
    lines = ["flutter 0", f"roughness {rng.integers(0, 4)}"]
    for formant in range(9):
        frequency = 100 * scale * rng.uniform(0.96, 1.04)
        strength, width = rng.uniform(75, 125), rng.uniform(80, 125)
        lines.append(f"formant {formant} {frequency:.0f} {strength:.0f} {width:.0f}")
    lines.append(f"tone {seeding.choice(rng, _TONES)}")
    lines.append(f"voicing {rng.integers(80, 140)}")
    if rng.random() < 0.5:
        lines.append("breath " + " ".join(str(rng.integers(0, 4)) for _ in range(8)))
    if number % 2:  # eSpeak NG's alternative synthesiser
        lines.append(f"klatt {rng.integers(1, 5)}")
    words = [(language, word) for language in _WORDS for word in _WORDS[language].split()]
    chosen = sorted(rng.permutation(len(words))[:_NUM_WORDS])
    return Singer(
        name=f"{sex}{number}",
        pitches=tuple(range(low, low + _COMPASS + 1, _STEP)),
        words=tuple(words[index] for index in chosen),
        words_per_minute=int(rng.integers(100, 130)),
        variant="\n".join(lines),
    )


SINGERS = tuple(_draw_singer(sex, number) for sex in ("male", "female") for number in range(1, 9))


def record(singer: Singer, folder: Path) -> None:
    """Record a singer's syllables as ``WORD-HZ.flac`` in a new folder.

    Raises:
        UserError: if eSpeak NG is not installed or fails.
    """
    folder.mkdir()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="espeak-") as temporary:
        # eSpeak NG reads voice variants only from its own data folder.
        variants = Path(temporary) / "espeak-ng-data" / "voices" / "!v"
        shutil.copytree(
            _data_folder(), variants.parents[1], ignore=shutil.ignore_patterns("voices", "mbrola*")
        )
        variants.mkdir(parents=True)
        for pitch in singer.pitches:
            hz = round(440 * 2 ** ((pitch - 69) / 12))
            pitch_line = f"pitch {hz + _OFFSET_HZ} {hz + _OFFSET_HZ}"
            (variants / f"sung{hz}").write_text(
                f"language variant\nname sung{hz}\n{pitch_line}\n{singer.variant}\n"
            )
            for language, word in singer.words:
                file = Path(temporary) / "word.wav"
                options = ["-z", "-a", "40", "-s", str(singer.words_per_minute)]
                voice = ["-v", f"{language}+sung{hz}", "-w", str(file)]
                _run([PROGRAM, f"--path={temporary}", *options, *voice, word])
                samples = _trim(file)
                audio_io.write(folder / f"{word}-{hz}.flac", samples, SAMPLE_RATE_HZ)


def _data_folder() -> Path:
    """Return eSpeak NG's data folder."""
    match = re.search(r"Data at: (.*)", _run([PROGRAM, "--version"]))
    if match is None or not Path(match[1].strip()).is_dir():
        raise UserError(
            f"{PROGRAM} --version: reports no data folder; install version 1.50 or later"
        )
    return Path(match[1].strip())


def _run(command: Sequence[str]) -> str:
    """Run eSpeak NG and return its output."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError(
            f"{PROGRAM}: not installed; install it, for example with apt-get install {PROGRAM}"
        ) from None
    if result.returncode:
        lines = result.stderr.split("\n")
        raise UserError(f"{PROGRAM} {command[-1]}: {lines[0] or f'exit code {result.returncode}'}")
    return result.stdout


def _trim(file: Path) -> np.ndarray:
    """Load a recording without leading and trailing silence, as float32 (T,) with a peak of 0.9."""
    samples = audio_io.read(file, sample_rate_hz=SAMPLE_RATE_HZ, mono=True)[0][:, 0]
    peak = np.abs(samples).max(initial=0.0)
    if not peak:
        raise UserError(f"{PROGRAM}: produced only silence; install another version")
    audible = np.flatnonzero(np.abs(samples) > 0.003 * peak)
    return samples[audible[0] : audible[-1] + 1] * (0.9 / peak)
