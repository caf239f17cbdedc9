"""Study execution: each experiment runs once, in its own folder."""

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from matplotlib.figure import Figure
from ml_collections import config_dict

from irec_jax import config as configs
from irec_jax import data, experiment, job_array, registry
from irec_jax.checkpoints.workdir import check_workdir, differences, lock_study
from irec_jax.data.options import is_rendered
from irec_jax.errors import UserError
from irec_jax.files import appended, expand_home, read_json
from irec_jax.reports import provenance
from irec_jax.reports.writing import write_report
from irec_jax.studies.options import CLIPS
from irec_jax.text import plural
from irec_jax.training.logging import duration


@dataclasses.dataclass(frozen=True)
class Run:
    """An experiment in a study.

    Attributes:
        name: run name, which is also the folder name.
        config: `FILE:arguments`, as for `--config`.
        overrides: (`section.key`, text) pairs, as for `--config.section.key=text`.
        expected_s: approximate duration on two cores in seconds, used only to estimate the
            remaining time.
    """

    name: str
    config: str
    overrides: tuple[tuple[str, str], ...] = ()
    expected_s: float = 60.0


class TaskEnded(Exception):
    """Raised when a job-array task has executed its runs; `--collect` writes the report later.

    Attributes:
        exit_code: 1 if a run failed, otherwise 0.
    """

    def __init__(self, exit_code: int):
        super().__init__(exit_code)
        self.exit_code = exit_code


class Results(NamedTuple):
    """Reports (the content of report.json) and reasons for failures, by run name."""

    reports: dict[str, dict]
    failures: dict[str, str]


def shared_settings(arguments: argparse.Namespace, datasets: Sequence[str] = CLIPS) -> dict:
    """Return the values of the shared options that affect the results (see `lock_study`).

    Raises:
        UserError: the dataset is unknown.
    """
    check_choice("dataset", arguments.dataset, datasets)
    chosen = {name: getattr(arguments, name) for name in ("dataset", "seed", "quick", "debug")}
    return chosen | ({"size": arguments.size} if is_rendered(arguments.dataset) else {})


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a UserError that lists the choices for an option if `value` is not among them."""
    if value not in choices:
        *others, last = choices
        listed = f"{', '.join(others)} and {last}" if others else last
        raise UserError(f"--{name.replace('_', '-')} {value}: unknown; choose from {listed}")


def shared_overrides(
    arguments: argparse.Namespace, *, baselines: bool = False
) -> list[tuple[str, str]]:
    """Return the config overrides for the shared options; baselines are disabled by default."""
    pairs = [("data.dir", arguments.data_dir), ("data.manual_dir", arguments.manual_dir)]
    pairs.append(("seed", str(arguments.seed)))
    if is_rendered(arguments.dataset) and not arguments.debug:
        pairs.append(("data.size", arguments.size))
    return pairs if baselines else [*pairs, ("evaluation.baselines", "False")]


def config_path(config: str, arguments: argparse.Namespace) -> str:
    """Return `FILE:arguments` with the study's dataset added and, in debug runs, 'debug'."""
    separator = "" if config.endswith(":") else ","
    debug = ",debug" if arguments.debug else ""
    return f"{config}{separator}dataset={arguments.dataset}{debug}"


def select(names: Sequence[str], text: str | None) -> list[str]:
    """Return the names that contain an item from a comma-separated text; None selects all names.

    Raises:
        UserError: the text is empty, or one of its items matches no name.
    """
    parts = [] if text is None else registry.split_names(text, "--rows")
    for part in parts:
        if not any(part in name for name in names):
            raise UserError(f"--rows {part}: matches none of {', '.join(names)}")
    return [name for name in names if not parts or any(part in name for part in parts)]


