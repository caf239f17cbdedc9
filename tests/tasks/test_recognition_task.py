"""Recognition task with several front ends and models."""

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


def jitted(task):
    """Return the compiled loss and prediction of a task."""
    return jax.jit(task.loss, static_argnums=4), jax.jit(task.predict)


def init(task):
    return task.init(jax.random.key(0))


def test_waveforms_are_divided_by_the_peak_of_the_clip_or_unchanged():
    batch = make_batch()
    recorded = batch["audio"].astype(np.float64) / 32768
    np.testing.assert_allclose(to_waveform(batch, "none"), recorded, rtol=1e-6)
    np.testing.assert_allclose(to_waveform(batch, "peak"), recorded / 0.5, rtol=1e-6)
    task = create(CHUNKS, PER_STEP, normalize="none")
    np.testing.assert_allclose(task.summaries(None, None, batch)["audio"], recorded[0], rtol=1e-6)
    with pytest.raises(UserError, match=r"unknown data.normalize 'peek': did you mean 'peak'"):
        create(CHUNKS, PER_STEP, normalize="peek")


@pytest.mark.parametrize("loss", losses.CLASSIFICATION)
def test_loss_and_prediction_are_means_over_steps(loss):
    task = create(CHUNKS, PER_STEP, dict(name=loss, l2=0.0))
    params, state = init(task)
    batch = make_batch()
    # The prediction at a step equals the last prediction for a waveform that ends with this step.
    last = create(CHUNKS, PER_STEP | dict(head="last"), dict(name=loss, l2=0.0))

    @jax.jit
    def last_step(truncated):
        truncated_loss = last.loss(params, state, truncated, jax.random.key(0), False)[0]
        return truncated_loss, last.predict(params, state, truncated)

    total, expected = 0.0, 0.0
    for step in range(10):
        truncated_loss, probabilities = last_step(
            batch | {"num_samples": np.full(4, 20 * (step + 1), np.int32)}
        )
        total, expected = total + truncated_loss / 10, expected + np.asarray(probabilities) / 10
    compute_loss, predict = jitted(task)
    loss_sum, count, _, scalars = compute_loss(params, state, batch, jax.random.key(0), False)
    np.testing.assert_allclose(loss_sum, total, rtol=1e-5)
    assert count == 3
    np.testing.assert_allclose(predict(params, state, batch), expected, rtol=1e-5)
    hits = expected.argmax(-1) == batch["labels"].argmax(-1)
    assert scalars["top1"] == hits[:3].sum()


def test_losses_are_multiplied_by_the_weights_of_the_examples():
    task, batch = create(CHUNKS, PER_STEP), make_batch()
    params, state = init(task)
    weights = np.array([2.0, 0.5, 1.0, 7.0], np.float32)
    compute_loss, _ = jitted(task)

    def loss(**changes):
        return compute_loss(params, state, batch | changes, jax.random.key(1), True)

    each = [loss(mask=mask)[0] for mask in np.eye(4, dtype=np.float32)]
    total, count, _, scalars = loss(weight=weights)
    np.testing.assert_allclose(total, (weights * each)[:3].sum(), rtol=1e-5)
    assert count == 3 and scalars["top1"] == loss()[3]["top1"]


def test_padding_does_not_change_the_prediction():
    task = create(CHUNKS, PER_STEP | dict(head="last"))
    params, state = init(task)
    short = make_batch(num_samples=100)
    noisy = short | {"audio": short["audio"].copy()}
    noisy["audio"][:, 100:] = 12_345
    _, predict = jitted(task)
    predictions = [predict(params, state, batch) for batch in (short, noisy)]
    np.testing.assert_array_equal(*predictions)


def test_summaries_contain_every_image_of_an_example():
    front = dict(name="recurrence", exponents=(6, 7), points=16, size=12)
    layers = dict(filters=(2,), kernels=(3,), strides=(1,), pools=(2,))
    task = create(front, dict(name="image_cnn", **layers))
    params, state = init(task)
    assert jitted(task)[1](params, state, make_batch()).shape == (4, 3)
    batch = make_batch()
    pictures = task.summaries(None, None, batch)
    assert set(pictures) == {"audio", "features/0", "features/1"}
    images = task.frontend(jnp.asarray(to_waveform(batch))[0])
    np.testing.assert_allclose([pictures["features/0"], pictures["features/1"]], images, atol=1e-6)


