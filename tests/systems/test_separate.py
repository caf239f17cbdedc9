"""`irec separate`: stems have the shape of the input, sum to it, and are written atomically."""

import os
import threading
import tracemalloc

import av
import call_trace
import jax
import matplotlib.image
import numpy as np
import pytest
import scipy.signal
import soundfile
from matplotlib.figure import Figure

import irec_jax
from irec_jax import audio, cli, systems
from irec_jax.audio import reading, tracks, writing
from irec_jax.checkpoints import state
from irec_jax.checkpoints import storage as checkpoints
from irec_jax.checkpoints.workdir import write_system
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.inference.separation import separate_blocks
from irec_jax.reports import spectrogram_overview
from irec_jax.systems import separator as separator_module
from irec_jax.systems import separator_files
from irec_jax.tasks import create_separation
from irec_jax.training import optimizers

RATE_HZ = 8000
FRONTEND = dict(name="spectrogram_db", frame_length=256, hop_length=64, num_bins=128, num_frames=32)
MODEL = dict(
    name="unet", output="attenuation", filters=[2, 2], kernels=[3, 3], strides=[2, 2],
    dilations=[1, 1], bottleneck=[4],
)  # fmt: skip
NAMES = ["remainder.wav", "spectrograms.png", "vocals_other.wav"]


def call(*words):
    """Run `irec separate` in this process and return its exit code."""
    return run_command(lambda: cli.run(["separate", *words]))


def write_workdir(folder, **model):
    """Write the workdir of a separator with initial parameters and return its path."""
    settings = dict(
        stems=["drums", "bass", "other", "vocals"],
        target=["vocals", "other"],
        sample_rate_hz=RATE_HZ,
        window_s=0.256,
        frontend=FRONTEND,
        model=MODEL | model,
        loss=dict(name="mean_absolute_error", domain="amplitudes", l2=0.0),
        augment={},
    )
    task = create_separation(**settings)
    optimizer, _ = optimizers.create_optimizer(
        dict(name="sgd", learning_rate=0.1, schedule=dict(name=""), clip_norm=0.0), 1
    )
    params, model_state = task.init(jax.random.key(3))
    initial = state.create(params, model_state, optimizer, task.scalars, 0)
    saved = checkpoints.Checkpoints(folder / "checkpoints")
    saved.save(jax.device_get(initial), {"history": []}, 0.0)
    saved.close()
    config = {name: settings[name] for name in ("model", "loss", "augment")}
    config["evaluation"] = dict(griffin_lim_iterations=5)
    write_system(
        folder,
        {
            name: settings[name]
            for name in ("stems", "target", "sample_rate_hz", "window_s", "frontend")
        }
        | dict(task="separation", name="tiny", target_name="vocals_other", hop_s=0.128)
        | dict(post_db=-30.0, config=config),
    )
    return folder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_workdir(tmp_path_factory.mktemp("separator"))


@pytest.fixture(scope="module")
def separator(workdir):
    return irec_jax.load_separator(workdir)


@pytest.fixture
def quick(monkeypatch, separator):
    """Skip drawing and share one compiled separator, which take most of the time."""
    monkeypatch.setattr(
        spectrogram_overview, "draw_overview", lambda *_, **__: Figure(figsize=(1, 1))
    )
    monkeypatch.setattr(separator_module, "load_separator", lambda _: separator)


def music(seconds, channels=1, rate_hz=RATE_HZ, seed=0):
    """Return chirps with noise, float64 (T, C)."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    pitches = rng.uniform(200, 900, channels)
    return 0.3 * np.sin(2 * np.pi * pitches * time_s[:, None] * (1 + 0.1 * time_s[:, None])) + (
        0.05 * rng.normal(size=(len(time_s), channels))
    )


def read(folder, name):
    return soundfile.read(folder / f"{name}.wav", dtype="float64", always_2d=True)[0]


def write_mp4(path, samples, rate_hz):
    """Write an mp4 file with a picture and two audio streams: the samples, then silence."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 16, 16, "yuvj420p"
        streams = [container.add_stream("aac", rate=rate_hz, layout="stereo") for _ in range(2)]
        blank = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for packet in [*picture.encode(blank), *picture.encode(None)]:
            container.mux(packet)
        for stream, gain in zip(streams, (1, 0), strict=True):
            planes = np.ascontiguousarray((gain * samples).T, np.float32)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
            frame.sample_rate = rate_hz
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)