class Study:
    """A study and its workdir, which is locked to the study's settings (see `lock_study`)."""

    def __init__(self, arguments: argparse.Namespace, settings: Mapping):
        self.workdir, self.settings = expand_home(arguments.workdir, urls=True), settings
        self.seed, self.began = arguments.seed, time.monotonic()
        self._task = job_array.parse_task(getattr(arguments, "task", None))
        self._collect = getattr(arguments, "collect", False)
        lock_study(self.workdir, settings)

    def execute(
        self,
        runs: Sequence[Run],
        summary: Callable[[Mapping], str],
        todo: Container[str] | None = None,
    ) -> Results:
        """Execute the runs (training and evaluation), printing one line for each.

        A run's output goes to `runs/NAME.log` in the workdir, and its results to the `runs/NAME`
        folder. Interrupted runs are resumed. If a run fails, its line gives the reason, and the
        other runs are still executed. The next call tries the failed run again.

        Every result belongs to the current evaluation settings: a finished run that was evaluated
        with other settings is evaluated again or, if it is not in `todo`, omitted with a message.

        Args:
            runs: all runs. The results of finished runs are returned even if they are not in
                `todo`.
            summary: function that takes a run's report and returns the text for its line.
            todo: names of the runs to execute; None executes all runs.

        Raises:
            UserError: before the first run, if a config is invalid, a folder contains a run with
                another config, or a dataset cannot be prepared.
            TaskEnded: after the last run, if the study runs as a job-array task.
        """
        folder = self.workdir / "runs"
        if self._task:  # the other runs belong to other tasks
            selected = [run for run in runs if todo is None or run.name in todo]
            runs = job_array.select(selected, self._task)
        elif self._collect:
            todo = ()
        reports, pending = _find_reports(runs, folder, todo)
        failures, remaining = {}, [run for run in runs if run.name in pending]
        _prepare_datasets(pending.values())
        if remaining:
            print(f"{plural(len(remaining), 'run')} to do; logs are written to {folder}/NAME.log")
        began, expected_s = time.monotonic(), 0.0
        while remaining:
            run, run_began = remaining.pop(0), time.monotonic()
            report = _attempt(run, pending[run.name], folder)
            if isinstance(report, str):
                failures[run.name], line = report, f"failed: {report}"
            else:
                reports[run.name], line = report, summary(report)
            expected_s += run.expected_s
            pace = (time.monotonic() - began) / expected_s
            left = duration(pace * sum(run.expected_s for run in remaining))
            rest = f"{len(remaining)} left, about {left}" if remaining else "none left"
            took = duration(time.monotonic() - run_began)
            print(f"{run.name}: {line}; {took}; {rest}", flush=True)
        if self._task:
            raise TaskEnded(exit_code=1 if failures else 0)
        ordered = {run.name: reports[run.name] for run in runs if run.name in reports}
        return Results(ordered, failures)

    def report(self, results: Results, *, split: str) -> dict:
        """Return the report entries that all studies with runs have in common.

        Args:
            results: results returned by `execute`.
            split: split names to record in the provenance.

        Returns:
            dict: ``rendered``, ``dataset`` and ``classes`` of the first run; ``settings``;
            ``failures``; and ``provenance``, where the duration of 'all runs' also covers runs
            executed by earlier calls.

        Raises:
            UserError: no run has finished.
        """
        reports = list(results.reports.values())
        if not reports and not results.failures:
            raise UserError(
                f"{self.workdir}: no run has finished; execute the runs without --collect"
            )
        if not reports:
            raise UserError("all runs failed; the reasons are printed above")
        datasets = [report["provenance"]["dataset"] for report in reports]
        return {
            **{key: reports[0][key] for key in ("rendered", "dataset", "classes")},
            "settings": self.settings,
            "failures": results.failures,
            "provenance": provenance.collect(
                dataset=datasets[0]["name"],
                version=datasets[0]["version"],
                config=" and ".join(sorted({dataset["config"] for dataset in datasets})),
                split=split,
                seed=self.seed,
                durations_s={
                    "this call": time.monotonic() - self.began,
                    "all runs": sum(map(total_duration_s, reports)),
                },
            ),
        }

    def finish(
        self,
        report: Mapping,
        page: str,
        figures: Mapping[str, Figure],
        *,
        print_page: bool = False,
    ) -> int:
        """Write the report, and print its introduction or, with `print_page`, the complete page.

        Links to pictures are not printed.

        Returns:
            The study's exit code: 1 if any run failed, otherwise 0.
        """
        path = write_report(self.workdir, report, page, figures)
        text = page.rstrip("\n") if print_page else page.partition("\n## ")[0]
        text = "\n\n".join(part for part in text.split("\n\n") if not part.startswith("!["))
        print(f"{text}\n\nreport: {path.with_suffix('.html')}")
        return 1 if report.get("failures") else 0


