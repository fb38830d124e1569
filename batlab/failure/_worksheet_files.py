"""Worksheets as files: JSON and CSV here, spreadsheets and pages in modules of their own."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from batlab.errors import ReadError, did_you_mean
from batlab.failure import _worksheet_html, _worksheet_xlsx
from batlab.failure._worksheet_table import COLUMNS, line, reconcile
from batlab.failure.worksheets import Worksheet
from batlab.io.atomic import replacing

RISKY = (*"=+-@＝＋－＠", "\t", "\r", "\n", "'")  # a spreadsheet takes such a cell for a formula, or hides the quote
WHOLE = "worksheet"  # what stands in the first column of the last line, which holds everything
_LIMIT = Lock()  # the size of a field is the csv module's, not a reader's


def write(sheet: Worksheet, path: str | os.PathLike) -> None:
    """Write `sheet` beside `path` and put it in its place when it is whole."""
    target = Path(path).expanduser()
    content = _form(target)[0](sheet)
    if target.is_dir():
        raise IsADirectoryError(f"{target} cannot be written: it is a folder; give the name of a file")
    try:
        with replacing(target, overwrite=True) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise OSError(f"{target} cannot be written: {error}") from error


def read_worksheet(
    path: str | os.PathLike, *, edits: str = "refuse", author: str | None = None, reason: str = ""
) -> Worksheet:
    """Read a worksheet that `Worksheet.save` wrote, with all its history.

    Parameters
    ----------
    path
        ``.xlsx`` (needs openpyxl), ``.csv``, ``.json`` or ``.html``.
    edits
        What to do where the table of an ``.xlsx`` or ``.csv`` was changed with another program: ``"refuse"``,
        ``"take"`` texts and ratings over as changes by hand of `author` for `reason`, or ``"ignore"`` them.
    author, reason
        Of the changes taken over.

    Returns
    -------
    Worksheet
        Equal to what was saved.

    Raises
    ------
    ReadError
        The file is no worksheet, is damaged, was changed with another program, or a signed version is not what was
        signed.
    MissingExtraError
        ``.xlsx`` without openpyxl.

    Examples
    --------
    >>> import tempfile
    >>> from batlab.failure import worksheet
    >>> made = worksheet(title="cell 7", author="ada", rows=[{"component": "cell", "mechanism": "=1+1"}])
    >>> made.save(path := tempfile.mkdtemp() + "/cell7.csv")
    >>> read_worksheet(path) == made
    True
    """
    source = Path(path).expanduser()
    read = _form(source)[1]
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ReadError(f"{source} cannot be read as a worksheet: {error.strerror}") from error
    try:
        whole, lines = read(content)
    except (ValueError, KeyError, RecursionError) as error:  # what JSON, CSV, XML and text say of damage
        raise ReadError(f"{source} cannot be read as a worksheet: {error}") from error
    try:
        sheet = Worksheet.from_dict(whole)
    except ReadError as error:
        raise ReadError(f"{source}: {error}") from error
    if lines is None:
        return sheet
    why = reason or f"changed in {source.name}"
    return reconcile(sheet, lines, str(source), edits=edits, author=author, reason=why)


Lines = list[dict[str, Any]] | None


def _form(path: Path) -> tuple[Callable[[Worksheet], bytes], Callable[[bytes], tuple[Any, Lines]]]:
    forms = {
        ".json": (_to_json, _from_json),
        ".csv": (_to_csv, _from_csv),
        ".xlsx": (_worksheet_xlsx.to_bytes, _worksheet_xlsx.from_bytes),
        ".html": (_worksheet_html.to_bytes, _worksheet_html.from_bytes),
    }
    end = path.suffix.lower()
    if end not in forms:
        raise ValueError(f"a worksheet is written as {', '.join(forms)}, got {path.name!r}{did_you_mean(end, forms)}")
    return forms[end]


def _to_json(sheet: Worksheet) -> bytes:
    return json.dumps(sheet.as_dict(), indent=1, ensure_ascii=False).encode()


def _from_json(content: bytes) -> tuple[Any, Lines]:
    return json.loads(content.decode("utf-8-sig")), None


def _to_csv(sheet: Worksheet) -> bytes:
    """Write a line a row, and a last one whose second cell holds everything; spreadsheets need the byte order mark."""
    text = io.StringIO(newline="")
    out = csv.writer(text)
    out.writerow(["what", *COLUMNS])
    for row in sheet.rows:
        out.writerow(["row", *(_guarded(value) for value in line(sheet, row).values())])
    out.writerow([WHOLE, json.dumps(sheet.as_dict())])
    return text.getvalue().encode("utf-8-sig")


def _from_csv(content: bytes) -> tuple[Any, Lines]:
    text = content.decode("utf-8-sig")
    first = text[:200]
    mark = next((mark for mark in (",", ";", "\t") if first.startswith((f"what{mark}", f'"what"{mark}'))), None)
    if mark is None:
        raise ValueError("its first column must be 'what'")
    with _LIMIT:
        before = csv.field_size_limit(len(text) + 1)
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
        except csv.Error as error:
            raise ValueError(str(error)) from error
        finally:
            csv.field_size_limit(before)
    head, found, whole = lines[0], [], None
    for cells in lines[1:]:
        if cells and cells[0] == WHOLE and len(cells) > 1:
            whole = json.loads(cells[1])
        elif any(cells):
            found.append({name: _unguarded(cell) for name, cell in zip(head, cells, strict=False)})
    if whole is None:
        raise ValueError(f"it has no line {WHOLE!r}, which holds the history")
    return whole, found


def _guarded(value: Any) -> Any:
    """Put a quote before what a spreadsheet would compute.

    >>> _guarded("=1+1"), _unguarded(_guarded("=1+1")), _guarded(3)
    ("'=1+1", '=1+1', 3)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(RISKY) else value


def _unguarded(value: str) -> str:
    return value[1:] if value.startswith("'") else value
