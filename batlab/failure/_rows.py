"""Marks, links and documents to rows and back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from batlab.failure._link import Link
from batlab.failure._mark import Mark
from batlab.failure._tables import documents, links, marks

Kept = TypeVar("Kept", Mark, Link)
WRITTEN_BY_THE_STORE = ("row", "login")


def insert(connection: Any, made: Kept, person: str) -> Kept:
    """Add a version of a mark or link; a first version that is there already is returned as it is."""
    table = marks if isinstance(made, Mark) else links
    if made.version == 1 and (kept := select(connection, type(made), id=made.id)):
        if kept[0] == replace(made, created=kept[0].created):
            return kept[0]
        raise ValueError(f"{_name(made)} {made.id} is there already and says something else; use edit to change it")
    row = {field.name: getattr(made, field.name) for field in fields(made) if field.name in table.c}
    if isinstance(made, Mark):
        low, high = made.axis_range or (None, None)
        row |= {"first_frame": made.frames[0], "last_frame": made.frames[1], "axis_low": low, "axis_high": high}
    connection.execute(table.insert(), {**row, "created": made.created.isoformat(), "person": person})
    return made


def select(connection: Any, kind: type[Kept], **wanted: Any) -> list[Kept]:
    """Return the versions of marks or links with the columns `wanted`, in the order in which they were made."""
    table = marks if kind is Mark else links
    query = table.select().order_by(table.c.row)
    for name, value in wanted.items():
        query = query.where(table.c[name].in_(value) if isinstance(value, list) else table.c[name] == value)
    return [_made(kind, row._mapping) for row in connection.execute(query)]


def about(connection: Any, thing: str) -> list[Link]:
    """Return the versions of links that start or end at `thing`."""
    query = links.select().where(sa.or_(links.c.source == thing, links.c.target == thing)).order_by(links.c.row)
    return [_made(Link, row._mapping) for row in connection.execute(query)]


def owner(connection: Any, table: sa.Table, known: str) -> tuple[str, str]:
    """Return the author of the first version of a mark or link, and the person of the hub behind it."""
    query = sa.select(table.c.author, table.c.person).where(table.c.id == known).order_by(table.c.version).limit(1)
    author, person = connection.execute(query).one()
    return str(author), str(person)


def exists(connection: Any, thing: str) -> bool:
    """Return whether ``"kind:id"`` is in the store; a row is where a worksheet that is there has it."""
    kind, _, known = thing.partition(":")
    if kind == "row":
        return any(row["id"] == known for sheet in bodies(connection, "worksheet") for row in sheet["rows"])
    table = {"mark": marks, "link": links}.get(kind, documents)
    query = sa.select(table.c.row).where(table.c.id == known).limit(1)
    if table is documents:
        query = query.where(documents.c.kind == kind)
    return connection.execute(query).first() is not None


def add_document(connection: Any, kind: str, known: str, version: int, body: Any, **signed: Any) -> None:
    """Add a version of a document: who and when in `signed`, everything else as JSON."""
    text = json.dumps(body, ensure_ascii=False, sort_keys=True)
    connection.execute(documents.insert(), {"kind": kind, "id": known, "version": version, "body": text, **signed})


def versions(connection: Any, kind: str, known: str | None = None) -> list[dict[str, Any]]:
    """Return the versions of documents in the order in which they were kept, `body` read."""
    query = documents.select().where(documents.c.kind == kind).order_by(documents.c.row)
    if known is not None:
        query = query.where(documents.c.id == known)
    return [{**row._mapping, "body": json.loads(row.body)} for row in connection.execute(query)]


def newest(connection: Any, kind: str, known: str) -> dict[str, Any] | None:
    """Return the version of a document that was kept last, `body` read, without reading the others."""
    query = documents.select().where(documents.c.kind == kind, documents.c.id == known)
    row = connection.execute(query.order_by(documents.c.row.desc()).limit(1)).first()
    return None if row is None else {**row._mapping, "body": json.loads(row.body)}


def bodies(connection: Any, kind: str) -> list[dict[str, Any]]:
    """Return the newest version of every document of a kind, the oldest document first."""
    query = sa.select(documents.c.id).where(documents.c.kind == kind).group_by(documents.c.id)
    ids = connection.execute(query.order_by(sa.func.min(documents.c.row))).scalars().all()
    return [found["body"] for known in ids if (found := newest(connection, kind, known))]


def plain(connection: Any, table: sa.Table, known: str | None = None, kind: str | None = None) -> list[dict[str, Any]]:
    """Return rows as they are, without what only this database knows."""
    wanted = [column for column in table.c if column.name not in WRITTEN_BY_THE_STORE]
    query = sa.select(*wanted).order_by(table.c.row)
    if known is not None:
        query = query.where(table.c.id == known)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    return [dict(row._mapping) for row in connection.execute(query)]


def _made(kind: type[Kept], row: Any) -> Kept:
    told = {field.name: row[field.name] for field in fields(kind) if field.name in row}
    told["created"] = datetime.fromisoformat(row["created"])
    if kind is Mark:
        span = None if row["axis"] is None else (row["axis_low"], row["axis_high"])
        told |= {"frames": (row["first_frame"], row["last_frame"]), "axis_range": span}
    return kind(**told)


def _name(made: Mark | Link) -> str:
    return type(made).__name__.lower()
