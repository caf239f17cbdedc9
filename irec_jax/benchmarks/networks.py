"""Network training steps in JAX and PyTorch, starting from the same weights.

Ratios are PyTorch's median time divided by ours. A ratio above 1 means that ours is faster.
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
#: Maximum relative difference between the losses of two implementations with the same weights.
LOSS_TOLERANCE = 1e-4


class Implementation(NamedTuple):
    """One implementation of a network.

    Attributes:
        loss: mean loss with the initial weights, without dropout.
        step: function that takes one training step and returns its loss.
    """

    loss: float
    step: Callable[[], float]


def init_variables(model: nn.Module, features: np.ndarray) -> dict[str, Any]:
    """Return a network's initial variables for inputs with the shape of `features`."""
    init = jax.jit(model.init, static_argnames="train")
    return init(jax.random.key(0, impl="rbg"), features, train=False)


class Training(NamedTuple):
    """Our training step for a network on one batch, mapped over one device.

    Attributes:
        loss: function that returns the mean loss with the initial weights, without dropout.
        step: mapped function `(state, batch) -> (state, mean losses)` that donates the state.
        state, batch: arguments of `step`, on the device.
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
    """Return our training step, which updates the parameters with Adam.

    Args:
        model, params: the network and its initial parameters.
        loss_of: function that maps outputs and labels to the loss of each example.
        features, labels: the batch, which is the same in every step.
        model_state: the network's other variables, such as running statistics.
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
    """Return our training step, created with the arguments of `create_training`."""
    training = create_training(*arguments)
    state, initial_loss = training.state, training.loss()

    def step() -> float:
        nonlocal state
        state, value = training.step(state, training.batch)
        return float(value[0])

    return Implementation(initial_loss, step)


def import_torch() -> Any:
    """Import PyTorch and let it use one thread per core."""
    torch = timing.import_peer("torch")
    torch.set_num_threads(timing.num_cores())
    return torch


def torch_flatten() -> Any:
    """Return a PyTorch layer that flattens in Flax's order, without copying in channels_last."""

    class Flatten(import_torch().nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    return Flatten()


def torch_sequential(layers: list, params: dict) -> Any:
    """Return a PyTorch module with the given layers and the weights of a Flax network.

    Args:
        layers: modules in the order in which they are applied.
        params: Flax parameters Conv_0 ... and Dense_0 ..., in layer order.
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
    """Return an Adam training step for a PyTorch module in channels_last.

    Args:
        model: module with its initial weights.
        loss_of: function that maps outputs and labels to the mean loss.
        features: float32 images (batch, channels, height, width), converted to channels_last, or
            an array with a different number of axes, used as is.
        labels: the batch's float32 labels.
        device: PyTorch's name for the device.
        bfloat16: compute with autocast to bfloat16; the loss stays float32.
        compiled: compile the module with `torch.compile`.
        updates: number of updates per call; the call returns the loss of the last update.
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
    """Return PyTorch's training steps on the kind of device that JAX uses.

    Args:
        create: function that returns the module with its initial weights.
        loss_of, features, labels, bfloat16, updates: see `torch_step`.

    Returns:
        The steps for the eager and the compiled module, by name, and a note about failed steps.
        Both are empty if PyTorch is not installed or does not support the device.
    """
    try:
        torch = import_torch()
    except UserError:
        return {}, ""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != ("cpu" if jax.default_backend() == "cpu" else "cuda"):
        return {}, ""
    # XLA also computes float32 products in TF32, so PyTorch is allowed to do the same.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    peers: dict[str, Callable[[], float]] = {}
    notes = []
    options: dict[str, Any] = dict(device=device, bfloat16=bfloat16, updates=updates)
    for name, compiled in (("PyTorch", False), ("PyTorch compiled", True)):
        try:
            module = create()
            step = torch_step(module, loss_of, features, labels, compiled=compiled, **options).step
            step()
            peers[name] = step
        except Exception as error:  # compilers raise many types of errors
            notes.append(f"{name} failed ({type(error).__name__})")
    return peers, "; ".join(notes)


def check_losses(losses: Mapping[str, float]) -> None:
    """Check that all implementations compute the same loss.

    Raises:
        UserError: if a loss differs from ours.
    """
    ours = losses[OURS]
    for name, loss in losses.items():
        if not abs(loss - ours) <= LOSS_TOLERANCE * abs(ours):
            raise UserError(f"{name}: loss {loss} differs from ours, {ours}, with the same weights")


def compare(title: str, implementations: Mapping[str, Implementation], *, num_rounds: int) -> None:
    """Time the steps; print the losses, a table of times and the ratio of PyTorch's time to ours.

    Args:
        title: network name and batch size.
        implementations: implementations by name, including `OURS` and `PEER`.
        num_rounds: number of rounds per implementation.

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
