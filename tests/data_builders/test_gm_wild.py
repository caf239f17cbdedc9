"""gm_wild: contents and labels of clips, sound libraries, recorded notes, and files."""

from collections import Counter

import numpy as np
import pytest

import data_builders
from data_builders.gm_wild import plan, render
from data_builders.gm_wild.builder import make_config
from data_builders.rendering import libraries, sampler
from data_builders.rendering.instruments import CATALOGUE
from data_builders.rendering.score import Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ
from irec_jax import audio
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS

VIOLIN = next(own for own in CATALOGUE if own.name == "violin")
PIANO = next(own for own in CATALOGUE if own.name == "acoustic grand piano")


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """Return a folder of recorded notes: a violin with two sine tones of 0.5 s."""
    folder = tmp_path_factory.mktemp("notes")
    (folder / "violin").mkdir()
    times_s = np.arange(SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ
    for name, hz in (("A4", 440.0), ("As5", 932.33)):
        tone = 0.5 * np.sin(2 * np.pi * hz * times_s)
        silence = np.zeros(3000)
        samples = np.concatenate([silence, tone]).astype(np.float32)
        audio.write(folder / "violin" / f"{name}.wav", samples[:, None], SAMPLE_RATE_HZ)
    (folder / "violin" / "README.md").write_text("about the notes")
    return folder


# The plan


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_plan_has_all_contents_and_classes_in_their_shares(split):
    clips = plan.plan_clips("small", split)
    assert len(clips) == plan.SIZES["small"][split]
    contents = Counter(clip.content for clip in clips)
    for content, share in plan.CONTENTS.items():
        assert contents[content] == pytest.approx(share * len(clips), abs=1)
    assert {clip.label for clip in clips} == {*IRMAS, ""}
    assert all((clip.label == "") == (clip.content == "other") for clip in clips)
    assert len({clip.name for clip in clips}) == len(clips)


# Clips


@pytest.fixture(scope="module")
def clips():
    chosen = plan.plan_clips("small", "train")[:60]
    return [(clip, render.render_clip(clip, ("timgm",))) for clip in chosen]


def test_labels_are_the_instruments_that_are_heard(clips):
    for clip, (samples, labels, _, _) in clips:
        assert samples.shape == (3 * SAMPLE_RATE_HZ, 2) and np.abs(samples).max() <= 1
        if clip.content in ("solo", "notes"):
            assert labels == (clip.label,)
        elif clip.content == "ensemble":
            assert clip.label in labels and len(set(labels)) == len(labels)
        else:
            assert labels == ()
    assert max(len(labels) for _, (_, labels, _, _) in clips) >= 2


def test_clips_are_reproducible_and_depend_on_the_library(clips, notes, monkeypatch):
    clip, (samples, *_) = next(c for c in clips if c[0].content == "solo")
    again, *_ = render.render_clip(clip, ("timgm",))
    np.testing.assert_array_equal(samples, again)


def test_a_class_that_no_library_has_is_not_labelled(notes, monkeypatch):
    monkeypatch.setitem(
        libraries.LIBRARIES, "notes", libraries.SoundLibrary("notes", "CC0", ("notes",))
    )
    monkeypatch.setattr(libraries, "load", lambda name: sampler.NotePlayer(notes))
    for label, expected in (("vio", ("vio",)), ("pia", ())):
        clip = plan.ClipPlan("train", 0, "solo", label)
        assert render.render_clip(clip, ("notes",))[1] == expected


@pytest.mark.parametrize("semitones", [-5, 0, 4])
def test_shifted_resonances_keep_pitch_and_times(notes, semitones):
    part = Part(VIOLIN, (Note(0.1, 0.3, 74, 100),), bend=((0.0, 50.0),))
    samples = render.play_shifted(sampler.NotePlayer(notes), part, SAMPLE_RATE_HZ, semitones)
    assert samples.shape == (SAMPLE_RATE_HZ, 1)
    start, end = round(0.15 * SAMPLE_RATE_HZ), round(0.35 * SAMPLE_RATE_HZ)
    expected_hz = 440 * 2 ** (5.5 / 12)
    assert frequency_hz(samples[start:end, 0]) == pytest.approx(expected_hz, rel=0.004)
    before, after = (
        samples[: round(0.095 * SAMPLE_RATE_HZ)],
        samples[round(0.58 * SAMPLE_RATE_HZ) :],
    )
    assert max(np.abs(before).max(), np.abs(after).max()) < 1e-3 * np.abs(samples).max()


def test_shifted_resonances_move_the_formants():
    # White noise instead of tones: the spectrum has an edge at 4 kHz, which moves by 5 semitones.
    edge_hz = 4000.0

    class Noise:
        def plays(self, instrument):
            return True

        def play(self, part, num_samples):
            spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(num_samples))
            hz = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ)
            return np.fft.irfft(spectrum * (hz < edge_hz), num_samples)[:, None].astype(np.float32)

    shifted = render.play_shifted(Noise(), Part(VIOLIN, ()), SAMPLE_RATE_HZ, 5)[:, 0]
    power = np.abs(np.fft.rfft(shifted)) ** 2  # bins of 1 Hz
    new_edge = round(edge_hz * 2 ** (5 / 12))
    assert power[:new_edge].sum() > 0.999 * power.sum()
    assert power[new_edge - 400 : new_edge].mean() > 0.5 * power[:new_edge].mean()


