"""Progress bars for terminals and log files."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(iterable: Iterable | None = None, **options: Any) -> tqdm:
    """Return a tqdm bar that disappears at the end.

    If standard error is not a terminal, one line is printed every 10 % instead.

    Args:
        iterable: wrapped by the bar; None: call `update` on the bar.
        **options: of `tqdm`: total, desc, unit, disable ...
    """
    bar_class = tqdm if sys.stderr.isatty() else _ProgressLines
    return bar_class(iterable, leave=False, **options)


class _ProgressLines(tqdm):
    """A bar that prints one line every 10 %; nothing if the total is unknown."""

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
            self._decr_instances(self)  # pyright: ignore[reportAttributeAccessIssue]  # not in its stub
