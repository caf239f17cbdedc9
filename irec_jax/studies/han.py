"""Activations, windows, thresholds and visualisations: tables and figures of Han et al. (2017).

One network for eleven instruments is trained per activation (table IV) and per window length
(figure 4), each with several seeds. Every run stores its window probabilities, so that thresholds
(figure 4), aggregations (table V) and classes (figure 5) can be compared without further training.
The published thresholds were chosen on the test clips; the tables therefore also show scores at
thresholds tuned on validation clips, and the best possible scores on the test clips (oracle).
Figures 6 and 7 show the network with the published settings.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from irec_jax.errors import UserError
from irec_jax.evaluation import recognition
from irec_jax.files import read_json
from irec_jax.inference import aggregation as aggregations
from irec_jax.inference import thresholds
from irec_jax.metrics import multilabel
from irec_jax.progress import progress_bar
from irec_jax.reports.page import mean_over_runs
from irec_jax.studies import han_figures, han_tables, han_visualisations, runs
from irec_jax.text import mean_sd, plural


@dataclasses.dataclass(frozen=True)
class Row:
    """A network in the study.

    Attributes:
        name: name of the run that trains it.
        label: name in tables.
        activation, window_s: arguments passed to the config.
    """

    name: str
    label: str
    activation: str = "lrelu_0.33"
    window_s: float = 1.0


#: The row with the published settings, whose run also evaluates the baselines and is shown in
#: figures 6 and 7.
DEFAULT = "lrelu_0.33"
ACTIVATIONS = (
    Row("tanh", "tanh", "tanh"),
    Row("relu", "ReLU", "relu"),
    Row("prelu", "PReLU", "prelu"),
    Row("lrelu_0.01", "LReLU 0.01", "lrelu_0.01"),
    Row(DEFAULT, "LReLU 0.33"),
)
WINDOWS = tuple(
    Row(f"window-{window_s}", f"LReLU 0.33, windows of {window_s:g} s", window_s=window_s)
    for window_s in (0.5, 1.5, 3.0)
)
ROWS = (*ACTIVATIONS, *WINDOWS)
#: The two aggregations that table V compares, and a low threshold for S2 (figure 5).
AGGREGATIONS, LOW_THRESHOLD = ("s2", "s1"), 0.2
#: With `--quick`: number of epochs, steps per epoch, batch size, and maximum number of seeds for
#: window lengths that differ from the default. 89 steps are one pass over the windows of 1 s in
#: `gm_irmas` `small`; there are more or fewer windows of other lengths.
_QUICK_EPOCHS, _QUICK_STEPS, _QUICK_BATCH, _QUICK_WINDOW_REPEATS = 2, 89, 32, 1
#: Approximate seconds on two cores: one seed, one seed with `--quick`, and the baselines.
_SEED_S, _QUICK_SEED_S, _BASELINES_S = 480.0, 90.0, 40.0
#: A network that compiles quickly, for `--debug`.
_DEBUG_NETWORK = (("model.filters", "(2, 4, 4, 8)"), ("model.dense", "16"))


def plan(arguments: argparse.Namespace) -> list[runs.Run]:
    """Return one run per row; the seeds of a row are repeats within its run."""
    planned = []
    for row in ROWS:
        repeats, baselines = arguments.repeats, row.name == DEFAULT
        overrides = runs.shared_overrides(arguments, baselines=baselines)
        seed_s = _SEED_S
        if arguments.quick:
            seed_s = _QUICK_SEED_S
            repeats = repeats if row in ACTIVATIONS else min(repeats, _QUICK_WINDOW_REPEATS)
        if arguments.quick and not arguments.debug:
            overrides += [
                ("training.num_epochs", str(_QUICK_EPOCHS)),
                ("training.batch_size", str(_QUICK_BATCH)),
                ("training.min_steps_per_epoch", str(_QUICK_STEPS)),
                ("training.max_steps_per_epoch", str(_QUICK_STEPS)),
                ("training.keep", "last"),
                ("evaluation.hop_s", str(row.window_s)),
                ("evaluation.num_bootstrap", "100"),
            ]
        if arguments.debug:
            overrides += _DEBUG_NETWORK
        overrides.append(("training.repeats", str(repeats)))
        config = f"configs/han.py:activation={row.activation},window_s={row.window_s}"
        config = runs.config_path(config, arguments)
        expected_s = (seed_s + _BASELINES_S * baselines) * repeats
        planned.append(runs.Run(row.name, config, tuple(overrides), expected_s))
    return planned


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study han` and return its exit code."""
    if arguments.repeats < 1:
        raise UserError(f"--repeats {arguments.repeats}: expected at least 1")
    settings = runs.shared_settings(arguments) | {"repeats": arguments.repeats}
    planned = {run.name: run for run in plan(arguments)}
    todo = runs.select(list(planned), arguments.rows)
    study = runs.Study(arguments, settings)
    results = study.execute(list(planned.values()), _line, todo)
    report = study.report(results, split="official")
    folders = {name: seed_folders(study.workdir / "runs" / name) for name in results.reports}
    finished = [row for row in ROWS if row.name in folders]
    report |= {
        "rows": {
            row.name: dataclasses.asdict(row) | scores(folders[row.name])
            for row in progress_bar(finished, desc="scores", unit="row")
        },
        "baselines": _baselines(results.reports, folders),
        "data": next(iter(results.reports.values()))["data"],
    }
    seconds = sum(row["seconds"] for row in report["rows"].values())
    report["provenance"]["durations_s"]["all runs"] = seconds
    arrays: dict[str, Any] = {}
    if DEFAULT in folders:
        arrays = han_visualisations.load_or_compute(
            study.workdir / "visualisations.npz",
            runs.resolve(planned[DEFAULT]),
            folders[DEFAULT][0],
            classes=report["classes"],
            quick=arguments.quick,
        )
        report["neighbours"] = han_visualisations.neighbours(arrays)
    return study.finish(report, han_tables.markdown_page(report), draw(report, arrays))


