"""Gradients of recurrent networks on the CPU: speed compared with PyTorch, and peak memory.

    python -m irec_jax.benchmarks.recurrent [--rounds 20] [--long_rounds 2]
    python -m irec_jax.benchmarks.recurrent --memory [--steps 442000 884000 1768000] [--batch 16]

The first command times the gradient of the loss for networks on 294 chunks of 300 samples (Goel:
50 units, 5 classes; batches of 64) and for an LSTM on 66,150 single samples (1.5 s; 22 units, 11
classes; batches of 2 and 16). Both frameworks use the same weights; before timing, the benchmark
checks that they compute the same loss. PyTorch's GRU applies the reset gate after the recurrent
product, ours before it. The candidate's recurrent kernel is therefore set to zero, which makes both
GRUs equivalent without changing the amount of work. On single samples, PyTorch is also timed
with one thread, because several threads slow it down. The ratio is PyTorch's median time divided by
ours.

The second command measures the peak resident memory needed to compute one gradient of the complete
LSTM network of Vazonis et al. (2022) on single samples. Each length runs in a separate process. The
columns of the table are the number of time steps, the peak memory, its growth relative to the
previous length, and the time per gradient in seconds.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import numpy as np

from irec_jax import losses, models
from irec_jax.benchmarks import networks, timing
from irec_jax.errors import UserError

OURS, PEER, PEER_ONE_THREAD = networks.OURS, "PyTorch", "PyTorch, one thread"
#: Networks on chunks: name -> model arguments.
CHUNKED: dict[str, dict[str, Any]] = {
    name: dict(cell=name.lower()) for name in ("RNN", "LSTM", "GRU")
}
CHUNKED["BLSTM"] = dict(cell="lstm", bidirectional=True)
CHUNKS, CHUNK_SAMPLES, CHUNKED_BATCH = 294, 300, 64
LONG_STEPS, LONG_BATCHES = 66_150, (2, 16)
#: The LSTM network of Vazonis et al. (2022) on single samples.
RAW_WAVEFORM = dict(num_classes=11, hidden=(22,), dense=(2048, 32, 1024), activation="lrelu_0.01")
_GIB = 1 << 30

#: Pair of the initial loss and a function that computes the loss and its gradient.
Implementation = tuple[float, Callable[[], float]]


def random_params(model, steps: np.ndarray) -> dict:
    """Return random weights scaled as in Keras; a GRU candidate's recurrent kernel is zero."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), steps[:1], train=False))["params"]
    rng = np.random.default_rng(0)

    def draw(path, shape):
        array = (rng.normal(size=shape.shape) / np.sqrt(shape.shape[0])).astype(np.float32)
        if path[-1].key == "recurrent_kernel" and shape.shape[1] == 3 * shape.shape[0]:
            array[:, 2 * shape.shape[0] :] = 0
        return array

    return jax.tree_util.tree_map_with_path(draw, shapes)


def jax_gradient(model, params: dict, steps: np.ndarray, labels: np.ndarray) -> Implementation:
    """Return our mean softmax cross-entropy, and a function that computes it and its gradient."""
    loss_of = losses.create("softmax_cross_entropy")

    def loss(params, steps, labels):
        return loss_of(model.apply({"params": params}, steps, train=True), labels).mean()

    gradient = jax.jit(jax.value_and_grad(loss))
    arguments = jax.device_put((params, steps, labels))

    def call() -> float:
        return float(jax.block_until_ready(gradient(*arguments))[0])

    return call(), call


def torch_gradient(
    model, params: dict, steps: np.ndarray, labels: np.ndarray, num_threads: int
) -> Implementation:
    """Return the same as `jax_gradient` for a recurrent layer and a classifier in PyTorch."""
    torch = timing.import_peer("torch")
    cell = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[model.cell]
    hidden = model.hidden[0]
    recurrent = cell(steps.shape[2], hidden, batch_first=True, bidirectional=model.bidirectional)
    classifier = torch.nn.Linear((1 + model.bidirectional) * hidden, model.num_classes)
    directions = {"forward_0": "_l0", "backward_0": "_l0_reverse"}
    for layer, suffix in list(directions.items())[: 1 + model.bidirectional]:
        for name, array in torch_weights(model.cell, params[layer]).items():
            getattr(recurrent, name + suffix).data = torch.tensor(array)
    classifier.weight.data = torch.tensor(np.ascontiguousarray(params["Dense_0"]["kernel"].T))
    classifier.bias.data = torch.tensor(params["Dense_0"]["bias"])
    inputs, targets = torch.tensor(steps), torch.tensor(labels.argmax(-1))
    network = torch.nn.ModuleList([recurrent, classifier])

    def loss():
        last = recurrent(inputs)[1]
        last = last[0] if model.cell == "lstm" else last  # LSTM: (hidden state, cell state)
        return torch.nn.functional.cross_entropy(classifier(torch.cat(list(last), -1)), targets)

    def call() -> float:
        torch.set_num_threads(num_threads)
        network.zero_grad()
        value = loss()
        value.backward()
        return value.item()

    with torch.no_grad():
        initial_loss = loss().item()
    return initial_loss, call


def torch_weights(cell: str, layer: dict) -> dict[str, np.ndarray]:
    """Return the weights of a layer under PyTorch's names, with gates in rows and a zero bias_hh.

    PyTorch's GRU orders its gates r, z, n, and its z corresponds to our 1 - z.
    """
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


