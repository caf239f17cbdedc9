"""Training steps of a network in JAX and PyTorch, from the same weights.

The ratio is PyTorch's median time divided by ours: above 1, ours is faster.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import numpy as np
import optax

from irec_jax.benchmarks import timing
from irec_jax.checkpoints import state as training_state
from irec_jax.errors import UserError
from irec_jax.losses import Loss
from irec_jax.training import parallel
from irec_jax.training import step as training_step

OURS, PEER = "irec-jax", "PyTorch channels_last"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch")
LEARNING_RATE = 1e-3
#: Maximum relative difference of the losses of two implementations from the same weights.
LOSS_TOLERANCE = 1e-4


class Implementation(NamedTuple):
    """One implementation of a network.

    Attributes:
        loss: mean loss from the initial weights, without dropout.
        step: takes one training step and returns its loss.
    """

    loss: float
    step: Callable[[], float]


def init_variables(model: nn.Module, features: np.ndarray) -> dict[str, Any]:
    """Return the initial variables of a network for features of this shape."""
    init = jax.jit(model.init, static_argnames="train")
    return init(jax.random.key(0, impl="rbg"), features, train=False)


class Training(NamedTuple):
    """Our training step of a network on one batch, mapped over one device.

    Attributes:
        loss: returns the mean loss from the initial weights, without dropout.
        step: mapped `(state, batch) -> (state, mean losses)`, which donates the state.
        state, batch: its arguments, on the device.
    """

    loss: Callable[[], float]
    step: Any
    state: Any
    batch: Any


def create_training(
    model: nn.Module,
    params: dict,
    loss_of: Loss,
    features: Any,
    labels: np.ndarray,
    model_state: Mapping[str, Any] | None = None,
) -> Training:
    """Return our training step with Adam.

    Args:
        model, params: the network and its initial parameters.
        loss_of: maps outputs and labels to the loss of each example.
        features, labels: the batch of every step.
        model_state: other variables of the network, such as running statistics.
    """
    model_state = dict(model_state or {})
    optimizer = optax.with_extra_args_support(optax.adam(LEARNING_RATE))

    def loss(params, model_state, batch, rng, train):
        outputs = cast(Any, model.apply)(
            {"params": params, "examples": {"index": batch["index"]}} | model_state,
            batch["features"],
            train=train,
            rngs={"dropout": rng},
            mutable=list(model_state) if train else False,
        )
        logits, model_state = outputs if train else (outputs, model_state)
        losses = loss_of(logits, batch["labels"]) * batch["mask"]
        return losses.sum(), batch["mask"].sum(), model_state, {}

    size = len(labels)
    batch = {"features": features, "labels": labels, "mask": np.ones(size, np.float32)}

    def initial_loss() -> float:
        indexed = batch | {"index": np.arange(size)}
        evaluate = jax.jit(loss, static_argnums=4)
        total, *_ = evaluate(params, model_state, indexed, jax.random.key(0), False)
        return float(total) / size

    devices = jax.local_devices()[:1]
    mapped = parallel.map_step(
        functools.partial(training_step.train_step, loss=loss, optimizer=optimizer),
        donate_state=True,
        devices=devices,
    )
    first = training_state.create(params, model_state, optimizer, (), seed=0)
    arguments = parallel.copy_to_each((first, batch), devices)
    return Training(initial_loss, mapped, *arguments)


def jax_step(*arguments: Any) -> Implementation:
    """Return our training step for the arguments of `create_training`."""
    training = create_training(*arguments)
    state, initial_loss = training.state, training.loss()

    def step() -> float:
        nonlocal state
        state, value = training.step(state, training.batch)
        return float(value[0])

    return Implementation(initial_loss, step)


def import_torch() -> Any:
    """Import PyTorch and give it as many threads as there are cores."""
    torch = timing.import_peer("torch")
    torch.set_num_threads(timing.num_cores())
    return torch


def torch_flatten() -> Any:
    """Return a PyTorch layer that flattens in the order of Flax; channels_last moves no data."""

    class Flatten(import_torch().nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    return Flatten()


def torch_sequential(layers: list, params: dict) -> Any:
    """Return PyTorch layers as one module with the weights of Flax.

    Args:
        layers: modules in the order of their calls.
        params: parameters of Flax: Conv_0 ... and Dense_0 ..., in the order of the layers.
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
    return torch.nn.Sequential(*layers)


