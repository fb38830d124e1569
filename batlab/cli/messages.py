"""What the commands say, and how they fail: one line, and a traceback only when asked for."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

Command = TypeVar("Command", bound=Callable[..., None])
# What a wrong file, path or argument raises; anything else is a defect and shows its traceback.
EXPECTED = (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, ImportError, MemoryError)

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def reported(command: Command) -> Command:
    """Turn an error of `command` into one line on stderr and exit status 1."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _show_warning
            try:
                command(*arguments, **options)
            except KeyboardInterrupt:
                errors.print("[red]stopped[/]; files that were complete stay")
                raise typer.Exit(130) from None
            except EXPECTED as error:
                if options.get("debug"):
                    errors.print_exception()
                else:
                    _show_error(error)
                raise typer.Exit(1) from None

    return run  # type: ignore[return-value]


def _show_error(error: BaseException) -> None:
    message = " ".join(str(error).split()) or type(error).__name__
    message = message.replace("pass overwrite=True", "add --overwrite")
    kind = type(error).__name__
    errors.print(Text.assemble(("error: ", "bold red"), f"{message} ({kind}; --debug shows more)"), soft_wrap=True)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    errors.print(Text.assemble(("warning: ", "yellow"), " ".join(str(message).split())), soft_wrap=True)


def check_output(*paths: Path | None, overwrite: bool) -> None:
    """Refuse outputs that cannot be written, before hours of work and not after.

    Raises
    ------
    FileExistsError, FileNotFoundError
        A file is there already, or its folder is not.
    """
    for path in filter(None, paths):
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} is there already; add --overwrite to replace it")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"the folder {path.parent} is not there; make it first")


def saved(path: Path, result: Any = None) -> None:
    """Say what was written."""
    sizes = "" if result is None else " (" + ", ".join(f"{dim} {n}" for dim, n in result.sizes.items()) + ")"
    console.print(f"[green]wrote[/] {escape(str(path))}{escape(sizes)}", soft_wrap=True)


def hints(pairs: Iterable[str]) -> dict[str, Any]:
    """Return ``NAME=VALUE`` pairs as keywords; a value that is a number becomes one.

    >>> hints(["wavelength=0.41", "current_unit=mA"])
    {'wavelength': 0.41, 'current_unit': 'mA'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--hint needs NAME=VALUE, got {pair!r}")
        found[name] = _number(value)
    return found


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