def seed_folders(folder: Path) -> list[Path]:
    """Return one folder per seed of a run; a run with a single seed has no subfolders."""
    repeats = sorted(folder.glob("seed_*"), key=lambda path: int(path.name.removeprefix("seed_")))
    return repeats or [folder]


def scores(folders: Sequence[Path]) -> dict:
    """Compute the results of a row from the window probabilities stored for each seed.

    Args:
        folders: one folder per seed; see `seed_folders`.

    Returns:
        A dict with these keys:

        - ``scores``: maps each aggregation ('s2', 's1') and kind of threshold (`recognition.KINDS`,
          and 'low' for S2, see `LOW_THRESHOLD`) to ``threshold`` (unless there is one per class)
          and to ``micro``, ``macro`` and ``per_class`` precision, recall and F1.
        - ``sweep``: maps each aggregation to ``thresholds`` and to the ``micro`` and ``macro`` F1
          at each threshold.
        - ``seeds``: the seeds.
        - ``epochs``: the kept epoch and the number of epochs for each seed.
        - ``seconds``: the total duration.

        Each score is given as ``mean``, ``sd`` and ``values`` by seed (see `page.mean_over_runs`).

    Raises:
        UserError: a predictions file is missing or has no window probabilities.
    """
    reports = [read_json(folder / "report.json") for folder in folders]
    seeds = [_scores_of_seed(folder) for folder in folders]
    sweeps = [seed.pop("sweep") for seed in seeds]
    return {
        "scores": over_runs(seeds),
        "sweep": {
            name: {
                "thresholds": sweeps[0][name]["thresholds"],
                **{
                    average: [
                        mean_over_runs(values)
                        for values in zip(*(s[name][average] for s in sweeps), strict=True)
                    ]
                    for average in ("micro", "macro")
                },
            }
            for name in AGGREGATIONS
        },
        "seeds": [report["provenance"]["seed"] for report in reports],
        "epochs": [[report["best_epoch"]["epoch"], len(report["history"])] for report in reports],
        "seconds": sum(map(runs.total_duration_s, reports)),
    }


