# SPDX-License-Identifier: MIT
"""Old names that still work: each use gives a DeprecationWarning with the new name."""

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """A DeprecationWarning at the caller of the function that calls this."""
    warnings.warn(f"{old} is renamed to {new}", DeprecationWarning, stacklevel=stacklevel)


def renamed_attribute(old: str, new: str) -> Any:
    """A property `old` that reads and writes the attribute, or calls the method, `new`."""

    def read(instance: Any) -> Any:
        warn_renamed(old, new)
        return getattr(instance, new)

    def write(instance: Any, value: Any) -> None:
        warn_renamed(old, new)
        setattr(instance, new, value)

    return property(read, write, doc=f"Renamed to `{new}`.")


def renamed_arguments(**names: str) -> Callable[[Function], Function]:
    """A decorator of functions and classes: keyword arguments by old names, {old: new}, are passed on by new ones.

    Raises TypeError where both are given.
    """

    def decorate(function: Function) -> Function:
        if isinstance(function, type):
            function.__init__ = decorate(function.__init__)  # type: ignore[misc]
            return function

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old in names.keys() & kwargs.keys():
                if names[old] in kwargs:
                    raise TypeError(f"{old} is renamed to {names[old]}: both are given")
                warn_renamed(f"the argument {old}", names[old])
                kwargs[names[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def renamed_names(module: str, names: dict[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` of a module, by which its old names, {old: new}, stand for the new ones."""

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", names[name])
        return getattr(sys.modules[module], names[name])

    return find
