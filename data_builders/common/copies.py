"""Detection of byte-identical files by comparing sizes, then first bytes, then digests."""

import collections
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from data_builders.common.archives import File
from data_builders.common.decoding import Clip, in_threads
from irec_jax.errors import UserError

_HEAD_BYTES = 1 << 16
_T = TypeVar("_T")


def find_copies(
    clips: Iterable[Clip], concerns: Callable[[Sequence[Clip]], bool] = lambda group: True
) -> list[list[Clip]]:
    """Return the groups of byte-identical clips, in the given order.

    Args:
        clips: clips to compare; empty files do not count as copies of one another.
        concerns: predicate; groups for which it is False are dropped as early as possible.
    """
    groups = [[clip for clip in clips if clip.file.fingerprint[0]]]
    for key in (_fingerprint, _head, digest):
        groups = filter(concerns, split_groups(groups, lambda clip, key=key: key(clip.file)))
    return list(groups)


def find_contradictory(clips: Iterable[Clip]) -> frozenset[str]:
    """Return the ids of clips that are byte-identical to a clip with different labels."""
    groups = find_copies(clips, lambda group: len({frozenset(clip.labels) for clip in group}) > 1)
    return frozenset(clip.id for group in groups for clip in group)


def find_copied_folders(folders: Iterable[Sequence[File]]) -> list[list[Sequence[File]]]:
    """Return the groups of folders whose files have the same contents, ignoring file names."""
    groups = [list(folders)]
    for key in (_fingerprint, _head, digest):
        groups = split_groups(groups, lambda files, key=key: tuple(sorted(map(key, files))))
    return groups


def split_groups(groups: Iterable[Sequence[_T]], key: Callable[[_T], Any]) -> list[list[_T]]:
    """Split each group by a key that is computed in threads; drop single-item groups."""
    parts = []
    for group in groups:
        by_key = collections.defaultdict(list)
        for item, value in zip(group, in_threads(key, group), strict=True):
            by_key[value].append(item)
        parts += [part for part in by_key.values() if part[1:]]
    return parts


def _fingerprint(file: File) -> tuple[int, ...]:
    return file.fingerprint


def _head(file: File) -> bytes:
    if file.path is None:
        return b""  # not needed in a zip, where the fingerprint contains a checksum
    try:
        with open(file.path, "rb") as opened:
            return hashlib.blake2b(opened.read(_HEAD_BYTES)).digest()
    except OSError:  # reported when the file is decoded
        return file.origin.encode()


def digest(file: File) -> bytes:
    """Return a digest of a file's content; raise UserError if it cannot be read."""
    if file.path is None:
        return hashlib.blake2b(file.read()).digest()
    try:
        with open(file.path, "rb") as opened:  # in blocks, since files may be large
            return hashlib.file_digest(opened, "blake2b").digest()
    except OSError as error:
        raise UserError(f"{file.origin}: {error.strerror}; check the file") from error
