"""Removal of soft values compared with a loop over segments."""

import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.errors import UserError
from irec_jax.frontends import Gate, SpectrogramDb
from irec_jax.frontends.gate import FILLS, REFERENCES

FRONTEND = SpectrogramDb(frame_length=64, hop_length=18, num_bins=5, num_frames=22)
FLOOR = np.float32(-100 / 150)


def naive(features, reference, fill, segment_frames):
    """Return features (bins, frames) without values 30 dB below the reference."""
    result, last = features.copy(), features.shape[-1]
    for first in range(0, last, segment_frames):
        part = features[:, first : first + segment_frames]
        level = {"absolute": 0.0, "track": features.max(), "segment": part.max()}[reference]
        value = FLOOR if fill == "floor" else 0.0
        result[:, first : first + segment_frames] = np.where(part < level - 30 / 150, value, part)
    return result


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("fill", FILLS)
def test_values_below_the_threshold_are_replaced(reference, fill):
    rng = np.random.default_rng(0)
    loudness = np.linspace(0.3, -0.4, 22)
    features = (rng.uniform(-0.3, 0.0, (2, 5, 22)) + loudness).clip(FLOOR).astype(np.float32)
    gate = Gate(post_db=-30.0, reference=reference, fill=fill)
    expected = np.stack([naive(row, reference, fill, 8) for row in features])
    for array in (features, jnp.asarray(features)):
        gated = gate(array, FRONTEND, segment_frames=8)
        np.testing.assert_allclose(gated, expected, atol=1e-6)
        assert type(gated) is not np.ndarray or gated.dtype == np.float32
    whole = np.stack([naive(row, reference, fill, 22) for row in features])
    np.testing.assert_allclose(gate(features, FRONTEND), whole, atol=1e-6)
    # A part of a track is gated as in the track if its maximum is known.
    if reference == "track":
        maximum = features.max(axis=(1, 2), keepdims=True)
        part = gate(features[..., 9:], FRONTEND, maximum=maximum)
        np.testing.assert_allclose(part, whole[..., 9:], atol=1e-6)
    silence = np.full((5, 22), FLOOR)
    if reference != "absolute":
        np.testing.assert_array_equal(gate(silence, FRONTEND), silence)


def test_values_at_the_threshold_are_kept():
    features = np.array([[-0.5, -0.4, -0.39, 0.2]], np.float32)
    gated = Gate(post_db=-60.0)(features, FRONTEND)
    np.testing.assert_array_equal(gated, [[FLOOR, *features[0, 1:]]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(post_db=float("nan")), "post_db=nan: expected a number in dB"),
        (
            dict(post_db=-60.0, reference="peak"),
            "post_reference='peak': expected one of",
        ),
        (dict(post_db=-60.0, fill="0"), "post_fill='0': expected one of 'floor', 'zero'"),
    ],
)
def test_invalid_settings_are_rejected(settings, message):
    with pytest.raises(UserError, match=message):
        Gate(**settings)
