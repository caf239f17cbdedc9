"""One training step of a network: JAX against PyTorch, from the same weights to the same loss."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from irec_jax import distributed
from irec_jax.benchmarks import timing
from irec_jax.checkpoints import state as training_state
from irec_jax.errors import UserError
from irec_jax.losses import Loss
from irec_jax.training import step as training_step

OURS, PEER = "irec-jax", "PyTorch channels_last"
LEARNING_RATE = 1e-3
#: Two losses from the same weights may differ by this much, relative to one of them.
LOSS_TOLERANCE = 1e-4

#: The loss with dropout off, and a function that takes one step and returns its loss.
Contestant = tuple[float, Callable[[], float]]


def jax_contestant(
    model: nn.Module,
    params: dict,
    loss_of: Loss,
    features: np.ndarray,
    labels: np.ndarray,
    model_state: Mapping[str, Any] | None = None,
) -> Contestant:
    """The project's own step with Adam, mapped over one device, on ready features.

    model_state: what else the network knows, such as moving averages of statistics.
    """
    model_state = dict(model_state or {})
    optimizer = optax.with_extra_args_support(optax.adam(LEARNING_RATE))

    def loss(params, model_state, batch, rng, train):
        found = model.apply(
            {"params": params, "examples": {"index": batch["index"]}} | model_state,
            batch["features"],
            train=train,
            rngs={"dropout": rng},
            mutable=list(model_state) if train else False,
        )
        logits, model_state = found if train else (found, model_state)
        total = loss_of(logits, batch["labels"]) * batch["mask"]
        return total.sum(), batch["mask"].sum(), model_state, {}

    size = len(features)
    batch = {"features": features, "labels": labels, "mask": np.ones(size, np.float32)}
    indexed = batch | {"index": np.arange(size)}
    start = jax.jit(loss, static_argnums=4)(params, model_state, indexed, jax.random.key(0), False)[
        0
    ]
    mapped = jax.pmap(
        functools.partial(training_step.train_step, loss=loss, optimizer=optimizer),
        axis_name=distributed.AXIS,
        donate_argnums=0,
        devices=jax.local_devices()[:1],
    )
    first = training_state.create(params, model_state, optimizer, (), seed=0)
    stacked = jax.tree.map(lambda x: np.asarray(x)[None], (first, batch))
    state, batch = [stacked[0]], stacked[1]

    def call() -> float:
        state[0], value = mapped(state[0], batch)
        return float(value[0])

    return float(start) / size, call


def import_torch() -> Any:
    """PyTorch, with as many threads as there are cores.

    Raises:
        UserError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{error}: install the peers with pip install 'irec-jax[peers]'") from error
    torch.set_num_threads(timing.num_cores())
    return torch


def torch_contestant(
    layers: list,
    params: dict,
    loss_of: Callable[[Any, Any], Any],
    features: np.ndarray,
    labels: np.ndarray,
) -> Contestant:
    """The same of PyTorch, in channels_last.

    Args:
        layers: modules, to be called one after the other. Their weights become those of `params`.
        params: of Flax: Conv_0 ... and Dense_0 ..., in the order of the layers.
        loss_of: from outputs and labels to the mean loss.
        features: float32 (batch, channels, height, width).
        labels: float32 (batch, classes).
    """
    torch = import_torch()
    for kind, module_class, axes in (
        ("Conv", torch.nn.Conv2d, (3, 2, 0, 1)),
        ("Dense", torch.nn.Linear, (1, 0)),
    ):
        for number, module in enumerate(m for m in layers if isinstance(m, module_class)):
            weights = params[f"{kind}_{number}"]
            module.weight.data = torch.tensor(np.asarray(weights["kernel"]).transpose(axes).copy())
            module.bias.data = torch.tensor(np.asarray(weights["bias"]))
    return torch_steps(torch.nn.Sequential(*layers), loss_of, features, labels)


def torch_steps(
    model: Any, loss_of: Callable[[Any, Any], Any], features: np.ndarray, labels: np.ndarray
) -> Contestant:
    """Steps of a PyTorch module that has its weights; the rest as in `torch_contestant`."""
    torch = import_torch()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    inputs = torch.tensor(features).to(memory_format=torch.channels_last)
    targets = torch.tensor(labels)

    def call() -> float:
        optimizer.zero_grad()
        value = loss_of(model(inputs), targets)
        value.backward()
        optimizer.step()
        return value.item()

    model.eval()
    with torch.no_grad():
        start = loss_of(model(inputs), targets).item()
    model.train()
    return start, call


def compare(entries: Mapping[str, Contestant], *, num_rounds: int) -> str:
    """Times of all contestants and the ratio, once their losses were found equal: several lines.

    Args:
        entries: by name, `OURS` and `PEER` among them.
        num_rounds: turns of each.

    Raises:
        UserError: the losses differ.
    """
    first = entries[OURS][0]
    for name, (start, _) in entries.items():
        if not abs(start - first) <= LOSS_TOLERANCE * abs(first):
            raise UserError(f"{name}: loss {start} from the same weights, ours {first}")
    seconds = timing.alternate({n: c for n, (_, c) in entries.items()}, num_rounds=num_rounds)
    ours_s, peer_s = (np.median(seconds[name]) for name in (OURS, PEER))
    starts = ", ".join(f"{name} {start:.6f}" for name, (start, _) in entries.items())
    return (
        f"loss without dropout: {starts}\n{timing.table(seconds, ours=OURS)}\n"
        f"ratio PyTorch / irec-jax: {peer_s / ours_s:.3f} (at least as fast = 1.0)"
    )
