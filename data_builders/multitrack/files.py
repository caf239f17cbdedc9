"""Assignment of audio files to pieces and instruments by file name."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from data_builders.common.archives import (
    File,
    check_no_pattern,
    file_at,
    printable_name,
    subfolders,
)
from data_builders.common.copies import find_copied_folders
from data_builders.common.multitrack import sort_tracks
from data_builders.common.splits import SPLITS, split_folders
from irec_jax import registry
from irec_jax.audio import SUFFIXES
from irec_jax.audio.multitrack import is_mix
from irec_jax.errors import UserError
from irec_jax.labels import ORCHESTRA

#: Other instrument names -> classes in `labels.ORCHESTRA`.
ALIASES = {
    "cello": "violoncello",
    "bass": "double_bass",
    "contrabass": "double_bass",
    "string_bass": "double_bass",
    "cor": "french_horn",
    "horn": "french_horn",
    "grand_piano": "piano",
}
_NUMBERED = re.compile(r"^(.*?)(?:[\W_]*(\d+)|[\W_]+(i{1,3}|iv))?$", re.DOTALL)
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4"}
_TEST_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class PieceFiles:
    """Files that belong to a piece.

    ``tracks`` maps the unique name of each track to its class, and ``files`` maps it to its file.
    The tracks of a ``dry`` piece do not bleed into one another; those of a ``ragged`` piece may end
    at different times.
    """

    name: str
    tracks: Mapping[str, str]
    files: Mapping[str, File]
    mix: File | None = None
    dry: bool = False
    ragged: bool = False


def parse_classes(classes: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the class names that the `classes` option selects; None for `all`.

    See `builder.make_config`.

    Raises:
        UserError: if the list is empty.
    """
    if classes is None:
        return ORCHESTRA
    if isinstance(classes, str):
        classes = [name.strip() for name in classes.split(",") if name.strip()]
    classes = tuple(dict.fromkeys(classes))
    if not classes:
        raise UserError("classes: empty list; separate names with commas, or leave the option out")
    return None if classes == ("all",) else classes


def read_name(stem: str, classes: Sequence[str] | None) -> tuple[str, str] | None:
    """Return the track name and the class that a file name stands for.

    Case, spaces, hyphens, underscores, a plural 's' and a leading number are ignored. A trailing
    number, Arabic or Roman, distinguishes players: `03 Violins II` becomes (violin-2, violin).

    Args:
        stem: file name without its suffix, such as ``French Horn 2``.
        classes: known class names; None accepts any name as a class, with underscores for spaces.

    Returns:
        Track name and class; None for an unknown instrument.
    """
    match = _NUMBERED.match(stem.strip().lower())
    assert match is not None  # any text matches
    text, number, roman = match.groups()
    number = number or _ROMAN.get(roman)
    letters = _letters(text)
    if classes is None:
        label = re.sub(r"[\W_]+", "_", re.sub(r"^\d+[\W_]+", "", text)).strip("_")
        if not label:  # such as 808.wav
            label, number = number, None
    else:
        label = find_class(letters, classes)
    if not label:
        return None
    return (f"{label}-{int(number)}" if number else label), label


def find_class(name: str, classes: Sequence[str]) -> str | None:
    """Return the class that a name refers to, ignoring spelling variants and plurals, or None."""
    known = {_letters(alias): label for alias, label in ALIASES.items() if label in classes}
    known |= {_letters(label): label for label in classes}
    letters = _letters(name)
    return known.get(letters) or known.get(letters.removesuffix("s"))


def _letters(name: str) -> str:
    return re.sub(r"[\W\d_]+", "", name.lower())


def make_piece(name: str, files: Iterable[File], classes: Sequence[str] | None) -> PieceFiles:
    """Create a piece from the files in its folder, ignoring files that are not audio.

    Raises:
        UserError: if there are no tracks, an instrument is unknown, or two files have the same
            track name.
    """
    labels: dict[str, str] = {}  # track -> class
    track_files: dict[str, File] = {}
    mix = None
    folder = name
    for file in files:
        path = Path(file.name)
        folder = os.path.dirname(file.origin)
        if path.suffix.lower() not in SUFFIXES:
            continue
        if is_mix(path.stem):
            if mix is not None:
                other = Path(mix.name).name
                raise UserError(f"{folder}: {path.name} and {other} are both mixes; remove one")
            mix = file
            continue
        track_and_class = read_name(path.stem, classes)
        if track_and_class is None:
            unknown = registry.unknown("instrument", path.stem, classes or ())
            raise UserError(
                f"{file.origin}: {unknown}; name the file <instrument>[-N]{path.suffix} or set the "
                "classes option"
            )
        track, label = track_and_class
        if track in labels:
            other = Path(track_files[track].name).name
            raise UserError(
                f"{folder}: {path.name} and {other} are both {track}; number them, as in "
                f"{label}-2{path.suffix}"
            )
        labels[track], track_files[track] = label, file
    if not labels:
        raise UserError(f"{folder}: no tracks; expected <instrument>[-N].wav")
    tracks = sort_tracks(labels.items(), classes or sorted(set(labels.values())))
    return PieceFiles(name, tracks, {track: track_files[track] for track in tracks}, mix)


