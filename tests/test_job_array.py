"""Options that divide runs or repeats among the jobs of an array."""

import re

import pytest

from irec_jax import cli, job_array


@pytest.mark.parametrize("words", [["train"], ["study", "goel"]])
def test_trainings_and_studies_describe_the_options_alike(words, capsys):
    with pytest.raises(SystemExit):
        cli.run([*words, "--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    items = "repeats" if words == ["train"] else "runs"
    assert f"--task I/N execute every N-th of the {items}, starting with the I-th, as one" in text
    assert f"--collect report on the finished {items} without executing any" in text


def test_tasks_share_out_all_items():
    parts = [job_array.select(range(7), job_array.parse_task(f"{i}/3")) for i in (1, 2, 3)]
    assert sorted(i for part in parts for i in part) == [*range(7)] and [*parts[1]] == [1, 4]
    assert job_array.select([1, 2], job_array.parse_task(None)) == [1, 2]
