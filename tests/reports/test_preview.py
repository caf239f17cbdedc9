"""Waveforms and compressed copies of audio files."""

import io
import tracemalloc

import av
import numpy as np
import pytest
import soundfile

from irec_jax import audio
from irec_jax.reports import preview
from irec_jax.reports.preview import RATE_HZ, read_preview


def decode(mp3):
    """Return the samples of an MP3 file, float32 (T,)."""
    with av.open(io.BytesIO(mp3)) as container:
        assert container.streams.audio[0].layout.name == "mono"
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(frames, axis=1)[0]


def tone(seconds, rate_hz):
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (np.sin(2 * np.pi * 440 * time_s) * np.minimum(1, time_s / seconds)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8000, 32_000, 44_100])
@pytest.mark.parametrize("seconds", [0.01, 7.3])
def test_copy_sounds_like_the_file_and_lasts_as_long(tmp_path, rate_hz, seconds):
    samples = 0.5 * tone(seconds, rate_hz)
    audio.write(tmp_path / "a.wav", samples, rate_hz)
    copy = read_preview(tmp_path / "a.wav", seconds, with_audio=True).mp3
    expected, _ = audio.read(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
    decoded, rate = audio.read(io.BytesIO(copy))
    assert rate == RATE_HZ and abs(len(decoded) / RATE_HZ - seconds) < 0.04
    if seconds > 1:
        shared = min(len(decoded), len(expected))
        error = decoded[:shared] - expected[:shared]
        # LAME reduces the level by 5 %.
        assert np.sqrt(np.mean(error**2)) < 0.06 * np.sqrt(np.mean(expected**2))
        assert len(copy) == pytest.approx(seconds * preview.BIT_RATE / 8, rel=0.05)
        assert preview.num_uri_bytes(seconds) == pytest.approx(len(copy) * 4 / 3, rel=0.05)


@pytest.mark.parametrize("num_samples", [1, 799, 800, 801, 200_000])
def test_envelope_is_the_maximum_of_equal_parts(tmp_path, num_samples):
    samples = np.random.default_rng(0).uniform(-1, 1, num_samples).astype(np.float32)
    audio.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    envelope = read_preview(tmp_path / "a.wav", num_samples / RATE_HZ, with_audio=False).envelope
    step = -(-num_samples // preview.NUM_COLUMNS)
    expected = [np.abs(samples[i : i + step]).max() for i in range(0, num_samples, step)]
    np.testing.assert_array_equal(envelope, expected)


def test_loudest_channel_is_heard_if_channels_cancel(tmp_path):
    samples = 0.5 * tone(2, RATE_HZ)
    audio.write(tmp_path / "a.wav", np.stack([samples, -samples], 1), RATE_HZ)
    found = read_preview(tmp_path / "a.wav", 2, with_audio=True)
    assert found.envelope.max() == pytest.approx(0.5, abs=0.01)
    assert np.abs(decode(found.mp3)).max() == pytest.approx(0.5, abs=0.05)


def test_memory_does_not_grow_with_the_samples(tmp_path):
    peaks, minutes = [], (1, 5)
    for length in minutes:
        with soundfile.SoundFile(tmp_path / "a.wav", "w", RATE_HZ, 1) as file:
            for _ in range(6 * length):
                file.write(tone(10, RATE_HZ))
        tracemalloc.start()
        read_preview(tmp_path / "a.wav", 60 * length, with_audio=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    longer_s = 60 * (minutes[1] - minutes[0])
    assert peaks[1] - peaks[0] < 4 * longer_s * preview.BIT_RATE / 8 < longer_s * RATE_HZ * 4 / 3


def test_samples_beyond_full_scale_are_clipped(tmp_path):
    audio.write(tmp_path / "a.wav", 50 * tone(1, RATE_HZ), RATE_HZ, subtype="FLOAT")
    found = read_preview(tmp_path / "a.wav", 1, with_audio=True)
    assert found.envelope.max() == pytest.approx(50, rel=0.01)
    assert np.abs(decode(found.mp3)).max() < 1.5