def test_stems_sum_to_the_input_and_match_inference(workdir, separator, tmp_path):
    samples = np.round(music(3.1, 2) * 2**15) / 2**15
    soundfile.write(tmp_path / "song.wav", samples, RATE_HZ)
    result = irec_jax.separate(
        tmp_path / "song.wav", workdir=workdir, out=tmp_path / "out", progress=False
    )
    folder = tmp_path / "out" / "song"
    assert sorted(os.listdir(folder)) == NAMES and result.picture == folder / "spectrograms.png"
    assert matplotlib.image.imread(result.picture).shape[1] > 1000
    assert result.stems == {name: folder / f"{name}.wav" for name in ("vocals_other", "remainder")}
    assert (result.num_samples, result.num_channels, result.sample_rate_hz) == (24_800, 2, RATE_HZ)
    for path in result.stems.values():
        header = soundfile.info(path)
        assert (header.frames, header.channels, header.samplerate) == (24_800, 2, RATE_HZ)
        assert (header.format, header.subtype) == ("WAV", "PCM_24")
    target, remainder = read(folder, "vocals_other"), read(folder, "remainder")
    np.testing.assert_array_equal(target + remainder, samples)
    # Each channel is separated independently.
    frontend, hop = separator.task.frontend, separator.hop_of(None)
    for channel in range(2):
        blocks = separate_blocks(
            [samples[:, channel : channel + 1].astype(np.float32)],
            lambda windows: separator.predict({"audio": windows}),
            frontend,
            window_samples=separator.task.window_samples,
            hop_frames=hop,
            batch_size=1,
        )
        separated = np.concatenate(list(blocks))
        np.testing.assert_allclose(target[:, channel], separated[:, 0], atol=1e-5)
    assert np.square(target).sum() < 0.9 * np.square(samples).sum()
    # Arrays give the same stems, in the shape of the input.
    of_array = irec_jax.separate(samples, workdir=separator, sample_rate=RATE_HZ)
    np.testing.assert_allclose(of_array.stems["vocals_other"], target, atol=2**-23)
    np.testing.assert_allclose(of_array.stems["remainder"], remainder, atol=2**-23)
    mono = irec_jax.separate(samples[:, 0], workdir=separator, sample_rate=RATE_HZ)
    assert mono.stems["remainder"].shape == (24_800,) and mono.picture is None
    np.testing.assert_allclose(mono.stems["vocals_other"], target[:, 0], atol=1e-5)


def test_overlap_is_the_number_of_windows_of_a_second(separator):
    """A window has 32 frames, of which 3 reach beyond it."""
    hops = [separator.hop_of(overlap) for overlap in (None, 1, 1.5, 2, 4, 16)]
    assert hops == [29, 29, 21, 16, 8, 2]


