"""Framing and overlap-add compared with naive loops over samples."""

import jax
import numpy as np
import pytest

from irec_jax.dsp import framing

# The hop divides the frame, does not divide it, equals it or exceeds it; the frame is odd; or it
# has more hops than are added as slices. The hop divides 140 samples, but not 131.
LENGTHS = [(140, 8, 4), (131, 8, 3), (131, 8, 8), (140, 5, 7), (131, 7, 2), (140, 130, 2)]


def padded(signal, frame_length, padding):
    num_leading = frame_length // 2 if padding == "center" else 0
    leading = np.zeros(signal.shape[:-1] + (num_leading,), signal.dtype)
    trailing = np.zeros(signal.shape[:-1] + (2 * frame_length + 20,), signal.dtype)
    return np.concatenate([leading, signal, trailing], axis=-1)


@pytest.mark.parametrize("padding", framing.PADDINGS)
@pytest.mark.parametrize("num_samples, frame_length, hop_length", LENGTHS)
def test_frame_and_overlap_add_match_naive_loops(num_samples, frame_length, hop_length, padding):
    rng = np.random.default_rng(num_samples)
    signal = rng.standard_normal((2, num_samples)).astype(np.float32)
    options = dict(hop_length=hop_length, padding=padding)

    frames = framing.frame(signal, frame_length=frame_length, **options)
    num_frames = framing.num_frames(num_samples, frame_length=frame_length, **options)
    padded_signal = padded(signal, frame_length, padding)
    starts = [t * hop_length for t in range(num_frames)]
    expected = np.stack([padded_signal[:, s : s + frame_length] for s in starts], axis=1)
    np.testing.assert_array_equal(frames, expected)
    np.testing.assert_array_equal(
        framing.frame(signal[1], frame_length=frame_length, **options), expected[1]
    )

    weights = rng.standard_normal(frames.shape).astype(np.float32)
    added = framing.overlap_add(weights, num_samples=num_samples, **options)
    sums = np.zeros_like(padded_signal, np.float64)
    for t, start in enumerate(starts):
        sums[:, start : start + frame_length] += weights[:, t]
    num_leading = frame_length // 2 if padding == "center" else 0
    np.testing.assert_allclose(added, sums[:, num_leading : num_leading + num_samples], atol=1e-5)


@pytest.mark.parametrize(
    "num_samples, padding, expected",
    [
        (22050, "center", 44),  # one more than Han's 43 = floor(22,050 / 512)
        (22050, "end", 44),
        (22050, "none", 42),
        (22016, "center", 44),
        (22016, "end", 43),
        (1024, "none", 1),
        (1023, "none", 0),
        (1, "center", 1),
        (1, "end", 1),
    ],
)
def test_number_of_frames(num_samples, padding, expected):
    options = dict(frame_length=1024, hop_length=512, padding=padding)
    assert framing.num_frames(num_samples, **options) == expected


def test_three_seconds_padded_at_the_end_make_126_frames():
    assert framing.num_frames(132300, frame_length=4096, hop_length=1050, padding="end") == 126


def test_frames_under_jit_and_vmap_agree():
    signal = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32)

    def cut(signal):
        return framing.frame(signal, frame_length=8, hop_length=3, padding="center")

    np.testing.assert_array_equal(jax.jit(jax.vmap(cut))(signal), cut(signal))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(frame_length=0, hop_length=1), "frame_length=0"),
        (dict(frame_length=4, hop_length=-1), "hop_length=-1"),
        (dict(frame_length=4, hop_length=1.5), "hop_length=1.5"),
        (dict(frame_length=4, hop_length=1, padding="centre"), "padding='centre'"),
        (dict(frame_length=11, hop_length=1), "signal: 10 samples are fewer"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        framing.frame(np.zeros(10, np.float32), **options)


@pytest.mark.usefixtures("unchecked")
def test_invalid_signals_are_rejected():
    for signal in (np.zeros(10, np.int16), np.zeros((2, 0), np.float32), np.float32(0)):
        with pytest.raises(AssertionError, match="signal"):
            framing.frame(signal, frame_length=4, hop_length=2)
    with pytest.raises(ValueError, match="frames: expected .* got 5"):
        framing.overlap_add(np.zeros((5, 4), np.float32), hop_length=2, num_samples=10)
