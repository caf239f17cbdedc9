"""Placement of a split's audio (devices or host), and number of training steps per call."""

import contextlib
import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from irec_jax import distributed
from irec_jax.errors import UserError
from irec_jax.training import parallel
from irec_jax.training.logging import log
from irec_jax.training.profiling import num_flops

#: Allowed values of the `data.placement` config key.
PLACEMENTS = ("auto", "device", "host")
#: Largest share of a device's free memory that `auto` allots to the audio of a split.
MEMORY_SHARE = 0.15
#: Largest share of a machine's free memory that `auto` allots to this audio while it is copied.
HOST_SHARE = 0.5
#: Assumed overhead of a call in seconds, and the largest share of the step time it may reach.
CALL_S, CALL_SHARE = 5e-4, 0.05
#: Assumed speed of a training step on an accelerator, in floating-point operations per second.
ASSUMED_FLOPS = 2e13
#: Limits of the automatic choice: steps per call, and input bytes per call.
MAX_STEPS, MAX_INPUT_BYTES = 64, 2**28


class Storable(Protocol):
    """Batches that can be cut from a store on a device; see `data.pipeline.RandomAccessBatches`."""

    @property
    def store_bytes(self) -> int:
        """Size of the store's audio in bytes."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps per epoch."""
        ...

    def create_store(self) -> Any:
        """Read the split into a store."""
        ...

    def positions(self, step: int) -> dict[str, np.ndarray]:
        """Return the positions of a step's examples in the store."""
        ...

    def __getitem__(self, step: int) -> dict[str, np.ndarray]: ...


def place(batches: Storable, placement: str, *, name: str) -> Any:
    """Return a split's store, copied to every device, or None if the split stays on the host.

    Every process must call this function at the same point; all processes reach the same decision.

    Args:
        batches: the split's batches.
        placement: 'device', 'host' or 'auto'. On accelerators, 'auto' means 'device' if the audio
            takes at most `MEMORY_SHARE` of the free memory of each device and `HOST_SHARE` of the
            free memory of the machine. Otherwise, and on the CPU, it means 'host'.
        name: name of the split, for log and error messages.

    Raises:
        UserError: `placement` is 'device', but the audio exceeds the free memory of a device or of
            the machine.
    """
    if placement == "host" or placement == "auto" and jax.default_backend() == "cpu":
        return None
    size, free = batches.store_bytes, parallel.free_memory_bytes()
    # Every process on a machine reads the split into memory.
    machines = distributed.on_all(socket.gethostname)
    host_free = host_memory_bytes() / machines.count(socket.gethostname())
    if placement == "auto":
        fits = free is not None and size <= MEMORY_SHARE * free and size <= HOST_SHARE * host_free
        # If processes decided differently, they would run different programs.
        if parallel.largest(int(not fits)).item():
            return None
    elif parallel.largest(int(size > min(host_free, math.inf if free is None else free))).item():
        on_device = "" if free is None else f"a device has {free / 1e9:.2f} GB and "
        raise UserError(
            f"data.placement=device: the {name} split takes {size / 1e9:.2f} GB, but {on_device}"
            f"this process has {host_free / 1e9:.2f} GB of free memory; set it to host"
        )
    log(f"the {name} split is stored on each device: {size / 1e9:.2g} GB")
    return parallel.copy_to_each(batches.create_store())


def host_memory_bytes() -> float:
    """Return the free memory in bytes, within control-group limits; inf if unknown."""
    free = [math.inf]
    with contextlib.suppress(OSError, ValueError, StopIteration):  # Linux
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        free.append(1024.0 * int(available.split()[1]))
        group = Path("/sys/fs/cgroup", Path("/proc/self/cgroup").read_text().split("::/")[-1][:-1])
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError, KeyError):  # 'max' means no limit
                limit = int((folder / "memory.max").read_text())
                stat = dict(line.split() for line in (folder / "memory.stat").open())
                # The page cache counts as used memory, but can be reclaimed.
                used = int((folder / "memory.current").read_text()) - int(stat["inactive_file"])
                free.append(limit - used)
    return max(0.0, min(free))


def steps_per_call(
    batches: Storable, single: Callable[[], Callable], state: Any, store: Any
) -> int:
    """Return the number of training steps per call that suits the default device.

    The number is 1 on the CPU. On accelerators, it is chosen so that the overhead of a call,
    `CALL_S`, is less than `CALL_SHARE` of the duration of its steps. The duration is estimated from
    the number of floating-point operations per step, at `ASSUMED_FLOPS` operations per second.

    Args:
        batches: the batches of the training split.
        single: function that returns the mapped training step for one step per call.
        state: the initial state, not replicated.
        store: the store of the split on the devices, or None.
    """
    if jax.default_backend() == "cpu":
        return 1
    inputs = batches[0] if store is None else batches.positions(0)
    stores = () if store is None else (store,)
    flops = num_flops(single(), parallel.replicate(state), parallel.shard(inputs), *stores)
    return choose_steps(
        batches.steps_per_epoch,
        step_s=flops / ASSUMED_FLOPS,
        input_bytes=sum(array.nbytes for array in inputs.values()),
    )


def choose_steps(steps_per_epoch: int, *, step_s: float, input_bytes: int) -> int:
    """Return the number of steps per call for a given step duration; see `steps_per_call`.

    Divisors of `steps_per_epoch` are preferred, since a shorter call at the end of an epoch would
    have to be compiled as well. The inputs of a call take at most `MAX_INPUT_BYTES`.
    """
    wanted = math.ceil(CALL_S / (CALL_SHARE * max(step_s, 1e-9)))
    largest = min(MAX_STEPS, steps_per_epoch, MAX_INPUT_BYTES // max(input_bytes, 1))
    count = max(1, min(wanted, largest))
    longer = range(count, min(3 * count, largest + 1))
    divisors = [n for n in longer if steps_per_epoch % n == 0]
    divisors += [n for n in range(count, 0, -1) if steps_per_epoch % n == 0 and 2 * n > count]
    return divisors[0] if divisors else count
