"""multitrack builder: piece folders, and the PHENICX-Anechoic layout."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import data_builders
from data_builders.common import archives
from data_builders.multitrack import (
    audio as multitrack_audio,
)
from data_builders.multitrack import (
    builder as multitrack,
)
from data_builders.multitrack import (
    files as multitrack_files,
)
from irec_jax import data
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.labels import ORCHESTRA

RATE = 44_100
URL = "https://zenodo.org/record/840025/files/PHENICX-Anechoic.zip"


def int16(samples):
    return np.clip(np.rint(np.asarray(samples) * 32_768), -32_768, 32_767) / 32_768


def noise(name, seconds=0.5, channels=1, rate=RATE, level=0.1):
    """Return samples (T, C) that are exactly representable in 16 bits."""
    rng = np.random.default_rng(list(str(name).encode()))
    return int16(level * rng.standard_normal((round(seconds * rate), channels)))


def write(path, samples=None, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = noise(path.stem) if samples is None else samples
    if not options:
        samples = (32_768 * samples).astype(np.int16)
    soundfile.write(path, samples, rate, **options)


@pytest.fixture
def recordings(tmp_path):
    """Write five pieces with the irregularities of real folders, in train and test."""
    root = tmp_path / "recordings"
    write(root / "train/One/mix.wav", noise("mix", channels=2))
    write(root / "train/One/violin.wav")
    write(root / "train/One/Violin-2.WAV", noise("second", channels=2))
    write(root / "train/One/Cello.flac")
    write(root / "train/Zwölf Stücke [live]/Mix.flac", noise("mono mix"))
    write(root / "train/Zwölf Stücke [live]/French Horn 1.wav")
    write(root / "train/Zwölf Stücke [live]/french_horn-2.wav")
    write(root / "train/Zwölf Stücke [live]/02 - Contrabass.wav", rate=48_000)
    write(root / "test/Three/mix.wav", noise("3"))
    write(root / "test/Three/Violins II.ogg")
    write(root / "test/Three/pianos.wav")
    (root / "test/Three/.DS_Store").write_bytes(b"junk")
    (root / "test/Three/._pianos.wav").write_bytes(b"junk")
    (root / "test/Three/notes.txt").write_text("Bar 12: page turn.")
    (root / ".hidden").mkdir()
    (root / "__MACOSX").mkdir()
    # At 48 kHz, the same number of samples lasts less than at 44.1 kHz.
    path = root / "train/Zwölf Stücke [live]/02 - Contrabass.wav"
    write(path, noise("bass", rate=48_000), 48_000)
    return root


def load(split, tmp_path, **options):
    return data.load_pieces("multitrack", split, data_dir=str(tmp_path / "data"), **options)


# Names


@pytest.mark.parametrize(
    "stem, track",
    [
        ("violin", "violin"),
        ("Violin-2", "violin-2"),
        ("violin2", "violin-2"),
        ("Violins II", "violin-2"),
        ("Violin_i", "violin-1"),
        ("violin-02", "violin-2"),
        ("French Horn", "french_horn"),
        ("french_horn-2", "french_horn-2"),
        ("FrenchHorn 10", "french_horn-10"),
        ("horn1", "french_horn-1"),
        ("cello", "violoncello"),
        ("Celli", None),
        ("contrabass", "double_bass"),
        ("bass", "double_bass"),
        ("Basses", None),
        ("doublebass3", "double_bass-3"),
        ("double  bass", "double_bass"),
        ("01_Oboe", "oboe"),
        ("03 - Violin 1", "violin-1"),
        ("banjo", None),
        ("12", None),
        ("mixdown", None),
    ],
)
def test_instruments_are_recognised_by_file_name(stem, track):
    names = multitrack_files.read_name(stem, ORCHESTRA)
    assert (names[0] if names else None) == track
    assert names is None or names[1] == track.partition("-")[0]


def test_file_names_with_user_defined_classes():
    read = multitrack_files.read_name
    assert read("Lead Guitar 2", ("lead guitar", "bass")) == ("lead guitar-2", "lead guitar")
    assert read("Bass", ("lead guitar", "bass")) == ("bass", "bass")
    assert read("cello", ("bass",)) is None
    assert read("Bass", None) == ("bass", "bass")
    assert read("Hi-Hat 3", None) == ("hi_hat-3", "hi_hat")
    assert read("808", None) == ("808", "808")


# Folders


def test_pieces_are_read_from_all_formats(tmp_path, recordings, capfd):
    train = load("train", tmp_path, path=recordings)
    out, err = capfd.readouterr()
    assert "2 train, 1 test segments" in out and "no mix" not in err
    assert train.names == ("One", "Zwölf Stücke [live]")
    assert train.num_tracks == (3, 3) and train.num_samples == (22_050, 22_050)
    assert train.classes == ORCHESTRA and not train.rendered
    first, second = train
    assert first.tracks == ("violin", "violin-2", "violoncello")
    assert first.instruments == ("violin", "violin", "violoncello")
    assert first.stems is None and first.mixing is None and first.max_crosstalk_db is None
    assert train.note_activity(0, frame_length=1024) is None
    np.testing.assert_array_equal(first.mix, noise("mix", channels=2))
    expected = [noise("violin")[:, 0], noise("second", channels=2).mean(axis=1)]
    np.testing.assert_allclose(first.spots[:2], expected, atol=1.01 / 32_768)
    assert second.tracks == ("double_bass", "french_horn-1", "french_horn-2")
    np.testing.assert_array_equal(second.mix[:, 0], second.mix[:, 1])
    np.testing.assert_array_equal(second.mix[:, 0], noise("mono mix")[:, 0])
    resampled = soxr.resample(noise("bass", rate=48_000)[:, 0], 48_000, RATE)
    np.testing.assert_allclose(second.spots[0], resampled, atol=1.5 / 32_768)
    (test_piece,) = load("test", tmp_path, path=recordings)
    assert test_piece.tracks == ("piano", "violin-2")
    assert len(load("all", tmp_path, path=recordings)) == 3


def test_pieces_are_divided_into_segments_and_joined(tmp_path, recordings, monkeypatch):
    expected = load("all", tmp_path / "expected", path=recordings)
    monkeypatch.setattr(multitrack_audio, "SEGMENT_S", 0.2)
    monkeypatch.setattr(
        multitrack_audio.audio, "blocks", _with_integer_block_samples(multitrack_audio.audio.blocks)
    )
    divided = load("all", tmp_path / "short", path=recordings)
    builder = data_builders.builder("multitrack", data_dir=tmp_path / "short/data", path=recordings)
    rows = builder.index("train")
    assert [row["num_samples"] for row in rows] == [8820, 8820, 4410] * 2
    starts = [float(segment["start_s"]) for segment in builder.as_data_source("train")]
    np.testing.assert_allclose(starts, [0, 0.2, 0.4] * 2)
    ids = [segment["id"].decode() for segment in builder.as_data_source("train")]
    assert ids[:3] == ["One-0", "One-1", "One-2"]
    assert divided.num_samples == expected.num_samples
    for first, second in zip(expected, divided, strict=True):
        np.testing.assert_array_equal(first.mix, second.mix)
        np.testing.assert_array_equal(first.spots, second.spots)


def _with_integer_block_samples(blocks):
    return lambda *args, block_samples, **options: blocks(
        *args, block_samples=int(block_samples), **options
    )


def test_missing_mix_is_the_sum_of_the_tracks(tmp_path, recordings, capfd):
    (recordings / "test/Three/mix.wav").unlink()
    (piece,) = load("test", tmp_path, path=recordings)
    err = capfd.readouterr().err
    assert "no mix in 1 of 3 pieces (Three); using the sum of the tracks" in err
    total = piece.spots.sum(axis=0)
    np.testing.assert_allclose(piece.mix[:, 0], total / np.abs(total).max(), atol=1e-3)
    np.testing.assert_array_equal(piece.mix[:, 0], piece.mix[:, 1])


def test_peaks_beyond_full_scale_keep_the_balance(tmp_path):
    loud, soft = noise("loud", level=0.5), noise("soft")
    loud[5] = 2.0
    write(tmp_path / "r/A/violin.wav", np.clip(loud, -2, 2), subtype="FLOAT")
    write(tmp_path / "r/A/viola.wav", soft, subtype="FLOAT")
    write(tmp_path / "r/A/mix.wav", noise("m"))
    (piece,) = load("test", tmp_path, path=tmp_path / "r")
    np.testing.assert_allclose(piece.spots, np.stack([soft, loud])[..., 0] / 2, atol=4e-5)
    np.testing.assert_array_equal(piece.mix[:, 0], noise("m")[:, 0])


def test_track_whose_channels_cancel_is_its_loudest_channel(tmp_path):
    channel = noise("violin")
    pair = np.concatenate([0.9 * channel, -channel], axis=1)
    write(tmp_path / "r/A/violin.wav", pair)
    write(tmp_path / "r/A/viola.wav", noise("viola"))
    write(tmp_path / "r/A/mix.wav", noise("m"))
    (piece,) = load("test", tmp_path, path=tmp_path / "r")
    expected = np.stack([noise("viola"), -channel])[..., 0]
    np.testing.assert_allclose(piece.spots, expected, atol=4e-5)


def test_pieces_are_resampled_to_48_khz(tmp_path, recordings):
    (piece,) = load("test", tmp_path, path=recordings, format="multitrack48k")
    assert piece.sample_rate_hz == 48_000 and piece.mix.shape == (24_000, 2)
    resampled = soxr.resample(noise("pianos")[:, 0], RATE, 48_000)
    np.testing.assert_allclose(piece.spots[0], resampled, atol=1.5 / 32_768)


def test_small_differences_in_length_are_padded_with_silence(tmp_path, recordings):
    write(recordings / "test/Three/viola.wav", noise("viola", 0.45))
    (piece,) = load("test", tmp_path, path=recordings)
    viola = piece.spots[piece.tracks.index("viola")]
    assert piece.mix.shape == (22_050, 2) and not viola[round(0.45 * RATE) :].any()
    assert viola[: round(0.45 * RATE)].any()


def test_split_by_the_names_of_pieces(tmp_path):
    for i in range(10):
        write(tmp_path / f"r/Piece {i}/violin.wav", noise(i, 0.01))
        write(tmp_path / f"r/Piece {i}/mix.wav", noise(i, 0.01))
    train, test = (load(split, tmp_path, path=tmp_path / "r") for split in ("train", "test"))
    assert (len(train), len(test)) == (8, 2) and not set(train.names) & set(test.names)
    order = sorted(train.names + test.names, key=lambda n: hashlib.sha256(n.encode()).digest())
    assert set(test.names) == set(order[:2])
    for name in order[1:]:
        shutil.rmtree(tmp_path / "r" / name)
    assert load("test", tmp_path, path=tmp_path / "r").names == (order[0],)
    with pytest.raises(UserError, match="has no 'train' split; choose test or all"):
        load("train", tmp_path, path=tmp_path / "r")


def test_classes_of_unknown_instruments(tmp_path, recordings):
    write(recordings / "test/Three/Banjo.wav", noise("b"))
    with pytest.raises(UserError) as error:
        load("test", tmp_path, path=recordings)
    message = str(error.value)
    assert "Three/Banjo.wav: unknown instrument 'Banjo'" in message and "\n" not in message
    assert "or set the classes option" in message
    pieces = load("test", tmp_path, path=recordings, classes="all")
    expected = "banjo cello contrabass french_horn pianos violin violins".split()
    assert pieces.classes == tuple(expected)
    with_banjo = load("test", tmp_path, path=recordings, classes=",".join([*ORCHESTRA, "banjo"]))
    assert with_banjo.classes[-1] == "banjo" and with_banjo[0].tracks == (
        "piano",
        "violin-2",
        "banjo",
    )


def test_changed_files_are_prepared_again(tmp_path, recordings):
    first = data_builders.builder("multitrack", data_dir=tmp_path, path=recordings)
    unchanged = data_builders.builder("multitrack", data_dir=tmp_path, path=recordings)
    assert first.data_dir == unchanged.data_dir and "recordings-multitrack44k-" in str(
        first.data_dir
    )
    write(recordings / "test/Three/pianos.wav", noise("other", 0.49))
    changed = data_builders.builder("multitrack", data_dir=tmp_path, path=recordings)
    assert changed.data_dir != first.data_dir


def add_longer_track(root):
    write(root / "test/Three/viola.wav", noise("viola", 0.9))


def add_same_name(root):
    write(root / "train/One/violoncello.wav")


def add_second_mix(root):
    write(root / "train/One/mixture.wav")


def add_piece_without_tracks(root):
    write(root / "test/Four/mix.wav")


def add_empty_piece(root):
    (root / "test/Four").mkdir()


def copy_piece_to_train(root):
    shutil.copytree(root / "test/Three", root / "train/Three")


def add_folder_next_to_splits(root):
    write(root / "Five/violin.wav")


def truncate_track(root):
    path = root / "train/One/violin.wav"
    path.write_bytes(path.read_bytes()[:9_000])


def add_invalid_track(root):
    (root / "train/One/viola.wav").write_text("not audio at all")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            add_longer_track,
            "lasts 0.50 s, but viola.wav lasts 0.90 s; export all of them with the same start and",
        ),
        (
            add_same_name,
            "One: violoncello.wav and Cello.flac are both violoncello; number them, as ",
        ),
        (add_second_mix, "One: mixture.wav and mix.wav are both mixes; remove one"),
        (add_piece_without_tracks, "Four: no tracks; expected <instrument>[-N].wav"),
        (add_empty_piece, "Four: no files; expected <instrument>[-N].wav"),
        (copy_piece_to_train, "piece 'Three' is in both train and test; remove one"),
        (add_folder_next_to_splits, "Five: unexpected folder next to train and test"),
        (truncate_track, "violin.wav: truncated"),
        (add_invalid_track, "viola.wav: not an audio file"),
    ],
)
def test_errors_are_reported_in_one_line_and_leave_no_dataset(tmp_path, recordings, spoil, message):
    spoil(recordings)
    with pytest.raises(UserError) as error:
        load("train", tmp_path, path=recordings)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.rglob("dataset_info.json"))


def test_lengths_missing_from_headers_are_checked_while_reading(tmp_path, recordings, monkeypatch):
    add_longer_track(recordings)
    info = multitrack_audio.audio.info
    monkeypatch.setattr(
        multitrack_audio.audio, "info", lambda file: info(file)._replace(num_samples=None)
    )
    with pytest.raises(UserError, match="lasts 0.50 s, but viola.wav lasts 0.90 s"):
        load("train", tmp_path, path=recordings)


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "multitrack: no path given; set path to a folder"),
        ({"path": "/nowhere"}, "/nowhere: no such folder"),
        ({"path": "EMPTY"}, "no piece folders"),
        ({"path": "EMPTY", "classes": " , "}, "classes: empty list"),
        ({"layout": "phenix"}, "unknown layout 'phenix': did you mean 'phenicx'?"),
        ({"layout": "phenicx", "path": "x"}, "layout=phenicx: conflicts with path"),
        ({"path": "EMPTY", "format": "mono22k"}, "unknown format 'mono22k'"),
    ],
)
def test_invalid_options_are_rejected(tmp_path, options, message):
    options = {k: str(tmp_path) if v == "EMPTY" else v for k, v in options.items()}
    with pytest.raises(UserError) as error:
        data_builders.builder("multitrack", data_dir=tmp_path / "data", **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_command_builds_the_dataset(tmp_path, recordings, capfd):
    from irec_jax import cli

    words = ["build", "multitrack", f"--path={recordings}", f"--data_dir={tmp_path / 'data'}"]
    assert run_command(lambda: cli.run(words)) == 0
    out, err = capfd.readouterr()
    assert "2 train, 1 test segments" in out and "multitrack train:" in err


# PHENICX-Anechoic

_PARTS = ("violin1", "violin2", "viola1", "cello1", "doublebass1", "horn1", "horn2", "oboe1")


@pytest.fixture
def phenicx(tmp_path, monkeypatch):
    """Write the unpacked folder and the zip, and set its MD5 sum."""
    root = tmp_path / "unpacked/PHENICX-Anechoic"
    for i, piece in enumerate(multitrack.Multitrack.PHENICX_PIECES):
        for part in _PARTS[: 4 + i]:
            write(root / f"audio/{piece}/{part}.wav", noise(piece + part, 0.1 + 0.1 * i))
            notes = root / f"annotations/{piece}/{part}.txt"
            notes.parent.mkdir(parents=True, exist_ok=True)
            notes.write_text("0.1,0.2,A4\n")
    (root / "audio/.DS_Store").write_bytes(b"junk")
    archive = tmp_path / "zips/PHENICX-Anechoic.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            file.write(path, path.relative_to(root.parent))
        file.writestr("__MACOSX/PHENICX-Anechoic/audio/mozart/._oboe1.wav", b"junk")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(multitrack.Multitrack, "MD5", md5)
    return tmp_path


@pytest.mark.parametrize("manual", ["zips", "unpacked", "unpacked/PHENICX-Anechoic"])
def test_phenicx_is_read(phenicx, capfd, manual):
    pieces = load("all", phenicx, layout="phenicx", manual_dir=str(phenicx / manual))
    assert "no mix in 4 of 4 pieces" in capfd.readouterr().err
    assert set(pieces.names) == set(multitrack.Multitrack.PHENICX_PIECES)
    by_name = {piece.name: piece for piece in pieces}
    mozart = by_name["mozart"]
    assert mozart.tracks == (
        *("double_bass-1", "french_horn-1", "french_horn-2"),
        *("viola-1", "violin-1", "violin-2", "violoncello-1"),
    )
    assert mozart.spots is None and mozart.stems.shape == (7, round(0.4 * RATE))
    np.testing.assert_array_equal(mozart.stems[2], noise("mozarthorn2", 0.4)[:, 0])
    total = mozart.stems.sum(axis=0)
    np.testing.assert_allclose(mozart.mix[:, 1], total / np.abs(total).max(), atol=1e-3)
    train = load("train", phenicx, layout="phenicx", manual_dir=str(phenicx / manual))
    assert len(train) == 3


def test_phenicx_is_downloaded(phenicx, monkeypatch):
    downloads = []

    def fetch(url, path, md5):
        downloads.append((url, md5))
        path.parent.mkdir(parents=True)
        return shutil.copy(phenicx / "zips/PHENICX-Anechoic.zip", path)

    monkeypatch.setattr(archives, "fetch", fetch)
    assert len(load("all", phenicx, layout="phenicx")) == 4
    assert downloads == [(URL, multitrack.Multitrack.MD5)]


def test_damaged_phenicx_is_rejected(phenicx, monkeypatch):
    options = dict(layout="phenicx", data_dir=phenicx / "data")
    (phenicx / "other").mkdir()
    (phenicx / "other/readme.txt").write_text("x")
    with pytest.raises(
        UserError, match="other: contains neither PHENICX-Anechoic.zip nor the audio folder"
    ):
        data_builders.prepare("multitrack", manual_dir=phenicx / "other", **options)
    monkeypatch.setattr(multitrack.Multitrack, "MD5", "0" * 32)
    with pytest.raises(UserError, match="wrong MD5 sum"):
        data_builders.prepare("multitrack", manual_dir=phenicx / "zips", **options)
    shutil.rmtree(phenicx / "unpacked/PHENICX-Anechoic/audio/mozart")
    with pytest.raises(UserError, match="missing audio/mozart; download PHENICX"):
        data_builders.prepare("multitrack", manual_dir=phenicx / "unpacked", **options)


def test_md5_sum_of_phenicx():
    # As published at zenodo.org/record/840025.
    assert multitrack.Multitrack.MD5 == "7fec47568263476ecac0103aef608629"
    assert multitrack._URL == URL and multitrack.find_or_fetch is archives.find_or_fetch
    assert Path(URL).stem == "PHENICX-Anechoic"