@pytest.mark.usefixtures("quick")
def test_folder_with_many_formats_and_faulty_files(workdir, tmp_path, capsys):
    source = tmp_path / "in"
    (source / "more").mkdir(parents=True)
    soundfile.write(source / "short.wav", music(0.1), RATE_HZ)
    soundfile.write(source / "one sample.wav", [0.25], 44_100)
    soundfile.write(source / "six [48k].flac", music(0.7, 6, 48_000), 48_000)
    soundfile.write(source / "more" / "song ü.mp3", music(1, 2, 44_100), 44_100)
    soundfile.write(source / "song.ogg", music(1, 1, 11_025), 11_025)
    soundfile.write(source / "more" / "song.wav", music(1), RATE_HZ)
    soundfile.write(source / "silent.wav", np.zeros((9000, 2)), RATE_HZ)
    write_mp4(source / "track.stem.mp4", music(1, 2, 44_100), 44_100)
    soundfile.write(source / "nan.wav", [0.0] * 70_000 + [np.nan], RATE_HZ, subtype="FLOAT")
    (source / "empty.wav").touch()
    out = source / "stems"
    assert call(source, "--workdir", workdir, "--out", out) == 0
    printed = capsys.readouterr()
    names = ["one sample", "short", "silent", "six [48k]", "song ü", "song-1", "song-2"]
    assert sorted(os.listdir(out)) == sorted([*names, "track"])
    errors = [line for line in printed.err.replace("\r", "\n").splitlines() if "error" in line]
    assert len(errors) == 2 and "nan.wav: contains NaN" in errors[1] and "empty.wav" in errors[0]
    assert "2 of 10 files could not be separated" in printed.err
    assert len(printed.out.splitlines()) == 8 and "silent)" in printed.out
    for stem, file in (
        *((name, f"{name}.wav") for name in ("short", "one sample", "silent")),
        *(("six [48k]", "six [48k].flac"), ("song ü", "more/song ü.mp3")),
        *(("song-1", "more/song.wav"), ("song-2", "song.ogg"), ("track", "track.stem.mp4")),
    ):
        assert sorted(os.listdir(out / stem)) == NAMES
        samples, rate_hz = audio.read(source / file)
        target, remainder = (read(out / stem, name) for name in ("vocals_other", "remainder"))
        assert soundfile.info(out / stem / "remainder.wav").samplerate == rate_hz
        assert target.shape == remainder.shape == samples.shape
        assert np.abs(target + remainder - samples).max() <= 2**-22
    assert not read(out / "silent", "vocals_other").any()
    # A second run ignores the stems and does not overwrite them.
    assert call(source, "--workdir", workdir, "--out", out) == 1
    printed = capsys.readouterr()
    assert "10 of 10" in printed.err and printed.err.count("--overwrite") == 8
    assert call(source / "song.ogg", "--workdir", workdir, "--out", out) == 0
    assert (out / "song").is_dir()
    assert call(out, "--workdir", workdir, "--out", out) == 1
    assert "is also searched for audio" in capsys.readouterr().err


@pytest.mark.parametrize("rate_hz", [6000, 11_025, 16_000])
def test_other_sample_rates_keep_the_signal_aligned(separator, rate_hz, monkeypatch):
    """With an identity network, the target equals the band-limited input."""
    identity = lambda batch: separator.task.frontend(batch["audio"])  # noqa: E731
    monkeypatch.setitem(separator.__dict__, "predict", identity)
    samples = music(2.3, 2, rate_hz).astype(np.float32)
    sos = scipy.signal.butter(8, 2000, fs=rate_hz, output="sos")
    samples = scipy.signal.sosfiltfilt(sos, samples, axis=0).astype(np.float32)
    result = irec_jax.separate(samples, workdir=separator, sample_rate=rate_hz)
    target, interior = result.stems["vocals_other"], slice(600, -600)
    assert target.shape == samples.shape
    error = np.square(target - samples)[interior].sum() / np.square(samples)[interior].sum()
    assert error < 1e-6


@pytest.mark.usefixtures("quick")
def test_post_and_phase_options_change_the_target(workdir, tmp_path, capsys):
    soundfile.write(tmp_path / "song.wav", music(1.5), RATE_HZ)
    words = [tmp_path / "song.wav", "--workdir", workdir, "--out"]
    assert call(*words, tmp_path / "a") == call(*words, tmp_path / "b", "--post") == 0
    assert call(*words, tmp_path / "c", "--phase", "griffin-lim") == 0
    raw, post, griffin_lim = (read(tmp_path / out / "song", "vocals_other") for out in "abc")
    samples = read(tmp_path, "song")
    assert 0 < np.square(post).sum() < np.square(raw).sum() and not np.allclose(post, raw)
    assert not np.allclose(griffin_lim, raw, atol=1e-3) and np.square(griffin_lim).sum() > 0
    np.testing.assert_allclose(
        griffin_lim + read(tmp_path / "c" / "song", "remainder"), samples, atol=2**-22
    )
    capsys.readouterr()
    assert call(*words, tmp_path / "o", "--overlap", "4") == 0
    overlapping = read(tmp_path / "o" / "song", "vocals_other")
    assert 0 < np.square(overlapping - raw).sum() < 0.5 * np.square(raw).sum()
    capsys.readouterr()
    for overlap in ("0.5", "nan", "17"):
        assert call(*words, tmp_path / "d", "--overlap", overlap) == 1
        error = capsys.readouterr().err
        assert f"overlap={overlap}: expected a number from 1 to 16" in error
    assert call(*words, tmp_path / "d", "--phase", "griffinlim") == 1
    assert "did you mean 'griffin-lim'" in capsys.readouterr().err and not (tmp_path / "d").exists()


