"""Which files are separated, and where to."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from irec_jax import audio
from irec_jax.errors import UserError


def find(paths: Iterable[str | os.PathLike], out: Path) -> list[Path]:
    """The audio files among files and folders, each once; see `audio.find`.

    What lies in `out`, within a folder that is searched, was written by an earlier run and is left
    aside; a file that is named itself never is.

    Raises:
        UserError: no such file or folder, a folder without audio files, or one that is `out`.
    """
    real_out = Path(os.path.realpath(out))
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        files = audio.find(path)
        if path.is_dir():
            folder = Path(os.path.realpath(path))
            if folder == real_out:
                raise UserError(
                    f"{out}: is the folder that is searched for music; name another one for --out"
                )
            if folder in real_out.parents:
                files = [f for f in files if real_out not in Path(os.path.realpath(f)).parents]
                if not files:
                    raise UserError(f"{path}: holds no audio files but those in {out}")
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def folder_names(files: Sequence[Path]) -> list[str]:
    """A name for the folder of each file's stems: the file's without suffix, or `.stem.mp4`.

    Of several files with one name each gets a number. Upper and lower case count as the same, as
    on some disks.
    """
    stems = [file.name.removesuffix(".stem.mp4").removesuffix(file.suffix) for file in files]
    stems = [stem if stem.strip(".") else "untitled" for stem in stems]
    keys = [stem.casefold() for stem in stems]
    taken = {key for key in keys if keys.count(key) == 1}
    names = []
    for stem, key in zip(stems, keys, strict=True):
        name, number = stem, 0
        while number == 0 and key not in taken or number and name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        if number:
            taken.add(name.casefold())
        names.append(name)
    return names
