"""Synthesised guitars: pitch, partials, decay and loudness."""

import dataclasses

import numpy as np
import pytest

from data_builders.gm_wild import plan, render
from data_builders.gm_wild.builder import make_config
from data_builders.rendering import libraries, plucked
from data_builders.rendering.instruments import CATALOGUE
from data_builders.rendering.score import Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ
from irec_jax.errors import UserError

GUITAR = next(own for own in CATALOGUE if own.name == "nylon guitar")


def play(notes, **changes):
    samples = plucked.GuitarPlayer().play(Part(GUITAR, notes, **changes), 2 * SAMPLE_RATE_HZ)
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


def test_clips_are_played_with_synthesised_guitars_and_another_library():
    clip = plan.ClipPlan("train", 0, "solo", "gac")
    mixed, alone = (
        render.render_clip(clip, names) for names in (("timgm", "plucked"), ("plucked",))
    )
    assert mixed[1] == alone[1] == ("gac",)
    assert render.render_clip(dataclasses.replace(clip, label="flu"), ("plucked",))[1] == ()


def test_configs_with_synthesised_guitars():
    with_guitars = make_config("tiny", "mono22k", sounds="timgm+plucked").name
    digest = make_config("tiny", "mono22k").name.rpartition("-")[2]
    assert with_guitars == f"tiny-mono22k-timgm-plucked-{digest}"
    with pytest.raises(
        UserError, match="sounds=plucked: plays only acoustic guitars; add .* timgm"
    ):
        make_config("tiny", "mono22k", sounds="plucked")
