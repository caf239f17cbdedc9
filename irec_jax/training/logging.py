"""Output of a training run: log lines, TensorBoard files and the parameter table."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from irec_jax import distributed
from irec_jax.errors import UserError
from irec_jax.remote import Staged


def log(line: str) -> None:
    """Print a line above the progress bar; only process 0 prints."""
    if distributed.is_main():
        tqdm.write(line)
        sys.stdout.flush()


class Logger:
    """TensorBoard writer, active on process 0 only.

    Args:
        folder: folder for the TensorBoard files; if None, no files are written. If the folder is
            remote, `flush` copies the files to it; training continues if copying fails.
    """

    def __init__(self, folder: Path | None):
        self._staged: Staged | None = None
        self._writer: SummaryWriter | None = None
        if folder is not None and distributed.is_main():
            self._staged = Staged(folder)
            self._writer = SummaryWriter(str(self._staged.local))
        self._written: dict[str, np.ndarray] = {}
        self._failed = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write TensorBoard scalars."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def summaries(self, step: int, values: Mapping[str, np.ndarray], sample_rate_hz: int) -> None:
        """Write images (rows, columns) and audio (T,), which is clipped to full scale.

        Arrays that have not changed since they were last written are skipped.
        """
        if self._writer is None:
            return
        for name, value in values.items():
            earlier = self._written.get(name)
            if earlier is not None and np.array_equal(value, earlier):
                continue
            self._written[name] = value
            if value.ndim == 1:
                clipped = np.clip(value, -1.0, 1.0)
                self._writer.add_audio(name, clipped, step, sample_rate=sample_rate_hz)
            else:
                low, high = float(value.min()), float(value.max())
                image = (value - low) / max(high - low, 1e-9)
                self._writer.add_image(name, image, step, dataformats="HW")

    def flush(self) -> None:
        """Bring the TensorBoard files up to date."""
        if self._writer is not None and self._staged is not None:
            self._writer.flush()
            self._copy(self._staged.publish)

    def close(self) -> None:
        """Finish writing the TensorBoard files."""
        if self._writer is not None and self._staged is not None:
            self._writer.close()
            self._copy(self._staged.close)

    def _copy(self, copy: Callable[[], None]) -> None:
        """Copy the files to a remote folder; log the first failure instead of raising it."""
        try:
            copy()
        except UserError as error:
            if not self._failed:
                log(f"warning: {error}; training continues; TensorBoard files may be incomplete")
            self._failed = True


def num_parameters(params: Any) -> int:
    """Return the number of scalars in a tree of parameters."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def parameter_table(params: Any) -> str:
    """Return a table with a line per array (name, shape, number of parameters) and the total."""
    rows = [
        ("/".join(str(key.key) for key in path), str(tuple(leaf.shape)), num_parameters(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    rows.append(("total", "", num_parameters(params)))
    name_width = max(len(name) for name, _, _ in rows)
    shape_width = max(len(shape) for _, shape, _ in rows)
    return "\n".join(
        f"{name:<{name_width}}  {shape:<{shape_width}}  {count:>12,}" for name, shape, count in rows
    )


def duration(seconds: float) -> str:
    """Format a duration: `8.1 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
