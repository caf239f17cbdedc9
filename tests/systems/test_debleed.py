"""`irec debleed` on folders of tracks: formats, atomic output and protection of the input."""

import os
import re
import resource
import threading
import tracemalloc

import matplotlib.image
import numpy as np
import pytest
import report_pages
import soundfile

import irec_jax
from irec_jax import audio, cli, crosstalk
from irec_jax.audio import reading, writing
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.reports import debleed_figure, spectrogram_overview
from irec_jax.reports.debleed_tables import crosstalk_tables

RATE_HZ = 8000
SMALL = dict(frame_length=512, hop_length=256)
SMALL_WORDS = ["--frame_length", 512, "--hop_length", 256]
MIXING = np.array([[1, 0.3, 0.1], [0.2, 1, 0.3], [0.1, 0.2, 1]])
DELAYS = np.array([[0, 9, 20], [14, 0, 8], [25, 11, 0]])


def call(*words):
    """Run `irec debleed` in this process and return its exit code."""
    return run_command(lambda: cli.run(["debleed", *words]))


def make_sources(seconds, seed=0):
    """Return three sources (3, T) of decaying noise bursts at independent times."""
    rng = np.random.default_rng(seed)
    num_bursts = round(4 * seconds)
    bursts = rng.normal(size=(3, num_bursts, RATE_HZ // 4)) * np.exp(-np.arange(RATE_HZ // 4) / 400)
    return 0.1 * (bursts * rng.integers(0, 2, (3, num_bursts, 1))).reshape(3, -1)


def make_spots(sources):
    """Return the signals of three microphones (3, T), with crosstalk."""
    microphones = np.zeros_like(sources)
    for i in range(3):
        for j, source in enumerate(sources):
            delay = DELAYS[i, j]
            microphones[i, delay:] += MIXING[i, j] * source[: len(source) - delay]
    return microphones


@pytest.fixture
def folder(tmp_path):
    """Folder of a 4 s recording of three tracks, with a mix."""
    for name, track in zip(("alto", "bass", "viola 1"), make_spots(make_sources(4)), strict=True):
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{name}.wav", track, RATE_HZ, subtype="PCM_24")
    soundfile.write(tmp_path / "in" / "mix.wav", np.zeros(10), RATE_HZ)
    return tmp_path / "in"


def read_all(folder, names=("alto", "bass", "viola 1")):
    return np.stack([soundfile.read(folder / f"{name}.wav", dtype="float32")[0] for name in names])


def test_files_match_arrays_and_contain_less_crosstalk(folder, tmp_path, capsys):
    original_bytes = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = irec_jax.debleed(folder, tmp_path / "out", progress=False, **SMALL)
    assert sorted(os.listdir(tmp_path / "out")) == ["alto.wav", "bass.wav", "viola 1.wav"]
    assert result.names == ("alto", "bass", "viola 1") and result.ignored == ("mix.wav",)
    assert result.paths == tuple(tmp_path / "out" / f"{name}.wav" for name in result.names)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == original_bytes
    inputs, outputs = read_all(folder), read_all(tmp_path / "out")
    expected, estimated = crosstalk.debleed_array(
        inputs, crosstalk.Settings(**SMALL), sample_rate_hz=RATE_HZ
    )
    np.testing.assert_allclose(outputs, expected, atol=2**-22)
    np.testing.assert_allclose(result.crosstalk.weights, estimated.weights, atol=1e-4)
    losses_db = 10 * np.log10((inputs**2).sum(1) / (outputs**2).sum(1))
    np.testing.assert_allclose(result.losses_db, losses_db, atol=1e-3)
    sources = make_sources(4)
    for track, output, source in zip(inputs, outputs, sources, strict=True):
        is_silent = source == 0  # anything audible here is crosstalk
        assert np.square(output[is_silent]).sum() < 0.1 * np.square(track[is_silent]).sum()
    assert capsys.readouterr().err == ""


def test_options_against_musical_noise(folder, tmp_path, capsys):
    words = ["--method", "mmse", "--prior-s", 0.2, "--smoothing-s", 0.05, *SMALL_WORDS]
    assert call(folder, "--out", tmp_path / "out", *words) == 0
    settings = crosstalk.Settings(method="mmse", prior_s=0.2, smoothing_s=0.05, **SMALL)
    expected, _ = crosstalk.debleed_array(read_all(folder), settings, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(read_all(tmp_path / "out"), expected, atol=2**-22)
    capsys.readouterr()
    for words, message in (
        (["--smoothing-s", "-1"], "--smoothing-s=-1.0: expected 0 to 60 seconds"),
        (["--prior-s", "0.2"], "--prior-s: only applies to --method mmse; omit it or set both"),
        (["--method", "mse"], "unknown --method 'mse': did you mean 'mmse'?"),
    ):
        assert call(folder, "--out", tmp_path / "other", *words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_mixes_are_no_tracks(folder, tmp_path, capsys):
    names = ["Mixdown 2.flac", "mix.wav", "Master.WAV", "Rough-Mix.wav", "mixture.wav"]
    for name in names:
        soundfile.write(folder / name, np.zeros(10), RATE_HZ)
    assert call(folder, "--out", tmp_path / "out", *SMALL_WORDS) == 0
    assert f"ignored: {', '.join(sorted(names))}" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path / "out")) == ["alto.wav", "bass.wav", "viola 1.wav"]


def test_names_with_tildes_and_line_breaks(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder.rename("~session")
    os.rename("~session/bass.wav", b"~session/bass\n\x1b[31m\xff.wav")
    (tmp_path / "home").mkdir()
    assert call("~session", "--out", "~/clean", "--report", *SMALL_WORDS) == 0
    printed = capsys.readouterr()
    assert "3 tracks of 0:04 in ~/clean" in printed.out
    assert any(line.startswith("bass��[31m�.wav") for line in printed.out.splitlines())
    assert all(line.isprintable() for line in printed.out.splitlines())
    assert len(os.listdir("home/clean")) == 5 and not os.path.exists("~")
    assert call("~session", "--out", "~/clean", *SMALL_WORDS) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "bass��[31m�.wav" in error


def test_command_prints_tables_writes_the_figure_and_matches_python(folder, tmp_path, capsys):
    assert call(folder, "--out", tmp_path / "a", "--report", *SMALL_WORDS) == 0
    printed = capsys.readouterr().out
    for expected in (
        "direct sound, dB",
        "delay of the direct sound, ms",
        "weights of the residual",
        "3 viola 1",
    ):
        assert expected in printed
    assert "ignored: mix.wav" in printed and "3 tracks of 0:04 " in printed.splitlines()[-1]
    assert "x real time" in printed and "clipped" not in printed
    assert f"report in {tmp_path / 'a' / 'debleed.html'}" in printed
    assert matplotlib.image.imread(tmp_path / "a" / "debleed.png").shape[1] > 1000
    page = report_pages.check((tmp_path / "a" / "debleed.html").read_text(), num_pictures=1)
    assert page.title == "Crosstalk reduction for 3 tracks"
    assert page.texts("td").count("viola 1") == 4  # tracks, levels, delays, weights
    assert any("solver nnls" in cell for cell in page.texts("td"))
    assert sorted(audio.find(tmp_path / "a")) == sorted((tmp_path / "a").glob("*.wav"))
    irec_jax.debleed(folder, tmp_path / "b", progress=False, **SMALL)
    np.testing.assert_array_equal(read_all(tmp_path / "a"), read_all(tmp_path / "b"))
    options = ["--strength", 0.5, "--no-align", "--floor", -20, "--solver", "momentum"]
    assert call(folder, "--out", tmp_path / "c", *options, *SMALL_WORDS) == 0
    printed = capsys.readouterr().out
    assert "direct sound" not in printed and printed.startswith("weights\n")
    settings = dict(strength=0.5, align=False, floor=0.1, solver="momentum")
    irec_jax.debleed(folder, tmp_path / "b", overwrite=True, progress=False, **settings, **SMALL)
    np.testing.assert_array_equal(read_all(tmp_path / "b"), read_all(tmp_path / "c"))


def test_page_and_command_name_silent_tracks(folder, tmp_path, capsys):
    soundfile.write(folder / "empty.wav", np.zeros(4 * RATE_HZ), RATE_HZ)
    assert call(folder, "--out", tmp_path / "a", "--report", *SMALL_WORDS) == 0
    assert "-0.0 dB" not in (printed := capsys.readouterr().out)
    assert re.search(r"(?m)^empty.wav +silent$", printed)
    page = report_pages.Page((tmp_path / "a" / "debleed.html").read_text())
    cells = page.texts("td")
    assert cells[cells.index("empty") + 1] == "silent" and "; 1 silent)" in page.texts("p")[0]


def test_formats_are_kept_or_converted_to_a_better_one(tmp_path):
    microphones = make_spots(make_sources(2)).astype(np.float32)
    source = tmp_path / "in"
    (source / "takes").mkdir(parents=True)
    formats = {
        "a [1].wav": ("WAV", "PCM_16", "PCM_16"),
        "b ü.flac": ("FLAC", "PCM_24", "PCM_24"),
        "c.wav": ("WAV", "PCM_U8", "PCM_16"),
        "d.wav": ("WAV", "ALAW", "PCM_24"),
        "e.wav": ("WAV", "FLOAT", "FLOAT"),
        "f.aiff": ("AIFF", "DOUBLE", "DOUBLE"),
        "g.w64": ("W64", "PCM_32", "PCM_32"),
        "h.caf": ("CAF", "ALAC_24", "ALAC_24"),
        "silent.wav": ("WAVEX", "PCM_24", "PCM_24"),
        "j.rf64": ("RF64", "PCM_24", "PCM_24"),
    }
    for i, (name, (container, subtype, _)) in enumerate(formats.items()):
        track = np.roll(microphones[i % 3], 613 * i) * (name != "silent.wav")  # all tracks differ
        if name == "e.wav":
            track = np.stack([3 * track, -track], axis=1)  # beyond full scale, and stereo
        soundfile.write(source / name, track, RATE_HZ, format=container, subtype=subtype)
    soundfile.write(source / "o.ogg", microphones[2, ::-1], RATE_HZ)
    for name_to_ignore in ("MIX.flac", "._a.wav", "notes.txt"):
        (source / name_to_ignore).write_text("no audio")
    (source / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    result = irec_jax.debleed(source, tmp_path / "out", progress=False, **SMALL)
    assert set(result.ignored) == {"MIX.flac", "._a.wav", "notes.txt", "gone.wav", "takes"}
    assert set(result.converted) == {"c.wav", "d.wav", "o.ogg"}
    for name, (container, _, subtype) in formats.items():
        header = soundfile.info(tmp_path / "out" / name)
        assert (header.format, header.subtype) == (container, subtype)
        assert header.channels == (2 if name == "e.wav" else 1)
        assert (header.frames, header.samplerate) == (microphones.shape[1], RATE_HZ)
    header = soundfile.info(tmp_path / "out" / "o.wav")
    assert (header.format, header.subtype, header.frames) == ("WAV", "PCM_24", microphones.shape[1])
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*formats, "o.wav"])
    assert not audio.read(tmp_path / "out" / "silent.wav")[0].any()
    assert result.losses_db[result.names.index("silent")] == 0
    assert [
        name for name, is_silent in zip(result.names, result.silent, strict=True) if is_silent
    ] == ["silent"]


def test_channels_of_opposite_polarity_are_processed_like_those_of_equal_polarity(tmp_path):
    spots = 0.5 * make_spots(make_sources(4))
    stereo = np.stack([spots[0], 0.8 * spots[0]], axis=1)
    for name, signs in (("equal", [1, 1]), ("opposite", [1, -1])):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "0.wav", stereo * signs, RATE_HZ, "FLOAT")
        for number in (1, 2):
            soundfile.write(tmp_path / name / f"{number}.wav", spots[number], RATE_HZ, "FLOAT")
        irec_jax.debleed(tmp_path / name, tmp_path / f"{name} out", progress=False, **SMALL)
    for number in range(3):
        equal, _ = audio.read(tmp_path / "equal out" / f"{number}.wav")
        opposite, _ = audio.read(tmp_path / "opposite out" / f"{number}.wav")
        np.testing.assert_array_equal(opposite, equal * [1, -1][: equal.shape[1]])
    assert np.square(equal).sum() < 0.97 * np.square(spots[2]).sum()


def test_zero_strength_keeps_16_bit_samples_unchanged(tmp_path):
    microphones = np.round(make_spots(make_sources(2)) * 32768).astype(np.int16)
    (tmp_path / "in").mkdir()
    for name, track in zip("abc", microphones, strict=True):
        soundfile.write(tmp_path / "in" / f"{name}.wav", track, RATE_HZ)
    settings = dict(strength=0.0, align=False, progress=False)
    irec_jax.debleed(tmp_path / "in", tmp_path / "out", **settings, **SMALL)
    for name, track in zip("abc", microphones, strict=True):
        samples, _ = soundfile.read(tmp_path / "out" / f"{name}.wav", dtype="int16")
        np.testing.assert_array_equal(samples, track)


@pytest.mark.parametrize("num_bits", [16, 20, 24, 32])
def test_quantise_rounds_and_clips(num_bits):
    full_scale = 2 ** (num_bits - 1)
    samples = np.array(
        [0, 1.4 / full_scale, -1.6 / full_scale, 0.5, -1.0, 1.0, 1.5, -3.0], np.float32
    )
    quantised, num_clipped = writing.quantise(samples, num_bits)
    steps = [0, 1, -2, full_scale // 2, -full_scale, full_scale - 1, full_scale - 1, -full_scale]
    assert quantised.tolist() == [step << (32 - num_bits) for step in steps]
    assert num_clipped == 2  # 1.0 exceeds the largest value by one step, which does not count


def test_large_wav_files_are_written_as_rf64(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_MAX_WAV_BYTES", 50_000)
    irec_jax.debleed(folder, tmp_path / "out", progress=False, **SMALL)
    assert soundfile.info(tmp_path / "out" / "alto.wav").format == "RF64"
    assert audio.info(tmp_path / "out" / "alto.wav").num_samples == 4 * RATE_HZ


def test_mismatched_tracks_are_rejected(folder, tmp_path):
    soundfile.write(folder / "short.wav", np.zeros(31_999), RATE_HZ)
    with pytest.raises(UserError, match="short.wav has 31999 samples, but alto.wav has 32000"):
        irec_jax.debleed(folder, tmp_path / "out")
    soundfile.write(folder / "short.wav", np.zeros(32_000), 16_000)
    with pytest.raises(UserError, match="short.wav has 16000 Hz, but alto.wav has 8000"):
        irec_jax.debleed(folder, tmp_path / "out")
    soundfile.write(folder / "short.wav", np.full(32_000, np.nan), RATE_HZ, subtype="FLOAT")
    with pytest.raises(UserError, match="short.wav: contains NaN"):
        irec_jax.debleed(folder, tmp_path / "out", progress=False, **SMALL)
    (folder / "short.wav").write_bytes(b"")
    with pytest.raises(UserError, match="short.wav: is empty"):
        irec_jax.debleed(folder, tmp_path / "out")
    (folder / "short.wav").unlink()
    soundfile.write(folder / "alto.ogg", np.zeros(32_000), RATE_HZ)
    with pytest.raises(UserError, match="alto.ogg and alto.wav would both be written as alto.wav"):
        irec_jax.debleed(folder, tmp_path / "out")
    for name in ("alto.ogg", "alto.wav", "bass.wav"):
        (folder / name).unlink()
    with pytest.raises(UserError, match="expected at least 2, one audio file for each microphone"):
        irec_jax.debleed(folder, tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]


def test_output_paths_that_would_overwrite_other_files_are_rejected(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    for out in (folder, folder / "sub", tmp_path / "link", folder / ".." / "in"):
        with pytest.raises(UserError, match="folder of the tracks"):
            irec_jax.debleed(folder, out, overwrite=True)
    (tmp_path / "file").write_text("old")
    for out in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(UserError, match="file"):
            irec_jax.debleed(folder, out)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "bass.wav").rename(elsewhere / "bass.wav")
    (folder / "bass.wav").symlink_to(elsewhere / "bass.wav")
    with pytest.raises(UserError, match="bass.wav: is one of the tracks to read"):
        irec_jax.debleed(folder, elsewhere, overwrite=True)
    out = tmp_path / "out"
    out.mkdir()
    (out / "alto.wav").write_text("earlier")
    with pytest.raises(UserError, match="already contains alto.wav; .* --overwrite"):
        irec_jax.debleed(folder, out)
    assert (out / "alto.wav").read_text() == "earlier" and os.listdir(out) == ["alto.wav"]


@pytest.mark.parametrize("moment", ["write", "finish"])
def test_interruption_leaves_no_partial_files(folder, tmp_path, monkeypatch, capsys, moment):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "alto.wav").write_text("earlier")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.TrackWriter, moment, interrupt)
    for out in ("kept", "new/deep"):
        assert call(folder, "--out", tmp_path / out, "--overwrite", *SMALL_WORDS) == 130
    assert "interrupted; run the same command again to start over" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["in", "kept"]
    assert os.listdir(tmp_path / "kept") == ["alto.wav"]
    assert (tmp_path / "kept" / "alto.wav").read_text() == "earlier"


def test_files_are_read_outside_the_main_thread(folder, tmp_path, monkeypatch):
    threads, blocks = set(), audio.blocks

    def record_thread(*args, **options):
        for block in blocks(*args, **options):
            threads.add(threading.current_thread())
            yield block

    monkeypatch.setattr(reading, "blocks", record_thread)
    irec_jax.debleed(folder, tmp_path / "out", progress=False, report=True, **SMALL)
    assert threads and threading.main_thread() not in threads


def test_files_of_a_killed_process_are_hidden_and_removed(folder, tmp_path, monkeypatch):
    staging = tmp_path / "out" / writing.STAGING_NAME
    staging.mkdir(parents=True)
    (staging / "alto.wav").write_text("half")
    listings, finish = [], writing.TrackWriter.finish

    def list_and_finish(self):
        paths = finish(self)
        listings.append((os.listdir(tmp_path / "out"), sorted(os.listdir(staging))))
        return paths

    monkeypatch.setattr(writing.TrackWriter, "finish", list_and_finish)
    irec_jax.debleed(folder, tmp_path / "out", progress=False, **SMALL)
    names = ["alto.wav", "bass.wav", "viola 1.wav"]
    assert listings == [([writing.STAGING_NAME], names)] and staging.name.startswith(".")
    assert sorted(os.listdir(tmp_path / "out")) == names
    with (
        writing.staging_folder(tmp_path / "out", 0),
        pytest.raises(UserError, match="another process"),
    ):
        irec_jax.debleed(folder, tmp_path / "out", overwrite=True, progress=False, **SMALL)


def test_full_disk_is_reported_in_one_line(folder, tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        assert call(folder, "--out", tmp_path / "out", *SMALL_WORDS) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    printed = capsys.readouterr()
    assert "out: the tracks cannot be written" in printed.err and "Traceback" not in printed.err
    assert os.listdir(tmp_path) == ["in"]


def test_insufficient_disk_space_is_reported_before_processing(folder, tmp_path, monkeypatch):
    usage = writing.shutil.disk_usage(tmp_path)._replace(free=200_000)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"0.29 MB are needed, but only 0.20 MB are free"):
        irec_jax.debleed(folder, tmp_path / "out", progress=False)
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--solver", "nnl"], "did you mean 'nnls'"),
        (["--method", "masks"], "did you mean 'mask'"),
        (["--floor", "40"], "--floor 40"),
        (["--strength", "-1"], "strength"),
        (["--hop_length", "5000"], "hop"),
    ],
)
def test_mistakes_are_reported_in_one_line(folder, tmp_path, capsys, words, message):
    assert call(folder, "--out", tmp_path / "out", *words) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1
    assert call(tmp_path / "nowhere", "--out", tmp_path / "out") == 1
    assert "nowhere: No such file or directory" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in"]


