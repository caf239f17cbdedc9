"""A mixture at its own sample rate beside the target in it, block by block."""

import collections
from collections.abc import Iterable, Iterator

import numpy as np

from irec_jax import audio
from irec_jax.systems import Separator

Pair = tuple[np.ndarray, np.ndarray]


def split(
    blocks: Iterable[np.ndarray],
    separator: Separator,
    *,
    sample_rate_hz: int,
    num_samples: int,
    post: bool,
    phase: str,
) -> Iterator[Pair]:
    """Each block of a mixture with the target in it.

    At another sample rate than the separator's, the mixture is resampled on its way in and the
    target on its way out; what lies above half of the lower rate is in no target.

    Args:
        blocks: float32 (n, C), n of any lengths.
        separator: which.
        sample_rate_hz: of the mixture.
        num_samples: of all blocks together.
        post, phase: see `Separator.estimate`.

    Yields:
        Mixture and target, float32 (m, C) both, `num_samples` samples in all.
    """
    waiting: collections.deque[np.ndarray] = collections.deque()

    def passing() -> Iterator[np.ndarray]:
        for block in blocks:
            waiting.append(block)
            yield block

    rate_hz = separator.sample_rate_hz
    target = separator.estimate(
        audio.resample_pieces(passing(), sample_rate_hz, rate_hz),
        num_samples=audio.num_resampled(num_samples, sample_rate_hz, rate_hz),
        post=post,
        phase=phase,
    )
    num_left = num_samples
    for piece in audio.resample_pieces(target, rate_hz, sample_rate_hz):
        piece = piece[:num_left]  # lengths are rounded up, there and back
        if len(piece):
            num_left -= len(piece)
            mixture = _take(waiting, len(piece))
            # A network that says the target itself may say something where there is nothing.
            yield mixture, piece * mixture.any(axis=0)
    if num_left:
        raise ValueError(f"the blocks hold {num_left} samples less than {num_samples}")


def _take(waiting: collections.deque[np.ndarray], num_samples: int) -> np.ndarray:
    """The next samples (num_samples, C) of a queue of blocks."""
    taken = []
    while num_samples:
        block = waiting.popleft()
        if len(block) > num_samples:
            waiting.appendleft(block[num_samples:])
            block = block[:num_samples]
        taken.append(block)
        num_samples -= len(block)
    return np.concatenate(taken)
