"""Crosstalk taken out: gains, direct sound, and recordings in blocks."""

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
    """Players that take turns: each a noise of its own colour, with pauses."""
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
    """The tracks cut into blocks of the given lengths, again and again."""
    start, number = 0, 0
    while start < tracks.shape[1]:
        length = lengths[number % len(lengths)]
        yield tracks[:, start : start + length]
        start, number = start + length, number + 1


def reduced_in_blocks(spots, settings, lengths, crosstalk_found=None):
    known = dict(num_samples=spots.shape[1], sample_rate_hz=RATE_HZ)
    found = crosstalk_found or crosstalk.analyse(
        lambda: in_blocks(spots, lengths), settings, **known
    )
    blocks = ([track[None] for track in block] for block in in_blocks(spots, lengths))
    reduced = list(crosstalk.reduce_blocks(blocks, found, settings, **known))
    return np.concatenate([np.concatenate(block) for block in reduced], axis=1), found


@pytest.mark.parametrize("strength", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("floor", [0.0, 0.2])
@pytest.mark.parametrize("method", ["subtraction", "mask"])
def test_gains_are_those_of_the_equations(strength, floor, method):
    rng = np.random.default_rng(1)
    magnitudes = rng.random((3, 4, 5)).astype(np.float32)
    magnitudes[1, 2] = 0
    weights = rng.random((3, 3)) * (1 - np.eye(3))
    found = gains(magnitudes, weights, strength=strength, floor=floor, method=method)
    for track, frame, k in np.ndindex(magnitudes.shape):
        own = float(magnitudes[track, frame, k])
        others = strength * sum(weights[track, j] * magnitudes[j, frame, k] for j in range(3))
        rest = max(own - others, 0.0)
        if others == 0:
            expected = 1.0
        elif method == "subtraction":
            expected = rest / own if own else 0.0
        else:
            expected = rest**2 / (rest**2 + others**2)
        np.testing.assert_allclose(found[track, frame, k], max(expected, floor), atol=1e-5)


def test_reduced_spectra_keep_their_phase():
    rng = np.random.default_rng(2)
    spectra = (rng.normal(size=(2, 3, 4)) + 1j * rng.normal(size=(2, 3, 4))).astype(np.complex64)
    weights = np.array([[0, 0.3], [0.2, 0]])
    reduced = crosstalk.reduce(spectra, weights, method="subtraction")
    expected = np.abs(spectra) - np.einsum("lj,jnk->lnk", weights, np.abs(spectra))
    np.testing.assert_allclose(np.abs(reduced), np.maximum(expected, 0), atol=1e-5)
    left = np.abs(reduced) > 1e-3
    np.testing.assert_allclose(np.angle(reduced)[left], np.angle(spectra)[left], atol=1e-3)


def test_direct_sound_is_found(mixed):
    _, mixing, delays, spots = mixed
    spectra = [stft(spots, **TRANSFORM)]
    amplitudes, found = align.find_direct_sound(spectra, frame_length=512, window="hamming")
    strong = mixing > 0.05
    assert (np.abs(found - delays)[strong] <= 1).all()
    np.testing.assert_allclose(amplitudes[strong], mixing[strong], atol=0.05)


def test_direct_sound_of_opposite_polarity_is_found_as_well(mixed):
    tracks, mixing, delays, _ = mixed
    signs = np.where(np.eye(len(mixing)), 1, -1)
    signs[0, 1:] = 1
    spots, gain = crosstalk.simulate(tracks, signs * mixing, delays)
    settings = crosstalk.Settings(**FRAME)
    reduced, found = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    strong = mixing > 0.05
    assert (np.abs(found.delays_samples - delays)[strong] <= 1).all()
    np.testing.assert_allclose(found.amplitudes[strong], (signs * mixing)[strong], atol=0.05)
    alone = np.asarray(gain) * tracks
    assert si_sdr(alone, reduced).mean() > si_sdr(alone, np.asarray(spots)).mean() + 1


def test_the_levels_of_the_tracks_do_not_matter(mixed):
    *_, spots = mixed
    settings = crosstalk.Settings(**FRAME)
    expected, known = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    levels = np.array([0.03, 4.0, 0.5, 1.0], np.float32)[:, None]
    reduced, found = crosstalk.debleed_array(levels * spots, settings, sample_rate_hz=RATE_HZ)
    amplitudes = found.amplitudes * levels.T / levels
    np.testing.assert_allclose(amplitudes, known.amplitudes, atol=0.01)
    assert np.abs(found.amplitudes).max() > 1
    assert si_sdr(expected, reduced / levels).min() > 30


def test_demixing_inverts_the_matrix_of_direct_sound():
    amplitudes = np.array([[1, 0.4, 0.1], [0.2, 1, 0.0], [0.3, 0.1, 1]])
    delays = np.array([[0, 3, 9], [5, 0, 0], [1, 7, 0]])
    matrix = np.asarray(align.demixing(amplitudes, delays, frame_length=64))
    omega = 2 * np.pi * np.arange(33)[:, None, None] / 64
    product = matrix @ (amplitudes * np.exp(-1j * omega * delays))
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=5e-3)


