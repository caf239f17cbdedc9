"""`irec recognize` and `irec build` on valid and invalid files."""

import dataclasses
import json
import tracemalloc

import av
import numpy as np
import pytest
import soundfile

import irec_jax
from irec_jax import cli
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.systems import recogniser


def call(*words):
    """Run `irec` in this process and return its exit code."""
    return run_command(lambda: cli.run(words))


def tone(rate_hz, seconds, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(rate_hz * seconds)) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * 440 * time_s) + 0.01 * rng.normal(size=len(time_s))
    return np.tile(wave[:, None], (1, channels)).astype(np.float32)


def write_m4a(path, samples, rate_hz):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@pytest.fixture
def folder(tmp_path):
    """Folder of files in many formats, three of which cannot be read."""
    soundfile.write(tmp_path / "phone.wav", tone(8000, 0.1), 8000)
    soundfile.write(tmp_path / "six [96k].flac", tone(96000, 2.2, 6), 96000)
    soundfile.write(tmp_path / "song ü.mp3", tone(44100, 3, 2), 44100)
    soundfile.write(tmp_path / "song.ogg", tone(44100, 1.5, 2), 44100)
    write_m4a(tmp_path / "a.m4a", tone(44100, 2), 44100)
    soundfile.write(tmp_path / "silent.wav", np.zeros(22050), 22050)
    nan = tone(22050, 1)
    nan[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", nan, 22050, subtype="FLOAT")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "cut.wav", tone(22050, 2), 22050)
    content = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    return tmp_path


def test_folder_with_many_formats_and_faulty_files(folder, trained, tmp_path_factory, capsys):
    out = tmp_path_factory.mktemp("out")
    words = ["recognize", folder, "--workdir", trained, "--json", out / "found.json"]
    assert call(*words, "--plot", out / "plot.png") == 0
    printed = capsys.readouterr()
    for name in ("nan.wav", "empty.wav", "cut.wav"):
        assert [name in line for line in printed.err.splitlines()].count(True) == 1
        assert name not in printed.out
    assert "3 of 9 files" in printed.err and "Traceback" not in printed.err
    assert len(printed.out.strip().splitlines()) == 6
    result = json.loads((out / "found.json").read_text())
    by_name = {record["file"].rsplit("/", 1)[1]: record for record in result["files"]}
    assert sum("error" in record for record in result["files"]) == 3
    silent = by_name["silent.wav"]
    assert silent["labels"] == [] and silent["note"] == "silent" and silent["segments"] == []
    six_channels = by_name["six [96k].flac"]
    assert six_channels["duration_s"] == pytest.approx(2.2, abs=0.001)
    assert six_channels["over_time"]["time_s"] == [0.5, 1.0, 1.5, 1.7]
    assert len(six_channels["over_time"]["scores"]) == 11
    assert max(six_channels["scores"].values()) == 1.0
    assert six_channels["labels"] == [k for k, v in six_channels["scores"].items() if v >= 0.5]
    assert by_name["phone.wav"]["over_time"]["time_s"] == [0.05]
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert len(pictures) == 6 and "plot-six [96k].png" in pictures and "plot-song.png" in pictures


def test_segments_are_written_as_a_table_and_for_audacity(folder, trained, tmp_path, capsys):
    words = ["recognize", folder / "song.ogg", "--workdir", trained]
    segments = irec_jax.recognize(folder / "song.ogg", workdir=trained).segments
    assert segments
    assert call(*words, "--segments", tmp_path / "a.csv") == 0
    rows = [line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines()]
    assert rows[0] == ["instrument", "start_s", "end_s"]
    assert [(n, float(a), float(b)) for n, a, b in rows[1:]] == [
        (name, round(start, 6), round(end, 6)) for name, start, end in segments
    ]
    both = ["recognize", folder / "a.m4a", *words[1:]]
    assert call(*both, "--segments", tmp_path / "b.txt") == 0
    labels = [line.split("\t") for line in (tmp_path / "b-song.txt").read_text().splitlines()]
    assert [[name, start, end] for start, end, name in labels] == rows[1:]
    assert (tmp_path / "b-a.txt").exists()
    capsys.readouterr()
    assert call(*words, "--segments", "song.wav") == 1
    assert "--segments song.wav: expected a name that ends with .csv or .txt" in (
        capsys.readouterr().err
    )


def test_python_call_matches_the_command(folder, trained, tmp_path, capsys):
    out = tmp_path / "one.json"
    assert call("recognize", folder / "song.ogg", "--workdir", trained, "--json", out) == 0
    (record,) = json.loads(out.read_text())["files"]
    from_file = irec_jax.recognize(folder / "song.ogg", workdir=trained)
    assert from_file.to_dict() == record
    samples, rate_hz = soundfile.read(folder / "song.ogg", dtype="float32")
    from_array = irec_jax.recognize(samples, sample_rate=rate_hz, workdir=trained)
    np.testing.assert_allclose(from_array.window_scores, from_file.window_scores, atol=1e-5)
    assert from_array.labels == from_file.labels and from_array.source == "array"
    capsys.readouterr()


def test_thresholds_by_name_and_number(folder, trained, capsys):
    system = irec_jax.load_recogniser(trained)
    all_labels = system.recognize(folder / "song.ogg", threshold=0.0)
    assert len(all_labels.labels) == 11
    assert len(system.recognize(folder / "song.ogg", threshold="1").labels) == 1
    levels = system.recognize(folder / "song.ogg", threshold="validation_per_class").thresholds
    assert list(levels.values()) == system.thresholds["validation_per_class"]
    with pytest.raises(UserError, match="fixed, validation, validation_per_class"):
        system.recognize(folder / "song.ogg", threshold="best")
    for invalid in (None, True, [0.5], 7, -1.0, float("nan")):
        with pytest.raises(UserError, match="threshold"):
            system.recognize(folder / "song.ogg", threshold=invalid)


def test_batches_of_long_windows_are_small(folder, trained, monkeypatch):
    system, sizes = irec_jax.load_recogniser(trained), []

    def predict(batch):
        sizes.append(len(batch["audio"]))
        return system.predict(batch)

    recording_system = dataclasses.replace(system, predict=predict)
    expected = recording_system.recognize(folder / "song.ogg").window_scores
    assert set(sizes) == {recogniser.BATCH_SIZE}
    for num_samples, batch_size in ((3.9 * system.task.window_samples, 3), (1, 1)):
        monkeypatch.setattr(recogniser, "BATCH_SAMPLES", int(num_samples))
        sizes.clear()
        scores = recording_system.recognize(folder / "song.ogg").window_scores
        assert set(sizes) == {batch_size} and len(sizes) == -(-len(scores) // batch_size)
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_links_are_followed_and_devices_are_rejected(folder, trained, tmp_path, capsys):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    words = ["recognize", folder / "song.ogg", "--workdir", trained, "--json"]
    assert call(*words, tmp_path / "link.json", "--overwrite") == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["files"]
    assert call(*words, "/dev/null") == 1
    assert "/dev/null: is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (np.zeros(10, np.float32), None, "sample_rate"),
        (np.zeros(10, np.float32), float("inf"), "sample_rate=inf"),
        (np.zeros(10, np.float32), 44100.5, "sample_rate=44100.5"),
        (np.zeros((2, 5000), np.float32), 8000, "transpose"),
        (np.zeros(10, np.int64), 8000, "int64"),
        (np.zeros((0,), np.float32), 8000, "shape"),
        (np.full(10, np.inf), 8000, "NaN or infinite"),
        (["a"], 8000, "path or a numpy array"),
    ],
)
def test_arrays_that_are_not_audio_are_rejected(trained, samples, rate_hz, message):
    with pytest.raises(UserError, match=message):
        irec_jax.load_recogniser(trained).recognize(samples, sample_rate_hz=rate_hz)


