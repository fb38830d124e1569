"""Writing a report."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from batlab.failure import Mark, Store
from batlab.report._kinds import ordered
from batlab.report._marks import draw_marks, marks_section, provenance, versions, wanted
from batlab.report._page import GENERATOR, page
from batlab.report._results import SECTIONS
from batlab.report._sections import Section
from batlab.schema import same_scheme


def write(
    path: str | os.PathLike,
    *results: xr.Dataset | xr.DataArray | xr.DataTree,
    title: str | None = None,
    store: Store | None = None,
    marks: Sequence[Mark] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one experiment to one HTML file that needs no network: figures, tables with σ, marks, provenance.

    Parameters
    ----------
    path
        The file, ``"cell7.html"``. It appears whole or not at all.
    *results
        Patterns, peaks, cells, events, cycling records, structures or a tree of them, in any order; each is
        recognised by its dimensions. Nothing lazy but patterns is computed.
    title
        Without it: the file's name.
    store, marks
        Whose marks to show: all of a store with their earlier versions, or the given ones.
    overwrite
        Replace a file that is no report. An earlier report is always replaced.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    TypeError, ValueError
        No result, or one that is no dataset; both `store` and `marks`.
    SchemaError
        Results of patterns that were integrated with different pixel splitting; write a report of each.
    FileExistsError
        `path` is something else than a report, and `overwrite` is False.

    Notes
    -----
    Text from data and users is escaped, and the page's Content-Security-Policy lets only its own scripts run. Map
    figures are reduced to at most 1000 × 1000 pixels.

    Examples
    --------
    >>> import batlab as bl
    >>> bl.report.write("cell7.html", patterns, cells, events)  # doctest: +SKIP
    PosixPath('cell7.html')
    """
    target = Path(path).expanduser()
    if not results:
        raise ValueError("report.write needs at least one result to show")
    _refuse_other_files(target, overwrite)
    told = ordered(results)
    same_scheme("report.write", *(table for _, table in told))
    sections = [SECTIONS[kind](table) for kind, table in told]
    _number(sections)
    named = [(section.title, table) for section, (_, table) in zip(sections, told, strict=True)]
    found = wanted(store, marks)
    if found:
        draw_marks(found, list(zip(sections, (table for _, table in told), strict=True)))
        sections.append(marks_section(found, [table for _, table in told]))
    summary = _summary(sections)
    sections += [provenance(named), versions()]
    _write_whole(target, page(title or target.stem, summary, sections))
    return target


def _summary(sections: Sequence[Section]) -> str:
    text = ".\n".join(section.summary for section in sections if section.summary)
    return f"{text}." if text else "No numbers could be determined."


def _number(sections: Sequence[Section]) -> None:
    """Tell sections with the same title apart."""
    total, seen = Counter(section.title for section in sections), Counter[str]()
    for section in sections:
        if total[section.title] > 1:
            seen[section.title] += 1
            section.title = f"{section.title} ({seen[section.title]})"


def _refuse_other_files(target: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} is not there; make it first")
    if overwrite or not target.exists():
        return
    with open(target, "rb") as file:
        if GENERATOR.encode() not in file.read(4096):
            raise FileExistsError(f"{target} is there already and is no report of batlab; pass overwrite=True")


def _write_whole(target: Path, text: str) -> None:
    """Write beside the target and rename, so that a reader never finds half a page."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
