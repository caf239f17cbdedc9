"""MedleyDB and Mixing Secrets pieces, in the folder layouts of the downloads.

MedleyDB (Bittner et al. 2014): a folder for each piece, anywhere below the path, with
``<piece>_METADATA.yaml``, ``<piece>_MIX.wav``, a folder of stems (one file per instrument) and a
folder of raw tracks (one file per microphone). The metadata give the instrument in each file and
state whether the tracks bleed into one another (``has_bleed``).

'Mixing Secrets' Free Multitrack Download Library (Cambridge Music Technology): a folder for each
piece with numbered tracks such as ``01_Kick.wav`` and ``12_ElecGtr2.wav``, and no mix. The
instrument is read from the file name.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from data_builders.common.archives import File, file_at, files_in_folder, printable_name, subfolders
from data_builders.common.multitrack import sort_tracks
from data_builders.multitrack.files import PieceFiles, find_class
from irec_jax.audio import SUFFIXES
from irec_jax.errors import UserError

#: Class for instruments that are not among the given classes.
OTHER = "other"
#: Room microphones, which are left out. They pick up all instruments rather than a single one.
ROOM = ("main_system", "room")
_METADATA = "_METADATA.yaml"
_NUMBERED = re.compile(r"(\d+)[\W_]")
_NOT_TRACKS = re.compile(r"preview|unmastered|full ?mix|rough ?mix", re.I)
_LETTERS = re.compile(r"[^\W\d_]+")
#: Words that describe a microphone or its position rather than an instrument.
_POSITIONS = frozenset(
    "di mic amp in out up down top bottom under close far left right l r dt mono stereo".split()
)
#: Instrument -> keywords in file names, in lower case and singular. The first match counts.
_KEYWORDS = {
    "fx_processed_sound": "sfx, fx, effect",
    "kick_drum": "kick, kik, bd",
    "snare_drum": "snare, snr, sn, sidestick, side stick, rimshot, rim shot",
    "high_hat": "hi hat, hihat, high hat, hat, hh",
    "toms": "tom",
    "bass_drum": "bass drum",
    "cymbal": "cymbal, ride, crash, splash, china",
    "drum_machine": "drum machine, drum loop, beat, loop",
    "drum_set": "overhead, oh, ohl, ohr, drum, drumkit, kit",
    "timpani": "timpani, timp",
    "tambourine": "tambourine, tamb",
    "shaker": "shaker",
    "claps": "clap, snap",
    "conga": "conga",
    "bongo": "bongo",
    "cowbell": "cowbell, cow bell",
    "triangle": "triangle",
    "gong": "gong",
    "maracas": "maraca",
    "guiro": "guiro",
    "glockenspiel": "glockenspiel, glock",
    "xylophone": "xylophone",
    "vibraphone": "vibraphone, vibe",
    "marimba": "marimba",
    "chimes": "chime, bell",
    "auxiliary_percussion": "percussion, perc, djembe, cajon, cabasa, woodblock, wood block, "
    "steel drum",
    "synth_bass": "synth bass, bass synth, sub bass",
    "synthesizer": "synth, synthesizer, pad, arp, moog",
    "double_bass": "double bass, upright bass, contrabass, string bass, ac bass, acoustic bass",
    "bassoon": "bassoon",
    "bass_clarinet": "bass clarinet, bass clar",
    "bass_saxophone": "bass sax",
    "electric_bass": "bass",
    "lap_steel_guitar": "lap steel, pedal steel, steel gtr, slide gtr, slide guitar",
    "acoustic_guitar": "ac gtr, ac guitar, acoustic gtr, acoustic guitar, nylon",
    "electric_guitar": "elec gtr, elec guitar, electric gtr, electric guitar, e gtr, e guitar",
    "guitar": "gtr, guitar",
    "banjo": "banjo",
    "mandolin": "mandolin",
    "ukulele": "ukulele, uke",
    "harp": "harp",
    "electric_piano": "elec piano, el piano, electric piano, e piano, epiano, rhodes, wurli, "
    "wurlitzer",
    "piano": "piano, pno",
    "clavinet": "clavinet, clav",
    "electronic_organ": "organ, hammond",
    "accordion": "accordion",
    "harmonica": "harmonica",
    "keyboard": "keyboard, key",
    "violin": "violin, vln, fiddle",
    "viola": "viola, vla",
    "cello": "cello, violoncello, vc",
    "string_section": "string",
    "piccolo": "piccolo",
    "flute": "flute",
    "alto_saxophone": "alto sax, alto saxophone",
    "tenor_saxophone": "tenor sax, tenor saxophone",
    "soprano_saxophone": "soprano sax, soprano saxophone",
    "baritone_saxophone": "bari sax, baritone sax, baritone saxophone",
    "saxophone": "sax, saxophone",
    "clarinet": "clarinet",
    "oboe": "oboe",
    "english_horn": "english horn, cor anglais",
    "french_horn": "french horn",
    "trumpet": "trumpet, tpt",
    "trombone": "trombone, tbn, bass trombone, bass tbn",
    "tuba": "tuba",
    "horn_section": "horn",
    "brass_section": "brass",
    "choir": "choir",
    "vocals": "beat box, vox beat box, vox, vocal, voice, singer, rap, bv, bgv",
    "room": "room, ambience, ambient, audience",
}  # fmt: skip


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word


#: Keyword -> instrument. Keywords with more words come first, so that 'bass tbn' is not a bass.
_INSTRUMENTS = {
    " ".join(map(_singular, keyword.split())): name
    for num_words in (3, 2, 1)
    for name, keywords in _KEYWORDS.items()
    for keyword in keywords.split(", ")
    if len(keyword.split()) == num_words
}


def read_instrument(stem: str) -> str:
    """Return the instrument of a Mixing Secrets track, given its file name without the suffix.

    Numbers and words that describe microphones are ignored: `02_SnareUp` becomes snare_drum. If the
    name contains no known instrument, its words are returned: `08_Paliteo` becomes paliteo.
    """
    words = [word.lower() for letters in _LETTERS.findall(stem) for word in _words(letters)]
    text = f" {' '.join(map(_singular, words))} "
    for keyword, name in _INSTRUMENTS.items():
        if f" {keyword} " in text:
            return name
    return "_".join(word for word in words if word not in _POSITIONS) or OTHER


def _words(letters: str) -> list[str]:
    """Split `ElecGtrDI` into Elec, Gtr and DI, and `EPiano` into E and Piano, but not `BVs`."""
    starts = [0]
    for i in range(1, len(letters)):
        ends_capitals = letters[i - 1].isupper() and letters[i + 1 : i + 2].islower()
        ends_capitals &= letters[i + 1 :] != "s"
        if letters[i].isupper() and (letters[i - 1].islower() or ends_capitals):
            starts.append(i)
    return [letters[start:stop] for start, stop in zip(starts, [*starts[1:], None], strict=True)]


def missing_numbers(piece: PieceFiles) -> list[int]:
    """Return the numbers that are missing among a piece's numbered files."""
    matches = (_NUMBERED.match(Path(file.name).name) for file in piece.files.values())
    numbers = {int(match[1]) for match in matches if match}
    return sorted(set(range(min(numbers, default=1), max(numbers, default=0))) - numbers)