def _find_reports(
    runs: Iterable[Run], folder: Path, todo: Container[str] | None
) -> tuple[dict[str, dict], dict[str, config_dict.ConfigDict]]:
    """Return the reports of finished runs and the configs of pending runs, by run name.

    A run whose evaluation settings have changed counts as pending; if it is not in `todo`, it is
    omitted from both, and a message says so.
    """
    reports, pending = {}, {}
    for run in runs:
        file = folder / run.name / "report.json"
        selected = todo is None or run.name in todo
        if not selected and not file.exists():
            continue
        config = resolve(run)
        flat = configs.flatten(config)
        if file.with_name("config.json").exists():
            check_workdir(file.parent, flat, "train", ignored=configs.NOT_COMPARED)
        changed = _changed_settings(flat, file) if file.exists() else []
        if file.exists() and not changed:
            reports[run.name] = read_json(file)
        elif selected:
            pending[run.name] = config
        else:
            print(
                f"{run.name}: omitted, because it was evaluated with other settings "
                f"({'; '.join(changed)}); execute this run again"
            )
    return reports, pending


def _changed_settings(flat: Mapping[str, Any], file: Path) -> list[str]:
    """Return a line for each evaluation setting that has changed since a report was written.

    Both the report and config.json are compared, because an interrupted evaluation leaves the new
    settings in config.json beside the earlier report.

    Args:
        flat: the flat config, from `config.flatten`.
        file: the run's report.json. Reports from earlier versions may lack the evaluation settings.
    """
    report, config_file, records = read_json(file), file.with_name("config.json"), []
    if "settings" in report:
        records.append(configs.flatten(report["settings"], "evaluation."))
    if config_file.exists():
        records.append(read_json(config_file))
    lines = [line for record in records for line in differences(flat, record)]
    return sorted({line for line in lines if line.startswith("evaluation.")})


def resolve(run: Run) -> config_dict.ConfigDict:
    """Return the validated config of a run; raise a UserError if it is invalid."""
    config = configs.load(run.config)
    configs.override(config, run.overrides)
    configs.check_keys(config)
    return config


def _prepare_datasets(run_configs: Iterable[config_dict.ConfigDict]) -> None:
    """Prepare all datasets before the first run, because a dataset error affects all runs."""
    unique = {(config.data.name, config.data.get("format")): config for config in run_configs}
    for config in unique.values():
        load = data.load_stems if config.task == "separation" else data.load
        load(config.data)


def _attempt(run: Run, config: config_dict.ConfigDict, folder: Path) -> dict | str:
    """Execute a run and return its report or, if it fails, the reason in one line."""
    name = Path(run.config.partition(":")[0]).stem
    try:
        with _redirect_output(folder / f"{run.name}.log"):
            experiment.run(name, config, folder / run.name, "train")
    except UserError as error:
        return str(error)
    except jax.errors.JaxRuntimeError as error:  # for example, out of memory
        return next(iter(str(error).splitlines()), type(error).__name__)
    finally:
        # Each run compiles its own training step; dozens of compiled steps would fill the memory.
        jax.clear_caches()
    return read_json(folder / run.name / "report.json")


@contextlib.contextmanager
def _redirect_output(path: Path) -> Iterator[None]:
    """Append stdout to a file, and also stderr unless it is a terminal that shows progress bars."""
    with contextlib.ExitStack() as stack:
        local = stack.enter_context(appended(path))
        file = stack.enter_context(open(local, "a", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(file))
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(file))
        yield


def total_duration_s(report: Mapping) -> float:
    """Return the total duration of a run in seconds."""
    return sum(report["provenance"]["durations_s"].values())
