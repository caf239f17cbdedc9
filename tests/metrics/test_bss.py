"""BSS-Eval v3 compared with stored mir_eval values and an explicit least-squares solution."""

import numpy as np
import pytest
import scipy.signal

from irec_jax.metrics import bss, projection

# What `mir_eval.separation.bss_eval_sources(*golden_case(name), compute_permutation=False)` of
# mir_eval 0.8.2 returned (NumPy 2.4): SDR, SIR and SAR of each source in dB.
GOLDEN = {
    "-20 dB": [
        [-10.541616, -10.841055, -10.758593],
        [-9.166678, -9.439751, -9.420931],
        [4.786068, 4.660997, 4.898273],
    ],
    "80 dB": [
        [75.57071, 75.624533, 75.53168],
        [76.945648, 77.025837, 76.869342],
        [81.23507, 81.218881, 81.297736],
    ],
    "filtered": [
        [13.331016, 13.338967, 13.266087],
        [14.705957, 14.748378, 14.611523],
        [19.139891, 19.055241, 19.158313],
    ],
    "low-passed": [
        [15.467205, 15.35616, 15.363046],
        [16.918484, 16.79397, 16.780507],
        [21.0204, 20.946005, 21.005451],
    ],
    "partly silent": [
        [18.365116, 17.507636, -11.608795],
        [20.041999, 19.056482, -10.651941],
        [23.352229, 22.790465, 6.44072],
    ],
}


def golden_case(name):
    """Return references and estimates, float64 (3, 6000) each."""
    rng = np.random.default_rng(7)
    time_s = np.arange(6000) / 48000
    noise = rng.standard_normal((3, 6000))
    reference = noise * np.exp(-40 * time_s) + [
        np.sin(2 * np.pi * pitch * time_s) for pitch in (220, 330, 554)
    ]
    if name == "low-passed":  # by 60 dB above 8 kHz
        reference = scipy.signal.lfilter(*scipy.signal.cheby2(6, 60, 8000, fs=48000), reference)
    if name == "partly silent":
        reference[0, :2500] = 0
        reference[1, 2000:] = 0
        reference[2] *= 1e-3
    crosstalk = reference.sum(0) - reference
    level = {"80 dB": 1e-4, "-20 dB": 10.0}.get(name, 0.1)
    noise = reference.std() * rng.standard_normal((3, 6000))
    filtered = (
        scipy.signal.lfilter([0.5, 0, 0.3], 1, reference) if name == "filtered" else reference
    )
    return reference, filtered + level * (crosstalk + noise)


def delayed(signals, num_taps):
    """Return a matrix whose columns are signals (S, T) delayed by 0 .. num_taps - 1 samples."""
    rows = [np.pad(s, (k, num_taps - 1 - k)) for s in signals for k in range(num_taps)]
    return np.stack(rows, axis=1)


def naive_bss_eval(reference, estimated, num_taps):
    scores = []
    for j, estimate in enumerate(estimated):
        e = np.pad(estimate, (0, num_taps - 1))
        own, every = (
            space @ np.linalg.lstsq(space, e)[0]
            for space in (delayed(reference[j : j + 1], num_taps), delayed(reference, num_taps))
        )
        parts = [(own, e - own), (own, every - own), (every, e - every)]
        scores.append([10 * np.log10(np.sum(a**2) / np.sum(b**2)) for a, b in parts])
    return np.transpose(scores)


