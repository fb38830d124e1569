"""The lines of Python that reproduce what the failure board shows."""

from __future__ import annotations

from batlab.dashboards.board_state import BoardState
from batlab.dashboards.script import _keywords
from batlab.failure import Store, Worksheet

MATRIX = (300, 230)


def board_script(store: Store, sheet: Worksheet | None, state: BoardState, names: dict[str, str]) -> str:
    """Return a script: the worksheet, the rows on the screen, board and matrix, and what the open row has gone through.

    `names` tells what the store is called where the user works, if known.
    """
    lines = ["from IPython.display import HTML, display", "", "import batlab as bl", ""]
    called = names.get("store", "store")
    if called == "store" and "store" not in names:
        where = repr(str(store.path)) if store.path else "…"
        more = "" if store.path else f"  # {store!r}, with its password"
        lines.append(f"store = bl.failure.Store({where}){more}")
    if sheet is None:
        return "\n".join([*lines, f"print({called}.worksheets())"]) + "\n"
    title = sheet.title.replace("\n", " ").replace("\r", " ")[:60]
    lines.append(
        f"sheet = {called}.worksheet({sheet.id!r})  # {title!r}, version {sheet.version}, {len(sheet.changes)} changes"
    )
    lines.append(f"rows = sheet.ranked({_keywords({'by': state.by, **state.wanted})})")
    lines.append(f"board = bl.figures.worksheet_board(sheet, rows, links={called}.links(), most={state.most})")
    lines.append("display(HTML(board))")
    chosen = {"selected": state.row or None, "size": MATRIX}
    lines.append(f"matrix = bl.figures.criticality(sheet, rows, {_keywords(chosen)})")
    lines.append("bl.dashboards.show(matrix)")
    if state.row:
        lines.append(f'print(*sheet.history({state.row!r}), sep="\\n")')
    return "\n".join(lines) + "\n"