def read_mixing_secrets(root: str, classes: Sequence[str] | None) -> list[PieceFiles]:
    """Return the pieces in a folder of unpacked Mixing Secrets downloads.

    Tracks may be in subfolders of a piece's folder. They start together but may end at different
    times. Mix previews and room microphones are left out.

    Raises:
        UserError: if there are no pieces, or a piece has no tracks.
    """
    folders = subfolders(root)
    if not folders:
        raise UserError(f"{root}: no piece folders; expected <piece>/01_<instrument>.wav")
    pieces = []
    for folder in folders:
        path = os.path.join(root, folder)
        files = [
            file
            for file in files_in_folder(path)
            if Path(file.name).suffix.lower() in SUFFIXES
            and not _NOT_TRACKS.search(Path(file.name).stem)
        ]
        tracks = [(read_instrument(Path(file.name).stem), file) for file in files]
        pieces.append(_make_piece(printable_name(folder), path, tracks, classes, ragged=True))
    return pieces


def read_medleydb(root: str, classes: Sequence[str] | None, *, raw: bool) -> list[PieceFiles]:
    """Return the MedleyDB pieces below a folder, with either their stems or their raw tracks.

    Pieces without bleed have dry tracks. The main microphones of ensembles ("Main System") are left
    out.

    Raises:
        UserError: if there are no metadata files, they cannot be read, or files that they list
            are missing.
    """
    found = [file for file in files_in_folder(root) if file.name.endswith(_METADATA)]
    if not found:
        raise UserError(
            f"{root}: no *{_METADATA} in this folder or its subfolders; set path to the MedleyDB "
            "folder, where each piece has one"
        )
    return [_read_medleydb_piece(file, classes, raw=raw) for file in found]


