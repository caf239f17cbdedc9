"""Seeded damage to files: cuts, flipped, inserted, deleted and overwritten bytes."""

from collections.abc import Sequence

import numpy as np

#: Half of all positions are within this many bytes of the start, where headers are.
HEADER_BYTES = 128
#: Inserted into text.
TOKENS = (
    *(b"", b",", b'"', b"\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"{", b"]", b"..", b"/"),
    *(b"-1", b"0", b"1e999", b"NaN", b"null", b"true", b"[]", b"18446744073709551616", b"\xc3\xa9"),
)


def mutate(
    content: bytes, others: Sequence[bytes], rng: np.random.Generator, *, text: bool = False
) -> bytes:
    """Return the content with a fault, or with several of them.

    Args:
        content: the intact file.
        others: files of which parts, or the whole, are inserted.
        rng: source of all choices.
        text: insert `TOKENS`, too.
    """
    faults = [_cut, _flip, _insert, _delete, _overwrite, _repeat, _insert_part, _append]
    if text:
        faults += 4 * [_insert_token]
    for _ in range(rng.geometric(0.6)):
        fault = faults[rng.integers(len(faults))]
        content = fault(content, others, rng)
    return content


def _position(content: bytes, rng: np.random.Generator) -> int:
    end = len(content) if rng.random() < 0.5 else min(len(content), HEADER_BYTES)
    return int(rng.integers(end + 1))


def _span(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """Return the start and end of a part whose length is log-uniformly distributed."""
    start = _position(content, rng)
    return start, start + int(np.exp(rng.uniform(0, np.log(len(content) + 2))))


def _cut(content, others, rng):
    return content[: _position(content, rng)]


def _flip(content, others, rng):
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        if damaged:
            damaged[min(_position(content, rng), len(damaged) - 1)] ^= 1 << rng.integers(8)
    return bytes(damaged)


def _insert(content, others, rng):
    start, end = _span(content, rng)
    return content[:start] + rng.bytes(end - start) + content[start:]


def _delete(content, others, rng):
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def _overwrite(content, others, rng):
    start, end = _span(content, rng)
    value = bytes([(0, 255, int(rng.integers(256)))[rng.integers(3)]])
    return content[:start] + value * (min(end, len(content)) - start) + content[end:]


def _repeat(content, others, rng):
    start, end = _span(content, rng)
    return content[:end] + content[start:]


def _insert_part(content, others, rng):
    start, end = _span(content, rng)
    other = others[rng.integers(len(others))]
    return content[:start] + other[: end - start] + content[start:]


def _append(content, others, rng):
    return content + others[rng.integers(len(others))]


def _insert_token(content, others, rng):
    start, end = _span(content, rng)
    kept = content[end:] if rng.random() < 0.3 else content[start:]
    return content[:start] + TOKENS[rng.integers(len(TOKENS))] + kept
