"""The folders that a file's links, virtual arrays and external storage may lead to."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batlab.errors import UnsafePathError


@dataclass(frozen=True)
class Folders:
    """The folders that links may lead to."""

    roots: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, allow_links: str | os.PathLike | Iterable[str | os.PathLike] = ()) -> Folders:
        """Return the folder of `path` (and of the file itself, where `path` is a symbolic link) and those allowed."""
        named = [allow_links] if isinstance(allow_links, (str, os.PathLike)) else list(allow_links)
        own = [path.parent, Path(os.path.realpath(path)).parent]
        return cls(tuple(dict.fromkeys(os.path.realpath(root) for root in [*own, *named])))

    def locate(self, filename: str, base: str | os.PathLike, what: str) -> Path:
        """Return the real path of `filename`, named in the file `base`; it need not exist.

        Raises
        ------
        UnsafePathError
            It lies outside; `what` names the link.
        """
        folder = Path(base).parent
        wanted = Path(os.path.realpath(folder / filename))
        if self.holds(wanted):
            return wanted
        beside = Path(os.path.realpath(folder / Path(filename).name))
        # A stack that was moved as a whole keeps the absolute names of the beamline.
        if Path(filename).is_absolute() and beside.exists() and self.holds(beside):
            return beside
        raise UnsafePathError(
            f"{Path(base).name}: {what} leads to {filename}, outside {self.roots[0]}; if you trust the file, open it "
            f"with allow_links=[{str(wanted.parent)!r}]"
        )

    def holds(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self.roots)


def source_files(pattern: str, name: str, file: str | os.PathLike, folders: Folders) -> list[Path]:
    """Return the files that a source of the virtual array `name` in `file` names; ``%b`` stands for a block's number.

    Raises
    ------
    UnsafePathError
        One lies outside `folders`.
    """
    if pattern == ".":
        return [Path(file)]
    told = f"the virtual array {name}"
    only = folders.locate(pattern, file, told)
    if "%" not in pattern:
        return [only]
    wild = re.sub(r"%(?!%)\d*b", "*", glob.escape(pattern)).replace("%%", "%")
    return [folders.locate(match, file, told) for match in glob.glob(wild, root_dir=Path(file).parent)]


def check_storage(array: Any, name: str, file: str | os.PathLike, folders: Folders) -> None:
    """Refuse an HDF5 array whose numbers lie in files outside `folders`: HDF5 itself would read any file.

    Raises
    ------
    UnsafePathError
        With the file that it names.
    """
    for filename, *_ in array.external or ():
        folders.locate(filename, file, f"the external storage of {name}")
    if array.is_virtual:
        for mapping in array.virtual_sources():
            source_files(mapping.file_name, name, file, folders)
