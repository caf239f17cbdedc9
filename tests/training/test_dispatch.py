"""Choice of the placement of a split and of the number of steps per call."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.errors import UserError
from irec_jax.training import dispatch, parallel


class Split:
    """A split of `size` bytes."""

    def __init__(self, size):
        self.store_bytes = size

    steps_per_epoch = 80

    def __getitem__(self, step):
        return {"audio": np.ones((4 * jax.local_device_count(), 4), np.float32)}

    def create_store(self):
        return {"audio": np.arange(6, dtype=np.int16).reshape(2, 3)}


@pytest.fixture
def accelerator(monkeypatch):
    """Pretend that there is an accelerator with 1,000 bytes of free memory."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(parallel, "free_memory_bytes", lambda: 1000)


def test_audio_that_fits_lies_on_every_device(accelerator, capsys):
    share = int(1000 * dispatch.MEMORY_SHARE)
    for placement, size in (("auto", share), ("device", 1000)):
        store = dispatch.place(Split(size), placement, name="training")
        assert store["audio"].shape == (jax.local_device_count(), 2, 3)
        np.testing.assert_array_equal(parallel.first(store)["audio"], [[0, 1, 2], [3, 4, 5]])
    assert "the training split is stored on each device" in capsys.readouterr().out
    assert dispatch.place(Split(share + 1), "auto", name="training") is None
    assert dispatch.place(Split(1), "host", name="training") is None
    with pytest.raises(UserError, match="data.placement=device: the training split takes .*host"):
        dispatch.place(Split(1001), "device", name="training")


def test_memory_of_the_machine_counts_too(accelerator, monkeypatch):
    monkeypatch.setattr(dispatch, "host_memory_bytes", lambda: 100.0)
    size = int(100 * dispatch.HOST_SHARE)
    assert dispatch.place(Split(size), "auto", name="training") is not None
    assert dispatch.place(Split(size + 1), "auto", name="training") is None
    with pytest.raises(UserError, match="takes 0.00 GB, but a device has .*this process .* free"):
        dispatch.place(Split(101), "device", name="training")


def test_free_memory_of_the_machine_is_plausible():
    assert 2**20 < dispatch.host_memory_bytes() <= os.sysconf("SC_PHYS_PAGES") * 2**16


def test_on_the_cpu_audio_stays_on_the_host_and_steps_are_single():
    assert dispatch.place(Split(1), "auto", name="training") is None
    assert dispatch.place(Split(1), "device", name="training") is not None
    assert dispatch.steps_per_call(Split(1), lambda: jnp.dot, None, None) == 1


def test_number_of_steps_keeps_calls_short_compared_with_their_steps(accelerator):
    for steps, step_s, size, expected in (
        (138, 1e-3, 10, 23),  # ten steps of 1 ms would do, but 23 divide the epoch
        (100, 1e-3, 10, 10),
        (100, 1.0, 10, 1),
        (97, 1e-9, 10, dispatch.MAX_STEPS),  # a prime number of steps
        (7, 1e-9, 10, 7),
        (100, 1e-9, 2**26, 4),  # 64 MiB per step
        (100, 1e-9, 2**30, 1),
    ):
        chosen = dispatch.choose_steps(steps, step_s=step_s, input_bytes=size)
        assert chosen == expected, (steps, step_s, size)

    # From the floating-point operations of a step: 2 x 4 x 4 x 5 of them take no time.
    def step(state, batch):
        return state, (batch["audio"] @ state)

    mapped = parallel.map_step(step, donate_state=False)
    state = np.ones((4, 5), np.float32)
    assert dispatch.steps_per_call(Split(1), lambda: mapped, state, None) == 40
