"""Wheel and sdist: they contain the packages with their data files."""

import shutil
import tarfile
import zipfile
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
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


def test_wheel_and_sdist_contain_packaged_systems(tmp_path):
    """No rule for data files, or for files that git ignores, leaves them out."""
    for name in ("pyproject.toml", ".gitignore", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    files = {"system.json", "parameters.npz", "README.md", "checksums.json"}
    expected = {f"irec_jax/pretrained/instruments/{name}" for name in files}
    for name in (*(f"{package}/__init__.py" for package in PACKAGES), *expected):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (path,) = WheelBuilder(str(tmp_path)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(path) as wheel:
        assert expected <= set(wheel.namelist())
    (path,) = SdistBuilder(str(tmp_path)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(path) as sdist:
        assert expected <= {name.partition("/")[2] for name in sdist.getnames()}
