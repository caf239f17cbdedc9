"""Scores of a separator compared with naive implementations, and its report files."""

import json
import re

import librosa
import matplotlib.image
import numpy as np
import pytest
import report_pages
import scipy.stats

from irec_jax.errors import UserError
from irec_jax.evaluation import separation
from irec_jax.evaluation.separation import TrackEstimates, TrackScores
from irec_jax.frontends import SpectrogramDb
from irec_jax.metrics import bss
from irec_jax.metrics.scale_invariant import si_sdr
from irec_jax.reports import provenance, separation_figures, separation_report
from irec_jax.studies import published

RATE_HZ = 8000
FRONTEND = SpectrogramDb(frame_length=256, hop_length=66, num_bins=128, num_frames=32)
OPTIONS = dict(frontend=FRONTEND, sample_rate_hz=RATE_HZ)


def _stems(seed=0, num_samples=3001):
    """Return two stereo signals of coloured noise, float32 (T, 2) each."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((2, num_samples + 8, 2))
    smooth = np.apply_along_axis(np.convolve, 0, noise[0], np.ones(9) / 9, mode="valid")
    return [0.2 * signal.astype(np.float32) for signal in (smooth, noise[1, :num_samples])]


def _track(seed=0, *, leak=0.2, **options):
    target, remainder = _stems(seed)
    raw = target + leak * remainder
    return TrackEstimates(
        f"track {seed}", target + remainder, target, remainder, {"raw": raw}, **options
    )


def _naive_amplitudes(waveform):
    """Compute amplitudes with librosa, padded so that its frames cover the complete signal."""
    mono = np.asarray(waveform, np.float64).mean(-1)
    num_frames = -(-len(mono) // 66)
    padded = np.pad(mono, (0, 66 * (num_frames - 1) + 256 - len(mono)))
    amplitudes = np.abs(librosa.stft(padded, n_fft=256, hop_length=66, center=False))
    return amplitudes[:128, :num_frames]


def _naive_sdr(reference, estimate):
    return 10 * np.log10((reference**2).sum() / ((reference - estimate) ** 2).sum())


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Use small blocks: several per track, and few shapes to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separation, "_FRAMES_PER_BLOCK", 16)
        yield


def test_amplitudes_in_blocks_match_the_complete_signal():
    for num_samples in (1, 66, 67, 16 * 66, 3001):
        waveform = _stems(num_samples=num_samples)[0]
        actual = separation.amplitudes(waveform.mean(-1), FRONTEND)
        np.testing.assert_allclose(actual, _naive_amplitudes(waveform), atol=1e-4)
    features = np.asarray(FRONTEND(waveform[: 32 * 66].mean(-1)))[:, :28]
    np.testing.assert_allclose(FRONTEND.amplitudes(features), actual[:, :28], atol=1e-3)


def test_scores_match_naive_implementations():
    track = _track()
    scores = separation.score_track(track, **OPTIONS).scores
    assert list(scores) == ["mixture", "raw", "ideal"]
    target, mixture, remainder, raw = (
        _naive_amplitudes(waveform)
        for waveform in (track.target, track.mixture, track.remainder, track.waveforms["raw"])
    )
    ideal = mixture * target / (target + remainder)
    for system, estimate in (("mixture", mixture), ("raw", raw), ("ideal", ideal)):
        expected = _naive_sdr(target, estimate)
        assert scores[system]["amplitude_sdr_db"] == pytest.approx(expected, abs=1e-3)
    raw = track.waveforms["raw"]
    expected = _naive_sdr(track.target.astype(float), raw)
    assert scores["raw"]["mdx_sdr_db"] == pytest.approx(expected, abs=1e-4)
    mono = [
        waveform.mean(-1) for waveform in (track.target, track.remainder, raw, track.mixture - raw)
    ]
    assert scores["raw"]["si_sdr_db"] == pytest.approx(float(si_sdr(mono[0], mono[2])), abs=1e-4)
    expected = bss.bss_eval_sources(np.stack(mono[:2]), np.stack(mono[2:]))
    assert scores["raw"]["bss_sdr_db"] == pytest.approx(expected.bss_sdr_db[0], abs=1e-3)
    assert scores["raw"]["bss_sir_db"] == pytest.approx(expected.bss_sir_db[0], abs=1e-3)
    assert scores["raw"]["bss_sir_db"] > scores["mixture"]["bss_sir_db"] + 10  # of leak 0.2


def test_ideal_estimate_matches_librosa_on_the_complete_track():
    """Pad with silence on both sides, so that the frames of librosa also cover both ends."""
    target, remainder = _stems(1)
    mixture = target + remainder
    options = dict(n_fft=256, hop_length=66, pad_mode="constant")
    expected = []
    for channel in range(2):
        parts = [np.pad(x[:, channel], 4 * 66) for x in (mixture, target, remainder)]
        spectra = [librosa.stft(x, **options) for x in parts]
        mask = np.abs(spectra[1]) / np.maximum(np.abs(spectra[1]) + np.abs(spectra[2]), 1e-9)
        padded_estimate = librosa.istft(
            spectra[0] * mask, n_fft=256, hop_length=66, length=len(parts[0])
        )
        expected.append(padded_estimate[4 * 66 : -4 * 66])
    actual = separation.ideal_estimate(mixture, target, remainder, FRONTEND)
    np.testing.assert_allclose(actual, np.transpose(expected), atol=2e-5)
    silence = np.zeros_like(mixture)
    assert not separation.ideal_estimate(mixture, silence, silence, FRONTEND).any()
    without_remainder = separation.ideal_estimate(mixture, mixture, silence, FRONTEND)
    np.testing.assert_allclose(without_remainder, mixture, atol=1e-5)


def test_features_take_precedence_over_waveforms_and_may_replace_them():
    track = _track()
    amplitudes = separation.amplitudes(track.target.mean(-1), FRONTEND)
    halved = np.asarray(FRONTEND.from_amplitudes(0.5 * amplitudes))
    track = _track(features={"raw": halved, "post": halved})
    scores = separation.score_track(track, **OPTIONS).scores
    assert list(scores) == ["mixture", "raw", "post", "ideal"]
    for system in ("raw", "post"):
        assert scores[system]["amplitude_sdr_db"] == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert np.isfinite(scores["raw"]["bss_sdr_db"]) and np.isnan(scores["post"]["bss_sdr_db"])
    with pytest.raises(ValueError, match=r"raw have shape \(128, 45\); expected \(128, 46\)"):
        separation.score_track(_track(features={"raw": halved[:, 1:]}), **OPTIONS)


def test_windows_side_by_side_and_variants_of_the_postprocessing():
    def windows(waveform):
        padded = np.pad(waveform, ((0, 3 * 20 * 66 - len(waveform)), (0, 0)))
        parts = [_naive_amplitudes(part) for part in padded.reshape(3, 20 * 66, 2)]
        return np.concatenate(parts, axis=1)[:, :46]

    target, remainder = _stems()
    reference, estimate = windows(target), windows(target + 0.2 * remainder)
    features = np.asarray(FRONTEND.from_amplitudes(estimate.astype(np.float32)))
    change = np.float32(20 * np.log10(0.5) / 150)
    scored = separation.score_track(
        _track(features={"raw": features}, window_samples=20 * 66),
        **OPTIONS,
        post_variants={"none": lambda x: x, "halved": lambda x: x + change},
    )
    raw = _naive_sdr(reference, estimate)
    halved = _naive_sdr(reference, estimate / 2)
    assert scored.scores["raw"]["amplitude_sdr_db"] == pytest.approx(raw, abs=1e-3)
    assert scored.post_variants == pytest.approx({"none": raw, "halved": halved}, abs=1e-3)
    silent = TrackScores("silent", 1.0, True, "", scored.scores, {"none": np.nan, "halved": np.nan})
    variants = separation.summarize([scored, silent])["post_variants"]
    assert variants["halved"]["num_tracks"] == 1
    difference = variants["halved"]["paired"]["difference"]
    assert difference == pytest.approx(halved - raw, abs=2e-3)


def test_silent_targets_have_no_scores_and_silent_remainders_have_infinite_scores():
    target, remainder = _stems()
    silence = np.zeros_like(target)
    silent_target = separation.score_track(
        TrackEstimates("no target", remainder, silence, remainder, {"raw": silence}), **OPTIONS
    )
    assert (
        silent_target.silent
        and np.isnan(
            [list(system_scores.values()) for system_scores in silent_target.scores.values()]
        ).all()
    )
    silent_remainder = separation.score_track(
        TrackEstimates("no remainder", target, target, silence, {"raw": silence}), **OPTIONS
    ).scores
    assert (
        silent_remainder["raw"]["amplitude_sdr_db"] == 0
        and silent_remainder["raw"]["si_sdr_db"] == -np.inf
    )
    assert (
        silent_remainder["mixture"]["amplitude_sdr_db"]
        == np.inf
        == silent_remainder["mixture"]["bss_sir_db"]
    )


def test_invalid_shapes_and_names_are_rejected():
    target, remainder = _stems()
    for change, message in (
        (dict(target=target[1:]), r"a song: target has shape \(3000, 2\); expected \(3001, 2\)"),
        (dict(mixture=target[:, 0]), "mixture has shape"),
        (dict(waveforms={"raw": target[:, :1]}), r"raw has shape \(3001, 1\)"),
        (dict(waveforms={"ideal": target}), "system name ideal is reserved"),
    ):
        arguments = dict(
            mixture=target, target=target, remainder=remainder, waveforms={"raw": target}
        )
        with pytest.raises(ValueError, match=message):
            TrackEstimates("a song", **(arguments | change))


def _scored(values, systems=("mixture", "raw", "post", "ideal")):
    """Return tracks with the given scores (tracks, systems)."""
    return [
        TrackScores(
            f"band - song | {i}", 63.04, bool(np.isnan(row).all()), "wrong start" if i == 1 else "",
            {s: dict.fromkeys(separation.SCORES, float(v)) for s, v in zip(systems, row, strict=1)},
        )
        for i, row in enumerate(values)
    ]  # fmt: skip


VALUES = np.array(
    [[2, 9, 7, 16], [3, 11, 10, 17], [1, 6, 5.5, 14], [np.nan] * 4, [4, np.inf, 12, 18]], float
)


def test_summary_matches_scipy_and_excludes_missing_scores():
    evaluation = separation.summarize(_scored(VALUES))
    assert evaluation["num_tracks"] == 5 and evaluation["num_silent"] == 1
    post = evaluation["summary"]["post"]["si_sdr_db"]
    assert post == pytest.approx(
        {
            "mean": np.mean([7, 10, 5.5, 12]),
            "sd": np.std([7, 10, 5.5, 12], ddof=1),
            "median": 8.5,
            "num_tracks": 4,
            "num_infinite": 0,
        }
    )
    raw = evaluation["summary"]["raw"]["si_sdr_db"]
    assert raw["num_infinite"] == 1 and raw["median"] == 10
    assert raw["mean"] == pytest.approx(26 / 3)
    first, second = VALUES[:3, 1], VALUES[:3, 2]
    tests = evaluation["tests"]["amplitude_sdr_db"]
    for kind, test in (("independent", "ttest_ind"), ("paired", "ttest_rel")):
        expected = getattr(scipy.stats, test)(first, second)
        assert tests[kind]["t"] == pytest.approx(expected.statistic)
        assert tests[kind]["p_value"] == pytest.approx(expected.pvalue)
        assert tests[kind]["num_tracks"] == 3
    assert not separation.summarize(_scored(VALUES[:, 1:], ("mixture", "own", "ideal")))["tests"]
    with pytest.raises(ValueError, match="at least one"):
        separation.summarize([])
    with pytest.raises(ValueError, match="same systems"):
        separation.summarize([*_scored(VALUES[:1]), *_scored(VALUES[:1, 1:], ("a", "b", "c"))])


HISTORY = [
    {"epoch": 1, "train_loss": 0.2, "valid_loss": 0.1, "valid_amplitude_sdr": 5.0},
    {"epoch": 2, "train_loss": 0.1, "valid_loss": float("nan")},
]
PROTOCOL = {
    "description": "official tracks",
    "sides": {
        "training": {"num_tracks": 80, "duration_s": 540.0},
        "test": {"num_tracks": 5, "duration_s": 90.0},
    },
}


def _report(evaluation, *, rendered, seed=0, repeats=None):
    source = provenance.collect(
        dataset="gm_musdb" if rendered else "musdb18",
        version="1.0.0",
        config="tiny",
        split="test",
        seed=seed,
    )
    return separation_report.assemble(
        evaluation,
        system="ligtenberg_unet",
        target=("vocals", "other"),
        provenance=source,
        rendered=rendered,
        protocol=PROTOCOL,
        best_epoch=HISTORY[0],
        history=HISTORY,
        reported=published.RESULTS["ligtenberg_unet"],
        repeats=repeats,
        settings=dict(
            hop_s=0.75,
            phase="griffin-lim",
            griffin_lim_iterations=32,
            post_db=-60.0,
            post_reference="segment",
            post_fill="zero",
            batch_size=8,
        ),
        ema_decay=None if rendered else 0.995,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder of a report on recordings, with an example."""
    folder = tmp_path_factory.mktemp("report") / "deep"
    example = separation.example(_track(), **OPTIONS, start_s=0.1, duration_s=0.2)
    report = _report(separation.summarize(_scored(VALUES)), rendered=False)
    separation_report.write(report, folder, example=example)
    return folder


