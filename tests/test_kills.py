"""Killed trainings have the results of an undisturbed one. `tests/kills.py` kills more of them."""

import kills
import pytest


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("kills") / "undisturbed"
    durations_s = kills.undisturbed(workdir)
    assert list(durations_s) == ["start-up", "training", "evaluation", "report", "checkpoint"]
    return workdir


@pytest.mark.parametrize("phase", ["checkpoint", "report"])
def test_result_does_not_depend_on_a_kill(reference, tmp_path, phase):
    still_ran, step = kills.killed_once(tmp_path / "run", phase, delay_s=0.02)
    assert still_ran and (step is None or phase == "checkpoint")
    assert kills.differences(tmp_path / "run", reference) == []


def test_kills_fall_into_all_phases():
    durations_s = dict.fromkeys(kills.PHASES, 2.0)
    moments = list(kills.moments(20, durations_s, seed=1))
    assert {phase for phase, _ in moments} == set(kills.PHASES)
    assert all(0 <= delay_s <= 2 for _, delay_s in moments) and len(set(moments)) == 20
    assert moments == list(kills.moments(20, durations_s, seed=1))
