"""Audio files compared with soundfile and scipy: formats, rates, channels and invalid files."""

import io
import os
import resource
import shutil
import signal
import threading
import tracemalloc

import av
import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr

from irec_jax import audio
from irec_jax.errors import UserError


def noise(num_samples, num_channels=1, seed=0):
    generator = np.random.default_rng(seed)
    return (0.2 * generator.standard_normal((num_samples, num_channels))).astype(np.float32)


def sine(rate_hz, seconds, frequency_hz=440.0):
    times_s = np.arange(int(rate_hz * seconds)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)[:, None]


def encode(path, samples, rate_hz, codec, **tags):
    """Write stereo audio with FFmpeg; the suffix determines the container."""
    stereo = np.repeat(samples, 2, axis=1).T
    with av.open(str(path), "w") as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo")
        for start in range(0, stereo.shape[1], 1024):
            chunk = np.ascontiguousarray(stereo[:, start : start + 1024])
            if codec == "pcm_s16le":
                chunk = np.ascontiguousarray(audio.to_int16(chunk).T).reshape(1, -1)
            sample_format = "s16" if codec == "pcm_s16le" else "fltp"
            frame = av.AudioFrame.from_ndarray(chunk, format=sample_format, layout="stereo")
            frame.rate, frame.pts = rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("delay_s", [0.0, 0.8])
def test_audio_of_a_video_may_be_shorter_than_the_picture(tmp_path, suffix, delay_s):
    path, num_samples = tmp_path / f"a{suffix}", 48_000
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 16, 16, "yuv420p"
        for number in range(30):  # 3 s
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts = number
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(noise(num_samples).T, format="fltp", layout="mono")
        frame.rate, frame.pts = 48_000, round(48_000 * delay_s)
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    samples, _ = audio.read(path)
    assert abs(len(samples) - num_samples) <= 2048
    assert abs(audio.info(path).num_samples - num_samples) <= 2048


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff"])
@pytest.mark.parametrize("num_channels, rate_hz", [(1, 8_000), (2, 44_100), (6, 96_000)])
def test_lossless_files_round_trip_exactly(tmp_path, suffix, num_channels, rate_hz):
    written = audio.to_int16(noise(5_001, num_channels))
    path = tmp_path / f"a{suffix}"
    audio.write(path, written, rate_hz)
    samples, actual_rate_hz = audio.read(path)
    assert samples.dtype == np.float32 and actual_rate_hz == rate_hz
    np.testing.assert_array_equal(audio.to_int16(samples), written)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(samples, expected)
    assert audio.info(path) == (rate_hz, num_channels, 5_001, 1)
    mono, _ = audio.read(path, mono=True)
    np.testing.assert_array_equal(mono, expected.mean(1, keepdims=True, dtype=np.float32))


@pytest.mark.parametrize(
    "name, codec, tolerance_samples",
    [
        ("a.m4a", "aac", 1024),
        ("a.mp4", "aac", 1024),
        ("a.aac", "aac", 2048),
        ("a.mka", "aac", 1024),
        ("a.webm", "libopus", 0),
        ("a.ogg", "libopus", 0),
        ("a.mp3", "libmp3lame", 2400),
        ("b.ogg", None, 0),
        ("b.mp3", None, 0),
    ],
)
def test_lossy_files_resemble_the_written_signal(tmp_path, name, codec, tolerance_samples):
    tone = sine(48_000, 2)
    if codec is None:
        audio.write(tmp_path / name, np.repeat(tone, 2, axis=1), 48_000)
    else:
        encode(tmp_path / name, tone, 48_000, codec)
    samples, rate_hz = audio.read(tmp_path / name)
    assert rate_hz == 48_000 and samples.shape[1] == 2
    assert abs(len(samples) - len(tone)) <= tolerance_samples
    middle = samples[24_000:72_000, 0]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) == 440  # one bin is 1 Hz
    assert abs(np.sqrt(2 * np.mean(middle**2)) - 0.5) < 0.03
    assert audio.info(tmp_path / name)[:2] == (48_000, 2)


