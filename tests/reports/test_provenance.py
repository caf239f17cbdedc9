import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

from irec_jax.reports import provenance


def _collect():
    return provenance.collect(
        dataset="gm_irmas", version="1.0.0", config="tiny", split="test", seed=3
    )


def test_provenance_contains_dataset_seed_versions_and_hardware():
    collected = _collect()
    assert collected["dataset"] == {
        "name": "gm_irmas",
        "version": "1.0.0",
        "config": "tiny",
        "split": "test",
    }
    assert collected["seed"] == 3 and collected["durations_s"] == {}
    assert collected["versions"]["jax"] == importlib.metadata.version("jax")
    assert (
        sum(collected["hardware"]["devices"].values()) >= 1
        and collected["hardware"]["num_cores"] >= 1
    )
    json.dumps(collected, allow_nan=False)


def test_provenance_contains_no_machine_paths(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/secret/bin/irec", "train", "--workdir=my runs"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    collected = _collect()
    assert collected["command"] == "irec train '--workdir=my runs'"
    text = json.dumps(collected)
    for path in ("/opt/secret", str(Path.home()), os.getcwd(), sys.prefix):
        assert path == "/" or path not in text


def test_command_of_a_module_is_reproduced(tmp_path):
    (tmp_path / "shown.py").write_text(
        "from irec_jax.reports import provenance\nprint(provenance.command())\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", "shown", "--config=configs/han.py:debug"]
    completed = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert completed.stdout.strip() == "python -m shown --config=configs/han.py:debug"


def _git(folder, *arguments):
    names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True)


def test_git_commit_and_uncommitted_changes_are_recorded(tmp_path):
    assert provenance.git(tmp_path) is None
    _git(tmp_path, "init")
    (tmp_path / "file").write_text("1")
    (tmp_path / "inside").mkdir()
    _git(tmp_path, "add", "file")
    _git(tmp_path, "commit", "-m", "first")
    committed = provenance.git(tmp_path)
    assert len(committed["commit"]) == 40 and committed["dirty"] is False
    (tmp_path / "untracked").write_text("")
    assert provenance.git(tmp_path) == committed
    (tmp_path / "file").write_text("2")
    assert provenance.git(tmp_path) == committed | {"dirty": True}
    assert provenance.git(tmp_path / "inside") is None  # inside a repository, but not its root


def test_git_is_optional(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git(tmp_path) is None
