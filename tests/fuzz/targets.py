"""What damaged files are given to: readers of audio, datasets, workdirs and configs.

A target writes its intact files once, and then reads damaged copies. Its method `check` returns
normally if the copy was read and the result is finite, and raises a `UserError` if it was refused.
"""

import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import av
import call_trace
import irmas_fixture
import musdb18_fixture
import numpy as np
import soundfile

from data_builders.common import archives
from data_builders.common.copies import find_contradictory
from data_builders.folder.files import scan
from data_builders.irmas import builder as irmas
from data_builders.musdb18 import audio as musdb18_audio
from data_builders.musdb18.files import check_header, find_tracks
from irec_jax import audio, config
from irec_jax.config import checks
from irec_jax.systems import load_recogniser

RATE_HZ = 22_050
#: Suffix -> soundfile's format and encoding.
SOUNDFILE_FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_24"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "au": ("AU", "PCM_16"),
}
#: Suffix -> FFmpeg's container and encoder.
FFMPEG_FORMATS = {
    "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "webm": ("webm", "libopus"),
    "opus": ("ogg", "libopus"),
}


class Target(Protocol):
    """A reader of damaged files."""

    #: Intact files: the suffix of the damaged copy, and the content.
    intact: Sequence[tuple[str, bytes]]
    #: Whether the files are text.
    text: bool
    #: Whether errors have to name the file.
    names_file: bool

    def check(self, suffix: str, content: bytes, folder: Path) -> str:
        """Read damaged content, written to the empty folder; return the name of the file.

        Raises:
            UserError: the file is refused.
        """
        ...


