"""Window functions compared with scipy."""

import numpy as np
import pytest
import scipy.signal

from irec_jax.dsp.window_functions import WINDOWS, get_window


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("length", [1, 2, 7, 1024])
def test_window_matches_scipy(name, length):
    expected = scipy.signal.get_window({"rectangular": "boxcar"}.get(name, name), length)
    if length == 1:
        expected = np.ones(1) * sum((-1) ** k * a for k, a in enumerate(WINDOWS[name]))
    np.testing.assert_allclose(get_window(name, length), expected, atol=1e-12)


def test_unknown_window_is_rejected():
    with pytest.raises(ValueError, match="window='han': expected one of 'hann'"):
        get_window("han", 8)
    with pytest.raises(ValueError, match="length=0"):
        get_window("hann", 0)
