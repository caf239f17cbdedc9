"""Annotations of arrays: no public function lacks them."""

import collections.abc
import importlib
import inspect
import pkgutil
import typing

import jax
import numpy as np
import pytest

#: Packages whose public functions state dtype and axes of arrays.
ANNOTATED_PACKAGES = (
    "irec_jax.dsp",
    "irec_jax.frontends",
    "irec_jax.augment",
    "irec_jax.kernels",
    "irec_jax.models",
    "irec_jax.losses",
    "irec_jax.metrics",
    "irec_jax.crosstalk",
    "irec_jax.inference",
    "irec_jax.tasks",
)


def public_functions(package):
    """Yield the public functions of a package, and the methods of its public classes."""
    root = importlib.import_module(package)
    names = [package]
    for module in pkgutil.walk_packages(getattr(root, "__path__", ()), package + "."):
        names.append(module.name)
    for module in map(importlib.import_module, names):
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            yield f"{module.__name__}.{name}", plain(value)
            methods = vars(value) if inspect.isclass(value) else {}
            for method, function in methods.items():
                is_own = getattr(plain(function), "__module__", None) == module.__name__
                if is_own and (method == "__call__" or not method.startswith("_")):
                    yield f"{module.__name__}.{name}.{method}", plain(function)


def plain(function):
    """Return a function without decorators."""
    function = function.fget if isinstance(function, property) else function
    return inspect.unwrap(getattr(function, "__func__", function))


def is_plain_array(annotation):
    """Return whether an annotation contains arrays without axes, other than in a `Callable`."""
    if typing.get_origin(annotation) is collections.abc.Callable:
        return False
    parts = typing.get_args(annotation)
    return annotation in (jax.Array, np.ndarray) or any(map(is_plain_array, parts))


@pytest.mark.parametrize("package", ANNOTATED_PACKAGES)
def test_public_functions_state_the_axes_of_arrays(package):
    functions = dict(public_functions(package))
    assert functions
    without_axes = [
        f"{name}: {argument}"
        for name, function in functions.items()
        if inspect.isfunction(function) or inspect.isclass(function)
        for argument, annotation in inspect.get_annotations(function).items()
        if is_plain_array(annotation)
    ]
    assert not without_axes, "add dtype and axes, such as Float[Array, 'batch frames']"


@pytest.mark.parametrize("package", ANNOTATED_PACKAGES)
def test_public_functions_are_annotated(package):
    missing = []
    for name, function in public_functions(package):
        if inspect.isfunction(function):
            arguments = {*inspect.signature(function).parameters, "return"} - {"self", "cls"}
            missing += [f"{name}: {a}" for a in arguments - set(function.__annotations__)]
    assert not missing