def test_unknown_setting_suggests_the_closest_match(folder, tmp_path):
    with pytest.raises(UserError, match="did you mean 'strength'"):
        irec_jax.debleed(folder, tmp_path / "out", strenght=2)


def test_memory_does_not_grow_with_track_length(tmp_path):
    peaks, lengths_s = [], (20, 80)
    for length_s in lengths_s:
        folder = tmp_path / str(length_s)
        folder.mkdir()
        for name, track in zip("abc", make_spots(make_sources(length_s)), strict=True):
            soundfile.write(folder / f"{name}.wav", track, RATE_HZ)
        tracemalloc.start()
        irec_jax.debleed(folder, tmp_path / f"out {length_s}", progress=False, **SMALL)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    longer_bytes = (lengths_s[1] - lengths_s[0]) * RATE_HZ * 3 * 4
    assert peaks[1] - peaks[0] < longer_bytes / 3


def test_tables_of_many_tracks_are_narrow():
    num = 20
    rng = np.random.default_rng(0)
    amplitudes = np.where(rng.random((num, num)) < 0.5, rng.uniform(0.01, 0.9, (num, num)), 0)
    np.fill_diagonal(amplitudes, 1)
    amplitudes[0, 1] = -0.5
    weights = rng.uniform(0, 1, (2, num, num)) * (1 - np.eye(num))
    weights[0, 0, 1:5] = 0.004, 0.254, 1.5, 595.1
    delays = rng.integers(0, 1500, (num, num))
    delays[0, 1] = 480
    estimated = crosstalk.Crosstalk(amplitudes, delays, weights)
    names = [f"Concert of the 3rd - Violin {j}" for j in range(num)]
    settings = crosstalk.Settings(band_edges_hz=(500,))
    printed = crosstalk_tables(names, estimated, settings, 48_000)
    assert max(map(len, printed.splitlines())) <= 120
    direct, delay, low, high = (part.splitlines() for part in printed.split("\n\n"))
    assert direct[0] == "direct sound, dB"
    assert direct[2].split("Violin 0")[1].split()[0] == "-6"
    assert delay[2].split("Violin 0")[1].split()[0] == "10.0"
    assert low[0] == "weights of the residual, below 500 Hz" and high[0].endswith("above 500 Hz")
    assert low[2].split("Violin 0")[1].split()[:4] == ["·", ".25", "1.50", "595"]
    assert len(low) == num + 2


