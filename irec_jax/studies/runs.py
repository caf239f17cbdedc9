"""Experiments of a study: one after the other, each in a folder of its own, each only once."""

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import config_dict

from irec_jax import config as configs
from irec_jax import data, experiment
from irec_jax.checkpoints import workdir as workdirs
from irec_jax.errors import UserError
from irec_jax.evaluation import provenance
from irec_jax.files import read_json
from irec_jax.training.logging import duration


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """An experiment of a study.

    Attributes:
        name: of its folder; what `--rows` looks at.
        config: `FILE:arguments`, as `--config` takes it.
        overrides: (`section.key`, text) pairs, as `--config.section.key=text` takes them.
        expected_s: about how long it takes on two cores; only what is left is told from it.
    """

    name: str
    config: str
    overrides: tuple[tuple[str, str], ...] = ()
    expected_s: float = 60.0


class Results(NamedTuple):
    """By the name of a run: its report as in report.json, or why there is none."""

    reports: dict[str, dict]
    failures: dict[str, str]


def add_arguments(parser: argparse.ArgumentParser, *, workdir: str, rows: bool = True) -> None:
    """The options that studies of experiments share; `--rows` where runs can be chosen."""
    parser.add_argument("--dataset", default="gm_irmas", help="gm_irmas (rendered) or irmas")
    parser.add_argument("--size", default="small", help="of rendered data: tiny, small or full")
    parser.add_argument("--data_dir", default="", help="where prepared data lies (default: TFDS's)")
    parser.add_argument("--manual_dir", default="", help="where files downloaded by hand lie")
    if rows:
        parser.add_argument(
            "--rows", default="", help="such as lstm,b3: those with one of these in their name"
        )
    parser.add_argument("--seed", type=int, default=0, help="of splits, parameters and batches")
    parser.add_argument(
        "--quick", action="store_true", help="a part, trained briefly: half an hour on two cores"
    )
    parser.add_argument(
        "--debug", action="store_true", help="everything once on tiny data; the scores mean nothing"
    )
    parser.add_argument("--workdir", default=workdir, help=f"for all of it (default: {workdir})")


def settings(arguments: argparse.Namespace) -> dict:
    """What the results depend on, of `add_arguments`; see `lock_study`.

    Raises:
        UserError: a dataset of another kind.
    """
    if arguments.dataset not in ("gm_irmas", "irmas"):
        raise UserError(f"--dataset {arguments.dataset}: known are gm_irmas and irmas")
    chosen = {name: getattr(arguments, name) for name in ("dataset", "seed", "quick", "debug")}
    return chosen | ({"size": arguments.size} if arguments.dataset == "gm_irmas" else {})


