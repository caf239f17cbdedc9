"""Read many damaged files and report what no user should meet.

    python tests/fuzz/run.py --cases 10000 --seed 0
    python tests/fuzz/run.py --case audio:1234 --seed 0

Every case must end, within 10 seconds and with less than 1 GiB of additional memory, in a result of
finite numbers or in a `UserError` of one line that names the file, and write nothing. All other
outcomes are printed with the name of the case; `--case` repeats one, and keeps its file.
"""

import argparse
import collections
import dataclasses
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
#: Folders of the modules that the targets import.
PATHS = (TESTS.parent, TESTS, TESTS / "data_builders", TESTS / "fuzz")
LIMIT_S = 10.0
LIMIT_BYTES = 1 << 30
_START_S = 300.0

Case = tuple[str, int]


@dataclasses.dataclass
class Report:
    """Outcomes: (target, 'read' or 'refused') -> number of cases, and descriptions of faults."""

    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    faults: dict[str, str] = dataclasses.field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yield the report."""
        for target in sorted({target for target, _ in self.counts}):
            num_read, num_refused = (self.counts[target, kind] for kind in ("read", "refused"))
            yield f"{target:<12} {num_read:6} read  {num_refused:6} refused"
        for case, fault in self.faults.items():
            yield f"{case}: {fault}"
        yield f"{self.counts.total() + len(self.faults)} cases, {len(self.faults)} faults"


def share(num_cases: int, shares: Mapping[str, float]) -> list[Case]:
    """Return cases of all targets, at least one of each."""
    return [
        (name, n) for name, part in shares.items() for n in range(max(1, round(part * num_cases)))
    ]


def damaged(target: Any, case: Case, seed: int) -> tuple[str, bytes]:
    """Return the name and the content of the damaged file of a case."""
    import mutations
    import numpy as np

    name, number = case
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    file_name, content = target.intact[number % len(target.intact)]
    others = [other for _, other in target.intact]
    return file_name, mutations.mutate(content, others, rng, text=target.text)


def check(target: Any, case: Case, seed: int, folder: Path) -> tuple[str, str]:
    """Run a case in an empty folder; return 'read', 'refused' or 'fault', and a description."""
    from irec_jax.errors import UserError

    file_name, content = damaged(target, case, seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        name = target.check(file_name, content, folder)
        outcome = ("read", "")
    except UserError as error:
        name, message = file_name, str(error)
        if target.names_file and file_name not in message:
            return "fault", f"an error that does not name the file: {message}"
        outcome = ("refused", message)
    except BaseException:
        return "fault", traceback.format_exc(limit=-3).strip().replace("\n", " | ")
    extra = {path.name for path in folder.iterdir()} - {name, file_name, "checkpoints"}
    if extra:
        return "fault", f"wrote {sorted(extra)}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return ("fault", f"{grown / 2**20:.0f} MiB of memory") if grown > LIMIT_BYTES else outcome


def _work(connection: Any, seed: int, folder: str) -> None:
    """Receive cases and send their outcomes, until the connection is closed."""
    sys.path[:0] = map(str, PATHS)
    import targets

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # notes of decoders
    made: dict[str, Any] = {}
    connection.send("ready")
    while (case := connection.recv()) is not None:
        name, number = case
        if name not in made:
            own = Path(folder, name)
            own.mkdir()
            made[name] = targets.TARGETS[name][0](own)
            connection.send("ready")
        place = Path(folder, "case")
        place.mkdir()
        outcome = check(made[name], case, seed, place)
        shutil.rmtree(place)
        connection.send(outcome)


class Worker:
    """A process that runs cases, replaced when it hangs or dies."""

    def __init__(self, seed: int):
        self._seed = seed
        self._process: Any = None
        self._names: set[str] = set()

    def run(self, case: Case) -> tuple[str, str]:
        """Return the outcome of a case; see `check`."""
        if self._process is None:
            self._start()
        self._connection.send(case)
        try:
            if case[0] not in self._names:  # the intact files are made first
                self._names.add(case[0])
                self._wait(_START_S)
            return self._wait(LIMIT_S)
        except TimeoutError:
            self.stop()
            return "fault", f"not finished after {LIMIT_S:.0f} s"
        except EOFError:
            self.stop()
            return "fault", "the process died"

    def stop(self) -> None:
        """End the process and remove its files."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._folder.cleanup()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="irec_jax_fuzz_")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._seed, self._folder.name)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._names = set()
        self._wait(_START_S)

    def _wait(self, limit_s: float) -> Any:
        if not self._connection.poll(limit_s):
            raise TimeoutError
        return self._connection.recv()


def run(cases: Sequence[Case], seed: int, *, progress: bool = False) -> Report:
    """Run cases one after the other in a process of their own."""
    report, worker, shown_s = Report(), Worker(seed), time.monotonic()
    try:
        for position, case in enumerate(cases):
            kind, description = worker.run(case)
            if kind == "fault":
                report.faults[f"{case[0]}:{case[1]}"] = description
            else:
                report.counts[case[0], kind] += 1
            if progress and time.monotonic() - shown_s > 10:
                shown_s = time.monotonic()
                print(f"{position + 1} of {len(cases)}", file=sys.stderr, flush=True)
    finally:
        worker.stop()
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="number of damaged files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--case", metavar="TARGET:NUMBER", help="repeat one case, keep its file")
    arguments = parser.parse_args()
    sys.path[:0] = map(str, PATHS)
    import targets

    if arguments.case:
        name, _, number = arguments.case.partition(":")
        folder = Path(tempfile.mkdtemp(prefix="irec_jax_fuzz_"))
        (folder / "intact").mkdir()
        (folder / "case").mkdir()
        target = targets.TARGETS[name][0](folder / "intact")
        print(folder / "case", check(target, (name, int(number)), arguments.seed, folder / "case"))
        return 0
    shares = {name: part for name, (_, part) in targets.TARGETS.items()}
    report = run(share(arguments.cases, shares), arguments.seed, progress=True)
    print("\n".join(report.lines()))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