def case(num_sources=3, num_samples=400, *, level=0.3, seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((num_sources, num_samples)).cumsum(-1)
    mixing = np.eye(num_sources) + level * rng.uniform(size=(num_sources, num_sources))
    noise = level * rng.standard_normal(reference.shape)
    return reference, mixing @ reference + noise


@pytest.mark.parametrize("name", ["-20 dB", "80 dB", "filtered", "low-passed", "partly silent"])
def test_scores_match_mir_eval(name):
    scores = bss.bss_eval_sources(*golden_case(name))
    np.testing.assert_allclose(scores, GOLDEN[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", [1e-5, 0.1, 30.0])
@pytest.mark.parametrize(
    "num_sources, num_samples, num_taps", [(2, 7, 1), (2, 30, 3), (3, 90, 8), (4, 1500, 5)]
)
def test_scores_match_explicit_least_squares(
    num_sources, num_samples, num_taps, level, monkeypatch
):
    monkeypatch.setattr(projection, "_FFT_LENGTH", 64)  # 1,500 samples are several chunks
    reference, estimated = case(num_sources, num_samples, level=level)
    expected = naive_bss_eval(reference, estimated, num_taps)
    scores = bss.bss_eval_sources(reference, estimated, num_taps=num_taps)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)


def test_prepared_references_score_several_sets_of_estimates():
    reference, first = case()
    _, second = case(level=2.0, seed=1)
    prepared = bss.prepare_references(reference, num_taps=4)
    assert prepared.ridge == 0
    for estimated in (first, second, first[::-1]):
        np.testing.assert_array_equal(
            bss.bss_eval(prepared, estimated),
            bss.bss_eval_sources(reference, estimated, num_taps=4),
        )


def test_scores_do_not_depend_on_scale_or_sample_type():
    reference, estimated = (np.round(100 * signals) for signals in case())
    expected = bss.bss_eval_sources(reference, estimated, num_taps=4)
    for kind in (np.int16, np.int64, np.float32):
        scores = bss.bss_eval_sources(reference.astype(kind), estimated.astype(kind), num_taps=4)
        np.testing.assert_array_equal(scores, expected)
    gains = np.array([[1e-9], [1.0], [1e9]])
    scores = bss.bss_eval_sources(gains * reference, gains[::-1] * estimated, num_taps=4)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_silent_reference_does_not_affect_other_sources():
    reference, estimated = case()
    expected = bss.bss_eval_sources(reference[[0, 2]], estimated[[0, 2]], num_taps=4)
    reference[1] = 0
    scores = np.stack(bss.bss_eval_sources(reference, estimated, num_taps=4))
    assert np.isnan(scores[:, 1]).all()
    np.testing.assert_allclose(scores[:, [0, 2]], expected, atol=1e-9)


def test_silent_estimate_has_sdr_minus_infinity():
    reference, estimated = case()
    expected = np.stack(bss.bss_eval_sources(reference, estimated, num_taps=4))
    estimated[1] = 0
    scores = np.stack(bss.bss_eval_sources(reference, estimated, num_taps=4))
    np.testing.assert_array_equal(scores[:, 1], [-np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(scores[:, [0, 2]], expected[:, [0, 2]])


def test_exact_estimates_score_infinity():
    reference, _ = case()
    assert np.isposinf(bss.bss_eval_sources(reference, reference, num_taps=4)).all()
    single = bss.bss_eval_sources(*(signals[:1] for signals in case()), num_taps=4)
    assert np.isposinf(single.bss_sir_db) and single.bss_sdr_db < 60
    reference[:, -2:] = 0
    delayed_by_two = np.roll(reference, 2, axis=1)
    assert np.isposinf(bss.bss_eval_sources(reference, delayed_by_two, num_taps=3)).all()
    assert (bss.bss_eval_sources(reference, delayed_by_two, num_taps=2).bss_sdr_db < 60).all()


def test_equal_references_do_not_interfere_with_each_other():
    reference, estimated = case(level=0.05)
    reference[1] = reference[0]
    prepared = bss.prepare_references(reference, num_taps=4)
    assert prepared.ridge > 0
    scores = np.stack(bss.bss_eval(prepared, estimated))
    np.testing.assert_allclose(scores, naive_bss_eval(reference, estimated, 4), atol=1e-3)
    single = bss.bss_eval_sources(reference[[0, 2]], estimated[[0, 2]], num_taps=4)
    np.testing.assert_allclose(scores[:, [0, 2]], single, atol=1e-3)


def test_references_with_nearly_dependent_delays():
    """With two tones each, only four of 16 delays are linearly independent."""
    time = np.arange(8000)
    pitches = np.array([[0.1, 0.23], [0.17, 0.31]])
    reference = np.sin(pitches[..., None] * time).sum(1) * np.hanning(8000) ** 4
    estimated = reference + 1e-3 * np.random.default_rng(0).standard_normal(reference.shape)
    prepared = bss.prepare_references(reference, num_taps=16)
    assert prepared.ridge > 0
    scores = bss.bss_eval(prepared, estimated)
    expected = naive_bss_eval(reference, estimated, 16)
    np.testing.assert_allclose(scores.bss_sdr_db, expected[0], atol=0.02)
    np.testing.assert_allclose(scores.bss_sar_db, expected[2], atol=0.02)
    assert (scores.bss_sir_db > scores.bss_sdr_db + 20).all()


@pytest.mark.usefixtures("unchecked")
def test_invalid_input_is_rejected():
    reference, estimated = case()
    holed = estimated.copy()
    holed[1, 5] = np.nan
    with pytest.raises(ValueError, match=r"reference \(3, 400\) and estimated \(3, 399\)"):
        bss.bss_eval_sources(reference, estimated[:, 1:])
    with pytest.raises(ValueError, match="estimated contains NaN"):
        bss.bss_eval_sources(reference, holed, num_taps=4)
    with pytest.raises(ValueError, match="reference contains NaN, infinite"):
        bss.prepare_references(np.where(reference > 3, np.inf, reference))
    with pytest.raises(ValueError, match=r"shape \(400,\); expected \(J, T\)"):
        bss.prepare_references(reference[0])
    with pytest.raises(ValueError, match=r"shape \(3, 0\); .* no empty axis"):
        bss.prepare_references(reference[:, :0])
    with pytest.raises(ValueError, match="reference has dtype complex128"):
        bss.prepare_references(reference * 1j)
    for num_taps in (0, 2.5):
        with pytest.raises(ValueError, match=f"num_taps={num_taps}"):
            bss.prepare_references(reference, num_taps=num_taps)
    prepared = bss.prepare_references(reference, num_taps=4)
    with pytest.raises(ValueError, match=r"reference \(3, 400\) and estimated \(2, 400\)"):
        bss.bss_eval(prepared, estimated[:2])
