"""One training step of Han's network on the CPU: JAX against PyTorch in channels_last.

    python -m irec_jax.benchmarks.train_step [--batch 32 128] [--rounds 20] [--stock]

The step is all of forward pass with dropout, loss (categorical cross-entropy on sigmoid outputs
divided by their sum), backward pass and Adam, on 1 s windows (43 frames x 128 bands) and 11
classes. Both frameworks start from the same weights; that they compute the same loss is checked,
with dropout off, before anything is timed. `--stock` adds the network of plain Flax layers.

The contestants take turns in one process, as many threads as cores each. The ratio is PyTorch's
median time divided by ours: above 1 ours is faster.
"""

import argparse
import functools
import sys
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np
import optax

from irec_jax import losses, models
from irec_jax.benchmarks import timing
from irec_jax.errors import UserError
from irec_jax.training import state as training_state
from irec_jax.training import step as training_step

NUM_FRAMES, NUM_BANDS, NUM_CLASSES = 43, 128, 11
LEARNING_RATE = 1e-3
FILTERS, DENSE, DROPOUT, DENSE_DROPOUT, SLOPE = (32, 64, 128, 256), 1024, 0.25, 0.5, 0.33
#: Two losses from the same weights may differ by this much, relative to one of them.
LOSS_TOLERANCE = 1e-4


class StockConvNet(nn.Module):
    """Han's network as one writes it in plain Flax; parameters as in `models.ConvNet`."""

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        x = features[..., None]
        for block, num_filters in enumerate(FILTERS, 1):
            for _ in range(2):
                x = nn.leaky_relu(nn.Conv(num_filters, (3, 3), padding=2)(x), SLOPE)
            x = nn.max_pool(x, (3, 3), (3, 3)) if block < len(FILTERS) else x.max((1, 2))
            x = nn.Dropout(DROPOUT)(x, deterministic=not train)
        x = nn.leaky_relu(nn.Dense(DENSE)(x), SLOPE)
        x = nn.Dropout(DENSE_DROPOUT)(x, deterministic=not train)
        return nn.Dense(NUM_CLASSES)(x)


def jax_contestant(
    model: nn.Module, params: dict, features: np.ndarray, labels: np.ndarray
) -> tuple[float, Callable[[], float]]:
    """Loss with dropout off, and a function that takes one step of `training` and returns its
    loss: the project's own step, mapped over one device, on ready features."""
    optimizer = optax.with_extra_args_support(optax.adam(LEARNING_RATE))

    def loss(params, model_state, batch, rng, train):
        logits = model.apply(
            {"params": params, "examples": {"index": batch["index"]}},
            batch["features"],
            train=train,
            rngs={"dropout": rng},
        )
        total = losses.categorical_cross_entropy(logits, batch["labels"]) * batch["mask"]
        return total.sum(), batch["mask"].sum(), model_state, {}

    size = len(features)
    batch = {"features": features, "labels": labels, "mask": np.ones(size, np.float32)}
    indexed = batch | {"index": np.arange(size)}
    start = jax.jit(loss, static_argnums=4)(params, {}, indexed, jax.random.key(0), False)[0]
    mapped = jax.pmap(
        functools.partial(training_step.train_step, loss=loss, optimizer=optimizer),
        axis_name=training_step.AXIS,
        donate_argnums=0,
        devices=jax.local_devices()[:1],
    )
    first = training_state.create(params, {}, optimizer, (), seed=0)
    stacked = jax.tree.map(lambda x: np.asarray(x)[None], (first, batch))
    state, batch = [stacked[0]], stacked[1]

    def call() -> float:
        state[0], value = mapped(state[0], batch)
        return float(value[0])

    return float(start) / size, call


