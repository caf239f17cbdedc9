"""Accelerator benchmark on small sizes, on the CPU and without PyTorch."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.benchmarks import accelerator, roofline
from irec_jax.errors import UserError


def test_every_part_runs_in_its_shrunken_form(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    accelerator.main(["--shrink", "--minutes=99", f"--out={tmp_path}"])
    report = json.loads((tmp_path / "accelerator.json").read_text())
    assert report["shrunk"] and report["peak"] is None and report["platform"] == "cpu"
    assert len(report["rows"]) >= len(accelerator.PARTS)
    for row in report["rows"]:
        assert row["seconds"] > 0 and row["examples_per_s"] > 0, row
        assert row["share_of_peak"] is None and row["peers"] == {}
    by_name = {row["name"]: row for row in report["rows"]}
    assert by_name["training step of Han's network"]["flop_per_s"] > 0
    # A program with loops: the bytes of their bodies are not known.
    recurrent = by_name["training step of Vazonis's LSTM, 300 time steps"]
    assert recurrent["flop_per_s"] > 0 and recurrent["bytes_per_s"] is None
    placements = [(row["placement"], row["steps_per_call"]) for row in report["epochs"]]
    assert placements == [("device", 2), ("device", 1), ("host", 1)]
    assert all(row["epoch_s"] > 0 and row["epochs"] == 2 for row in report["epochs"])
    page = (tmp_path / "accelerator.md").read_text()
    assert "the times say nothing about the device" in page and page in capsys.readouterr().out


def test_parts_that_fail_or_come_too_late_are_named(tmp_path, monkeypatch):
    def fail(row, case, sizes):
        raise RuntimeError("out of memory\nmore")

    described, _, dtypes = accelerator.PARTS["bss"]
    monkeypatch.setitem(accelerator.PARTS, "bss", (described, fail, dtypes))
    sizes = accelerator.SIZES["shrink"] | dict(budget_s=1.0)
    rows, _ = accelerator.measure(["bss"], sizes, accelerator.Deadline(60))
    assert rows[0].note == "failed: out of memory" and rows[0].seconds is None
    rows, trainings = accelerator.measure(["bss", "epochs"], sizes, accelerator.Deadline(-1))
    notes = [row.note for row in rows] + [row["note"] for row in trainings]
    assert notes == ["not measured: out of time"] * 4
    assert "not measured: out of time | - |" in roofline.table(rows, None)
    with pytest.raises(UserError, match="--minutes=-1.0: expected 0 or more"):
        accelerator.main(["--minutes=-1"])


def test_work_of_a_product_and_of_a_loop():
    a, b = np.ones((8, 16), np.float32), np.ones((16, 4), np.float32)
    compiled, work = roofline.count_work(jax.jit(jnp.dot), a, b)
    assert compiled(a, b).shape == (8, 4)
    assert work.flops == 2 * 8 * 16 * 4 and work.bytes >= 4 * (8 * 16 + 16 * 4 + 8 * 4)

    def looped(a, b):
        return jax.lax.fori_loop(0, 50, lambda i, x: jnp.tanh(x @ b), a)

    square = np.ones((16, 16), np.float32)
    _, work = roofline.count_work(jax.jit(looped), a, square)
    assert work == roofline.Work(50 * 2 * 8 * 16 * 16)


def test_shares_are_those_of_the_peak_of_the_type():
    peak = roofline.find_peak("NVIDIA H200")
    row = roofline.Row("step", "bfloat16", 512, 1e-3, 1e-3, roofline.Work(98.95e9, 2.4e9))
    rates = row.rates(peak)
    assert rates["share_of_peak"] == pytest.approx(0.1)
    assert rates["share_of_bandwidth"] == pytest.approx(0.5)
    assert rates["examples_per_s"] == pytest.approx(512_000)
    line = roofline.table([row], peak).splitlines()[-1]
    assert "| 10.0% |" in line and "| 50.0% |" in line
    assert roofline.find_peak("NVIDIA H100 PCIe").bandwidth == 2.0e12
    assert roofline.find_peak("NVIDIA H100 80GB HBM3").bandwidth == 3.35e12
    assert roofline.find_peak("TPU v5") != roofline.find_peak("TPU v5 lite")
    assert roofline.find_peak("cpu") is None
