"""A trace of chosen training steps, with their floating-point operations and rate."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from irec_jax.errors import UserError


def num_flops(step: Callable, *arguments: Any) -> float:
    """Floating-point operations of one call of a mapped step on one device, as XLA counts them;
    0 where the backend does not say. Lowers and compiles the step once more."""
    analysis = step.lower(*arguments).compile().cost_analysis()
    if isinstance(analysis, list):
        analysis = analysis[0] if analysis else None
    return float((analysis or {}).get("flops", 0.0))


class Profiler:
    """Traces steps `start_step` .. `start_step + num_steps - 1`; nothing when num_steps is 0."""

    def __init__(self, settings: Mapping[str, int], folder: Path, say: Callable[[str], None]):
        if settings["num_steps"] < 0 or settings["start_step"] < 0:
            raise UserError("config keys profile.start_step and profile.num_steps: 0 or more")
        self._first = settings["start_step"]
        self._end = self._first + settings["num_steps"]
        self._folder, self._say = folder, say
        self._began = 0.0
        self._flops = 0.0

    def before(self, step: int, train_step: Callable, *arguments: Any) -> None:
        """To be called before a step, with what it will be called with."""
        if not self._first <= step < self._end:
            return
        if step == self._first:
            jax.block_until_ready(arguments)
            self._flops = num_flops(train_step, *arguments)
            jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
            self._began = time.perf_counter()

    def annotate(self, step: int) -> jax.profiler.StepTraceAnnotation:
        """Marks the step in the trace."""
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def after(self, step: int, result: Any) -> None:
        """To be called after a step, with its result."""
        if not self._first <= step < self._end or step + 1 != self._end:
            return
        jax.block_until_ready(result)
        seconds = (time.perf_counter() - self._began) / (self._end - self._first)
        jax.profiler.stop_trace()
        devices = jax.device_count()
        lines = [
            f"profile of steps {self._first}..{self._end - 1} in {self._folder}",
            "  open it: `pip install xprof tensorboard && tensorboard --logdir "
            f"{self._folder}`, or the perfetto_trace.json.gz in it on https://ui.perfetto.dev",
            f"  a step takes {seconds * 1e3:.1f} ms on {devices} device(s)",
        ]
        if self._flops:
            total = self._flops * devices
            lines.append(
                f"  {total / 1e9:.2f} GFLOP per step, {total / seconds / 1e9:.1f} GFLOP/s achieved"
            )
        for line in lines:
            self._say(line)