@pytest.mark.parametrize("method", ["subtraction", "mask"])
def test_less_is_heard_of_the_others(mixed, method):
    tracks, _, _, spots = mixed
    rests = tracks == 0  # only crosstalk is heard then
    heard_db = []
    for with_alignment in (False, True):
        settings = crosstalk.Settings(**FRAME, align=with_alignment, method=method)
        reduced, _ = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
        heard = np.square(reduced)[rests].mean() / np.square(spots)[rests].mean()
        heard_db.append(10 * np.log10(heard))
    assert heard_db[0] < -6
    assert heard_db[1] < heard_db[0] - 2
    # Aligned, players who play together do not harm each other either.
    aligned = np.asarray(si_sdr(tracks, reduced)).mean()
    assert aligned > np.asarray(si_sdr(tracks, spots)).mean() + 1


@pytest.mark.parametrize("with_alignment", [False, True])
def test_blocks_give_what_whole_spectrograms_give(mixed, with_alignment):
    *_, spots = mixed
    settings = crosstalk.Settings(**FRAME, align=with_alignment)
    spectra = stft(spots, **TRANSFORM)
    amplitudes = None
    if with_alignment:
        pieces = streaming._pieces([spots], settings, spots.shape[1])
        counted = dict(settings=settings, first_bin=2)  # of those from 20 Hz on
        pieces = [streaming._transform(*piece, **counted) for piece in pieces]
        amplitudes, delays = align.find_direct_sound(pieces, frame_length=512, window="hamming")
        spectra = align.demix(spectra, align.demixing(amplitudes, delays, frame_length=512))
    weights = crosstalk.estimate(crosstalk.gram(np.abs(spectra[..., 2:])))
    whole = istft(
        crosstalk.reduce(spectra, weights, method=settings.method),
        num_samples=spots.shape[1],
        **TRANSFORM,
    )
    found, parts = reduced_in_blocks(spots, settings, (1000, 37, 90_000))
    np.testing.assert_allclose(parts.weights[0], weights, atol=2e-6)
    if with_alignment:
        np.testing.assert_array_equal(parts.amplitudes, amplitudes)
    np.testing.assert_allclose(found, whole, atol=1e-6)


def test_the_blocks_do_not_matter(mixed):
    *_, spots = mixed
    settings = crosstalk.Settings(**FRAME)
    one, found = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    for lengths in ((1,), (513, 1, 4000)):
        some = spots[:, :3000] if lengths == (1,) else spots
        expected, known = (
            (one, found) if some is spots else reduced_in_blocks(some, settings, (3000,), found)
        )
        again, _ = reduced_in_blocks(some, settings, lengths, known)
        np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("num_samples", [1, 255, 256, 257, 512, 64 * 256, 64 * 256 + 1])
