"""Marks to rows and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from batlab.failure._mark import Mark
from batlab.failure._tables import marks


def insert(connection: Any, mark: Mark) -> Mark:
    """Add `mark`; a first version that is there already is returned as it is."""
    if mark.version == 1 and (kept := select(connection, mark_id=mark.id)):
        if kept[0] == replace(mark, created=kept[0].created):
            return kept[0]
        raise ValueError(f"mark {mark.id} is there already and says something else; use edit to change it")
    low, high = mark.axis_range or (None, None)
    row = {name: getattr(mark, name) for name in Mark.__dataclass_fields__ if name in marks.c and name != "created"}
    row |= {"first_frame": mark.frames[0], "last_frame": mark.frames[1], "axis_low": low, "axis_high": high}
    connection.execute(marks.insert(), {**row, "created": mark.created.isoformat()})
    return mark


def select(connection: Any, *, dataset: str | None = None, mark_id: str | None = None) -> list[Mark]:
    """Return the versions of marks in the order in which they were made."""
    query = marks.select().order_by(marks.c.row)
    if dataset is not None:
        query = query.where(marks.c.dataset == dataset)
    if mark_id is not None:
        query = query.where(marks.c.id == mark_id)
    return [_mark(row._mapping) for row in connection.execute(query)]


def _mark(row: Any) -> Mark:
    plain = {name: row[name] for name in Mark.__dataclass_fields__ if name in row}
    span = None if row["axis"] is None else (row["axis_low"], row["axis_high"])
    made = datetime.fromisoformat(row["created"])
    return Mark(**{**plain, "created": made, "frames": (row["first_frame"], row["last_frame"]), "axis_range": span})
