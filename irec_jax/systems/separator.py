"""A trained separator, which extracts the sum of selected stems from a mixture."""

import collections
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from irec_jax import audio, registry
from irec_jax.checkpoints.workdir import system_errors
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.frontends import Gate
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.inference.separation import PHASES, separate_blocks
from irec_jax.systems.loading import load_variables, open_system
from irec_jax.tasks import Separation, create_trained

#: Windows per batch.
BATCH_SIZE = 8
#: Default and maximum overlap: how often each second of audio is computed on average.
OVERLAP, MAX_OVERLAP = 1.0, 16


@dataclasses.dataclass(frozen=True)
class Separator:
    """A trained separation system, loaded from its workdir.

    Attributes:
        task: front end, window and stems.
        predict: maps a batch of mixtures, `audio` (B, T), to features of the target.
        sample_rate_hz: sample rate of the input and the output.
        gate: the gate that `post` applies.
        griffin_lim_iterations: number of iterations with phase 'griffin-lim'.
        target_name: joined names of the stems that are kept, such as 'vocals_other'.
    """

    task: Separation
    predict: Callable[[dict], Any]
    sample_rate_hz: int
    gate: Gate
    griffin_lim_iterations: int
    target_name: str

    def estimate(
        self,
        blocks: Iterable[np.ndarray],
        *,
        num_samples: int,
        post: bool = False,
        phase: str = "mixture",
        overlap: float | None = None,
    ) -> Iterator[np.ndarray]:
        """Yield the target of a mixture in blocks; each channel is separated independently.

        Args:
            blocks: float32 (n, C) at the system's sample rate; n may vary.
            num_samples: total length of the blocks.
            post: remove soft values from the spectrogram with `gate`.
            phase: 'mixture', or 'griffin-lim' for phases that are consistent with the estimate.
            overlap: how often each second is computed; see `hop_of`.

        Yields:
            Blocks, float32 (m, C), with `num_samples` samples in total.
        """
        if phase not in PHASES:
            raise registry.unknown("phase", phase, PHASES)
        # A short recording would not fill a batch. There are only two batch sizes, because each one
        # is compiled separately.
        batch_size = 1 if num_samples <= self.task.window_samples else BATCH_SIZE
        return separate_blocks(
            blocks,
            lambda windows: self.predict({"audio": windows}),
            self.task.frontend,
            window_samples=self.task.window_samples,
            hop_frames=self.hop_of(overlap),
            batch_size=local_batch_size(batch_size),
            post=self.gate if post else None,
            phase=phase,
            num_iterations=self.griffin_lim_iterations,
        )

    def hop_of(self, overlap: float | None) -> int:
        """Return the number of frames between the starts of successive windows.

        Args:
            overlap: how often each second is computed on average, 1 to 16. With an overlap of
                1, windows share only the frames that extend beyond a window (3 of 126 with the
                default settings). None stands for `OVERLAP`.

        Raises:
            UserError: if the overlap is out of range.
        """
        overlap = OVERLAP if overlap is None else overlap
        check_overlap(overlap)
        frontend, window_samples = self.task.frontend, self.task.window_samples
        num_frames = frontend.num_real_frames(window_samples)
        num_incomplete = -(-(frontend.frame_length - frontend.hop_length) // frontend.hop_length)
        longest = max(1, num_frames - num_incomplete)
        return min(longest, max(1, round(num_frames / overlap)))

    def split(
        self,
        blocks: Iterable[np.ndarray],
        *,
        sample_rate_hz: int,
        num_samples: int,
        post: bool = False,
        phase: str = "mixture",
        overlap: float | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield blocks of a mixture at any sample rate, and the corresponding blocks of the target.

        If the sample rate differs from the system's, the input of the system and the target are
        resampled; frequencies above half the lower rate are not part of the target.

        Args:
            blocks: float32 (n, C); n may vary.
            sample_rate_hz: sample rate of the mixture.
            num_samples: total length of the blocks.
            post, phase, overlap: see `estimate`.

        Yields:
            Blocks of the mixture and the target, both float32 (m, C), with `num_samples` samples in
            total.
        """
        queue: collections.deque[np.ndarray] = collections.deque()

        def enqueue() -> Iterator[np.ndarray]:
            for block in blocks:
                queue.append(block)
                yield block

        target = self.estimate(
            audio.resample_pieces(enqueue(), sample_rate_hz, self.sample_rate_hz),
            num_samples=audio.num_resampled(num_samples, sample_rate_hz, self.sample_rate_hz),
            post=post,
            phase=phase,
            overlap=overlap,
        )
        num_left = num_samples
        for block in audio.resample_pieces(target, self.sample_rate_hz, sample_rate_hz):
            block = block[:num_left]  # lengths are rounded up in both directions
            if len(block):
                num_left -= len(block)
                mixture = _dequeue(queue, len(block))
                # A network that outputs the target directly may output sound for a silent mixture.
                yield mixture, block * mixture.any(axis=0)
        if num_left:
            raise ValueError(f"num_samples={num_samples}: the blocks have {num_left} fewer samples")


def _dequeue(queue: collections.deque[np.ndarray], num_samples: int) -> np.ndarray:
    """Remove and return the first samples (num_samples, C) of a queue of blocks."""
    taken = []
    while num_samples:
        block = queue.popleft()
        if len(block) > num_samples:
            queue.appendleft(block[num_samples:])
            block = block[:num_samples]
        taken.append(block)
        num_samples -= len(block)
    return np.concatenate(taken)


def check_overlap(overlap: float) -> None:
    """Raise UserError unless the overlap of windows is in the supported range."""
    if not 1 <= overlap <= MAX_OVERLAP:
        raise UserError(f"overlap={overlap:g}: expected a number from 1 to {MAX_OVERLAP}")


def load_separation(workdir: Path) -> tuple[Separation, tuple[Any, Any], dict[str, Any]]:
    """Load the components of a trained separator; `load_separator` combines them.

    Returns:
        The task, its parameters and model state, and the contents of `system.json`.

    Raises:
        UserError: see `open_system`; also if the checkpoint is damaged.
    """
    system = open_system(workdir, "separation")
    with system_errors(workdir):
        task = create_trained(system)
        assert isinstance(task, Separation)
        create_gate(system)
    return task, load_variables(workdir, task), system


def create_gate(system: Mapping[str, Any]) -> Gate:
    """Return the postprocessing gate for `system.json`; older systems use an absolute threshold."""
    return Gate(
        post_db=system["post_db"],
        reference=system.get("post_reference", "absolute"),
        fill=system.get("post_fill", "floor"),
    )


def load_separator(workdir: str | os.PathLike) -> Separator:
    """Load the separator that was trained in a workdir.

    Raises:
        UserError: see `open_system`; also if the checkpoint is damaged.
    """
    task, variables, system = load_separation(expand_home(workdir, urls=True))
    return Separator(
        task=task,
        predict=create_predict(task, *variables),
        sample_rate_hz=system["sample_rate_hz"],
        gate=create_gate(system),
        griffin_lim_iterations=system["config"]["evaluation"]["griffin_lim_iterations"],
        target_name=system["target_name"],
    )
