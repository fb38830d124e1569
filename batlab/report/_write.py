"""Writing a report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from batlab.failure import Mark, Store, Worksheet
from batlab.io.atomic import replacing
from batlab.report._board import board, wanted_sheets
from batlab.report._kinds import ordered
from batlab.report._marks import draw_marks, marks_section, provenance, versions, wanted
from batlab.report._methods import methods
from batlab.report._page import GENERATOR, page
from batlab.report._results import SECTIONS
from batlab.report._sections import Section
from batlab.report._timeline import timeline
from batlab.schema import same_scheme


def write(
    path: str | os.PathLike,
    *results: xr.Dataset | xr.DataArray | xr.DataTree,
    title: str | None = None,
    store: Store | None = None,
    marks: Sequence[Mark] | None = None,
    worksheet: Worksheet | Sequence[Worksheet] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one experiment to one HTML file that needs no network: figures, tables with σ, marks, board, methods.

    It begins with the timeline (when each technique measured, cycles, events, marks) and ends with the methods: every
    step of every result's history, the literature that its documentation cites, and the versions of batlab.

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
    worksheet
        Worksheets to show as boards (`failure.worksheet`): modes, mechanisms and causes with their ratings, each with
        its evidence or marked as a judgement. By default those of the `store`.
    overwrite
        Replace a file that is no report. An earlier report is always replaced.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    TypeError, ValueError
        No result, or one that is no dataset; both `store` and `marks`; something else than worksheets.
    SchemaError
        Results of patterns that were integrated with different pixel splitting; write a report of each.
    FileExistsError
        `path` is something else than a report, and `overwrite` is False.

    Notes
    -----
    Text from data and users is escaped, and the page's Content-Security-Policy lets only its own scripts run. Map
    figures are reduced to at most 1000 × 1000 pixels. On paper figures are still, the board, the marks and the methods
    lie on landscape pages, and folded tables of more than 100 rows are left out, which the page says.

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
    sheets = wanted_sheets(store, worksheet, "report.write")
    sections = [SECTIONS[kind](table) for kind, table in told]
    _number(sections)
    named = [(section.title, table) for section, (_, table) in zip(sections, told, strict=True)]
    found = wanted(store, marks)
    first = timeline(dict(named), [mark for mark, _ in found])
    if found:
        draw_marks(found, list(zip(sections, (table for _, table in told), strict=True)))
        sections.append(marks_section(found, [table for _, table in told]))
    sections += [board(sheet) for sheet in sheets]
    summary = _summary(sections)
    done = methods(named, [(f"Board: {sheet.title}", "failure.worksheet") for sheet in sheets])
    text = page(title or target.stem, summary, [first, *sections, done, provenance(named), versions()])
    with replacing(target, True) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
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