def overrides(arguments: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    """What the options of `add_arguments` set in every config."""
    pairs = [
        ("data.dir", arguments.data_dir),
        ("data.manual_dir", arguments.manual_dir),
        ("seed", str(arguments.seed)),
    ]
    if arguments.dataset == "gm_irmas" and not arguments.debug:
        pairs.append(("data.size", arguments.size))
    return tuple(pairs)


def choose(names: Iterable[str], text: str, option: str = "--rows") -> list[str]:
    """The names that contain one of the parts of a text with commas; all of an empty one.

    Raises:
        UserError: a part that no name contains.
    """
    names, parts = list(names), [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not any(part in name for name in names):
            raise UserError(f"{option} {part}: in none of {', '.join(names)}")
    return [name for name in names if not parts or any(part in name for part in parts)]


def execute(
    runs: Sequence[Run], *, todo: Sequence[str], workdir: Path, summary: Callable[[Mapping], str]
) -> Results:
    """Trains and evaluates what is not yet, with one line on stdout for each.

    What an experiment prints goes to `runs/NAME.log` in the workdir, beside its folder
    `runs/NAME`; one that was interrupted goes on where it stopped. A run that fails is told in its
    line, and the others are still done; the next call tries it again.

    Args:
        runs: of the study.
        todo: names of those that are asked for. Others are reported too if they are finished.
        workdir: of the study.
        summary: what the line says of a report.

    Raises:
        UserError: before any run, when a config is wrong, a folder holds a run of another config,
            or a dataset cannot be prepared.
    """
    reports, failures, started = {}, {}, {}
    for run in runs:
        place = workdir / "runs" / run.name
        if run.name not in todo and not (place / "report.json").exists():
            continue
        config = resolve(run)
        if (place / "config.json").exists():
            workdirs.check_workdir(
                place, configs.flatten(config), "train", ignored=configs.NOT_COMPARED
            )
        if (place / "report.json").exists():
            reports[run.name] = read_json(place / "report.json")
        else:
            started[run.name] = config
    left = [run for run in runs if run.name in started]
    _prepare(started.values())
    if left:
        print(f"{len(left)} runs to do; what they say goes to {workdir / 'runs'}/NAME.log")
    began, expected_s = time.monotonic(), 0.0
    while left:
        run, run_began = left.pop(0), time.monotonic()
        report = _attempt(run, started[run.name], workdir / "runs")
        if isinstance(report, str):
            failures[run.name], line = report, f"failed: {report}"
        else:
            reports[run.name], line = report, summary(report)
        expected_s += run.expected_s
        pace = (time.monotonic() - began) / expected_s
        rest = f"{len(left)} left, about {duration(pace * sum(r.expected_s for r in left))}"
        took = duration(time.monotonic() - run_began)
        print(f"{run.name}: {line}; {took}; {rest if left else 'none left'}", flush=True)
    names = [run.name for run in runs]
    return Results({name: reports[name] for name in names if name in reports}, failures)


def resolve(run: Run) -> config_dict.ConfigDict:
    """The config of a run; UserError for what is wrong with it."""
    config = configs.load(run.config)
    configs.override(config, run.overrides)
    configs.check_keys(config)
    return config


def _prepare(wanted: Iterable[config_dict.ConfigDict]) -> None:
    """Builds datasets before the first run: what is wrong with them is wrong with all runs."""
    kinds = {(config.data.name, config.data.get("format")): config for config in wanted}
    for config in kinds.values():
        load = data.load_stems if config.task == "separation" else data.load
        load(config.data)


def _attempt(run: Run, config: config_dict.ConfigDict, folder: Path) -> dict | str:
    """The report of a run, or what went wrong in one line."""
    name = Path(run.config.partition(":")[0]).stem
    try:
        with _log(folder / f"{run.name}.log"):
            experiment.run(name, config, folder / run.name, "train")
    except UserError as error:
        return str(error)
    except jax.errors.JaxRuntimeError as error:  # such as memory that does not suffice
        return next(iter(str(error).splitlines()), type(error).__name__)
    finally:
        # Every run compiles its own step; after dozens the old ones would fill the memory.
        jax.clear_caches()
    return read_json(folder / run.name / "report.json")


@contextlib.contextmanager
def _log(path: Path) -> Iterator[None]:
    """Stdout goes to a file; stderr too, unless a person looks at the progress bars there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "a", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(file))
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(file))
        yield


def collect_provenance(results: Results, *, split: str, seed: int, seconds: float) -> dict:
    """Provenance of a study, of the dataset of its first run; see `provenance.collect`.

    The duration of the runs is that of all of them, also of those done by earlier calls.
    """
    first = next(iter(results.reports.values()))["provenance"]["dataset"]
    runs_s = sum(
        sum(report["provenance"]["durations_s"].values()) for report in results.reports.values()
    )
    configs_ = {r["provenance"]["dataset"]["config"] for r in results.reports.values()}
    return provenance.collect(
        dataset=first["name"],
        version=first["version"],
        config=" and ".join(sorted(configs_)),
        split=split,
        seed=seed,
        durations_s={"this call": seconds, "all runs": runs_s},
    )