def _text(page):
    """Return the text of a page without the padding of tables."""
    return re.sub(" +", " ", page.read_text())


def test_report_files_and_embedded_pictures(written):
    names = {"sdr_per_track.png", "spectrograms.png", "training.png"}
    filenames = {path.name for path in written.iterdir()}
    assert filenames == names | {"report.json", "report.md", "report.html"}
    text = (written / "report.md").read_text()
    assert set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)) == names
    for name in names:
        picture = matplotlib.image.imread(written / name)
        assert min(picture.shape[:2]) > 300 and picture[..., :3].std() > 0.05  # not blank
    page = report_pages.check((written / "report.html").read_text(), num_pictures=3)
    assert page.title == "ligtenberg_unet on musdb18: separation of vocals + other"
    assert "band - song | 0" in page.texts("td")
    assert page.texts("figcaption")[0] == "Spectrograms of track 0: mixture, raw, target"


def test_json_contains_no_nan(written):
    def reject_constant(name):
        raise AssertionError(name)

    report = json.loads((written / "report.json").read_text(), parse_constant=reject_constant)
    assert report["dataset"] == "musdb18" and report["target"] == ["vocals", "other"]
    assert report["summary"]["mixture"]["amplitude_sdr_db"]["mean"] == 2.5
    assert report["tracks"][3]["silent"] is True
    assert report["tracks"][4]["scores"]["raw"]["si_sdr_db"] is None
    assert report["tests"]["amplitude_sdr_db"]["paired"]["df"] == 2


