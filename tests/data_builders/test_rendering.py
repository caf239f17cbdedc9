"""Composition, synthesis and mixing, tested by measurements on notes and audio."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from data_builders.rendering import (
    arrange,
    demo,
    genres,
    instruments,
    mix,
    parts,
    pool,
    rhythm_section,
    seeding,
    synth,
    theory,
)
from data_builders.rendering.score import Note, Part
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS, IRMAS_NAMES, ORCHESTRA

ROOT = Path(__file__).parents[2]
RATE = synth.SAMPLE_RATE_HZ
PITCHED = [one for one in instruments.CATALOGUE if not one.is_drums]


def spectrum(audio):
    """Return magnitudes and frequencies of the mean of the channels."""
    mono = audio.mean(axis=1)
    return np.abs(np.fft.rfft(mono * np.hanning(len(mono)))), np.fft.rfftfreq(len(mono), 1 / RATE)


def note(pitch, *, onset_s=0.0, duration_s=0.8, velocity=90):
    return Note(onset_s, duration_s, pitch, velocity)


# Theory


@pytest.mark.parametrize(
    ("symbol", "tonic", "classes"),
    [
        ("I", 0, {0, 4, 7}),
        ("VIm", 0, {9, 0, 4}),
        ("bVII", 2, {0, 4, 7}),
        ("IIm7", 5, {7, 10, 2, 5}),
        ("V7", 9, {4, 8, 11, 2}),
        ("IIh7", 0, {2, 5, 8, 0}),
        ("#Io7", 0, {1, 4, 7, 10}),
    ],
)
def test_chord_symbols(symbol, tonic, classes):
    assert set(theory.chord(symbol, tonic).pitch_classes) == classes


def test_unknown_chord_symbol_is_rejected():
    with pytest.raises(ValueError, match="H7"):
        theory.chord("H7", 0)


@pytest.mark.parametrize("genre", genres.GENRES)
def test_lead_sheets_cover_their_duration_and_only_grow_with_it(genre):
    for seed in range(20):
        short, long = (
            genres.draw_lead_sheet(seeding.generator(genre, seed), genre, duration_s=duration_s)
            for duration_s in (3.0, 20.0)
        )
        assert short.seconds(short.num_beats) >= 3.0
        assert long.seconds(long.num_beats) >= 20.0
        assert dataclasses.replace(long, bars=short.bars) == short
        assert long.bars[: len(short.bars)] == short.bars
        beats = np.linspace(0, long.num_beats, 500)
        assert np.all(np.diff([long.seconds(beat) for beat in beats]) > 0)
        for start, end, chord in long.chord_spans:
            inside = (start + end) / 2
            assert long.chord_at(inside) == long.chord_at(start) == chord
            assert long.chord_end(inside) == end


def test_swing_delays_only_the_second_eighth():
    sheet = theory.LeadSheet(60.0, theory.Metre(4, 4), 2 / 3, 0, "major", (((0),),), "jaz_blu")
    assert sheet.seconds(3.0) == 3.0
    assert sheet.seconds(3.5) == pytest.approx(3 + 2 / 3)


def test_progressions_and_grooves_are_valid():
    for style in genres.GENRES.values():
        for scale, symbols in style.progressions:
            assert scale in theory.SCALES
            for symbol in symbols.replace(",", " ").split():
                theory.chord(symbol, 0)
        for metre in style.metres:
            for groove in style.grooves[metre]:
                assert {len(strokes) for strokes in groove.values()} == {metre.beats * metre.steps}


# Parts and performance


def voice(genre, seed, *, low=48, high=79, clip=0):
    sheet = genres.draw_lead_sheet(seeding.generator(genre, seed), genre, duration_s=8.0)
    pattern, rng = seeding.generator("pattern", seed), seeding.generator("clip", seed, clip)
    return parts.Voice(sheet, low, high, 0.1 + 0.2 * (seed % 5), 0.6, pattern, rng)


@pytest.mark.parametrize("role", parts.ROLES)
@pytest.mark.parametrize("genre", genres.GENRES)
def test_roles_stay_in_register_and_time(role, genre):
    for seed in range(6):
        for low, high in ((40, 79), (55, 74), (60, 92)):
            player = voice(genre, seed, low=low, high=high)
            notes = parts.ROLES[role](player)
            assert notes
            pitches = np.array([event.pitch for event in notes])
            assert pitches.min() >= low and pitches.max() <= max(high, low + 23)
            assert all(event.length > 0 for event in notes)
            assert all(0 <= event.beat < player.sheet.num_beats for event in notes)
            # No bar is empty.
            bars = {int(event.beat // player.sheet.metre.beats) for event in notes}
            assert bars == set(range(len(player.sheet.bars)))


def test_clips_of_a_song_share_rhythms_but_not_pitches():
    first, repeated, other_clip = (
        parts.melody(voice("pop_roc", 3, clip=clip)) for clip in (0, 0, 1)
    )
    assert first == repeated
    assert [event.beat for event in first] == [event.beat for event in other_clip]
    assert [event.pitch for event in first] != [event.pitch for event in other_clip]


def test_bass_and_drums_use_their_keys():
    for genre in genres.GENRES:
        player = voice(genre, 1, low=28, high=50)
        for event in rhythm_section.bass(player):
            assert 28 <= event.pitch <= 50
        keys = {event.pitch for event in rhythm_section.drums(player)}
        assert len(keys) >= 2 and min(keys) >= 35 and max(keys) <= 81


@pytest.mark.parametrize("name", ["violin", "acoustic grand piano", "voice ooh", "steel guitar"])
def test_performed_notes_are_ordered_separated_and_without_long_gaps(name):
    instrument = next(one for one in PITCHED if one.name == name)
    sheet = genres.draw_lead_sheet(seeding.generator("frame"), "cou_fol", duration_s=20.0)
    for role in instrument.lead_roles:
        musician = arrange.Musician("it", instrument, role, density=0.3, rests=1.0, max_gap_s=0.3)
        part = arrange.compose([musician], sheet, song_key=("s",), clip_key=("c", role))["it"]
        onsets = np.array([one.onset_s for one in part.notes])
        ends = np.array([one.onset_s + one.duration_s for one in part.notes])
        assert np.all(np.diff(onsets) >= 0) and onsets[0] >= 0
        assert all(1 <= one.velocity <= 127 for one in part.notes)
        gaps = onsets[1:] - np.maximum.accumulate(ends)[:-1]
        assert gaps.max() <= 0.31
        for pitch in {one.pitch for one in part.notes}:  # a key is released before it is repeated
            spans = [(s, e) for s, e, n in zip(onsets, ends, part.notes, strict=True)
                     if n.pitch == pitch]  # fmt: skip
            assert all(e < s for (_, e), (s, _) in zip(spans[:-1], spans[1:], strict=True))
        for curve in (part.bend, part.swell):
            assert all(a[0] <= b[0] for a, b in zip(curve[:-1], curve[1:], strict=True))


# Instruments and the synthesiser


def test_catalogue_covers_the_classes_and_the_orchestra():
    kinds = {instrument.kind for instrument in instruments.CATALOGUE}
    names = {instrument.name for instrument in instruments.CATALOGUE}
    assert set(IRMAS) <= kinds
    catalogue_names = {**{name: name for name in ORCHESTRA}, "double_bass": "double bass",
              "french_horn": "french horn", "piano": "acoustic grand piano",
              "violoncello": "cello"}  # fmt: skip
    assert {catalogue_names[name] for name in ORCHESTRA} <= names
    assert len(names) == len(instruments.CATALOGUE)
    for instrument in instruments.CATALOGUE:
        assert set(instrument.genres) <= set(instruments.GENRES)
        roles = set(instrument.lead_roles) | set(instrument.backing_roles)
        assert roles <= {*parts.ROLES, "bass", "drums"}
    for kind in ("gac", "gel", "org", "pia", "sax", "tru", "vio", "voi", "flu", "cel"):
        assert len(instruments.of_kind(kind)) >= 2
    with pytest.raises(ValueError, match="theremin"):
        instruments.of_kind("theremin")


@pytest.mark.parametrize("instrument", PITCHED, ids=lambda instrument: instrument.name)
def test_instruments_sound_in_tune_in_their_register(instrument):
    levels_db = []
    for pitch in np.linspace(instrument.low, instrument.high, 5).round().astype(int):
        audio = synth.load_player().play(Part(instrument, (note(int(pitch)),)), RATE)
        assert np.isfinite(audio).all()
        levels_db.append(mix.active_rms_db(audio))
        magnitudes, frequencies = spectrum(audio[: int(0.8 * RATE)])
        # Most of the energy is within half a semitone of the harmonics. (Below middle C, harmonics
        # are too close together; organs have stops at other intervals, choirs many singers.)
        if pitch >= 60 and instrument.kind not in ("org", "voi"):
            fundamental_hz = 440 * 2 ** ((pitch - 69) / 12)
            number = np.maximum(np.round(frequencies / fundamental_hz), 1)
            cents = 1200 * np.abs(np.log2(np.maximum(frequencies, 1) / (number * fundamental_hz)))
            energy = np.square(magnitudes) * (frequencies > 30)
            assert energy[cents < 50].sum() > 0.75 * energy.sum(), pitch
    assert min(levels_db) > -55
    assert max(levels_db) - min(levels_db) < 20


def test_drum_kits_sound():
    for kit in instruments.CATALOGUE:
        if kit.is_drums:
            for key in (genres.KICK, genres.SNARE, genres.CLOSED_HAT, genres.RIDE):
                audio = synth.load_player().play(Part(kit, (note(key),)), RATE // 2)
                assert mix.active_rms_db(audio) > -55, (kit.name, key)


def test_audio_of_a_part_does_not_depend_on_earlier_parts():
    violin, organ = instruments.of_kind("vio")[0], instruments.of_kind("org")[0]
    part = Part(violin, (note(70), note(74, onset_s=0.3)), bend=((0.1, 40.0),), tuning_cents=5.0)
    fresh = synth.SoundFontPlayer(synth.default_soundfont())
    first = fresh.play(part, RATE)
    fresh.play(Part(organ, (note(40, duration_s=9.0),), bend=((0.0, -90.0),)), RATE // 2)
    np.testing.assert_array_equal(fresh.play(part, RATE), first)
    np.testing.assert_array_equal(synth.load_player().play(part, RATE), first)


def test_bend_tuning_and_swell():
    flute = next(instrument for instrument in PITCHED if instrument.name == "flute")
    player = synth.load_player()

    def peak_hz(part):
        magnitudes, frequencies = spectrum(player.play(part, RATE)[: RATE // 2])
        return frequencies[np.argmax(magnitudes)]

    plain = Part(flute, (note(81),))
    assert peak_hz(plain) == pytest.approx(880, rel=0.012)
    sharp = dataclasses.replace(plain, bend=((0.0, 100.0),))
    assert 1200 * np.log2(peak_hz(sharp) / peak_hz(plain)) == pytest.approx(100, abs=8)
    tuned = dataclasses.replace(plain, tuning_cents=50.0)
    assert 1200 * np.log2(peak_hz(tuned) / peak_hz(plain)) == pytest.approx(50, abs=8)
    soft = dataclasses.replace(plain, swell=((0.0, -6.0), (1.0, -12.0)))
    ratio = player.play(soft, RATE)[1000:-1, 0] / player.play(plain, RATE)[1000:-1, 0]
    expected = -6 - 6 * np.arange(1000, RATE - 1) / RATE
    sounding = np.abs(player.play(plain, RATE)[1000:-1, 0]) > 1e-3
    np.testing.assert_allclose(20 * np.log10(ratio)[sounding], expected[sounding], atol=0.02)


def test_unusable_soundfonts_are_reported(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="missing.sf2"):
        synth.check_soundfont(tmp_path / "missing.sf2")
    invalid = tmp_path / "wrong.sf2"
    invalid.write_bytes(b"RIFF0000WAVE")
    with pytest.raises(UserError, match="not a SoundFont"):
        synth.check_soundfont(invalid)
    nowhere = dataclasses.replace(PITCHED[0], bank=77)
    with pytest.raises(UserError, match="bank 77"):
        synth.load_player().play(Part(nowhere, (note(60),)), 100)
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(UserError, match="pip install --no-deps tinysoundfont"):
        synth.check_soundfont()


# Mixing


def noise(seconds, *, seed=0, channels=1, gain=0.1):
    rng = np.random.default_rng(seed)
    return (gain * rng.standard_normal((int(seconds * RATE), channels))).astype(np.float32)


def test_frame_levels_and_activity():
    stem = noise(2.03, channels=2)
    stem[: RATE // 2] = 0
    stem[RATE : int(1.6 * RATE)] *= 1e-4
    levels_db = mix.frame_levels_db(stem)
    naive = [
        10 * np.log10(np.mean(np.square(stem[start : start + 2205], dtype=np.float64)) + 1e-20)
        for start in range(0, len(stem), 2205)
    ]
    np.testing.assert_allclose(levels_db, naive, atol=1e-4)
    assert mix.activity(stem) == [(0.5, 1.0), (1.6, 2.03)]
    assert mix.activity(stem, min_pause_s=0.7) == [(0.5, 2.03)]
    assert mix.active_rms_db(stem) == pytest.approx(-20, abs=0.1)
    assert mix.active_rms_db(np.zeros((5000, 1), np.float32)) == -np.inf


def test_mixdown_sets_levels_and_panning_and_stems_add_up():
    start = RATE // 2
    stems = {"a": noise(3, seed=1), "b": noise(3, seed=2, channels=2, gain=0.01),
             "silent": np.zeros((3 * RATE, 1), np.float32)}  # fmt: skip
    stems["a"][:start] *= 20  # levels ignore audio before the start
    strips = {
        "a": mix.ChannelStrip(0.0, 1.0, -10.0, ((1000.0, 6.0, 1.0),)),
        "b": mix.ChannelStrip(-7.5, -0.5, -20.0),
        "silent": mix.ChannelStrip(0.0, 0.0, -20.0),
    }
    room = mix.Room(0.4, 0.01, 6000.0, seed=3)
    medium = mix.Mastering(-3.0, width=0.7, lowpass_hz=9000.0, eq=((300.0, -3.0, 0.7),))
    mixture, direct, finished = mix.mixdown(
        stems, strips, room, medium, start_samples=start, keep_stems=True
    )
    assert mixture.shape == (3 * RATE - start, 2) and mixture.dtype == np.float32
    assert set(direct) == set(finished) == {"a", "b"}
    assert 20 * np.log10(np.abs(mixture).max()) == pytest.approx(-3.0, abs=1e-3)
    levels_db = {name: mix.active_rms_db(stem) for name, stem in direct.items()}
    assert levels_db["a"] - levels_db["b"] == pytest.approx(7.5, abs=0.01)
    assert np.abs(direct["a"][:, 0]).max() < 1e-6 < np.abs(direct["a"][:, 1]).max()
    np.testing.assert_allclose(finished["a"] + finished["b"], mixture, atol=2e-6)
    noisy, *_ = mix.mixdown(
        stems, strips, room, dataclasses.replace(medium, noise_db=-40.0), start_samples=start
    )
    hiss = noisy * np.abs(mixture).max() / np.abs(noisy).max() - mixture
    assert 10 * np.log10(np.mean(hiss**2) / np.mean(mixture**2)) == pytest.approx(-40, abs=0.5)
    with pytest.raises(ValueError, match="silent"):
        mix.mixdown({"silent": stems["silent"]}, strips, room, medium)


@pytest.mark.parametrize("centre_hz", [150.0, 1000.0, 6000.0])
@pytest.mark.parametrize("gain_db", [-9.0, 4.0])
def test_peaking_filter(centre_hz, gain_db):
    sections = mix._peaking(((centre_hz, gain_db, 1.0),))
    _, response = scipy.signal.sosfreqz(sections, [10.0, centre_hz, 21_000.0], fs=RATE)
    gains_db = 20 * np.log10(np.abs(response))
    np.testing.assert_allclose(gains_db, [0.0, gain_db, 0.0], atol=0.25)


def test_impulse_responses_have_the_decay_time():
    for decay_s in (0.3, 1.5):
        response = mix.impulse_response(mix.Room(decay_s, 0.02, 8000.0, seed=1))
        assert not response[: int(0.02 * RATE)].any()
        energy = np.cumsum(np.square(response).sum(axis=1)[::-1])[::-1]
        decay_db = 10 * np.log10(energy / energy[0])
        # From -5 to -25 dB (T20), extrapolated to 60 dB; early reflections and damping bend it.
        fall_s = (np.argmax(decay_db < -25) - np.argmax(decay_db < -5)) / RATE
        assert 3 * fall_s == pytest.approx(decay_s, rel=0.4)


# Workers and the demonstration


@pytest.mark.parametrize("num_workers", [1, 3])
def test_pool_keeps_order(num_workers):
    tasks = list(range(25))
    results = list(pool.run("operator:neg", iter(tasks), num_workers=num_workers))
    assert results == [-task for task in tasks]


def test_pool_reports_errors():
    check = "data_builders.rendering.synth:check_soundfont"
    with pytest.raises(UserError, match="nowhere.sf2"):
        list(pool.run(check, ["nowhere.sf2"] * 9, num_workers=2))
    with pytest.raises(RuntimeError, match="math domain error|nonnegative"):
        list(pool.run("math:sqrt", [4, -1, 9], num_workers=2))
    with pytest.raises(RuntimeError, match="died"):
        list(pool.run("os:_exit", [3], num_workers=2))


def test_pool_kills_its_workers_when_closed_early():
    # A worker is the leader of its own process group, so both have the same id.
    results = pool.run("os:getpgid", iter(int, 1), num_workers=2)  # runs until it is killed
    worker = next(results)
    os.kill(worker, 0)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_workers_import_neither_jax_nor_tensorflow_datasets():
    code = (
        "import sys, data_builders.gm_irmas.render;"
        "print({'jax', 'tensorflow_datasets', 'tensorflow'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"


def test_demo(tmp_path, capsys):
    out = tmp_path / "piece.wav"
    assert demo.main([str(out)]) == 0
    samples, rate = soundfile.read(out)
    assert rate == RATE and samples.shape == (20 * RATE, 2)
    assert 0.5 < np.abs(samples).max() < 1
    rows = json.loads(out.with_suffix(".json").read_text())
    expected = {"pia": (0, 12), "tru": (5, 15), "vio": (10, 20)}
    assert [row["instrument"] for row in rows] == list(expected)
    for row in rows:
        start_s, end_s = expected[row["instrument"]]
        assert row["start_s"] == pytest.approx(start_s, abs=0.6)
        assert row["end_s"] == pytest.approx(end_s, abs=0.6)
    printed = capsys.readouterr().out
    assert all(IRMAS_NAMES[kind] in printed for kind in expected)
    assert list(tmp_path.iterdir()) and not list(tmp_path.glob("*.part"))
    assert demo.main([str(tmp_path / "other.wav"), "--soundfont", "nowhere.sf2"]) == 1
    assert not (tmp_path / "other.wav").exists()
