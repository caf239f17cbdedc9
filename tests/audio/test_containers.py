"""Files identified by content, joined, of unstated length, truncated or damaged."""

import io
import re

import av
import numpy as np
import pytest
import soundfile

from irec_jax import audio
from irec_jax.audio.tracks import open_track
from irec_jax.errors import UserError
from irec_jax.systems import debleeder

RATE_HZ = 44_100
NUM_SAMPLES = RATE_HZ
#: Name -> format and encoding of soundfile.
SOUNDFILE_KINDS = {
    "wav": ("WAV", "PCM_16"),
    "float wav": ("WAV", "FLOAT"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_24"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
#: Name -> format, encoder and sample format of FFmpeg, with the samples that the encoder adds.
FFMPEG_KINDS = {
    "m4a": ("ipod", "aac", "fltp", 1024),
    "adts": ("adts", "aac", "fltp", 2048),
    "mka": ("matroska", "aac", "fltp", 1024),
    "wma": ("asf", "wmav2", "fltp", 2048),
    "mp2": ("mp2", "mp2", "s16", 1152),
    "ogg flac": ("ogg", "flac", "s16", 0),
    "lame": ("mp3", "libmp3lame", "fltp", 0),
    "mp3 in wav": ("wav", "libmp3lame", "fltp", 2304),
}
PCM_KINDS = ("wav", "rf64", "w64", "aiff", "au", "caf")


def music(num_samples=NUM_SAMPLES, num_channels=2):
    """Return plucked tones (T, C)."""
    rng = np.random.default_rng(4)
    time_s = np.arange(num_samples) / RATE_HZ
    samples = np.zeros(num_samples)
    for start in range(0, num_samples, 22_050):
        frequency_hz = 110 * 2 ** (rng.integers(0, 30) / 12)
        rest_s = time_s[: num_samples - start]
        tone = sum(np.sin(2 * np.pi * frequency_hz * k * rest_s) / k for k in range(1, 8))
        samples[start:] += tone * np.exp(-4 * rest_s)
    channels = [samples, 0.8 * np.roll(samples, 400)][:num_channels]
    return (0.7 * np.stack(channels, 1) / np.abs(samples).max()).astype(np.float32)


class Pipe(io.RawIOBase):
    """A file in which nothing can be replaced, such as a header."""

    def __init__(self):
        super().__init__()
        self.content = bytearray()

    def writable(self):
        return True

    def seekable(self):
        return False

    def write(self, data):
        self.content += bytes(data)
        return len(data)


def encode(file, container_format, codec, sample_format, samples=None):
    samples = music() if samples is None else samples
    with av.open(file, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout="stereo", bit_rate=128_000)
        for start in range(0, len(samples), 1152):
            chunk = samples[start : start + 1152]
            if sample_format == "s16":
                chunk = audio.to_int16(chunk).reshape(1, -1)
            else:
                chunk = np.ascontiguousarray(chunk.T)
            frame = av.AudioFrame.from_ndarray(chunk, format=sample_format, layout="stereo")
            frame.rate, frame.pts = RATE_HZ, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def content_of(kind, samples=None, rate_hz=RATE_HZ):
    """Return the bytes of a file of music."""
    file = io.BytesIO()
    if kind in SOUNDFILE_KINDS:
        container_format, subtype = SOUNDFILE_KINDS[kind]
        samples = music() if samples is None else samples
        soundfile.write(file, samples, rate_hz, subtype, format=container_format)
    else:
        encode(file, *FFMPEG_KINDS[kind][:3], samples)
    return file.getvalue()


def piped(container_format, codec, sample_format="s16"):
    file = Pipe()
    encode(file, container_format, codec, sample_format)
    return bytes(file.content)


def id3_tag(num_bytes):
    """Return a tag of random content, as of a picture."""
    size = bytes(num_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + size + np.random.default_rng(num_bytes).bytes(num_bytes)


def read(tmp_path, content, name="a.bin"):
    (tmp_path / name).write_bytes(content)
    return audio.read(tmp_path / name)[0]


@pytest.mark.parametrize("kind", [*SOUNDFILE_KINDS, *FFMPEG_KINDS])
def test_the_content_of_a_file_decides_not_its_name(tmp_path, kind):
    content = content_of(kind)
    expected = read(tmp_path, content)
    extra = FFMPEG_KINDS[kind][3] if kind in FFMPEG_KINDS else 0
    assert abs(len(expected) - NUM_SAMPLES) <= extra
    for name in ("a.mp3", "a.wav", "a.m4a", "a.au", "a.txt"):
        np.testing.assert_array_equal(read(tmp_path, content, name), expected)
    tagged = read(tmp_path, id3_tag(3_000) + id3_tag(100_000) + content, "a.mp3")
    np.testing.assert_array_equal(tagged, expected)
    if kind in SOUNDFILE_KINDS and kind != "mp3":
        decoded, _ = soundfile.read(io.BytesIO(content), dtype="float32")
        np.testing.assert_array_equal(expected, decoded)


def test_m4a_named_mp3_is_decoded_completely(tmp_path):
    content = content_of("m4a", music(20 * RATE_HZ))
    samples = read(tmp_path, content, "a.mp3")
    assert abs(len(samples) - 20 * RATE_HZ) <= 1024
    assert np.corrcoef(samples[: 20 * RATE_HZ, 0], music(20 * RATE_HZ)[:, 0])[0, 1] > 0.99


def test_mp3_is_as_libmpg123_decodes_it(tmp_path):
    content = content_of("mp3")
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    samples = read(tmp_path, content)
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, expected, atol=4e-6)


@pytest.mark.parametrize("kind", ["mp3", "lame", "mp2"])
def test_other_data_around_mpeg_frames_is_skipped(tmp_path, kind):
    content, junk = content_of(kind), np.random.default_rng(0).bytes(5_000)
    expected = read(tmp_path, content)
    after = b"TAG" + bytes(125)
    for variant in (junk + content, bytes(5_000) + content, content + junk, content + after):
        np.testing.assert_array_equal(read(tmp_path, variant), expected)


def test_file_that_is_mostly_something_else_is_rejected(tmp_path):
    rng = np.random.default_rng(0)
    frames = content_of("mp3", music(4_000))
    for content in (frames + rng.bytes(400_000), rng.bytes(200_000) + frames + rng.bytes(200_000)):
        with pytest.raises(UserError, match="a.mp3: (not an audio file|only .* can be decoded)"):
            read(tmp_path, content, "a.mp3")


@pytest.mark.parametrize("kind", [*SOUNDFILE_KINDS, *FFMPEG_KINDS])
def test_all_samples_of_joined_files_are_read(tmp_path, kind):
    content = content_of(kind)
    once = read(tmp_path, content)
    joined = read(tmp_path, 2 * content)
    assert len(joined) == 2 * len(once)
    if kind not in ("adts", "mp2"):  # frames without a header of the file, decoded as one stream
        np.testing.assert_array_equal(joined, np.concatenate([once, once]))
    length = audio.info(tmp_path / "a.bin").num_samples
    if kind in SOUNDFILE_KINDS:
        assert length == 2 * NUM_SAMPLES


def test_mp3_files_with_tags_and_of_other_encoders_are_joined(tmp_path):
    first, second = content_of("mp3"), content_of("lame")
    expected = np.concatenate([read(tmp_path, first), read(tmp_path, second)])
    for tag in (b"", id3_tag(300), b"TAG" + bytes(125), b"TAG" + bytes(125) + id3_tag(70_000)):
        np.testing.assert_array_equal(read(tmp_path, first + tag + second), expected)


def test_files_without_encoder_headers_are_joined(tmp_path):
    content = piped("mp3", "libmp3lame", "fltp")
    assert len(read(tmp_path, 2 * content)) == 2 * len(read(tmp_path, content))


@pytest.mark.parametrize("kind", ["mp3", "wav", "flac", "vorbis"])
def test_joined_files_of_different_formats_are_reported(tmp_path, kind):
    other_rate, mono = content_of(kind, rate_hz=22_050), content_of(kind, music(num_channels=1))
    for other, difference in ((other_rate, "22050 Hz"), (mono, "1 channel")):
        with pytest.raises(UserError, match=f"a.bin: .*{difference}.*; split"):
            read(tmp_path, content_of(kind) + other)


def test_raw_streams_joined_with_tags(tmp_path):
    content = content_of("adts")
    once = read(tmp_path, content)
    assert len(read(tmp_path, content + id3_tag(3_000) + content)) == 2 * len(once)
    other = io.BytesIO()
    with av.open(other, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=22_050, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 20_480), np.float32), "fltp", "stereo")
        frame.rate = 22_050
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="a.bin: changes from 44100 Hz.* to 22050 Hz.*; split"):
        read(tmp_path, content + other.getvalue())