def torch_contestant(
    params: dict, features: np.ndarray, labels: np.ndarray
) -> tuple[float, Callable[[], float]]:
    """The same of PyTorch, in channels_last.

    Raises:
        UserError: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{error}: install the peers with pip install 'irec-jax[peers]'") from error
    torch.set_num_threads(timing.num_cores())

    layers, num_inputs = [], 1
    for block, num_filters in enumerate(FILTERS, 1):
        for _ in range(2):
            layers.append(torch.nn.Conv2d(num_inputs, num_filters, 3, padding=2))
            layers.append(torch.nn.LeakyReLU(SLOPE, inplace=True))
            num_inputs = num_filters
        last = block == len(FILTERS)
        layers.append(torch.nn.AdaptiveMaxPool2d(1) if last else torch.nn.MaxPool2d(3))
        layers.append(torch.nn.Dropout(DROPOUT))
    layers += [torch.nn.Flatten(), torch.nn.Linear(num_inputs, DENSE)]
    layers += [torch.nn.LeakyReLU(SLOPE, inplace=True), torch.nn.Dropout(DENSE_DROPOUT)]
    layers.append(torch.nn.Linear(DENSE, NUM_CLASSES))
    model = torch.nn.Sequential(*layers)

    convolutions = [m for m in model if isinstance(m, torch.nn.Conv2d)]
    dense = [m for m in model if isinstance(m, torch.nn.Linear)]
    for kind, modules, axes in (("Conv", convolutions, (3, 2, 0, 1)), ("Dense", dense, (1, 0))):
        for number, module in enumerate(modules):
            layer = params[f"{kind}_{number}"]
            module.weight.data = torch.tensor(np.asarray(layer["kernel"]).transpose(axes).copy())
            module.bias.data = torch.tensor(np.asarray(layer["bias"]))
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    inputs = torch.tensor(features)[:, None].to(memory_format=torch.channels_last)
    targets = torch.tensor(labels)

    def loss():
        outputs = torch.sigmoid(model(inputs))
        shares = outputs / outputs.sum(-1, keepdim=True)
        return -(targets * torch.log(shares)).sum(-1).mean()

    def call() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.item()

    model.eval()
    with torch.no_grad():
        start = loss().item()
    model.train()
    return start, call


def contestants(batch_size: int, *, stock: bool) -> dict[str, Callable[[], float]]:
    """One step of each contestant, by name, once their losses were found equal.

    Raises:
        UserError: torch is not installed, or the losses differ.
    """
    rng = np.random.default_rng(0)
    features = rng.standard_normal((batch_size, NUM_FRAMES, NUM_BANDS), np.float32)
    labels = np.eye(NUM_CLASSES, dtype=np.float32)[rng.integers(NUM_CLASSES, size=batch_size)]
    model = models.create("convnet", num_classes=NUM_CLASSES, activation="lrelu_0.33")
    init = jax.jit(model.init, static_argnames="train")
    params = init(jax.random.key(0, impl="rbg"), features[:1], train=False)["params"]
    entries = {
        "irec-jax": jax_contestant(model, params, features, labels),
        "PyTorch channels_last": torch_contestant(params, features, labels),
    }
    if stock:
        entries["stock Flax"] = jax_contestant(StockConvNet(), params, features, labels)
    first = entries["irec-jax"][0]
    print(
        "loss without dropout: "
        + ", ".join(f"{n} {start:.6f}" for n, (start, _) in entries.items())
    )
    for name, (start, _) in entries.items():
        if not abs(start - first) <= LOSS_TOLERANCE * abs(first):
            raise UserError(f"{name}: loss {start} from the same weights, ours {first}")
    return {name: call for name, (_, call) in entries.items()}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.train_step")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128], help="batch sizes")
    parser.add_argument("--rounds", type=int, default=20, help="turns of every contestant")
    parser.add_argument("--stock", action="store_true", help="add plain Flax (slow)")
    options = parser.parse_args(arguments)

    print(timing.environment(("jax", "jaxlib", "flax", "optax", "torch")))
    for batch_size in options.batch:
        print(f"\ntraining step of Han's network, batch {batch_size}, {options.rounds} rounds")
        calls = contestants(batch_size, stock=options.stock)
        seconds = timing.alternate(calls, num_rounds=options.rounds)
        print(timing.table(seconds, ours="irec-jax"))
        jax_s, torch_s = (np.median(seconds[n]) for n in ("irec-jax", "PyTorch channels_last"))
        print(f"ratio PyTorch / irec-jax: {torch_s / jax_s:.3f} (at least as fast = 1.0)")


if __name__ == "__main__":
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
