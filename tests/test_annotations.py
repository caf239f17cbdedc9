"""Annotations of arrays: the tests check them, and no public function lacks them."""

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
from irec_jax.dsp import resize
from irec_jax.models import layers

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
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    if method == "__call__" or not method.startswith("_"):
                        yield f"{module.__name__}.{name}.{method}", function


def signature_types(function):
    """Return the annotations of the parameters, the result and, for a class, the fields."""
    if isinstance(function, property):
        function = function.fget
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not (inspect.isfunction(function) or inspect.isclass(function)):
        return {}
    return typing.get_type_hints(function, include_extras=True)


def holds_plain_array(annotation):
    """Return whether arrays without dtype and axes are part of an annotation."""
    if annotation in (jax.Array, np.ndarray):
        return True
    if typing.get_origin(annotation) is typing.get_origin(typing.Callable[..., int]):
        return False
    return any(map(holds_plain_array, typing.get_args(annotation)))


@pytest.mark.parametrize("package", CHECKED_PACKAGES)
def test_public_functions_state_the_axes_of_arrays(package):
    functions = dict(public_functions(package))
    assert functions
    plain = [
        f"{name}: {argument}"
        for name, function in functions.items()
        for argument, annotation in signature_types(function).items()
        if holds_plain_array(annotation)
    ]
    assert not plain, "add dtype and axes, such as Float[Array, 'batch frames']"


@pytest.mark.parametrize("package", CHECKED_PACKAGES)
def test_public_functions_are_annotated(package):
    missing = []
    for name, function in public_functions(package):
        function = inspect.unwrap(getattr(function, "__func__", function))
        if inspect.isfunction(function):
            signature = inspect.signature(function)
            arguments = list(signature.parameters)
            if "." in function.__qualname__ and "<locals>" not in function.__qualname__:
                arguments = arguments[1:]  # self or cls
            hints = signature_types(function)
            missing += [f"{name}: {a}" for a in (*arguments, "return") if a not in hints]
    assert not missing