@pytest.mark.parametrize(
    "container_format, codec",
    [
        ("flac", "flac"),
        ("wav", "pcm_s16le"),
        ("w64", "pcm_s16le"),
        ("aiff", "pcm_s16be"),
        ("au", "pcm_s16be"),
        ("caf", "pcm_s16be"),
    ],
)
def test_lossless_files_written_to_a_pipe_are_read_completely(tmp_path, container_format, codec):
    content = piped(container_format, codec)
    expected = audio.to_int16(music())
    np.testing.assert_array_equal(audio.to_int16(read(tmp_path, content)), expected)
    joined = audio.to_int16(read(tmp_path, 2 * content))
    np.testing.assert_array_equal(joined, np.concatenate([expected, expected]))


def test_flac_written_to_a_pipe_has_264600_samples(tmp_path):
    file = Pipe()
    encode(file, "flac", "flac", "s16", music(264_600))
    assert len(read(tmp_path, bytes(file.content), "a.flac")) == 264_600
    assert open_track(tmp_path / "a.flac").num_samples == 264_600


#: Names in headers before the fields of lengths, their distance and size in bytes.
LENGTH_FIELDS = {
    "wav": [(b"RIFF", 4, 4), (b"data", 4, 4)],
    "rf64": [(b"ds64", 8, 24)],
    "w64": [(b"riff", 16, 8), (b"data", 16, 8)],
    "aiff": [(b"FORM", 4, 4), (b"COMM", 10, 4), (b"SSND", 4, 4)],
    "au": [(b".snd", 8, 4)],
    "caf": [(b"data", 4, 8)],
}


