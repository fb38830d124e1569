"""Where a set is: at hand, in the cache, or at its origin."""

from __future__ import annotations

import os
from pathlib import Path

from batlab.datasets._table import OpenData, table
from batlab.errors import DatasetUnavailableError
from batlab.schema import file_sha256


def path(name: str, *, download: bool = True, verify: bool = False) -> Path:
    """Return the folder of the set `name`, or the file where the set is a single one in a shared folder.

    Looked for, in this order: the folder that the environment variable ``BATLAB_DATA`` names, ``shared/data`` beside
    the repository or beside any folder above the current one, the user's cache, the public origin. A folder counts
    when every file of the set is in it with the right size.

    Parameters
    ----------
    name
        One of the names of ``datasets.table()``.
    download
        Whether to fetch the set into the user's cache if it is not at hand. What was fetched is always checked
        against its SHA-256.
    verify
        Whether to compare the SHA-256 of local files too.

    Raises
    ------
    ValueError
        No set has this name.
    DatasetUnavailableError
        The set is nowhere; the message says where it was looked for and what to do.

    Examples
    --------
    >>> path("licovo4_operando")  # doctest: +SKIP
    PosixPath('/data/xrd/LiCoVO4_operando_lab')
    """
    entry = table()[name]
    looked: list[str] = []
    for root in _roots():
        problem = _problem(entry, root, verify=verify)
        if not problem:
            return root / entry.path
        looked.append(f"{root / entry.path} ({problem})")
    from batlab.datasets import _fetch

    cache = _fetch.cache_folder()
    problem = _problem(entry, cache, verify=verify)
    if not problem:
        return cache / entry.path
    looked.append(f"{cache / entry.path} ({problem})")
    if not download:
        raise DatasetUnavailableError(_message(entry, looked, "download=False was given"))
    try:
        _fetch.fetch(entry, cache)
    except OSError as error:
        raise DatasetUnavailableError(_message(entry, looked, str(error))) from error
    return cache / entry.path


def _roots() -> list[Path]:
    """Return the data folders to look in, the user's own choice first."""
    stated = os.environ.get("BATLAB_DATA")
    roots = [Path(stated).expanduser()] if stated else []
    here = Path.cwd()
    above = [Path(__file__).resolve().parents[3], here, *here.parents]
    for folder in (parent / "shared" / "data" for parent in above):
        if folder.is_dir() and folder not in roots:
            roots.append(folder)
    return roots


def _problem(entry: OpenData, root: Path, *, verify: bool) -> str:
    """Return what keeps the set in `root` from being used, or an empty string."""
    folder = root / entry.folder
    if not folder.is_dir():
        return "no such folder"
    absent = [member.file for member in entry.files if not (folder / member.file).is_file()]
    if absent:
        return f"{len(absent)} of {entry.n_files} files missing, first {absent[0]}"
    for member in entry.files:
        if (folder / member.file).stat().st_size != member.size:
            return f"{member.file} has another size than the origin's"
        if verify and file_sha256(folder / member.file) != member.sha256:
            return f"{member.file} has another SHA-256 than the origin's"
    return ""


def _message(entry: OpenData, looked: list[str], reason: str) -> str:
    return (
        f"the data set {entry.name!r} ({entry.title}) is not at hand. Looked in {'; '.join(looked)}; then at its "
        f"origin {entry.origin}: {reason}. Copy the files from there into a folder of your own as "
        f"<folder>/{entry.path} and set BATLAB_DATA to that folder, or try again with a network"
    )
