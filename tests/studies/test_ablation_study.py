"""Ablation study: every row changes one training choice, and a complete run on tiny data."""

import json

import numpy as np
import pytest
import report_pages
from study_helpers import irec, table_cells, use_small_networks

from irec_jax import cli, config
from irec_jax.files import write_json
from irec_jax.studies import ablation, options, runs


def study(workdir, *words):
    return irec("study", "ablation", "--debug", f"--workdir={workdir}", *words)


def plan(*words):
    parser = cli.argparse.ArgumentParser()
    options.add_arguments("ablation", parser)
    return ablation.plan(parser.parse_args(words))


@pytest.fixture
def fake_runs(monkeypatch):
    """Replace experiments by fakes that only write reports; return the names of executed runs."""
    executed = []

    def experiment(name, settings, folder, mode):
        executed.append(folder.name)
        write_json(folder / "config.json", config.flatten(settings))
        f1 = 0.5 + 0.1 * bool(settings.augment.mix) + 0.02 * settings.seed
        block = {"f1": f1, "f1_interval": [f1 - 0.05, f1 + 0.05]}
        report = {
            "rendered": True,
            "dataset": "gm_irmas",
            "classes": ["pia", "voi"],
            "thresholds": {"fixed": {"micro": block, "macro": block}},
            "history": [{"epoch": 1}, {"epoch": 2}],
            "best_epoch": {"epoch": 2},
            "provenance": {
                "dataset": {"name": "gm_irmas", "version": "1.0.0", "config": "tiny-mono22k"},
                "command": "irec study",
                "durations_s": {"training": 90.0},
            },
        }
        write_json(folder / "report.json", report)

    monkeypatch.setattr(runs.experiment, "run", experiment)
    monkeypatch.setattr(runs.data, "load", lambda settings: None)
    return executed


@pytest.mark.parametrize(("words", "num_rows"), [([], 14), (["--quick"], 5), (["--debug"], 14)])
def test_every_row_changes_the_default_config(words, num_rows):
    planned = plan(*words)
    assert len(planned) == num_rows
    resolved = {run.name: config.flatten(runs.resolve(run)) for run in planned.values()}
    default = resolved.pop("default")
    for name, settings in resolved.items():
        changed = {key for key in settings if settings[key] != default.get(key)}
        sections = {"pooled_dropout_0": "model.", "validation_random": "data."}
        assert changed and all(key.startswith(sections.get(name, "augment.")) for key in changed)
    assert default["augment.mix"] == 0 and default["data.split_validation"] == "song"


def test_every_augmentation_has_a_row():
    """All keys of `augment` that a row can switch on, except for gain and polarity."""
    changed = {key for row in ablation.ROWS for key, _ in row.overrides}
    keys = {key for key in config.flatten(config.load("configs/han.py")) if "augment." in key}
    details = {"mix_db", "time_mask_frames", "mel_mask_bands"}
    not_studied = {"gain_db", "polarity", "band_limit"}  # no change under normalisation; filters
    assert keys - changed == {f"augment.{name}" for name in details | not_studied}


def test_rows_are_compared_with_the_default(fake_runs, tmp_path, capsys):
    assert study(tmp_path, "--rows=mix,pooled") == 0
    assert fake_runs == ["default", "mix", "pooled_dropout_0"]
    page = (tmp_path / "report.md").read_text()
    assert "rendered audio" in page.splitlines()[2]
    (mix,) = table_cells(page, "half of the clips mixed with another clip, joint labels")
    assert mix == ["0.600 [0.550, 0.650]", "+0.100"] * 2 + ["2", "1.5"]
    (default,) = table_cells(page, "default, no augmentation")
    assert default[:2] == ["0.500 [0.450, 0.550]", "–"]
    assert "The highest micro F1 is 0.600 [0.550, 0.650] (half of the clips mixed" in page
    assert "single run per row" in page
    report_pages.check((tmp_path / "report.html").read_text(), num_pictures=1)
    assert capsys.readouterr().out.count("mix: micro F1 0.600 [0.550, 0.650], epoch 2 of 2") == 1
    fake_runs.clear()
    assert study(tmp_path, "--rows=mix") == 0 and not fake_runs


def test_repeats_give_mean_and_standard_deviation(fake_runs, tmp_path):
    assert study(tmp_path, "--rows=mix", "--repeats=3") == 0
    assert fake_runs == [
        name + seed for seed in ("", "-seed1", "-seed2") for name in ("default", "mix")
    ]
    page = (tmp_path / "report.md").read_text()
    (mix,) = table_cells(page, "half of the clips mixed with another clip, joint labels")
    assert mix[:2] == ["0.620 ± 0.020", "+0.100"] and mix[4] == "2, 2, 2"
    assert "single run" not in page
    report = json.loads((tmp_path / "report.json").read_text())
    np.testing.assert_allclose(report["rows"]["mix"]["micro"]["values"], [0.6, 0.62, 0.64])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows=magic"], "--rows magic: matches none of default"),
        (["--repeats=0"], "--repeats 0: expected at least 1"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(tmp_path, capsys, words, message):
    assert study(tmp_path / "x", *words) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_complete_run_from_data_to_report(tmp_path, monkeypatch):
    use_small_networks(monkeypatch)
    assert study(tmp_path, "--rows=mix") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["rows"]) == ["default", "mix"]
    run_report = json.loads((tmp_path / "runs" / "mix" / "report.json").read_text())
    expected = run_report["thresholds"]["fixed"]["micro"]["f1"]
    assert report["rows"]["mix"]["micro"]["values"] == [expected]