def test_memory_does_not_grow_with_file_length(trained, tmp_path):
    system = irec_jax.load_recogniser(trained)
    minutes, peaks = (3, 12), []  # both exceed the batches processed concurrently
    for length in minutes:
        path = tmp_path / f"{length}.wav"
        with soundfile.SoundFile(path, "w", 22050, 1, "PCM_16") as file:
            for part in range(length * 6):
                file.write(tone(22050, 10, seed=part))
        tracemalloc.start()
        result = system.recognize(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(result.times_s) == length * 120 - 1
    longer_bytes = (minutes[1] - minutes[0]) * 60 * 22050 * 4
    assert peaks[1] - peaks[0] < longer_bytes / 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["song.wav"], "song.wav: no such file or folder"),
        (["{file}", "--workdir", "nowhere"], "nowhere"),
        (["{empty}", "--workdir", "{trained}"], "no audio"),
        (["{file}", "--workdir", "{empty}"], "system.json"),
        (["{file}", "--workdir", "{trained}", "--plot", "picture"], ".png"),
        (["{missing}", "--workdir", "{trained}"], "missing.wav"),
        (["{file}", "--workdir", "{trained}", "--json", "{file}/x.json"], "x.json"),
        (["{file}", "--workdir", "{trained}", "--threshold", "best"], "best"),
    ],
)
def test_mistakes_are_reported_in_one_line(words, message, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "file.wav", tone(8000, 1), 8000)
    paths = dict(
        trained=trained,
        empty=tmp_path / "empty",
        file=tmp_path / "file.wav",
        missing=tmp_path / "missing.wav",
    )
    assert call("recognize", *(str(word).format(**paths) for word in words)) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("error: ") and "Traceback" not in error
    assert len(error.splitlines()) == 1 or "1 of 1 file" in error


def test_british_spelling_is_the_same_command(capsys):
    assert call("recognise", "missing.wav") == call("recognize", "missing.wav") == 1
    british, american = capsys.readouterr().err.strip().splitlines()
    assert british == american


def test_build_prepares_a_dataset_and_checks_its_options(tmp_path, capsys):
    soundfile.write(tmp_path / "file.wav", tone(8000, 1), 8000)
    for name in ("bell", "drum"):
        for i in range(6):
            (tmp_path / "sounds" / name).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "sounds" / name / f"{i}.wav", tone(8000, 1, seed=i), 8000)
    words = ["build", "folder", "--path", tmp_path / "sounds", "--data_dir", tmp_path / "data"]
    assert call(*words) == 0
    assert "ready in" in capsys.readouterr().out
    assert list((tmp_path / "data").rglob("dataset_info.json"))
    assert call("build", "gm_irmsa") == 1
    assert "did you mean 'gm_irmas'" in capsys.readouterr().err
    assert call("build", "gm_irmas", "--path", "x") == 1
    assert "path" in capsys.readouterr().err