def scan(
    path: str,
    classes: Sequence[str] | None,
    read_pieces: Callable[[str, Sequence[str] | None], list[PieceFiles]] | None = None,
) -> tuple[tuple[str, ...], dict[str, list[PieceFiles]]]:
    """Return the classes in a folder and the pieces in each split.

    Args:
        path: folder of ``<piece>/*``, or of ``train/<piece>/*`` and ``test/<piece>/*``.
        classes: class names; None for every instrument in the folder, sorted.
        read_pieces: function that reads the pieces in a folder, one of `layouts.READERS`; None for
            ``<piece>/<instrument>[-N].wav``.

    Returns:
        The given classes, followed by any others that occur in the pieces; and split -> pieces.

    Raises:
        UserError: if the folder does not exist, there are no pieces, or a piece occurs twice, or as
            for `make_piece`.
    """
    read_pieces = read_pieces or _pieces
    check_no_pattern(path, "the folder that contains the pieces")
    if not os.path.isdir(path):
        raise UserError(
            f"{path}: no such folder; set path to a folder of <piece>/<instrument>[-N].wav"
        )
    folders = split_folders(path)
    if folders:
        splits = {
            split: read_pieces(os.path.join(path, folders[split]), classes)
            for split in SPLITS
            if split in folders
        }
        trained_on = {piece.name.casefold() for piece in splits.get("train", ())}
        for piece in splits.get("test", ()):
            if piece.name.casefold() in trained_on:
                raise UserError(
                    f"{path}: piece {piece.name!r} is in both train and test; remove one"
                )
    else:
        splits = {"": read_pieces(path, classes)}
    _check_copies([piece for pieces in splits.values() for piece in pieces])
    if not folders:
        splits = split_pieces(splits[""])
    pieces = (piece for split in splits.values() for piece in split)
    labels = {label for piece in pieces for label in piece.tracks.values()}
    given = classes or ()
    return (*given, *sorted(labels - set(given))), splits


def _check_copies(pieces: Sequence[PieceFiles]) -> None:
    """Raise UserError if two pieces have the same name, share a file, or have identical tracks."""
    names: set[str] = set()
    owners: dict[tuple[int, int], PieceFiles] = {}
    for piece in pieces:
        if piece.name in names:
            raise UserError(
                f"{_folder(piece)}: the name of another piece differs only in its Unicode form; "
                "rename one"
            )
        names.add(piece.name)
        for file in piece.files.values():
            owner = owners.setdefault(file.identity, piece)
            if owner is not piece:
                raise UserError(
                    f"{file.origin}: is the same file as a track of {_folder(owner)}; remove one "
                    "of the pieces"
                )
    for group in find_copied_folders([list(piece.files.values()) for piece in pieces]):
        first, second = (os.path.dirname(files[0].origin) for files in group[:2])
        raise UserError(f"{second}: has the same tracks as {first}; remove one")


def _folder(piece: PieceFiles) -> str:
    return os.path.dirname(next(iter(piece.files.values())).origin)


def split_pieces(pieces: Sequence[PieceFiles]) -> dict[str, list[PieceFiles]]:
    """Hold out a fifth of the pieces (at least one) for testing, based only on their names.

    If there is only one piece, it is used for testing, and there is no training split.
    """
    order = sorted(pieces, key=lambda piece: hashlib.sha256(piece.name.encode()).digest())
    test = {piece.name for piece in order[: max(1, round(_TEST_FRACTION * len(order)))]}
    splits = {
        "train": [piece for piece in pieces if piece.name not in test],
        "test": [piece for piece in pieces if piece.name in test],
    }
    return {split: chosen for split, chosen in splits.items() if chosen}


def _pieces(root: str, classes: Sequence[str] | None) -> list[PieceFiles]:
    folders = subfolders(root)
    if not folders:
        raise UserError(f"{root}: no piece folders; expected <piece>/<instrument>.wav")
    pieces = []
    for folder in folders:
        piece_folder = os.path.join(root, folder)
        names = sorted(name for name in os.listdir(piece_folder) if not name.startswith("."))
        paths = {name: os.path.join(piece_folder, name) for name in names}
        files = [file_at(path, name) for name, path in paths.items() if os.path.isfile(path)]
        if not files:
            raise UserError(f"{piece_folder}: no files; expected <instrument>[-N].wav")
        pieces.append(make_piece(printable_name(folder), files, classes))
    return pieces
