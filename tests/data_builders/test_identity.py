"""Identity of files: links, spellings and copies in a user's folders and CSV files."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from folder_fixture import check_error, prepare, read, write

import data_builders
from data_builders.multitrack.files import scan
from irec_jax.errors import UserError


@pytest.fixture
def sounds(tmp_path):
    """Write two classes with four files each."""
    for name in ("bell", "drum"):
        for i in range(4):
            write(tmp_path / "s" / name / f"{name}{i}.wav")
    return tmp_path / "s"


@pytest.fixture
def divided(tmp_path):
    """Write two classes with two training files and one test file each."""
    for name in ("bell", "drum"):
        for i in range(3):
            write(tmp_path / "s" / ("test" if i == 2 else "train") / name / f"{name}{i}.wav")
    return tmp_path / "s"


def list_clips(builder):
    return sorted(key for clips in read(builder)[1].values() for key in clips)


COPIES = {
    "link": lambda source, target: target.symlink_to(source),
    "relative link": lambda source, target: target.symlink_to(
        os.path.relpath(source, target.parent)
    ),
    "hard link": lambda source, target: target.hardlink_to(source),
    "copy": shutil.copy,
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_file_is_used_once_per_class_with_a_note(tmp_path, sounds, copy, capsys):
    originals = sorted(path.relative_to(sounds).as_posix() for path in sounds.rglob("*.wav"))
    copy(sounds / "bell" / "bell0.wav", sounds / "bell" / "z.wav")
    copy(sounds / "drum" / "drum1.wav", sounds / "drum" / "z.wav")
    assert list_clips(prepare(tmp_path, sounds)) == originals
    notes = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(notes) == 1 and notes[0].startswith(f"{sounds}: 2 dup") and "z.wav" in notes[0]


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_file_in_train_and_test_is_an_error(tmp_path, divided, copy):
    copy(divided / "train" / "bell" / "bell0.wav", divided / "test" / "bell" / "other.wav")
    check_error(tmp_path, divided, "test", "other.wav", "bell0.wav", "; remove one")
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_file_in_train_and_test_of_a_csv_file_is_an_error(tmp_path, sounds, copy):
    copy(sounds / "bell" / "bell0.wav", sounds / "z.wav")
    rows = [
        f"{n}/{n}{i}.wav,{n},{'train' if i else 'test'}" for n in ("bell", "drum") for i in (0, 1)
    ]
    path = sounds / "list.csv"
    path.write_text("\n".join(["file,labels,split", *rows, "z.wav,bell,train"]))
    check_error(tmp_path, path, "z.wav", "bell0.wav", "remove one")


@pytest.mark.parametrize(
    "spelling", ["{0}/bell/bell0.wav", "./bell/../bell//bell0.wav", "../s/bell/bell0.wav"]
)
def test_file_named_twice_in_a_csv_file_is_an_error(tmp_path, sounds, spelling):
    path = sounds / "list.csv"
    lines = ["file,labels", "bell/bell0.wav,bell", "bell/bell1.wav,bell"]
    path.write_text("\n".join([*lines, f"{spelling.format(sounds)},bell"]))
    check_error(tmp_path, path, f"{path} line 4: ", "is also listed in line 2", "remove one")


def test_same_file_in_two_classes_is_an_error(tmp_path, sounds):
    (sounds / "bell" / "z.wav").symlink_to(sounds / "drum" / "drum0.wav")
    check_error(
        tmp_path,
        sounds,
        "drum0.wav is the same file as ",
        "but with the labels drum instead of bell",
        "CSV",
    )


def test_copies_with_other_labels_are_marked_and_stay_in_one_split(tmp_path, sounds):
    for i in range(4):
        shutil.copy(sounds / "drum" / f"drum{i}.wav", sounds / "bell" / f"copy{i}.wav")
    builder = prepare(tmp_path, sounds)
    contents = {}
    for split in builder.info.splits:
        index = data_builders.clip_index(builder, split)
        for key, contradictory in zip(index["id"], index["contradictory"], strict=True):
            content = (sounds / key).read_bytes()
            assert contents.setdefault(content, split) == split
            others = [path for path in sounds.rglob("*.wav") if path.read_bytes() == content]
            assert contradictory <= (len(others) == 2)


@pytest.mark.parametrize("target", ["..", ".", "../.."])
def test_link_to_a_parent_folder_is_not_followed(tmp_path, sounds, target):
    expected = list_clips(prepare(tmp_path, sounds))
    (sounds / "bell" / "up").symlink_to(target)
    (sounds / "loop").symlink_to(sounds)
    (sounds / "parent").symlink_to("..")
    assert list_clips(prepare(tmp_path, sounds)) == expected


def test_link_to_another_folder_is_followed(tmp_path, sounds):
    write(tmp_path / "elsewhere" / "e.wav")
    (sounds / "bell" / "more").symlink_to(tmp_path / "elsewhere")
    (sounds / "whistle").symlink_to(write(tmp_path / "whistles" / "w.wav").parent)
    clips = list_clips(prepare(tmp_path, sounds))
    assert len(clips) == 10 and "bell/more/e.wav" in clips and "whistle/w.wav" in clips


def test_link_to_the_other_split_is_an_error(tmp_path, divided):
    (divided / "train" / "bell" / "more").symlink_to(divided / "test" / "bell")
    check_error(tmp_path, divided, "the same file as", "but in test instead of train")


def test_names_in_another_unicode_form(tmp_path, sounds):
    composed, decomposed = (unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD"))
    write(sounds / decomposed)
    path = sounds / "list.csv"
    rows = "".join(f"bell/bell{i}.wav,bell\n" for i in range(3))
    path.write_text(f"file,labels\n{composed},bell\n{rows}")
    assert composed in list_clips(prepare(tmp_path, path))
    write(sounds / "drum" / composed, seed=1)
    write(sounds / "drum" / decomposed, seed=2)
    check_error(
        tmp_path, sounds, "the name of another file differs from", "only in its Unicode form"
    )


@pytest.mark.parametrize("names", [("Train", "Test"), ("TRAIN", "test"), ("train", "TeSt")])
def test_split_folders_in_any_case(tmp_path, divided, names):
    for old, new in zip(("train", "test"), names, strict=True):
        (divided / old).rename(divided / f"{old}-")
        (divided / f"{old}-").rename(divided / new)
    classes, splits = read(prepare(tmp_path, divided))
    assert classes == ["bell", "drum"]
    assert set(splits["test"]) == {"test/bell/bell2.wav", "test/drum/drum2.wav"}
    (divided / "tRAIN").mkdir()
    check_error(tmp_path, divided, "both belong to the train split; merge them")


def test_other_names_of_splits_are_not_classes(tmp_path, divided):
    (divided / "train").rename(divided / "training")
    (divided / "test").rename(divided / "Validation")
    check_error(tmp_path, divided, "folders Validation and training; rename them to train and test")


def test_split_column_in_any_case(tmp_path, sounds):
    path = sounds / "list.csv"
    path.write_text("file,labels,split\nbell/bell0.wav,bell,Train\nbell/bell1.wav,bell,TEST\n")
    assert set(read(prepare(tmp_path, path))[1]["test"]) == {"bell/bell1.wav"}


def test_class_that_only_the_test_split_of_a_csv_file_has_is_an_error(tmp_path, sounds):
    path = sounds / "list.csv"
    rows = "bell/bell0.wav,bell,train\nbell/bell1.wav,bell,test\ndrum/drum0.wav,drum;bell,test\n"
    path.write_text(f"file,labels,split\n{rows}")
    check_error(tmp_path, path, "class 'drum' is in test but not in train")


def test_song_in_both_splits_is_an_error(tmp_path, sounds):
    path = sounds / "list.csv"
    rows = "bell/bell0.wav,bell,train,A\nbell/bell1.wav,bell,test,A\n"
    path.write_text(f"file,labels,split,song\n{rows}")
    check_error(tmp_path, path, "song 'A' is in both train and test")


def test_classes_that_differ_only_in_case_are_an_error(tmp_path, sounds):
    path = sounds / "list.csv"
    path.write_text("file,labels\nbell/bell0.wav,Bell\nbell/bell1.wav,bell\n")
    check_error(tmp_path, path, "classes 'Bell' and 'bell' differ only in case")


def test_shell_pattern_is_not_a_path(tmp_path, sounds):
    check_error(tmp_path, f"{sounds}/*", "is a shell pattern", "the path of a folder or a CSV file")
    path = sounds / "list.csv"
    path.write_text("file,labels\nbell/*.wav,bell\n")
    check_error(tmp_path, path, "line 2: no such file", "bell/*.wav; list one file per line")
    with pytest.raises(UserError, match=r"is a shell pattern.* the folder of prepared data"):
        data_builders.builder("folder", data_dir=tmp_path / "data*", path=sounds)
    sounds.rename(tmp_path / "s[1]*")
    assert len(list_clips(prepare(tmp_path, tmp_path / "s[1]*"))) == 8


def test_spellings_of_the_path_are_the_same_dataset(tmp_path, sounds, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spellings = [sounds, f"{sounds}/", f"{sounds}/bell/..", "s", Path("./s//")]
    assert len({prepare(tmp_path, path).builder_config.name for path in spellings}) == 1


def write_piece(folder, seed):
    for number, name in enumerate(("violin", "flute")):
        write(folder / f"{name}.wav", seed=[seed, number])


def check_pieces(folder, *expected):
    with pytest.raises(UserError) as error:
        scan(str(folder), None)
    assert "\n" not in str(error.value)
    for words in expected:
        assert words in str(error.value)


@pytest.mark.parametrize("split", [True, False])
def test_copies_and_links_of_pieces_are_errors(tmp_path, split):
    first, second = ("Train/a", "TEST/b") if split else ("a", "b")
    write_piece(tmp_path / "p" / first, 0)
    write_piece(tmp_path / "p" / second, 1)
    assert sum(map(len, scan(str(tmp_path / "p"), None)[1].values())) == 2
    folder = tmp_path / "p" / second
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "p" / first, folder)
    (folder / "violin.wav").rename(folder / "oboe.wav")
    check_pieces(tmp_path / "p", "has the same tracks as")
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path / "p" / first)
    check_pieces(tmp_path / "p", "the same file as a track of")


def test_pieces_in_both_splits_shell_patterns_and_loops(tmp_path):
    for split, name, seed in (("train", "A", 0), ("train", "c", 1), ("test", "a", 2)):
        write_piece(tmp_path / "p" / split / name, seed)
    check_pieces(tmp_path / "p", "piece 'a' is in both train and test")
    shutil.rmtree(tmp_path / "p" / "test" / "a")
    write_piece(tmp_path / "p" / "test" / "b", 2)
    (tmp_path / "p" / "train" / "loop").symlink_to("..")
    splits = scan(str(tmp_path / "p"), None)[1]
    assert [piece.name for piece in splits["train"]] == ["A", "c"]
    check_pieces(
        tmp_path / "*", "is a shell pattern", "the path of the folder that contains the pieces"
    )
    decomposed = tmp_path / "p" / "train" / unicodedata.normalize("NFD", "é")
    write_piece(decomposed, 3)
    write_piece(decomposed.with_name(unicodedata.normalize("NFC", "é")), 4)
    check_pieces(tmp_path / "p", "the name of another piece differs only in its Unicode form")
    assert np.all([piece.files for piece in splits["train"]])
