"""The main command as a user calls it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, call

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in ("__init__", "common")
)


def parameters(workdir):
    """The best parameters in a workdir."""
    import jax

    from irec_jax.training import checkpoints

    system = checkpoints.read_system(workdir)
    from irec_jax.systems import load_recogniser

    found = load_recogniser(workdir)
    target = jax.eval_shape(found.task.init, jax.random.key(0))
    return system, checkpoints.load_best_variables(workdir / "checkpoints", target)[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_dry_run_shows_config_shapes_and_parameters_and_builds_nothing(
    name, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    assert call(f"--config=configs/{name}.py", "--dry_run") == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(r"parameters: \d+", shown.strip().splitlines()[-1])
    assert "features  (128, 43, 128) float32" in shown or name != "han"
    assert list(tmp_path.iterdir()) == []


def test_dry_run_of_han_has_the_papers_network(capsys):
    assert call("--config=configs/han.py", "--dry_run") == 0
    assert capsys.readouterr().out.strip().endswith("parameters: 1446123")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_runs_from_data_to_report(name, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert call(f"--config=configs/{name}.py:debug", f"--workdir={workdir}") == 0
    report = json.loads((workdir / "report.json").read_text())
    assert report["dataset"] == "gm_irmas" and report["rendered"] is True
    for kind in ("fixed", "validation", "oracle"):
        block = report["thresholds"][kind]
        for average in ("micro", "macro"):
            low, high = block[average]["f1_interval"]
            assert 0 <= low <= high <= 1
        assert len(block["per_class"]) == 11
    assert set(report["baselines"]) == {"majority", "MFCC + logistic regression"}
    assert len(report["history"]) == 2
    page = (workdir / "report.md").read_text()
    assert "rendered audio" in page and str(tmp_path) not in page.replace(str(workdir), "")
    for picture in re.findall(r"\]\(([^)]+\.png)\)", page):
        assert (workdir / picture).read_bytes().startswith(b"\x89PNG")
    assert any((workdir / "tensorboard").iterdir())
    system = json.loads((workdir / "system.json").read_text())
    assert set(system["thresholds"]) == {"fixed", "validation", "validation_per_class"}
    assert system["frontend"]["name"] == "log_mel" and len(system["classes"]) == 11
    # The finished run is not trained again: it is evaluated again, with the same scores.
    capsys.readouterr()
    assert call(f"--config=configs/{name}.py:debug", f"--workdir={workdir}") == 0
    assert "epoch" not in capsys.readouterr().out.replace("best epoch", "").replace("per epoch", "")
    again = json.loads((workdir / "report.json").read_text())
    assert again["thresholds"] == report["thresholds"]


def test_another_config_is_refused_with_the_differing_keys(trained, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={trained}", *SMALL]
    assert call(*words, "--config.seed=3", "--config.optimizer.name=sgd") == 1
    shown = capsys.readouterr().err
    assert "optimizer.name: adam -> sgd" in shown and "seed: 0 -> 3" in shown
    assert shown.count("\n") == 1


def test_eval_takes_other_evaluation_settings(trained, capsys):
    before = json.loads((trained / "report.json").read_text())
    words = ["--config=configs/han.py:debug", f"--workdir={trained}", *SMALL, "--mode=eval"]
    assert call(*words, "--config.evaluation.aggregation=s1") == 0
    report = json.loads((trained / "report.json").read_text())
    assert report["aggregation"] == "s1" and len(report["history"]) == 2
    assert report["aggregations"]["s2"]["curve"] == before["aggregations"]["s2"]["curve"]
    assert call(*words) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=configs/hann.py"], "did you mean 'han'"),
        (["--config=configs/han.py", "--confg.seed=1"], "unknown argument '--confg.seed=1'"),
        (["--config=configs/han.py", "--config.seed"], "a value is missing"),
        (["--config=configs/han.py:debug", "--mode=eval"], "nothing trained here yet"),
        (["--config=configs/han.py:dataset=folder"], "path"),
        (["--config=configs/han.py:dataset=irmas", "--config.data.manual_dir=nowhere"], "nowhere"),
        (
            ["--config=configs/han.py:debug", "--config.training.batch_size=0"],
            "training.batch_size",
        ),
        (["--config=configs/han.py:debug", "--config.evaluation.hop_s=2"], "evaluation.hop_s"),
        (["--config=configs/han.py:debug", "--config.evaluation.aggregation=s3"], "'s3'"),
        (["--config=configs/han.py:debug", "--config.model.activation=lrelu"], "activation"),
        (["--config=configs/han.py:debug,window_s=0.001"], "too short"),
    ],
)
def test_mistakes_cost_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 1
    shown = capsys.readouterr().err
    assert message in shown and shown.startswith("error: ")
    assert "Traceback" not in shown and len(shown.strip().splitlines()) == 1
    assert not (tmp_path / "runs" / "han" / "report.json").exists()


def test_a_folder_with_other_files_is_no_workdir(tmp_path, capsys):
    (tmp_path / "song.wav").write_bytes(b"")
    assert call("--config=configs/han.py:debug", f"--workdir={tmp_path}") == 1
    assert "holds other files" in capsys.readouterr().err


def test_repeats_give_mean_and_standard_deviation(tmp_path, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    assert call(*words, "--config.training.repeats=2") == 0
    whole = json.loads((tmp_path / "run" / "report.json").read_text())
    single = [
        json.loads((tmp_path / "run" / f"seed_{seed}" / "report.json").read_text())
        for seed in (0, 1)
    ]
    values = [one["thresholds"]["fixed"]["micro"]["f1"] for one in single]
    micro = whole["repeats"]["thresholds"]["fixed"]["micro"]["f1"]
    assert micro["mean"] == pytest.approx(np.mean(values)) and micro["values"] == values
    assert micro["sd"] == pytest.approx(np.std(values, ddof=1))
    assert "±" in capsys.readouterr().out


def test_profile_says_where_the_trace_lies_and_the_rate(tmp_path, capsys):
    words = ["--config=configs/han.py:debug", f"--workdir={tmp_path / 'run'}", *SMALL]
    words += ["--config.profile.start_step=1", "--config.profile.num_steps=2"]
    assert call(*words) == 0
    shown = capsys.readouterr().out
    assert "GFLOP/s achieved" in shown and "ui.perfetto.dev" in shown
    traces = list((tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz"))
    assert len(traces) == 1


def start(words, **variables):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "irec_jax.main", *map(str, words)],
        cwd=ROOT,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_run_resumes_and_ends_as_if_it_had_not_been(tmp_path):
    words = ["--config=configs/han.py:debug", *SMALL, "--config.training.num_epochs=6"]
    words += ["--config.training.checkpoint_every_steps=2", "--config.training.patience=9"]
    assert call(*words, f"--workdir={tmp_path / 'whole'}") == 0
    process = start([*words, f"--workdir={tmp_path / 'cut'}"])
    folder = tmp_path / "cut" / "checkpoints"
    for _ in range(1200):
        time.sleep(0.05)
        if folder.is_dir() and any(p.name.isdigit() and int(p.name) >= 4 for p in folder.iterdir()):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "cut" / "report.json").exists()
    assert call(*words, f"--workdir={tmp_path / 'cut'}") == 0
    _, one = parameters(tmp_path / "whole")
    _, two = parameters(tmp_path / "cut")
    for layer, arrays in one.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, two[layer][name])


def test_two_processes_end_as_one(tmp_path, trained):
    workdir = tmp_path / "two"
    done = subprocess.run(
        ["launch/local.sh", "2", "--config=configs/han.py:debug", f"--workdir={workdir}", *SMALL],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    _, one = parameters(trained)
    _, two = parameters(workdir)
    for layer, arrays in one.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(array, two[layer][name], rtol=1e-3, atol=2e-5)
    reports = [json.loads((folder / "report.json").read_text()) for folder in (trained, workdir)]
    assert reports[1]["provenance"]["hardware"]["num_processes"] == 2
    auc = [report["ranking"]["auc"]["macro"] for report in reports]
    assert auc[0] == pytest.approx(auc[1], abs=0.02)
