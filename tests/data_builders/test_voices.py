"""Singing voices: pitch, length and loudness of the notes, choice of singers, and mixing."""

import numpy as np
import pytest

from data_builders.gm_wild import plan, render
from data_builders.rendering import libraries, singer, voices
from data_builders.rendering.instruments import CATALOGUE
from data_builders.rendering.score import Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ
from irec_jax import audio
from irec_jax.errors import UserError

SOLO = next(own for own in CATALOGUE if own.name == "solo voice")
PIANO = next(own for own in CATALOGUE if own.kind == "pia")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two singers: noise of 80 ms, a vowel of 200 ms, noise of 50 ms."""
    path = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    times_s = np.arange(round(0.2 * 22_050)) / 22_050
    for name, pitches_hz in (("female1", (440, 880)), ("male1", (110, 220))):
        (path / name).mkdir()
        for hz in pitches_hz:
            partials = [np.sin(2 * np.pi * k * hz * times_s) / k for k in range(1, 3000 // hz)]
            vowel = sum(partials) * np.linspace(0.4, 0.2, len(times_s))
            before, after = (0.02 * rng.standard_normal(size) for size in (1764, 1102))
            samples = np.concatenate([before, vowel, after]).astype(np.float32)
            for word in ("la", "mi"):
                audio.write(path / name / f"{word}-{hz}.flac", samples, 22_050)
    return path


def play(folder, *notes, seconds=3.0, **more):
    player = voices.VoicePlayer(folder)
    return player.play(Part(SOLO, notes, **more), round(seconds * SAMPLE_RATE_HZ))[:, 0]


def frequency_hz(samples, low_hz, high_hz):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    frequencies = np.fft.rfftfreq(8 * len(samples), 1 / SAMPLE_RATE_HZ)
    near = (frequencies > low_hz) & (frequencies < high_hz)
    return frequencies[near][spectrum[near].argmax()]


@pytest.mark.parametrize("pitch", [45, 59, 67, 71, 80])
def test_vowels_have_the_pitch_and_a_steady_level_for_as_long_as_the_note(folder, pitch):
    samples = play(folder, Note(0.5, 2.0, pitch, 127))
    hz = 440 * 2 ** ((pitch - 69) / 12)
    vowel = samples[round(0.6 * SAMPLE_RATE_HZ) : round(2.3 * SAMPLE_RATE_HZ)]
    assert frequency_hz(vowel, 0.8 * hz, 1.2 * hz) == pytest.approx(hz, rel=0.002)
    frames = vowel[: len(vowel) // 2205 * 2205].reshape(-1, 2205)
    levels = np.sqrt(np.mean(frames**2, axis=1))
    assert levels.max() < 1.1 * levels.min()
    curvature = np.abs(np.diff(frames, 2, axis=1)).max(axis=1)
    assert curvature.max() < 1.5 * np.median(curvature)  # no clicks


def test_consonants_precede_the_note_and_end_it(folder):
    samples = play(folder, Note(0.5, 1.0, 69, 127))
    sounding_s = np.flatnonzero(np.abs(samples) > 1e-4) / SAMPLE_RATE_HZ
    assert 0.38 < sounding_s[0] < 0.46 and 1.5 < sounding_s[-1] < 1.57
    strong_s = np.flatnonzero(np.abs(samples) > 0.15) / SAMPLE_RATE_HZ
    assert strong_s[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("duration_s", [0.05, 0.12, 0.3])
def test_short_notes_end_in_time(folder, duration_s):
    samples = play(folder, Note(0.0, duration_s, 69, 100), Note(2.9, 1.0, 50, 100))
    end = round((duration_s + 0.1) * SAMPLE_RATE_HZ)
    assert samples[:end].any() and not samples[end : 2 * SAMPLE_RATE_HZ].any()


def test_parts_are_reproducible_bent_and_sung_by_a_fitting_singer(folder, tmp_path):
    note = Note(0.5, 1.0, 69, 127)
    np.testing.assert_array_equal(play(folder, note), play(folder, note))
    bent = play(folder, note, bend=((0.0, 100.0),), tuning_cents=20.0)[30_000:60_000]
    assert frequency_hz(bent, 400, 500) == pytest.approx(440 * 2 ** (1.2 / 12), rel=0.002)
    player = voices.VoicePlayer(folder)
    assert player.plays(SOLO) and not player.plays(PIANO)
    for pitch, hz in ((48, 220), (76, 880)):
        (chosen,) = player._fitting(Part(SOLO, (Note(0.0, 1.0, pitch, 100),)))
        assert f"la-{hz}.flac" in {path.name for path in chosen["la"].values()}
    with pytest.raises(UserError, match="no folder of recorded voices; run irec fetch-sounds"):
        voices.VoicePlayer(tmp_path / "missing")


def test_sung_parts_are_not_filtered_again(folder, monkeypatch):
    monkeypatch.setattr(libraries, "find", lambda name: folder)
    monkeypatch.delattr(singer, "articulate")
    libraries.load.cache_clear()
    for index in range(4):
        clip = plan.ClipPlan("train", index, "solo", "voi")
        samples, labels, *_ = render.render_clip(clip, ("voices",))
        assert labels == ("voi",) and np.isfinite(samples).all()
    libraries.load.cache_clear()
