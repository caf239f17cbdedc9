"""musdb18 builder: released stem files and folders, subsets, user tracks and invalid input."""

import functools
import hashlib
import http.server
import os
import shutil
import threading
import zipfile

import numpy as np
import pytest
import soxr
from musdb18_fixture import RATE, STREAMS, decoded, stems, write_folder, write_stem_file

import data_builders
from data_builders.common import archives
from data_builders.musdb18 import (
    audio as musdb18_audio,
)
from data_builders.musdb18 import (
    builder as musdb18,
)
from data_builders.musdb18 import (
    files as musdb18_files,
)
from data_builders.musdb18 import (
    tracks as musdb18_tracks,
)
from irec_jax import audio
from irec_jax.errors import UserError

VALIDATES = "Actions - One Minute Smile"
TRAINS = "Actions - Devil's Words"
TESTS = "PR - Oh No"


def tracks_of(builder, split):
    """Return streams by track, with segments joined in index order, and errata by track."""
    source, names = builder.as_data_source(split), builder.info.features["stem"]
    rows = builder.index(split)
    assert len(rows) == len(source)
    tracks, errata = {}, {}
    for row, example in zip(rows, source, strict=True):
        streams = tracks.setdefault(row["track"], {})
        parts = streams.setdefault(row["stem"], [])
        assert example["track"].decode() == row["track"]
        assert names.int2str(int(example["stem"])) == row["stem"]
        assert example["id"].decode() == f"{row['track']}/{row['stem']}/{row['segment']}"
        assert example["segment"] == row["segment"] == len(parts)
        assert example["start_s"] == 6.0 * row["segment"]
        assert len(example["audio"]) == row["num_samples"] <= 6 * RATE
        assert example["errata"].decode() == row["errata"]
        errata[row["track"]] = row["errata"]
        parts.append(example["audio"])
    joined = {
        track: {stream: np.concatenate(parts) for stream, parts in streams.items()}
        for track, streams in tracks.items()
    }
    return joined, errata


def build(tmp_path, path, **options):
    return data_builders.prepare("musdb18", data_dir=tmp_path / "data", path=path, **options)


