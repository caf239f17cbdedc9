"""Which files are the tracks of which piece, by their names."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data_builders.common.archives import File, file_at, readable
from data_builders.common.multitrack import ordered
from irec_jax import registry
from irec_jax.audio import SUFFIXES
from irec_jax.errors import UserError
from irec_jax.labels import ORCHESTRA

SPLITS = ("train", "test")
#: What some call instruments of `labels.ORCHESTRA`.
ALIASES = {
    "cello": "violoncello",
    "bass": "double_bass",
    "contrabass": "double_bass",
    "string_bass": "double_bass",
    "cor": "french_horn",
    "horn": "french_horn",
    "grand_piano": "piano",
}
_MIXES = ("mix", "mixture")
_NUMBERED = re.compile(r"^(.*?)(?:[\W_]*(\d+)|[\W_]+(i{1,3}|iv))?$", re.DOTALL)
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4"}
_TEST_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class PieceFiles:
    """A piece before it is decoded: ``files`` and ``tracks``, the class, by unique track name."""

    name: str
    tracks: Mapping[str, str]
    files: Mapping[str, File]
    mix: File | None = None


def parse_classes(classes: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Class names from a sequence or a text with commas; None, for all that are found, from `all`.

    Without any they are `labels.ORCHESTRA`.
    """
    if classes is None:
        return ORCHESTRA
    if isinstance(classes, str):
        classes = [name.strip() for name in classes.split(",") if name.strip()]
    classes = tuple(dict.fromkeys(classes))
    if not classes:
        raise UserError("classes: none named; separate them by commas, or leave the option out")
    return None if classes == ("all",) else classes


def read_name(stem: str, classes: Sequence[str] | None) -> tuple[str, str] | None:
    """Track name and class from the name of a file, without its suffix.

    Case, spaces, hyphens and underscores do not count, nor do a plural and a number in front; one
    behind, Arabic or Roman, tells players apart. `03 Violins II` is (violin-2, violin).

    Args:
        stem: e.g. ``French Horn 2``.
        classes: known class names; None takes any name as a class, spelled with underscores.

    Returns:
        None for an unknown instrument.
    """
    text, number, roman = _NUMBERED.match(stem.strip().lower()).groups()
    number = number or _ROMAN.get(roman)
    letters = _letters(text)
    if classes is None:
        label = re.sub(r"[\W_]+", "_", re.sub(r"^\d+[\W_]+", "", text)).strip("_")
        if not label:  # such as 808.wav
            label, number = number, None
    else:
        known = {_letters(alias): name for alias, name in ALIASES.items() if name in classes}
        known |= {_letters(name): name for name in classes}
        label = known.get(letters) or known.get(letters.removesuffix("s"))
    if not label:
        return None
    return (f"{label}-{int(number)}" if number else label), label


def _letters(name: str) -> str:
    return re.sub(r"[\W\d_]+", "", name.lower())


def make_piece(name: str, files: Iterable[File], classes: Sequence[str] | None) -> PieceFiles:
    """A piece from the files of its folder; what is not audio is left out.

    Raises:
        UserError: no tracks, an unknown instrument, two files of one name.
    """
    found: dict[str, tuple[str, File]] = {}
    mix = None
    where = name
    for file in files:
        path = Path(file.name)
        where = os.path.dirname(file.origin)
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem.strip().lower() in _MIXES:
            if mix is not None:
                raise UserError(f"{where}: {path.name} and {Path(mix.name).name}; keep one mix")
            mix = file
            continue
        track = read_name(path.stem, classes)
        if track is None:
            unknown = registry.unknown("instrument", path.stem, classes or ())
            raise UserError(
                f"{file.origin}: {unknown}; name the file <instrument>[-N]{path.suffix} or set the "
                "option classes"
            )
        if track[0] in found:
            other = Path(found[track[0]][1].name).name
            raise UserError(
                f"{where}: {path.name} and {other} are both {track[0]}; number them, as in "
                f"{track[1]}-2{path.suffix}"
            )
        found[track[0]] = (track[1], file)
    if not found:
        raise UserError(f"{where}: no tracks; expected <instrument>[-N].wav")
    labels = sorted({label for label, _ in found.values()}) if classes is None else classes
    tracks = ordered([(track, label) for track, (label, _) in found.items()], labels)
    return PieceFiles(name, tracks, {track: found[track][1] for track in tracks}, mix)


def scan(
    path: str, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, list[PieceFiles]]]:
    """The classes and, for each split, the pieces of a folder.

    Args:
        path: of ``<piece>/*`` or ``train/<piece>/*`` and ``test/<piece>/*``.
        classes: class names; None takes all that are found, sorted.

    Raises:
        UserError: nothing there, or as `make_piece`.
    """
    if not os.path.isdir(path):
        raise UserError(f"{path}: no such folder; name one of <piece>/<instrument>[-N].wav")
    folders = _folders(path)
    if set(SPLITS) & set(folders):
        for name in set(folders) - set(SPLITS):
            raise UserError(
                f"{os.path.join(path, name)}: beside train or test; expected only these two or "
                "only folders of pieces"
            )
        splits = {
            split: _pieces(os.path.join(path, split), classes)
            for split in SPLITS
            if split in folders
        }
        names = [{piece.name for piece in pieces} for pieces in splits.values()]
        for name in sorted(set.intersection(*names) if len(names) == 2 else ()):
            raise UserError(f"{path}: piece {name!r} stands in train and in test; remove one")
    else:
        splits = split_pieces(_pieces(path, classes))
    if classes is None:
        every = (piece for pieces in splits.values() for piece in pieces)
        classes = sorted({label for piece in every for label in piece.tracks.values()})
    return tuple(classes), splits


def split_pieces(pieces: Sequence[PieceFiles]) -> dict[str, list[PieceFiles]]:
    """A fifth of the pieces, one at least, for testing, in an order that hangs on names alone.

    A single piece is there for testing only.
    """
    order = sorted(pieces, key=lambda piece: hashlib.sha256(piece.name.encode()).digest())
    test = {piece.name for piece in order[: max(1, round(_TEST_FRACTION * len(order)))]}
    splits = {
        "train": [piece for piece in pieces if piece.name not in test],
        "test": [piece for piece in pieces if piece.name in test],
    }
    return {split: chosen for split, chosen in splits.items() if chosen}


def _pieces(root: str, classes: Sequence[str] | None) -> list[PieceFiles]:
    folders = _folders(root)
    if not folders:
        raise UserError(f"{root}: holds no folders of pieces; expected <piece>/<instrument>.wav")
    pieces = []
    for folder in folders:
        where = os.path.join(root, folder)
        names = sorted(name for name in os.listdir(where) if not name.startswith("."))
        paths = {name: os.path.join(where, name) for name in names}
        files = [file_at(path, name) for name, path in paths.items() if os.path.isfile(path)]
        if not files:
            raise UserError(f"{where}: holds no files; expected <instrument>[-N].wav")
        pieces.append(make_piece(readable(folder), files, classes))
    return pieces


def _folders(root: str) -> list[str]:
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError as error:
        raise UserError(f"{root}: {error.strerror}; check the folder") from error
    return sorted(n for n in names if not n.startswith(".") and n != "__MACOSX")
