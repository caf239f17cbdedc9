"""Progress bars for terminals and log files."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from tqdm import tqdm


def progress_bar(iterable: Iterable | None = None, **options: Any) -> tqdm:
    """Return a tqdm bar that is cleared at the end.

    If standard error is not a terminal, one line is printed every 10 % instead.

    Args:
        iterable: the iterable to wrap; if None, call `update` on the bar.
        **options: tqdm options, such as total, desc, unit and disable.
    """
    bar_class = tqdm if sys.stderr.isatty() else _ProgressLines
    return bar_class(iterable, leave=False, **options)


class _ProgressLines(tqdm):
    """A progress bar that prints one line every 10 %, or nothing if the total is unknown."""

    _next_percent = 10

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options | dict(mininterval=0, miniters=1))

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.total and 100 * self.n >= self._next_percent * self.total:
            self._next_percent = 10 * int(10 * self.n / self.total) + 10
            self.fp.write(f"{self}\n")
            self.fp.flush()

    def clear(self, nolock: bool = False) -> None:
        """Do nothing, because printed lines cannot be erased."""

    def close(self) -> None:
        if not self.disable:
            self.disable = True
            self._decr_instances(self)  # pyright: ignore[reportAttributeAccessIssue]  # missing in the stub


class FileProgress:
    """A progress bar for a sequence of files that shows "file 3 of 12" and the remaining time.

    The bar appears after one second, and only on a terminal. The remaining time is estimated from
    the file sizes.
    """

    def __init__(self, files: Sequence[str | os.PathLike]):
        sizes = [max(1, os.path.getsize(file)) if os.path.exists(file) else 1 for file in files]
        self._ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        self._bar = progress_bar(
            total=sum(sizes),
            disable=not sys.stderr.isatty(),
            delay=1,
            bar_format="{desc}{percentage:3.0f} %|{bar}| {remaining} remaining",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()

    def start(self, index: int) -> Callable[[float], None]:
        """Start a file; return a function that updates the bar with its completed fraction."""
        start = self._ends[index - 1] if index else 0
        self._bar.set_description(f"file {index + 1} of {len(self._ends)}", refresh=False)
        self._bar.update(start - self._bar.n)

        def update(fraction: float) -> None:
            done = start + fraction * (self._ends[index] - start)
            self._bar.update(done - self._bar.n)

        return update

    def hidden(self) -> contextlib.AbstractContextManager[None]:
        """Hide the bar while other lines are printed."""
        if self._bar.disable or self._bar.last_print_t < self._bar.start_t + self._bar.delay:
            return contextlib.nullcontext()
        return tqdm.external_write_mode(file=sys.stderr)