def torch_step(
    model: Any,
    loss_of: Callable[[Any, Any], Any],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    device: str = "cpu",
    bfloat16: bool = False,
    compiled: bool = False,
    updates: int = 1,
) -> Implementation:
    """Return the training step of a PyTorch module with Adam, in channels_last.

    Args:
        model: module with its initial weights.
        loss_of: maps outputs and labels to the mean loss.
        features: float32 (batch, channels, height, width); other numbers of axes are left as is.
        labels: float32 labels of the batch.
        device: PyTorch's name of the device.
        bfloat16: compute under autocast to bfloat16; the loss is float32.
        compiled: compile the module with `torch.compile`.
        updates: number of updates of a call, which returns the loss of the last one.
    """
    torch = import_torch()
    layout = dict(memory_format=torch.channels_last) if features.ndim == 4 else {}
    model = model.to(device=device, **layout)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    inputs = torch.tensor(features).to(device=device, **layout)
    targets = torch.tensor(labels).to(device=device)
    network = torch.compile(model) if compiled else model

    def loss():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
            outputs = network(inputs)
        return loss_of(outputs.float(), targets)

    def update() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value

    def step() -> float:
        for _ in range(updates - 1):
            update()
        return update().item()

    model.eval()
    with torch.no_grad():
        initial_loss = loss().item()
    model.train()
    return Implementation(initial_loss, step)


def torch_peers(
    create: Callable[[], Any],
    loss_of: Callable[[Any, Any], Any],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    bfloat16: bool,
    updates: int,
) -> tuple[dict[str, Callable[[], float]], str]:
    """Return the training steps of PyTorch on the kind of device that JAX uses.

    Args:
        create: returns the module with its initial weights.
        loss_of, features, labels, bfloat16, updates: see `torch_step`.

    Returns:
        Name -> step of the eager and the compiled module, and a note about those that fail. Both
        are empty without PyTorch, or where it has no such device.
    """
    try:
        torch = import_torch()
    except UserError:
        return {}, ""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != ("cpu" if jax.default_backend() == "cpu" else "cuda"):
        return {}, ""
    # XLA, too, computes products of float32 in TF32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    peers: dict[str, Callable[[], float]] = {}
    note = ""
    options: dict[str, Any] = dict(device=device, bfloat16=bfloat16, updates=updates)
    for name, compiled in (("PyTorch", False), ("PyTorch compiled", True)):
        try:
            module = create()
            step = torch_step(module, loss_of, features, labels, compiled=compiled, **options).step
            step()
            peers[name] = step
        except Exception as error:  # of any type: compilers fail in many ways
            note = f"{name} failed ({type(error).__name__})"
    return peers, note


def check_losses(losses: Mapping[str, float]) -> None:
    """Check that all implementations compute the same loss as ours.

    Raises:
        UserError: if a loss differs.
    """
    ours = losses[OURS]
    for name, loss in losses.items():
        if not abs(loss - ours) <= LOSS_TOLERANCE * abs(ours):
            raise UserError(f"{name}: loss {loss} from the same weights, ours {ours}")


def compare(title: str, implementations: Mapping[str, Implementation], *, num_rounds: int) -> None:
    """Time the steps and print the losses, the table of times and the ratio.

    Args:
        title: names the network and the size of the batch.
        implementations: implementations by name, including `OURS` and `PEER`.
        num_rounds: rounds of each.

    Raises:
        UserError: if the losses differ.
    """
    print(f"\ntraining step of {title}, {num_rounds} rounds")
    losses = {name: implementation.loss for name, implementation in implementations.items()}
    check_losses(losses)
    steps = {name: implementation.step for name, implementation in implementations.items()}
    seconds = timing.alternate(steps, num_rounds=num_rounds)
    ours_s, peer_s = (np.median(seconds[name]) for name in (OURS, PEER))
    printed = ", ".join(f"{name} {loss:.6f}" for name, loss in losses.items())
    print(f"loss without dropout: {printed}\n{timing.table(seconds, ours=OURS)}")
    print(f"ratio PyTorch / irec-jax: {peer_s / ours_s:.3f} (above 1: irec-jax is faster)")