def test_page_shows_measured_and_published_scores(written):
    text = _text(written / "report.md")
    assert "**Amplitude SDR 8.67 ± 2.52 dB** (raw: the" in text and "over 5 test tracks" in text
    assert "1 of them without a score" in text and "not comparable with scores on" not in text
    row = next(line for line in text.splitlines() if line.startswith("| **raw**"))
    assert row.endswith("| 9.33 ± 4.29 |")  # published score in its own column
    header = next(line for line in text.splitlines() if line.startswith("| system"))
    assert header.split(" | ")[-1].startswith(
        "published amplitude SDR, dB, on MUSDB18 test, 50 tracks"
    )
    assert (
        "The parameters of epoch 1 were kept. The parameters are exponential moving averages over "
        "training steps, decay 0.995." in text
    )
    assert "t(98) = 2.69, p = 0.008" in text and "raw, SI-SDR: 1" in text
    assert "(wrong start)" in text and "(silent target)" in text and "∞" in text
    assert not re.search(r"\b(nan|inf)\b", text)
    for table in re.findall(r"(?m)(?:^\|.*\n)+", text):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table


def test_differences_that_are_printed_as_zero_are_not_findings(tmp_path):
    tiny = VALUES.copy()
    tiny[:, 2] = tiny[:, 1] - [0.0011, 0.0012, 0.0011, 0, 0.0012]
    report = _report(separation.summarize(_scored(tiny)), rendered=False)
    assert report["tests"]["si_sdr_db"]["paired"]["p_value"] < 1e-3
    page = _text(separation_report.write(report, tmp_path))
    assert "`raw` and `post` differ by less than 0.005 dB" in page and "paired samples" not in page
    tiny[:, 2] -= [1, 1, 1, 0, 1]
    report["tests"]["si_sdr_db"] = separation.summarize(_scored(tiny))["tests"]["si_sdr_db"]
    page = _text(separation_report.write(report, tmp_path))
    rows = [line for line in page.splitlines() if "paired samples" in line]
    assert sum("| below 0.005 | – | – |" in row for row in rows) == len(rows) - 1 > 0
    assert "`post`: `raw` after postprocessing: values below -60 dB, relative to" in page
    assert "the maximum of each segment, become 0 dB" in page


