"""Package layout: a package imports only from packages before it in the list."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Lowest first. A name may import from names before it (and from its own package).
PACKAGES = (
    "labels",
    "text",
    "errors",
    "registry",
    "remote",
    "files",
    "progress",
    "preemption",
    "job_array",
    "distributed",
    "audio",
    "dsp",
    "kernels",
    "frontends",
    "augment",
    "models",
    "losses",
    "metrics",
    "crosstalk",
    "checkpoints",
    "inference",
    "data",
    "tasks",
    "training",
    "config",
    "evaluation",
    "reports",
    "experiment",
    "systems",
    "studies",
    "benchmarks",
    "cli",
    "main",
)
#: Packages that dataset builders may import.
BUILDERS_MAY_USE = {
    "labels",
    "errors",
    "registry",
    "remote",
    "files",
    "progress",
    "audio",
    "dsp",
    "crosstalk",
}
#: Packages that applying a system to a file must not import.
NOT_FOR_APPLYING = ("training", "evaluation", "experiment")
FILES = sorted((ROOT / "irec_jax").rglob("*.py"))


def imported(file):
    """Return the full names of the imports of a file, including imports inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(file):
    return file.relative_to(ROOT / "irec_jax").parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_follow_the_order_of_packages(file):
    if file == ROOT / "irec_jax" / "__init__.py":
        return
    own = package_of(file)
    assert own in PACKAGES, f"{own} is not in the list of packages"
    for name in imported(file):
        parts = name.split(".")
        if parts[0] == "irec_jax" and len(parts) > 1:
            if name.startswith("irec_jax.studies.published"):
                continue  # published figures: data that imports nothing
            assert PACKAGES.index(parts[1]) <= PACKAGES.index(own), f"{own} imports {name}"
        if parts[0] == "data_builders":
            assert own in ("data", "cli"), f"{own} imports {name}"
        if parts[0] in ("tensorflow_datasets", "grain"):
            assert own in ("data",), f"{own} imports {name}"
        assert parts[0] not in ("tensorflow", "torch") or own == "benchmarks"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "data_builders").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT))
)
def test_builders_import_only_the_lowest_packages(file):
    for name in imported(file):
        parts = name.split(".")
        if parts[0] == "irec_jax":
            assert parts[1] in BUILDERS_MAY_USE, name
        assert parts[0] != "tensorflow"


def test_applying_a_system_imports_no_training():
    commands = ("recognize", "explain", "separate", "debleed", "label")
    script = (
        f"import sys, irec_jax, {', '.join(f'irec_jax.cli.{command}' for command in commands)}\n"
        "import irec_jax.systems.separator_files\n"
        "import irec_jax.systems.recogniser, irec_jax.systems.debleeder\n"
        "import irec_jax.systems.explainer_files\n"
        "import irec_jax.systems.labeller, irec_jax.reports.timeline\n"
        "import irec_jax.text, irec_jax.reports.debleed_tables\n"
        "print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    modules = {".".join(name.split(".")[:2]) for name in run.stdout.split()}
    assert not modules & {f"irec_jax.{package}" for package in NOT_FOR_APPLYING}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_modules_are_short(file):
    assert len(file.read_text().splitlines()) <= 450
