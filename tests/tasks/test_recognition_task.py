"""The recognition task with front ends and models of every shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import losses
from irec_jax.errors import UserError
from irec_jax.tasks import create_recognition
from irec_jax.tasks.recognition import to_waveform

NO_AUGMENT: dict = {}
CHUNKS = dict(name="chunks", chunk_samples=20)
PER_STEP = dict(name="recurrent", cell="rnn", hidden=(6,), head="per_step")
SOFTMAX = dict(name="softmax_cross_entropy", l2=0.0)


def create(frontend, model, loss=SOFTMAX, **changes):
    settings = dict(
        classes=("low", "middle", "high"),
        sample_rate_hz=1000,
        window_s=0.2,
        augment=NO_AUGMENT,
    )
    return create_recognition(frontend=frontend, model=model, loss=loss, **(settings | changes))


def make_batch(num=4, num_samples=200):
    rng = np.random.default_rng(1)
    return {
        "audio": rng.integers(-20_000, 20_000, (num, 200)).astype(np.int16),
        "labels": np.eye(3, dtype=np.float32)[rng.integers(3, size=num)],
        "gain": np.full(num, 0.5, np.float32),
        "num_samples": np.full(num, num_samples, np.int32),
        "mask": np.array([1.0] * (num - 1) + [0.0], np.float32),
        "index": np.arange(num),
    }


def started(task):
    return task.init(jax.random.key(0))


def test_waveforms_are_divided_by_their_clips_peak_or_left():
    batch = make_batch()
    recorded = batch["audio"].astype(np.float64) / 32768
    np.testing.assert_allclose(to_waveform(batch, "none"), recorded, rtol=1e-6)
    np.testing.assert_allclose(to_waveform(batch, "peak"), recorded / 0.5, rtol=1e-6)
    task = create(CHUNKS, PER_STEP, normalize="none")
    np.testing.assert_allclose(task.summaries(None, None, batch)["audio"], recorded[0], rtol=1e-6)
    with pytest.raises(UserError, match=r"unknown data.normalize 'peek': did you mean 'peak'"):
        create(CHUNKS, PER_STEP, normalize="peek")


@pytest.mark.parametrize("loss", losses.CLASSIFICATION)
def test_several_predictions_per_example_count_as_their_mean(loss):
    task = create(CHUNKS, PER_STEP, dict(name=loss, l2=0.0))
    params, state = started(task)
    batch = make_batch()
    # Chunk 4 alone, after the three before it, is the last one of a waveform cut there: so the
    # predictions at all ten steps are those at the last step of ten waveforms.
    last = create(CHUNKS, PER_STEP | dict(head="last"), dict(name=loss, l2=0.0))

    @jax.jit
    def of_last(cut):
        cut_loss = last.loss(params, state, cut, jax.random.key(0), False)[0]
        return cut_loss, last.predict(params, state, cut)

    total, expected = 0.0, 0.0
    for step in range(10):
        found = of_last(batch | {"num_samples": np.full(4, 20 * (step + 1), np.int32)})
        total, expected = total + found[0] / 10, expected + np.asarray(found[1]) / 10
    found = task.loss(params, state, batch, jax.random.key(0), False)
    np.testing.assert_allclose(found[0], total, rtol=1e-5)
    assert found[1] == 3
    np.testing.assert_allclose(task.predict(params, state, batch), expected, rtol=1e-5)
    hits = expected.argmax(-1) == batch["labels"].argmax(-1)
    assert found[3]["top1"] == hits[:3].sum()


def test_padding_of_a_short_window_changes_nothing():
    task = create(CHUNKS, PER_STEP | dict(head="last"))
    params, state = started(task)
    short = make_batch(num_samples=100)
    noisy = short | {"audio": short["audio"].copy()}
    noisy["audio"][:, 100:] = 12_345
    one, two = (task.predict(params, state, batch) for batch in (short, noisy))
    np.testing.assert_array_equal(one, two)


def test_pictures_of_one_example_are_summarised_one_by_one():
    front = dict(name="recurrence", exponents=(6, 7), points=16, size=12)
    layers = dict(filters=(2,), kernels=(3,), strides=(1,), pools=(2,))
    task = create(front, dict(name="image_cnn", **layers))
    params, state = started(task)
    assert task.predict(params, state, make_batch()).shape == (4, 3)
    assert set(task.summaries(None, None, make_batch())) == {"audio", "features/0", "features/1"}


def test_random_silence_is_drawn_for_each_example_by_its_index():
    front = dict(name="raw", length_samples=400)
    task = create(front, PER_STEP | dict(head="last"))
    params, state = started(task)
    batch = make_batch()

    @functools.partial(jax.jit, static_argnums=2)
    def loss(index, key, train=True):
        rows = batch | {"index": jnp.asarray(index)}
        return task.loss(params, state, rows, jax.random.key(key), train)[0]

    assert loss([0, 1, 2, 3], 0) == loss([0, 1, 2, 3], 0)
    assert loss([0, 1, 2, 3], 0) != loss([4, 5, 6, 7], 0)
    assert loss([0, 1, 2, 3], 0) != loss([0, 1, 2, 3], 1)
    assert loss([0, 1, 2, 3], 0, False) == loss([4, 5, 6, 7], 1, False)


def test_masks_of_spectrograms_are_refused_where_there_is_none():
    with pytest.raises(
        UserError, match=r"augment\.num_time_masks.* not spectrograms; set both to 0"
    ):
        create(CHUNKS, PER_STEP, augment=dict(num_time_masks=1))


def test_the_sample_rate_goes_to_front_ends_that_depend_on_it():
    convnet = dict(name="convnet", filters=(2,), dense=2)
    log_mel = dict(name="log_mel", frame_length=64, hop_length=32, num_mels=8)
    assert create(log_mel, convnet).frontend.sample_rate_hz == 1000
    with pytest.raises(UserError, match=r"frontend\.sample_rate_hz=8: differs from the 1000 Hz"):
        create(log_mel | dict(sample_rate_hz=8), convnet)
    with pytest.raises(UserError, match="unknown argument of front end 'chunks'"):
        create(CHUNKS | dict(sample_rate_hz=1000), PER_STEP)
