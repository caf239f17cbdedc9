"""Datasets describe themselves and are registered with TFDS."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

import data_builders
import data_builders.registration  # noqa: F401
from irec_jax import audio, data
from irec_jax.errors import UserError

BY_PATH = ("folder", "multitrack")


@pytest.mark.parametrize("name", sorted(set(data_builders.DATASETS) - set(BY_PATH)))
def test_tfds_creates_registered_builders(name, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    builder = tfds.builder(name, data_dir=tmp_path)
    assert builder.name == name and str(tmp_path) in str(builder.data_dir)
    assert builder.info.full_name == data_builders.builder(name, data_dir=tmp_path).info.full_name
    assert not [*(tmp_path / "temporary").iterdir()]


@pytest.mark.parametrize("create", [tfds.builder, data_builders.builder])
@pytest.mark.parametrize("name", BY_PATH)
def test_missing_path_is_reported_in_one_line(name, create, tmp_path):
    with pytest.raises(UserError, match=f"{name}: no path given; set path to a folder of") as error:
        create(name, data_dir=tmp_path)
    assert "\n" not in str(error.value)


def test_tfds_accepts_the_options_of_a_folder(tmp_path):
    for name in ("drum/a", "drum/b", "flute/c", "flute/d"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(tmp_path / "clips" / f"{name}.wav", np.full(99, 0.5, np.float32), 22_050)
    builder = tfds.builder("folder", path=tmp_path / "clips", data_dir=tmp_path / "data")
    assert builder.info.features["labels"].feature.names == ["drum", "flute"]


def test_descriptions_are_consistent():
    for name, dataset in data_builders.DATASETS.items():
        assert dataset.rendered == bool({"soundfont", "sounds"} & {*dataset.options}), name
        assert set(dataset.options) <= set(data_builders.OPTIONS), name
        assert f"{name}" in " ".join(data_builders.OPTIONS[option] for option in dataset.options)
    assert data_builders.describe("irmas").test_parts == (1, 2, 3)
    with pytest.raises(UserError, match="unknown dataset 'irmass': did you mean 'irmas'"):
        data_builders.describe("irmass")


def test_importing_the_descriptions_does_not_import_tfds():
    code = "import sys, data_builders; sys.exit('tensorflow_datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_each_folder_has_its_own_dataset(tmp_path, monkeypatch):
    (tmp_path / "kazoos").mkdir()
    (tmp_path / "kazoos/__init__.py").write_text(
        "from data_builders.common.description import Description\n"
        "def create_builder(*, data_dir=None): return f'kazoos in {data_dir}'\n"
        "DATASET = Description('clips', create_builder, classes=('kazoo', 'comb'))\n"
    )
    monkeypatch.setattr(data_builders, "__path__", [*data_builders.__path__, str(tmp_path)])
    monkeypatch.setattr(data_builders, "DATASETS", data_builders._discover())
    assert data_builders.describe("kazoos").classes == ("kazoo", "comb")
    assert data_builders.builder("kazoos", data_dir=tmp_path) == f"kazoos in {tmp_path}"
    assert "classes" in data.own_keys("kazoos")
