"""Measured and modelled times of a training step on several devices and processes.

    python -m irec_jax.benchmarks.scaling [--devices 1 2 4 8] [--processes 1 2 4]
        [--batch 64 256] [--width 64 1024] [--rounds 10]
    python -m irec_jax.benchmarks.scaling --paper

The first command trains a small dense network for a few steps in new processes: on several virtual
CPU devices in one process, and in several processes with one device each. Batch sizes are global,
so they do not depend on the number of devices or processes. For each setting, the command prints
the measured time of a step and the time predicted by `StepModel`, which is fitted to all
measurements. It also prints how much the parameters differ from parameters trained on one device,
relative to the largest change of any parameter. Virtual devices share the cores of the machine, so
using more devices than cores gives no speed-up.

The second command evaluates only the model: it prints all-reduce times for this project's networks
and the scaling efficiency on many accelerators.
"""

import argparse
import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy.optimize

from irec_jax.benchmarks import timing
from irec_jax.errors import UserError

#: Parameter counts of networks, as printed by `--dry-run`.
NETWORKS = {
    "Han's network": 1_446_123,
    "Ligtenberg's U-Net": 11_984_626,
    "FFT network of Vazonis et al.": 40_188_107,
}
#: Link bandwidths between machines in Gb/s.
LINKS_GBIT = (100, 400)
#: Assumed latency of one hop between machines in seconds.
HOP_S = 10e-6
NUM_INPUTS, NUM_OUTPUTS = 64, 8


def ring_hops(num_members: int) -> int:
    """Return the number of successive messages in a ring all-reduce."""
    return 2 * (num_members - 1)


def ring_share(num_members: int) -> float:
    """Return the number of bytes that each ring member sends per byte of the array."""
    return 2 * (num_members - 1) / num_members


def all_reduce_s(num_bytes: float, num_members: int, *, bandwidth: float, hop_s: float) -> float:
    """Return the time that a ring all-reduce takes, in seconds.

    Args:
        num_bytes: size of the array in bytes.
        num_members: number of devices or machines in the ring.
        bandwidth: bytes per second from each member to the next.
        hop_s: latency of a message in seconds.
    """
    return ring_share(num_members) * num_bytes / bandwidth + ring_hops(num_members) * hop_s


@dataclasses.dataclass(frozen=True)
class Setting:
    """Processes, devices per process, global batch size and layer width of a training step."""

    processes: int
    devices: int
    batch: int
    width: int

    @property
    def num_parameters(self) -> int:
        """Number of parameters: two dense layers of `width` units and the output layer."""
        sizes = (NUM_INPUTS, self.width, self.width, NUM_OUTPUTS)
        return sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))


@dataclasses.dataclass(frozen=True)
class StepModel:
    """Model of the training-step time as a sum of six terms.

    Attributes:
        call_s: fixed overhead per call, in seconds.
        product_s: seconds per example and parameter on one core.
        device_hop_s: seconds per hop of the all-reduce between the devices of a process.
        device_byte_s: seconds per byte of a device's gradients in that all-reduce on one core.
        process_hop_s: seconds per hop of the all-reduce between processes.
        process_byte_s: seconds per byte that a process sends in that all-reduce.
        cores: number of cores that the devices share.
    """

    call_s: float
    product_s: float
    device_hop_s: float
    device_byte_s: float
    process_hop_s: float
    process_byte_s: float
    cores: int

    def step_s(self, setting: Setting) -> float:
        """Return the predicted time of a step in seconds."""
        return float(_terms(setting, self.cores) @ dataclasses.astuple(self)[:-1])


def _terms(setting: Setting, cores: int) -> np.ndarray:
    """Return the factors by which `StepModel` multiplies its six times."""
    concurrent = min(setting.processes * setting.devices, cores)
    num_bytes = 4 * setting.num_parameters
    return np.array(
        [
            1.0,
            setting.batch * setting.num_parameters / concurrent,
            ring_hops(setting.devices),
            # Virtual devices exchange gradients through memory, which occupies the cores.
            setting.devices * num_bytes / concurrent if setting.devices > 1 else 0.0,
            ring_hops(setting.processes),
            ring_share(setting.processes) * num_bytes,
        ]
    )


def fit(seconds: dict[Setting, float], *, cores: int) -> StepModel:
    """Fit the model to measured times by non-negative least squares on the relative errors.

    Args:
        seconds: measured time of a step in each setting.
        cores: number of cores on the machine where the times were measured.
    """
    terms = np.array([_terms(setting, cores) for setting in seconds])
    values = np.array(list(seconds.values()))
    # The solver is more accurate if all columns have similar magnitudes.
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-12)
    solution, _ = scipy.optimize.nnls(terms / scale / values[:, None], np.ones(len(values)))
    return StepModel(*(solution / scale).tolist(), cores=cores)