def audio_files() -> dict[str, bytes]:
    """Return a short recording in each format, stereo or mono, by suffix."""
    rng = np.random.default_rng(0)
    time_s = np.arange(RATE_HZ // 4) / RATE_HZ
    samples = 0.4 * np.sin(2 * np.pi * np.array([[440.0], [660.0]]) * time_s)
    samples = (samples + 0.01 * rng.normal(size=samples.shape)).astype(np.float32)
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound")
        for number, (suffix, (file_format, subtype)) in enumerate(SOUNDFILE_FORMATS.items()):
            channels = samples[: 1 + number % 2].T
            soundfile.write(path, channels, RATE_HZ, format=file_format, subtype=subtype)
            files[suffix] = path.read_bytes()
        for suffix, (container_format, encoder) in FFMPEG_FORMATS.items():
            rate_hz = 48_000 if encoder == "libopus" else RATE_HZ
            with av.open(str(path), "w", format=container_format) as container:
                stream = container.add_stream(encoder, rate=rate_hz, layout="stereo")
                frame_length = stream.codec_context.frame_size or 1024
                for start in range(0, samples.shape[1], frame_length):
                    part = np.ascontiguousarray(samples[:, start : start + frame_length])
                    frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                    frame.rate, frame.pts = rate_hz, start
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            files[suffix] = path.read_bytes()
    return files


def _check_finite(*arrays: np.ndarray) -> None:
    for array in arrays:
        assert np.isfinite(array).all(), "numbers that are not finite"


class Audio:
    """`irec_jax.audio`: the header, and all blocks."""

    text, names_file = False, True

    def __init__(self, folder: Path):
        self.intact = [(f"damaged.{suffix}", data) for suffix, data in audio_files().items()]

    def check(self, suffix: str, content: bytes, folder: Path) -> str:
        path = folder / suffix
        path.write_bytes(content)
        header = audio.info(path)
        for block in audio.blocks(path, mono=False):
            assert block.dtype == np.float32 and block.shape[1] == header.num_channels
            _check_finite(block)
        return path.name


class Recognition(Audio):
    """A recogniser of audio files, untrained."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.recogniser = load_recogniser(call_trace.write_recogniser(folder / "workdir"))

    def check(self, suffix: str, content: bytes, folder: Path) -> str:
        path = folder / suffix
        path.write_bytes(content)
        result = self.recogniser.recognize(path)
        _check_finite(result.window_scores, result.activity, np.array(list(result.scores.values())))
        assert len(result.times_s) == len(result.window_scores) and result.duration_s > 0
        json.dumps(result.to_dict(), allow_nan=False)
        return path.name


class StemFiles:
    """A stem file of MUSDB18."""

    text, names_file = False, True

    def __init__(self, folder: Path):
        path = folder / "intact.stem.mp4"
        musdb18_fixture.write_stem_file(path, list(musdb18_fixture.stems("A - B").values()))
        self.intact = [("A - B.stem.mp4", path.read_bytes())]

    def check(self, suffix: str, content: bytes, folder: Path) -> str:
        (folder / suffix).write_bytes(content)
        for tracks in find_tracks(folder, archives.files_in_folder(folder)).values():
            for track in tracks:
                check_header(track)
                decoded = musdb18_audio.decode(track)
                assert all(np.asarray(value).size for value in decoded.values())
        return suffix


class CsvFiles:
    """The CSV file of the dataset `folder`."""

    text, names_file = True, True

    def __init__(self, folder: Path):
        self.sounds = folder / "sounds"
        self.sounds.mkdir()
        rows = ["file,labels,split,song"]
        for number in range(8):
            path = self.sounds / f"{number}.wav"
            soundfile.write(path, np.full(100, 0.1), 8000)
            split = "test" if number > 5 else "train"
            rows.append(f"{path},{'pia;vio' if number % 3 else 'pia'},{split},song {number}")
        whole = "\n".join(rows) + "\n"
        short = "\r\n".join(row.rsplit(",", 2)[0] for row in rows)
        self.intact = [("clips.csv", whole.encode()), ("clips.csv", short.encode())]

    def check(self, suffix: str, content: bytes, folder: Path) -> str:
        path = folder / suffix
        path.write_bytes(content)
        layout = scan(str(path), None)
        assert layout.classes and all(layout.splits.values())
        return suffix


class Archives:
    """A zip of IRMAS."""

    text, names_file = False, True

    def __init__(self, folder: Path):
        irmas_fixture.write_unpacked(folder / "unpacked")
        irmas_fixture.write_zips(folder / "zips", folder / "unpacked")
        self.intact = [
            (f"{name}.zip", (folder / "zips" / f"{name}.zip").read_bytes())
            for name in irmas_fixture.NAMES[:2]
        ]

    def check(self, suffix: str, content: bytes, folder: Path) -> str:
        path = folder / suffix
        path.write_bytes(content)
        files = archives.files_in_zip(path)
        is_training = "Training" in suffix
        clips = irmas._training_clips(files) if is_training else irmas._test_clips(files, 1)
        clips = list(itertools.islice(clips, 3))
        find_contradictory(clips)
        for clip in clips:
            with clip.file.open() as file:
                _check_finite(audio.read(file)[0])
        return suffix


class SystemFiles:
    """`system.json` of a trained system."""

    text, names_file = True, True

    def __init__(self, folder: Path):
        self.workdir = call_trace.write_recogniser(folder / "workdir")
        self.intact = [("system.json", (self.workdir / "system.json").read_bytes())]
        self.noise = 0.1 * np.random.default_rng(0).normal(size=4000)

    def check(self, suffix: str, content: bytes, folder: Path) -> str:
        (folder / suffix).write_bytes(content)
        (folder / "checkpoints").symlink_to(self.workdir / "checkpoints")
        result = load_recogniser(folder).recognize(self.noise, sample_rate_hz=8000)
        _check_finite(result.window_scores)
        return ""


class Overrides:
    """Values of `--config.KEY=VALUE`, one per line."""

    text, names_file = True, False

    def __init__(self, folder: Path):
        settings = config.flatten(config.load("configs/han.py:debug"))
        lines = [f"{key}={'none' if value is None else value}" for key, value in settings.items()]
        self.intact = [("", line.encode()) for line in lines]

    def check(self, suffix: str, content: bytes, folder: Path) -> str:
        settings = config.load("configs/han.py:debug")
        words = content.decode("utf-8", "surrogateescape").split("\n")
        config.override(settings, [tuple(word.partition("=")[::2]) for word in words])
        config.check_keys(settings)
        checks.check_config(settings)
        return ""


#: Name -> target, and its share of the cases.
TARGETS = {
    "audio": (Audio, 0.7),
    "recognition": (Recognition, 0.1),
    "csv": (CsvFiles, 0.08),
    "zip": (Archives, 0.05),
    "stems": (StemFiles, 0.04),
    "config": (Overrides, 0.02),
    "system": (SystemFiles, 0.01),
}
