"""Parts that the pages of all tasks and studies share."""

from collections.abc import Mapping, Sequence

import numpy as np

from irec_jax.reports.tables import markdown_table


def rendered_banner(report: Mapping, recordings: str = "IRMAS") -> list[str]:
    """Return the warning that heads a report on rendered audio; nothing for recordings.

    ``recordings`` is the dataset of recordings whose scores readers might compare.
    """
    warning = f"rendered audio ({report['dataset']}): not comparable with scores on {recordings}"
    return [f"> **{warning}** or any other recorded music."] if report["rendered"] else []


def picture(captions: Mapping[str, str], name: str, heading: str | None = None) -> list[str]:
    """Return the link to a picture file below a Markdown heading; nothing if it was not drawn."""
    if name not in captions:
        return []
    return [*([heading] if heading else []), f"![{captions[name]}]({name})"]


def failed_runs(failures: Mapping[str, str]) -> list[str]:
    """Return a paragraph that lists the runs that failed and the reasons; nothing if none did."""
    lines = [f"- {name}: {reason}" for name, reason in failures.items()]
    heading = "**Failed** (run the same command to try again):"
    return [heading, "\n".join(lines)] if lines else []


def mean_over_runs(values: Sequence[float]) -> dict:
    """Return ``mean``, ``sd`` (of a sample, n - 1; NaN for one run) and the ``values`` of runs."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return {"mean": float(np.mean(values)), "sd": sd, "values": [float(v) for v in values]}


def repeats_heading(repeats: Mapping) -> str:
    """Return the heading of the section on repeated runs, with ``num_runs`` and ``seeds``."""
    seeds = ", ".join(map(str, repeats["seeds"]))
    return f"## Mean ± standard deviation of {repeats['num_runs']} runs (seeds {seeds})"


def provenance_table(provenance: Mapping) -> str:
    """Return the table of data, command, code, hardware and versions.

    See `irec_jax.evaluation.provenance.collect` for the keys of ``provenance``.
    """
    dataset, hardware, git = (provenance[key] for key in ("dataset", "hardware", "git"))
    devices = ", ".join(f"{count} x {kind}" for kind, count in hardware["devices"].items())
    commit = f"{git['commit']}{' (with changes)' if git['dirty'] else ''}" if git else "–"
    rows = [
        ["data", "{name} {version}, {config}, {split}".format(**dataset)],
        ["command", f"`{provenance['command']}`"],
        ["seed", str(provenance["seed"])],
        ["commit", commit],
        ["date", provenance["date"]],
        ["durations", ", ".join(f"{k} {v:.1f} s" for k, v in provenance["durations_s"].items())],
        ["devices", f"{devices} ({hardware['platform']}, {hardware['num_processes']} process(es))"],
        ["CPU", "{cpu}, {num_cores} cores, {system}".format(**hardware)],
        ["versions", ", ".join(f"{k} {v}" for k, v in provenance["versions"].items())],
    ]
    return markdown_table(["", ""], rows, num_text_columns=2)
