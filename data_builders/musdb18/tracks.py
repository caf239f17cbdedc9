"""MUSDB18 track names, and known errors in some tracks, read from tracks.csv.

The validation tracks are 14 of the 100 training tracks, held out by convention. The errors are
listed on the dataset's web page, https://sigsep.github.io/datasets/musdb.html.
"""

import csv
import re
from pathlib import Path


def _letters(name: str) -> str:
    """Return only a name's letters and digits, which no file system changes."""
    return re.sub(r"[\W_]+", "", name.casefold())


with open(Path(__file__).with_name("tracks.csv"), newline="", encoding="utf-8") as _file:
    _ROWS = {_letters(row["track"]): row for row in csv.DictReader(_file)}
#: Official split -> track names.
OFFICIAL = {
    split: tuple(row["track"] for row in _ROWS.values() if row["split"] == split)
    for split in ("train", "validation", "test")
}


def official_split(track: str) -> str | None:
    """Return a track's official split; None for a track that is not in MUSDB18."""
    return _ROWS.get(_letters(track), {}).get("split")


def errata(track: str) -> str:
    """Return the known errors in a track; empty if there are none."""
    return _ROWS.get(_letters(track), {}).get("errata", "")
