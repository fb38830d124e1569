"""What the failure board shows, as plain values: set them, from a widget or from Python, and the screen follows."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, CInt, Enum, HasTraits, TraitError, Unicode, validate

from batlab.errors import did_you_mean
from batlab.failure._worksheet_pick import STATES, WANTED

PAGE = 60  # rows that are drawn at first


class BoardState(HasTraits):
    """The state of a `FailureBoard`.

    Attributes
    ----------
    sheet, row
        Ids of the worksheet and of the row whose form is open; empty for none, which with `row` means a new row.
    by
        ``"rpn"``, or ``"priority"`` where the worksheet has a table of them.
    mechanism, author, technique, status, is_judgement, least_rpn
        Which rows are shown, as ``Worksheet.ranked`` takes it; empty, False and 0 leave all.
    most
        So many rows are drawn at most.
    """

    sheet = Unicode("")
    row = Unicode("")
    by = Enum(("rpn", "priority"), "rpn")
    mechanism = Unicode("")
    author = Unicode("")
    technique = Unicode("")
    status = Enum(("", *STATES), "")
    is_judgement = Bool(False)
    least_rpn = CInt(0)
    most = CInt(PAGE)

    def __init__(self, **given: Any) -> None:
        self.sheets: list[str] = []
        self.rows: list[str] = []  # of the worksheet, retired ones too
        super().__init__(**given)

    @property
    def wanted(self) -> dict[str, Any]:
        """What of the filters is set, as ``Worksheet.ranked`` takes it."""
        return {name: getattr(self, name) for name in WANTED if getattr(self, name)}

    @validate("sheet", "row")
    def _known(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        known = self.sheets if name == "sheet" else self.rows
        if value and value not in known:
            raise TraitError(
                f"{name} must be the id of a {name} that is there, got {value!r}{did_you_mean(value, known)}"
            )
        return value

    @validate("least_rpn", "most")
    def _possible(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = (0, 1000) if name == "least_rpn" else (1, 100_000)
        if not low <= value <= high:
            raise TraitError(f"{name} must be a whole number from {low} to {high}, got {value}")
        return value
