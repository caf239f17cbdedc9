"""`irec explain`: maps of gradient x input, deconvolved segments, and pictures of files."""

from typing import Any

import call_trace
import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
import soundfile

import irec_jax
from irec_jax import cli
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.models.deconvolution import deconvolve
from irec_jax.systems import explainer as explainers
from irec_jax.tasks import create_recognition

RATE_HZ = 8000


def call(*words):
    return run_command(lambda: cli.run(["explain", *map(str, words)]))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return call_trace.write_recogniser(tmp_path_factory.mktemp("recogniser"))


@pytest.fixture(scope="module")
def explainer(workdir):
    return explainers.load_explainer(workdir)


def sound(start_s=2.0, end_s=2.6, seconds=5.0):
    """Return three harmonics between two times in silence (T,)."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * 500 * k * time_s) / k for k in (1, 2, 3))
    return (0.3 * tones * ((time_s >= start_s) & (time_s < end_s))).astype(np.float32)


def test_class_activation_is_gradient_times_input_above_silence():
    """Compared with differences of the logit, one value of the spectrogram at a time."""
    task = create_recognition(
        classes=["pia", "vio"],
        sample_rate_hz=RATE_HZ,
        window_s=0.5,
        frontend=dict(name="log_mel", frame_length=512, hop_length=256, num_mels=32),
        # Without kinks.
        model=dict(name="convnet", filters=(4,), dense=8, activation="tanh", pooling="mean"),
        loss=dict(name="binary_cross_entropy"),
        augment={},
    )
    variables = task.init(jax.random.key(0))
    audio = np.stack([sound(0.1, 0.4, 0.5), np.zeros(4000, np.float32)])
    batch = {"audio": audio, "gain": np.ones(2, np.float32), "num_samples": np.full(2, 4000)}
    features, maps = explainers.class_activation(task, *variables, batch, np.array([1, 0]))
    silence = features[1]
    np.testing.assert_allclose(maps[:, 1], 0, atol=1e-6)
    strongest = np.argsort(-np.abs(maps[0, 0]).ravel())[:20]
    step = 0.05
    changed = np.tile(np.asarray(features[0]).ravel(), (20, 2, 1))
    changed[np.arange(20), 0, strongest] -= step
    changed[np.arange(20), 1, strongest] += step
    logits = task.logits(*variables, jnp.asarray(changed.reshape(40, *features.shape[1:])))
    slopes = np.diff(np.asarray(logits)[:, 1].reshape(20, 2), axis=1)[:, 0] / (2 * step)
    expected = slopes * np.asarray(features[0] - silence).ravel()[strongest]
    np.testing.assert_allclose(np.asarray(maps[0, 0]).ravel()[strongest], expected, rtol=0.02)


def test_isolated_sound_is_where_the_pictures_light_up(explainer):
    explanation = explainer.explain(sound(), sample_rate_hz=RATE_HZ, classes=["piano", "vio"])
    assert list(explanation.class_activation) == ["pia", "vio"]
    assert explanation.duration_s == 5.0
    num_bands, num_columns = explanation.spectrogram.shape
    assert (num_bands, num_columns) == (32, int(5 * RATE_HZ / 256))
    assert np.abs(explanation.spectrogram[:, -1] - explanation.spectrogram[:, 0]).max() < 0.1
    times_s = (np.arange(num_columns) + 0.5) / num_columns * 5
    near = (times_s > 1.9) & (times_s < 2.7)
    assert explanation.spectrogram[:, near].max() > explanation.spectrogram[:, ~near].max() + 1
    for values in explanation.class_activation.values():
        assert np.abs(values[:, near]).max() > 0
        np.testing.assert_allclose(values[:, ~near], 0, atol=1e-6)
    segment = explanation.segment
    assert segment.start_s < 2.0 and segment.end_s > 2.6
    assert segment.end_s - segment.start_s == pytest.approx(3.0)
    assert [unit.block for unit in segment.units] == [1, 1, 2, 2]
    expected = deconvolve(explainer.recogniser.task.model, explainer.params, segment.spectrogram.T)
    for unit, other in zip(segment.units, expected, strict=True):
        assert unit[:2] == other[:2]
        np.testing.assert_allclose(unit.picture, other.picture, atol=1e-5)


def test_segment_contains_the_named_time(explainer):
    samples = sound()
    for at_s, start_s in ((0.0, 0.0), (2.5, 1.0), (5.0, 2.0)):
        segment = explainer.explain(samples, sample_rate_hz=RATE_HZ, at_s=at_s).segment
        assert segment.start_s == pytest.approx(start_s)
    with pytest.raises(
        UserError, match="array: 5.1 s is outside the recording of 5 s; choose another time"
    ):
        explainer.explain(samples, sample_rate_hz=RATE_HZ, at_s=5.1)


def test_steady_sound_has_a_steady_spectrogram(explainer):
    spectrogram = explainer.explain(sound(0, 5), sample_rate_hz=RATE_HZ).spectrogram
    inside = spectrogram[:, 5:-5]
    loud = inside.mean(axis=1) > spectrogram.max() - 20
    assert loud.any() and np.ptp(inside[loud], axis=1).max() < 1.0


def test_long_recordings_have_columns_of_several_frames(explainer, monkeypatch):
    full = explainer.explain(sound(), sample_rate_hz=RATE_HZ)
    monkeypatch.setattr(explainers, "MAX_COLUMNS", 39)
    short = explainer.explain(sound(), sample_rate_hz=RATE_HZ)
    assert full.spectrogram.shape[1] == 156 and short.spectrogram.shape[1] == 39
    means = full.spectrogram.reshape(32, 39, 4).mean(axis=2)
    assert np.abs(short.spectrogram - means).max() < 0.6


def test_clip_shorter_than_a_window(explainer):
    explanation = explainer.explain(sound(0, 0.2, 0.2), sample_rate_hz=RATE_HZ)
    assert explanation.spectrogram.shape == (32, 6)
    assert explanation.segment.spectrogram.shape == (32, 6)
    assert explanation.segment.end_s == pytest.approx(0.2)


def test_files_are_drawn_and_others_reported(workdir, tmp_path, capsys):
    for name, samples in (("a", sound()), ("b", sound()), ("quiet", np.zeros(8000))):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE_HZ)
    (tmp_path / "damaged.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:30])
    out = tmp_path / "out"
    assert call(tmp_path, "--workdir", workdir, "--out", out) == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2 and "2 of 4 files failed" in printed.err
    assert "damaged.wav" in lines[0] and "quiet.wav: silent; choose a recording" in lines[1]
    assert [line.split()[1] for line in printed.out.splitlines()] == ["0:05", "0:05"]
    pictures = ["a-classes.png", "a-deconvolution.png", "b-classes.png", "b-deconvolution.png"]
    assert sorted(path.name for path in out.iterdir()) == pictures
    for name in pictures:
        assert matplotlib.image.imread(out / name).std() > 0.05
    # The pictures are not replaced; a new file is still explained.
    soundfile.write(tmp_path / "c.wav", sound(), RATE_HZ)
    files = [tmp_path / "a.wav", tmp_path / "c.wav"]
    assert call(*files, "--workdir", workdir, "--out", out) == 0
    error = capsys.readouterr().err
    assert f"error: {out}: already contains a-classes.png, a-deconvolution.png; name" in error
    assert (out / "c-classes.png").exists()
    assert call(files[0], "--workdir", workdir, "--out", out, "--overwrite") == 0


def test_errors_are_one_line(workdir, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", sound(), RATE_HZ)
    separator = call_trace.write_separator(tmp_path / "separator")
    file, out = tmp_path / "a.wav", tmp_path / "out"
    for words, message in (
        ((file, "--workdir", separator, "--out", out), "contains a separator (tiny), not a recog"),
        ((file, "--workdir", workdir, "--out", file), f"--out {file}: is a file; choose"),
        ((file, "--workdir", workdir, "--out", ""), "--out: empty name"),
        # Before the system is loaded.
        ((file, "--workdir", "no", "--out", file / "b"), f"{file} is not a writable folder"),
        ((file, "--workdir", "no", "--out", out, "--classes="), "--classes '': contains no name"),
        ((file, "--workdir", "no", "--out", out, "--classes", ","), "',': contains no name"),
        (("", "--workdir", workdir, "--out", out), "empty path; specify a file or folder"),
        ((file, "--workdir", workdir, "--out", out, "--classes=vix"), "did you mean 'vio'?"),
        ((file, "--workdir", workdir, "--out", out, "--at=9"), "9 s is outside the recording"),
        ((file, "--workdir", tmp_path / "no", "--out", out), "no such folder; specify the"),
        ((tmp_path / "b.wav", "--workdir", workdir, "--out", out), "b.wav: no such file"),
    ):
        assert call(*words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("error: ") == 1
        assert "Traceback" not in error
    assert not out.exists()


def write_system(folder, frontend, model):
    """Write the workdir of an untrained recogniser with this front end and network."""
    settings: dict[str, Any] = dict(
        classes=["pia", "vio"], sample_rate_hz=RATE_HZ, window_s=0.5, frontend=frontend
    )
    config = dict(model=model, loss=dict(name="binary_cross_entropy"), augment={})
    system = dict(task="recognition", name="tiny", hop_s=0.25, aggregation="s1")
    system |= dict(thresholds={"fixed": 0.5}, config=config | dict(data={}))
    task = create_recognition(**settings, **config)
    return call_trace.write_workdir(folder, task, settings | system)


def test_network_without_a_spectrogram_is_rejected(tmp_path):
    frontend = dict(name="fft_magnitude", length_samples=4000)
    folder = write_system(tmp_path, frontend, dict(name="dense", units=(4,)))
    with pytest.raises(UserError, match="does not use spectrograms .frontend fft_magnitude.; cho"):
        explainers.load_explainer(folder)


def test_other_network_has_no_deconvolution(tmp_path, capsys):
    """The spectrogram of its front end has the frequency axis first."""
    frontend = dict(
        name="spectrogram_db", frame_length=256, hop_length=125, num_bins=128, num_frames=32
    )
    model = dict(name="spectrogram_cnn", filters=(2,), kernels=(3,), strides=(2,), dilations=(1,))
    folder = write_system(tmp_path / "workdir", frontend, model)
    soundfile.write(tmp_path / "a.wav", sound(), RATE_HZ)
    assert call(tmp_path / "a.wav", "--workdir", folder, "--out", tmp_path / "out") == 0
    assert "no deconvolution" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-classes.png"]
    explanation = irec_jax.explain(tmp_path / "a.wav", workdir=folder, classes=["violin"])
    assert explanation.segment is None and list(explanation.class_activation) == ["vio"]
    assert explanation.spectrogram.shape == (128, int(5 * RATE_HZ / 125))
    strongest_hz = explanation.frequencies_hz[explanation.spectrogram[:, 140].argmax()]
    assert strongest_hz == pytest.approx(500, abs=32)
