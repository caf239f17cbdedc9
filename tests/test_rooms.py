"""The house: a room imports only from rooms above it, and the project speaks of itself alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Lowest first. A name may import from names before it (and from its own room).
ROOMS = (
    "errors",
    "files",
    "registry",
    "labels",
    "commands",
    "audio",
    "tracks",
    "dsp",
    "frontends",
    "augment",
    "models",
    "losses",
    "metrics",
    "crosstalk",
    "inference",
    "data",
    "tasks",
    "training",
    "config",
    "workdir",
    "validate",
    "evaluation",
    "systems",
    "debleeding",
    "separating",
    "experiment",
    "studies",
    "benchmarks",
    "main",
    "cli",
)
BUILDERS_MAY_USE = {
    "errors",
    "files",
    "registry",
    "labels",
    "commands",
    "audio",
    "dsp",
    "crosstalk",
}
FILES = sorted((ROOT / "irec_jax").rglob("*.py"))


def imported(file):
    """Full names of what a file imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(file):
    return file.relative_to(ROOT / "irec_jax").parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_a_room_imports_from_rooms_above_it(file):
    if file == ROOT / "irec_jax" / "__init__.py":
        return
    own = room_of(file)
    assert own in ROOMS, f"{own} is not in the list of rooms"
    for name in imported(file):
        parts = name.split(".")
        if parts[0] == "irec_jax" and len(parts) > 1:
            assert ROOMS.index(parts[1]) <= ROOMS.index(own), f"{own} imports {name}"
        if parts[0] == "data_builders":
            assert own in ("data", "cli"), f"{own} imports {name}"
        if parts[0] in ("tensorflow_datasets", "grain"):
            assert own in ("data",), f"{own} imports {name}"
        assert parts[0] not in ("tensorflow", "torch") or own == "benchmarks"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "data_builders").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT))
)
def test_builders_import_only_the_lowest_rooms(file):
    for name in imported(file):
        parts = name.split(".")
        if parts[0] == "irec_jax":
            assert parts[1] in BUILDERS_MAY_USE, name
        assert parts[0] != "tensorflow"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_modules_are_one_thing(file):
    assert len(file.read_text().splitlines()) <= 450
