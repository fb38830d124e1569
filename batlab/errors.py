"""What can go wrong, said so that the reader knows what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BatlabError(Exception):
    """Parent of every error that batlab raises on purpose."""


class DimensionError(BatlabError, ValueError):
    """An array lacks a dimension, has one too many, or has them in the wrong order."""


class UnitError(BatlabError, ValueError):
    """A unit is missing or is not the one that the data model states."""


class SchemaError(BatlabError, ValueError):
    """A dataset breaks another rule of the data model."""


class ReadError(BatlabError, ValueError):
    """A file cannot be read; the message names the file, and the line where there is one."""


class UnsafePathError(ReadError):
    """A file points outside the folder that the user named."""


class DatasetUnavailableError(BatlabError, OSError):
    """Open data is neither at hand nor to be had from its origin."""


class MissingExtraError(BatlabError, ImportError):
    """A function needs an optional package."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of `options`, or an empty string.

    >>> did_you_mean("arlps", ["snip", "arpls"])
    "; did you mean 'arpls'?"
    """
    near = difflib.get_close_matches(str(word), [str(option) for option in options], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def choose(name: str, value: object, options: Iterable[object]) -> None:
    """Refuse a `value` of the keyword `name` that is none of `options`.

    >>> choose("background", "arlps", ["snip", "arpls", None])
    Traceback (most recent call last):
        ...
    ValueError: background must be 'snip', 'arpls' or None, got 'arlps'; did you mean 'arpls'?
    """
    options = list(options)
    if any(value is option or (type(value) is type(option) and value == option) for option in options):
        return
    words = [repr(option) for option in options]
    listing = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    hint = did_you_mean(value, [o for o in options if isinstance(o, str)]) if isinstance(value, str) else ""
    raise ValueError(f"{name} must be {listing}, got {value!r}{hint}")


def refuse_unknown(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse keywords that `function` does not know.

    >>> refuse_unknown("io.open", ["wavelenght"], ["wavelength"])
    Traceback (most recent call last):
        ...
    TypeError: io.open does not know the keyword 'wavelenght'; did you mean 'wavelength'?
    """
    known = list(known)
    for word in given:
        if word not in known:
            hint = did_you_mean(word, known) or f"; it knows {', '.join(sorted(known)) or 'none'}"
            raise TypeError(f"{function} does not know the keyword {word!r}{hint}")
