"""Crosstalk benchmark: NumPy follows Seipel's steps, and the printed totals."""

import re

import numpy as np
import pytest

from irec_jax.benchmarks import crosstalk
from irec_jax.errors import UserError


@pytest.fixture(scope="module")
def spectrograms():
    spots = crosstalk.make_spots(3, 1.0)
    return np.stack([np.asarray(crosstalk.magnitudes(spot)) for spot in spots])


@pytest.mark.parametrize("variant", crosstalk.NUMPY_VARIANTS)
def test_numpy_gradients_match_the_defining_sums(variant, spectrograms):
    x = spectrograms.astype(np.float64)
    weights = np.array([[0, 0.3, 0.1], [0.2, 0, 0], [0.5, 0.4, 0]])
    expected = [
        [-2 * ((x[l] - np.tensordot(weights[l], x, 1)) * x[j]).sum() for j in range(3)]
        for l in range(3)  # noqa: E741
    ]
    flat = spectrograms.reshape(3, -1)
    assert flat.shape[1] > crosstalk._BLOCK_VALUES  # more than one block
    gradients = crosstalk.NUMPY_VARIANTS[variant](flat, weights.astype(np.float32))
    np.testing.assert_allclose(gradients, expected, atol=1e-5 * np.abs(expected).max())


def test_numpy_and_ours_take_the_same_steps(spectrograms):
    deviations = crosstalk.deviations(spectrograms, 4)
    assert set(deviations) == set(crosstalk.NUMPY_VARIANTS)
    assert max(deviations.values()) < 1e-4


def test_prints_extrapolated_totals(capsys):
    crosstalk.main(["--tracks=2", "--seconds=1", "--rounds=1"])
    printed = capsys.readouterr().out
    assert re.search(r"processing files: \d+\.\d x real time", printed)
    num_steps = int(re.search(r"(\d+) momentum iterations; NumPy's totals are extra", printed)[1])
    for variant in crosstalk.NUMPY_VARIANTS:
        median, total = re.search(
            rf"{variant} +([\d.]+) s .* x {num_steps} = ([\d.]+) s", printed
        ).groups()
        assert float(total) == pytest.approx(num_steps * float(median), abs=0.06)
    assert "Gram matrix and nnls" in printed


@pytest.mark.parametrize("option", ["tracks=1", "seconds=0", "seconds=nan", "rounds=0"])
def test_options_out_of_range_are_reported(option):
    with pytest.raises(UserError, match=f"--{option.split('=')[0]}="):
        crosstalk.main([f"--{option}"])
