"""Scaling benchmark: the same update everywhere, the model, and the tables of the page."""

import dataclasses
import sys
from pathlib import Path

import pytest

from irec_jax.benchmarks import scaling
from irec_jax.benchmarks.scaling import Setting, StepModel
from irec_jax.errors import UserError

PAGE = Path(__file__).parents[2] / "docs" / "scale-on-paper.md"


def test_any_number_of_devices_and_processes_gives_the_same_update(capsys):
    words = ["--devices", "1", "2", "4", "8", "--processes", "2"]
    scaling.main([*words, "--batch=16", "--width=8", "--rounds=1"])
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if " x " in line and "| 16 |" in line]
    names = "1 x 1", "1 x 2", "1 x 4", "1 x 8", "2 x 1"
    assert [row.split("|")[1].strip() for row in rows] == list(names)
    assert all(float(row.split("|")[-2]) < 1e-5 for row in rows)


def test_a_process_that_fails_is_reported(monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(UserError, match="--processes=2: exit status 1"):
        scaling.measure([Setting(2, 1, 4, 8)], rounds=1)
    with pytest.raises(UserError, match="--batch=6: not divisible by 4"):
        scaling.main(["--batch=6"])


def test_ring_all_reduce():
    # Two members exchange one half each way, twice.
    assert scaling.ring_share(2) == 1 and scaling.ring_hops(2) == 2
    assert scaling.ring_share(1) == 0 and scaling.ring_hops(1) == 0
    assert scaling.all_reduce_s(1e9, 4, bandwidth=1e9, hop_s=0.1) == pytest.approx(1.5 + 0.6)
    # As long as the all-reduce takes as long as the computation, half of the time is lost.
    assert scaling.efficiency(1.0, 1e9, 2, gbit=8, hop_s=0.0) == pytest.approx(0.5)


def test_fit_recovers_the_model_from_its_times():
    model = StepModel(1e-3, 2e-10, 3e-5, 1e-9, 4e-4, 5e-10, cores=2)
    settings = [
        Setting(processes, devices, batch, width)
        for processes, devices in ((1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (4, 1))
        for batch in (64, 256)
        for width in (64, 1024)
    ]
    fitted = scaling.fit({setting: model.step_s(setting) for setting in settings}, cores=2)
    assert dataclasses.astuple(fitted) == pytest.approx(dataclasses.astuple(model), rel=1e-6)
    # Two cores do not work faster for eight devices than for two.
    assert model.step_s(settings[12]) > model.step_s(settings[4])
    assert Setting(1, 1, 64, 10).num_parameters == 65 * 10 + 11 * 10 + 11 * 8


def test_page_shows_the_tables_of_the_model(capsys):
    scaling.main(["--paper"])
    page = PAGE.read_text()
    for line in capsys.readouterr().out.strip().splitlines():
        assert line in page
