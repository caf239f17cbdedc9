"""BSS-Eval v4 compared with its equations, with explicit delays."""

import numpy as np
import pytest

from irec_jax.metrics import museval


def delayed(signals, num_taps):
    """Return a matrix whose columns are signals (S, T) delayed by 0 .. num_taps - 1 samples."""
    rows = [np.pad(s, (k, num_taps - 1 - k)) for s in signals for k in range(num_taps)]
    return np.stack(rows, axis=1)


def naive_v4(reference, estimated, window, hop, num_taps):
    """Return scores (4, J, frames) of (J, T, C): filters of the track, energies of frames."""
    num_sources, num_samples, num_channels = reference.shape
    starts = range(0, max(num_samples - window, 0) + 1, hop)
    scores = np.full((4, num_sources, len(starts)), np.nan)
    for j in range(num_sources):
        e = np.pad(estimated[j], ((0, num_taps - 1), (0, 0)))
        own_filters = np.linalg.lstsq(delayed(reference[j].T, num_taps), e)[0]
        tracks = reference.transpose(0, 2, 1).reshape(-1, num_samples)
        filters = np.linalg.lstsq(delayed(tracks, num_taps), e)[0]
        for frame, start in enumerate(starts):
            cut = reference[:, start : start + window]
            cut_estimates = estimated[:, start : start + window]
            if (cut.sum(2) == 0).all(1).any() or (cut_estimates.sum(2) == 0).all(1).any():
                continue
            source, e = (
                np.pad(signals[j], ((0, num_taps - 1), (0, 0))) for signals in (cut, cut_estimates)
            )
            own = delayed(cut[j].T, num_taps) @ own_filters
            tracks = cut.transpose(0, 2, 1).reshape(num_sources * num_channels, -1)
            every = delayed(tracks, num_taps) @ filters
            parts = [(source, e - source), (source, own - source), (own, every - own)]
            parts.append((every, e - every))
            scores[:, j, frame] = [10 * np.log10(np.sum(a**2) / np.sum(b**2)) for a, b in parts]
    return scores


def case(num_channels=2, num_sources=3, num_samples=1000):
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((num_sources, num_samples, num_channels)).cumsum(1)
    mixing = np.eye(num_sources) + 0.2 * rng.uniform(size=(num_sources, num_sources))
    estimated = np.einsum("ij,jtc->itc", mixing, reference)
    return reference, estimated + 0.2 * rng.standard_normal(reference.shape)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("window, hop", [(100, 100), (250, 100), (90, 110), (5000, 10), (1000, 7)])
def test_scores_match_the_equations(window, hop, num_channels):
    reference, estimated = case(num_channels)
    options = dict(sample_rate_hz=100, window_s=window / 100, hop_s=hop / 100, num_taps=4)
    frames, medians = museval.museval_scores(reference, estimated, **options)
    expected = naive_v4(reference, estimated, window, hop, num_taps=4)
    np.testing.assert_allclose(frames, expected, atol=1e-5)
    np.testing.assert_allclose(medians, np.median(expected, -1), atol=1e-5)


def test_single_channel_needs_no_channel_axis():
    reference, estimated = case(num_channels=1)
    options = dict(sample_rate_hz=200, num_taps=4)
    with_axis = museval.museval_scores(reference, estimated, **options)
    without_axis = museval.museval_scores(reference[..., 0], estimated[..., 0], **options)
    for actual, expected in zip(without_axis, with_axis, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_silent_frame_is_excluded_for_all_sources():
    reference, estimated = case()
    reference[1, 200:300] = 0
    estimated[2, 600:700, 0] = -estimated[2, 600:700, 1]  # museval sums the channels
    frames, medians = museval.museval_scores(reference, estimated, sample_rate_hz=100, num_taps=4)
    expected = naive_v4(reference, estimated, 100, 100, num_taps=4)
    assert np.isnan(expected[..., [2, 6]]).all() and np.isfinite(expected[..., 3]).all()
    np.testing.assert_allclose(frames, expected, atol=1e-5)
    np.testing.assert_allclose(medians, np.nanmedian(expected, -1), atol=1e-5)


def test_source_that_is_silent_throughout_only_affects_itself():
    reference, estimated = case(num_sources=4)
    reference[1] = 0
    audible = [0, 2, 3]
    expected = naive_v4(reference[audible], estimated[audible], 100, 100, num_taps=4)
    frames, medians = museval.museval_scores(reference, estimated, sample_rate_hz=100, num_taps=4)
    np.testing.assert_allclose(np.stack(frames)[:, audible], expected, atol=1e-5)
    assert np.isnan(np.stack(frames)[:, 1]).all() and np.isnan(np.stack(medians)[:, 1]).all()
    estimated[2] = 0
    medians = museval.museval_scores(reference, estimated, sample_rate_hz=100, num_taps=4)[1]
    np.testing.assert_array_equal(np.isnan(medians.museval_sdr_db), [False, True, True, False])


def test_hard_panned_sources_and_exact_estimates():
    reference, _ = case()
    reference[0, :, 1] = 0
    frames, _ = museval.museval_scores(reference, reference, sample_rate_hz=100, num_taps=4)
    assert np.isposinf(frames).all()


def test_invalid_input_is_rejected():
    reference, estimated = case()
    with pytest.raises(ValueError, match=r"reference \(3, 1000, 2\) and estimated \(3, 1000, 1\)"):
        museval.museval_scores(reference, estimated[..., :1], sample_rate_hz=100)
    with pytest.raises(ValueError, match=r"expected \(J, T\) or \(J, T, C\)"):
        museval.museval_scores(reference[0, 0], estimated[0, 0], sample_rate_hz=100)
    with pytest.raises(ValueError, match="hop_s=0.001: .* at 100 Hz"):
        museval.museval_scores(reference, estimated, sample_rate_hz=100, hop_s=0.001)