def test_any_length_and_no_strength_change_nothing(num_samples):
    tracks = make_tracks(3, num_samples=20_000)[:, :num_samples]
    settings = crosstalk.Settings(**FRAME, align=False, strength=0.0)
    reduced, _ = crosstalk.debleed_array(tracks, settings, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(reduced, tracks, atol=1e-6)


@pytest.mark.parametrize("with_alignment", [False, True])
def test_silent_tracks_and_direct_current(with_alignment):
    tracks = make_tracks(4, num_samples=2 * RATE_HZ)
    tracks[1] = 0
    settings = crosstalk.Settings(**FRAME, align=with_alignment)
    expected, found = crosstalk.debleed_array(tracks, settings, sample_rate_hz=RATE_HZ)
    assert np.isfinite(expected).all()
    assert not expected[1].any()
    assert not found.weights[0][1].any()
    assert not found.weights[0][:, 1].any()
    tracks[2:] += 0.05  # in two of them: they are not the same for it
    _, again = crosstalk.debleed_array(tracks, settings, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(again.weights, found.weights, atol=0.02)


@pytest.mark.parametrize("gain", [1.0, -0.2])
def test_the_same_track_twice_is_refused(gain):
    tracks = make_tracks(4, num_samples=2 * RATE_HZ)
    tracks[2] = gain * tracks[0] + 1e-4 * tracks[1]
    with pytest.raises(UserError, match="track 0 and track 2: hold the same sound"):
        crosstalk.debleed_array(tracks, crosstalk.Settings(**FRAME), sample_rate_hz=RATE_HZ)


def test_of_a_stereo_track_the_mean_is_reduced_as_if_it_were_mono(mixed):
    *_, spots = mixed
    settings = crosstalk.Settings(**FRAME)
    expected, found = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    side = 0.01 * make_tracks(1, seed=5)
    block = [np.concatenate([spots[:1] + side, spots[:1] - side]), *(t[None] for t in spots[1:])]
    known = dict(num_samples=spots.shape[1], sample_rate_hz=RATE_HZ)
    reduced = list(crosstalk.reduce_blocks([block], found, settings, **known))
    stereo = np.concatenate([one[0] for one in reduced], axis=1)
    assert stereo.shape == (2, spots.shape[1])
    np.testing.assert_allclose(stereo.mean(0), expected[0], atol=1e-5)
    assert np.abs(stereo[0] - stereo[1]).max() > 1e-4
    for j in range(1, len(spots)):
        track = np.concatenate([one[j] for one in reduced], axis=1)
        np.testing.assert_allclose(track[0], expected[j], atol=1e-5)


def test_bands_have_weights_of_their_own():
    rng = np.random.default_rng(7)
    low, high = (rng.standard_normal((2, 1, RATE_HZ)) * 0.1).astype(np.float32)
    spectrum = np.fft.rfft(high[0])
    edge = len(spectrum) // 2
    # Of track 1, track 0 hears the lower half at 0.2 and the upper one at 0.6.
    heard = 0.2 * spectrum
    heard[edge:] *= 3
    tracks = np.concatenate([1e-3 * low + np.fft.irfft(heard, RATE_HZ).astype(np.float32), high])
    settings = crosstalk.Settings(**FRAME, align=False, band_edges_hz=[RATE_HZ / 4])
    _, found = crosstalk.debleed_array(tracks, settings, sample_rate_hz=RATE_HZ)
    assert found.weights.shape == (2, 2, 2)
    np.testing.assert_allclose(found.weights[:, 0, 1], [0.2, 0.6], atol=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(solver="nnsl"), "did you mean 'nnls'"),
        (dict(method="masks"), "did you mean 'mask'"),
        (dict(window="hamning"), "did you mean 'hamming'"),
        (dict(strength=-1.0), "strength -1.0"),
        (dict(strength=float("nan")), "strength nan"),
        (dict(floor=2.0), "floor 2.0"),
        (dict(hop_length=3000), "hop_length 3000"),
        (dict(frame_length=10**8), "frame_length 100000000"),
        (dict(band_edges_hz=(500.0, 100.0)), "must be positive and rise"),
        (dict(band_edges_hz=(float("inf"),)), "must be positive and rise"),
        (dict(band_edges_hz=(float("nan"),)), "must be positive and rise"),
    ],
)
def test_wrong_settings_are_one_clear_line(wrong, message):
    with pytest.raises(UserError, match=message):
        crosstalk.Settings(**wrong)


def test_what_is_no_set_of_tracks():
    for tracks in (np.zeros((1, 100)), np.zeros(100), np.zeros((2, 0))):
        with pytest.raises(ValueError, match="two tracks"):
            crosstalk.debleed_array(tracks, sample_rate_hz=RATE_HZ)
    for wrong in (np.nan, np.inf):
        tracks = np.ones((2, 1000), np.float32)
        tracks[1, 100] = wrong
        with pytest.raises(ValueError, match="NaN or infinite"):
            crosstalk.debleed_array(tracks, sample_rate_hz=RATE_HZ)


def test_the_inverse_mixing_matrix():
    eye = np.eye(2)
    direct = np.array([[1, 0.5], [0.25, 1]])
    weights = np.array([[[0, 0.1], [0.2, 0]], [[0, 0.3], [0.4, 0]]])
    found = crosstalk.Crosstalk(direct, np.zeros((2, 2), int), weights)
    np.testing.assert_allclose(found.inverse_mixing() @ direct, eye, atol=1e-12)
    without = crosstalk.Crosstalk(eye, np.zeros((2, 2), int), weights)
    np.testing.assert_allclose(without.inverse_mixing(), [[1, -0.2], [-0.3, 1]])


def test_errors_left_of_a_copy_do_not_explain_the_others():
    players = make_tracks(3, num_samples=4 * RATE_HZ)
    tracks = np.concatenate([players, 0.3 * np.roll(players[:1], 5, axis=1)])
    reduced, found = crosstalk.debleed_array(
        tracks, crosstalk.Settings(**FRAME), sample_rate_hz=RATE_HZ
    )
    assert found.weights[0, :3].max() < 1
    np.testing.assert_allclose(reduced[0].std(), tracks[0].std(), rtol=0.2)
    assert reduced[3].std() < 0.1 * tracks[3].std()


def test_too_short_to_tell_anything():
    tracks = make_tracks(3, num_samples=20_000)[:, :1000]
    reduced, found = crosstalk.debleed_array(
        tracks, crosstalk.Settings(**FRAME), sample_rate_hz=RATE_HZ
    )
    np.testing.assert_array_equal(found.amplitudes, np.eye(3))
    np.testing.assert_allclose(reduced, tracks, atol=1e-6)