def test_excerpt_is_where_the_reduction_is_largest():
    input_powers = np.ones((2, 100))
    output_powers = input_powers.copy()
    output_powers[1, 60:80] = 0.1
    assert (
        50
        <= debleed_figure.excerpt_start_s(np.stack([1e6 * input_powers, 1e6 * output_powers]))
        <= 60
    )
    assert debleed_figure.excerpt_start_s(np.ones((2, 2, 30))) == 0
    assert debleed_figure.excerpt_start_s(np.zeros((2, 2, 90))) == 0


@pytest.mark.parametrize("pitch_hz", [60.0, 440.0, 3000.0])
def test_band_powers_show_a_tone_at_its_frequency(pitch_hz):
    tone = np.sin(2 * np.pi * pitch_hz * np.arange(2 * RATE_HZ) / RATE_HZ).astype(np.float32)
    powers = spectrogram_overview.band_powers(tone, RATE_HZ)
    edges_hz = spectrogram_overview.band_edges_hz(RATE_HZ)
    assert powers.shape[0] == len(edges_hz) - 1 and (powers >= 0).all()
    loudest = powers.mean(1).argmax()
    resolution_hz = RATE_HZ / 512
    assert edges_hz[loudest] - resolution_hz <= pitch_hz <= edges_hz[loudest + 1] + resolution_hz