def _scores_of_seed(folder: Path) -> dict:
    """Return the scores of one seed, by aggregation, and its ``sweep``; see `scores`."""
    test, validation = (
        recognition.read_predictions(folder, split) for split in ("test", "validation")
    )
    result: dict[str, Any] = {"sweep": {}}
    for name in AGGREGATIONS:
        aggregation = aggregations.get(name)
        grid = sorted({*aggregation.grid, aggregation.threshold})
        clip_scores, tuning = aggregation(test.windows), aggregation(validation.windows)
        options: dict[str, Any] = {"grid": grid, "default": aggregation.threshold}
        chosen = {
            "fixed": aggregation.threshold,
            "validation": thresholds.tune_single(validation.labels, tuning, **options),
            "validation_per_class": thresholds.tune_per_class(validation.labels, tuning, **options),
            "oracle": thresholds.tune_single(test.labels, clip_scores, **options),
        }
        if name == "s2":
            chosen["low"] = LOW_THRESHOLD
        result[name] = {}
        for kind, threshold in chosen.items():
            predicted = thresholds.apply(clip_scores, threshold)
            counts = multilabel.count(test.labels, predicted)
            number = {} if np.ndim(threshold) else {"threshold": float(threshold)}
            result[name][kind] = number | recognition.scores_from_counts(counts, test.classes)
        curve = thresholds.sweep(test.labels, clip_scores, grid)
        result["sweep"][name] = {
            "thresholds": grid,
            "micro": curve.micro.tolist(),
            "macro": curve.macro.tolist(),
        }
    return result


def over_runs(results: Sequence[Any]) -> Any:
    """Combine the nested dicts of several runs by applying `page.mean_over_runs` to each number."""
    first = results[0]
    if isinstance(first, Mapping):
        return {key: over_runs([result[key] for result in results]) for key in first}
    return mean_over_runs(results)


def _baselines(reports: Mapping[str, Mapping], folders: Mapping[str, Sequence[Path]]) -> dict:
    """Return the scores of each baseline at the fixed threshold, for the first seed."""
    if DEFAULT not in reports:
        return {}
    report = read_json(folders[DEFAULT][0] / "report.json")
    return {
        name: block["thresholds"]["fixed"] for name, block in report.get("baselines", {}).items()
    }


def draw(report: Mapping, arrays: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw figures 3 to 7; figures whose runs have not finished are omitted."""
    rows = report["rows"]
    drawn = {"activations.png": han_figures.draw_activations(report)}
    windows = {row.window_s: rows[row.name] for row in ROWS
               if row.name in rows and row.activation == DEFAULT}  # fmt: skip
    if windows:
        drawn["thresholds.png"] = han_figures.draw_thresholds(dict(sorted(windows.items())))
    if DEFAULT in rows:
        drawn["comparison.png"] = han_figures.draw_comparison(report, rows[DEFAULT])
        drawn["classes.png"] = han_figures.draw_classes(
            report["classes"], rows[DEFAULT], rows.get("window-3.0")
        )
    if arrays:
        drawn["tsne.png"] = han_figures.draw_tsne(arrays, report["classes"])
        if segments := han_visualisations.segments(arrays):
            drawn["deconvolution.png"] = han_figures.draw_deconvolution(
                segments, arrays["frequencies_hz"]
            )
    return drawn


def _line(report: Mapping) -> str:
    if "repeats" not in report:
        fixed = report["thresholds"]["fixed"]
        return f"micro F1 {fixed['micro']['f1']:.3f}, macro F1 {fixed['macro']['f1']:.3f}"
    fixed = report["repeats"]["thresholds"]["fixed"]
    micro, macro = (mean_sd(fixed[average]["f1"], 3) for average in ("micro", "macro"))
    return f"micro F1 {micro}, macro F1 {macro} ({plural(report['repeats']['num_runs'], 'seed')})"