@pytest.mark.parametrize("old_hz", [8_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("new_hz", [16_000, 22_050])
def test_resampling_preserves_a_tone_and_the_duration(old_hz, new_hz):
    for num_samples in (1, 7, 1000, old_hz + 1):
        resampled = audio.resample(noise(num_samples, 2), old_hz, new_hz)
        assert resampled.shape == (int(np.ceil(num_samples * new_hz / old_hz)), 2)
        assert len(resampled) == audio.num_resampled(num_samples, old_hz, new_hz)
    resampled = audio.resample(sine(old_hz, 1), old_hz, new_hz)
    interior = slice(new_hz // 10, -new_hz // 10)
    np.testing.assert_allclose(resampled[interior], sine(new_hz, 1)[interior], atol=1e-4)


def test_resampling_matches_scipy():
    band_limited = scipy.signal.sosfiltfilt(
        scipy.signal.butter(10, 6_000, fs=44_100, output="sos"), noise(44_100)[:, 0]
    )
    expected = scipy.signal.resample_poly(band_limited, 1, 2, window=("kaiser", 14.0))
    resampled = audio.resample(band_limited[:, None], 44_100, 22_050)[:, 0]
    np.testing.assert_allclose(resampled[500:-500], expected[500:-500], atol=2e-3)


@pytest.mark.parametrize("num_channels, rate_hz", [(1, 8_000), (2, 44_100), (6, 96_000)])
@pytest.mark.parametrize("block_samples", [1_000, 1 << 16, 1 << 20])
def test_concatenated_blocks_match_the_complete_file(
    tmp_path, num_channels, rate_hz, block_samples
):
    path = tmp_path / "a.wav"
    audio.write(path, noise(150_001, num_channels), rate_hz)
    for new_hz in (None, 22_050):
        expected, _ = audio.read(path, sample_rate_hz=new_hz, mono=True)
        blocks = list(audio.blocks(path, sample_rate_hz=new_hz, block_samples=block_samples))
        assert all(len(block) == block_samples for block in blocks[:-1])
        assert 0 < len(blocks[-1]) <= block_samples
        np.testing.assert_array_equal(np.concatenate(blocks), expected)
        assert len(expected) == audio.num_resampled(150_001, rate_hz, new_hz or rate_hz)


def test_resampling_a_long_signal_matches_soxr():
    long = noise(200_000, 2)
    expected = soxr.resample(long, 44_100, 22_050)
    np.testing.assert_allclose(audio.resample(long, 44_100, 22_050), expected, atol=1e-6)


def test_memory_of_blocks_does_not_grow_with_file_length(tmp_path):
    peaks = []
    for seconds in (5, 40):
        audio.write(tmp_path / "a.wav", noise(44_100 * seconds, 2), 44_100)
        tracemalloc.start()
        for _ in audio.blocks(tmp_path / "a.wav", sample_rate_hz=22_050):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_int16_conversion_rounds_clips_and_round_trips():
    values = np.array([-2.0, -1.0, -1.4 / 32768, 0.0, 0.6 / 32768, 0.99999, 1.0, 2.0], np.float32)
    expected = np.array([-32768, -32768, -1, 0, 1, 32767, 32767, 32767], np.int16)
    np.testing.assert_array_equal(audio.to_int16(values), expected)
    all_int16 = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(audio.to_int16(audio.to_float32(all_int16)), all_int16)


def test_open_files_are_read_from_their_start(tmp_path):
    for name in ("a.wav", "a.m4a"):
        encode(tmp_path / name, sine(48_000, 1), 48_000, "pcm_s16le" if "wav" in name else "aac")
        expected, _ = audio.read(tmp_path / name, mono=True)
        file = io.BytesIO((tmp_path / name).read_bytes())
        file.name = f"archive.zip: {name}"
        for _ in range(2):
            np.testing.assert_array_equal(audio.read(file, mono=True)[0], expected)
            assert audio.info(file)[:2] == (48_000, 2)
        file.truncate(1_000)
        with pytest.raises(UserError, match=f"archive.zip: {name}: "):
            audio.read(file)


def test_silent_files_are_read(tmp_path):
    audio.write(tmp_path / "a.wav", np.zeros((1000, 2), np.float32), 44_100)
    assert not audio.read(tmp_path / "a.wav")[0].any()


def test_float_files_keep_values_beyond_full_scale(tmp_path):
    audio.write(tmp_path / "a.wav", 4 * noise(1000), 44_100, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav")[0], 4 * noise(1000))


@pytest.mark.parametrize("promised", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_streamed_wav_files_without_a_valid_length_are_read(tmp_path, promised):
    path = tmp_path / "a.wav"
    audio.write(path, noise(1000), 44_100)
    header = bytearray(path.read_bytes())
    position = header.index(b"data") + 4
    header[position : position + 4] = promised.to_bytes(4, "little")
    path.write_bytes(header)
    assert len(audio.read(path)[0]) == 1000


def truncate(path, fraction):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])


def make_invalid_file(folder, kind):
    path = folder / "bad [1] ü.wav"
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "not audio":
        path.write_text("hello\n" * 100)
    elif kind == "random":
        path.write_bytes(np.random.default_rng(0).bytes(10_000))
    elif kind == "no samples":
        soundfile.write(path, np.zeros((0, 1)), 8_000)
    elif kind == "picture":
        with av.open(str(path), "w", format="image2") as container:
            stream = container.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
    elif kind in ("nan", "inf"):
        values = np.array([0, float(kind), 1], np.float32)
        soundfile.write(path, values, 8_000, "FLOAT")
    elif kind == "playlist":
        audio.write(folder / "other.wav", noise(1000), 8_000)
        path.write_text("ffconcat version 1.0\nfile other.wav\n")
    elif kind.startswith("cut wav"):
        audio.write(path, noise(1000), 8_000)
        truncate(path, 0.5 if kind == "cut wav" else 0.01)
    elif kind == "cut flac":
        audio.write(folder / "a.flac", noise(50_000), 8_000)
        truncate(folder / "a.flac", 0.5)
        (folder / "a.flac").rename(path)
    elif kind in ("cut m4a", "cut mka"):
        encode(folder / f"a.{kind[4:]}", sine(48_000, 3), 48_000, "aac")
        truncate(folder / f"a.{kind[4:]}", 0.5)
        (folder / f"a.{kind[4:]}").rename(path)
    return path


INVALID_FILES = {
    "missing": "no such file",
    "empty": "empty",
    "folder": "folder",
    "not audio": "not an audio file",
    "random": "not an audio file",
    "no samples": "no samples",
    "picture": "no audio stream",
    "nan": "NaN",
    "inf": "infinite",
    "playlist": "not an audio file",
    "cut wav": "truncated",
    "cut wav header": "truncated",
    "cut flac": "damaged|truncated",
    "cut m4a": "truncated",
    "cut mka": "truncated",
}


@pytest.mark.parametrize("kind", INVALID_FILES)
def test_invalid_files_are_reported_in_one_line(tmp_path, kind):
    path = make_invalid_file(tmp_path, kind)
    for reader in (audio.read, lambda p: list(audio.blocks(p, sample_rate_hz=22_050))):
        with pytest.raises(UserError, match=INVALID_FILES[kind]) as caught:
            reader(path)
        assert str(path) in str(caught.value) and "; " in str(caught.value)
        assert "\n" not in str(caught.value)


def test_pipes_are_rejected_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(UserError, match="pipe"):
        audio.read(tmp_path / "a.wav")


def test_file_names_that_are_not_utf8_or_resemble_a_url_are_read(tmp_path):
    for name in (b"\xff\xe9.wav", b"concat:a.wav", b"http:a.wav", b"[a]*?.wav"):
        path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
        audio.write(path, noise(100), 8_000)
        assert len(audio.read(path)[0]) == 100
    os.truncate(path := os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff\xe9.wav")), 100)
    with pytest.raises(UserError) as caught:
        audio.read(path)
    str(caught.value).encode()


def test_tags_that_are_not_utf8_are_read(tmp_path):
    path = tmp_path / "tagged.m4a"
    encode(path, sine(8_000, 1), 8_000, "aac", title="Ca_f_")
    path.write_bytes(path.read_bytes().replace(b"Ca_f_", b"Ca\xe9f\xff"))
    assert b"Ca\xe9f\xff" in path.read_bytes()
    assert len(audio.read(path)[0]) >= 8_000


def test_m4a_file_names_that_resemble_a_url_are_read(tmp_path):
    encode(tmp_path / "a.m4a", sine(48_000, 1), 48_000, "aac")
    shutil.copy(tmp_path / "a.m4a", tmp_path / "http:b.m4a")
    assert audio.read(tmp_path / "http:b.m4a")[0].any()


def test_write_replaces_a_file_only_when_complete(tmp_path):
    path = tmp_path / "a.wav"
    audio.write(path, noise(100), 8_000)
    original = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:  # as on a full disk: a write is incomplete
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        for name in ("a.wav", "b.wav", "b.flac", "b.ogg"):
            with pytest.raises(UserError, match=f"{name}: cannot be written"):
                audio.write(tmp_path / name, noise(200_000), 8_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == original
    assert os.listdir(tmp_path) == ["a.wav"]


def test_write_errors_describe_the_cause(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        audio.write(tmp_path / "no" / "a.wav", noise(10), 8_000)
    with pytest.raises(UserError, match="cannot be written as '.xyz'"):
        audio.write(tmp_path / "a.xyz", noise(10), 8_000)
    with pytest.raises(UserError, match="cannot be written as FLOAT"):
        audio.write(tmp_path / "a.flac", noise(10), 8_000, subtype="FLOAT")


def test_concurrent_reads_return_the_same_samples(tmp_path):
    audio.write(tmp_path / "a.flac", noise(100_000, 2), 44_100)
    expected, _ = audio.read(tmp_path / "a.flac", sample_rate_hz=22_050)
    results = []

    def read():
        results.append(audio.read(tmp_path / "a.flac", sample_rate_hz=22_050)[0])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, expected)


def test_unreadable_folders_are_reported(tmp_path, monkeypatch):
    locked = tmp_path / "album" / "locked"
    locked.mkdir(parents=True)
    audio.write(tmp_path / "album" / "a.wav", noise(1000), 8_000)
    scandir = os.scandir

    def fail(path):
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied", str(locked))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    message = "locked: cannot be read .Permission denied.; make the folder readable"
    for folder in (locked, tmp_path / "album"):
        with pytest.raises(UserError, match=message):
            audio.find(folder)


def test_find_searches_folders_recursively_and_ignores_hidden_files(tmp_path):
    audio_names = ["b/[x] é*.WAV", "b/a.flac", "a.m4a"]
    ignored_names = ["b/a.txt", "b/._a.wav", ".hidden/a.wav", "__MACOSX/b/a.wav", ".DS_Store"]
    for name in audio_names + ignored_names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "back").symlink_to(tmp_path)
    expected = [tmp_path / n for n in ("a.m4a", "b/[x] é*.WAV", "b/a.flac")]
    assert audio.find(tmp_path) == expected
    assert audio.find([tmp_path / "b/a.txt", tmp_path, tmp_path / "a.m4a"]) == [
        tmp_path / "b/a.txt",
        *expected,
    ]
    assert audio.find([tmp_path], suffixes=(".m4a",)) == [tmp_path / "a.m4a"]
    with pytest.raises(UserError, match="no such file"):
        audio.find([tmp_path / "no"])
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none: contains no audio files"):
        audio.find([tmp_path / "none"])


def test_many_channels_without_anything_in_common_do_not_cancel():
    rng = np.random.default_rng(0)
    for num_channels in (2, 6, 12):
        levels = audio.ChannelLevels()
        levels.add(rng.normal(size=(20_000, num_channels)).astype(np.float32))
        assert not levels.cancel
        inverted = audio.ChannelLevels()
        signs = np.where(np.arange(num_channels) % 2, -1, 1)
        inverted.add((rng.normal(size=(20_000, 1)) * signs).astype(np.float32))
        assert inverted.cancel
