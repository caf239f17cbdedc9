"""Parts of report pages shared by the studies."""

from collections.abc import Iterable, Mapping
from typing import Any

from irec_jax.reports.page import debug_banner, failed_runs, provenance_table
from irec_jax.text import interval


def compose(
    title: str, report: Mapping, introduction: Iterable[str], sections: Iterable[str]
) -> str:
    """Return a page: title, introduction, failed runs, further sections, and provenance."""
    failures = failed_runs(report.get("failures", {}))
    provenance = ("## Provenance", provenance_table(report["provenance"]))
    return "\n\n".join([f"# {title}", *introduction, *failures, *sections, *provenance]) + "\n"


def brief_run(settings: Mapping[str, Any], quick: str) -> list[str]:
    """Return a warning for a debug or quick run; an empty list for a full run.

    Args:
        settings: settings of the study.
        quick: the warning for `--quick`.
    """
    return debug_banner(settings) or ([f"> {quick}"] if settings["quick"] else [])


def with_interval(scores: Mapping[str, Any], name: str) -> str:
    """Return a score as text, with its interval from the entry `NAME_interval`."""
    return interval(scores[name], scores[f"{name}_interval"])


def kept_epoch(report: Mapping) -> str:
    """Return '3 of 5' for a run of five epochs that kept the parameters of the third."""
    return f"{report['best_epoch']['epoch']} of {len(report['history'])}"