def test_silent_channels_stay_silent_with_direct_output(tmp_path):
    direct = irec_jax.load_separator(write_workdir(tmp_path / "direct", output="direct"))
    samples = music(2, 2).astype(np.float32)
    samples[:, 1] = 0
    target = irec_jax.separate(samples, workdir=direct, sample_rate=RATE_HZ).stems["vocals_other"]
    assert target[:, 0].any() and not target[:, 1].any()


@pytest.mark.usefixtures("quick")
def test_clipped_samples_are_counted(workdir, tmp_path, capsys):
    soundfile.write(tmp_path / "loud.wav", 30 * music(1), RATE_HZ, subtype="FLOAT")
    assert call(tmp_path / "loud.wav", "--workdir", workdir, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert (
        "samples of vocals_other and " in printed
        and "clipped: reduce the level of the input" in printed
    )
    remainder = read(tmp_path / "out" / "loud", "remainder")
    num_clipped = np.count_nonzero(np.abs(remainder) >= 1 - 2**-22)
    assert f"{num_clipped:,} samples of remainder" in printed


@pytest.mark.usefixtures("quick")
def test_stems_of_loud_music_are_not_clipped(tmp_path, capsys):
    """Use a square wave at full scale and at 1.99 times full scale."""
    direct = write_workdir(tmp_path / "direct", output="direct")
    square = np.sign(np.sin(np.arange(RATE_HZ) / 7.0))
    for peak, subtype in ((1.0, "PCM_16"), (1.99, "FLOAT")):
        soundfile.write(tmp_path / "square.wav", peak * square, RATE_HZ, subtype=subtype)
        samples, _ = soundfile.read(tmp_path / "square.wav", always_2d=True)
        out = tmp_path / subtype
        assert call(tmp_path / "square.wav", "--workdir", direct, "--out", out) == 0
        assert "clipped" not in capsys.readouterr().out
        target, remainder = (read(out / "square", name) for name in ("vocals_other", "remainder"))
        np.testing.assert_allclose(target + remainder, samples, atol=2**-22)
    stems = irec_jax.separate(samples, workdir=direct, sample_rate=RATE_HZ).stems
    assert max(np.abs(stem).max() for stem in stems.values()) > 1.1  # these would clip in a file


@pytest.mark.usefixtures("quick")
def test_samples_far_beyond_full_scale_are_rejected(workdir, tmp_path, capsys):
    soundfile.write(tmp_path / "huge.wav", 1e30 * music(1), RATE_HZ, subtype="FLOAT")
    assert call(tmp_path / "huge.wav", "--workdir", workdir, "--out", tmp_path / "out") == 1
    assert "huge.wav: contains samples above 1e+12 times full scale" in capsys.readouterr().err
    with pytest.raises(UserError, match="times full scale"):
        irec_jax.separate(1e30 * music(1), workdir=workdir, sample_rate=RATE_HZ)
    (tmp_path / "file").touch()
    words = [tmp_path / "huge.wav", "--workdir", workdir, "--out", tmp_path / "file"]
    assert call(*words) == 1 and "is a file; choose a folder" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_interruption_leaves_no_partial_files(workdir, tmp_path, monkeypatch, capsys):
    soundfile.write(tmp_path / "song.wav", music(1), RATE_HZ)
    folder = tmp_path / "out" / "song"
    folder.mkdir(parents=True)
    (folder / "remainder.wav").write_text("earlier")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    words = [tmp_path / "song.wav", "--workdir", workdir, "--out"]
    for owner, function in (
        (writing.TrackWriter, "write"),
        (spectrogram_overview, "draw_overview"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, function, interrupt)
            assert call(*words, tmp_path / "out", "--overwrite") == 130
            assert call(*words, tmp_path / "new") == 130
        assert capsys.readouterr().err.count("interrupted; the results of finished") == 2
        assert os.listdir(folder) == ["remainder.wav"] and not (tmp_path / "new").exists()
        assert (folder / "remainder.wav").read_text() == "earlier"
    assert call(*words, tmp_path / "out", "--overwrite") == 0
    assert sorted(os.listdir(folder)) == NAMES and read(folder, "remainder").any()


@pytest.mark.usefixtures("quick")
def test_files_are_read_outside_the_main_thread(separator, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "song.mp3", music(1), RATE_HZ)
    threads, blocks = set(), audio.blocks

    def record_thread(*args, **options):
        for block in blocks(*args, **options):
            threads.add(threading.current_thread())
            yield block

    monkeypatch.setattr(reading, "blocks", record_thread)
    irec_jax.separate(tmp_path / "song.mp3", workdir=separator, out=tmp_path, progress=False)
    assert threads and threading.main_thread() not in threads


@pytest.mark.usefixtures("quick")
def test_memory_does_not_grow_with_file_length(separator, tmp_path, monkeypatch):
    monkeypatch.setattr(tracks, "BLOCK_SAMPLES", 8192)
    lengths_s, peaks = (20, 100), []
    for length_s in lengths_s:
        path = tmp_path / f"{length_s}.wav"
        with soundfile.SoundFile(path, "w", RATE_HZ, 2, "PCM_16") as file:
            for part in range(length_s // 10):
                file.write(music(10, 2, seed=part))
        tracemalloc.start()
        irec_jax.separate(path, workdir=separator, out=tmp_path / "out", progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    longer_bytes = (lengths_s[1] - lengths_s[0]) * RATE_HZ * 2 * 4  # stereo, float32
    assert peaks[1] - peaks[0] < longer_bytes / 4


@pytest.mark.usefixtures("quick")
def test_long_songs_are_written_as_rf64(separator, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "song.wav", music(1), RATE_HZ)
    monkeypatch.setattr(writing, "_MAX_WAV_BYTES", 20_000)
    result = irec_jax.separate(
        tmp_path / "song.wav", workdir=separator, out=tmp_path, progress=False
    )
    assert {soundfile.info(path).format for path in result.stems.values()} == {"RF64"}
    assert result.num_samples == audio.info(result.stems["remainder"]).num_samples == RATE_HZ


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{file}", "--out", "{new}"], "configs/ligtenberg_unet.py"),
        (["{file}", "--out", "", "--workdir", "{workdir}"], "--out: empty name"),
        (["{file}", "--out", "{new}", "--workdir", "nowhere"], "nowhere: no such folder"),
        (["{missing}", "--out", "{new}", "--workdir", "{workdir}"], "missing.wav"),
        (["{file}", "--out", "{file}/x", "--workdir", "{workdir}"], "file.wav"),
        (["{file}", "--out", "{new}", "--workdir", "{recogniser}"], "irec recognize"),
        (["{file}", "--out", "{same}", "--workdir", "{workdir}", "--overwrite"], "one of the"),
    ],
)
def test_mistakes_are_reported_in_one_line(workdir, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / "file.wav", music(0.1), RATE_HZ)
    (tmp_path / "same" / "file").mkdir(parents=True)
    (tmp_path / "same" / "file" / "remainder.wav").symlink_to(tmp_path / "file.wav")
    if "{recogniser}" in words:
        call_trace.write_recogniser(tmp_path / "recogniser")
    paths = {name: tmp_path / name for name in ("new", "same", "recogniser")}
    paths |= dict(file="file.wav", missing="missing.wav", workdir=workdir)
    assert call(*(word.format(**paths) for word in words)) == 1
    error = capsys.readouterr().err.rpartition("\r")[2].strip()  # after the progress bar
    assert message in error and error.startswith("error: ") and "Traceback" not in error
    assert len(error.splitlines()) == 1 or "1 of 1 file" in error
    assert not (tmp_path / "new").exists()


def test_load_recogniser_rejects_a_separator(workdir):
    with pytest.raises(UserError, match=r"contains a separator \(tiny\), not a .*irec separate"):
        systems.load_recogniser(workdir)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.zeros(10, np.float32), {}, "sample_rate"),
        (np.zeros((2, 50), np.float32), dict(sample_rate=8000), "transpose"),
        ("song.wav", {}, "out: missing"),
        (["song.wav"], {}, "a path or a numpy array"),
        (np.zeros(10, np.float32), dict(sample_rate=8000, phase="zero"), "phase"),
    ],
)
def test_invalid_python_arguments_are_rejected(separator, source, options, message):
    with pytest.raises(UserError, match=message):
        irec_jax.separate(source, workdir=separator, **options)


