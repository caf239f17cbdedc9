"""Recognisers applied to files and arrays: exact results, notes, and audio that is decoded once."""

import dataclasses
import re

import av
import call_trace
import numpy as np
import pytest
import soundfile

from data_builders.rendering import demo
from irec_jax import audio, cli
from irec_jax.audio import decoding
from irec_jax.cli.console import run_command
from irec_jax.data.labelled_clips import Clips, peak
from irec_jax.evaluation.predict import predict_split
from irec_jax.inference import aggregation
from irec_jax.systems import clip as clips
from irec_jax.systems.recogniser import load_recogniser

RATE_HZ = 44_100


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return call_trace.write_recogniser(tmp_path_factory.mktemp("recogniser"))


@pytest.fixture(scope="module")
def recogniser(workdir):
    return load_recogniser(workdir)


def music(seconds=2.0):
    """Return a tone with noise (T,)."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    rng = np.random.default_rng(0)
    samples = 0.3 * np.sin(2 * np.pi * 440 * time_s) + 0.05 * rng.normal(size=len(time_s))
    return samples.astype(np.float32)


def recognize(recogniser, folder, samples, rate_hz=RATE_HZ):
    """Return the result for a file, after a comparison with that for the array."""
    soundfile.write(folder / "a.wav", samples, rate_hz, "FLOAT")
    of_file = recogniser.recognize(folder / "a.wav")
    of_array = recogniser.recognize(samples, sample_rate_hz=rate_hz)
    assert (of_file.labels, of_file.note) == (of_array.labels, of_array.note)
    np.testing.assert_allclose(of_file.window_scores, of_array.window_scores, atol=1e-6)
    return of_file


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("memory_bytes", [1 << 26, 1000])
def test_files_are_decoded_once_with_the_samples_of_read(
    recogniser, tmp_path, monkeypatch, suffix, memory_bytes
):
    path = tmp_path / f"a.{suffix}"
    audio.write(path, np.stack([music(9), 0.5 * music(9)], 1), RATE_HZ)
    samples, _ = audio.read(path, sample_rate_hz=8000, mono=True)
    expected = recogniser.recognize(samples, sample_rate_hz=8000)
    opened, open_part = [], decoding.open_part

    def record(*arguments, **options):
        opened.append(options["part"])
        return open_part(*arguments, **options)

    monkeypatch.setattr(decoding, "open_part", record)
    monkeypatch.setattr(clips, "_MAX_MEMORY_BYTES", memory_bytes)
    result = recogniser.recognize(path)
    assert len(opened) == 1
    np.testing.assert_array_equal(result.window_scores, expected.window_scores)
    assert result.scores == expected.scores and result.duration_s == expected.duration_s
    assert result.note == "" and result.labels


def test_stored_samples_are_exact(monkeypatch):
    monkeypatch.setattr(clips, "_MAX_MEMORY_BYTES", 1 << 10)
    rng, stored = np.random.default_rng(0), clips.StoredSamples()
    blocks = [rng.normal(size=n).astype(np.float32) for n in (1, 200_000, 3, 70_000)]
    for block in blocks:
        stored.append(block)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(stored.blocks())), np.concatenate(blocks))
    assert stored.num_samples == 270_004


@pytest.mark.parametrize("gains, name", [((1, -1), "left"), ((-0.5, 0.6), "right")])
def test_loudest_channel_is_used_if_channels_cancel(recogniser, tmp_path, gains, name):
    expected = recognize(recogniser, tmp_path, max(gains, key=abs) * music())
    result = recognize(recogniser, tmp_path, music()[:, None] * np.asarray(gains, np.float32))
    assert result.note == f"channels cancel in mono; the {name} channel is used"
    assert result.labels == expected.labels and result.labels
    np.testing.assert_array_equal(result.window_scores, expected.window_scores)


def test_third_channel_is_named_by_its_number(recogniser, tmp_path):
    gains = np.array([0.5, 0.5, -1], np.float32)
    result = recognize(recogniser, tmp_path, music()[:, None] * gains)
    assert result.note == "channels cancel in mono; channel 3 is used"


def test_channels_of_ordinary_stereo_are_averaged(recogniser, tmp_path):
    stereo = np.stack([music(), np.roll(music(), 300)], 1)
    result = recognize(recogniser, tmp_path, stereo)
    expected = recognize(recogniser, tmp_path, stereo.mean(axis=1))
    assert result.note == ""
    np.testing.assert_allclose(result.window_scores, expected.window_scores, atol=1e-6)


@pytest.mark.parametrize(
    "samples, note",
    [
        (music()[:10], r"too short: 0.000\d s"),
        (music()[:1000], r"too short: 0.02 s"),
        (np.full(RATE_HZ, 0.5, np.float32), "constant signal"),
        (np.tile(np.array([0.5, -0.2], np.float32), (RATE_HZ, 1)), "constant signal"),
        (np.zeros(RATE_HZ, np.float32), "silent"),
        (1e-5 * music(), "silent"),
    ],
)
def test_answer_about_nothing_says_so(recogniser, tmp_path, samples, note):
    result = recognize(recogniser, tmp_path, samples)
    assert result.labels == () and not result.activity.any() and result.segments == []
    assert re.fullmatch(note, result.note)
    assert recogniser.recognize(samples, sample_rate_hz=RATE_HZ, threshold=0).segments == []


def test_windows_in_which_a_sound_decays_do_not_count_for_the_scores(recogniser):
    sound = music(4.0) * np.exp(-np.arange(4 * RATE_HZ) / RATE_HZ).astype(np.float32)
    sound[3 * RATE_HZ :] = music(1.0)  # a second attack
    strict = dataclasses.replace(recogniser, aggregation="s1", max_decay_db=1.0)
    result = strict.recognize(sound, sample_rate_hz=RATE_HZ)
    levels_db = []
    for first in np.round((result.times_s - 0.25) * RATE_HZ).astype(int):
        window = sound[first : first + RATE_HZ // 2]
        levels_db.append(10 * np.log10(np.mean(np.square(window))))
    decays = [
        any(level < earlier - 1.0 for earlier in levels_db[max(0, i - 2) : i])
        for i, level in enumerate(levels_db)
    ]
    assert 3 < sum(decays) < len(decays) - 2
    expected = result.window_scores[~np.array(decays)].mean(axis=0)
    np.testing.assert_allclose([*result.scores.values()], expected, rtol=1e-5)
    every = dataclasses.replace(strict, max_decay_db=None).recognize(sound, sample_rate_hz=RATE_HZ)
    np.testing.assert_array_equal(every.window_scores, result.window_scores)
    assert not np.allclose([*every.scores.values()], expected, rtol=1e-5)


def test_the_clips_of_a_dataset_are_scored_like_files(recogniser):
    rate_hz = recogniser.sample_rate_hz
    sound = audio.resample(music(4.0)[:, None], RATE_HZ, rate_hz)[:, 0]
    sound = audio.to_int16(sound * np.exp(-np.arange(len(sound)) / rate_hz))
    strict = dataclasses.replace(recogniser, aggregation="s1", max_decay_db=1.0)
    result = strict.recognize(sound, sample_rate_hz=rate_hz)
    dataset = Clips(
        ids=np.array(["a"]),
        songs=np.array(["a"]),
        labels=np.zeros((1, 2), np.float32),
        num_samples=np.array([len(sound)]),
        contradictory=np.zeros(1, bool),
        read=lambda i: (sound, peak(sound)),
    )
    hop = dict(hop_samples=recogniser.hop_samples, max_decay_db=1.0)
    (windows,) = predict_split(
        recogniser.task, recogniser.predict, dataset, batch_size=8, label="", **hop
    )
    assert 0 < len(windows) < len(result.times_s)
    scores = aggregation.get("s1")([windows])[0]
    np.testing.assert_allclose([*result.scores.values()], scores, rtol=1e-5)


def clip_notes(samples, rate_hz):
    """Return the notes on mono audio for a system of 22,050 Hz."""
    resampled = audio.resample(samples[:, None], rate_hz, 22_050)

    def read(channel, levels, notes):
        levels.add(resampled)
        return [resampled]

    return clips.read_clip(read, 22_050).notes


def test_missing_content_is_noted_for_music_resampled_from_low_rates():
    """The limit lies between full and resampled music, with margin on both sides.

    The edge, above which the energy is 70 dB below the total, is at 7.6 to 10.9 kHz in 216
    recordings of single instruments and 94 songs, at 8.9 to 10.7 kHz in six rendered pieces and
    their stems, and at most at 3.9 and 5.4 kHz in the recordings and songs resampled from 8 and
    11.025 kHz. The limit is 6.6 kHz. Music resampled from 16 kHz, 6.4 to 7.8 kHz, is not noted.
    """
    mixture, direct, _ = demo.render()
    for signal in (mixture, *direct.values()):
        mono = signal.mean(axis=1, dtype=np.float32)
        assert clip_notes(mono, RATE_HZ) == ()
        for low_hz, edges in ((8000, ("3.7", "3.8", "3.9")), (11_025, ("5.1", "5.2", "5.3"))):
            (note,) = clip_notes(audio.resample(mono[:, None], RATE_HZ, low_hz)[:, 0], low_hz)
            assert note in [
                f"no content above {e} kHz; the system analyses up to 11.0 kHz" for e in edges
            ]


def test_missing_content_is_noted_beside_the_labels(recogniser, tmp_path, workdir, capsys):
    low = audio.resample(music()[:, None], RATE_HZ, 3000)[:, 0]
    result = recognize(recogniser, tmp_path, low, 3000)
    assert re.fullmatch(
        r"no content above 1\.[45] kHz; the system analyses up to 4\.0 kHz", result.note
    )
    assert result.labels
    assert result.to_dict()["note"] == result.note
    words = ["recognize", str(tmp_path / "a.wav"), "--workdir", str(workdir)]
    assert run_command(lambda: cli.run(words)) == 0
    line = capsys.readouterr().out
    assert line.endswith(f"({result.note})\n") and " 1.00" in line


def test_damage_is_noted_and_decoders_print_nothing(workdir, tmp_path, capfd):
    path = tmp_path / "a.mp3"
    audio.write(path, music(6), RATE_HZ)
    content = bytearray(path.read_bytes())
    content[20_000:20_500] = bytes(500)
    path.write_bytes(content)
    words = ["recognize", str(path), "--workdir", str(workdir)]
    assert run_command(lambda: cli.run(words)) == 0
    output = capfd.readouterr()
    assert "damaged in places: " in output.out and output.err == ""


def test_instruments_of_an_m4a_named_mp3_are_those_of_the_m4a(recogniser, tmp_path):
    for name in ("a.m4a", "a.mp3"):
        with av.open(str(tmp_path / name), "w", format="ipod") as container:
            stream = container.add_stream("aac", rate=RATE_HZ, layout="mono")
            frame = av.AudioFrame.from_ndarray(music(5)[None], format="fltp", layout="mono")
            frame.rate = RATE_HZ
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    expected, result = (recogniser.recognize(tmp_path / name) for name in ("a.m4a", "a.mp3"))
    np.testing.assert_array_equal(result.window_scores, expected.window_scores)
    assert abs(result.duration_s - 5) < 0.05 and result.labels == expected.labels
