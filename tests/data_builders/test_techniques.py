"""Playing techniques and tone of gm_wild, and synthesised guitars."""

import dataclasses

import numpy as np
import pytest

from data_builders.gm_wild import techniques
from data_builders.rendering import libraries, plucked
from data_builders.rendering.instruments import CATALOGUE
from data_builders.rendering.score import Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ

BY_NAME = {own.name: own for own in CATALOGUE}
CLARINET, GUITAR, VOICE = (BY_NAME[name] for name in ("clarinet", "nylon guitar", "solo voice"))
NOTES = (Note(0.2, 1.0, 60, 90), Note(1.5, 0.5, 64, 90))


def apply(technique, seed=0):
    part = Part(CLARINET, NOTES, swell=((0.0, -1.0),))
    return techniques.TECHNIQUES[technique](part, np.random.default_rng(seed))


def test_trills_alternate_with_the_upper_neighbour():
    for seed in range(8):
        times_s, cents = np.array(apply("trill", seed).bend).T
        assert (np.diff(times_s) > 0).all() and cents.min() >= 0
        assert cents.max() == pytest.approx(95) or cents.max() == pytest.approx(195)
        sounding = cents[(times_s > 0.65) & (times_s < 1.2)]
        crossings = np.count_nonzero(np.diff(sounding > 0.5 * cents.max()))
        assert 2 * 3.5 * 0.55 - 2 < crossings < 2 * 8.5 * 0.55 + 2


def test_tremolo_repeats_the_notes_within_their_time():
    notes = apply("tremolo").notes
    for original in NOTES:
        repeats = [note for note in notes if note.pitch == original.pitch]
        assert 7 * original.duration_s - 1 < len(repeats) <= 14 * original.duration_s
        last = repeats[-1]
        assert repeats[0].onset_s == original.onset_s
        assert last.onset_s + last.duration_s <= original.onset_s + original.duration_s
        ends = [note.onset_s + note.duration_s for note in repeats[:-1]]
        assert all(end < note.onset_s for end, note in zip(ends, repeats[1:], strict=True))


def test_flutter_changes_the_loudness_rapidly_and_keeps_the_swell():
    part = apply("flutter")
    times_s, gains_db = np.array(part.swell).T
    assert gains_db.mean() == pytest.approx(-1.0, abs=0.3) and 3 < np.ptp(gains_db) / 2 < 9.1
    spectrum = np.abs(np.fft.rfft(gains_db - gains_db.mean()))
    rate_hz = spectrum.argmax() / (times_s[-1] - times_s[0])
    assert 17 < rate_hz < 31 and part.notes == NOTES


def test_voices_do_not_trill_and_velocities_are_valid():
    bends = set()
    for seed in range(200):
        part = techniques.vary(Part(VOICE, NOTES), np.random.default_rng(seed))
        assert all(10 <= note.velocity <= 127 for note in part.notes)
        assert len(part.notes) == len(NOTES)
        if part.bend:
            bends.add(round(max(abs(cents) for _, cents in part.bend)))
    assert bends and max(bends) <= 90


def test_strings_may_ring_on():
    factors = set()
    for seed in range(100):
        part = techniques.vary(Part(GUITAR, NOTES), np.random.default_rng(seed))
        if len(part.notes) == len(NOTES):
            factors.add(round(part.notes[0].duration_s / NOTES[0].duration_s, 3))
    assert min(factors) == 1 and 3 < max(factors) <= 5


def test_colour_changes_the_balance_of_low_and_high_frequencies():
    noise = np.random.default_rng(0).standard_normal((SAMPLE_RATE_HZ, 1)).astype(np.float32)
    balance_db = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        power = np.abs(np.fft.rfft(techniques.colour(noise, Part(GUITAR, NOTES), rng)[:, 0])) ** 2
        balance_db.append(10 * np.log10(power[4000:8000].sum() / power[200:2000].sum()))
    assert np.ptp(balance_db) > 10  # bins of 1 Hz


# Synthesised guitars


def play(notes, **changes):
    samples = plucked.PluckedStrings().play(Part(GUITAR, notes, **changes), 2 * SAMPLE_RATE_HZ)
    assert samples.dtype == np.float32 and samples.shape == (2 * SAMPLE_RATE_HZ, 1)
    return samples[:, 0]


@pytest.mark.parametrize("pitch, cents", [(45, 0.0), (60, 30.0), (76, -100.0)])
def test_guitars_play_the_pitch_between_onset_and_release(pitch, cents):
    note = Note(0.3, 0.8, pitch, 100)
    samples = play((note,), bend=((0.0, cents),))
    start, end = round(0.3 * SAMPLE_RATE_HZ), round(1.1 * SAMPLE_RATE_HZ)
    assert not samples[:start].any()
    window = samples[start:end] * np.hanning(end - start)
    spectrum = np.abs(np.fft.rfft(window, 8 * len(window)))
    hz = 440 * 2 ** ((pitch - 69 + cents / 100) / 12)
    bins = np.arange(len(spectrum)) * SAMPLE_RATE_HZ / (8 * len(window))
    near = (bins > 0.9 * hz) & (bins < 1.1 * hz)
    assert bins[near][spectrum[near].argmax()] == pytest.approx(hz, rel=0.005)
    between = (bins > 1.35 * hz) & (bins < 1.65 * hz)
    assert spectrum[between].max() < 0.1 * spectrum[bins < 3 * hz].max()
    assert np.abs(samples[-2000:]).max() < 0.01 * np.abs(samples).max()
    np.testing.assert_array_equal(samples, play((note,), bend=((0.0, cents),)))


def test_a_string_plucked_at_a_node_lacks_the_partial(monkeypatch):
    draw = plucked._draw_guitar

    def plucked_at_a_quarter(rng, steel):
        guitar = draw(rng, steel=steel)
        return dataclasses.replace(guitar, position=0.25, stiffness=0.0, pluck_db=-90.0)

    monkeypatch.setattr(plucked, "_draw_guitar", plucked_at_a_quarter)
    samples = play((Note(0.0, 1.5, 45, 100),))[:SAMPLE_RATE_HZ]  # A2, 110 Hz
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    levels = [spectrum[110 * k - 5 : 110 * k + 6].max() for k in range(1, 6)]
    assert levels[3] < 0.02 * min(levels[2], levels[4])


def test_upper_partials_decay_faster_and_loud_notes_are_brighter():
    samples = play((Note(0.0, 2.0, 52, 127),))
    frames = np.abs(np.fft.rfft(samples.reshape(4, -1) * np.hanning(len(samples) // 4)))
    hz = np.arange(frames.shape[1]) * 2.0
    low, high = (frames[:, band].sum(axis=1) for band in (hz < 500, hz > 1500))
    assert high[2] / high[0] < low[2] / low[0]
    soft = play((Note(0.0, 2.0, 52, 30),))
    assert np.abs(soft).max() < 0.5 * np.abs(samples).max()


def test_the_library_plays_only_acoustic_guitars_and_needs_no_files():
    player = libraries.load("plucked")
    assert {own.kind for own in CATALOGUE if player.plays(own)} == {"gac"}
    assert libraries.find("plucked").is_file()
