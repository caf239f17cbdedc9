"""Gradients of recurrent networks on the CPU: JAX against PyTorch, and the memory they take.

    python -m irec_jax.benchmarks.recurrent [--rounds 20] [--long_rounds 2]
    python -m irec_jax.benchmarks.recurrent --memory [--steps 442000 884000 1768000] [--batch 16]

The first command times the gradient of the loss of networks on 294 chunks of 300 samples (Goel:
50 units, 5 classes; batch 64) and of an LSTM on 66,150 single samples (1.5 s; 22 units, 11
classes; batches 2 and 16). Both frameworks have the same weights; that they find the same loss is
checked before anything is timed. PyTorch's GRU resets after the recurrent product, ours before it:
with the recurrent kernel of the candidate at zero, as here, both say the same; the work is the
same whatever its values. The contestants take turns in one process, as many threads as cores each;
on single samples PyTorch also has a turn with one thread, since several are in each other's way.
The ratio is PyTorch's median time divided by ours: above 1 ours is faster.

The second measures the peak resident memory of one gradient of the whole LSTM network of Vazonis
et al. (2022) on single samples, every length in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import timing
from irec_jax.errors import UserError

OURS, PEER, PEER_ALONE = "irec-jax", "PyTorch", "PyTorch, one thread"
#: The networks on chunks, by name: arguments of the model.
CHUNKED = {
    "RNN": dict(cell="rnn"),
    "LSTM": dict(cell="lstm"),
    "GRU": dict(cell="gru"),
    "BLSTM": dict(cell="lstm", bidirectional=True),
}
CHUNKS, CHUNK_SAMPLES, CHUNKED_BATCH = 294, 300, 64
LONG_STEPS, LONG_BATCHES = 66_150, (2, 16)
#: The whole network on single samples.
RAW = dict(num_classes=11, hidden=(22,), dense=(2048, 32, 1024), activation="lrelu_0.01")
#: Two losses from the same weights may differ by this much, relative to one of them.
LOSS_TOLERANCE = 1e-4
_GIB = 1 << 30

Contestant = tuple[float, Callable[[], float]]  # the loss, and a call that finds loss and gradient


def random_params(model, steps: np.ndarray) -> dict:
    """Weights of about the size of Keras's; the candidate of a GRU has no recurrent kernel."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), steps[:1], train=False))["params"]
    rng = np.random.default_rng(0)

    def draw(path, shape):
        array = (rng.normal(size=shape.shape) / np.sqrt(shape.shape[0])).astype(np.float32)
        if path[-1].key == "recurrent_kernel" and shape.shape[1] == 3 * shape.shape[0]:
            array[:, 2 * shape.shape[0] :] = 0
        return array

    return jax.tree_util.tree_map_with_path(draw, shapes)


def jax_contestant(model, params: dict, steps: np.ndarray, labels: np.ndarray) -> Contestant:
    """Mean softmax cross-entropy and its gradient."""
    loss_of = losses.create("softmax_cross_entropy")

    def loss(params, steps, labels):
        return loss_of(model.apply({"params": params}, steps, train=True), labels).mean()

    gradient = jax.jit(jax.value_and_grad(loss))
    arguments = jax.device_put((params, steps, labels))

    def call() -> float:
        return float(jax.block_until_ready(gradient(*arguments))[0])

    return call(), call


