"""Activity of tracks and labels of instances, compared with naive versions in NumPy."""

import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.signal

from irec_jax import crosstalk
from irec_jax.crosstalk import activity
from irec_jax.errors import UserError

RATE_HZ = 8000
FRAME = 100
NUM_SAMPLES = 2 * RATE_HZ + 77
STFT = dict(frame_length=512, hop_length=256)
SEIPEL = crosstalk.Settings(**STFT, align=False, method="subtraction")


def in_blocks(tracks, lengths):
    """Yield the tracks in blocks of the given lengths, which are repeated."""
    start, index = 0, 0
    while start < tracks.shape[1]:
        length = lengths[index % len(lengths)]
        yield tracks[:, start : start + length]
        start, index = start + length, index + 1


def track_activity(tracks, settings, lengths=(3000,), **options):
    return activity.track_activity(
        lambda: in_blocks(tracks, lengths),
        settings,
        num_samples=tracks.shape[1],
        sample_rate_hz=RATE_HZ,
        frame_length=FRAME,
        **options,
    )


def naive_rms(tracks):
    """Return the RMS (J, F) of each frame, divided by the maximum of the track."""
    levels = []
    for start in range(0, tracks.shape[1], FRAME):
        frame = tracks[:, start : start + FRAME].astype(np.float64)
        levels.append(np.sqrt((frame**2).sum(axis=1) / FRAME))
    levels = np.stack(levels, axis=1)
    return levels / levels.max(axis=1, keepdims=True)


def naive_reduction(tracks):
    """Return tracks after Seipel's reduction, from spectrograms of the complete recording."""
    window = scipy.signal.get_window("hamming", 512)
    num_frames = 1 + tracks.shape[1] // 256
    padded = np.pad(tracks.astype(np.float64), ((0, 0), (256, 1024)))
    spectra = np.stack(
        [np.fft.rfft(padded[:, 256 * t : 256 * t + 512] * window) for t in range(num_frames)], 1
    )
    magnitudes = np.abs(spectra)
    audible = magnitudes[:, :, int(np.ceil(20 * 512 / RATE_HZ)) :]  # from 20 Hz
    reduced = np.zeros_like(magnitudes)
    for target in range(len(tracks)):
        others = [j for j in range(len(tracks)) if j != target]
        flat = audible[others].reshape(len(others), -1).T
        weights, _ = scipy.optimize.nnls(flat, audible[target].ravel())
        explained = np.tensordot(weights, magnitudes[others], 1)
        reduced[target] = np.maximum(magnitudes[target] - explained, 0)
    frames = np.fft.irfft(reduced * np.exp(1j * np.angle(spectra))) * window
    samples, window_sum = np.zeros_like(padded), np.zeros(padded.shape[1])
    for t in range(num_frames):
        samples[:, 256 * t : 256 * t + 512] += frames[:, t]
        window_sum[256 * t : 256 * t + 512] += window**2
    return (samples / np.maximum(window_sum, 1e-9))[:, 256 : 256 + tracks.shape[1]]


