"""Sliding windows compared with slices of the clip, and batches with single windows."""

import itertools
import math

import numpy as np
import pytest

from irec_jax.inference import sliding_windows

SIZES = [(10, 5), (10, 10), (10, 3), (7, 1), (1, 1)]
LENGTHS = [0, 1, 6, 7, 9, 10, 11, 14, 15, 16, 20, 21, 37, 100]


def _blocks(audio, sizes):
    """Yield the clip in blocks of the sizes, repeated; 0 gives empty blocks."""
    position = 0
    for size in itertools.cycle(sizes):
        if position >= len(audio):
            return
        yield audio[position : position + size]
        position += size


@pytest.mark.parametrize("window, hop", SIZES)
@pytest.mark.parametrize("block_sizes", [(1,), (3, 0, 8), (1000,), (5, 10)])
def test_streamed_windows_match_slices(window, hop, block_sizes):
    for length in LENGTHS:
        audio = np.arange(length, dtype=np.float32)
        sizes = dict(window_samples=window, hop_samples=hop)
        starts = sliding_windows.window_starts(length, **sizes)
        windows = sliding_windows.sliding_windows(_blocks(audio, block_sizes), **sizes)
        windows = [np.array(w) for w in windows]
        assert len(windows) == len(starts)
        for start, actual in zip(starts, windows, strict=True):
            np.testing.assert_array_equal(actual, audio[start : start + window])


@pytest.mark.parametrize("window, hop", SIZES)
def test_windows_cover_every_sample_without_padding(window, hop):
    for length in LENGTHS:
        first = sliding_windows.window_starts(length, window_samples=window, hop_samples=hop)
        assert len(first) == 1 + max(0, math.ceil((length - window) / hop))
        covered = np.zeros(length, bool)
        for start in first:
            covered[start : start + window] = True
        assert covered.all() and first[0] == 0
        if length >= window:
            assert first[-1] + window == length
            np.testing.assert_array_equal(first[:-1], hop * np.arange(len(first) - 1))


def test_window_centres():
    def centres_s(num_samples):
        sizes = dict(window_samples=100, hop_samples=50)
        return sliding_windows.window_centres_s(num_samples, **sizes, sample_rate_hz=100)

    np.testing.assert_allclose(centres_s(250), [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(centres_s(260), [0.5, 1.0, 1.5, 2.0, 2.1])
    np.testing.assert_allclose(centres_s(40), [0.2])


class _Model:
    """Model that returns first and last sample, gain and length of each row."""

    def __init__(self, batch_size):
        self.batch_size, self.num_batches = batch_size, 0

    def __call__(self, batch):
        assert {k: len(v) for k, v in batch.items()} == dict.fromkeys(
            ("audio", "gain", "num_samples", "mask"), self.batch_size
        )
        blank = batch["mask"] == 0
        assert not batch["audio"][blank].any() and not batch["num_samples"][blank].any()
        assert not blank[: np.count_nonzero(~blank)].any()
        self.num_batches += 1
        audio = batch["audio"].astype(np.float32)
        return np.stack([audio[:, 0], audio[:, -1], batch["gain"], batch["num_samples"]], axis=1)


def _predict(clips, batch_size, **options):
    model = _Model(batch_size)
    predictions = list(
        sliding_windows.predict_clips(
            clips, model, window_samples=10, hop_samples=5, batch_size=batch_size, **options
        )
    )
    return predictions, model


@pytest.mark.parametrize("batch_size", [1, 3, 8, 200])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_batches_match_single_windows(batch_size, dtype):
    generator = np.random.default_rng(0)
    clips = [generator.integers(-9, 9, n).astype(np.int16) for n in (3, 10, 41, 0, 12, 300)]
    streams = [
        sliding_windows.ClipAudio(_blocks(c, (7, 1)), gain=float(np.abs(c).max(initial=0)) / 32768)
        for c in clips
    ]
    predictions, model = _predict(iter(streams), batch_size, dtype=dtype)
    assert [index for index, _ in predictions] == list(range(len(clips)))
    scale = 1 if dtype == np.int16 else 1 / 32768
    num_windows = 0
    for clip, (_, probabilities) in zip(clips, predictions, strict=True):
        starts = sliding_windows.window_starts(len(clip), window_samples=10, hop_samples=5)
        num_windows += len(starts)
        padded = np.pad(clip, (0, max(0, 10 - len(clip)))) * scale
        expected = [
            [padded[s], padded[s + 9], np.abs(clip).max(initial=0) / 32768, min(10, len(clip))]
            for s in starts
        ]
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, expected, rtol=1e-6)
    assert model.num_batches == math.ceil(num_windows / batch_size)  # batches are full


def test_gain_of_arrays_is_measured():
    clips = [
        sliding_windows.ClipAudio(np.array([100, -32768], np.int16)),
        sliding_windows.ClipAudio(np.array([-0.25, 0.125])),
    ]
    predictions, _ = _predict(clips, 4)
    np.testing.assert_allclose([p[0, 2] for _, p in predictions], [1.0, 0.25])


def test_clips_are_read_only_as_batches_need_them():
    """For a long clip in blocks, reading is only slightly ahead of prediction."""
    position, buffered = [0], []

    def blocks():
        for _ in range(500):
            position[0] += 20
            yield np.zeros(20, np.float32)

    def predict(batch):
        predict.done += int(batch["mask"].sum())
        buffered.append(position[0] - 5 * predict.done)
        return np.zeros((8, 2))

    predict.done = 0
    clips = [sliding_windows.ClipAudio(blocks(), gain=1.0)]
    ((_, probabilities),) = sliding_windows.predict_clips(
        clips, predict, window_samples=10, hop_samples=5, batch_size=8
    )
    assert probabilities.shape == (1999, 2) and max(buffered) < 40


def test_finished_clips_are_yielded_before_the_last_is_read():
    def clips():
        for index in range(100):
            clips.read = index
            yield sliding_windows.ClipAudio(np.zeros(50, np.float32))

    predictions = sliding_windows.predict_clips(
        clips(), lambda b: np.zeros((4, 1)), window_samples=10, hop_samples=5, batch_size=4
    )
    assert next(predictions)[0] == 0 and clips.read <= 2


def test_no_clips_give_no_predictions():
    assert _predict([], 4)[0] == []


@pytest.mark.parametrize(
    "clip, options, message",
    [
        (sliding_windows.ClipAudio(np.zeros((2, 5), np.float32)), {}, "mono"),
        (sliding_windows.ClipAudio(np.zeros(5, np.float32)), {"dtype": np.int16}, "float32 audio"),
        (sliding_windows.ClipAudio(np.zeros(5, np.int32)), {}, "int32 audio"),
        (sliding_windows.ClipAudio(iter([np.zeros(5, np.float32)])), {}, "gain"),
    ],
)
def test_invalid_clips_are_rejected(clip, options, message):
    with pytest.raises(ValueError, match=message):
        _predict([clip], 4, **options)


def test_invalid_sizes_are_rejected():
    with pytest.raises(ValueError, match="hop_samples"):
        sliding_windows.window_starts(5, window_samples=4, hop_samples=5)
    with pytest.raises(ValueError, match="batch_size"):
        _predict([], 0)
