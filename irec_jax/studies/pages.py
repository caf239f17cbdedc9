"""Reports of studies: writing them, and sentences that they share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from irec_jax.reports.writing import write_report


def write_and_print(
    workdir: Path, report: Mapping, page: str, figures: Mapping[str, Figure], **options: Any
) -> None:
    """Write the report of a study and print the part of its page above the first section.

    Args:
        workdir: the folder.
        report: content of report.json.
        page: content of report.md.
        figures: file name -> figure.
        **options: further arguments of `reports.writing.write_report`.
    """
    path = write_report(workdir, report, page, figures, **options)
    print(page.partition("\n## ")[0])
    print(f"\nreport: {path}")


def budget_note(settings: Mapping[str, Any], quick: str) -> str:
    """Return a sentence on the budget of a debug or quick run, with a leading space, or ''.

    Args:
        settings: settings of the study.
        quick: the sentence for `--quick`.
    """
    if settings["debug"]:
        return " **Debug run on tiny data: the scores are meaningless.**"
    return f" {quick}" if settings["quick"] else ""
