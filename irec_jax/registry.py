"""Create objects by name from config entries such as `dict(name="adam", learning_rate=1e-3)`."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from irec_jax.errors import UserError

Entry = TypeVar("Entry")


class MissingModuleError(UserError):
    """A module named in a config or a trained system cannot be imported."""


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> UserError:
    """Return the error for an unknown name, with the most similar known name as a suggestion.

    `where`, such as "of model 'crnn'", follows the name in the message.
    """
    known = sorted(known)
    similar = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {similar[0]!r}?" if similar else f"known: {', '.join(known)}"
    place = f" {where}" if where else ""
    return UserError(f"unknown {kind} {name!r}{place}: {hint}")


def split_names(text: str, option: str) -> list[str]:
    """Return the comma-separated names in a text, without duplicates.

    Raises:
        UserError: if the text contains no name.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UserError(f"{option} {text!r}: contains no name; omit it, or list at least one name")
    return names


def find(kind: str, table: Mapping[str, Entry], name: str) -> Entry:
    """Return `table[name]`; raise UserError for an unknown name."""
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]


def find_class(kind: str, table: Mapping[str, type], name: str, base: type) -> type:
    """Return `table[name]`, or a class from another package if the name is `module:Class`.

    Args:
        kind, table: as for `create`.
        name: a key of `table`, or an importable module and a class in it.
        base: base class that a class from another package must have.

    Raises:
        UserError: if the name is unknown, the module cannot be imported, or it does not contain
            such a class.
    """
    module_name, colon, class_name = name.partition(":")
    if not colon:
        return find(kind, table, name)
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise MissingModuleError(
            f"{kind} {name!r}: {error}; install the package, or add its folder to PYTHONPATH"
        ) from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{kind} {name!r}: expected a subclass of {base.__name__}, got {found!r}")
    return found


def parameters(function: Callable) -> dict[str, inspect.Parameter] | None:
    """Return the keyword parameters of a function or class; None if it accepts any keyword."""
    signature = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.values()):
        return None
    return {n: p for n, p in signature.items() if p.kind is not inspect.Parameter.POSITIONAL_ONLY}


def check_arguments(kind: str, name: str, function: Callable, arguments: Iterable[str]) -> None:
    """Raise UserError for an argument that the function does not accept."""
    known = parameters(function)
    for argument in arguments:
        if known is not None and argument not in known:
            raise unknown("argument", argument, known, f"of {kind} {name!r}")


def create(kind: str, table: Mapping[str, Callable], name: str, **arguments: Any) -> Any:
    """Check the name and the arguments, and return `table[name](**arguments)`.

    Args:
        kind: the kind of entries, for error messages, such as 'model' or 'front end'.
        table: functions or classes by name.
        name: a key of `table`.
        **arguments: arguments of the function.

    Raises:
        UserError: if the name or an argument is unknown, or an argument is missing.
    """
    function = find(kind, table, name)
    check_arguments(kind, name, function, arguments)
    missing = missing_arguments(function, arguments)
    if missing:
        raise UserError(f"{kind} {name!r}: {', '.join(missing)} missing; pass a value")
    return function(**arguments)


def missing_arguments(function: Callable, given: Iterable[str]) -> list[str]:
    """Return the arguments of a function that have no default and are not given."""
    given, known = set(given), inspect.signature(function).parameters
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty
        and parameter.kind not in optional
        and name not in given
    ]
