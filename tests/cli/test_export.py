"""`irec export`, and systems that it wrote: by folder, by name and as the default."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import call_trace
import numpy as np
import pytest

import irec_jax
from irec_jax import cli
from irec_jax import config as configs
from irec_jax.checkpoints import pretrained
from irec_jax.cli.console import run_command
from irec_jax.cli.train import parse_overrides
from irec_jax.errors import UserError
from irec_jax.systems import export as export_module
from irec_jax.systems import recogniser as recogniser_module
from irec_jax.systems.export import export

ROOT = Path(__file__).parents[2]
FILES = {"system.json", "parameters.npz", "README.md", "checksums.json"}


def call(*words):
    """Run `irec` in this process and return its exit code."""
    return run_command(lambda: cli.run(words))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return call_trace.write_recogniser(tmp_path_factory.mktemp("recogniser"))


@pytest.fixture(scope="module")
def folder(workdir, tmp_path_factory):
    """Return a folder with the exported recogniser as the default of two."""
    folder = tmp_path_factory.mktemp("pretrained")
    for name in (pretrained.DEFAULT, "orchestra"):
        export(workdir, folder / name)
    return folder


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return call_trace.write_song(tmp_path_factory.mktemp("song") / "song.wav")


@pytest.fixture
def shipped(folder, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", folder)


@pytest.fixture
def none_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "none")


def test_exported_system_gives_the_scores_of_the_workdir(workdir, folder, song):
    """Probabilities differ by less than 0.01 (the tolerance that the model card states)."""
    original = irec_jax.recognize(song, workdir=workdir)
    exported = irec_jax.recognize(song, workdir=folder / "orchestra")
    np.testing.assert_allclose(exported.window_scores, original.window_scores, atol=0.01)
    assert not np.array_equal(exported.window_scores, original.window_scores)
    assert exported.thresholds == original.thresholds
    system, expected = (
        json.loads((path / "system.json").read_text()) for path in (folder / "orchestra", workdir)
    )
    assert system == expected


def test_command_prints_parameters_and_size(workdir, tmp_path, capsys):
    (tmp_path / "licence.md").write_text("## Licence\n\nCC BY 4.0\n")
    words = ["export", workdir, "--out", tmp_path / "out"]
    assert call(*words, "--card", tmp_path / "licence.md") == 0
    params = recogniser_module.load_variables(
        workdir, recogniser_module.open_recogniser(workdir)[1]
    )[0]
    num_parameters = sum(array.size for layer in params.values() for array in layer.values())
    assert capsys.readouterr().out.startswith(
        f"{num_parameters:,} parameters in {tmp_path / 'out'} (0.0 MB)"
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("# out\n") and card.endswith("## Licence\n\nCC BY 4.0\n")
    assert "piano (pia), violin (vio)" in card and f"| {num_parameters:,} (" in card
    assert call(*words) == 1
    assert "contains a system; choose another folder or set --overwrite" in capsys.readouterr().err
    assert call(*words, "--overwrite") == 0
    assert (tmp_path / "out" / "README.md").read_text().endswith("## Licence\n\nNot stated.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("W --out notes.txt", "notes.txt: is a file; choose a folder"),
        ("W --out W", "W: contains other files; choose an empty or new folder"),
        ("W --out X --card missing.md", "missing.md: cannot be read (No such file"),
        ("W --out X --card bytes.md", "bytes.md: cannot be read (not UTF-8)"),
        ("E --out X", "E: is already exported; copy the folder"),
        ("S --out X", "S: contains a separator (tiny), not a recogniser"),
        ("nowhere --out X", "nowhere: no such folder"),
        ("W --out=", "out: empty name"),
        ("W --out X --threshold tuned", "unknown threshold 'tuned': known: fixed"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    workdir, folder, tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    Path("W").symlink_to(workdir)
    Path("E").symlink_to(folder / "orchestra")
    Path("notes.txt").touch()
    Path("bytes.md").write_bytes(b"\xff")
    if words.startswith("S "):
        call_trace.write_separator(tmp_path / "S")
    assert call("export", *words.split()) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("X").exists()


def test_model_card_of_a_trained_system(trained, tmp_path):
    """Its command trains the same config, and its scores are those of the report."""
    export(trained, tmp_path / "small")
    card = (tmp_path / "small" / "README.md").read_text()
    report = json.loads((trained / "report.json").read_text())
    micro = report["thresholds"]["fixed"]["micro"]
    low, high = micro["f1_interval"]
    assert f"{micro['f1']:.3f} [{low:.3f}, {high:.3f}]" in card
    assert "expect lower scores on recordings" in card and "gm_irmas" in card
    fingerprint = json.loads((trained / "dataset.json").read_text())
    for split in fingerprint["splits"].values():
        assert f"`{split['digest']}`" in card
    assert str(trained.parent) not in card
    (line,) = (line for line in card.splitlines() if line.startswith("irec train "))
    config = json.loads((trained / "config.json").read_text())
    # The command leaves the type to the device.
    assert configs.flatten(resolve(line)) | {"model.dtype": "float32"} == config


def test_threshold_of_the_exported_system(trained, tmp_path):
    export(trained, tmp_path / "tuned", threshold="validation_per_class")
    before, after = (
        json.loads((folder / "system.json").read_text())["thresholds"]
        for folder in (trained, tmp_path / "tuned")
    )
    assert after == before | {"fixed": before["validation_per_class"]}


def resolve(command):
    """Return the config of a command `irec train ...`."""
    spec, *rest = shlex.split(command)[2:]
    config = configs.load(spec)
    configs.override(config, parse_overrides(rest))
    return config


def write_predictions(folder, *, scale, offset):
    """Write predictions for which sigmoid(scale * logit + offset) is calibrated."""
    rng, arrays = np.random.default_rng(0), {}
    for split in ("validation", "test"):
        logits = rng.normal(0.0, 2.0, (2000, 2))
        present = rng.random(logits.shape) < 1 / (1 + np.exp(-(scale * logits + offset)))
        quiet = np.full((2000, 1, 2), -8.0)  # two windows, the first of which is the maximum
        windows = 1 / (1 + np.exp(-np.concatenate([logits[:, None], quiet + logits[:, None]], 1)))
        arrays[f"{split}_labels"] = present
        arrays[f"{split}_windows"] = windows.reshape(-1, 2).astype(np.float32)
        arrays[f"{split}_num_windows"] = np.full(2000, 2)
    np.savez(folder / "predictions.npz", **arrays)


@pytest.mark.parametrize("aggregation", ["max", "top"])
def test_calibrated_scores_are_probabilities(tmp_path, song, aggregation):
    workdir = call_trace.write_recogniser(tmp_path / "w", aggregation=aggregation)
    system = json.loads((workdir / "system.json").read_text())
    system["thresholds"]["validation"] = 0.5
    (workdir / "system.json").write_text(json.dumps(system))
    write_predictions(workdir, scale=0.5, offset=-1.0)
    export(workdir, tmp_path / "out", calibrate=True)
    system = json.loads((tmp_path / "out" / "system.json").read_text())
    fitted, error = system["calibration"], system["calibration"]["error"]
    assert fitted["scale"] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(fitted["offsets"], -1.0, atol=0.15)
    assert error["after"]["all"] < 0.03 < 0.1 < error["before"]["all"]
    expected = 1 / (1 + np.exp(1.0))  # the logit of 0.5 is 0
    np.testing.assert_allclose(system["thresholds"]["validation"], expected, atol=0.03)
    assert system["thresholds"]["fixed"] == 0.5
    before = irec_jax.recognize(song, workdir=workdir).window_scores.astype(float)
    after = irec_jax.recognize(song, workdir=tmp_path / "out").window_scores
    logits = fitted["scale"] * np.log(before / (1 - before)) + np.array(fitted["offsets"])
    np.testing.assert_allclose(after, 1 / (1 + np.exp(-logits)), atol=0.01)
    assert "Scores are calibrated" in (tmp_path / "out" / "README.md").read_text()


def test_systems_that_cannot_be_calibrated_are_one_line(workdir, tmp_path, capsys):
    words = ["--out", tmp_path / "out", "--calibrate"]
    assert call("export", workdir, *words) == 1
    assert (
        "the clip score s2 is not a probability; run the training command"
        in capsys.readouterr().err
    )
    other = call_trace.write_recogniser(tmp_path / "w", aggregation="max")
    assert call("export", other, *words) == 1
    assert "predictions.npz: missing; evaluate first" in capsys.readouterr().err
    np.savez(other / "predictions.npz", validation_labels=np.zeros((1, 2)))
    assert call("export", other, *words) == 1
    error = capsys.readouterr().err
    assert "predictions.npz: cannot be read" in error and error.count("\n") == 1
    bags = dict(task="multi_instance", aggregation="max")
    bags["config"] = dict(loss=dict(name="binary_cross_entropy"))
    with pytest.raises(UserError, match="multiple-instance systems cannot be calibrated"):
        export_module._calibrate(tmp_path, {}, bags)
    assert not (tmp_path / "out").exists()


def test_default_recogniser(shipped, folder, song, tmp_path, capsys):
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    assert call("recognize", song, "--json", out, "--html", page) == 0
    assert f"tiny in irec_jax/pretrained/{pretrained.DEFAULT}" in page.read_text()
    header = json.loads(out.read_text())
    assert header["model"] == pretrained.DEFAULT and "workdir" not in header
    by_folder = irec_jax.recognize(song, workdir=folder / "orchestra")
    (record,) = header["files"]
    assert record["scores"] == by_folder.to_dict()["scores"]
    assert irec_jax.load_recogniser().task.classes == ("pia", "vio")


def test_recogniser_by_name(shipped, song, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert call("recognize", song, "--model", "orchestra", "--json", out) == 0
    assert json.loads(out.read_text())["model"] == "orchestra"
    assert irec_jax.recognize(song, model="orchestra").scores.keys() == {"pia", "vio"}
    for words, message in (
        (["--model", "orchester"], "did you mean 'orchestra'"),
        (["--model", "orchestra"] * 2, "orchestra: named twice; list each system once"),
        (["--workdir="], "--workdir: empty name"),
    ):
        assert call("recognize", song, *words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    with pytest.raises(UserError, match="orchestra: named twice"):
        irec_jax.recognize(song, model=["orchestra", "orchestra"])


def test_without_systems_the_remedy_is_named(none_shipped, song, capsys):
    assert call("recognize", song) == 1
    error = capsys.readouterr().err
    assert "no trained system comes with this version" in error and "train one with: " in error
    assert error.count("\n") == 1
    with pytest.raises(UserError, match="train one with: python -m irec_jax.main"):
        irec_jax.recognize(song)


def test_results_do_not_replace_files_of_the_system(folder, song, capsys):
    words = ["recognize", song, "--workdir", folder / "orchestra", "--overwrite", "--json"]
    for name in ("system.json", "checksums.json"):
        assert call(*words, folder / "orchestra" / name) == 1
        assert f"{name}: is an input file" in capsys.readouterr().err


def test_damaged_system_is_one_line(folder, song, tmp_path, capsys):
    copy = shutil.copytree(folder / "orchestra", tmp_path / "copy")
    parameters = copy / "parameters.npz"
    parameters.write_bytes(parameters.read_bytes()[:-10])
    assert call("recognize", song, "--workdir", copy) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {parameters}: damaged") and error.count("\n") == 1


def test_modules_of_the_commands_import_no_jax():
    script = (
        "import sys, irec_jax.cli.export, irec_jax.cli.recognize, irec_jax.checkpoints.pretrained\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