def test_summaries_of_an_image_with_chunks():
    front = dict(name="image_and_chunks", exponents=(6,), points=16, size=12, chunk_samples=20)
    layers = dict(filters=(2,), kernels=(3,), strides=(1,), pools=(2,), hidden=4)
    task = create(front, dict(name="crnn", **layers))
    pictures = task.summaries(None, None, make_batch())
    shapes = {name: array.shape for name, array in pictures.items()}
    assert shapes == {"audio": (200,), "features/image/0": (12, 12), "features/steps": (10, 20)}


def test_random_padding_depends_on_the_index_of_the_example():
    front = dict(name="raw", length_samples=400)
    task = create(front, PER_STEP | dict(head="last"))
    params, state = init(task)
    batch = make_batch()

    @functools.partial(jax.jit, static_argnums=2)
    def loss(index, key, train=True):
        rows = batch | {"index": jnp.asarray(index)}
        return task.loss(params, state, rows, jax.random.key(key), train)[0]

    assert loss([0, 1, 2, 3], 0) == loss([0, 1, 2, 3], 0)
    assert loss([0, 1, 2, 3], 0) != loss([4, 5, 6, 7], 0)
    assert loss([0, 1, 2, 3], 0) != loss([0, 1, 2, 3], 1)
    assert loss([0, 1, 2, 3], 0, False) == loss([4, 5, 6, 7], 1, False)


def test_mixed_examples_are_trained_with_the_labels_of_both():
    """Compare the loss with that of mixtures that were computed before, in another batch."""
    front, model = dict(name="fft_magnitude", length_samples=200), dict(name="dense", units=(4,))
    loss = dict(name="binary_cross_entropy", l2=0.0)
    task = create(front, model, loss, augment=dict(mix=1.0, mix_db=6.0))
    params, state = init(task)
    batch, key = make_batch(), jax.random.key(3)
    mixed = task._mix(batch, jax.random.split(key)[0])
    np.testing.assert_array_equal(mixed["labels"][0], batch["labels"][:2].max(axis=0))
    assert mixed["audio"].shape == batch["audio"].shape
    plain = create(front, model, loss)
    plain_loss, loss = (jitted(each)[0] for each in (plain, task))
    expected = plain_loss(params, state, mixed, key, True)
    actual = loss(params, state, batch, key, True)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5)
    # Not in validation.
    validation = loss(params, state, batch, key, False)
    np.testing.assert_allclose(validation[0], plain_loss(params, state, batch, key, False)[0])


def test_masks_are_rejected_for_features_without_their_axis():
    for name, axis in (("num_time_masks", "time"), ("num_mel_masks", "frequency")):
        with pytest.raises(
            UserError, match=rf"augment\.{name}=1: .* have no {axis} axis; set it to 0"
        ):
            create(CHUNKS, PER_STEP, augment={name: 1})


@pytest.mark.parametrize(
    "front, model",
    [
        (dict(name="log_mel", frame_length=32, hop_length=10, num_mels=8), "convnet"),
        (
            dict(name="spectrogram_db", frame_length=32, hop_length=10, num_bins=16, num_frames=20),
            "spectrogram_cnn",
        ),
    ],
)
def test_pictures_of_spectrograms_show_time_to_the_right_and_frequency_upwards(front, model):
    times_s = np.arange(200) / 1000
    audio = np.where(times_s >= 0.12, np.sin(2 * np.pi * 400 * times_s), 0.0)
    batch = make_batch() | {"audio": np.tile((audio * 2**14).astype(np.int16), (4, 1))}
    picture = create(front, dict(name=model, filters=(2,), dense=2)).summaries(None, None, batch)
    rows, columns = picture["features"].shape
    row, column = np.unravel_index(picture["features"].argmax(), (rows, columns))
    assert row < rows / 2 and column > columns / 2


def test_front_ends_receive_the_sample_rate_of_the_audio():
    convnet = dict(name="convnet", filters=(2,), dense=2)
    log_mel = dict(name="log_mel", frame_length=64, hop_length=32, num_mels=8)
    assert create(log_mel, convnet).frontend.sample_rate_hz == 1000
    with pytest.raises(UserError, match=r"frontend\.sample_rate_hz=8: differs from the 1000 Hz"):
        create(log_mel | dict(sample_rate_hz=8), convnet)
    with pytest.raises(UserError, match="unknown argument 'sample_rate_hz' of front end 'chunks'"):
        create(CHUNKS | dict(sample_rate_hz=1000), PER_STEP)
