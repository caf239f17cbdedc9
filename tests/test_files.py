"""Paths as users type them, printable names and messages, and text files."""

import errno
import os
import pathlib

import pytest

from irec_jax.errors import UserError
from irec_jax.files import expand_home, write_error, write_text
from irec_jax.text import difference, number, plural, printable, to_unicode


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def test_only_existing_home_folders_are_expanded(home):
    assert expand_home("~") == home and expand_home("~/runs/a") == home / "runs/a"
    for name in ("~session", "~session/take 1", "~ ", "a/~/b", "x~", "~no one/.."):
        assert str(expand_home(name)) == name
    root = pathlib.Path("~root/a").expanduser()
    assert expand_home("~root/a") == root and root.is_absolute()
    os.mkdir("~root")
    assert str(expand_home("~root/a")) == "~root/a"
    assert expand_home(b"~/\xff") == home / "\udcff"
    with pytest.raises(UserError, match="NoneType"):
        expand_home(None)  # type: ignore
    with pytest.raises(UserError, match="null"):
        expand_home("a\0b")


def test_urls_are_refused(home):
    for url in ("gs://bucket/runs", pathlib.Path("s3://bucket/runs"), "https://a.org/song.wav"):
        with pytest.raises(UserError, match="URLs are accepted only"):
            expand_home(url)
    for name in ("Song: 1/a.wav", "C:/a.wav", "op.9: no/a", "a/b:/c", "take1:", "2:/a"):
        assert str(expand_home(name)) == name
    os.mkdir("song:")
    assert str(expand_home("song:/a.wav")) == "song:/a.wav"


def test_names_and_messages_are_printable_lines(tmp_path):
    name = os.fsdecode(b"a\n\x1b[2J\xff\xc3\xbc\xe3\x80\x80b")
    assert printable(name) == printable(os.fsencode(name)) == "a��[2J�ü\u3000b"
    assert printable("u\u0308\ud800\u202e") == "ü?�"
    assert str(UserError(f"{tmp_path / name}: no\n  such\tfile\n")) == (
        f"{tmp_path}/a �[2J�ü\u3000b: no such file"
    )
    assert to_unicode("\udcc3\udcbc") == "ü"  # as the ASCII locale decodes it
    write_text(tmp_path / "page", f"ü {name}")
    assert (tmp_path / "page").read_text(encoding="utf-8") == "ü " + to_unicode(name)


def test_numbers_that_round_to_zero_have_no_minus_and_one_thing_is_singular():
    assert number(-0.0004) == "0.000" and difference(-0.02, 1) == "+0.0"
    assert [plural(n, "track") for n in (0, 1, 2)] == ["0 tracks", "1 track", "2 tracks"]
    assert plural(1, "class", "classes") == "1 class" and plural(1200, "s") == "1,200 ss"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "(No space left on device); free space or choose another folder"),
        (errno.ENOENT, "(No such file or directory); choose another folder"),
        (errno.EACCES, "(Permission denied); make the folder writable or choose another one"),
    ],
)
def test_the_remedy_fits_the_error(code, remedy):
    error = write_error("x/y", OSError(code, os.strerror(code)))
    assert str(error) == f"x/y: cannot be written {remedy}"
