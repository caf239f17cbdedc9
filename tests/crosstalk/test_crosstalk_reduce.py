"""Crosstalk reduction: gains, direct sound, and recordings in blocks."""

import jax
import numpy as np
import pytest

from irec_jax import crosstalk
from irec_jax.crosstalk import align, streaming
from irec_jax.crosstalk.reduce import gains
from irec_jax.dsp.stft import istft, stft
from irec_jax.errors import UserError
from irec_jax.metrics.scale_invariant import si_sdr

RATE_HZ = 8000
FRAME = dict(frame_length=512, hop_length=256)
TRANSFORM = dict(**FRAME, window="hamming")
NUM_SAMPLES = 5 * RATE_HZ + 77


def make_tracks(num_tracks=4, num_samples=NUM_SAMPLES, seed=0):
    """Return coloured noises with pauses, one for each player."""
    rng = np.random.default_rng(seed)
    tracks = np.zeros((num_tracks, num_samples))
    for track in tracks:
        noise = np.convolve(rng.standard_normal(num_samples), rng.standard_normal(8), "same")
        plays = rng.random(num_samples // 800 + 1) < 0.6
        track[:] = noise * np.repeat(plays * rng.uniform(0.3, 1, len(plays)), 800)[:num_samples]
    return (0.1 * tracks / tracks.std(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def mixed():
    tracks = make_tracks()
    mixing = crosstalk.draw_mixing(jax.random.key(3), len(tracks), max_crosstalk=0.4)
    delays = crosstalk.delays_samples(mixing, RATE_HZ)
    spots, gain = crosstalk.simulate(tracks, mixing, delays)
    return tracks * float(gain), np.asarray(mixing), delays, np.asarray(spots)


def in_blocks(tracks, lengths):
    """Yield the tracks in blocks of the given lengths, which are repeated."""
    start, index = 0, 0
    while start < tracks.shape[1]:
        length = lengths[index % len(lengths)]
        yield tracks[:, start : start + length]
        start, index = start + length, index + 1


def reduce_in_blocks(spots, settings, lengths, estimated=None):
    audio_format = dict(num_samples=spots.shape[1], sample_rate_hz=RATE_HZ)
    estimated = estimated or crosstalk.analyse(
        lambda: in_blocks(spots, lengths), settings, **audio_format
    )
    blocks = ([track[None] for track in block] for block in in_blocks(spots, lengths))
    reduced = list(crosstalk.reduce_blocks(blocks, estimated, settings, **audio_format))
    return np.concatenate([np.concatenate(block) for block in reduced], axis=1), estimated


@pytest.mark.parametrize("strength", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("floor", [0.0, 0.2])
@pytest.mark.parametrize("method", ["subtraction", "mask"])
def test_gains_match_the_equations(strength, floor, method):
    rng = np.random.default_rng(1)
    magnitudes = rng.random((3, 4, 5)).astype(np.float32)
    magnitudes[1, 2] = 0
    weights = rng.random((3, 3)) * (1 - np.eye(3))
    actual = gains(magnitudes, weights, strength=strength, floor=floor, method=method)
    for track, frame, k in np.ndindex(magnitudes.shape):
        own = float(magnitudes[track, frame, k])
        bleed = strength * sum(weights[track, j] * magnitudes[j, frame, k] for j in range(3))
        residual = max(own - bleed, 0.0)
        if bleed == 0:
            expected = 1.0
        elif method == "subtraction":
            expected = residual / own if own else 0.0
        else:
            expected = residual**2 / (residual**2 + bleed**2)
        np.testing.assert_allclose(actual[track, frame, k], max(expected, floor), atol=1e-5)


def test_reduced_spectra_keep_their_phase():
    rng = np.random.default_rng(2)
    spectra = (rng.normal(size=(2, 3, 4)) + 1j * rng.normal(size=(2, 3, 4))).astype(np.complex64)
    weights = np.array([[0, 0.3], [0.2, 0]])
    reduced = crosstalk.reduce(spectra, weights, method="subtraction")
    expected = np.abs(spectra) - np.einsum("lj,jnk->lnk", weights, np.abs(spectra))
    np.testing.assert_allclose(np.abs(reduced), np.maximum(expected, 0), atol=1e-5)
    audible = np.abs(reduced) > 1e-3
    np.testing.assert_allclose(np.angle(reduced)[audible], np.angle(spectra)[audible], atol=1e-3)


def test_direct_sound_is_estimated(mixed):
    _, mixing, delays, spots = mixed
    spectra = [stft(spots, **TRANSFORM)]
    amplitudes, estimated = align.estimate_direct_sound(spectra, frame_length=512, window="hamming")
    strong = mixing > 0.05
    assert (np.abs(estimated - delays)[strong] <= 1).all()
    np.testing.assert_allclose(amplitudes[strong], mixing[strong], atol=0.05)


def test_direct_sound_of_opposite_polarity_is_estimated(mixed):
    tracks, mixing, delays, _ = mixed
    signs = np.where(np.eye(len(mixing)), 1, -1)
    signs[0, 1:] = 1
    spots, gain = crosstalk.simulate(tracks, signs * mixing, delays)
    settings = crosstalk.Settings(**FRAME)
    reduced, estimated = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    strong = mixing > 0.05
    assert (np.abs(estimated.delays_samples - delays)[strong] <= 1).all()
    np.testing.assert_allclose(estimated.amplitudes[strong], (signs * mixing)[strong], atol=0.05)
    direct_sounds = np.asarray(gain) * tracks
    assert (
        si_sdr(direct_sounds, reduced).mean() > si_sdr(direct_sounds, np.asarray(spots)).mean() + 1
    )


def test_levels_of_the_tracks_have_no_effect(mixed):
    *_, spots = mixed
    settings = crosstalk.Settings(**FRAME)
    expected, reference = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    levels = np.array([0.03, 4.0, 0.5, 1.0], np.float32)[:, None]
    reduced, estimated = crosstalk.debleed_array(levels * spots, settings, sample_rate_hz=RATE_HZ)
    amplitudes = estimated.amplitudes * levels.T / levels
    np.testing.assert_allclose(amplitudes, reference.amplitudes, atol=0.01)
    assert np.abs(estimated.amplitudes).max() > 1
    assert si_sdr(expected, reduced / levels).min() > 30


def test_demixing_inverts_the_matrix_of_direct_sound():
    amplitudes = np.array([[1, 0.4, 0.1], [0.2, 1, 0.0], [0.3, 0.1, 1]])
    delays = np.array([[0, 3, 9], [5, 0, 0], [1, 7, 0]])
    matrix = np.asarray(align.demixing(amplitudes, delays, frame_length=64))
    omega = 2 * np.pi * np.arange(33)[:, None, None] / 64
    product = matrix @ (amplitudes * np.exp(-1j * omega * delays))
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=5e-3)


@pytest.mark.parametrize("method", ["subtraction", "mask"])
def test_crosstalk_is_reduced_in_pauses(mixed, method):
    tracks, _, _, spots = mixed
    pauses = tracks == 0  # the microphone records only crosstalk
    levels_db = []
    for with_alignment in (False, True):
        settings = crosstalk.Settings(**FRAME, align=with_alignment, method=method)
        reduced, _ = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
        level = np.square(reduced)[pauses].mean() / np.square(spots)[pauses].mean()
        levels_db.append(10 * np.log10(level))
    assert levels_db[0] < -6
    assert levels_db[1] < levels_db[0] - 2
    # With alignment, tracks of players who play together are not degraded either.
    aligned = np.asarray(si_sdr(tracks, reduced)).mean()
    assert aligned > np.asarray(si_sdr(tracks, spots)).mean() + 1


@pytest.mark.parametrize("with_alignment", [False, True])
def test_blocks_match_complete_spectrograms(mixed, with_alignment):
    *_, spots = mixed
    settings = crosstalk.Settings(**FRAME, align=with_alignment)
    spectra = stft(spots, **TRANSFORM)
    amplitudes = None
    if with_alignment:
        chunks = streaming._chunks([spots], settings, spots.shape[1])
        options = dict(settings=settings, first_bin=2)  # from 20 Hz
        chunks = [streaming._transform(*chunk, **options) for chunk in chunks]
        amplitudes, delays = align.estimate_direct_sound(chunks, frame_length=512, window="hamming")
        spectra = align.demix(spectra, align.demixing(amplitudes, delays, frame_length=512))
    weights = crosstalk.estimate(crosstalk.gram(np.abs(spectra[..., 2:])))
    expected = istft(
        crosstalk.reduce(spectra, weights, method=settings.method),
        num_samples=spots.shape[1],
        **TRANSFORM,
    )
    reduced, estimated = reduce_in_blocks(spots, settings, (1000, 37, 90_000))
    np.testing.assert_allclose(estimated.weights[0], weights, atol=2e-6)
    if with_alignment:
        np.testing.assert_array_equal(estimated.amplitudes, amplitudes)
    np.testing.assert_allclose(reduced, expected, atol=1e-6)


def test_block_lengths_have_no_effect(mixed):
    *_, spots = mixed
    settings = crosstalk.Settings(**FRAME)
    expected, estimated = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    reduced, _ = reduce_in_blocks(spots, settings, (513, 1, 4000), estimated)
    np.testing.assert_array_equal(reduced, expected)
    start = spots[:, :3000]
    expected, _ = reduce_in_blocks(start, settings, (3000,), estimated)
    reduced, _ = reduce_in_blocks(start, settings, (1,), estimated)
    np.testing.assert_array_equal(reduced, expected)


@pytest.mark.parametrize("num_samples", [1, 255, 256, 257, 512, 64 * 256, 64 * 256 + 1])
def test_zero_strength_returns_tracks_of_any_length(num_samples):
    tracks = make_tracks(3, num_samples=20_000)[:, :num_samples]
    settings = crosstalk.Settings(**FRAME, align=False, strength=0.0)
    reduced, _ = crosstalk.debleed_array(tracks, settings, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(reduced, tracks, atol=1e-6)


@pytest.mark.parametrize("with_alignment", [False, True])
def test_silent_tracks_and_dc_offsets_have_no_effect(with_alignment):
    tracks = make_tracks(4, num_samples=2 * RATE_HZ)
    tracks[1] = 0
    settings = crosstalk.Settings(**FRAME, align=with_alignment)
    expected, estimated = crosstalk.debleed_array(tracks, settings, sample_rate_hz=RATE_HZ)
    assert np.isfinite(expected).all()
    assert not expected[1].any()
    assert not estimated.weights[0][1].any()
    assert not estimated.weights[0][:, 1].any()
    tracks[2:] += 0.05  # an offset in two tracks does not make them equal
    _, with_offset = crosstalk.debleed_array(tracks, settings, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(with_offset.weights, estimated.weights, atol=0.02)


@pytest.mark.parametrize("gain", [1.0, -0.2])
def test_equal_tracks_are_rejected(gain):
    tracks = make_tracks(4, num_samples=2 * RATE_HZ)
    tracks[2] = gain * tracks[0] + 1e-4 * tracks[1]
    with pytest.raises(UserError, match="track 0 and track 2: contain the same sound"):
        crosstalk.debleed_array(tracks, crosstalk.Settings(**FRAME), sample_rate_hz=RATE_HZ)


def test_mean_of_a_stereo_track_is_reduced_like_a_mono_track(mixed):
    *_, spots = mixed
    settings = crosstalk.Settings(**FRAME)
    expected, estimated = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    side = 0.01 * make_tracks(1, seed=5)
    block = [np.concatenate([spots[:1] + side, spots[:1] - side]), *(t[None] for t in spots[1:])]
    audio_format = dict(num_samples=spots.shape[1], sample_rate_hz=RATE_HZ)
    reduced = list(crosstalk.reduce_blocks([block], estimated, settings, **audio_format))
    stereo = np.concatenate([block[0] for block in reduced], axis=1)
    assert stereo.shape == (2, spots.shape[1])
    np.testing.assert_allclose(stereo.mean(0), expected[0], atol=1e-5)
    assert np.abs(stereo[0] - stereo[1]).max() > 1e-4
    for j in range(1, len(spots)):
        track = np.concatenate([block[j] for block in reduced], axis=1)
        np.testing.assert_allclose(track[0], expected[j], atol=1e-5)


def test_bands_have_separate_weights():
    rng = np.random.default_rng(7)
    low, high = (rng.standard_normal((2, 1, RATE_HZ)) * 0.1).astype(np.float32)
    spectrum = np.fft.rfft(high[0])
    edge = len(spectrum) // 2
    # Track 0 contains track 1, with a gain of 0.2 in the lower and 0.6 in the upper half.
    bleed = 0.2 * spectrum
    bleed[edge:] *= 3
    tracks = np.concatenate([1e-3 * low + np.fft.irfft(bleed, RATE_HZ).astype(np.float32), high])
    settings = crosstalk.Settings(**FRAME, align=False, band_edges_hz=[RATE_HZ / 4])
    _, estimated = crosstalk.debleed_array(tracks, settings, sample_rate_hz=RATE_HZ)
    assert estimated.weights.shape == (2, 2, 2)
    np.testing.assert_allclose(estimated.weights[:, 0, 1], [0.2, 0.6], atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(solver="nnsl"), "did you mean 'nnls'"),
        (dict(method="masks"), "did you mean 'mask'"),
        (dict(window="hamning"), "did you mean 'hamming'"),
        (dict(strength=-1.0), "strength=-1.0"),
        (dict(strength=float("nan")), "strength=nan"),
        (dict(floor=2.0), "floor=2.0"),
        (dict(hop_length=3000), "hop_length=3000"),
        (dict(frame_length=10**8), "frame_length=100000000"),
        (dict(band_edges_hz=(500.0, 100.0)), "expected positive, increasing frequencies"),
        (dict(band_edges_hz=(float("inf"),)), "expected positive, increasing frequencies"),
        (dict(band_edges_hz=(float("nan"),)), "expected positive, increasing frequencies"),
    ],
)
def test_invalid_settings_are_rejected(arguments, message):
    with pytest.raises(UserError, match=message):
        crosstalk.Settings(**arguments)


def test_invalid_tracks_are_rejected():
    for tracks in (np.zeros((1, 100)), np.zeros(100), np.zeros((2, 0))):
        with pytest.raises(ValueError, match="two tracks"):
            crosstalk.debleed_array(tracks, sample_rate_hz=RATE_HZ)
    for invalid in (np.nan, np.inf):
        tracks = np.ones((2, 1000), np.float32)
        tracks[1, 100] = invalid
        with pytest.raises(ValueError, match="NaN or infinite"):
            crosstalk.debleed_array(tracks, sample_rate_hz=RATE_HZ)


def test_inverse_mixing_matrix():
    eye = np.eye(2)
    direct = np.array([[1, 0.5], [0.25, 1]])
    weights = np.array([[[0, 0.1], [0.2, 0]], [[0, 0.3], [0.4, 0]]])
    with_direct_sound = crosstalk.Crosstalk(direct, np.zeros((2, 2), int), weights)
    np.testing.assert_allclose(with_direct_sound.inverse_mixing() @ direct, eye, atol=1e-12)
    without_direct_sound = crosstalk.Crosstalk(eye, np.zeros((2, 2), int), weights)
    np.testing.assert_allclose(without_direct_sound.inverse_mixing(), [[1, -0.2], [-0.3, 1]])


def test_residual_of_a_copy_does_not_explain_the_other_tracks():
    players = make_tracks(3, num_samples=4 * RATE_HZ)
    tracks = np.concatenate([players, 0.3 * np.roll(players[:1], 5, axis=1)])
    reduced, estimated = crosstalk.debleed_array(
        tracks, crosstalk.Settings(**FRAME), sample_rate_hz=RATE_HZ
    )
    assert estimated.weights[0, :3].max() < 1
    np.testing.assert_allclose(reduced[0].std(), tracks[0].std(), rtol=0.2)
    assert reduced[3].std() < 0.1 * tracks[3].std()


def test_short_recordings_are_returned_unchanged():
    tracks = make_tracks(3, num_samples=20_000)[:, :1000]
    reduced, estimated = crosstalk.debleed_array(
        tracks, crosstalk.Settings(**FRAME), sample_rate_hz=RATE_HZ
    )
    np.testing.assert_array_equal(estimated.amplitudes, np.eye(3))
    np.testing.assert_allclose(reduced, tracks, atol=1e-6)
