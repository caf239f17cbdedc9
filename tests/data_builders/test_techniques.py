"""Playing techniques and tone of gm_wild."""

import numpy as np
import pytest

from data_builders.gm_wild import plan, render, techniques
from data_builders.rendering import genres, libraries
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


def test_vibrato_stays_within_its_limits_and_straight_notes_do_not_bend():
    for seed in range(8):
        part = apply("vibrato", seed)
        assert max(abs(cents) for _, cents in part.bend) <= 90
        gains_db = np.array([gain_db for _, gain_db in part.swell])
        assert np.abs(gains_db + 1.0).max() <= 4.01
    assert apply("straight").bend == ()


def test_single_notes_may_begin_before_the_clip():
    sheet = genres.draw_lead_sheet(np.random.default_rng(0), "cla", duration_s=8.0)
    seat = render._Seat("cla", CLARINET, None, 0.0, True)
    for number in range(30):
        part = render._single_notes(seat, sheet, ("test", number), 2.5)
        assert 1 <= len(part.notes) <= 3
        first = part.notes[0]
        assert first.onset_s < 2.6
        assert all(CLARINET.low - 7 <= n.pitch <= CLARINET.high + 13 for n in part.notes)


def test_a_sound_beyond_the_end_of_the_clip_becomes_noise(monkeypatch):
    class Burst:
        def plays(self, instrument):
            return True

        def play(self, part, num_samples):
            samples = np.zeros((num_samples, 1), np.float32)
            samples[-round(0.9 * SAMPLE_RATE_HZ) :][:500] = 0.5
            return samples

    monkeypatch.setattr(libraries, "load", lambda name: Burst())
    monkeypatch.setattr(render, "_sounds", lambda stem, start: False)
    later = 0
    for index in range(12):
        clip = plan.ClipPlan("train", index, "notes", "cla")
        samples, labels, *_ = render.render_clip(clip, ("timgm",))
        assert samples.shape == (3 * SAMPLE_RATE_HZ, 2) and np.isfinite(samples).all()
        later += labels == ()
    assert later
