"""Work done by compiled programs, and the fractions of a device's peak rates that they reach.

A program's floating-point operations and bytes come from XLA's cost analysis, which counts a loop
body only once and omits some library calls. If the matrix products in the jaxpr, counted once per
loop iteration, need more operations than that, their number of operations is reported instead. For
programs with loops, the bytes are reported as unknown.
"""

import dataclasses
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.training.profiling import num_flops


@dataclasses.dataclass(frozen=True)
class Peak:
    """Peak rates of a device according to its manufacturer.

    Attributes:
        bfloat16: rate of dense bfloat16 matrix products in FLOP/s.
        float32: rate of dense float32 matrix products in FLOP/s. For NVIDIA GPUs since Ampere, this
            is the TF32 rate, which XLA uses for float32 products by default.
        bandwidth: memory bandwidth in bytes/s.
        source: document that states the rates.
    """

    bfloat16: float | None
    float32: float | None
    bandwidth: float
    source: str


_NVIDIA = "NVIDIA's data sheet for the {}, dense rates (half of those with sparsity)"
_GOOGLE = "Google Cloud's page on the {}"


def _nvidia(card: str, bfloat16: float | None, float32: float, terabytes: float) -> Peak:
    rate = None if bfloat16 is None else bfloat16 * 1e12
    return Peak(rate, float32 * 1e12, terabytes * 1e12, _NVIDIA.format(card))


def _tpu(name: str, bfloat16: float, gigabytes: float) -> Peak:
    return Peak(bfloat16 * 1e12, None, gigabytes * 1e9, _GOOGLE.format(name))


#: Prefix of `jax.Device.device_kind` -> peak rates; the longest matching prefix is used.
PEAKS = {
    "NVIDIA H200": _nvidia("H200 SXM", 989.5, 494.7, 4.8),
    "NVIDIA H100 PCIe": _nvidia("H100 PCIe", 756.5, 378.0, 2.0),
    "NVIDIA H100": _nvidia("H100 SXM", 989.5, 494.7, 3.35),
    "NVIDIA A100-SXM4-40GB": _nvidia("A100 40 GB", 312.0, 156.0, 1.555),
    "NVIDIA A100-SXM4-80GB": _nvidia("A100 80 GB SXM", 312.0, 156.0, 2.039),
    "NVIDIA A100 80GB PCIe": _nvidia("A100 80 GB PCIe", 312.0, 156.0, 1.935),
    "NVIDIA L4": _nvidia("L4", 121.0, 60.0, 0.3),
    "Tesla T4": _nvidia("T4", None, 8.1, 0.32),
    "TPU v4": _tpu("TPU v4", 275.0, 1228.0),
    "TPU v5 lite": _tpu("TPU v5e", 197.0, 819.0),
    "TPU v5": _tpu("TPU v5p", 459.0, 2765.0),
    "TPU v6 lite": _tpu("TPU v6e", 918.0, 1640.0),
}


def find_peak(device_kind: str) -> Peak | None:
    """Return the peak rates of a device kind, or None if they are unknown, as for CPUs."""
    for kind in sorted(PEAKS, key=len, reverse=True):  # most specific first
        if device_kind.startswith(kind):
            return PEAKS[kind]
    return None


@dataclasses.dataclass(frozen=True)
class Work:
    """Floating-point operations and bytes accessed per program call; None if unknown."""

    flops: float | None = None
    bytes: float | None = None

    def divide(self, count: int) -> "Work":
        """Return the work of one part when the program is divided into `count` equal parts."""
        values = (None if value is None else value / count for value in (self.flops, self.bytes))
        return Work(*values)


def count_work(function: Callable, *arguments: Any) -> tuple[Any, Work]:
    """Compile a jitted or mapped function; return it with its work on one device."""
    compiled: Any = function.lower(*arguments).compile()  # pyright: ignore[reportFunctionMemberAccess]
    costs = compiled.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, list | tuple) else costs
    products = float(num_flops(function, *arguments))
    if re.search(r"\bwhile\(", compiled.as_text() or ""):
        return compiled, Work(products or None)
    return compiled, Work(max(costs.get("flops", 0.0), products), costs.get("bytes accessed"))


