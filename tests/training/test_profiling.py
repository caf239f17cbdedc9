"""Numbers of floating-point operations compared with manual counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import models
from irec_jax.training import parallel, profiling


def test_flops_of_products_loops_and_branches():
    a, b = jnp.ones((3, 4)), jnp.ones((4, 5))
    assert profiling.num_flops(jnp.dot, a, b) == 2 * 3 * 4 * 5

    def looped(a, b):
        return jax.lax.scan(lambda c, _: (c + a @ b, None), jnp.zeros((3, 5)), None, length=7)[0]

    assert profiling.num_flops(jax.jit(looped), a, b) == 7 * 2 * 3 * 4 * 5

    def branched(a, b):
        return jax.lax.platform_dependent(a, b, cpu=jnp.dot, default=lambda a, b: looped(a, b))

    assert profiling.num_flops(branched, a, b) == 2 * 3 * 4 * 5


def test_flops_of_a_mapped_function_are_those_of_one_device():
    mapped = parallel.map_step(lambda a, b: a @ b, donate_state=False)
    shapes = [np.ones((jax.local_device_count(), *shape)) for shape in ((3, 4), (4, 5))]
    assert profiling.num_flops(mapped, *shapes) == 2 * 3 * 4 * 5


def test_flops_of_the_forward_and_backward_pass_of_han():
    model = models.create("convnet", num_classes=11)
    features = jnp.zeros((2, 43, 128))
    key = jax.random.key(0)
    params = jax.eval_shape(lambda: model.init(key, features, train=False))
    forward = profiling.num_flops(lambda p: model.apply(p, features, train=False), params)
    # (height, width, input channels, output channels) of every convolution, and the dense layers.
    sizes = [(45, 130, 1, 32), (47, 132, 32, 32), (17, 46, 32, 64), (19, 48, 64, 64)]
    sizes += [(8, 18, 64, 128), (10, 20, 128, 128), (5, 8, 128, 256), (7, 10, 256, 256)]
    expected = 2 * sum(2 * 9 * h * w * i * o for h, w, i, o in sizes)
    expected += 2 * 2 * (256 * 1024 + 1024 * 11)
    # The first layer and the rows that pooling drops are not counted.
    assert 0.92 * expected < forward <= expected
    forward_and_backward = profiling.num_flops(
        jax.grad(lambda p: model.apply(p, features, train=False).sum()), params
    )
    assert 0.9 * 3 * expected < forward_and_backward <= 3 * expected


@pytest.mark.parametrize(
    ("size", "expected"), [(1, [(10, 14)]), (4, [(12, 15)]), (16, [(16, 31)]), (64, [(64, 127)])]
)
def test_a_trace_begins_after_the_call_that_compiles(size, expected, tmp_path, monkeypatch):
    traced = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda *_, **__: None)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
    monkeypatch.setattr(profiling, "num_flops", lambda *_: 0.0)
    profiler = profiling.Profiler({"start_step": 10, "num_steps": 5}, tmp_path / "trace")
    finish = profiler._finish
    monkeypatch.setattr(profiler, "_finish", lambda *ends: (traced.append(ends), finish(*ends)))
    for step in range(0, 192, size):
        profiler.before(step, size, lambda: None)
        profiler.after(step + size - 1, 0.0)
    profiler.close(192)
    assert traced == expected
