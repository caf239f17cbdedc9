"""`irec label` on folders of tracks: segments, atomic output and mistakes."""

import csv
import os
import resource

import matplotlib.image
import numpy as np
import pytest
import soundfile

import irec_jax
from irec_jax import cli, crosstalk
from irec_jax.cli.console import run_command
from irec_jax.crosstalk import activity
from irec_jax.errors import UserError
from irec_jax.reports import figures
from irec_jax.systems import labeller

RATE_HZ = 8000
SECONDS = 8
FRAME = 186  # 23.2 ms
MIXING = np.array([[1, 0.4, 0.1], [0.3, 1, 0.4], [0.1, 0.3, 1]])
NAMES = ("alto", "bass", "viola 1")
#: Which player plays in which second.
PLAYS = np.array([[1, 1, 0, 0, 1, 0, 0, 1], [0, 1, 1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0, 1, 0]])


def call(*words):
    """Run `irec label` in this process and return its exit code."""
    return run_command(lambda: cli.run(["label", *words]))


def error_line(capsys):
    *progress, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and all(line.startswith("labelling") for line in progress)
    return error


def make_spots():
    """Return three microphones (3, T) of players that play noise in the seconds of PLAYS."""
    rng = np.random.default_rng(0)
    players = []
    for plays, taps in zip(PLAYS, rng.standard_normal((3, 16)), strict=True):
        noise = np.convolve(rng.standard_normal(SECONDS * RATE_HZ), taps, "same")
        players.append(0.02 * noise * np.repeat(plays, RATE_HZ))
    return (MIXING @ np.array(players)).astype(np.float32)