def test_page_on_one_track_has_no_deviations_and_no_tests(tmp_path):
    report = _report(separation.summarize(_scored(VALUES[:1])), rendered=False)
    text = _text(separation_report.write(report, tmp_path))
    assert "(raw: the output of the network; 1 test track of musdb18)" in text
    assert "deviation" not in text and "Effect of postprocessing" not in text


def test_page_on_rendered_audio_starts_with_a_warning_and_omits_published_scores(tmp_path):
    tracks = _scored(VALUES[:2, [0, 1, 3]], ("mixture", "raw", "ideal"))
    report = _report(separation.summarize(tracks), rendered=True)
    text = separation_report.write(report, tmp_path).read_text()
    first = text.split("\n\n")[1]
    assert "rendered audio (gm_musdb): not comparable with scores on MUSDB18" in first
    assert "published" not in text and "9.33" not in text and "postprocessing" not in text
    assert "reported" not in json.loads((tmp_path / "report.json").read_text())
    page = report_pages.check((tmp_path / "report.html").read_text(), num_pictures=2)
    assert "rendered audio (gm_musdb)" in page.texts("warning")[0]
    assert page.texts("figcaption")[0] == "Amplitude SDR of the test tracks"


def test_repeats_are_summarised_by_mean_and_standard_deviation(tmp_path):
    evaluations = [separation.summarize(_scored(VALUES[:3] + shift)) for shift in (0, 1, 5)]
    runs = [
        _report(evaluation, rendered=True, seed=seed) for seed, evaluation in enumerate(evaluations)
    ]
    repeats = separation_report.summarize_repeats(runs)
    raw = repeats["summary"]["raw"]["amplitude_sdr_db"]
    assert raw["values"] == pytest.approx([26 / 3, 29 / 3, 41 / 3])
    assert raw["mean"] == pytest.approx(26 / 3 + 2) and raw["sd"] == pytest.approx(7**0.5)
    report = _report(evaluations[0], rendered=True, repeats=repeats)
    text = _text(separation_report.write(report, tmp_path))
    assert "Mean ± standard deviation of 3 runs (seeds 0, 1, 2)" in text
    assert "| **raw** | 10.67 ± 2.65 |" in text
    assert np.isnan(
        separation_report.summarize_repeats(runs[:1])["summary"]["raw"]["si_sdr_db"]["sd"]
    )


