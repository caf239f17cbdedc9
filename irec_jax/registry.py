"""Things by name: `dict(name=..., **keyword arguments)` of a config to the object it means."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from irec_jax.errors import UserError


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not known; suggests the nearest known one."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return UserError(f"unknown {kind} {name!r}: {hint}")


def find(kind: str, table: Mapping[str, Callable], name: str) -> Callable:
    """Return `table[name]`; UserError for an unknown name."""
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]


def parameters(function: Callable) -> dict[str, inspect.Parameter] | None:
    """Keyword parameters of a function or class by name; None when it takes any keyword."""
    found = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.values()):
        return None
    return {n: p for n, p in found.items() if p.kind is not inspect.Parameter.POSITIONAL_ONLY}


def check_arguments(kind: str, name: str, function: Callable, arguments: Iterable[str]) -> None:
    """Raises UserError for an argument that the function does not take."""
    known = parameters(function)
    for argument in arguments:
        if known is not None and argument not in known:
            raise unknown(f"argument of {kind} {name!r}", argument, known)


def create(kind: str, table: Mapping[str, Callable], name: str, **arguments: Any) -> Any:
    """`table[name](**arguments)`, with one clear line for an unknown name or argument.

    Args:
        kind: what is being looked up, for the messages: 'model', 'front end' ...
        table: the known things.
        name: one of them.
        **arguments: passed on.

    Raises:
        UserError: unknown name, unknown argument or missing argument.
    """
    function = find(kind, table, name)
    check_arguments(kind, name, function, arguments)
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise UserError(f"{kind} {name!r}: {error}") from error
    return function(**arguments)