@pytest.mark.parametrize("kind", PCM_KINDS)
@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_headers_that_state_no_length(tmp_path, kind, byte):
    content = bytearray(content_of(kind))
    for name, distance, size in LENGTH_FIELDS[kind]:
        position = content.index(name) + distance
        content[position : position + size] = bytes([byte]) * size
    for name in ("a.bin", "a.wav"):
        samples = read(tmp_path, bytes(content), name)
        np.testing.assert_allclose(samples, music(), atol=2**-15)


@pytest.mark.parametrize("kind", PCM_KINDS)
def test_files_without_samples_are_reported(tmp_path, kind):
    with pytest.raises(UserError, match="no samples"):
        read(tmp_path, content_of(kind, np.zeros((0, 2))))


@pytest.mark.parametrize("fraction", [0.6, 0.99])
@pytest.mark.parametrize("kind", [*PCM_KINDS, "mp3", "lame", "vorbis"])
def test_truncation_is_noticed(tmp_path, kind, fraction):
    content = content_of(kind)
    with pytest.raises(UserError, match=r"a\.bin: truncated.*; (get|export)"):
        read(tmp_path, content[: int(fraction * len(content))])
    with pytest.raises(UserError, match="truncated"):
        read(tmp_path, content + content[: int(fraction * len(content))])


