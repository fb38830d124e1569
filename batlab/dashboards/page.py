"""Which cell of a notebook shows which dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batlab.dashboards import bokehjs

_shown: dict[str, Any] = {}  # by cell: a cell that runs again replaces its dashboard


def display(dashboard: Any) -> None:
    """Display a dashboard; a cell that runs again closes the one that it had shown before."""
    from IPython.display import display as put

    cell = _cell()
    if cell and (before := _shown.get(cell)) is not None and before is not dashboard:
        before.close()
    if cell:
        _shown[cell] = dashboard
    bokehjs.load()
    for view in dashboard.views:
        view.refresh()
    put(dashboard.widget)


def forget(dashboard: Any) -> None:
    """Close the widgets of a dashboard and let go of it."""
    for widget in list(_descendants(dashboard.widget)):
        widget.close()
    for cell in [cell for cell, one in _shown.items() if one is dashboard]:
        del _shown[cell]


def _descendants(widget: Any) -> Iterator[Any]:
    for child in getattr(widget, "children", ()):
        yield from _descendants(child)
    yield widget


def _cell() -> str:
    """Return the id of the notebook's cell that runs now, or nothing outside a notebook."""
    from IPython import get_ipython

    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str(parent.get("metadata", {}).get("cellId", ""))
