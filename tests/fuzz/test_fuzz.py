"""Damaged files are read or refused in one line; `run.py` reads more of them."""

import multiprocessing
import tempfile
import time

import numpy as np
import pytest
import run

NUM_CASES = {
    "audio": 250,
    "recognition": 40,
    "csv": 60,
    "zip": 30,
    "stems": 20,
    "config": 16,
    "system": 8,
}


@pytest.fixture(scope="module")
def report():
    return run.run([(name, n) for name, num in NUM_CASES.items() for n in range(num)], seed=1)


@pytest.mark.parametrize("name", NUM_CASES)
def test_damaged_files_are_read_or_refused_in_one_line(report, name):
    faults = [fault for fault in report.faults.items() if fault[0].startswith(f"{name}:")]
    assert not faults, "\n".join(": ".join(fault) for fault in faults)
    assert report.counts[name, "refused"] > 0
    assert report.counts[name, "read"] + report.counts[name, "refused"] == NUM_CASES[name]


class Misbehaving:
    """A target with the fault that the suffix names."""

    text, names_file = False, True
    intact = tuple((name, b"x") for name in ("raises", "writes", "nameless", "good"))

    def check(self, suffix, content, folder):
        from irec_jax.errors import UserError

        if suffix == "raises":
            raise KeyError(suffix)
        if suffix == "writes":
            (folder / "elsewhere").write_bytes(content)
        if suffix == "nameless":
            raise UserError("some file is damaged")
        return suffix


@pytest.mark.parametrize(
    ("number", "kind", "word"),
    [
        (0, "fault", "KeyError"),
        (1, "fault", "elsewhere"),
        (2, "fault", "does not name"),
        (3, "read", ""),
    ],
)
def test_faults_are_noticed(number, kind, word, tmp_path):
    outcome = run.check(Misbehaving(), ("misbehaving", number), 0, tmp_path)
    assert outcome[0] == kind and word in outcome[1]


class Broken:
    """The connection to a process that does not answer, or has died."""

    def __init__(self, hangs):
        self.hangs = hangs

    def send(self, case):
        pass

    def poll(self, limit_s):
        assert limit_s == run.LIMIT_S
        return not self.hangs

    def recv(self):
        raise EOFError


@pytest.mark.parametrize(("hangs", "word"), [(True, "not finished"), (False, "died")])
def test_a_process_that_hangs_or_dies_is_a_fault_and_replaced(hangs, word, monkeypatch, tmp_path):
    worker = run.Worker(seed=0)

    def start():
        worker._process = multiprocessing.get_context("spawn").Process(
            target=time.sleep, args=(60,)
        )
        worker._process.start()
        worker._connection, worker._names = Broken(hangs), {"audio"}
        worker._folder = tempfile.TemporaryDirectory(dir=tmp_path)

    monkeypatch.setattr(worker, "_start", start)
    kind, description = worker.run(("audio", 0))
    assert kind == "fault" and word in description
    assert worker._process is None and not list(tmp_path.iterdir())


def test_cases_are_reproducible():
    import targets

    target = type("Target", (), dict(intact=[("a", bytes(range(256)))], text=False))
    first, second = (run.damaged(target, ("audio", 5), 3) for _ in range(2))
    assert first == second != run.damaged(target, ("audio", 6), 3)
    assert np.isclose(sum(part for _, part in targets.TARGETS.values()), 1)