def test_identical_tracks_are_rejected(folder, tmp_path, capsys):
    (folder / "copy.wav").write_bytes((folder / "alto.wav").read_bytes())
    assert call(folder, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "alto and copy: contain the same sound" in error and "leave one out" in error
    assert not any((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("names", [("", "out"), ("in", "")])
def test_empty_paths_are_rejected(folder, tmp_path, monkeypatch, names):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="empty name"):
        irec_jax.debleed(*names, progress=False)


def test_bands_without_a_bin_are_rejected_before_processing(folder, tmp_path):
    with pytest.raises(UserError, match="must contain a bin"):
        irec_jax.debleed(folder, tmp_path / "out", progress=False, band_edges_hz=(30_000,), **SMALL)
    assert not (tmp_path / "out").exists()


def test_recordings_that_are_too_short_are_rejected(tmp_path):
    (tmp_path / "in").mkdir()
    for name, track in zip("abc", make_spots(make_sources(1)), strict=True):
        soundfile.write(tmp_path / "in" / f"{name}.wav", track[: 7 * 256 - 1], RATE_HZ)
    with pytest.raises(UserError, match="1791 samples are too short .* expected at least 1792"):
        irec_jax.debleed(tmp_path / "in", tmp_path / "out", progress=False, **SMALL)
    assert not (tmp_path / "out").exists()
