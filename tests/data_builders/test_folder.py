"""Folder builder: layouts and input errors."""

import os

import numpy as np
import pytest
from folder_fixture import check_error, prepare, read, write

import data_builders
from data_builders.folder.split import choose_test_songs
from irec_jax import audio
from irec_jax.data import dataset


@pytest.fixture
def sounds(tmp_path):
    """Write three classes with five, two and one files."""
    for i in range(5):
        write(tmp_path / "sounds" / "bell" / "deep" / f"{i}.wav")
    write(tmp_path / "sounds" / "Gong [é]" / "a.FLAC")
    write(tmp_path / "sounds" / "Gong [é]" / "b.ogg", num_channels=2, rate_hz=44_100)
    write(tmp_path / "sounds" / "drum" / "a.mp3", rate_hz=48_000, seconds=0.5)
    (tmp_path / "sounds" / "drum" / "notes.txt").write_text("no sound")
    (tmp_path / "sounds" / ".hidden").mkdir()
    return tmp_path / "sounds"


def test_folder_of_classes(tmp_path, sounds):
    builder = prepare(tmp_path, sounds)
    names, splits = read(builder)
    assert names == ["Gong [é]", "bell", "drum"]
    clips = splits["train"] | splits["test"]
    assert len(clips) == 8 and not set(splits["train"]) & set(splits["test"])
    for key, (labels, song) in clips.items():
        assert labels == [key.split("/")[0]] and song == key
    assert "bell/deep/0.wav" in clips
    description = data_builders.describe("folder").test_split(builder)
    assert description == "a fifth of the songs, held out when the data were prepared"
    tested = [labels[0] for labels, _ in splits["test"].values()]
    assert sorted(tested) == ["Gong [é]", "bell"]  # `drum` has only one clip
    for split in splits:
        for clip in builder.as_data_source(split):
            assert clip["audio"].dtype == np.int16 and clip["audio"].shape[1] == 1
            if clip["id"].decode().startswith("bell"):
                samples, _ = audio.read(sounds / clip["id"].decode())
                np.testing.assert_array_equal(clip["audio"], audio.to_int16(samples))


def test_stereo_format_of_files_with_one_two_and_more_channels(tmp_path):
    for i, num_channels in enumerate((1, 2, 5, 2)):
        write(
            tmp_path / "s" / "a" / f"{i}.wav", num_channels=num_channels, rate_hz=44_100, seed=[i]
        )
    builder = prepare(tmp_path, tmp_path / "s", format="stereo44k")
    for split in builder.info.splits:
        for clip in builder.as_data_source(split):
            samples, _ = audio.read(tmp_path / "s" / clip["id"].decode())
            if samples.shape[1] != 2:
                samples = np.repeat(samples.mean(1, keepdims=True), 2, axis=1)
            np.testing.assert_array_equal(clip["audio"], audio.to_int16(samples))


def test_channels_that_cancel_do_not_become_silence(tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "s" / name).mkdir(parents=True)
        for i in range(2):
            channel = rng.uniform(-0.9, 0.9, (3_000, 1)).astype(np.float32)
            pair = np.concatenate([0.9 * channel, -channel], axis=1)
            audio.write(tmp_path / "s" / name / f"{i}.wav", pair, 22_050)
    builder = prepare(tmp_path, tmp_path / "s")
    for split in builder.info.splits:
        for clip in builder.as_data_source(split):
            samples, _ = audio.read(tmp_path / "s" / clip["id"].decode(), mono=False)
            np.testing.assert_array_equal(clip["audio"], audio.to_int16(samples[:, 1:]))
            pair = audio.to_int16(samples)  # of a dataset with two channels
            np.testing.assert_array_equal(dataset._to_mono(pair), pair[:, 1])


def test_float_files_beyond_full_scale_are_scaled_not_clipped(tmp_path):
    loud = 5 * np.sin(np.arange(5_000) / 20).astype(np.float32)[:, None]
    for name in "ab":
        (tmp_path / "s" / name).mkdir(parents=True)
        for i in range(2):
            path = tmp_path / "s" / name / f"{i}.wav"
            audio.write(path, loud[: 5_000 - ord(name) - i], 22_050, subtype="FLOAT")
    builder = prepare(tmp_path, tmp_path / "s")
    clip = builder.as_data_source("train")[0]["audio"]
    expected = loud[: len(clip)] / np.abs(loud).max()
    np.testing.assert_allclose(clip / 32768, expected, atol=1e-4)