@pytest.fixture(scope="module")
def spots():
    """Return three microphones (3, T) of players that pause, with crosstalk of -6 dB."""
    rng = np.random.default_rng(1)
    players = []
    for j in range(3):
        noise = np.convolve(rng.standard_normal(NUM_SAMPLES), rng.standard_normal(8), "same")
        plays = (np.arange(NUM_SAMPLES) // (1000 + 500 * j) % 2).astype(bool)
        players.append(noise * plays)
    mixing = np.array([[1, 0.5, 0.2], [0.4, 1, 0.5], [0.1, 0.3, 1]])
    return (mixing @ np.array(players) * np.array([[0.1], [0.02], [3.0]])).astype(np.float32)


def test_activity_matches_a_naive_version(spots):
    normalised = spots / np.abs(spots).max(axis=1, keepdims=True)
    computed = track_activity(spots, SEIPEL)
    assert computed.dtype == np.float32 and computed.shape == (3, -(-NUM_SAMPLES // FRAME))
    np.testing.assert_allclose(computed, naive_rms(naive_reduction(normalised)), atol=1e-5)
    np.testing.assert_allclose(track_activity(spots, None), naive_rms(spots), rtol=1e-5)
    settings = crosstalk.Settings(**STFT)
    reduced, _ = crosstalk.debleed_array(normalised, settings, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(track_activity(spots, settings), naive_rms(reduced), atol=1e-6)


def test_reduction_lowers_the_activity_in_pauses(spots):
    frames = np.arange(0, NUM_SAMPLES, FRAME)
    pauses = [frames // (1000 + 500 * j) % 2 == 0 for j in range(3)]
    before, after = (track_activity(spots, s) for s in (None, crosstalk.Settings(**STFT)))
    for j in range(3):
        assert after[j, pauses[j]].mean() < 0.5 * before[j, pauses[j]].mean()


@pytest.mark.parametrize("settings", [None, SEIPEL, crosstalk.Settings(**STFT)])
@pytest.mark.parametrize("lengths", [(1, 1000, 50), (NUM_SAMPLES,), (6400, 6401)])
def test_blocks_of_any_length_give_the_same_activity(spots, settings, lengths):
    expected = track_activity(spots, settings)
    computed = track_activity(spots.astype(np.float64), settings, lengths)
    np.testing.assert_allclose(computed, expected, atol=1e-6)


@pytest.mark.parametrize("settings", [None, SEIPEL, crosstalk.Settings(**STFT)])
def test_silent_tracks_have_no_activity(spots, settings):
    tracks = np.insert(spots, 1, 0, axis=0)
    computed = track_activity(tracks, settings)
    assert not computed[1].any()
    np.testing.assert_allclose(computed[[0, 2, 3]], track_activity(spots, settings), atol=1e-5)
    assert not track_activity(np.zeros((2, 5000), np.float32), settings).any()


def test_short_recordings_and_single_tracks_are_not_reduced(spots):
    settings = crosstalk.Settings(**STFT)
    short = spots[:, : crosstalk.min_samples(settings) - 1]
    np.testing.assert_allclose(track_activity(short, settings), naive_rms(short), atol=1e-5)
    single = spots[:1, 1000:1150]
    np.testing.assert_allclose(track_activity(single, settings), naive_rms(single), atol=1e-6)


def test_each_reading_reports_progress(spots):
    for settings in (None, SEIPEL, crosstalk.Settings(**STFT)):
        lengths = []
        track_activity(spots, settings, progress=lengths.append)
        assert sum(lengths) == activity.num_reads(settings) * NUM_SAMPLES


def test_invalid_blocks_are_refused(spots):
    options = dict(sample_rate_hz=RATE_HZ, frame_length=FRAME)
    for num_samples in (NUM_SAMPLES - 1, NUM_SAMPLES + 1):
        with pytest.raises(ValueError, match=f"hold {NUM_SAMPLES} samples, not"):
            activity.track_activity(lambda: [spots], None, num_samples=num_samples, **options)
    with pytest.raises(ValueError, match="hold 0 samples"):
        activity.track_activity(lambda: [], None, num_samples=0, **options)
    for value in (np.nan, np.inf):
        damaged = spots.copy()
        damaged[1, 5000] = value
        with pytest.raises(ValueError, match="NaN or infinite"):
            track_activity(damaged, None)
    with pytest.raises(UserError, match="flute and oboe: contain the same sound"):
        track_activity(spots[[0, 1, 1]] * [[1], [1], [2]], SEIPEL, names=["horn", "flute", "oboe"])


def test_a_class_plays_if_any_of_its_tracks_plays():
    tracks = np.array([[0.125, 1, 0], [0.5, 0.25, 1], [1, 0.5, 0.75]], np.float32)
    classes = ["cello", "tuba", "violin"]
    computed = activity.class_activity(tracks, ["violin", "cello", "violin"], classes)
    np.testing.assert_array_equal(computed, [tracks[1], [0, 0, 0], [1, 1, 0.75]])
    assert computed.dtype == np.float32
    other = activity.class_activity(tracks[:1], ["triangle"], ["cello"])
    np.testing.assert_array_equal(other, np.zeros((1, 3)))


@pytest.mark.parametrize("threshold_db", [0, -6.0, -25.0, -200.0])
@pytest.mark.parametrize("num_frames", [1, 3, 50])
def test_labels_match_a_naive_loop(threshold_db, num_frames):
    rng = np.random.default_rng(num_frames)
    levels = (rng.random((4, 40)) * rng.integers(0, 2, (4, 40))).astype(np.float32)
    levels[0] = 0
    levels[1, 7] = 1
    starts = np.array([0, 1, 5, 7, 36, 38, 39, 40, 41, 1000, -1, -2, -3, -60])
    labels = activity.instance_labels(levels, starts, num_frames, threshold_db)
    assert labels.dtype == bool and labels.shape == (len(starts), 4)
    for start, row in zip(starts, labels, strict=True):
        frames = [i for i in range(start, start + num_frames) if 0 <= i < 40]
        highest = levels[:, frames].max(axis=1, initial=0)
        np.testing.assert_array_equal(row, highest >= 10 ** (threshold_db / 20))


@pytest.mark.parametrize("threshold_db", [0.1, -np.inf, np.inf, np.nan])
def test_thresholds_are_levels_below_the_peak(threshold_db):
    with pytest.raises(UserError, match=r"threshold_db=.*: expected a level in dB below the peak"):
        activity.is_active(np.zeros((1, 1)), threshold_db)


def test_activity_of_simulated_crosstalk_is_near_that_of_the_dry_tracks(spots):
    rng = np.random.default_rng(0)
    dry = np.zeros((4, 4 * RATE_HZ), np.float32)
    for j, track in enumerate(dry):
        tone = np.sin(2 * np.pi * 110 * 2 ** (j / 3) * np.arange(len(track)) / RATE_HZ)
        track[:] = tone * np.repeat(rng.integers(0, 2, 8), len(track) // 8)
    mixing = crosstalk.draw_mixing(jax.random.key(0), 4, max_crosstalk=0.5)
    mixed, _ = crosstalk.simulate(dry, mixing, crosstalk.delays_samples(mixing, RATE_HZ))
    expected = track_activity(dry, None) >= 0.1
    errors = [
        (activity.is_active(track_activity(np.asarray(mixed), s), -20) != expected).mean()
        for s in (None, crosstalk.Settings(**STFT))
    ]
    assert errors[1] < 0.1 < errors[0]
