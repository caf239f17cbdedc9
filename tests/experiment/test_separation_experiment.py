"""Separation experiments, from data to report, run by the main command."""

import functools
import json
import re

import jax
import numpy as np
import pytest
from conftest import call

from irec_jax import distributed
from irec_jax.frontends.gate import FILLS, REFERENCES

#: Overrides for a network that compiles quickly.
SMALL = [
    "--config.model.filters=(2,2,4)",
    "--config.model.kernels=(5,5,5)",
    "--config.model.strides=(4,4,4)",
    "--config.model.dilations=(1,1,1)",
    "--config.model.bottleneck=(4,)",
    "--config.evaluation.hop_s=3.0",
]


def as_processes(num_processes, function):
    """Call a function as each of several processes in turn; return the results."""
    results = []
    for index in range(num_processes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax, "process_index", lambda index=index: index)
            patch.setattr(jax, "process_count", lambda: num_processes)
            results.append(function())
    return results


def read(folder):
    return json.loads((folder / "report.json").read_text())


def test_training_and_evaluation_write_a_report(tmp_path, capsys, monkeypatch):
    words = ["--config=configs/ligtenberg_unet.py:debug", f"--workdir={tmp_path}", *SMALL]
    words += ["--config.augment.gain_db=3.0", "--config.training.best_by=amplitude_sdr"]
    assert call(*words) == 0
    printed, report = capsys.readouterr().out, read(tmp_path)
    assert report["dataset"] == "gm_musdb" and report["rendered"] is True
    assert report["systems"] == ["mixture", "raw", "post", "ideal"]
    mean = {name: scores["amplitude_sdr_db"]["mean"] for name, scores in report["summary"].items()}
    assert mean["ideal"] > mean["mixture"] and np.isfinite(list(mean.values())).all()
    best = max(report["history"], key=lambda row: row["valid_amplitude_sdr"])
    assert report["best_epoch"]["epoch"] == best["epoch"] and len(report["history"]) == 2
    assert f"raw {mean['raw']:.2f}" in printed and "rendered audio" in printed
    page = (tmp_path / "report.md").read_text()
    assert "rendered audio" in page and str(tmp_path) not in page.replace(f"={tmp_path}", "")
    for picture in re.findall(r"\]\(([^)]+\.png)\)", page):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    system = json.loads((tmp_path / "system.json").read_text())
    assert system["target"] == ["vocals", "other"] and system["task"] == "separation"
    # A second evaluation, shared by three processes, gives the same scores.
    monkeypatch.setattr(distributed, "on_all", functools.partial(as_processes, 3))
    assert call(*words, "--mode=eval") == 0
    assert "epoch" not in capsys.readouterr().out
    assert read(tmp_path)["tracks"] == report["tracks"]
    assert {*report["post_variants"]} == {f"{a}, {b}" for a in REFERENCES for b in FILLS}
    variant = report["post_variants"]["segment, floor"]["mean"]
    assert variant == pytest.approx(mean["post"])
    # The evaluation of the paper.
    evaluation = dict(windows="side_by_side", phase="griffin-lim", griffin_lim_iterations=2)
    evaluation |= dict(post_reference="track", post_fill="zero")
    words += [f"--config.evaluation.{key}={value}" for key, value in evaluation.items()]
    assert call(*words, "--mode=eval") == 0
    joined, page = read(tmp_path), (tmp_path / "report.md").read_text()
    variant = joined["post_variants"]["track, zero"]["mean"]
    assert variant == pytest.approx(joined["summary"]["post"]["amplitude_sdr_db"]["mean"])
    assert joined["tracks"] != report["tracks"] and "Non-overlapping windows, concatenated" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.data.target=vocal"], "did you mean 'vocals'"),
        (["--config.data.target=drums+bass+other+vocals"], "all stems"),
        (["--config.data.remix=1.5"], "data.remix=1.5"),
        (["--config.data.split=song"], "data.split 'song'"),
        (["--config.data.channels=left"], "data.channels 'left'"),
        (
            ["--config.data.classes=vocals"],
            "unknown config key 'classes' in the data section",
        ),
        (["--config.data.name=gm_irmas"], "labelled clips"),
        (["--config.data.window_s=4.0"], "num_frames=128"),
        (["--config.frontend.name=log_mel"], "a separator needs spectrogram_db"),
        (["--config.frontend.num_bins=2000"], "multiples of their product"),
        (["--config.loss.name=binary_cross_entropy"], "separator loss"),
        (["--config.loss.domain=db"], "loss.domain 'db'"),
        (["--config.model.output=masks"], "did you mean 'mask'"),
        (["--config.evaluation.phase=griffin"], "did you mean 'griffin-lim'"),
        (["--config.evaluation.hop_s=0"], "evaluation.hop_s=0.0"),
        (["--config.evaluation.post_fill=0"], "evaluation.post_fill '0'"),
        (
            ["--config.evaluation.windows=side_by_side", "--config.data.window_s=2.99"],
            "are not a multiple of frontend.hop_length=1050",
        ),
        (["--config.augment.stretch=(0.4,1.0)"], "augment.stretch"),
        (["--config.training.best_by=sdr"], "known: amplitude_sdr, loss"),
        (["--config.task=separate"], "did you mean 'separation'"),
    ],
)
def test_invalid_settings_are_reported_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("--config=configs/ligtenberg_unet.py:debug", *words) == 1
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ")
    assert len(error.strip().splitlines()) == 1 and not (tmp_path / "runs").exists()
