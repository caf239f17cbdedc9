"""A trained separator: mixtures of any length to the sum of the stems that it keeps."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from irec_jax import registry
from irec_jax.inference import spectrograms
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.inference.spectrograms import PHASES
from irec_jax.systems.loading import load_variables, open_system
from irec_jax.tasks import Separation, create_separation

#: Windows per call.
BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True)
class Separator:
    """A separation system that was trained in a workdir.

    Attributes:
        task: front end, window and stems.
        predict: a batch of mixtures, `audio` (B, T), to features of the target.
        sample_rate_hz: of the audio that it takes and gives.
        hop_frames: frames of the front end between the starts of windows.
        post_db: what `post` removes, dB of the front end.
        griffin_lim_iterations: for phases that go with the estimate.
        target_name: of the stems that are kept, such as 'vocals_other'.
    """

    task: Separation
    predict: Callable[[dict], Any]
    sample_rate_hz: int
    hop_frames: int
    post_db: float
    griffin_lim_iterations: int
    target_name: str

    def estimate(
        self,
        blocks: Iterable[np.ndarray],
        *,
        num_samples: int,
        post: bool = False,
        phase: str = "mixture",
    ) -> Iterator[np.ndarray]:
        """The target in a mixture, block by block; each channel by itself.

        Args:
            blocks: float32 (n, C) at the system's sample rate, n of any lengths.
            num_samples: of all blocks together.
            post: remove what lies below `post_db` from the spectrograms.
            phase: 'mixture', or 'griffin-lim' for phases that go with the estimate.

        Yields:
            float32 (m, C), as many samples in all as came in.
        """
        if phase not in PHASES:
            raise registry.unknown("phase", phase, PHASES)
        # A short recording would not fill a batch; every size is compiled.
        batch_size = 1 if num_samples <= self.task.window_samples else BATCH_SIZE
        return spectrograms.separate_blocks(
            blocks,
            lambda windows: self.predict({"audio": windows}),
            self.task.frontend,
            window_samples=self.task.window_samples,
            hop_frames=self.hop_frames,
            batch_size=local_batch_size(batch_size),
            post_db=self.post_db if post else None,
            phase=phase,
            num_iterations=self.griffin_lim_iterations,
        )


def load_task(workdir: Path) -> tuple[Separation, tuple[Any, Any], dict[str, Any]]:
    """What was trained in the workdir of a separator.

    Returns:
        The task, its parameters and model state, and what `system.json` says.

    Raises:
        UserError: no such folder, not a workdir, a workdir of another kind of system, damage.
    """
    system = open_system(workdir, "separation")
    keys = ("stems", "target", "sample_rate_hz", "window_s", "frontend")
    config = {key: system["config"][key] for key in ("model", "loss", "augment")}
    task = create_separation(**{key: system[key] for key in keys}, **config)
    return task, load_variables(workdir, task), system


def load_separator(workdir: str | Path) -> Separator:
    """The separator that was trained in a workdir, as one who brings files needs it.

    Raises:
        UserError: as `load_task`.
    """
    task, variables, system = load_task(Path(workdir).expanduser())
    hop_samples = system["hop_s"] * system["sample_rate_hz"]
    return Separator(
        task=task,
        predict=create_predict(task, *variables),
        sample_rate_hz=system["sample_rate_hz"],
        hop_frames=max(1, round(hop_samples / task.frontend.hop_length)),
        post_db=system["post_db"],
        griffin_lim_iterations=system["config"]["evaluation"]["griffin_lim_iterations"],
        target_name=system["target_name"],
    )
