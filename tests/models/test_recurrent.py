"""Recurrent layers and networks compared with their equations and automatic differentiation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from irec_jax import kernels, models
from irec_jax.errors import UserError
from irec_jax.kernels import recurrence
from irec_jax.models.recurrent import RecurrentLayer

BATCH, STEPS, INPUTS, HIDDEN = 3, 11, 5, 4
NUM_STEPS = np.array([11, 4, 1])
KINDS = list(kernels.CELLS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def equations(cell, params, steps, hidden=None):
    """Return the hidden states (steps, hidden) of one example (steps, inputs) after Goel."""
    kernel, recurrent, bias = (
        np.asarray(params[n], float) for n in ("kernel", "recurrent_kernel", "bias")
    )
    size = len(recurrent)
    parts = [slice(n * size, (n + 1) * size) for n in range(kernel.shape[1] // size)]
    w, u, b = ([array[..., part] for part in parts] for array in (kernel, recurrent, bias))
    h = np.zeros(size) if hidden is None else np.asarray(hidden, float)
    memory, states = np.zeros(size), []
    for x in np.asarray(steps, float):
        if cell == "rnn":
            h = np.tanh(x @ w[0] + h @ u[0] + b[0])  # (2)
        elif cell == "lstm":
            forget = sigmoid(x @ w[1] + h @ u[1] + b[1])  # (4)
            write = sigmoid(x @ w[0] + h @ u[0] + b[0])  # (5)
            candidate = np.tanh(x @ w[2] + h @ u[2] + b[2])  # (6)
            memory = forget * memory + write * candidate  # (7)
            read = sigmoid(x @ w[3] + h @ u[3] + b[3])  # (8)
            h = read * np.tanh(memory)  # (9)
        else:
            update = sigmoid(x @ w[0] + h @ u[0] + b[0])  # (10)
            reset = sigmoid(x @ w[1] + h @ u[1] + b[1])  # (11)
            candidate = np.tanh(x @ w[2] + (reset * h) @ u[2] + b[2])  # (12)
            h = (1 - update) * h + update * candidate  # (13)
        states.append(h)
    return np.array(states)


def draw(cell, seed=0, dtype=np.float32, inputs=INPUTS, steps=STEPS):
    """Return random weights, steps and initial state."""
    rng = np.random.default_rng(seed)
    kind = kernels.CELLS[cell]
    width = kind.num_gates * HIDDEN
    shapes = (inputs, width), (HIDDEN, width), (width,)
    weights = kernels.RecurrentWeights(
        *(rng.normal(0, 0.7, shape).astype(dtype) for shape in shapes)
    )
    sequence = rng.normal(size=(BATCH, steps, inputs)).astype(dtype)
    initial = rng.normal(size=(kind.num_states, BATCH, HIDDEN)).astype(dtype)
    return weights, sequence, tuple(initial)


def as_params(weights):
    return dict(zip(("kernel", "recurrent_kernel", "bias"), weights, strict=True))


@pytest.mark.parametrize("cell", KINDS)
def test_layer_matches_its_equations(cell):
    weights, steps, (hidden, *_) = draw(cell)
    layer = RecurrentLayer(cell, HIDDEN)
    apply = jax.jit(functools.partial(layer.apply, {"params": as_params(weights)}, sequence=True))
    expected = [equations(cell, as_params(weights), x) for x in steps]
    np.testing.assert_allclose(apply(steps), expected, rtol=1e-5, atol=1e-6)
    states = apply(steps, initial_hidden=hidden)
    expected = [
        equations(cell, as_params(weights), *pair) for pair in zip(steps, hidden, strict=True)
    ]
    np.testing.assert_allclose(states, expected, rtol=1e-5, atol=1e-6)


def reference(cell, weights, steps, initial, num_steps, reverse):
    """Return the last and all hidden states by `lax.scan`."""

    def step(state, values):
        t, x = values
        h, x = state[0], x @ weights.kernel + weights.bias
        recurrent = weights.recurrent
        if cell == "rnn":
            new = (jnp.tanh(x + h @ recurrent),)
        elif cell == "lstm":
            i, f, c, o = jnp.split(x + h @ recurrent, 4, 1)
            memory = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(c)
            new = jax.nn.sigmoid(o) * jnp.tanh(memory), memory
        else:
            (z, r, c), (uz, ur, uc) = jnp.split(x, 3, 1), jnp.split(recurrent, 3, 1)
            z, r = jax.nn.sigmoid(z + h @ uz), jax.nn.sigmoid(r + h @ ur)
            new = ((1 - z) * h + z * jnp.tanh(c + (r * h) @ uc),)
        is_valid = (t < num_steps)[:, None]
        new = tuple(jnp.where(is_valid, a, b) for a, b in zip(new, state, strict=True))
        return new, new[0]

    values = jnp.arange(steps.shape[1]), jnp.swapaxes(steps, 0, 1)
    state, states = lax.scan(step, initial, values, reverse=reverse)
    return state[0], jnp.swapaxes(states, 0, 1)


@pytest.mark.parametrize(
    "cell, length, store_all, masked, reverse, sequence",
    [
        *((cell, 4, stored, True, False, True) for cell in KINDS for stored in (True, False)),
        *((cell, 3, False, False, True, False) for cell in KINDS),
        ("lstm", 1, False, True, True, True),
        ("lstm", STEPS, True, False, False, False),
        ("gru", 4, True, True, True, False),
    ],
)
def test_values_and_gradients_match_lax_scan(cell, length, store_all, masked, reverse, sequence):
    with jax.enable_x64(True):
        arguments = draw(cell, dtype=np.float64)
        rng = np.random.default_rng(1)
        shape = (BATCH, STEPS, HIDDEN) if sequence else (BATCH, HIDDEN)
        factor, num_steps = rng.normal(size=shape), NUM_STEPS if masked else np.full(BATCH, STEPS)

        def ours(*arguments):
            settings = dict(
                reverse=reverse, sequence=sequence, segment_length=length, store_all=store_all
            )
            settings["num_steps"] = num_steps if masked else None
            return jnp.sum(factor * kernels.recurrent_scan(cell, *arguments, **settings))

        def theirs(*arguments):
            return jnp.sum(factor * reference(cell, *arguments, num_steps, reverse)[int(sequence)])

        derive = functools.partial(jax.value_and_grad, argnums=(0, 1, 2))
        actual, expected = jax.jit(lambda *a: (derive(ours)(*a), derive(theirs)(*a)))(*arguments)
        check = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11)
        jax.tree.map(check, actual, expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_steps_have_no_effect(reverse):
    """Results and gradients of padded examples equal those of each unpadded example."""
    weights, steps, _ = draw("lstm", steps=STEPS)
    layer = RecurrentLayer("lstm", HIDDEN, reverse=reverse)

    def total(params, steps, num_steps):
        return jnp.sum(jnp.sin(layer.apply({"params": params}, steps, num_steps=num_steps)))

    gradient = jax.jit(jax.value_and_grad(total, (0, 1)))
    value, (d_params, d_steps) = gradient(as_params(weights), steps, NUM_STEPS)
    unpadded = [
        gradient(as_params(weights), steps[n : n + 1, :count], None)
        for n, count in enumerate(NUM_STEPS)
    ]
    np.testing.assert_allclose(value, sum(a[0] for a in unpadded), atol=1e-6)
    for name in d_params:
        expected = sum(a[1][0][name] for a in unpadded)
        np.testing.assert_allclose(d_params[name], expected, atol=1e-6)
    for n, count in enumerate(NUM_STEPS):
        np.testing.assert_allclose(d_steps[n, :count], unpadded[n][1][1][0], atol=1e-6)
        assert not np.any(d_steps[n, count:])


def test_initial_weights_match_keras():
    @jax.jit
    def start():
        layers = {
            "lstm": RecurrentLayer("lstm", 30),
            "unforgetful": RecurrentLayer("lstm", 30, unit_forget_bias=False),
            "gru": RecurrentLayer("gru", 30),
        }
        steps = jnp.zeros((1, 1, 200))
        return {name: x.init(jax.random.key(0), steps)["params"] for name, x in layers.items()}

    params = start()
    limit = np.sqrt(6 / (200 + 120))
    assert 0.99 * limit < np.abs(params["lstm"]["kernel"]).max() <= limit
    recurrent = np.asarray(params["lstm"]["recurrent_kernel"])
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(30), atol=1e-5)
    np.testing.assert_array_equal(params["lstm"]["bias"], np.repeat([0, 1, 0, 0], 30))
    assert not np.any(params["unforgetful"]["bias"]) and not np.any(params["gru"]["bias"])


def network(seed=0, inputs=INPUTS, **settings):
    """Return a network and random parameters."""
    model = models.create("recurrent", num_classes=2, **settings)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 2, inputs)), train=False)
    )["params"]
    rng = np.random.default_rng(seed)
    return model, jax.tree.map(lambda s: rng.normal(0, 0.5, s.shape).astype(np.float32), shapes)


def both_ways(cell, params, number, steps):
    """Return the concatenated states of both directions, from the equations."""
    forward = equations(cell, params[f"forward_{number}"], steps)
    backward = equations(cell, params[f"backward_{number}"], steps[::-1])[::-1]
    return np.concatenate([forward, backward], axis=1)


@pytest.mark.parametrize("head", ["last", "per_step"])
def test_bidirectional_layers_start_at_the_last_valid_step(head):
    model, params = network(cell="gru", hidden=(4, 3), bidirectional=True, head=head)
    steps = draw("gru")[1]
    features = {"steps": steps, "num_steps": NUM_STEPS}
    apply = jax.jit(functools.partial(model.apply, train=False))
    logits = apply({"params": params}, features)
    if head == "per_step":
        logits, is_valid = logits
        np.testing.assert_array_equal(is_valid.sum(1), NUM_STEPS)
    for n, count in enumerate(NUM_STEPS):
        states = both_ways("gru", params, 0, steps[n, :count])
        states = both_ways("gru", params, 1, states)
        if head == "last":
            states = np.concatenate([states[-1:, :3], states[:1, 3:]], axis=1)
        expected = states @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
        actual = logits[n, :count] if head == "per_step" else logits[n][None]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
        assert head == "last" or is_valid[n, :count].all()


def test_padding_steps_are_excluded_from_means():
    """The gradient of a mean over the valid steps equals that of the unpadded example."""
    model, params = network(head="per_step", hidden=(4,))
    steps = draw("lstm")[1]

    def mean(params, features):
        logits = model.apply({"params": params}, features, train=False)
        logits, is_valid = logits if isinstance(logits, tuple) else (logits, None)
        return jnp.mean(jax.nn.log_softmax(logits)[..., 0], axis=1, where=is_valid).sum()

    gradient = jax.jit(jax.value_and_grad(mean))
    value, actual = gradient(params, {"steps": steps[1:2], "num_steps": NUM_STEPS[1:2]})
    expected_value, expected = gradient(params, steps[1:2, : NUM_STEPS[1]])
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), actual, expected)


def test_dense_layers_on_single_samples_match_the_equations():
    settings = dict(hidden=(4,), dense=(6, 5), activation="lrelu_0.01")
    model, params = network(inputs=1, **settings)
    steps = draw("lstm", inputs=1)[1]
    expected = []
    for example in steps:
        y = equations("lstm", params["forward_0"], example)[-1]
        for number in range(3):
            y = y @ params[f"Dense_{number}"]["kernel"] + params[f"Dense_{number}"]["bias"]
            y = np.where((y < 0) & (number < 2), 0.01 * y, y)
        expected.append(y)
    apply = jax.jit(functools.partial(model.apply, train=False, mutable=["intermediates"]))
    actual, state = apply({"params": params}, steps)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(state["intermediates"]["output"][0], actual)


def test_vmap_mapped_steps_and_bfloat16():
    weights, steps, initial = draw("lstm")

    def gradient(weights, steps, initial):
        return jax.grad(
            lambda w: kernels.recurrent_scan("lstm", w, steps, initial, segment_length=4).sum()
        )(weights)

    several = jax.tree.map(lambda x: np.stack([x, 0.5 * x]), weights)
    actual = jax.jit(jax.vmap(gradient, (0, None, None)))(several, steps, initial)
    expected = jax.jit(gradient)(jax.tree.map(lambda x: x[1], several), steps, initial)
    check = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: check(a[1], b), actual, expected)
    mapped = jax.pmap(gradient, devices=jax.local_devices()[:1])
    mapped = mapped(*jax.tree.map(lambda x: x[None], (weights, steps, initial)))
    jax.tree.map(lambda a, b: check(a[0], b[0]), mapped, actual)

    layers = [RecurrentLayer("lstm", HIDDEN, dtype=dtype) for dtype in (jnp.bfloat16, jnp.float32)]
    apply = jax.jit(lambda params, steps: [x.apply({"params": params}, steps) for x in layers])
    actual, expected = apply(as_params(weights), steps)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, atol=0.05)
    assert np.any(actual != expected)


def test_dropout_is_applied_to_steps_and_after_layers():
    steps = draw("lstm")[1]
    for rates in (dict(input_dropout=0.5), dict(dropout=0.5, dense=(8,))):
        model, params = network(**rates)
        apply = functools.partial(model.apply, {"params": params}, steps)
        train = jax.jit(lambda key, apply=apply: apply(train=True, rngs={"dropout": key}))
        first, second = (train(jax.random.key(n)) for n in (1, 2))
        assert np.any(first != second)
        assert np.any(first != jax.jit(functools.partial(apply, train=False))())


def test_gradient_memory_is_that_of_the_sequence():
    """XLA's memory for twice the length grows by less than 1 value per step and example; storing
    everything would take 6 x 22."""
    model, params = network(inputs=1, hidden=(22,), dense=(32,))

    def planned_bytes(length):
        def loss(params, steps):
            return model.apply({"params": params}, steps, train=True).sum()

        steps = jax.ShapeDtypeStruct((16, length, 1), jnp.float32)
        compiled = jax.jit(jax.grad(loss)).lower(params, steps).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    length = 64 * 400
    assert planned_bytes(2 * length) - planned_bytes(length) < 16 * length * 4


def test_segment_lengths_divide_the_sequence():
    assert recurrence.choose_segment_length(11) == 11
    assert recurrence.choose_segment_length(294) == 49  # 6 of them
    assert recurrence.choose_segment_length(884_000) == 52
    assert recurrence.choose_segment_length(8821) == 64  # a prime number


@pytest.mark.usefixtures("unchecked")
def test_invalid_settings_and_steps_are_rejected():
    steps = np.zeros((1, 2, 3), np.float32)

    def init(features=steps, **settings):
        model = models.create("recurrent", num_classes=2, **settings)
        jax.eval_shape(lambda: model.init(jax.random.key(0), features, train=False))

    with pytest.raises(UserError, match="cell 'gur'.*'gru'"):
        init(cell="gur")
    with pytest.raises(UserError, match="head 'per_stop'.*'per_step'"):
        init(head="per_stop")
    with pytest.raises(UserError, match="model.hidden"):
        init(hidden=())
    with pytest.raises(ValueError, match=r"steps.*\(1, 0, 3\)"):
        init(steps[:, :0])
    with pytest.raises(ValueError, match="steps"):
        init(steps[0])
