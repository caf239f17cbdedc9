"""Damaged workdirs: each costs one line with the file and the remedy, without tracebacks."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import call_trace
import jax
import numpy as np
import pytest
from conftest import SMALL, call

from irec_jax import cli, models
from irec_jax.checkpoints import storage
from irec_jax.checkpoints.checksums import CHECKSUM_FILE
from irec_jax.checkpoints.storage import load_best_variables
from irec_jax.checkpoints.workdir import system_errors
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.systems import load_recogniser, load_separator

ROOT = Path(__file__).parents[2]
WRITERS = {"recognition": call_trace.write_recogniser, "separation": call_trace.write_separator}
LOADERS = {"recognition": load_recogniser, "separation": load_separator}
#: Folders of a checkpoint that applying a system reads.
ITEMS = ("variables", "metrics")


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "flipped": flip,
    "garbled": lambda content: bytes(range(256)) * 4,
    "longer": lambda content: content + b"\0",
    "deleted": None,
}


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    """Return the workdirs of untrained systems by task."""
    folder = tmp_path_factory.mktemp("systems")
    return {task: write(folder / task) for task, write in WRITERS.items()}


def damage(file, name):
    change = DAMAGES[name]
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_file_of_a_checkpoint_is_named(systems, tmp_path, name):
    task = load_recogniser(systems["recognition"]).task
    target = jax.eval_shape(task.init, jax.random.key(0))
    original = systems["recognition"] / "checkpoints" / "0"
    files = [path for item in ITEMS for path in (original / item).rglob("*") if path.is_file()]
    assert len(files) > 8
    for number, path in enumerate(files):
        folder = shutil.copytree(original.parent, tmp_path / str(number))
        file = folder / "0" / path.relative_to(original)
        damage(file, name)
        with pytest.raises(UserError) as error:
            load_best_variables(folder, target)
        message = str(error.value)
        assert message.startswith(f"{file}: "), message
        assert "\n" not in message and "restore the file from a copy" in message


def test_command_prints_one_line_for_a_truncated_checkpoint(systems, tmp_path):
    workdir = shutil.copytree(systems["recognition"], tmp_path / "run")
    data = max((workdir / "checkpoints" / "0" / "variables" / "d").iterdir())
    damage(data, "truncated")
    song = call_trace.write_song(tmp_path / "song.wav")
    words = [sys.executable, "-m", "irec_jax.cli", "recognize", song, "--workdir", workdir]
    run = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 1 and not run.stdout
    assert run.stderr.startswith(f"error: {data}: damaged (") and run.stderr.count("\n") == 1


def test_checkpoints_without_checksums_are_read(systems, tmp_path):
    """Checkpoints of earlier versions have none; a damaged list of checksums counts as none."""
    for name in DAMAGES:
        workdir = shutil.copytree(systems["recognition"], tmp_path / name)
        damage(workdir / "checkpoints" / "0" / CHECKSUM_FILE, name)
        if name not in ("flipped", "longer"):
            load_recogniser(workdir)
    # What only training needs may be deleted.
    workdir = shutil.copytree(systems["recognition"], tmp_path / "small")
    shutil.rmtree(workdir / "checkpoints" / "0" / "rest")
    load_recogniser(workdir)


def largest_file(checkpoint, item):
    return max((checkpoint / item).rglob("d/*"), key=lambda path: path.stat().st_size)


def test_training_uses_the_last_good_checkpoint_and_names_it(trained, tmp_path, capsys):
    workdir = shutil.copytree(trained, tmp_path / "run")
    words = ["--config=configs/han.py:debug", f"--workdir={workdir}", *SMALL]
    best, latest = sorted((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
    file = largest_file(latest, "rest")
    damage(file, "flipped")
    assert call(*words) == 0
    printed = capsys.readouterr().out
    assert f"{file}: damaged (wrong checksum); using the checkpoint after step 3" in printed
    assert "resuming after step 3\n" in printed
    assert (workdir / "checkpoints" / f"{latest.name}.damaged").is_dir() and latest.is_dir()
    reports = [json.loads((folder / "report.json").read_text()) for folder in (trained, workdir)]
    assert reports[0]["thresholds"] == reports[1]["thresholds"]
    # The best checkpoint cannot be replaced by an earlier one.
    file = largest_file(best, "variables")
    damage(file, "flipped")
    assert call(*words) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {file}: damaged") and error.count("\n") == 1
    assert f"delete {best} to continue" in error


def leaves(section, path=()):
    """Yield the paths of all values of a nested dict, sections included."""
    for key, value in section.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))


def change(section, path, value):
    """Return a copy of a nested dict with another value at a path; None deletes the key."""
    copy = dict(section)
    if len(path) > 1:
        copy[path[0]] = change(section[path[0]], path[1:], value)
    elif value is None:
        del copy[path[0]]
    else:
        copy[path[0]] = value
    return copy


#: Values of a wrong type for every key.
WRONG = {"missing": None, "object": {"a": [1]}, "text": "x\ny", "negative": -3}


@pytest.mark.parametrize("task", WRITERS)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_value_in_system_json_is_one_line(systems, tmp_path, task, wrong, monkeypatch):
    """A value that a system needs is named; others may have any value."""

    def zeros(folder, target):
        return jax.tree.map(lambda array: np.zeros(array.shape, array.dtype), target)

    monkeypatch.setattr(storage, "load_variables", zeros)
    workdir = shutil.copytree(systems[task], tmp_path / "run")
    file = workdir / "system.json"
    system = json.loads(file.read_text())
    refused = set()
    for path in leaves(system):
        file.write_text(json.dumps(change(system, path, WRONG[wrong])))
        try:
            LOADERS[task](workdir)
        except UserError as error:
            refused.add(".".join(path))
            message = str(error)
            assert message.startswith(str(workdir)) and "\n" not in message, (path, message)
            assert len(message) < len(str(file)) + 300
    assert {"sample_rate_hz", "window_s", "hop_s", "frontend", "config", "config.model"} <= refused


@pytest.mark.parametrize(
    ("content", "message"),
    {
        "": "cannot be read",
        "{": "cannot be read",
        "\0\1": "cannot be read",
        "[]": "written by another version",
        "null": "written by another version",
        '{"format": 1, "task": "recognition"}': "lacks classes",
        '{"format": 1, "task": ["recognition"]}': "task is",
    }.items(),
)
def test_damaged_system_json_is_one_line_of_the_command(
    systems, tmp_path, capsys, content, message
):
    workdir = shutil.copytree(systems["recognition"], tmp_path / "run")
    (workdir / "system.json").write_text(content)
    song = call_trace.write_song(tmp_path / "song.wav")
    words = ["recognize", str(song), "--workdir", str(workdir)]
    assert run_command(lambda: cli.run(words)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {workdir / 'system.json'}: {message}")
    assert error.count("\n") == 1


def test_missing_module_of_a_system_has_its_own_remedy(tmp_path):
    message = "system.json: model 'absent:Net': No module named 'absent'; install .* to PYTHONPATH$"
    with pytest.raises(UserError, match=message), system_errors(tmp_path):
        models.find("absent:Net")


def test_training_replaces_a_damaged_system_json(trained, tmp_path):
    workdir = shutil.copytree(trained, tmp_path / "run")
    (workdir / "system.json").write_text("{")
    assert call("--config=configs/han.py:debug", f"--workdir={workdir}", *SMALL) == 0
    assert set(load_recogniser(workdir).thresholds) >= {"fixed", "validation"}
