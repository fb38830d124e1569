"""Worksheets as spreadsheets: a sheet to read and to edit, others to read, and a hidden one that holds everything."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from batlab.errors import MissingExtraError
from batlab.failure._worksheet_table import COLUMNS, line, seen

if TYPE_CHECKING:
    from batlab.failure.worksheets import Worksheet

MAIN, WHOLE = "Worksheet", "batlab"
PIECE = 30_000  # characters of a cell of the hidden sheet; 32,767 is the most
LARGEST = 2**29  # bytes unpacked, against files made to fill the memory
WIDTHS = {"id": 10, "severity": 9, "occurrence": 11, "detection": 10, "RPN": 6, "basis": 11}


def to_bytes(sheet: Worksheet) -> bytes:
    """Return the spreadsheet."""
    openpyxl = _openpyxl()
    book = openpyxl.Workbook()
    main = book.active
    main.title = MAIN
    _fill(main, COLUMNS, [list(line(sheet, row).values()) for row in sheet.rows], [WIDTHS.get(c, 26) for c in COLUMNS])
    main.freeze_panes, main.auto_filter.ref = "B2", main.dimensions
    main.page_setup.orientation, main.page_setup.fitToHeight = "landscape", 0
    main.sheet_properties.pageSetUpPr = openpyxl.worksheet.properties.PageSetupProperties(fitToPage=True)
    main.print_title_rows = "1:1"
    told = [[str(change)] for change in sheet.changes]
    signed = [[f"version {one.version}", who.author, who.created, who.statement, who.sha256]
              for one in sheet.signed for who in one.signatures]  # fmt: skip
    _fill(book.create_sheet("History"), ["change"], told, [120])
    _fill(
        book.create_sheet("Signatures"),
        ["version", "by", "time (UTC)", "words", "SHA-256"],
        signed,
        [12, 20, 34, 40, 68],
    )
    whole = book.create_sheet(WHOLE)
    whole.sheet_state = "hidden"
    # A spreadsheet would take _x000D_ for a character; JSON may say the underline otherwise.
    text = json.dumps(sheet.as_dict()).replace("_x", "\\u005fx")
    _fill(whole, ["everything, as JSON in pieces; do not edit"],
          [[text[at : at + PIECE]] for at in range(0, len(text), PIECE)], [60], is_data=True)  # fmt: skip
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def from_bytes(content: bytes) -> tuple[Any, list[dict[str, Any]] | None]:
    """Return everything, and the lines of the sheet that people edit."""
    from xml.etree.ElementTree import ParseError

    openpyxl = _openpyxl()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            size = sum(part.file_size for part in packed.infolist())
        if size > LARGEST:
            raise ValueError(f"it unpacks to {size} bytes, more than {LARGEST}")
        book = openpyxl.load_workbook(io.BytesIO(content))
    except (zipfile.BadZipFile, ParseError, OSError, TypeError, AttributeError, EOFError, zlib.error) as error:
        raise ValueError(f"it is no spreadsheet: {error}") from error
    for name in (MAIN, WHOLE):
        if name not in book.sheetnames:
            raise ValueError(f"it has no sheet {name!r}")
    pieces = [str(cells[0]) for cells in book[WHOLE].iter_rows(min_row=2, values_only=True) if cells[0] is not None]
    rows = list(book[MAIN].iter_rows(values_only=True))
    head = [str(cell) for cell in rows[0]] if rows else []
    lines = [dict(zip(head, cells, strict=False)) for cells in rows[1:] if any(cell is not None for cell in cells)]
    return json.loads("".join(pieces)), lines


def _fill(page: Any, head: Any, rows: list[list[Any]], widths: list[int], *, is_data: bool = False) -> None:
    """Write a table; text stays text, whatever it begins with."""
    from openpyxl.styles import Alignment, Font

    wrap, bold = Alignment(wrap_text=not is_data, vertical="top"), Font(bold=True)
    for at, cells in enumerate([list(head), *rows], 1):
        for number, value in enumerate(cells, 1):
            cell = page.cell(at, number)
            if isinstance(value, str):
                cell.value = (value if is_data else seen(value)) or None
                if value:
                    cell.data_type, cell.number_format = "s", "@"  # not a formula, and none after an edit either
            else:
                cell.value = value
            cell.alignment = wrap
            if at == 1:
                cell.font = bold
    for number, width in enumerate(widths, 1):
        page.column_dimensions[page.cell(1, number).column_letter].width = width


def _openpyxl() -> Any:
    try:
        import openpyxl
        import openpyxl.worksheet.properties
    except ImportError as error:
        raise MissingExtraError(
            "worksheets as .xlsx need the package openpyxl; install batlab's extra: pip install 'batlab[xlsx]'"
        ) from error
    return openpyxl