def implementations(
    batch: int, num_steps: int, num_inputs: int, *, peers: tuple[str, ...] = (PEER,), **settings
) -> dict[str, Callable[[], float]]:
    """Check that all implementations agree on the loss; return a gradient function for each.

    Args:
        batch, num_steps, num_inputs: shape of the inputs.
        peers: implementations to compare with: `PEER`, `PEER_ONE_THREAD` or both.
        **settings: model arguments.

    Returns:
        A dict from implementation name to a function that computes the loss and its gradient and
        returns the loss.

    Raises:
        UserError: if the losses differ.
    """
    rng = np.random.default_rng(1)
    model = models.create("recurrent", **settings)
    steps = rng.normal(size=(batch, num_steps, num_inputs)).astype(np.float32)
    classes = rng.integers(model.num_classes, size=batch)
    labels = np.eye(model.num_classes, dtype=np.float32)[classes]
    params = random_params(model, steps)
    ours, call = jax_gradient(model, params, steps, labels)
    calls = {OURS: call}
    for name in peers:
        num_threads = 1 if name == PEER_ONE_THREAD else timing.num_cores()
        loss, calls[name] = torch_gradient(model, params, steps, labels, num_threads)
        print(f"loss: {ours:.6f}, {name} {loss:.6f}")
        networks.check_losses({OURS: ours, name: loss})
    return calls


def compare(title: str, calls: dict, *, num_rounds: int, num_warm_up: int, goal: int) -> None:
    """Time the implementations; print a table of times and each peer's time relative to ours."""
    seconds = timing.alternate(calls, num_rounds=num_rounds, num_warm_up=num_warm_up)
    print(timing.table(seconds, ours=OURS))
    for name in list(calls)[1:]:
        ratio = np.median(seconds[name]) / np.median(seconds[OURS])
        target = f" (goal: at least {goal})" if name == PEER else ""
        print(f"{title}: ratio {name} / {OURS}: {ratio:.2f}{target}", flush=True)


def time_raw_waveform_gradient(batch: int, num_steps: int) -> float:
    """Return the seconds that one `RAW_WAVEFORM` gradient takes after a warm-up call."""
    model = models.create("recurrent", **RAW_WAVEFORM)
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((batch, num_steps, 1), np.float32)
    labels = np.eye(11, dtype=np.float32)[rng.integers(11, size=batch)]
    loss_of = losses.create("categorical_cross_entropy")

    def loss(params, features, labels):
        logits = cast(jax.Array, model.apply({"params": params}, features, train=True))
        return loss_of(logits, labels).mean()

    gradient = jax.jit(jax.grad(loss))
    features = {"steps": steps, "num_steps": np.full(batch, num_steps, np.int32)}
    arguments = jax.device_put((random_params(model, steps), features, labels))
    del steps, features
    jax.block_until_ready(gradient(*arguments))
    start = time.perf_counter()
    jax.block_until_ready(gradient(*arguments))
    return time.perf_counter() - start


def measure(batch: int, num_steps: int) -> tuple[float, int]:
    """Return the seconds per gradient and the peak resident memory in bytes.

    A new process computes a warm-up gradient and a timed gradient. The current process cannot be
    used, because its peak would include memory that it used earlier.

    Raises:
        UserError: if the process fails.
    """
    arguments = ["--child_steps", str(num_steps), "--batch", str(batch)]
    command = [sys.executable, "-m", "irec_jax.benchmarks.recurrent", *arguments]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise UserError(f"--memory: {num_steps} steps, batch {batch}: {reason}")
    seconds, peak = process.stdout.split()[-2:]
    return float(seconds), int(peak)


def print_measurement(batch: int, num_steps: int) -> None:
    """Print the seconds per gradient and this process's peak resident bytes for `measure`."""
    seconds = time_raw_waveform_gradient(batch, num_steps)
    unit = 1 if sys.platform == "darwin" else 1024
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def print_memory(batch: int, lengths: Sequence[int]) -> None:
    """Print a table of peak memory by length, measuring each length in a new process."""
    print(f"gradient of the LSTM network on single samples, batch {batch}")
    print(f"{'steps':>12} {'peak':>12} {'growth':>8} {'seconds':>9}")
    before = None
    for num_steps in lengths:
        seconds, peak = measure(batch, num_steps)
        growth = f"{peak / before:.2f}" if before else ""
        print(f"{num_steps:12,} {peak / _GIB:8.3f} GiB {growth:>8} {seconds:9.2f}", flush=True)
        before = peak


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "recurrent",
        arguments,
        rounds=(20, 1, "number of rounds on chunks"),
        long_rounds=(2, 1, "number of rounds on single samples"),
        memory=(False, None, "measure memory instead of time"),
        steps=([442_000, 884_000, 1_768_000], 1, "lengths in samples for --memory"),
        batch=(16, 1, "batch size for --memory"),
        child_steps=(0, None, argparse.SUPPRESS),
    )
    if options.child_steps:
        print_measurement(options.batch, options.child_steps)
        return
    print(timing.environment(("jax", "jaxlib", "flax", "torch")))
    if options.memory:
        print_memory(options.batch, options.steps)
        return
    for name, settings in CHUNKED.items():
        title = f"{name} on {CHUNKS} x {CHUNK_SAMPLES} samples, batch {CHUNKED_BATCH}"
        print(f"\n{title}, {options.rounds} rounds")
        calls = implementations(CHUNKED_BATCH, CHUNKS, CHUNK_SAMPLES, num_classes=5, **settings)
        compare(title, calls, num_rounds=options.rounds, num_warm_up=3, goal=1)
    for batch in LONG_BATCHES:
        title = f"LSTM on {LONG_STEPS} single samples, batch {batch}"
        print(f"\n{title}, {options.long_rounds} rounds")
        peers = (PEER, PEER_ONE_THREAD)
        calls = implementations(batch, LONG_STEPS, 1, peers=peers, num_classes=11, hidden=(22,))
        compare(title, calls, num_rounds=options.long_rounds, num_warm_up=1, goal=10)


if __name__ == "__main__":
    timing.run(main, on_cpu=True)
