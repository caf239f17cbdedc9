"""Annotations of arrays: the tests check them, and no public function lacks them."""

import collections.abc
import importlib
import inspect
import pkgutil
import typing

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from conftest import CHECKED_PACKAGES

from irec_jax import augment, frontends, kernels, losses
from irec_jax.crosstalk.estimate import cost
from irec_jax.dsp import resize
from irec_jax.inference import thresholds
from irec_jax.metrics import ratios
from irec_jax.models import layers
from irec_jax.tasks import task

#: A call with arrays of a wrong shape for each package.
WRONG_CALLS = {
    "irec_jax.dsp": lambda: resize.resize(np.zeros(9, np.float32), height=3, width=3),
    "irec_jax.frontends": lambda: frontends.create("chunks")(
        np.zeros((2, 600), np.float32), num_samples=np.zeros(3, int)
    ),
    "irec_jax.augment": lambda: augment.Augment().waveform(jax.random.key(0), jnp.zeros((2, 9))),
    "irec_jax.kernels": lambda: kernels.max_pool(jnp.zeros((9, 9)), (3, 3)),
    "irec_jax.models": lambda: layers.global_pool(jnp.zeros((2, 9, 9)), "max"),
    "irec_jax.losses": lambda: losses.mean_squared_error(jnp.zeros((2, 3)), jnp.zeros((3, 3))),
    "irec_jax.metrics": lambda: ratios.ratio_db(np.zeros(3), np.zeros(2)),
    "irec_jax.crosstalk": lambda: cost(np.eye(3), np.eye(2)),
    "irec_jax.inference": lambda: thresholds.apply(np.zeros((2, 3)), np.zeros(2)),
    "irec_jax.tasks": lambda: task.example_keys(jax.random.key(0), {"index": np.zeros((), int)}),
}


@pytest.mark.parametrize("package", CHECKED_PACKAGES)
def test_arrays_of_a_wrong_shape_are_refused(package):
    with pytest.raises(jaxtyping.TypeCheckError, match="parameters of " + package):
        WRONG_CALLS[package]()


@pytest.mark.usefixtures("unchecked")
def test_users_get_no_type_check_errors():
    assert WRONG_CALLS["irec_jax.models"]().shape == (2,)


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


@pytest.mark.parametrize("package", CHECKED_PACKAGES)
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


@pytest.mark.parametrize("package", CHECKED_PACKAGES)
def test_public_functions_are_annotated(package):
    missing = []
    for name, function in public_functions(package):
        if inspect.isfunction(function):
            arguments = {*inspect.signature(function).parameters, "return"} - {"self", "cls"}
            missing += [f"{name}: {a}" for a in arguments - set(function.__annotations__)]
    assert not missing
