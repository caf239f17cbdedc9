"""Sounds of a user, and the dataset `folder` that is prepared from them."""

import numpy as np
import pytest

import data_builders
from irec_jax import audio
from irec_jax.errors import UserError


def write(path, seconds=0.1, rate_hz=22_050, num_channels=1, seed=None):
    """Write noise, different for every file name or seed, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(list(path.name.encode()) if seed is None else seed)
    samples = 0.1 * generator.standard_normal((int(seconds * rate_hz), num_channels))
    audio.write(path, samples.astype(np.float32), rate_hz)
    return path


def read(builder):
    """Return class names and, for each split, labels and song by clip id."""
    names = builder.info.features["labels"].feature.names
    splits = {}
    for split in builder.info.splits:
        index = data_builders.clip_index(builder, split)
        splits[split] = {
            key: ([n for n, on in zip(names, labels, strict=True) if on], str(song))
            for key, labels, song in zip(index["id"], index["labels"], index["song"], strict=True)
        }
    return names, splits


def prepare(tmp_path, path, **options):
    """Prepare the dataset `folder`."""
    return data_builders.prepare("folder", data_dir=tmp_path / "data", path=path, **options)


def check_error(tmp_path, path, *expected, **options):
    """Check that the preparation fails with one line that contains all of these words."""
    with pytest.raises(UserError) as error:
        prepare(tmp_path, path, **options)
    for words in expected:
        assert words in str(error.value)
    assert "\n" not in str(error.value)
