"""Windowed separation compared with one spectrogram of the recording, and streaming."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.dsp import stft
from irec_jax.errors import UserError
from irec_jax.frontends import Gate, SpectrogramDb
from irec_jax.inference.separation import (
    estimate_features,
    estimate_segments,
    resynthesise,
    separate_blocks,
)

# As with 4096 and 1050, four hops cover a frame and do not divide it. All bins are kept.
FRONTEND = SpectrogramDb(frame_length=64, hop_length=18, num_bins=33, num_frames=22)
WINDOW = 20 * 18
SIZES = dict(window_samples=WINDOW, hop_frames=7, batch_size=4)
FLOOR = np.float32(-100 / 150)
identity = jax.jit(FRONTEND)


def noise(num_samples, num_channels=2, seed=0):
    shape = (num_samples, num_channels)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def in_blocks(audio, *lengths):
    """Yield blocks of these lengths, repeated to the end."""
    start = 0
    for length in itertools.cycle(lengths):
        if start >= len(audio):
            return
        yield audio[start : start + length]
        start += length


def separated(audio, predict=identity, lengths=(100,), **changes):
    parts = list(separate_blocks(in_blocks(audio, *lengths), predict, FRONTEND, **SIZES | changes))
    return np.concatenate(parts)


def full_features(audio):
    """Return the features (C, num_bins, N) of (T, C) from one spectrogram."""
    power = np.abs(np.asarray(stft.stft(audio.T, **FRONTEND.framing), np.complex128)) ** 2
    return (10 * np.log10(np.maximum(power, 1e-10)) / 150).swapaxes(1, 2)


def position_dependent(windows):
    """Return features that depend on the window and on the frame within it."""
    features = np.asarray(identity(windows))
    return features + 0.1 * windows[:, :1, None] + 0.01 * np.arange(22)


@pytest.mark.parametrize("num_samples", [1, 17, 63, WINDOW - 72, WINDOW, WINDOW + 1, 3000, 3003])
@pytest.mark.parametrize("phase", ["mixture", "griffin-lim"])
def test_identity_reconstructs_the_recording(num_samples, phase):
    audio = noise(num_samples)
    estimate = separated(audio, phase=phase, num_iterations=3)
    assert estimate.shape == audio.shape and estimate.dtype == np.float32
    # Griffin-Lim changes poorly determined samples at the ends of a segment.
    np.testing.assert_allclose(estimate, audio, atol=1e-4 if phase == "mixture" else 5e-4)


@pytest.mark.parametrize(
    "changes",
    [
        dict(hop_frames=1),
        dict(hop_frames=17),  # three frames reach beyond a window of twenty
        dict(batch_size=1),
        dict(batch_size=7),
        dict(window_samples=WINDOW - 5),
        dict(window_samples=30, hop_frames=1),
    ],
)
def test_sizes_leave_no_seams(changes):
    audio = noise(1500)
    if changes.get("window_samples") == 30:  # shorter than a frame: no frame is complete
        np.testing.assert_array_equal(separated(audio, **changes).shape, audio.shape)
    else:
        np.testing.assert_allclose(separated(audio, **changes), audio, atol=1e-4)


def test_attenuation_scales_the_signal():
    """With -6 dB in every bin the signal is halved, with either phase."""

    def attenuate(windows):
        return identity(windows) + np.float32(20 * np.log10(0.5) / 150)

    audio = noise(1500)
    for phase in ("mixture", "griffin-lim"):
        estimate = separated(audio, attenuate, phase=phase, num_iterations=3)
        np.testing.assert_allclose(estimate, audio / 2, atol=1e-4)


def test_result_does_not_depend_on_block_lengths():
    audio = noise(2500, num_channels=1)
    expected = separated(audio, position_dependent, lengths=(2500,))
    for lengths in ((1,), (37, 0, 900), (WINDOW,)):
        np.testing.assert_array_equal(
            separated(audio, position_dependent, lengths=lengths), expected
        )


def test_channels_are_separated_independently():
    audio = noise(1000, num_channels=3)
    for channel, estimate in enumerate(separated(audio, position_dependent).T):
        single = separated(audio[:, channel : channel + 1], position_dependent)
        np.testing.assert_allclose(estimate, single[:, 0], atol=1e-5)


@pytest.mark.parametrize("num_samples", [1, 700, 1801])
def test_features_of_a_recording(num_samples):
    audio = noise(num_samples)
    features = estimate_features(audio, identity, FRONTEND, **SIZES)
    np.testing.assert_allclose(features, full_features(audio), atol=1e-4)
    mono = estimate_features(audio[:, 0], identity, FRONTEND, **SIZES)
    np.testing.assert_allclose(mono, features[0], atol=1e-6)


def test_window_weights_decrease_towards_edges():
    num_samples, num_frames, hop = 1000, 20, 18  # frames of a window
    audio = noise(num_samples, num_channels=1)
    last = -(-(num_samples - WINDOW) // hop)
    padded = np.pad(audio[:, 0], (0, hop))
    total, weights = np.zeros((33, last + num_frames)), np.zeros(last + num_frames)
    for first in [*range(0, last, 7), last]:
        features = position_dependent(padded[None, first * hop : first * hop + WINDOW])[0]
        for k in range(num_frames):
            weight = np.sin(np.pi * (k + 0.5) / num_frames) ** 2
            weight *= 1e-9 if k * hop + 64 > WINDOW and first < last else 1.0
            total[:, first + k] += weight * features[:, k]
            weights[first + k] += weight
    expected = (total / weights)[:, : -(-num_samples // hop)]
    features = estimate_features(audio[:, 0], position_dependent, FRONTEND, **SIZES)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_frames_before_the_recording_are_attenuated_like_its_first():
    """Each bin has its own gain; the first of the four frames contains only zeros."""
    audio = noise(1000)
    gains_db = np.linspace(-20, 0, 33)[:, None]

    def equalise(windows):
        features = np.asarray(FRONTEND(jnp.asarray(windows)))
        return np.maximum(features + gains_db / FRONTEND.scale_db, -100 / FRONTEND.scale_db)

    (first, *_) = estimate_segments([audio], equalise, FRONTEND, **SIZES)
    (same, *_) = estimate_segments([audio], identity, FRONTEND, **SIZES)
    expected = np.maximum(same.features[..., :4] + gains_db / FRONTEND.scale_db, FLOOR)
    np.testing.assert_allclose(first.features[..., :4], expected, atol=1e-4)


def test_batches_have_one_shape_and_the_last_is_zero_padded():
    batches = []

    def predict(windows):
        batches.append(windows)
        return identity(windows)

    audio = noise(500) + 2
    separated(audio, predict)
    # Windows of two channels from samples 0, 126 and 144, the hop that reaches the end.
    assert [batch.shape for batch in batches] == [(4, WINDOW)] * 2
    assert all(batch.dtype == np.float32 for batch in batches)
    np.testing.assert_array_equal(batches[1][2:], 0)
    np.testing.assert_array_equal(batches[0][1], audio[:WINDOW, 1])
    np.testing.assert_array_equal(batches[0][2], audio[126:486, 0])
    np.testing.assert_array_equal(batches[1][0], np.pad(audio[144:, 0], (0, 4)))


def test_gate_removes_quiet_bins():
    audio = noise(1000) * np.linspace(1, 0, 1000, dtype="f")[:, None]
    features = full_features(audio)
    levels = np.sort(features.ravel())[features.size // 3 : 2 * features.size // 3]
    gap = np.argmax(np.diff(levels))  # so that rounding has no effect
    limit = (levels[gap] + levels[gap + 1]) / 2
    estimate = separated(audio, post=Gate(post_db=float(150 * limit)))
    amplitudes = np.where(features < limit, 0, 10 ** (150 * features / 20))
    spectrum = np.asarray(stft.stft(audio.T, **FRONTEND.framing))
    gated = np.where(spectrum == 0, 0, spectrum / np.abs(spectrum)) * amplitudes.swapaxes(1, 2)
    settings = dict(FRONTEND.framing, num_samples=1000, exact=False)
    nearest = stft.istft(gated.astype(np.complex64), **settings)
    # The first samples depend on frames before the recording, which are missing here.
    np.testing.assert_allclose(estimate[72:], np.asarray(nearest).T[72:], atol=1e-4)
    assert 0.01 < np.abs(estimate - audio).max()


def test_gate_relative_to_the_maximum_of_the_track():
    """A quiet end is removed, although it is loud within its own segments."""
    audio = noise(1500) * np.where(np.arange(1500) < 900, 1, 1e-3)[:, None].astype("f")
    gated = separated(audio, post=Gate(post_db=-40.0, reference="track"))
    kept = separated(audio, post=Gate(post_db=-40.0, reference="segment"))
    np.testing.assert_array_equal(gated[1000:], 0)
    np.testing.assert_allclose(gated[:800], audio[:800], atol=0.3)
    np.testing.assert_allclose(kept[1200:], audio[1200:], atol=3e-4)


def test_griffin_lim_reduces_the_distance_to_the_estimate():
    mask = np.random.default_rng(0).uniform(size=(1, 33, 1)).round()  # half of the bins

    def predict(windows):
        return np.where(mask * np.ones(22), identity(windows), FLOOR)

    audio = noise(2000, num_channels=1)
    features = estimate_features(audio, predict, FRONTEND, **SIZES)
    target = np.asarray(FRONTEND.amplitudes(features))
    errors = []
    for phase in ("mixture", "griffin-lim"):
        estimate = separated(audio, predict, phase=phase, num_iterations=32)
        errors.append(np.linalg.norm(10 ** (7.5 * full_features(estimate)) - target))
    assert errors[1] < 0.9 * errors[0]


def test_two_signals_from_the_same_estimates():
    audio = noise(900)
    estimated = estimate_segments(in_blocks(audio, 100), identity, FRONTEND, **SIZES)
    first, second = itertools.tee(estimated)
    pairs = zip(
        resynthesise(first, FRONTEND),
        resynthesise(second, FRONTEND, post=Gate(post_db=60.0)),
        strict=True,
    )
    raw, gated = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    np.testing.assert_allclose(raw, audio, atol=1e-4)
    np.testing.assert_array_equal(gated, 0)


def test_memory_does_not_grow_with_length():
    read, written, buffered = 0, 0, []

    def endless():
        nonlocal read
        for _ in range(200):
            read += 100
            yield noise(100)

    for block in separate_blocks(endless(), identity, FRONTEND, **SIZES):
        written += len(block)
        buffered.append(read - written)
    assert written == 20_000
    # Buffered: a segment and the windows of two batches, each two windows of two channels.
    assert max(buffered) < 4 * WINDOW and buffered[-2] <= buffered[1] + WINDOW


def test_empty_recordings_give_no_blocks():
    assert list(separate_blocks([], identity, FRONTEND, **SIZES)) == []
    assert list(separate_blocks([noise(0)], identity, FRONTEND, **SIZES)) == []


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(hop_frames=0), r"hop_frames=0: expected 1..20"),
        (dict(hop_frames=21), r"hop_frames=21: expected 1..20"),
        (dict(batch_size=0), r"batch_size=0"),
        (dict(phase="random"), r"phase='random': expected one of 'mixture', 'griffin-lim'"),
    ],
)
def test_invalid_options_are_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        separated(noise(10), **changes)


def test_invalid_blocks_and_front_ends_are_rejected():
    with pytest.raises(UserError, match=r"num_frames=22 .* too few for the 397 samples"):
        separated(noise(10), window_samples=397)
    with pytest.raises(ValueError, match=r"expected blocks of floats \(n, C\), got int16 \(9, 2\)"):
        separated(np.zeros((9, 2), np.int16))
    with pytest.raises(ValueError, match="expected equal numbers of channels, got 1 after 2"):
        list(separate_blocks([noise(9), noise(9, 1)], identity, FRONTEND, **SIZES))
    gaps = SpectrogramDb(frame_length=64, hop_length=64, num_bins=33, num_frames=22)
    with pytest.raises(UserError, match="frontend.hop_length=64 is too long"):
        list(separate_blocks([noise(9)], jax.jit(gaps), gaps, **SIZES))
