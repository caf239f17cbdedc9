"""Wheel: it contains the packages with their data files, and nothing else."""

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PACKAGES = ("irec_jax", "configs", "data_builders")


def test_wheel_contains_every_file_of_the_packages(tmp_path):
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert b"irec = irec_jax.cli:main" in wheel.read(entry_points)
    assert {"configs/han.py", "data_builders/musdb18/tracks.csv", "irec_jax/py.typed"} <= names
    assert names == {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