def test_error_names_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    report = _report(separation.summarize(_scored(VALUES)), rendered=True)
    with pytest.raises(UserError, match="file"):
        separation_report.write(report, tmp_path / "file")


def test_example_contains_the_levels_of_the_excerpt():
    track = _track()
    example = separation.example(track, **OPTIONS, start_s=0.1, duration_s=0.2)
    assert list(example.levels_db) == ["mixture", "raw", "target"]
    first = round(0.1 * RATE_HZ / 66)
    expected = 20 * np.log10(_naive_amplitudes(track.target))[:, first : first + 24]
    np.testing.assert_allclose(example.levels_db["target"], expected, atol=0.05)
    assert example.start_s == first * 66 / RATE_HZ and example.bin_hz == RATE_HZ / 256
    truncated = separation.example(track, **OPTIONS, start_s=0.3, duration_s=10)
    assert truncated.levels_db["mixture"].shape == (128, 46 - round(0.3 * RATE_HZ / 66))


def _lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines}


def test_sdr_per_track_is_sorted_by_raw():
    scores = {"mixture": [1, 2, 3], "raw": [7, np.nan, 5], "own": [4, 4, np.inf]}
    figure = separation_figures.sdr_per_track(["a", "b", "c"], scores)
    lines = _lines(figure.axes[0])
    np.testing.assert_array_equal(lines["raw"], [5, 7, np.nan])
    np.testing.assert_array_equal(lines["mixture (unprocessed)"], [3, 1, 2])
    np.testing.assert_array_equal(lines["own"], [np.nan, 4, 4])
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["c", "a", "b"]


def test_learning_curves_show_losses_and_scores_of_runs():
    histories = {"a": HISTORY, "b": [{**HISTORY[0], "valid_loss": 0.3}]}
    figure = separation_figures.learning_curves(histories, kept={"b": HISTORY[0]["epoch"]})
    losses, scores = figure.axes
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["a", "b"]
    np.testing.assert_array_equal(_lines(losses)["a"], [0.1, np.nan])
    np.testing.assert_array_equal(_lines(scores)["a"], [5, np.nan])
    plain = [{k: v for k, v in row.items() if "sdr" not in k} for row in HISTORY]
    single = separation_figures.learning_curves({"a": plain}, kept={"a": 2})
    assert len(single.axes) == 1 and "kept: epoch 2" in _lines(single.axes[0])


def test_roc_curves_and_a_class_without_positives():
    labels = np.array([[1, 0], [0, 0], [1, 0], [0, 0]])
    scores = {"base": np.array([[0.9, 0], [0.8, 0], [0.7, 0], [0.1, 0]])}
    figure = separation_figures.roc_curves(("cel", "x"), labels, scores)
    first, second = figure.axes
    assert first.get_title() == "cello (2)" and "base 0.750" in _lines(first)
    assert len(second.lines) == 1 and second.texts[0].get_text() == "not defined"
