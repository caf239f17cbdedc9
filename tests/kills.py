"""Kill trainings at random moments and compare their reports with that of an undisturbed one.

    python tests/kills.py --kills 20 --seed 0

Every training runs on tiny data in a new folder, is killed with SIGKILL in one of the phases below,
and is started again until it has ended. Its report, predictions and files must be those of the
undisturbed training. Prints a line per kill; the exit code is 1 if a result differs. With
`--folder` the results are kept, and the same command with more kills goes on.
"""

import argparse
import atexit
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WORDS = (
    "--config=configs/han.py:debug",
    "--config.model.filters=(4, 8)",
    "--config.model.dense=16",
    "--config.training.num_epochs=4",
    "--config.training.patience=9",
    "--config.training.checkpoint_every_steps=2",
    "--config.evaluation.baselines=False",
)
_POLL_S = 0.001


@dataclasses.dataclass
class Process:
    """A running training: its folder and the file with its output."""

    workdir: Path
    log: Path
    popen: subprocess.Popen

    def printed(self, text: str) -> bool:
        return text in self.log.read_text(errors="replace")


#: Phase -> whether it has begun, in the order in which phases begin. A checkpoint is written within
#: a training, and its phase is a fixed time.
PHASES: dict[str, Callable[[Process], bool]] = {
    "start-up": lambda process: True,
    "training": lambda process: process.printed("training and "),
    "checkpoint": lambda process: any((process.workdir / "checkpoints").glob("*tmp*")),
    "evaluation": lambda process: process.printed("best epoch "),
    "report": lambda process: (process.workdir / "predictions.npz").exists(),
}
_CHECKPOINT_S = 0.3


def start(workdir: Path) -> Process:
    """Start or continue a training in a folder."""
    log = workdir.with_name(f"{workdir.name}.log")
    with open(log, "w") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", "irec_jax.main", *WORDS, f"--workdir={workdir}"],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
    atexit.register(popen.kill)  # no training goes on without this process
    return Process(workdir, log, popen)


def finish(process: Process) -> None:
    """Wait for the end of a training; raise RuntimeError with its output if it failed."""
    if process.popen.wait():
        raise RuntimeError(f"{process.workdir}: {process.log.read_text()[-2000:]}")


def undisturbed(workdir: Path) -> dict[str, float]:
    """Train once; return the duration of each phase in seconds."""
    process, began = start(workdir), {}
    remaining = [phase for phase in PHASES if phase != "checkpoint"]
    while process.popen.poll() is None:
        if remaining and PHASES[remaining[0]](process):
            began[remaining.pop(0)] = time.monotonic()
        time.sleep(_POLL_S)
    finish(process)
    ends = [*began.values(), time.monotonic()][1:]
    durations = {phase: end - began[phase] for phase, end in zip(began, ends, strict=True)}
    return durations | {"checkpoint": _CHECKPOINT_S}


def kill(process: Process, phase: str, delay_s: float) -> bool:
    """Kill a training some time after the beginning of a phase; return whether it still ran."""
    while not PHASES[phase](process) and process.popen.poll() is None:
        time.sleep(_POLL_S)
    time.sleep(delay_s)
    process.popen.kill()
    return process.popen.wait() < 0


def killed_once(workdir: Path, phase: str, delay_s: float) -> tuple[bool, int | None]:
    """Train in a folder with one kill, to the end.

    Returns:
        Whether the training still ran when it was killed, and the step after which it continued;
        None if it began again or was only evaluated.
    """
    still_ran = kill(start(workdir), phase, delay_s)
    second = start(workdir)
    finish(second)
    _, found, rest = second.log.read_text().partition("resuming after step ")
    return still_ran, int(rest.split()[0]) if found else None


def results(workdir: Path) -> dict[str, Any]:
    """Return what must not depend on a kill: report, predictions, names of files."""
    report = json.loads((workdir / "report.json").read_text())
    del report["provenance"]  # date, durations, command
    for row in (report["best_epoch"], *report["history"]):
        del row["seconds"]
    with np.load(workdir / "predictions.npz") as arrays:
        predictions = {f"predictions {name}": arrays[name].tolist() for name in arrays.files}
    files = sorted(path.name for path in workdir.iterdir())
    steps = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    return report | predictions | {"files": files, "checkpoints": steps}


def differences(workdir: Path, reference: Path) -> list[str]:
    """Return the names of the results that differ between two folders."""
    ours, theirs = results(workdir), results(reference)
    return [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]


def moments(
    num_kills: int, durations_s: dict[str, float], seed: int
) -> Iterator[tuple[str, float]]:
    """Yield phases in turn, and a random time after the beginning of each, in seconds."""
    rng, phases = random.Random(seed), list(PHASES)
    for index in range(num_kills):
        phase = phases[index % len(phases)]
        yield phase, rng.uniform(0.0, durations_s[phase])


def execute_kill(folder: Path, number: int, phase: str, delay_s: float) -> dict[str, Any]:
    """Train in `killed_NUMBER` with one kill; return its line and whether the results differ."""
    workdir = folder / f"killed_{number}"
    shutil.rmtree(workdir, ignore_errors=True)
    still_ran, step = killed_once(workdir, phase, delay_s)
    differing = differences(workdir, folder / "undisturbed")
    resumed = f"resumed after step {step}" if step else "nothing to resume"
    killed = f"killed {delay_s:.2f} s into {phase}" if still_ran else "had already ended"
    outcome = f"differs: {', '.join(differing)}" if differing else "the same results"
    return {"line": f"{number}: {killed}, {resumed}, {outcome}", "differs": bool(differing)}


def compare(folder: Path, num_kills: int, seed: int) -> int:
    """Execute the kills that the folder has no results of; return the number that differ."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    file = folder / f"kills_seed_{seed}.json"
    record: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if not record:
        for name in ("first", "undisturbed"):
            shutil.rmtree(folder / name, ignore_errors=True)
        undisturbed(folder / "first")  # prepares the data and compiles
        record = {"durations_s": undisturbed(folder / "undisturbed"), "kills": []}
        file.write_text(json.dumps(record, indent=1))
    kills = record["kills"]
    for number, moment in enumerate(moments(num_kills, record["durations_s"], seed), 1):
        if number > len(kills):
            kills.append(execute_kill(folder, number, *moment))
            file.write_text(json.dumps(record, indent=1))
        print(kills[number - 1]["line"], flush=True)
    return sum(kill["differs"] for kill in kills[:num_kills])


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="number of kills (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument("--folder", type=Path, help="keep everything here (default: nothing)")
    arguments = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="irec_jax_kills_") as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        num_different = compare(folder, arguments.kills, arguments.seed)
    print(f"{arguments.kills - num_different} of {arguments.kills} trainings with the same results")
    return 1 if num_different else 0


if __name__ == "__main__":
    sys.exit(main())
