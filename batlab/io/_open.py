"""Open a file by what it holds, whatever it is called."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import xarray as xr

from batlab.errors import BatlabError, ReadError, refuse_unknown
from batlab.schema import check, record

# Asked in this order; each is a module here with NAME, HINTS, recognise() and read(). The last takes any text.
READERS = (
    "hdf5",
    "zarr_store",
    "images",
    "bruker",
    "poni",
    "hexrd",
    "cif",
    "feff",
    "athena",
    "spec",
    "biologic",
    "biologic_binary",
    "ecms",
    "maccor",
    "pec",
    "basytec",
    "novonix",
    "landt",
    "bdf",
    "neware",
    "neware_csv",
    "arbin_res",
    "arbin_xlsx",
    "arbin",
    "cycler_text",
    "xdi",
    "cansas_xml",
    "spectra",
    "spectra_dispersive",
    "columns",
)
# A hint that only one reader of plain text knows tells what a text without a header holds.
CLAIMS = {"columns": "spectra"}
HEAD = 4096

Source = str | os.PathLike | Iterable[str | os.PathLike]


def open(path: Source, /, **hints: Any) -> Any:
    """Read one file, a list of files or a glob; the format is recognised by content.

    Parameters
    ----------
    path
        A path, several, or a glob such as ``"run7/*.txt"``. Several files are one series, in natural order of their
        names (``2.txt`` before ``10.txt``), and must be of one format.
    **hints
        What the file does not say, e.g. ``wavelength=0.41`` or ``timezone="Europe/Paris"``; each reader lists its own.

    Returns
    -------
    Dataset, DataTree, Geometry or Instrument
        Patterns and detector frames over ``frame``, a cycler's record over ``record``, a structure over ``site``; a
        file of several measurements as a DataTree; a ``.poni`` as `Geometry`, a HEXRD ``.yml`` as `Instrument`. See
        ``batlab.schema`` for the units.

    Raises
    ------
    ReadError
        The file is missing, damaged or of no known format; the message names it.
    TypeError
        For a hint that the reader does not know, or a `path` that is none.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "ni.xy")
    >>> _ = file.write_text("# 2th_deg I\\n10.0 5\\n10.1 7\\n")
    >>> open(file).sizes["two_theta"]
    2
    """
    paths = expand(path)
    reader = _reader_of(paths)
    claimed = [name for hint, name in CLAIMS.items() if hint in hints]
    if claimed and reader.__name__ == f"batlab.io.{READERS[-1]}":
        reader = import_module(f"batlab.io.{claimed[0]}")
    refuse_unknown(f"io.open: the reader of {reader.NAME}", hints, reader.HINTS)
    try:
        result = reader.read(paths, **hints)
    except BatlabError:
        raise
    except (OSError, EOFError, UnicodeError) as error:
        raise ReadError(f"{paths[0].name}: cannot be read: {error}") from error
    if not isinstance(result, (xr.Dataset, xr.DataTree)):
        return result
    if "batlab_schema" in result.attrs:
        # Saved by batlab: its source and history are those of the first file, so that marks still find it.
        result = result.copy(deep=False)
        del result.attrs["batlab_schema"]
        return result
    source = paths[0] if len(paths) == 1 else paths
    if isinstance(result, xr.DataTree):
        # Each measurement says where it comes from, so that it can be worked with alone.
        told = record(xr.Dataset(), "io.open", source=source, **hints).attrs
        parts = {node.path: node.to_dataset(inherit=False).assign_attrs(told) for node in result.subtree}
        return xr.DataTree.from_dict(parts)
    return record(result, "io.open", source=source, **hints)


def structure(source: str | os.PathLike | xr.Dataset) -> xr.Dataset:
    """Return the structure in a CIF file, or the given structure checked.

    Raises
    ------
    ReadError
        The file holds no structure.
    TypeError
        `source` is a Dataset of another kind.
    """
    if isinstance(source, xr.Dataset):
        if "site" not in source.dims or "space_group" not in source.attrs:
            raise TypeError(f"a structure has dimension 'site' and a space_group, got {tuple(map(str, source.dims))}")
        return check(source)
    result = open(source)
    if not isinstance(result, xr.Dataset) or "space_group" not in result.attrs:
        raise ReadError(f"{Path(source).name}: holds no structure; pass a CIF file")
    return result


def expand(path: Source) -> list[Path]:
    """Return the files that `path` names, in natural order of their names.

    Raises
    ------
    ReadError
        Nothing there (with near names), no match, or a folder that no reader knows.
    """
    if isinstance(path, (str, os.PathLike)):
        one = Path(path).expanduser()
        if one.exists():
            return [_openable(one)]
        if any(sign in os.fspath(path) for sign in "*?["):
            matches = [Path(match) for match in glob.glob(os.fspath(one), recursive=True)]
            files = [match for match in matches if not match.is_dir() or _is_zarr(match)]
            if not files:
                raise ReadError(f"{os.fspath(path)}: no file matches" + _near(one))
            return sorted(map(_openable, files), key=_natural)
        raise ReadError(f"{os.fspath(path)}: there is no such file" + _near(one))
    if not isinstance(path, Iterable):
        raise TypeError(f"io.open takes a path, a glob or a list of paths, got {type(path).__name__}")
    paths = [file for item in path for file in expand(item)]
    if not paths:
        raise ReadError("io.open got an empty list of files")
    return sorted(paths, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    words = re.split(r"(\d+)", str(path))
    return [(0, int(word), "") if word.isdecimal() and word.isascii() else (1, 0, word) for word in words if word]


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def _openable(path: Path) -> Path:
    if path.is_file() or (path.is_dir() and _is_zarr(path)):
        return path
    if path.is_dir():
        endings = Counter(file.suffix for file in path.iterdir() if file.is_file())
        pattern = f"*{endings.most_common(1)[0][0]}" if endings else "*"
        raise ReadError(f"{path}: is a folder; open its files with a glob, e.g. '{path / pattern}'")
    raise ReadError(f"{path}: is neither a file nor a folder")


def _near(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"; the folder {str(folder)!r} does not exist either"
    names = [file.name for file in folder.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else f" in {str(folder.resolve())!r}"


def _reader_of(paths: list[Path]) -> ModuleType:
    first = _recognise(paths[0])
    for path in paths[1:]:
        other = _recognise(path)
        if other is not first:
            raise ReadError(
                f"a series must be of one format, got {paths[0].name} ({first.NAME}) and {path.name} ({other.NAME}); "
                "open them apart"
            )
    return first


def _recognise(path: Path) -> ModuleType:
    head = _head(path)
    if not head and not path.is_dir():
        raise ReadError(f"{path.name}: the file is empty")
    for name in READERS:
        reader = import_module(f"batlab.io.{name}")
        if reader.recognise(path, head):
            return reader
    raise ReadError(f"{path.name}: is of no known format (it starts with {head[:8]!r})")


def _head(path: Path) -> bytes:
    if path.is_dir():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise ReadError(f"{path.name}: cannot be read: {error}") from error