def write_session(folder, tracks=None, names=NAMES, **options):
    folder.mkdir(exist_ok=True)
    for name, track in zip(names, make_spots() if tracks is None else tracks, strict=True):
        soundfile.write(folder / f"{name}.wav", track, RATE_HZ, **options)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Folder of a session of three tracks, with a mix."""
    soundfile.write(write_session(tmp_path / "in") / "mix.wav", np.zeros(10), RATE_HZ)
    return tmp_path / "in"


def read_csv(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["track", "start_s", "end_s"]
    return [(name, float(start), float(end)) for name, start, end in rows]


def seconds_of(rows, name):
    """Return for each second of the session the fraction labelled with a track."""
    fractions = np.zeros(SECONDS)
    for track, start_s, end_s in rows:
        for second in range(SECONDS):
            overlap = min(end_s, second + 1) - max(start_s, second)
            fractions[second] += max(0, overlap) if track == name else 0
    return fractions


def test_files_hold_the_activity_that_reaches_the_threshold(folder, tmp_path, capsys):
    original_bytes = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = irec_jax.label(folder, tmp_path / "out", threshold_db=-15, progress=False)
    assert sorted(os.listdir(tmp_path / "out")) == ["labels.txt", "segments.csv"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == original_bytes
    assert result.names == NAMES and result.ignored == ("mix.wav",) and not result.note
    assert result.paths == (tmp_path / "out/segments.csv", tmp_path / "out/labels.txt")
    assert result.duration_s == SECONDS and capsys.readouterr().err == ""
    tracks = np.stack([soundfile.read(folder / f"{name}.wav")[0] for name in NAMES])
    expected = crosstalk.track_activity(
        lambda: [tracks],
        crosstalk.Settings(),
        num_samples=tracks.shape[1],
        sample_rate_hz=RATE_HZ,
        frame_length=FRAME,
    )
    np.testing.assert_allclose(result.activity, expected, atol=1e-6)
    rows = []
    for name, levels in zip(NAMES, result.activity, strict=True):
        plays = [bool(level >= 10 ** (-15 / 20)) for level in levels]
        for frame, (before, now) in enumerate(zip([False, *plays], plays, strict=False)):
            if now and not before:
                rows.append([name, frame * FRAME / RATE_HZ, 0])
            if now:
                rows[-1][2] = min(SECONDS, (frame + 1) * FRAME / RATE_HZ)
    written = read_csv(tmp_path / "out/segments.csv")
    assert written == [(name, round(start_s, 6), round(end_s, 6)) for name, start_s, end_s in rows]
    lines = (tmp_path / "out/labels.txt").read_text().splitlines()
    assert [line.split("\t") for line in lines] == [
        [f"{start_s:.6f}", f"{end_s:.6f}", name] for name, start_s, end_s in written
    ]
    assert [tuple(segment) for segment in result.segments] == [tuple(row) for row in rows]


def test_reduction_removes_labels_where_others_play(folder, tmp_path):
    for out, reduction in (("with", True), ("without", False)):
        irec_jax.label(
            folder, tmp_path / out, threshold_db=-15, reduction=reduction, progress=False
        )
    for name, plays in zip(NAMES, PLAYS, strict=True):
        reduced = seconds_of(read_csv(tmp_path / "with/segments.csv"), name)
        np.testing.assert_array_equal(reduced > 0.5, plays)
    only_bass = [2, 5]
    unreduced = seconds_of(read_csv(tmp_path / "without/segments.csv"), "alto")
    assert (unreduced[only_bass] > 0.5).all()


def test_command_prints_a_table_and_draws_a_figure(folder, tmp_path, capsys):
    soundfile.write(folder / "tacet.wav", np.zeros(SECONDS * RATE_HZ), RATE_HZ)
    assert call(folder, "--out", tmp_path / "a", "--plot", "--threshold-db", "-15") == 0
    head, *rows, silent, ignored, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["track", "plays", "segments"]
    segments = read_csv(tmp_path / "a/segments.csv")
    for row, name in zip(rows, (*NAMES[:2], "tacet", NAMES[2]), strict=True):
        own = [segment for segment in segments if segment[0] == name]
        share = sum(end_s - start_s for _, start_s, end_s in own) / SECONDS
        assert row.startswith(name) and row.split()[-2:] == [f"{share:.0%}", str(len(own))]
    assert silent == "silent throughout: tacet" and ignored == "ignored: mix.wav"
    assert last.startswith(f"4 tracks of 0:08 in {tmp_path / 'a'}: segments.csv, labels.txt, label")
    assert matplotlib.image.imread(tmp_path / "a/label.png").shape[1] > 1000
    assert call(folder, "--out", tmp_path / "b", "--threshold-db=-15", "--no-reduction") == 0
    irec_jax.label(
        folder, tmp_path / "c", threshold_db=-15, reduction=False, plot=True, progress=False
    )
    for name in ("segments.csv", "labels.txt"):
        assert (tmp_path / "b" / name).read_text() == (tmp_path / "c" / name).read_text()
    assert not (tmp_path / "b/label.png").exists() and (tmp_path / "c/label.png").exists()


def test_single_and_short_tracks_are_labelled_as_they_are(tmp_path, capsys):
    spots = make_spots()
    write_session(tmp_path / "one", spots[:1], ["flute"])
    write_session(tmp_path / "short", spots[:, : RATE_HZ + 5])
    for name, note in (
        ("one", "a single track has no crosstalk to reduce"),
        ("short", "the tracks are too short to estimate crosstalk"),
    ):
        assert call(tmp_path / name, "--out", tmp_path / f"{name} out") == 0
        assert f"crosstalk was not reduced: {note}\n" in capsys.readouterr().out
        out = tmp_path / f"{name} raw"
        assert call(tmp_path / name, "--out", out, "--no-reduction") == 0
        assert "crosstalk was not reduced" not in capsys.readouterr().out
        labels = (tmp_path / f"{name} out/labels.txt").read_text()
        assert labels and labels == (out / "labels.txt").read_text()
    (track,) = {name for name, *_ in read_csv(tmp_path / "one out/segments.csv")}
    assert track == "flute"
    *_, end_s = read_csv(tmp_path / "short out/segments.csv")[0]
    assert end_s == (RATE_HZ + 5) / RATE_HZ  # within the last frame, which is incomplete


def test_channels_of_opposite_polarity_are_labelled(tmp_path):
    spots = make_spots()
    for name, sign in (("equal", 1), ("opposite", -1)):
        write_session(tmp_path / name, spots[1:], NAMES[1:], subtype="FLOAT")
        stereo = np.stack([spots[0], 0.8 * sign * spots[0]], axis=1)
        soundfile.write(tmp_path / name / "alto.wav", stereo, RATE_HZ, "FLOAT")
        irec_jax.label(tmp_path / name, tmp_path / f"{name} out", progress=False)
    labels = [(tmp_path / f"{name} out/labels.txt").read_text() for name in ("equal", "opposite")]
    assert labels[0] == labels[1] and "alto" in labels[0]


@pytest.mark.parametrize(
    ("rate_hz", "num_samples"),
    [(44_100, 1024), (48_000, 1115), (96_000, 2229), (8000, FRAME), (1000, 23)],
)
def test_frames_last_23_ms_at_every_rate(rate_hz, num_samples):
    assert labeller.frame_samples(rate_hz) == num_samples


def test_names_with_commas_tildes_and_line_breaks(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    folder.rename("~session")
    os.rename("~session/bass.wav", b"~session/bass\t\n\xff.wav")
    os.rename("~session/alto.wav", '~session/Alto, "1st".wav')
    assert call("~session", "--out", "~/out", "--plot", "--no-reduction") == 0
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.splitlines())
    names = {'Alto, "1st"', "bass���", "viola 1"}
    assert {name for name, *_ in read_csv("home/out/segments.csv")} == names
    lines = open("home/out/labels.txt", encoding="utf-8").read().splitlines()
    assert {line.split("\t")[2] for line in lines} == names and not os.path.exists("~")


def copy_track(folder):
    (folder / "copy.wav").write_bytes((folder / "alto.wav").read_bytes())


def empty(folder):
    for path in folder.iterdir():
        path.unlink()
    (folder / "mix.wav").write_bytes(b"")


def write_flac(folder):
    soundfile.write(folder / "alto.flac", make_spots()[1], RATE_HZ)


def write_track(num_samples, rate_hz, value=0.0):
    return lambda folder: soundfile.write(
        folder / "odd.wav", np.full(num_samples, value), rate_hz, "FLOAT"
    )


LENGTH = SECONDS * RATE_HZ


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        ("in --out out --threshold-db 3", None, "--threshold-db=3: expected a level in dB below"),
        ("in --out out --threshold-db=-inf", None, "--threshold-db=-inf: expected a level"),
        ("in --out out --threshold-db nan", None, "--threshold-db=nan: expected a level"),
        ("in --out out", empty, "in: contains 0 tracks; expected at least 1"),
        ("none --out out", None, "none: No such file or directory"),
        ("in/mix.wav --out out", None, "mix.wav: Not a directory"),
        ("in --out in", None, "is the folder of the tracks or within it"),
        ("in --out in/sub", None, "is the folder of the tracks or within it"),
        ("in --out file", None, "file: is a file; name a folder"),
        ("in --out file/sub", None, "file/sub: cannot be written"),
        ("in --out kept", None, "already contains segments.csv; name another folder or set --over"),
        ("in --out out", write_flac, "alto.flac and alto.wav would both be labelled alto; rename"),
        ("in --out out", copy_track, "alto and copy: contain the same sound"),
        ("in --out out", write_track(LENGTH - 1, RATE_HZ), "odd.wav has 63999 samples, but alto"),
        ("in --out out", write_track(LENGTH, 16_000), "odd.wav has 16000 Hz, but alto"),
        ("in --out out", write_track(LENGTH, RATE_HZ, np.nan), "odd.wav: contains NaN"),
        ("in --out out", lambda folder: (folder / "odd.wav").write_bytes(b""), "odd.wav: is empty"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    folder, tmp_path, monkeypatch, capsys, words, change, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/segments.csv").write_text("mine")
    if change:
        change(folder)
    before = sorted(os.listdir(folder))
    assert call(*words.split()) == 1
    assert message in error_line(capsys)
    assert sorted(os.listdir(tmp_path)) == ["file", "in", "kept"]
    assert sorted(os.listdir(folder)) == before and os.listdir("kept") == ["segments.csv"]
    assert (tmp_path / "kept/segments.csv").read_text() == "mine"


@pytest.mark.parametrize("names", [("", "out"), ("in", "")])
def test_empty_paths_are_rejected(folder, tmp_path, monkeypatch, names):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="empty name"):
        irec_jax.label(*names, progress=False)


def test_overwrite_replaces_the_files_of_these_names_only(folder, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("segments.csv", "notes.txt"):
        (tmp_path / "out" / name).write_text("mine")
    assert call(folder, "--out", tmp_path / "out", "--overwrite", "--no-reduction") == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["labels.txt", "notes.txt", "segments.csv"]
    assert read_csv(tmp_path / "out/segments.csv")
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_an_interruption_or_a_full_disk_leaves_no_files(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/labels.txt").write_text("earlier")
    words = [folder, "--overwrite", "--no-reduction", "--plot"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # smaller than the figure
    try:
        for out in ("kept", "new/deep"):
            assert call(*words, "--out", tmp_path / out) == 1
            assert "cannot be written" in error_line(capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "save", interrupt)
    for out in ("kept", "new/deep"):
        assert call(*words, "--out", tmp_path / out) == 130
    assert "interrupted; run the same command again to start over" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["in", "kept"]
    assert os.listdir(tmp_path / "kept") == ["labels.txt"]
    assert (tmp_path / "kept/labels.txt").read_text() == "earlier"


def test_default_threshold_of_command_and_function_agree(capsys):
    with pytest.raises(SystemExit):
        cli.run(["label", "--help"])
    assert f"(default: {activity.DEFAULT_THRESHOLD_DB:g})" in " ".join(
        capsys.readouterr().out.split()
    )