def assert_same(actual, expected):
    assert list(actual) == list(STREAMS)
    for stream in STREAMS:
        np.testing.assert_array_equal(actual[stream], expected[stream], err_msg=stream)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Write both layouts, with a few tracks of MUSDB18 and a user track."""
    root = tmp_path_factory.mktemp("part of musdb18")
    for name, folder, picture in [
        (VALIDATES, "train", True),
        (TESTS, "test", False),
        ("Eigene - Lieder für Öäü", "test", True),
    ]:
        path = root / folder / f"{name}.stem.mp4"
        write_stem_file(path, stems(name).values(), picture=picture)
    write_folder(root / "train" / TRAINS, stems(TRAINS, seconds=12.5))
    (root / "train" / TRAINS / "accompaniment.wav").write_bytes(b"is not read")
    (root / "train" / "._junk.stem.mp4").write_bytes(b"junk")
    (root / "README.md").write_text("Read me.")
    return root


def test_subsets_in_both_layouts_are_read(tmp_path, part, capsys):
    builder = build(tmp_path, part)
    out, err = capsys.readouterr()
    counts = (
        "musdb18: 1 of 86 training, 1 of 14 validation, 1 of 50 test tracks, and 1 not in MUSDB18\n"
    )
    assert counts in err
    assert "15 train, 5 validation, 10 test segments" in out
    assert set(builder.info.splits) == {"train", "validation", "test"}

    train, errata = tracks_of(builder, "train")
    assert errata == {TRAINS: ""}
    assert_same(train[TRAINS], stems(TRAINS, seconds=12.5))
    assert [r["num_samples"] for r in builder.index("train")[:3]] == [264_600, 264_600, 22_050]

    validation, errata = tracks_of(builder, "validation")
    assert errata == {VALIDATES: ""}
    path = part / "train" / f"{VALIDATES}.stem.mp4"
    assert_same(validation[VALIDATES], {s: decoded(path, i) for i, s in enumerate(STREAMS)})

    test, errata = tracks_of(builder, "test")
    assert list(test) == ["Eigene - Lieder für Öäü", TESTS]
    assert errata["Eigene - Lieder für Öäü"] == ""
    assert errata[TESTS] == "the left channel of the mixture is not the sum of the stems"


def test_streams_are_decoded_as_by_ffmpeg(part):
    path = part / "train" / f"{VALIDATES}.stem.mp4"
    assert audio.info(path).num_streams == 5
    for number in range(5):
        samples, rate = audio.read(path, stream=number)
        assert rate == RATE
        np.testing.assert_array_equal(audio.to_int16(samples), decoded(path, number))
    # Decoding adds no delay, so that stems and mixture stay aligned.
    for number, original in enumerate(stems(VALIDATES).values()):
        samples = decoded(path, number).astype(float)
        middle = original[1_000:-1_000].astype(float)
        errors = {
            shift: np.mean((samples[1_000 + shift :][: len(middle)] - middle) ** 2)
            for shift in range(-50, 51)
        }
        assert min(errors, key=errors.get) == 0
        assert errors[0] < 0.02 * np.mean(middle**2)
    with pytest.raises(UserError, match="has no audio stream 5: it contains 5 audio streams,"):
        audio.read(path, stream=5)
    with pytest.raises(UserError, match="mixture.wav: has no audio stream 1: it contains 1 audio "):
        audio.info(part / "train" / TRAINS / "mixture.wav", stream=1)


def test_stem_files_in_a_zip_are_read(tmp_path, part):
    path = part / "train" / f"{VALIDATES}.stem.mp4"
    with zipfile.ZipFile(tmp_path / "some.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, f"train/{VALIDATES}.stem.mp4")
    files = archives.files_in_zip(tmp_path / "some.zip")
    (track,) = musdb18_files.find_tracks(tmp_path / "some.zip", files)["validation"]
    assert_same(musdb18_audio.decode(track), {s: decoded(path, i) for i, s in enumerate(STREAMS)})


def test_tracks_in_a_single_folder_are_split_by_name(tmp_path):
    for name in (VALIDATES, TESTS, "Jokers Jacks & Kings - Sea Of Leaves", "Mine"):
        write_folder(tmp_path / "tracks" / name, stems(name, seconds=0.01))
    builder = build(tmp_path, tmp_path / "tracks")
    names = {split: list(tracks_of(builder, split)[0]) for split in builder.info.splits}
    assert names == {
        "train": ["Jokers Jacks & Kings - Sea Of Leaves", "Mine"],
        "validation": [VALIDATES],
        "test": [TESTS],
    }


def test_single_track_and_a_folder_that_is_a_split(tmp_path):
    write_folder(tmp_path / "Test" / "Song", stems("a", seconds=0.01))
    builder = build(tmp_path, tmp_path / "Test" / "Song")
    assert list(tracks_of(builder, "train")[0]) == ["Song"]
    builder = build(tmp_path, tmp_path / "Test")
    assert set(builder.info.splits) == {"test"}


def test_one_channel_other_sample_rates_and_padding(tmp_path):
    arrays = stems("odd", seconds=0.2)
    arrays["bass"] = arrays["bass"][:, :1]
    arrays["other"] = arrays["other"][:-50]
    write_folder(tmp_path / "in" / "Odd", arrays)
    slow = stems("48", seconds=0.2, rate=48_000)["drums"]
    write_folder(tmp_path / "in" / "Odd", {"drums": slow}, rate=48_000)

    tracks, _ = tracks_of(build(tmp_path, tmp_path / "in"), "train")
    num_samples = len(arrays["other"])
    assert {len(samples) for samples in tracks["Odd"].values()} == {num_samples}
    np.testing.assert_array_equal(tracks["Odd"]["other"], arrays["other"])
    np.testing.assert_array_equal(
        tracks["Odd"]["bass"], np.repeat(arrays["bass"][:num_samples], 2, axis=1)
    )
    expected = soxr.resample(slow.astype(np.float32), 48_000, RATE, quality="HQ")[:num_samples]
    np.testing.assert_allclose(tracks["Odd"]["drums"], expected, atol=2)


def test_stem_files_of_one_channel_and_another_rate(tmp_path):
    arrays = stems("mono", channels=1, rate=32_000)
    path = tmp_path / "in" / "Mono.stem.mp4"
    write_stem_file(path, arrays.values(), rate=32_000)
    tracks, errata = tracks_of(build(tmp_path, tmp_path / "in"), "train")
    assert errata == {"Mono": ""}
    for number, stream in enumerate(STREAMS):
        samples = tracks["Mono"][stream]
        np.testing.assert_array_equal(samples[:, 0], samples[:, 1])
        original = decoded(path, number).astype(np.float32)
        expected = soxr.resample(original, 32_000, RATE, quality="HQ")[:, 0]
        assert abs(len(samples) - len(expected)) <= 1
        np.testing.assert_allclose(samples[: len(expected), 0], expected[: len(samples)], atol=2)


def test_peaks_beyond_full_scale_scale_all_streams_equally(tmp_path):
    arrays = {s: x / 32_768 for s, x in stems("loud", seconds=0.1).items()}
    gain = 1.6 / np.abs(arrays["mixture"]).max()
    arrays = {stream: (gain * samples).astype(np.float32) for stream, samples in arrays.items()}
    write_folder(tmp_path / "in" / "Loud", arrays)
    tracks, errata = tracks_of(build(tmp_path, tmp_path / "in"), "train")
    assert errata == {"Loud": ""}
    for stream, samples in arrays.items():
        np.testing.assert_allclose(
            tracks["Loud"][stream] / 32_768, samples / 1.6, atol=2 / 32_768, err_msg=stream
        )


def test_mixture_that_is_not_the_sum_is_flagged(tmp_path):
    arrays = stems(TESTS, seconds=0.1)
    arrays["mixture"] = arrays["mixture"] - arrays["vocals"]
    write_folder(tmp_path / "in" / TESTS, arrays)
    _, errata = tracks_of(build(tmp_path, tmp_path / "in"), "test")
    energy = {s: np.sum(x.astype(float) ** 2) for s, x in arrays.items()}
    snr_db = 10 * np.log10(energy["mixture"] / energy["vocals"])
    published_erratum = "the left channel of the mixture is not the sum of the stems"
    assert errata[TESTS] == (
        f"{published_erratum}; mixture differs from the sum of the stems (SNR {snr_db:.1f} dB)"
    )


def test_snr_of_loud_and_silent_tracks():
    loud = np.full((2_000_000, 2), 32_767, np.int16)  # their sum exceeds int16
    streams = dict.fromkeys(STREAMS, loud)
    assert musdb18_audio.mixture_snr_db(streams) == pytest.approx(20 * np.log10(1 / 3))
    silent = dict.fromkeys(STREAMS, np.zeros((10, 2), np.int16))
    assert musdb18_audio.mixture_snr_db(silent) == np.inf
    assert musdb18_audio.mixture_snr_db(silent | {"bass": loud[:10]}) == -np.inf


def test_changed_files_are_prepared_again(tmp_path):
    write_folder(tmp_path / "in" / "Song", stems("a", seconds=0.02))
    first = build(tmp_path, tmp_path / "in")
    assert build(tmp_path, tmp_path / "in").data_dir == first.data_dir
    write_folder(tmp_path / "in" / "Song", stems("b", seconds=0.03))
    second = build(tmp_path, tmp_path / "in")
    assert second.data_dir != first.data_dir
    assert_same(tracks_of(second, "train")[0]["Song"], stems("b", seconds=0.03))


def test_official_tracks():
    sizes = {split: len(names) for split, names in musdb18_tracks.OFFICIAL.items()}
    assert sizes == {"train": 86, "validation": 14, "test": 50}
    for split, names in musdb18_tracks.OFFICIAL.items():
        assert {musdb18_tracks.official_split(name) for name in names} == {split}
    assert musdb18_tracks.official_split("Little Chicago_s Finest - My Own") == "test"
    assert musdb18_tracks.official_split("Mine") is None
    official = [name for names in musdb18_tracks.OFFICIAL.values() for name in names]
    assert sum(musdb18_tracks.errata(name) != "" for name in official) == 8


# Invalid input


def missing_stream(root):
    write_stem_file(root / "train/A.stem.mp4", list(stems("a").values())[:4])


def different_lengths(root):
    arrays = stems("a")
    arrays["bass"] = arrays["bass"][: len(arrays["bass"]) // 2]
    write_folder(root / "train/A", arrays)


def different_lengths_in_a_file(root):
    arrays = stems("a")
    arrays["drums"] = arrays["drums"][: len(arrays["drums"]) // 2]
    write_stem_file(root / "train/A.stem.mp4", arrays.values())


def lacks_files(root):
    arrays = stems("a")
    write_folder(root / "train/A", {s: arrays[s] for s in ("mixture", "bass", "vocals")})


def other_names(root):
    write_folder(root / "train/A", {"snare": stems("a")["drums"]})


def without_suffix(root):
    write_stem_file(root / "A.mp4", stems("a").values())


def twice(root):
    write_folder(root / "test/A", stems("a"))
    write_stem_file(root / "train/A.stem.mp4", stems("a").values())


def two_drums(root):
    write_folder(root / "A", stems("a"))
    shutil.copy(root / "A/drums.wav", root / "A/drums.flac")


def cut_stem_file(root):
    write_stem_file(root / "A.stem.mp4", stems("a").values())
    os.truncate(root / "A.stem.mp4", (root / "A.stem.mp4").stat().st_size // 2)


def cut_wav_file(root):
    write_folder(root / "A", stems("a"))
    os.truncate(root / "A/vocals.wav", 9_000)


def no_samples(root):
    write_folder(root / "A", {s: x[:0] for s, x in stems("a").items()})


def empty_file(root):
    (root / "A.stem.mp4").write_bytes(b"")


def nothing(root):
    (root / "train/A").mkdir(parents=True)
    (root / "README.md").write_text("Read me.")


@pytest.mark.parametrize(
    "make, message",
    [
        (missing_stream, r"in/train/A.stem.mp4: has 4 audio streams, expected 5 \(mixture, drums"),
        (different_lengths, r"in/train/A: bass lasts 0.15 s, but mixture lasts 0.30 s; export all"),
        (
            different_lengths_in_a_file,
            r"in/train/A.stem.mp4: drums lasts 0.1\d s, but \w+ lasts 0.3\d s",
        ),
        (lacks_files, r"in/train/A: missing drums.wav, other.wav; add"),
        (other_names, r"in/train/A/snare.wav: not a stream of a track; expected <track>.stem.mp4"),
        (without_suffix, r"in/A.mp4: not a stream of a track; expected <track>.stem.mp4"),
        (twice, r"in/t.*A.*: is the same track as .*in/t.*A.*; remove one"),
        (two_drums, r"in/A/drums.(wav|flac): is the same stream as drums.(wav|flac); remove one"),
        (cut_stem_file, r"in/A.stem.mp4: not an audio file, or truncated"),
        (cut_wav_file, r"in/A/vocals.wav: truncated"),
        (no_samples, r"in/A/mixture.wav: contains no samples"),
        (empty_file, r"in/A.stem.mp4: is empty"),
        (nothing, r"in: no tracks; expected <track>.stem.mp4 or <track>/\{mixture,drums"),
    ],
)
def test_invalid_input_is_reported_in_one_line(tmp_path, make, message):
    (tmp_path / "in").mkdir()
    make(tmp_path / "in")
    with pytest.raises(UserError, match=message) as error:
        build(tmp_path, tmp_path / "in")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("data/musdb18/*/1.*"))  # no folder of a complete dataset


def test_damaged_audio_leaves_no_dataset(tmp_path):
    root = tmp_path / "in"
    write_folder(root / "A", stems("a"))
    with_nan = {s: x / np.float32(32_768) for s, x in stems("b").items()}
    with_nan["other"][100] = np.nan
    write_folder(root / "B", with_nan)
    with pytest.raises(UserError, match="in/B/other.wav: contains NaN or infinite samples"):
        build(tmp_path, root)
    assert not list(tmp_path.glob("data/musdb18/*/1.*"))


def test_long_tracks_and_missing_folders_are_rejected(tmp_path, monkeypatch):
    write_folder(tmp_path / "in" / "A", stems("a"))
    monkeypatch.setattr(musdb18_audio, "MAX_TRACK_S", 0.25)
    with pytest.raises(UserError, match=r"in/A: longer than \S+ minutes; split the track"):
        build(tmp_path, tmp_path / "in")
    with pytest.raises(UserError, match="nowhere: no such folder; set path to a folder that has"):
        build(tmp_path, tmp_path / "nowhere")
    with pytest.raises(UserError, match="unknown format 'flac'"):
        data_builders.builder("musdb18", data_dir=tmp_path, format="flac")


# The full dataset


@pytest.fixture(scope="module")
def full_dataset(tmp_path_factory):
    """Write all 150 tracks with a few samples each, unpacked and as musdb18hq.zip."""
    root = tmp_path_factory.mktemp("full")
    arrays = stems("any", seconds=0.002)
    write_folder(root / "any", arrays)
    with zipfile.ZipFile(root / "musdb18hq.zip", "w") as archive:
        for split, names in musdb18_tracks.OFFICIAL.items():
            folder = "test" if split == "test" else "train"
            for name in names:
                (root / "musdb18hq" / folder / name).mkdir(parents=True)
                for stream in STREAMS:
                    inside = f"{folder}/{name}/{stream}.wav"
                    archive.write(root / "any" / f"{stream}.wav", inside)
                    os.link(root / "any" / f"{stream}.wav", root / "musdb18hq" / inside)
    return root, arrays


@pytest.fixture
def edition(full_dataset, monkeypatch):
    """Replace MUSDB18-HQ by the small copy."""
    md5 = hashlib.md5((full_dataset[0] / "musdb18hq.zip").read_bytes()).hexdigest()
    small = musdb18.EDITIONS["hq"]._replace(md5=md5, url="http://127.0.0.1:9/musdb18hq.zip")
    monkeypatch.setitem(musdb18.EDITIONS, "hq", small)
    return small


@pytest.mark.parametrize("source", ["zip", "unpacked"])
def test_full_dataset_is_read(tmp_path, full_dataset, edition, source):
    manual = tmp_path / "manual"
    manual.mkdir()
    name = {"zip": "musdb18hq.zip", "unpacked": "musdb18hq"}[source]
    os.symlink(full_dataset[0] / name, manual / name)
    builder = data_builders.prepare(
        "musdb18", format="hq", data_dir=tmp_path / "data", manual_dir=manual
    )
    assert builder.builder_config.name == "musdb18hq"
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert counts == {"train": 430, "validation": 70, "test": 250}
    tracks, _ = tracks_of(builder, "validation")
    assert sorted(tracks) == sorted(musdb18_tracks.OFFICIAL["validation"])
    assert_same(tracks[VALIDATES], full_dataset[1])


def test_full_dataset_is_downloaded(tmp_path, full_dataset, edition, monkeypatch):
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(full_dataset[0])
    )
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *a: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/musdb18hq.zip"
        monkeypatch.setitem(musdb18.EDITIONS, "hq", edition._replace(url=url))
        builder = data_builders.prepare("musdb18", format="hq", data_dir=tmp_path / "data")
        server.shutdown()
    assert builder.info.splits["test"].num_examples == 250


def test_incomplete_datasets_are_rejected(tmp_path, full_dataset, edition):
    def prepare(manual):
        data_builders.prepare("musdb18", format="hq", data_dir=tmp_path / "data", manual_dir=manual)

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "musdb18.zip").write_bytes(b"another one")
    with pytest.raises(
        UserError, match="other: contains neither musdb18hq.zip nor the train folder"
    ):
        prepare(tmp_path / "other")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "musdb18hq.zip").write_bytes(b"too short")
    with pytest.raises(UserError, match="musdb18hq.zip: wrong MD5 sum .* download it again"):
        prepare(tmp_path / "cut")
    (tmp_path / "some").mkdir()
    os.symlink(full_dataset[0] / "musdb18hq" / "train", tmp_path / "some" / "train")
    message = (
        "some: contains only 86 of 86 training, 14 of 14 validation, 0 of 50 test tracks; unpack"
    )
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "some")
