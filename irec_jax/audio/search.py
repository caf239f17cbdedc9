"""Search for audio files in folders."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from irec_jax.audio.reading import file_error

#: Suffixes of audio files, in lower case.
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".mp3", ".aif", ".aiff", ".au", ".w64", ".rf64", ".caf"),
    *(".m4a", ".mp4", ".aac", ".opus", ".wma", ".webm", ".mka", ".mkv", ".mov"),
)


def find(
    paths: Iterable[str | os.PathLike] | str | os.PathLike, *, suffixes: Sequence[str] = SUFFIXES
) -> list[Path]:
    """Return the audio files among files and folders.

    Args:
        paths: files, accepted with any suffix, and folders, searched recursively for files with
            one of the suffixes (in any case). Hidden files and ``__MACOSX`` are skipped.
        suffixes: in lower case, with the dot.

    Returns:
        Each file once, in the order of ``paths``; the files of a folder are sorted by path.

    Raises:
        UserError: a path does not exist, or a folder contains no audio files.
    """
    unique: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = Path(path)
        if not path.exists():
            raise file_error(path, "no such file or folder", "check the path")
        files = _walk(path, suffixes) if path.is_dir() else [path]
        if not files:
            known = " ".join(suffixes)
            raise file_error(path, "contains no audio files", f"expected files ending in {known}")
        unique.update(dict.fromkeys(files))
    return list(unique)


def _walk(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    files, visited = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a cycle of links
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [n for n in folders if not n.startswith((".", "__MACOSX"))]
        kept = [n for n in names if n.lower().endswith(tuple(suffixes)) and not n.startswith(".")]
        files += [Path(parent, name) for name in kept]
    return sorted(files)
