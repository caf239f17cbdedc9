"""Properties that hold for all inputs: frames, windows, blocks, aggregation, splits, overrides."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from irec_jax import audio, config
from irec_jax.data import splits
from irec_jax.dsp import framing
from irec_jax.errors import UserError
from irec_jax.inference import aggregation, overlap, sliding_windows

settings.register_profile("tests", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("tests")
#: Every new shape compiles a program.
COMPILED = settings(max_examples=10)


def probabilities(num_windows, num_classes):
    return arrays.arrays(np.float32, (num_windows, num_classes), elements=st.floats(0, 1, width=32))


@st.composite
def cut(draw, max_samples=60):
    """Return a recording, its samples all different, and the same recording in blocks."""
    num_samples = draw(st.integers(1, max_samples))
    places = draw(st.lists(st.integers(0, num_samples), max_size=6))
    samples = np.arange(1, num_samples + 1, dtype=np.float32)
    return samples, np.split(samples, sorted(places))


@COMPILED
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.sampled_from(["end", "none"]))
def test_overlap_added_frames_count_how_often_a_sample_is_framed(num, length, hop, padding):
    options = dict(hop_length=hop, padding=padding)
    assume(framing.num_frames(num, frame_length=length, **options))
    signal = np.arange(1, num + 1, dtype=np.float32)
    frames = np.asarray(framing.frame(signal, frame_length=length, **options))
    starts = hop * np.arange(len(frames))
    expected = np.pad(signal, (0, length + hop))[starts[:, None] + np.arange(length)]
    np.testing.assert_array_equal(frames, expected)
    count = ((starts[:, None] <= np.arange(num)) & (np.arange(num) < starts[:, None] + length)).sum(
        0
    )
    added = framing.overlap_add(frames, num_samples=num, **options)
    np.testing.assert_array_equal(np.asarray(added), count * signal)


@given(cut(), st.integers(1, 25), st.data())
def test_windows_do_not_depend_on_blocks_and_cover_every_sample(recording, window, data):
    samples, blocks = recording
    sizes = dict(window_samples=window, hop_samples=data.draw(st.integers(1, window)))
    windows = [w.copy() for w in sliding_windows.sliding_windows(blocks, **sizes)]
    starts = sliding_windows.window_starts(len(samples), **sizes)
    assert len(windows) == len(starts)
    for start, values in zip(starts, windows, strict=True):
        np.testing.assert_array_equal(values, samples[start : start + window])
    assert set(np.concatenate(windows)) == set(samples)
    centres_s = sliding_windows.window_centres_s(len(samples), **sizes, sample_rate_hz=10.0)
    assert (np.diff(centres_s) > 0).all() and 0 < centres_s[0] <= centres_s[-1] < len(samples) / 10


@given(cut(), st.integers(1, 6), st.integers(1, 5), st.data())
def test_frame_aligned_windows_cover_every_sample(recording, hop, num_frames, data):
    samples, blocks = recording
    window, hop_frames = hop * num_frames, data.draw(st.integers(1, num_frames))
    windows = list(
        overlap.frame_aligned_windows((b[None] for b in blocks), window, hop, hop_frames)
    )
    padded, covered = np.pad(samples, (0, window)), np.zeros(len(samples), bool)
    for first, values in windows:
        start = first * hop
        np.testing.assert_array_equal(values[0], padded[start : start + window])
        covered[start : start + window] = True
    assert covered.all()
    assert all(a < b for (a, _), (b, _) in itertools.pairwise(windows))


@given(cut(), st.integers(1, 12), st.data())
def test_segments_without_their_overlaps_are_the_recording(recording, length, data):
    samples, blocks = recording
    step = data.draw(st.integers(1, length))
    pairs = list(
        overlap.overlapping_segments(blocks, length=length, step=step, overlap=length - step)
    )
    joined = np.zeros(0, np.float32)
    for number, (segment, valid) in enumerate(pairs):
        assert segment.shape == (length,) and not segment[valid:].any()
        joined = np.concatenate([joined[: number * step], segment[:valid]])
    np.testing.assert_array_equal(joined, samples)


@given(cut(4000), st.sampled_from([(8000, 8000), (8000, 11_025), (44_100, 8000), (5, 3)]))
def test_resampled_blocks_are_the_resampled_recording(recording, rates_hz):
    samples, blocks = recording
    expected = audio.resample(samples[:, None], *rates_hz)
    assert len(expected) == -(-len(samples) * rates_hz[1] // rates_hz[0])
    pieces = audio.resample_pieces((b[:, None] for b in blocks if len(b)), *rates_hz)
    np.testing.assert_array_equal(np.concatenate(list(pieces)), expected)


@given(st.data(), st.integers(1, 12), st.integers(1, 5))
def test_scores_lie_between_0_and_1_and_ignore_the_order_of_windows(data, num_windows, num_classes):
    windows = data.draw(probabilities(num_windows, num_classes))
    order = data.draw(st.permutations(range(num_windows)))
    for name in aggregation.AGGREGATIONS:
        aggregate = aggregation.get(name)
        scores = aggregate([windows])
        assert scores.shape == (1, num_classes) and (scores >= 0).all() and (scores <= 1).all()
        np.testing.assert_allclose(aggregate([windows[order]]), scores, rtol=1e-6)
    s2 = aggregation.s2(windows)
    assert s2.max() == (1 if windows.any() else 0)
    np.testing.assert_array_equal(s2.argmax(), windows.sum(axis=0, dtype=float).argmax())


@given(st.data(), st.integers(1, 12), st.integers(1, 4))
def test_segments_of_a_class_are_apart_and_last_as_long_as_it_is_active(data, num, num_classes):
    scores = data.draw(probabilities(num, num_classes)).astype(float)
    thresholds = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=4)))[:num_classes]
    times_s, classes = np.arange(num) + 0.5, [f"class {k}" for k in range(num_classes)]
    segments = aggregation.segments(scores, times_s, thresholds, classes, float(num))
    for k, name in enumerate(classes):
        own = [segment for segment in segments if segment.name == name]
        for a, b in itertools.pairwise(own):
            assert a.end_s < b.start_s
        assert all(0 <= s.start_s < s.end_s <= num for s in own)
        total_s = sum(s.end_s - s.start_s for s in own)
        assert total_s == pytest.approx((scores[:, k] >= thresholds[k]).sum())
    assert segments == sorted(segments, key=lambda s: (s.start_s, s.name))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 7)), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
    st.integers(0, 5),
    st.sampled_from(["split_songs", "split_examples"]),
)
def test_splits_are_disjoint_complete_and_keep_songs_together(clips, fraction, seed, name):
    songs = np.array([song for song, _ in clips])
    labels = np.array([[bits >> k & 1 for k in range(3)] for _, bits in clips], np.float32)
    split = getattr(splits, name)
    try:
        kept, held_out = split(songs, labels, fraction=fraction, seed=seed)
    except UserError as error:
        assert "too few to hold out" in str(error)
        return
    assert len(kept) and len(held_out)
    assert sorted([*kept, *held_out]) == list(range(len(clips)))
    if name == "split_songs":
        assert not set(songs[kept]) & set(songs[held_out])
    again = split(songs, labels, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(again[1], held_out)


FLAT = config.flatten(config.load("configs/han.py:debug"))


@given(
    st.sampled_from(sorted(FLAT)), st.text(max_size=8) | st.sampled_from(["1", "-1", "0.5", "none"])
)
def test_overrides_change_one_value_or_are_refused_in_one_line(key, text):
    settings_ = config.load("configs/han.py:debug")
    try:
        config.override(settings_, [(key, text)])
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        return
    changed = config.flatten(settings_)
    # Another name of a function drops the arguments that the function does not have.
    if not key.endswith(".name"):
        assert changed.keys() == FLAT.keys()
        assert all(changed[k] == FLAT[k] or k == key for k in FLAT)
        assert changed[key] is None or FLAT[key] is None or type(changed[key]) is type(FLAT[key])


@given(st.sampled_from(sorted(FLAT)))
def test_overriding_a_key_with_its_own_value_changes_nothing(key):
    settings_ = config.load("configs/han.py:debug")
    config.override(settings_, [(key, "none" if FLAT[key] is None else str(FLAT[key]))])
    assert config.flatten(settings_) == FLAT
