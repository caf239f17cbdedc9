"""Catalogue of General MIDI programs, with the registers and typical roles of the instruments.

A kind of instrument, such as ``gac`` for acoustic guitars, may cover several programs. Genre
weights state how common an instrument is in a genre. Roles are keys of `parts.ROLES`, ``bass`` or
``drums``.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

GENRES = ("cla", "cou_fol", "jaz_blu", "lat_sou", "pop_roc")


@dataclasses.dataclass(frozen=True)
class Instrument:
    """A sampled instrument.

    Attributes:
        name: name, unique in the catalogue.
        kind: abbreviation of its IRMAS class, or the name of its family.
        program: General MIDI program, 0-based; drum kits are programs in bank 128.
        low, high: comfortable register as MIDI pitches.
        genres: weight in each genre.
        lead_roles, backing_roles: weight of each role.
        sustains: True if a note sounds for as long as it is held.
        vibrato_cents: typical vibrato depth; 0 for none.
        scoops: probability that a note is approached from below.
        swells: True if dynamics change within a phrase.
        modulation: "leslie", "tremolo" or "" for none.
        bank: SoundFont bank.
    """

    name: str
    kind: str
    program: int
    low: int
    high: int
    genres: Mapping[str, float]
    lead_roles: Mapping[str, float]
    backing_roles: Mapping[str, float]
    sustains: bool = True
    vibrato_cents: float = 0.0
    scoops: float = 0.0
    swells: bool = True
    modulation: str = ""
    bank: int = 0

    @property
    def is_drums(self) -> bool:
        return self.bank == 128


def _weights(text: str) -> Mapping[str, float]:
    """Parse ``"cla 3 jaz_blu 1"`` into a mapping."""
    words = text.split()
    return MappingProxyType(dict(zip(words[::2], map(float, words[1::2]), strict=True)))


def _make(name, kind, program, low, high, genres: str, roles: str, **more) -> Instrument:
    """Return an instrument; lead and backing roles are given as in "melody 2 runs 1 / pad 1"."""
    lead, backing = map(_weights, roles.split("/"))
    return Instrument(name, kind, program, low, high, _weights(genres), lead, backing, **more)


def _bass(name: str, program: int, genres: str) -> Instrument:
    return _make(name, "bass", program, 28, 50, genres, "bass 1 / bass 1", **_STRUCK)


def _kit(name: str, program: int, genres: str) -> Instrument:
    roles = "drums 1 / drums 1"
    return _make(name, "drums", program, 35, 81, genres, roles, bank=128, **_STRUCK)


_BOWED = dict(vibrato_cents=18.0, scoops=0.08)
_WIND = dict(vibrato_cents=10.0, scoops=0.08)
_SAX = dict(vibrato_cents=16.0, scoops=0.2)
_VOICE = dict(vibrato_cents=28.0, scoops=0.3)
_STRUCK = dict(sustains=False, swells=False)
_KEYS = dict(swells=False)

#: Roles that several instruments share.
_SOLO = "melody 5 runs 2 duo 1 riff 1 / counter 4 riff 2 pad 1 melody 1"
_GUITAR = "fingerstyle 4 strum 2 melody 2 arpeggio 1 / strum 4 arpeggio 3 comp 2"
_PIANO = "two_hands 6 comp 1 arpeggio 1 melody 1 / comp 4 arpeggio 3 two_hands 2 pad 1"
_ORGAN = "two_hands 3 chorale 2 melody 2 riff 1 pad 1 / pad 4 comp 2 riff 1 arpeggio 1"

CATALOGUE = (
    # The IRMAS classes.
    _make("cello", "cel", 42, 36, 71, "cla 6 pop_roc 1 jaz_blu .5 cou_fol .6 lat_sou .5",
          "melody 5 arpeggio 2 counter 2 runs 1 / counter 4 pad 1 arpeggio 1 melody 1",
          **_BOWED),
    _make("cello pizzicato", "cel", 45, 36, 57, "cla .4 jaz_blu .2",
          "arpeggio 2 runs 2 / arpeggio 2 riff 1", **_STRUCK),
    _make("clarinet", "cla", 71, 50, 87, "cla 3 jaz_blu 3 cou_fol 1 lat_sou .7 pop_roc .4",
          _SOLO, vibrato_cents=5.0, scoops=0.1),
    _make("flute", "flu", 73, 60, 92, "cla 3 jaz_blu 1.3 lat_sou 1.3 pop_roc 1 cou_fol 1",
          _SOLO, **_WIND),
    _make("piccolo", "flu", 72, 74, 96, "cla .4", "melody 2 runs 2 / counter 1", **_WIND),
    _make("recorder", "flu", 74, 67, 91, "cla .4 cou_fol .3",
          "melody 3 runs 1 duo 1 / counter 2 riff 1", **_WIND),
    _make("pan flute", "flu", 75, 60, 84, "lat_sou .5 pop_roc .2 cou_fol .2",
          "melody 4 riff 1 duo 1 / counter 2 riff 1", **_WIND),
    _make("shakuhachi", "flu", 77, 57, 84, "pop_roc .2 jaz_blu .2 cou_fol .2",
          "melody 4 / counter 2", **_VOICE),
    _make("nylon guitar", "gac", 24, 40, 79, "lat_sou 3 cla 2 jaz_blu 1 pop_roc .7 cou_fol .6",
          _GUITAR, **_STRUCK),
    _make("steel guitar", "gac", 25, 40, 79, "cou_fol 4 pop_roc 3 jaz_blu .5 lat_sou .3",
          _GUITAR, **_STRUCK),
    _make("jazz guitar", "gel", 26, 40, 79, "jaz_blu 3 lat_sou .5 pop_roc .5",
          "melody 3 comp 2 runs 2 fingerstyle 1 / comp 4 riff 1 strum 1", **_STRUCK),
    _make("clean guitar", "gel", 27, 40, 84, "pop_roc 2 cou_fol 1.3 jaz_blu .7 lat_sou .5",
          "melody 2 arpeggio 2 strum 2 riff 2 runs 1 / strum 3 arpeggio 3 riff 2",
          modulation="tremolo", **_STRUCK),
    _make("muted guitar", "gel", 28, 40, 74, "pop_roc .8 cou_fol .3 lat_sou .2",
          "runs 2 riff 2 arpeggio 2 / riff 2 arpeggio 2", **_STRUCK),
    _make("overdriven guitar", "gel", 29, 40, 84, "pop_roc 2 cou_fol .4 jaz_blu .5",
          "melody 3 riff 2 power 2 runs 1 / power 3 riff 2", vibrato_cents=20.0, scoops=0.25),
    _make("distorted guitar", "gel", 30, 40, 86, "pop_roc 3",
          "melody 3 power 3 riff 2 runs 1 / power 4 riff 1", vibrato_cents=22.0, scoops=0.25),
    _make("drawbar organ", "org", 16, 36, 88, "pop_roc 2 jaz_blu 1.5 cou_fol .5 lat_sou .5",
          _ORGAN, modulation="leslie"),
    _make("percussive organ", "org", 17, 36, 88, "jaz_blu 1.5 pop_roc 1 lat_sou .3",
          _ORGAN, modulation="leslie"),
    _make("rock organ", "org", 18, 36, 84, "pop_roc 2 jaz_blu .5", _ORGAN, **_KEYS),
    _make("church organ", "org", 19, 36, 84, "cla 2.5 pop_roc .2",
          "chorale 4 two_hands 3 arpeggio 1 runs 1 / pad 4 chorale 1", **_KEYS),
    _make("reed organ", "org", 20, 41, 84, "cou_fol .8 cla .4 pop_roc .2",
          "chorale 2 melody 2 two_hands 2 / pad 4 comp 1", **_KEYS),
    _make("acoustic grand piano", "pia", 0, 29, 96,
          "cla 3 jaz_blu 3 pop_roc 1.5 lat_sou 1.5 cou_fol 1", _PIANO, **_STRUCK),
    _make("bright piano", "pia", 1, 29, 96, "pop_roc 2 lat_sou 1.5 jaz_blu 1 cou_fol .5",
          _PIANO, **_STRUCK),
    _make("electric grand piano", "pia", 2, 29, 96, "pop_roc 1 jaz_blu .5", _PIANO, **_STRUCK),
    _make("honky-tonk piano", "pia", 3, 33, 91, "cou_fol 1.2 jaz_blu .6 pop_roc .3",
          _PIANO, **_STRUCK),
    _make("soprano saxophone", "sax", 64, 58, 87, "jaz_blu 1 pop_roc .7 lat_sou .4 cla .1",
          _SOLO, **_SAX),
    _make("alto saxophone", "sax", 65, 50, 80, "jaz_blu 2.5 pop_roc 1.3 lat_sou .8 cla .3",
          _SOLO, **_SAX),
    _make("tenor saxophone", "sax", 66, 44, 75, "jaz_blu 3 pop_roc 1.5 lat_sou .8 cou_fol .2",
          _SOLO, **_SAX),
    _make("baritone saxophone", "sax", 67, 37, 68, "jaz_blu .7 pop_roc .4 lat_sou .2",
          _SOLO, **_SAX),
    _make("trumpet", "tru", 56, 55, 84, "jaz_blu 2.5 cla 2 lat_sou 2 pop_roc .9 cou_fol .3",
          _SOLO, vibrato_cents=9.0, scoops=0.08),
    _make("muted trumpet", "tru", 59, 55, 82, "jaz_blu 1.2 pop_roc .2 lat_sou .2",
          _SOLO, vibrato_cents=9.0, scoops=0.15),
    _make("violin", "vio", 40, 55, 95, "cla 5 pop_roc 1 jaz_blu .8 lat_sou .5 cou_fol .5",
          "melody 5 runs 2 duo 1 riff 1 arpeggio 1 / counter 4 riff 2 pad 1 melody 1",
          **_BOWED),
    _make("fiddle", "vio", 110, 55, 86, "cou_fol 3 lat_sou .4 pop_roc .4 jaz_blu .4",
          "melody 3 runs 4 riff 1 / counter 2 riff 2 melody 1", vibrato_cents=9.0, scoops=0.25),
    _make("tremolo violins", "vio", 44, 55, 86, "cla .7 pop_roc .3",
          "counter 2 melody 2 duo 1 / pad 2 counter 2"),
    _make("violin pizzicato", "vio", 45, 55, 74, "cla .5 pop_roc .1",
          "arpeggio 2 runs 2 / arpeggio 2", **_STRUCK),
    _make("choir", "voi", 52, 45, 78, "cla 2.5 pop_roc .8 lat_sou .4 cou_fol .5 jaz_blu .2",
          "chorale 3 melody 2 duo 2 pad 1 / pad 3 counter 2"),
    _make("voice ooh", "voi", 53, 45, 79, "pop_roc 1.5 jaz_blu 1 lat_sou 1 cou_fol 1.5 cla .3",
          "melody 6 duo 1 / counter 2 pad 2", **_VOICE),
    _make("synth voice", "voi", 54, 45, 79, "pop_roc 1 jaz_blu .4 lat_sou .5 cou_fol .4",
          "melody 4 duo 1 chorale 1 / pad 2 counter 2", vibrato_cents=15.0, scoops=0.2),
    _make("solo voice", "voi", 85, 47, 81, "pop_roc 1.8 jaz_blu 1.2 lat_sou 1.2 cou_fol 1.2 cla 1",
          "melody 6 duo 1 / counter 2 melody 1", **_VOICE),
    # The rhythm section.
    _bass("double bass pizzicato", 32, "jaz_blu 5 cou_fol 2 lat_sou 2 cla .1"),
    _bass("fingered bass", 33, "pop_roc 4 lat_sou 2 cou_fol 2 jaz_blu 1"),
    _bass("picked bass", 34, "pop_roc 3 cou_fol 1"),
    _bass("fretless bass", 35, "jaz_blu 1 lat_sou 1 pop_roc .7"),
    _bass("synth bass", 38, "pop_roc 1"),
    _kit("standard kit", 0, "pop_roc 3 cou_fol 2 lat_sou 2 jaz_blu 1"),
    _kit("room kit", 8, "pop_roc 2 cou_fol 1 lat_sou 1"),
    _kit("power kit", 16, "pop_roc 2"),
    _kit("jazz kit", 32, "jaz_blu 3"),
    _kit("brush kit", 40, "jaz_blu 2 cou_fol 1 lat_sou .5"),
    # Other accompanying instruments.
    _make("electric piano", "electric piano", 4, 40, 84, "pop_roc 2 jaz_blu 2 lat_sou 1",
          "two_hands 6 comp 1 arpeggio 1 melody 1 / comp 2 pad 1 arpeggio 1", **_STRUCK),
    _make("vibraphone", "vibraphone", 11, 53, 84, "jaz_blu 2 lat_sou .5 pop_roc .3",
          "melody 2 arpeggio 1 / comp 1 arpeggio 2", **_STRUCK),
    _make("marimba", "marimba", 12, 48, 84, "lat_sou 1.5 pop_roc .2",
          "runs 2 arpeggio 1 / arpeggio 2", **_STRUCK),
    _make("bandoneon", "accordion", 23, 53, 76, "cou_fol 2 lat_sou 1.5 pop_roc .2",
          "melody 2 two_hands 1 / pad 1 comp 2"),
    _make("harp", "harp", 46, 36, 88, "cla 2 cou_fol .4 pop_roc .2",
          "arpeggio 3 / arpeggio 3", **_STRUCK),
    _make("banjo", "banjo", 105, 50, 79, "cou_fol 1.5",
          "runs 2 arpeggio 2 / arpeggio 3", **_STRUCK),
    # The rest of the orchestra.
    _make("viola", "viola", 41, 48, 79, "cla 1", _SOLO, **_BOWED),
    _make("double bass", "double bass", 43, 28, 55, "cla 1",
          "counter 1 / counter 1 bass 1", **_BOWED),
    _make("trombone", "trombone", 57, 40, 70, "jaz_blu 1.5 lat_sou 1 cla 1 pop_roc .3",
          _SOLO, **_WIND),
    _make("tuba", "tuba", 58, 29, 55, "cla .6", "counter 1 / counter 1 bass 1", **_WIND),
    _make("french horn", "french horn", 60, 41, 74, "cla 2 pop_roc .2",
          "melody 5 runs 2 duo 1 riff 1 / counter 3 pad 1", **_WIND),
    _make("oboe", "oboe", 68, 58, 88, "cla 2 pop_roc .1", _SOLO, **_WIND),
    _make("bassoon", "bassoon", 70, 36, 69, "cla 2", _SOLO, **_WIND),
)  # fmt: skip

#: Additional instruments for `gm_musdb` and `gm_wild`. They are not in `CATALOGUE`, so that the
#: other datasets, which draw only from it, do not change.
BAND = (
    _bass("slap bass", 36, "pop_roc 1"),
    _bass("square synth bass", 39, "pop_roc 1"),
    _kit("electronic kit", 24, "pop_roc 1.5"),
    _kit("808 kit", 25, "pop_roc 1"),
    _make("chorus piano", "keys", 5, 40, 84, "pop_roc 1.5",
          "two_hands 6 comp 1 arpeggio 1 melody 1 / comp 3 arpeggio 1", **_STRUCK),
    _make("clavinet", "keys", 7, 40, 79, "pop_roc 1", "riff 1 / riff 3 comp 1", **_STRUCK),
    _make("strings", "strings", 48, 43, 88, "pop_roc 3", "melody 1 / pad 4 counter 2"),
    _make("slow strings", "strings", 49, 43, 84, "pop_roc 1", "counter 1 / pad 3 counter 1"),
    _make("synth strings", "strings", 50, 43, 88, "pop_roc 1.5", "melody 1 / pad 4 counter 1"),
    _make("brass section", "brass", 61, 46, 79, "pop_roc 2", "riff 1 / riff 3 comp 2 pad 1"),
    _make("synth brass", "brass", 62, 46, 82, "pop_roc 1.5", "riff 1 / riff 2 comp 2 pad 2"),
    _make("square lead", "synth", 80, 55, 88, "pop_roc 1",
          "melody 1 / riff 2 arpeggio 2", vibrato_cents=12.0, swells=False),
    _make("sawtooth lead", "synth", 81, 55, 88, "pop_roc 1.5",
          "melody 1 / riff 2 arpeggio 2 runs 1", vibrato_cents=12.0, swells=False),
    _make("warm pad", "pad", 89, 43, 79, "pop_roc 2", "pad 1 / pad 1"),
    _make("poly synth", "pad", 90, 43, 84, "pop_roc 1.5", "comp 1 / pad 2 comp 2"),
    _make("halo pad", "pad", 94, 43, 79, "pop_roc 1", "pad 1 / pad 1"),
    _make("sweep pad", "pad", 95, 43, 79, "pop_roc 1", "pad 1 / pad 1"),
)  # fmt: skip


def _percussion(name: str, program: int, low: int, high: int) -> Instrument:
    return _make(name, "percussion", program, low, high, "", "melody 1 runs 1 / riff 1", **_STRUCK)


#: Additional instruments for `gm_wild`, none of which belongs to an IRMAS class.
OTHERS = (
    _percussion("celesta", 8, 60, 96),
    _percussion("glockenspiel", 9, 72, 103),
    _percussion("music box", 10, 60, 96),
    _percussion("xylophone", 13, 65, 96),
    _percussion("tubular bells", 14, 60, 77),
    _percussion("dulcimer", 15, 50, 84),
    _percussion("timpani", 47, 36, 57),
    _percussion("tinkle bell", 112, 60, 90),
    _percussion("agogo", 113, 55, 80),
    _percussion("steel drums", 114, 52, 79),
    _percussion("woodblock", 115, 50, 84),
    _percussion("taiko drum", 116, 30, 70),
    _percussion("melodic tom", 117, 35, 75),
    _percussion("synth drum", 118, 35, 75),
    _percussion("reverse cymbal", 119, 40, 75),
    _make("harmonica", "harmonica", 22, 60, 84, "cou_fol 1", _SOLO, **_WIND),
    _make("sitar", "plucked", 104, 48, 77, "lat_sou 1", "melody 1 runs 1 / riff 1", **_STRUCK),
    _make("koto", "plucked", 107, 48, 84, "lat_sou 1", "melody 1 runs 1 / riff 1", **_STRUCK),
    _make("kalimba", "plucked", 108, 55, 84, "lat_sou 1", "melody 1 runs 1 / riff 1", **_STRUCK),
    _make("bag pipe", "reeds", 109, 55, 77, "cou_fol 1", _SOLO),
    _make("english horn", "reeds", 69, 52, 81, "cla 1", _SOLO, **_WIND),
)


def of_kind(kind: str) -> tuple[Instrument, ...]:
    """Return all instruments of a kind.

    Raises:
        ValueError: if the catalogue contains none.
    """
    instruments = tuple(instrument for instrument in CATALOGUE if instrument.kind == kind)
    if not instruments:
        raise ValueError(f"unknown kind of instrument {kind!r}")
    return instruments


def genre_weight(kind: str, genre: str) -> float:
    """Return an instrument kind's weight in a genre, summed over its instruments."""
    return sum(instrument.genres.get(genre, 0.0) for instrument in of_kind(kind))
