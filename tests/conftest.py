"""Shape checks of the packages, and shared fixtures: clips, a data folder, a trained system."""

import gc
import hashlib
import os
import platform
import signal
import tempfile
from pathlib import Path

# Most of the time of the tests is compilation. Many compile the same networks, in several
# processes, which inherit these variables. JAX reads them when it is imported.
# Short vectors make for less code.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    + " --xla_cpu_max_isa=SSE4_2" * (platform.machine() == "x86_64"),
)
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="irec_jax_compiled_")  # deleted at exit
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
# Prepared data are kept apart from the user's. Workers and the processes that tests start inherit
# the folder, so that each dataset is prepared once. TFDS reads the variable when it is imported.
if "PYTEST_XDIST_WORKER" not in os.environ:
    prepared = tempfile.TemporaryDirectory(prefix="irec_jax_data_")  # deleted at exit
    os.environ["TFDS_DATA_DIR"] = prepared.name

# Each worker of pytest-xdist keeps to its share of the cores, and so do the processes that its
# tests start. Otherwise each would start threads and rendering processes for all cores.
if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    num_workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    if cores := sorted(os.sched_getaffinity(0))[worker::num_workers]:
        os.sched_setaffinity(0, cores)

import jaxtyping
import numpy as np
import pytest

#: Packages whose annotations, array shapes included, are checked in every call during the tests.
CHECKED_PACKAGES = (
    "irec_jax.dsp",
    "irec_jax.frontends",
    "irec_jax.augment",
    "irec_jax.kernels",
    "irec_jax.models",
    "irec_jax.losses",
    "irec_jax.metrics",
    "irec_jax.crosstalk",
    "irec_jax.inference",
    "irec_jax.tasks",
)
# jaxtyping's own pytest option would not reach the workers of pytest-xdist. As in static typing,
# an int is accepted for a float.
jaxtyping.install_import_hook(
    CHECKED_PACKAGES, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

# The hook applies to modules that are imported after it.
from irec_jax.cli.console import run_command  # noqa: E402
from irec_jax.data.labelled_clips import Clips, peak  # noqa: E402
from irec_jax.main import main  # noqa: E402

SAMPLE_RATE_HZ = 8000
#: Overrides for a network that compiles quickly.
SMALL = ["--config.model.filters=(4, 8)", "--config.model.dense=16"]


def pytest_collection_finish():
    """Collect garbage less often, and never among the imported modules and the tests.

    Tracing and compiling create many objects, and a full collection visits all that there are.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 5)


def call(*words):
    """Run the main command in this process and return its exit code."""
    return run_command(lambda: main([str(word) for word in words]))


def make_clips(num_clips=12, num_classes=3, num_samples=8000, seed=0):
    """Return clips of noisy tones: one pitch per class, two clips per song."""
    rng = np.random.default_rng(seed)
    target = np.arange(num_clips) % num_classes
    lengths = num_samples + rng.integers(0, 1500, num_clips)
    audio = []
    for klass, length in zip(target, lengths, strict=True):
        time_s = np.arange(length) / SAMPLE_RATE_HZ
        tone = np.sin(2 * np.pi * 300 * 2**klass * time_s + rng.uniform(0, 6))
        sound = rng.uniform(0.3, 0.9) * (tone + 0.05 * rng.normal(size=length)) / 1.3
        audio.append(np.round(sound * 32767).clip(-32768, 32767).astype(np.int16))
    return Clips(
        ids=np.array([f"clip {i}" for i in range(num_clips)]),
        songs=np.array([f"song {target[i]}-{i // (2 * num_classes)}" for i in range(num_clips)]),
        labels=np.eye(num_classes, dtype=np.float32)[target],
        num_samples=lengths.astype(np.int64),
        contradictory=np.zeros(num_clips, bool),
        read=lambda i: (audio[i], peak(audio[i])),
    )


@pytest.fixture
def unchecked(monkeypatch):
    """Switch the checks of annotations off, so that a test gets the errors that users get."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def tone_clips():
    """Return `make_clips`."""
    return make_clips


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard():
    """Restore SIGINT, which shells ignore in background jobs and their child processes."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _mfccs_are_computed_once():
    """Keep the MFCC statistics of each clip: many tests fit the baseline to the same clips."""
    from irec_jax.evaluation import baselines  # slow to import for processes that tests start

    compute, kept = baselines.mfcc_statistics, {}

    def statistics(audio, *, sample_rate_hz):
        key = hashlib.sha1(np.ascontiguousarray(audio)).digest(), audio.dtype, sample_rate_hz
        if key not in kept:
            kept[key] = compute(audio, sample_rate_hz=sample_rate_hz)
        return kept[key].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "mfcc_statistics", statistics)
        yield


@pytest.fixture(scope="session")
def data_folder():
    """Return the folder of the data that tests prepare."""
    return Path(os.environ["TFDS_DATA_DIR"])


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Workdir of a small network that was trained for two short epochs."""
    workdir = tmp_path_factory.mktemp("trained") / "small"
    assert call("--config=configs/han.py:debug", f"--workdir={workdir}", *SMALL) == 0
    return workdir