@pytest.mark.parametrize("kind", [*SOUNDFILE_KINDS, *FFMPEG_KINDS])
def test_first_bytes_of_a_file_are_refused(tmp_path, kind):
    content = content_of(kind)
    for num_bytes in (*range(1, 21), 24, 27, 28, 40, 44):
        with pytest.raises(UserError, match=r"a\.bin: .*; "):
            read(tmp_path, content[:num_bytes])


def test_missing_last_page_of_an_ogg_file_is_noticed(tmp_path):
    content = content_of("vorbis")
    with pytest.raises(UserError, match="truncated: the last page is missing"):
        read(tmp_path, content[: content.rindex(b"OggS")])


@pytest.mark.parametrize("kind", ["rf64", "w64", "aiff", "caf", "au"])
def test_truncated_session_is_rejected(tmp_path, kind):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        content = content_of(kind)
        suffix = SOUNDFILE_KINDS[kind][0].lower()
        (tmp_path / "in" / f"{name}.{suffix}").write_bytes(content[: int(0.6 * len(content))])
    with pytest.raises(UserError, match=r"a\..*: truncated"):
        debleeder.debleed(tmp_path / "in", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_damaged_mp3_is_read_without_messages_of_decoders(tmp_path, capfd):
    content = bytearray(content_of("mp3", music(6 * RATE_HZ)))
    frames = [match.start() for match in re.finditer(rb"\xff\xfb", content)]
    for position in frames[50:53]:
        content[position : position + 4] = bytes(4)
    del content[frames[150] + 40 : frames[150] + 140]
    (tmp_path / "a.mp3").write_bytes(content)
    notes = []
    num_samples = sum(len(block) for block in audio.blocks(tmp_path / "a.mp3", notes=notes))
    assert 0.95 < num_samples / (6 * RATE_HZ) < 1.05
    assert len(notes) == 1 and re.fullmatch(r"damaged in places: \d+ of 23\d frames", notes[0])
    assert 3 <= int(notes[0].split()[3]) <= 8
    assert capfd.readouterr() == ("", "")


def test_incomplete_last_frame_is_noted(tmp_path):
    content = piped("mp3", "libmp3lame", "fltp")  # without a header that states the length
    (tmp_path / "a.mp3").write_bytes(content[: int(0.6 * len(content))])
    notes = []
    assert sum(map(len, audio.blocks(tmp_path / "a.mp3", notes=notes))) > 0.5 * NUM_SAMPLES
    assert len(notes) == 1 and notes[0].startswith("damaged in places: 1 of ")


def test_lost_pages_are_noted(tmp_path):
    content = content_of("vorbis", music(4 * RATE_HZ))
    pages = [match.start() for match in re.finditer(b"OggS", content)]
    (tmp_path / "a.ogg").write_bytes(content[: pages[-3]] + content[pages[-2] :])
    notes = []
    assert sum(map(len, audio.blocks(tmp_path / "a.ogg", notes=notes))) > RATE_HZ
    assert notes == [f"damaged in places: 1 of {len(pages)} pages"]


@pytest.mark.parametrize("kind", ["mp3", "lame", "m4a", "wav", "flac", "vorbis", "w64", "mka"])
def test_damaged_files_are_read_or_rejected_in_one_line(tmp_path, kind, capfd):
    rng = np.random.default_rng(0)
    intact = content_of(kind)
    for _ in range(12):
        content = bytearray(intact)
        for position in rng.integers(0, len(content), 4):
            content[position] ^= 1 << int(rng.integers(0, 8))
        start = int(rng.integers(0, len(content)))
        content[start : start + int(rng.integers(0, 300))] = rng.bytes(int(rng.integers(0, 300)))
        try:
            assert np.isfinite(read(tmp_path, bytes(content))).all()
        except UserError as error:
            assert "a.bin: " in str(error) and "\n" not in str(error)
    assert capfd.readouterr() == ("", "")
