"""Traces of selected training steps, with their floating-point operations and throughput."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from irec_jax import distributed
from irec_jax.errors import UserError
from irec_jax.remote import Staged
from irec_jax.training.logging import log


def num_flops(step: Callable, *arguments: Any) -> int:
    """Count the floating-point operations in a function's matrix products and convolutions.

    Operations are counted in the jaxpr, because XLA's cost analysis counts a loop body only
    once, however often it runs. A multiply-add counts as two operations. For a mapped step, the
    operations on one device are counted. If there are alternative branches, such as one per
    platform, the smallest count is used.

    Args:
        step: any JAX function.
        *arguments: arguments of the function, or their shapes; the function is not run.
    """
    return _count(jax.make_jaxpr(step)(*arguments).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        inner = [_count(part) for part in _inner_jaxprs(equation.params)]
        name = equation.primitive.name
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, outputs = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += 2 * math.prod(outputs) * math.prod(left[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // outputs
        elif name == "scan":
            total += equation.params["length"] * sum(inner)
        elif name == "cond":
            total += min(inner)
        else:
            total += sum(inner)
    return total


def _inner_jaxprs(params: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the jaxprs among the parameters of an equation."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            jaxpr = getattr(item, "jaxpr", item)
            if hasattr(jaxpr, "eqns"):
                yield jaxpr


class Profiler:
    """Profiler that traces `num_steps` training steps, starting at `start_step`.

    Nothing is traced if `num_steps` is 0. A run that resumes within these steps traces the
    remaining ones. Calls with several steps are traced as a whole, starting with the first call
    that begins at `start_step` or later; by then, the previous call has compiled the step.

    Args:
        settings: the `profile` section of the config.
        folder: folder for the traces.
    """

    def __init__(self, settings: Mapping[str, int], folder: Path):
        self._steps = range(settings["start_step"], settings["start_step"] + settings["num_steps"])
        self._folder = folder
        self._first: int | None = None  # first step of the trace in progress
        self._done = not self._steps
        self._began = self._flops = 0.0

    def before(self, step: int, count: int, train_step: Callable, *arguments: Any) -> None:
        """Start the trace if it is due to begin with this call.

        Args:
            step: first step of the call.
            count: number of steps in the call.
            train_step: the function that is called.
            *arguments: arguments of `train_step`.
        """
        start = self._steps.start
        begins = start <= step < max(self._steps.stop, start + count)
        if self._done or self._first is not None or not begins:
            return
        jax.block_until_ready(arguments)
        self._flops = num_flops(train_step, *arguments) / count
        if distributed.is_main():
            self._staged = Staged(self._folder)
            jax.profiler.start_trace(str(self._staged.local), create_perfetto_trace=True)
        self._first, self._began = step, time.perf_counter()

    def after(self, step: int, result: Any) -> None:
        """End the trace if a call that ended with `step` has reached the last step to trace."""
        if self._first is not None and step >= self._steps[-1]:
            jax.block_until_ready(result)
            self._finish(self._first, step)

    def close(self, step: int) -> None:
        """End a trace in progress when training ends after `step` steps."""
        if self._first is not None:
            self._finish(self._first, step - 1)
        elif not self._done:
            log(
                f"profile: nothing traced; training started after "
                f"profile.start_step={self._steps[0]} or ended before it, at step {step}"
            )

    def _finish(self, first: int, last: int) -> None:
        seconds = (time.perf_counter() - self._began) / (last - first + 1)
        if distributed.is_main():
            jax.profiler.stop_trace()
            try:
                self._staged.close()
            except UserError as error:
                log(f"warning: {error}; training continues without this trace")
        devices = jax.device_count()
        lines = [
            f"profile of steps {first}..{last}: {self._folder}",
            "  view it with `pip install xprof tensorboard && tensorboard --logdir "
            f"{self._folder}`, or open its perfetto_trace.json.gz on https://ui.perfetto.dev",
            f"  {seconds * 1e3:.1f} ms per step on {devices} device(s)",
        ]
        if self._flops:
            total = self._flops * devices
            lines.append(
                f"  {total / 1e9:.2f} GFLOP per step, {total / seconds / 1e9:.1f} GFLOP/s achieved"
            )
        log("\n".join(lines))
        self._first, self._done = None, True
