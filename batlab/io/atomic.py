"""Files appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batlab.errors import BatlabError


class AlreadyThereError(BatlabError, FileExistsError):
    """A file of that name exists and is not to be replaced."""


@contextmanager
def replacing(path: Path, overwrite: bool) -> Iterator[Path]:
    """Give a name beside `path` to write to; when the body ends well, what was written takes the place of `path`.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    """
    if path.exists() and not overwrite:
        raise AlreadyThereError(f"{path}: is there already; pass overwrite=True to replace it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {str(path.parent)!r} does not exist")
    unfinished = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield unfinished
        _settle(unfinished, path)
    finally:
        _remove(unfinished)


def _settle(unfinished: Path, path: Path) -> None:
    if unfinished.is_dir() or path.is_dir():
        # A folder cannot be replaced in one step: the old one steps aside first.
        aside = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.old")
        if path.exists():
            os.replace(path, aside)
        os.replace(unfinished, path)
        _remove(aside)
        return
    with open(unfinished, "rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