def test_user_defined_splits_and_classes(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("test", "b"), ("test", "a")):
        write(tmp_path / "s" / split / name / "x.wav", seed=[*split.encode(), *name.encode()])
    names, splits = read(prepare(tmp_path, tmp_path / "s", classes="b, a"))
    assert names == ["b", "a"]
    assert set(splits["train"]) == {"train/a/x.wav", "train/b/x.wav"}
    assert splits["test"]["test/b/x.wav"] == (["b"], "test/b/x.wav")


def write_csv(tmp_path, text, encoding="utf-8"):
    for i in range(4):
        if not (tmp_path / "s" / "sub" / f"{i},é.wav").exists():
            write(tmp_path / "s" / "sub" / f"{i},é.wav")
    path = tmp_path / "s" / "list.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_csv_file_with_all_columns(tmp_path):
    path = write_csv(
        tmp_path,
        '\ufefffile, labels ,split,song\r\n"sub/0,é.wav",violin;piano,train,Song A\r\n'
        '"sub/1,é.wav", piano|oboe ,test,Song B\r\n\r\n"./sub/2,é.wav",oboe,train,\r\n',
    )
    names, splits = read(prepare(tmp_path, path))
    assert names == ["oboe", "piano", "violin"]
    assert splits["train"] == {
        "sub/0,é.wav": (["piano", "violin"], "Song A"),
        "sub/2,é.wav": (["oboe"], "sub/2,é.wav"),
    }
    assert splits["test"] == {"sub/1,é.wav": (["oboe", "piano"], "Song B")}


def test_csv_file_without_split_keeps_songs_together(tmp_path):
    rows = "".join(f'"sub/{i},é.wav",a,song {i // 2}\n' for i in range(4))
    _, splits = read(prepare(tmp_path, write_csv(tmp_path, f"file,labels,song\n{rows}")))
    assert len(splits["test"]) == len(splits["train"]) == 2
    assert len({song for _, song in splits["test"].values()}) == 1


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "line 1: header ''"),
        ("file;labels\na;b\n", "header 'file;labels'"),
        ("file,label\na,b\n", "header 'file,label'"),
        ("file,labels,songs\na,b,c\n", "songs'; expected file,labels[,split][,song]"),
        ("file,labels\n", "no lines"),
        ('file,labels\n"sub/0,é.wav",a\nsub/9.wav,a\n', "line 3: no such file"),
        ('file,labels\n\n\n"sub/0,é.wav",\n', "line 4: no labels"),
        ("file,labels\n,a\n", "line 2: no file name"),
        ('file,labels,split\n"sub/0,é.wav",a,valid\n', "line 2: unknown split 'valid'"),
        (
            'file,labels\n"sub/0,é.wav",a\n"sub//0,é.wav",b\n',
            "line 3: sub/0,é.wav is also listed in line 2",
        ),
        ("file,labels\nsub/0,é.wav,a\n", "line 2: more columns"),
        ('file,labels,split\n"sub/0,é.wav",a,train\n', "no clips in the 'test' split"),
        ('file,labels\n"sub/0,é.wav",a\n"sub/1,é.wav",b\n', "no class has two songs"),
        ('file,labels\n"sub/0,é.wav",a;x\n', "line 2: unknown class 'x'"),
        ('file,labels\n"sub/0,é.wav",a\n"sub/1,é.wav",a\n', "class 'b' has no clips"),
    ],
)
def test_errors_in_csv_files_contain_the_line_number(tmp_path, text, expected):
    classes = "a,b" if "class" in expected else None
    if expected.startswith("no class"):
        classes = None
    path = write_csv(tmp_path, text)
    check_error(tmp_path, path, str(path), expected, **({"classes": classes} if classes else {}))
    assert not (tmp_path / "data").exists()