def test_every_file_gets_its_own_folder(tmp_path):
    files = ["a/x.wav", "x.mp3", "X.ogg", "x-1.wav", "y.stem.mp4", "...wav", "b/..wav"]
    names = separator_files.folder_names([tmp_path / file for file in files])
    assert names == ["x-2", "x-3", "X-4", "x-1", "y", *names[5:]]
    assert len({name.casefold() for name in names}) == len(names)
    assert not {".", "..", ""} & set(names)


@pytest.mark.parametrize("num_samples", [1, 700, 50_000])
def test_overview_matches_the_mean_of_the_complete_spectrogram(num_samples):
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(num_samples, 2)).astype(np.float32)
    overview = spectrogram_overview.SpectrogramOverview(RATE_HZ, num_samples)
    boundaries = np.sort(rng.integers(0, num_samples + 1, 7))
    for part in np.split(samples, boundaries):
        if len(part):
            overview.add(part)
    actual = overview.powers()
    length, hop = 512, min(max(num_samples // 800, 32), 256)
    padded = np.pad(samples, ((256, 512), (0, 0)))
    window = scipy.signal.get_window("hann", length)
    powers = np.array(
        [
            np.mean(np.abs(np.fft.rfft(padded[i : i + length] * window[:, None], axis=0)) ** 2, 1)
            for i in range(0, num_samples + 1, hop)
        ]
    )
    num_columns = min(len(powers), 800)
    column_of = np.arange(len(powers)) * num_columns // len(powers)
    means = np.stack([powers[column_of == i].mean(0) for i in range(num_columns)])
    expected = spectrogram_overview.octave_bands(means.T.astype(float), RATE_HZ)
    assert actual.shape == (200, num_columns)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_overview_shows_a_tone_at_its_frequency_and_time(tmp_path):
    tone = np.sin(2 * np.pi * 1000 * np.arange(80_000) / RATE_HZ).astype(np.float32)[:, None]
    tone[:40_000] = 0
    overview = spectrogram_overview.SpectrogramOverview(RATE_HZ, len(tone))
    overview.add(tone)
    powers = overview.powers()
    edges_hz = spectrogram_overview.band_edges_hz(RATE_HZ)
    loudest = powers.sum(1).argmax()
    assert edges_hz[loudest - 1] < 1000 < edges_hz[loudest + 2]
    assert powers[:, : powers.shape[1] * 48 // 100].sum() < 1e-6 * powers.sum()
    figure = spectrogram_overview.draw_overview(
        {"mixture": powers, "vocals_other": powers, "remainder": 0 * powers},
        title="a song",
        sample_rate_hz=RATE_HZ,
        duration_s=10.0,
    )
    axes = figure.axes[:3]
    assert [panel.get_title(loc="left") for panel in axes] == [
        "mixture",
        "vocals + other",
        "remainder",
    ]
    assert (
        all("Hz" in panel.get_ylabel() for panel in axes) and axes[2].get_xlabel() == "time (m:ss)"
    )
    assert "dB" in figure.axes[3].get_ylabel()
    image = axes[0].images[0].get_array()
    assert image.max() == 0 and image.shape == powers.shape