# Recorded notes


@pytest.mark.parametrize(
    "name, pitch", [("C4", 60), ("A4", 69), ("Fs3", 54), ("Bb2", 46), ("F2 v2", None), ("X1", None)]
)
def test_names_of_notes(name, pitch):
    assert sampler.midi_pitch(name) == pitch


def frequency_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    return spectrum.argmax() * SAMPLE_RATE_HZ / (8 * len(samples))


@pytest.mark.parametrize("pitch", [67, 69, 74, 80])
def test_notes_are_played_at_their_pitch_from_the_nearest_recording(notes, pitch):
    player = sampler.NotePlayer(notes)
    part = Part(VIOLIN, (Note(0.1, 0.3, pitch, 100),))
    samples = player.play(part, SAMPLE_RATE_HZ)[:, 0]
    start, end = round(0.15 * SAMPLE_RATE_HZ), round(0.35 * SAMPLE_RATE_HZ)
    expected_hz = 440 * 2 ** ((pitch - 69) / 12)
    assert frequency_hz(samples[start:end]) == pytest.approx(expected_hz, rel=0.004)
    assert not samples[: round(0.1 * SAMPLE_RATE_HZ)].any()
    assert not samples[round(0.55 * SAMPLE_RATE_HZ) :].any()


def test_bends_and_tuning_shift_the_pitch(notes):
    player = sampler.NotePlayer(notes)
    part = Part(VIOLIN, (Note(0.0, 0.4, 69, 100),), bend=((0.0, 100.0),), tuning_cents=100.0)
    samples = player.play(part, SAMPLE_RATE_HZ // 2)[:, 0]
    assert frequency_hz(samples[4000:16_000]) == pytest.approx(440 * 2 ** (2 / 12), rel=0.004)


def test_long_notes_are_sustained_without_gaps_and_soft_ones_are_quieter(notes):
    player = sampler.NotePlayer(notes)
    loud, soft = (
        player.play(Part(VIOLIN, (Note(0.0, 2.0, 70, velocity),)), 2 * SAMPLE_RATE_HZ)[:, 0]
        for velocity in (120, 40)
    )
    levels = np.sqrt(np.mean(np.square(loud[: 40 * 2205].reshape(40, 2205)), axis=1))
    assert levels[:-1].min() > 0.5 * levels.max()
    assert np.abs(soft).max() < 0.5 * np.abs(loud).max()


def test_missing_instruments_and_folders(notes, tmp_path):
    player = sampler.NotePlayer(notes)
    assert player.plays(VIOLIN) and not player.plays(PIANO)
    with pytest.raises(UserError, match="no folder of recorded notes"):
        sampler.NotePlayer(tmp_path / "missing")


# Libraries and configs


def test_libraries_are_found_in_the_folder_of_the_environment(notes, monkeypatch):
    monkeypatch.setenv(libraries.FOLDER_VARIABLE, str(notes.parent))
    monkeypatch.setattr(libraries, "_SYSTEM_FOLDERS", ())
    assert libraries.find("timgm").name == "TimGM6mb.sf2"
    with pytest.raises(UserError, match="sounds=fluid: .*irec fetch-sounds fluid"):
        libraries.find("fluid")
    with pytest.raises(UserError, match="unknown sounds 'timg': did you mean 'timgm'"):
        libraries.parse_names("timg")


def test_configs_are_named_after_their_sounds():
    assert make_config("tiny", "mono22k").name.startswith("tiny-mono22k-timgm-")
    config = make_config("tiny", "mono22k", validation_sounds="timgm")
    assert list(config.sounds) == ["train", "validation", "test"]
    assert config.name.startswith("tiny-mono22k-timgm-validation-timgm-")
    for options, message in (
        (dict(size="tinny"), "unknown size 'tinny': did you mean 'tiny'"),
        (dict(sounds="+"), "expected names of sound libraries"),
    ):
        with pytest.raises(UserError, match=message):
            make_config(**dict(size="tiny", format="mono22k") | options)


@pytest.fixture(scope="module")
def prepared():
    """Return the data that other tests train on, too."""
    return data_builders.prepare("gm_wild", size="tiny", validation_sounds="timgm")


def test_prepared_clips_have_the_planned_labels(prepared):
    assert set(prepared.info.splits) == {"train", "validation", "test"}
    source = prepared.as_data_source("train")
    assert len(source) == 64
    for clip, example in zip(plan.plan_clips("tiny", "train"), source, strict=True):
        assert example["id"].decode() == clip.name
        names = [IRMAS[label] for label in example["labels"]]
        assert clip.label in names if clip.label else not names
        assert example["audio"].shape == (3 * 22_050, 1)
