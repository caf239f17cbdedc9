"""Helpers for the report pages of all studies."""

from collections.abc import Iterable, Mapping
from typing import Any

from irec_jax.reports.page import debug_banner, failed_runs, provenance_table
from irec_jax.text import interval


def compose(
    title: str, report: Mapping, introduction: Iterable[str], sections: Iterable[str]
) -> str:
    """Return a page with a title, introduction, failed runs, further sections and provenance."""
    failures = failed_runs(report.get("failures", {}))
    provenance = ("## Provenance", provenance_table(report["provenance"]))
    return "\n\n".join([f"# {title}", *introduction, *failures, *sections, *provenance]) + "\n"


def brief_run(settings: Mapping[str, Any], quick: str) -> list[str]:
    """Return a list with the warning for a debug or quick run, or an empty list for a full run.

    Args:
        settings: the study's settings.
        quick: warning to show for a run with `--quick`.
    """
    return debug_banner(settings) or ([f"> {quick}"] if settings["quick"] else [])


def with_interval(scores: Mapping[str, Any], name: str) -> str:
    """Return a score and its interval (the `NAME_interval` entry) as text."""
    return interval(scores[name], scores[f"{name}_interval"])


def kept_epoch(report: Mapping) -> str:
    """Return the kept epoch and the number of epochs as text, such as '3 of 5'."""
    return f"{report['best_epoch']['epoch']} of {len(report['history'])}"