@dataclasses.dataclass
class Row:
    """One row of the results table.

    Attributes:
        name: description of the step.
        dtype: dtype of the matrix products.
        examples: number of examples per step.
        seconds: median time of a step in seconds; None if the step failed or was not measured.
        minimum_s: minimum time of a step in seconds.
        work: work per step.
        peers: seconds per step of other implementations, by name.
        note: reason for a failure, or a remark.
    """

    name: str
    dtype: str
    examples: int
    seconds: float | None = None
    minimum_s: float | None = None
    work: Work = Work()
    peers: dict[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""

    def rates(self, peak: Peak | None) -> dict[str, float | None]:
        """Return the examples, FLOPs and bytes per second, and the fractions of the peak rates."""
        if self.seconds is None:
            return {}
        flops, moved = (
            None if value is None else value / self.seconds
            for value in (self.work.flops, self.work.bytes)
        )
        limit = None if peak is None else getattr(peak, self.dtype, None)
        bandwidth = None if peak is None else peak.bandwidth
        return {
            "examples_per_s": self.examples / self.seconds,
            "flop_per_s": flops,
            "share_of_peak": flops / limit if flops and limit else None,
            "bytes_per_s": moved,
            "share_of_bandwidth": moved / bandwidth if moved and bandwidth else None,
        }

    def to_dict(self, peak: Peak | None) -> dict[str, Any]:
        """Return the row and its rates as a dict for JSON."""
        return dataclasses.asdict(self) | self.rates(peak)


def time_calls(
    calls: Mapping[str, Callable[[], Any]], *, updates: int, rounds: int, budget_s: float = 1e9
) -> dict[str, list[float]]:
    """Time functions in alternation, after one untimed call of each.

    Args:
        calls: functions by name; each returns when its results are ready.
        updates: number of steps per call.
        rounds: number of rounds, at least one.
        budget_s: no further round starts after this many seconds.

    Returns:
        The seconds per step in each round, by name.
    """
    for call in calls.values():
        call()
    began, seconds = time.perf_counter(), {name: [] for name in calls}
    for turn in range(rounds):
        if turn and time.perf_counter() - began > budget_s:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append((time.perf_counter() - start) / updates)
    return seconds


def measure_ceilings(size: int, *, rounds: int = 5) -> dict[str, float]:
    """Measure the rates of large matrix products (FLOP/s, by dtype) and of a copy (bytes/s).

    Args:
        size: number of rows and columns in each matrix.
        rounds: number of timed calls per operation; the fastest call counts.
    """
    ceilings = {}
    for dtype in ("bfloat16", "float32"):
        matrix = jnp.ones((size, size), dtype)
        product = jax.jit(jnp.matmul)
        seconds = time_calls(
            {dtype: lambda m=matrix, f=product: jax.block_until_ready(f(m, m))},
            updates=1,
            rounds=rounds,
        )
        ceilings[dtype] = 2 * size**3 / min(seconds[dtype])
    values = jnp.ones((size * size,), jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    seconds = time_calls(
        {"copy": lambda: jax.block_until_ready(copy(values))}, updates=1, rounds=rounds
    )
    ceilings["bandwidth"] = 2 * values.nbytes / min(seconds["copy"])
    return ceilings


def table(rows: Iterable[Row], peak: Peak | None) -> str:
    """Return the rows as a Markdown table, with dashes for unknown values."""
    header = ["step", "dtype", "examples", "ms per step", "examples/s", "TFLOP/s", "share of peak"]
    header += ["GB/s", "share of bandwidth", "others / irec-jax"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        rates = row.rates(peak)
        if row.seconds is None:
            cells = [row.note or "not measured", *["-"] * 5, ""]
        else:
            peers = [f"{name} {s / row.seconds:.2f} x" for name, s in row.peers.items()]
            cells = [
                f"{1e3 * row.seconds:.3g}",
                f"{rates['examples_per_s']:,.4g}",
                _scaled(rates["flop_per_s"], 1e12),
                _percent(rates["share_of_peak"]),
                _scaled(rates["bytes_per_s"], 1e9),
                _percent(rates["share_of_bandwidth"]),
                "; ".join([*peers, *([row.note] if row.note else [])]) or "-",
            ]
        lines.append([row.name, row.dtype, f"{row.examples:,}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scaled(value: float | None, unit: float) -> str:
    return "-" if value is None else f"{value / unit:.3g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def median(seconds: list[float]) -> float:
    """Return the median time in seconds, or NaN if there are no times."""
    return float(statistics.median(seconds)) if seconds else float(np.nan)