def efficiency(
    compute_s: float, num_bytes: float, num_machines: int, *, gbit: float, hop_s: float = HOP_S
) -> float:
    """Return the fraction of a step that devices spend computing (weak scaling).

    The all-reduce is assumed not to overlap with the computation of the gradient.

    Args:
        compute_s: time of a step without all-reduce, in seconds.
        num_bytes: size of the gradients in bytes.
        num_machines: number of machines, each with one link.
        gbit: link bandwidth in Gb/s.
        hop_s: latency of a message in seconds.
    """
    reduce_s = all_reduce_s(num_bytes, num_machines, bandwidth=gbit * 1e9 / 8, hop_s=hop_s)
    return compute_s / (compute_s + reduce_s)


def train_child(settings: Sequence[Setting], rounds: int, out: str) -> None:
    """Train with each setting in this process.

    All settings have the same number of processes, each of which calls this function. For each
    setting, process 0 saves the seconds per round, and the parameters (2, N) before and after the
    first three steps, in the file `out`.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(setting.devices for setting in settings))
    from irec_jax import distributed

    distributed.initialize()
    arrays: dict[str, np.ndarray] = {}
    for number, setting in enumerate(settings):
        arrays[f"seconds_{number}"], arrays[f"parameters_{number}"] = _train(setting, rounds)
    if distributed.is_main():
        np.savez(out, **cast(Any, arrays))
    distributed.shutdown()


def _train(setting: Setting, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds per round and the parameters; see `train_child`."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax

    from irec_jax.checkpoints import state as training_state
    from irec_jax.training import parallel, step

    model = nn.Sequential(
        [nn.Dense(setting.width), nn.tanh, nn.Dense(setting.width), nn.tanh, nn.Dense(NUM_OUTPUTS)]
    )
    optimizer = optax.with_extra_args_support(optax.sgd(0.1))

    def loss(params: Any, model_state: Any, batch: Any, rng: Any, train: bool) -> Any:
        outputs = cast(jax.Array, model.apply({"params": params}, batch["x"]))
        errors = jnp.square(outputs - batch["y"]).mean(axis=1)
        return (errors * batch["mask"]).sum(), batch["mask"].sum(), model_state, {}

    def device_step(state: Any, batch: Any) -> Any:
        return step.train_step(state, batch, loss=loss, optimizer=optimizer)

    rng = np.random.default_rng(0)
    local = setting.batch // setting.processes
    own = slice(jax.process_index() * local, (jax.process_index() + 1) * local)
    batch = {
        "x": rng.standard_normal((setting.batch, NUM_INPUTS), np.float32)[own],
        "y": rng.standard_normal((setting.batch, NUM_OUTPUTS), np.float32)[own],
        "mask": (np.arange(setting.batch) % 5 > 0).astype(np.float32)[own],
    }
    devices = jax.local_devices()[: setting.devices]
    params = model.init(jax.random.key(0), batch["x"][:1])["params"]
    mapped = parallel.map_step(
        device_step, donate_state=True, devices=None if setting.processes > 1 else devices
    )
    first = training_state.create(params, {}, optimizer, (), 0)
    state = parallel.copy_to_each(first, devices)
    divided = {k: v.reshape(setting.devices, -1, *v.shape[1:]) for k, v in batch.items()}
    inputs = parallel.transfer(divided, devices)
    for _ in range(3):
        state, _ = mapped(state, inputs)
    trees = (params, parallel.first(state.params))
    leaves = [np.ravel(x) for tree in trees for x in jax.tree.leaves(tree)]
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        state, value = mapped(state, inputs)
        jax.block_until_ready(value)
        seconds.append(time.perf_counter() - start)
    return np.array(seconds), np.concatenate(leaves).reshape(2, -1)


def measure(settings: Sequence[Setting], *, rounds: int) -> list[tuple[float, np.ndarray]]:
    """Measure steps in new processes; all settings must have the same number of processes.

    Returns:
        For each setting, the minimum time of a step in seconds, and the parameters (2, N) before
        and after three steps.

    Raises:
        UserError: if a process fails.
    """
    count = settings[0].processes
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "results.npz")
        numbers = [str(number) for setting in settings for number in dataclasses.astuple(setting)]
        command = [sys.executable, "-m", "irec_jax.benchmarks.scaling", f"--out={out}"]
        command += [f"--rounds={rounds}", "--child", *numbers]
        children = []
        coordinator = f"localhost:{_free_port()}"
        for number in range(count):
            environment = {**os.environ, "JAX_PLATFORMS": "cpu", "IREC_PROCESS_ID": str(number)}
            environment.pop("IREC_COORDINATOR", None)
            if count > 1:
                environment["IREC_COORDINATOR"] = coordinator
                environment["IREC_NUM_PROCESSES"] = str(count)
            streams: Any = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            children.append(subprocess.Popen(command, env=environment, **streams))
        errors = [child.communicate()[1] for child in children]
        for child, text in zip(children, errors, strict=True):
            if child.returncode:
                reason = (text.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
                raise UserError(f"--processes={count}: {reason}")
        with np.load(out) as arrays:
            return [
                (float(arrays[f"seconds_{i}"].min()), arrays[f"parameters_{i}"])
                for i in range(len(settings))
            ]


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def measure_all(
    devices: Sequence[int],
    processes: Sequence[int],
    batches: Sequence[int],
    widths: Sequence[int],
    *,
    rounds: int,
) -> tuple[dict[Setting, float], dict[Setting, float]]:
    """Return the seconds per step and the deviation of the update, by setting.

    The deviation is the largest difference between a parameter and its value after training on one
    device, relative to the largest update of any parameter.
    """
    sizes = [(batch, width) for batch in batches for width in widths]
    in_one = [Setting(1, count, *size) for size in sizes for count in sorted({1, *devices})]
    groups = [in_one]
    groups += [[Setting(count, 1, *size) for size in sizes] for count in processes if count > 1]
    results = {}
    for group in groups:
        results |= zip(group, measure(group, rounds=rounds), strict=True)
    seconds = {setting: value for setting, (value, _) in results.items()}
    differences = {}
    for setting, (_, parameters) in results.items():
        before, expected = results[dataclasses.replace(setting, processes=1, devices=1)][1]
        difference = np.abs(parameters[1] - expected).max()
        differences[setting] = float(difference / np.abs(expected - before).max())
    return seconds, differences


def measured_table(
    seconds: dict[Setting, float], differences: dict[Setting, float], model: StepModel
) -> str:
    """Return the measured and the modelled times as a Markdown table."""
    lines = [
        "| processes x devices | batch | parameters | measured | model | update deviates by |",
        "|---|---|---|---|---|---|",
    ]
    for setting, value in seconds.items():
        lines.append(
            f"| {setting.processes} x {setting.devices} | {setting.batch} "
            f"| {setting.num_parameters:,} | {1e3 * value:.2f} ms "
            f"| {1e3 * model.step_s(setting):.2f} ms | {differences[setting]:.0e} |"
        )
    return "\n".join(lines)


def all_reduce_table(num_machines: int = 128) -> str:
    """Return the all-reduce times for float32 gradients as a Markdown table."""
    links = [f"{gbit} Gb/s" for gbit in LINKS_GBIT]
    lines = [
        f"| network | gradients | checkpoint with Adam | {' | '.join(links)} |",
        "|---" * (3 + len(links)) + "|",
    ]
    for name, parameters in NETWORKS.items():
        times = [
            all_reduce_s(4 * parameters, num_machines, bandwidth=gbit * 1e9 / 8, hop_s=HOP_S)
            for gbit in LINKS_GBIT
        ]
        cells = " | ".join(f"{1e3 * value:.1f} ms" for value in times)
        lines.append(
            f"| {name}, {parameters / 1e6:.3g} M parameters | {4 * parameters / 1e6:.3g} MB "
            f"| {12 * parameters / 1e6:.3g} MB | {cells} |"
        )
    return "\n".join(lines)


def efficiency_table(compute_s: Sequence[float] = (0.003, 0.03, 0.3)) -> str:
    """Return the weak-scaling efficiency as a Markdown table."""
    machines = (2, 16, 128)
    lines = [
        "| network | link | time of a step on one machine | "
        + " | ".join(f"{count} machines" for count in machines)
        + " |",
        "|---" * (3 + len(machines)) + "|",
    ]
    for name, parameters in NETWORKS.items():
        for gbit in LINKS_GBIT:
            for value in compute_s:
                shares = [
                    f"{efficiency(value, 4 * parameters, count, gbit=gbit):.0%}"
                    for count in machines
                ]
                lines.append(
                    f"| {name} | {gbit} Gb/s | {1e3 * value:.3g} ms | {' | '.join(shares)} |"
                )
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "scaling",
        arguments,
        devices=([1, 2, 4, 8], 1, "numbers of virtual devices in one process"),
        processes=([1, 2, 4], 1, "numbers of processes with one device each"),
        batch=([64, 256], 1, "global batch sizes, divisible by all --devices and --processes"),
        width=([64, 1024], 1, "units per hidden layer of the network"),
        rounds=(10, 1, "number of timed steps per setting"),
        paper=(False, None, "print only the model's tables"),
        child=([0], None, argparse.SUPPRESS),
        out=("", None, argparse.SUPPRESS),
    )
    if options.child != [0]:
        rows = np.array(options.child).reshape(-1, 4).tolist()
        train_child([Setting(*row) for row in rows], options.rounds, options.out)
        return
    if options.paper:
        print(f"{all_reduce_table()}\n\n{efficiency_table()}")
        return
    for batch in options.batch:
        for count in (*options.devices, *options.processes):
            if batch % count:
                raise UserError(
                    f"--batch={batch}: not divisible by {count} devices or processes; use a "
                    "multiple of all --devices and --processes"
                )
    print(timing.environment(("jax", "jaxlib", "flax")), flush=True)
    seconds, differences = measure_all(
        options.devices, options.processes, options.batch, options.width, rounds=options.rounds
    )
    model = fit(seconds, cores=timing.num_cores())
    print(measured_table(seconds, differences, model))
    print(f"\n{model}")


if __name__ == "__main__":
    timing.run(main)