def test_invalid_csv_files_are_rejected(tmp_path):
    check_error(tmp_path, write_csv(tmp_path, "file,labels\né,a\n", "latin-1"), "not a CSV file")
    check_error(tmp_path, write_csv(tmp_path, 'file,labels\n"a,b\n'), "not a CSV file")


def test_invalid_folders_are_rejected(tmp_path, sounds):
    check_error(tmp_path, tmp_path / "nowhere", "nowhere: no such folder")
    check_error(tmp_path, "", "folder: no path given; set path")
    check_error(tmp_path, sounds / "drum" / "notes.txt", "neither a folder nor a CSV")
    check_error(tmp_path, sounds / "drum", "no class folders")
    (tmp_path / "empty").mkdir()
    check_error(tmp_path, tmp_path / "empty", "no class folders")
    check_error(tmp_path, sounds, "drum: unknown class 'drum'", classes="Gong [é],bell")
    check_error(tmp_path, sounds, "class 'horn' has no clips", classes="Gong [é],bell,drum,horn")
    (sounds / "whistle").mkdir()
    check_error(tmp_path, sounds, "whistle: no audio files")
    (sounds / "whistle").rename(sounds / "test")
    check_error(tmp_path, sounds, "unexpected folder next to train and test")


def test_invalid_split_folders_are_rejected(tmp_path):
    root = tmp_path / "s"
    write(root / "train" / "a" / "x.wav")
    check_error(tmp_path, root, "no test folder; add test/<class>/")
    write(root / "test" / "b" / "x.wav")
    check_error(tmp_path, root, "class 'b' is in test but not in train")
    write(root / "validation" / "a" / "x.wav")
    check_error(tmp_path, root, "validation: unexpected folder next to train and test")


def test_unreadable_files_are_reported_and_skipped(tmp_path, sounds, capsys):
    (sounds / "bell" / "empty.wav").touch()
    os.truncate(write(sounds / "bell" / "cut.wav"), 500)
    builder = prepare(tmp_path, sounds)
    _, splits = read(builder)
    assert sum(map(len, splits.values())) == 8
    errors = capsys.readouterr().err
    assert "empty.wav: is empty" in errors and "cut.wav: truncated" in errors
    assert "2 files could not be read" in errors


def test_folder_without_readable_files_is_rejected(tmp_path):
    for i in range(4):
        path = tmp_path / "s" / "a" / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no sound")
    check_error(tmp_path, tmp_path / "s", "the 'train' split has no examples")
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


def test_file_that_is_too_long_is_reported_and_skipped(tmp_path, monkeypatch, sounds, capsys):
    monkeypatch.setattr("data_builders.common.decoding.MAX_CLIP_BYTES", 10_000)
    builder = prepare(tmp_path, sounds)
    assert sum(split.num_examples for split in builder.info.splits.values()) == 7
    assert "a.mp3: longer than" in capsys.readouterr().err


def test_changed_files_are_prepared_again(tmp_path, sounds):
    def config():
        builder = data_builders.builder("folder", data_dir=tmp_path / "data", path=sounds)
        return builder.builder_config.name

    first = config()
    assert config() == first and first.startswith("sounds-mono22k-")
    path = sounds / "bell" / "deep" / "0.wav"
    os.utime(path, ns=(0, 0))
    after_touch = config()
    write(path, seconds=0.2)
    after_edit = config()
    path.rename(sounds / "bell" / "deep" / "9.wav")
    after_rename = config()
    assert len({first, after_touch, after_edit, after_rename}) == 4


def test_test_songs_cover_every_class():
    songs = {f"{name}{i}": {name} for name, n in (("a", 50), ("b", 10), ("c", 2)) for i in range(n)}
    songs |= {"d0": {"d"}, "ad": {"a", "d"}}
    chosen = choose_test_songs(songs)
    assert chosen == choose_test_songs(dict(reversed(songs.items())))
    assert len(chosen) == round(0.2 * len(songs))
    for name in "abcd":
        class_songs = {song for song, labels in songs.items() if name in labels}
        assert class_songs & chosen and class_songs - chosen
    assert choose_test_songs({"x": {"a"}, "y": {"b"}}) == frozenset()
