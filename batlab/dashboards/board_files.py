"""Tab of the failure board to sign, to start a worksheet, and to carry it out and in again as a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import ipywidgets as w

from batlab.dashboards.controls import place
from batlab.failure import Worksheet

ENDS = (".xlsx", ".csv", ".json", ".html")
EDITS = (
    ("refuse what another program changed", "refuse"),
    ("take over what another program changed", "take"),
    ("leave out what another program changed", "ignore"),
)


class BoardFiles:
    """Forms for what is done with a worksheet as a whole."""

    def __init__(self) -> None:
        self.statement = w.Text(placeholder="words under the signature", layout=place("420px"), continuous_update=False)
        self.sign = w.Button(description="sign version", button_style="warning", layout=place("120px"),
                             tooltip="Freeze this version under your name; later changes start another")  # fmt: skip
        self.path = w.Text(layout=place("420px"), tooltip="Beside the notebook, or in a folder that you name",
                           placeholder="folder/name.xlsx", continuous_update=False)  # fmt: skip
        self.end = w.Dropdown(options=ENDS, layout=place("84px"), tooltip="Form of the file")
        self.save = w.Button(description="save file", layout=place("96px"))
        self.replace = w.Checkbox(description="replace", indent=False, layout=place("80px"))
        self.replace.tooltip = "A file of this name may be replaced"
        self.read = w.Button(description="read file", layout=place("96px"), tooltip="Bring a saved worksheet in")
        self.edits = w.Dropdown(options=EDITS, layout=place("300px"))
        self.reason = w.Text(placeholder="why it was changed there", layout=place("212px"), continuous_update=False)
        self.table = w.Text(placeholder="site_priorities.csv", layout=place("420px"), continuous_update=False)
        self.prioritize = w.Button(description="load priorities", layout=place("120px"),
                                   tooltip="CSV: severity,occurrence,detection,priority")  # fmt: skip
        self.title = w.Text(placeholder="what the worksheet is about", layout=place("420px"), continuous_update=False)
        self.start = w.Button(description="start worksheet", layout=place("120px"), tooltip="A new, empty one")
        self.end.observe(lambda change: self._set_end(change["new"]), "value")
        told = [
            ("Sign", [self.statement, self.sign]),
            (
                "Export, lossless: rows, evidence, history and signatures",
                [self.path, self.end, self.save, self.replace],
            ),
            ("Back in: the file named above", [self.edits, self.reason, self.read]),
            ("Table of action priorities of your site", [self.table, self.prioritize]),
            ("Another worksheet", [self.title, self.start]),
        ]
        lines = [one for name, line in told for one in (w.HTML(f"<b>{name}</b>"), w.HBox(line))]
        self.widget = w.VBox(lines)

    def _set_end(self, end: str) -> None:
        if self.path.value:
            self.path.value = str(Path(self.path.value).with_suffix(end))

    def load(self, sheet: Worksheet | None) -> None:
        """Suggest a name for the file of a worksheet."""
        name = re.sub(r"[^\w-]+", "_", sheet.title).strip("_")[:60] if sheet else ""
        self.path.value = f"{name or 'worksheet'}{self.end.value}"
        self.replace.value = False

    def show(self, sheet: Worksheet | None) -> None:
        """Switch off what needs a worksheet where there is none."""
        for widget in (self.statement, self.sign, self.save, self.prioritize):
            widget.disabled = sheet is None
        if sheet is not None:
            self.sign.description = f"sign version {sheet.version}"


def target(path: str | os.PathLike, *, may_replace: bool) -> Path:
    """Return where a file is to be written, whole.

    Raises
    ------
    ValueError
        No name.
    OSError
        The folder is not there, or the file is and may not be replaced.
    """
    if not os.fspath(path).strip():
        raise ValueError("name the file, such as board.xlsx: it is written beside the notebook, or in the folder named")
    found = Path(path).expanduser().absolute()
    if not found.parent.is_dir():
        raise FileNotFoundError(f"the folder {found.parent} is not there; make it first, or name another")
    if found.exists() and not may_replace:
        raise FileExistsError(f"{found} is there already; choose another name, or allow to replace it")
    return found