def _read_medleydb_piece(metadata: File, classes: Sequence[str] | None, *, raw: bool) -> PieceFiles:
    name = Path(metadata.name).name.removesuffix(_METADATA)
    folder = os.path.dirname(metadata.disk_path)
    try:
        content: Mapping[str, Any] = yaml.safe_load(metadata.read())
        stems = content["stems"].values()
        if raw:
            stems = [track for stem in stems for track in stem["raw"].values()]
        entries = [(str(stem["filename"]), _join(stem["instrument"])) for stem in stems]
        subfolder = str(content["raw_dir" if raw else "stem_dir"])
        mix, bleed = str(content["mix_filename"]), content.get("has_bleed")
    # PyYAML raises ValueError for impossible dates.
    except (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split("\n")[:1])
        raise UserError(
            f"{metadata.origin}: not valid MedleyDB metadata "
            f"({type(error).__name__}: {reason}); download the file again"
        ) from error

    def at(*parts: str) -> File:
        return file_at(os.path.join(folder, *parts), os.path.join(*parts))

    absent = [f for f, _ in entries if not os.path.isfile(os.path.join(folder, subfolder, f))]
    if absent:
        more = f" (and {len(absent) - 1} more)" if absent[1:] else ""
        raise UserError(
            f"{printable_name(os.path.join(folder, subfolder, absent[0]))}: missing{more}, but "
            f"listed in {name}{_METADATA}; download the piece again or remove its folder"
        )
    return _make_piece(
        printable_name(name),
        folder,
        [(label, at(subfolder, file)) for file, label in entries],
        classes,
        mix=at(mix) if os.path.isfile(os.path.join(folder, mix)) else None,
        dry=bleed in ("no", False),
    )


def _join(instruments: str | Sequence[str]) -> str:
    """Return the class of a track that contains one or several instruments."""
    names = [instruments] if isinstance(instruments, str) else list(instruments)
    return "_and_".join(re.sub(r"[\W_]+", "_", name.lower()).strip("_") for name in names) or OTHER


def _make_piece(
    name: str,
    folder: str,
    tracks: Iterable[tuple[str, File]],
    classes: Sequence[str] | None,
    **options: Any,
) -> PieceFiles:
    """Create a piece and number its tracks; instruments outside the classes become `OTHER`."""
    by_class: dict[str, list[File]] = {}
    for instrument, file in tracks:
        if instrument not in ROOM:
            label = instrument if classes is None else find_class(instrument, classes) or OTHER
            by_class.setdefault(label, []).append(file)
    if not by_class:
        raise UserError(f"{printable_name(folder)}: no instrument tracks; remove the folder")
    labels, files = {}, {}
    for label, members in by_class.items():
        for number, file in enumerate(members, 1):
            track = f"{label}-{number}" if members[1:] else label
            labels[track], files[track] = label, file
    ordered = sort_tracks(labels.items(), [*(classes or sorted(by_class)), OTHER])
    return PieceFiles(name, ordered, {track: files[track] for track in ordered}, **options)


#: Layout -> function that reads the pieces in a folder, given the classes (None for all).
READERS: dict[str, Callable[[str, Sequence[str] | None], list[PieceFiles]]] = {
    "medleydb": lambda root, classes: read_medleydb(root, classes, raw=False),
    "medleydb_raw": lambda root, classes: read_medleydb(root, classes, raw=True),
    "mixing_secrets": read_mixing_secrets,
}