def torch_contestant(
    model, params: dict, steps: np.ndarray, labels: np.ndarray, num_threads: int
) -> Contestant:
    """The same of PyTorch's layers, for one recurrent layer and a classifier.

    Raises:
        UserError: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{error}: install the peers with pip install 'irec-jax[peers]'") from error
    cell = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[model.cell]
    hidden = model.hidden[0]
    recurrent = cell(steps.shape[2], hidden, batch_first=True, bidirectional=model.bidirectional)
    classifier = torch.nn.Linear((1 + model.bidirectional) * hidden, model.num_classes)
    ways = {"forward_0": "_l0", "backward_0": "_l0_reverse"}
    for layer, suffix in list(ways.items())[: 1 + model.bidirectional]:
        for name, array in as_torch(model.cell, params[layer]).items():
            getattr(recurrent, name + suffix).data = torch.tensor(array)
    classifier.weight.data = torch.tensor(np.ascontiguousarray(params["Dense_0"]["kernel"].T))
    classifier.bias.data = torch.tensor(params["Dense_0"]["bias"])
    inputs, targets = torch.tensor(steps), torch.tensor(labels.argmax(-1))
    network = torch.nn.ModuleList([recurrent, classifier])

    def loss():
        last = recurrent(inputs)[1]
        last = last[0] if model.cell == "lstm" else last  # hidden state, memory
        return torch.nn.functional.cross_entropy(classifier(torch.cat(list(last), -1)), targets)

    def call() -> float:
        torch.set_num_threads(num_threads)
        network.zero_grad()
        value = loss()
        value.backward()
        return value.item()

    with torch.no_grad():
        start = loss().item()
    return start, call


def as_torch(cell: str, layer: dict) -> dict[str, np.ndarray]:
    """Weights of a layer under PyTorch's names: gates in rows, of a GRU in the order r, z, n, and
    z the share of the old state, which here is 1 - z. The second bias is zero."""
    arrays = {
        "weight_ih": layer["kernel"].T,
        "weight_hh": layer["recurrent_kernel"].T,
        "bias_ih": layer["bias"],
    }
    if cell == "gru":
        for name, array in arrays.items():
            update, reset, candidate = np.split(array, 3)
            arrays[name] = np.concatenate([reset, -update, candidate])
    arrays["bias_hh"] = np.zeros_like(arrays["bias_ih"])
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def contestants(
    batch: int, num_steps: int, num_inputs: int, *, peers: tuple[str, ...] = (PEER,), **settings
) -> dict[str, Callable[[], float]]:
    """Calls by name, once their losses were found equal.

    Raises:
        UserError: torch is not installed, or the losses differ.
    """
    rng = np.random.default_rng(1)
    model = models.create("recurrent", **settings)
    steps = rng.normal(size=(batch, num_steps, num_inputs)).astype(np.float32)
    classes = rng.integers(model.num_classes, size=batch)
    labels = np.eye(model.num_classes, dtype=np.float32)[classes]
    params = random_params(model, steps)
    ours, call = jax_contestant(model, params, steps, labels)
    calls = {OURS: call}
    for name in peers:
        num_threads = 1 if name == PEER_ALONE else timing.num_cores()
        loss, calls[name] = torch_contestant(model, params, steps, labels, num_threads)
        print(f"loss: {ours:.6f}, {name} {loss:.6f}")
        if not abs(loss - ours) <= LOSS_TOLERANCE * abs(ours):
            raise UserError(f"{name}: loss {loss} from the same weights, ours {ours}")
    return calls


def compare(title: str, calls: dict, *, num_rounds: int, num_warm_up: int, goal: int) -> None:
    """Times the contestants and prints a table and the ratios."""
    seconds = timing.alternate(calls, num_rounds=num_rounds, num_warm_up=num_warm_up)
    print(timing.table(seconds, ours=OURS))
    for name in list(calls)[1:]:
        ratio = np.median(seconds[name]) / np.median(seconds[OURS])
        aim = f" (goal: at least {goal})" if name == PEER else ""
        print(f"{title}: ratio {name} / {OURS}: {ratio:.2f}{aim}", flush=True)


def gradient_of_raw_network(batch: int, num_steps: int) -> float:
    """Seconds of one gradient of the network on single samples, after compilation and one call."""
    model = models.create("recurrent", **RAW)
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((batch, num_steps, 1), np.float32)
    labels = np.eye(11, dtype=np.float32)[rng.integers(11, size=batch)]
    loss_of = losses.create("categorical_cross_entropy")

    def loss(params, features, labels):
        return loss_of(model.apply({"params": params}, features, train=True), labels).mean()

    gradient = jax.jit(jax.grad(loss))
    features = {"steps": steps, "num_steps": np.full(batch, num_steps, np.int32)}
    arguments = jax.device_put((random_params(model, steps), features, labels))
    del steps, features
    jax.block_until_ready(gradient(*arguments))
    start = time.perf_counter()
    jax.block_until_ready(gradient(*arguments))
    return time.perf_counter() - start


def measure(batch: int, num_steps: int) -> tuple[float, int]:
    """Seconds of a gradient, and the peak resident bytes of a process that finds two of them."""
    words = ["-m", "irec_jax.benchmarks.recurrent", "--one", str(num_steps), "--batch", str(batch)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UserError(f"--memory: {num_steps} steps, batch {batch}: {reason}")
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), int(peak)


def print_one(batch: int, num_steps: int) -> None:
    """What `measure` reads: seconds and peak resident bytes of this process."""
    seconds = gradient_of_raw_network(batch, num_steps)
    unit = 1 if sys.platform == "darwin" else 1024
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def print_memory(batch: int, lengths: list[int]) -> None:
    """Peak memory by length, a table. Nothing is computed in this process: a process that it
    starts would count what it holds as its own."""
    print(f"gradient of the LSTM network on single samples, batch {batch}")
    print(f"{'steps':>12} {'peak':>12} {'growth':>8} {'seconds':>9}")
    before = None
    for num_steps in lengths:
        seconds, peak = measure(batch, num_steps)
        growth = f"{peak / before:.2f}" if before else ""
        print(f"{num_steps:12,} {peak / _GIB:8.3f} GiB {growth:>8} {seconds:9.2f}", flush=True)
        before = peak


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.recurrent")
    parser.add_argument("--rounds", type=int, default=20, help="turns on chunks")
    parser.add_argument("--long_rounds", type=int, default=2, help="turns on single samples")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--steps", type=int, nargs="+", default=[442_000, 884_000, 1_768_000])
    parser.add_argument("--batch", type=int, default=16, help="batch of --memory")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for name in ("rounds", "long_rounds", "batch"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: {getattr(options, name)} is not 1 or more")
    if min(options.steps) < 1:
        raise UserError(f"--steps: {min(options.steps)} is not 1 or more")

    if options.one:
        print_one(options.batch, options.one)
        return
    print(timing.environment(("jax", "jaxlib", "flax", "torch")))
    if options.memory:
        print_memory(options.batch, options.steps)
        return
    for name, settings in CHUNKED.items():
        title = f"{name} on {CHUNKS} x {CHUNK_SAMPLES} samples, batch {CHUNKED_BATCH}"
        print(f"\n{title}, {options.rounds} rounds")
        calls = contestants(CHUNKED_BATCH, CHUNKS, CHUNK_SAMPLES, num_classes=5, **settings)
        compare(title, calls, num_rounds=options.rounds, num_warm_up=3, goal=1)
    for batch in LONG_BATCHES:
        title = f"LSTM on {LONG_STEPS} single samples, batch {batch}"
        print(f"\n{title}, {options.long_rounds} rounds")
        peers = (PEER, PEER_ALONE)
        calls = contestants(batch, LONG_STEPS, 1, peers=peers, num_classes=11, hidden=(22,))
        compare(title, calls, num_rounds=options.long_rounds, num_warm_up=1, goal=10)


if __name__ == "__main__":
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
