"""Names of a package that are loaded when they are first asked for, so that importing it costs nothing."""

from collections.abc import Callable, Mapping
from typing import Any


def names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package; `homes` says which of its modules holds a public name.

    >>> load, listed = names("batlab.curves", {"find_peaks": "find"})
    >>> load("find_peaks").__name__, listed()
    ('find_peaks', ['find_peaks'])
    """

    def load(name: str) -> Any:
        if name in homes:
            import sys
            from importlib import import_module

            value = getattr(import_module(f"{package}.{homes[name]}"), name)
            setattr(sys.modules[package], name, value)  # a sub-module of the same name must not hide it
            return value
        from batlab.errors import did_you_mean

        hint = did_you_mean(name, homes) or f"; it has {', '.join(sorted(homes))}"
        raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")

    def listed() -> list[str]:
        return sorted(homes)

    return load, listed
