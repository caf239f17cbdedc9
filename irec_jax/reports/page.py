"""Building blocks shared by the report pages of all tasks and studies."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from irec_jax.reports.tables import captioned_table, escape
from irec_jax.text import plural

#: Display names and definitions of the clip scores in `inference.aggregation`.
CLIP_SCORES = {
    "s1": ("S1", "mean of the window probabilities"),
    "s2": ("S2", "sum of the window probabilities, divided by the largest sum of any class"),
    "max": ("max", "maximum of the window probabilities"),
    "top": ("top", "mean of the largest quarter of the window probabilities of each class"),
}
#: Pattern of config names for a user's own data: label, format and content digest.
_OWN_DATA = re.compile(r"(?P<label>.+?)(?:-(?P<format>\w+))?-[0-9a-f]{12}")


def debug_banner(report: Mapping) -> list[str]:
    """Return a warning for the top of a debug run's page; empty for other runs."""
    if not report.get("debug"):
        return []
    return ["> **Debug run: trained briefly on little data. The scores mean nothing.**"]


def data_name(dataset: Mapping[str, Any]) -> str:
    """Format a dataset's ``name``, ``version`` and ``config``.

    A user's own data is named after its folder and format, without the content digest.
    """
    config = str(dataset["config"])
    if own := _OWN_DATA.fullmatch(config):
        config = ", ".join(filter(None, own.groups()))
    return f"{dataset['name']} {dataset['version']}, {config}"


def rendered_banner(report: Mapping, recordings: str = "IRMAS") -> list[str]:
    """Return a warning for the top of a report on rendered audio; empty for recordings.

    ``recordings`` names the dataset of recordings with which readers might compare the scores.
    """
    if not report["rendered"]:
        return []
    warning = f"Measured on rendered audio ({report['dataset']}): not comparable with scores on"
    return [f"> **{warning} {recordings}** or any other recorded music."]


def averaging_note(report: Mapping) -> str:
    """Return a space and a sentence if the parameters were averaged; otherwise an empty text."""
    if not (decay := report.get("ema_decay")):
        return ""
    return f" The parameters are exponential moving averages over training steps, decay {decay:g}."


def picture(captions: Mapping[str, str], name: str, heading: str | None = None) -> list[str]:
    """Return a Markdown picture below an optional heading; empty if the picture was not drawn."""
    if name not in captions:
        return []
    return [*([heading] if heading else []), f"![{escape(captions[name])}]({name})"]


def measured_table(
    report: Mapping,
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    num_text_columns: int = 1,
) -> str:
    """Return a Markdown table whose caption ends with the report's data and command.

    Args:
        report: a report with ``rendered`` and ``provenance``.
        caption: sentence that states what was measured.
        header, rows, num_text_columns: see `tables.markdown_table`.
    """
    dataset, command = (report["provenance"][key] for key in ("dataset", "command"))
    rendered = ", rendered audio" if report["rendered"] else ""
    caption = f"{caption}\nData: {data_name(dataset)}{rendered}. Command: `{command}`"
    return captioned_table(caption, header, rows, num_text_columns)


def failed_runs(failures: Mapping[str, str]) -> list[str]:
    """Return a list of the failed runs, with the reason for each; empty if no run failed."""
    lines = [f"- {name}: {escape(reason)}" for name, reason in failures.items()]
    heading = "**Failed** (run the same command to try again):"
    return [heading, "\n".join(lines)] if lines else []


def mean_over_runs(values: Sequence[float | None]) -> dict:
    """Return the ``mean``, the sample ``sd`` (n - 1; NaN for one run) and the ``values``.

    None, which stands for NaN in JSON files, becomes NaN.
    """
    scores = np.array(values, float)
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan")
    return {"mean": float(np.mean(scores)), "sd": sd, "values": scores.tolist()}


def repeats_heading(repeats: Mapping) -> str:
    """Return the heading of the section on repeated runs, with their number and seeds."""
    seeds = ", ".join(map(str, repeats["seeds"]))
    return (
        f"## Mean ± standard deviation of {plural(repeats['num_runs'], 'run')} "
        f"(seed{'s' * (repeats['num_runs'] > 1)} {seeds})"
    )


def provenance_table(provenance: Mapping, settings: Mapping[str, str] | None = None) -> str:
    """Return a captioned table with the data, command, code, hardware and versions.

    Args:
        provenance: result of `provenance.collect` or `provenance.environment`.
        settings: additional rows: text by name.
    """
    hardware, git = provenance["hardware"], provenance["git"]
    devices = ", ".join(f"{count} x {kind}" for kind, count in hardware["devices"].items())
    commit = f"{git['commit']}{' (with changes)' if git['dirty'] else ''}" if git else "–"
    durations = ", ".join(f"{k} {v:.1f} s" for k, v in provenance["durations_s"].items())
    rows = [
        ["command", f"`{provenance['command']}`"],
        *([name, text] for name, text in (settings or {}).items()),
        ["commit", commit],
        ["date", provenance["date"]],
        *([["durations", durations]] if durations else []),
        [
            "devices",
            f"{devices} ({hardware['platform']}, "
            f"{plural(hardware['num_processes'], 'process', 'processes')})",
        ],
        ["CPU", "{cpu}, {num_cores} cores, {system}".format(**hardware)],
        ["versions", ", ".join(f"{k} {v}" for k, v in provenance["versions"].items())],
    ]
    if "dataset" in provenance:
        data = "{name} {version}, {config}, {split}".format(**provenance["dataset"])
        rows = [["data", data], ["seed", str(provenance["seed"])], *rows]
    return captioned_table("How this report was made.", ["", ""], rows, num_text_columns=2)
