"""A store as lines of JSON, one a row: out without loss, and in again without duplicates."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from batlab.errors import ReadError, choose
from batlab.failure._database import now
from batlab.failure._mark import hub_user
from batlab.failure._tables import FORMAT, documents, links, marks
from batlab.io.atomic import replacing

TABLES = {"mark": marks, "document": documents, "link": links}
HEAD = "batlab store"
IMPORT = "import"  # kind of the documents that say who brought in what is signed by others


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes
    ----------
    added, known
        Versions that are new here, and versions that were here already.
    diverged
        Ids of what was changed on both sides: the versions that came in follow those that were here.
    left
        Ids of marks and links of other people who must merge their later versions themselves.
    refused
        Ids of worksheets of which a version came that does not follow the one that is here; it was not taken.
    """

    added: int
    known: int
    diverged: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def lines(connection: Any) -> Iterator[str]:
    """Yield the head and then every row of every table as one line of JSON, all as of one moment."""
    from batlab.failure import _rows

    if connection.dialect.name == "postgresql":  # else each SELECT would see what was committed meanwhile
        connection.execution_options(isolation_level="REPEATABLE READ")
    yield json.dumps({"what": HEAD, "format": FORMAT})
    for name, table in TABLES.items():
        for row in _rows.plain(connection, table):
            if row.get("kind") == IMPORT:  # what came in here is this database's to know
                continue
            yield json.dumps({"table": name, **row}, ensure_ascii=False)


def write(path: Path, text: Iterable[str]) -> int:
    """Write the lines beside `path` and put them in its place when they are whole; return how many rows they hold."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    with replacing(path, overwrite=True) as unfinished, open(unfinished, "w", encoding="utf-8", newline="\n") as file:
        return sum(file.write(f"{line}\n") > 0 for line in text) - 1


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of lines, checked."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"{path} cannot be read as lines of a store: {error}") from error
    return rows_of(str(path), text.split("\n"))  # not splitlines: it also cuts at U+2028


def rows_of(source: str, given: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of lines, each checked: no store ever loses a row, so none that cannot be read may get in."""
    rows = []
    for number, line in enumerate(given, 1):
        if number == 1 or line.strip():
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ReadError(f"{source}: line {number} is no JSON: {error}") from error
            rows.append(_head(source, found) if number == 1 else _row(source, number, found))
    return rows[1:]


def _head(source: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or found.get("what") != HEAD:
        raise ReadError(f"{source} holds no lines of a store: its first line must be {{'what': {HEAD!r}, …}}")
    held = found.get("format")
    if not isinstance(held, int) or held > FORMAT:
        raise ReadError(f"{source} has format {held}, this batlab knows formats up to {FORMAT}; update batlab")
    return found


def _row(source: str, number: int, found: Any) -> dict[str, Any]:
    table = TABLES.get(str(found.get("table"))) if isinstance(found, dict) else None
    if table is None:
        raise ReadError(f"{source}: line {number} must name its table, one of {', '.join(TABLES)}")
    for name, value in found.items():
        if name == "table":
            continue
        if name not in table.c or name in ("row", "login"):
            raise ReadError(f"{source}: line {number} has {name!r}, which {found['table']}s do not have")
        column = table.c[name]
        kind: Any = (int, float) if column.type.python_type is float else column.type.python_type
        is_right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not is_right and not (value is None and column.nullable):
            raise ReadError(
                f"{source}: line {number}: {name} must be {column.type.python_type.__name__}, got {value!r:.80}"
            )
    missing = [c.name for c in table.c if not c.nullable and c.name not in (*found, "row", "login", "person")]
    if missing:
        raise ReadError(f"{source}: line {number} lacks {', '.join(missing)}")
    try:
        _check(found)
    except (ReadError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ReadError(f"{source}: line {number} is no {found['table']} of a store: {error}") from error
    return {"person": "", **found}


def _check(found: dict[str, Any]) -> None:
    """Refuse what could not be read again: a time that is none, a document that does not say what its kind says."""
    from batlab.failure.evidence import Evidence
    from batlab.failure.worksheets import Worksheet

    if datetime.fromisoformat(found["created"]).tzinfo is None:
        raise ValueError(f"created must have a time zone, got {found['created']!r}")
    for name, least in (("version", 1), ("first_frame", 0), ("last_frame", 0)):
        if not least <= found.get(name, least) < 2**63:
            raise ValueError(f"{name} must be a whole number from {least}, got {found[name]}")
    if found["table"] != "document":
        return
    choose("kind", found["kind"], ("evidence", "worksheet", "experiment"))
    body = json.loads(found["body"])
    if found["kind"] == "experiment":
        held = body["datasets"]
        if not isinstance(held, list) or not all(isinstance(one, str) for one in held):
            raise ValueError(f"datasets must be a list of texts, got {held!r:.80}")
        return
    made = Evidence.from_dict(body) if found["kind"] == "evidence" else Worksheet.from_dict(body)
    if made.id != found["id"]:
        raise ValueError(f"its body has the id {made.id!r}, its row {found['id']!r}")


def merge(connection: Any, rows: Iterable[dict[str, Any]], source: str, merger: str) -> Merged:
    """Add the rows that are not here yet; a version is the same if it says the same, whatever its number.

    Authors stay; that `merger` brought in what others have signed is kept beside it, with the `source`.
    """
    added, known = 0, 0
    diverged: dict[str, None] = {}
    left: dict[str, None] = {}
    refused: dict[str, None] = {}
    foreign: list[str] = []
    held: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for given in rows:
        row = {name: value for name, value in given.items() if name != "table"}
        key = (given["table"], row.get("kind", ""), row["id"])
        if key not in held:
            held[key] = _held(connection, *key)
        here = held[key]
        if any(_same(row, other) for other in here):
            known += 1
            continue
        if here and given["table"] != "document" and not _is_mine(here[0]):
            left[row["id"]] = None
            continue
        if here and row.get("kind") == "worksheet":
            order = _order(here[-1], row)
            if order <= 0:
                known += order == 0
                refused |= {row["id"]: None} if order < 0 else {}
                continue
        newest = max((other["version"] for other in here), default=0)
        if row["version"] <= newest:
            if row.get("kind") not in ("experiment", "worksheet"):  # data add up, and a worksheet follows
                diverged[row["id"]] = None
            row["version"] = newest + 1
        if row["author"] != merger:
            foreign.append(f"{row.get('kind', given['table'])}:{row['id']} version {row['version']} by {row['author']}")
        if hub_user():  # only the merger is known to this hub to be who he says
            row["person"] = hub_user() if row["author"] == hub_user() else ""
        connection.execute(TABLES[given["table"]].insert(), row)
        here.append({**row, "was_new": True})
        added += 1
    if foreign:
        note_import(connection, source, merger, foreign)
    return Merged(added, known, tuple(diverged), tuple(left), tuple(refused))


def note_import(connection: Any, source: str, who: str, what: list[str]) -> None:
    """Keep that `who` brought in, from `source`, what others have signed."""
    from batlab.failure import _rows

    signed = {"author": who, "created": now().isoformat(), "person": hub_user()}
    _rows.add_document(connection, IMPORT, str(uuid.uuid4()), 1, {"source": source, "what": what}, **signed)


def _order(here: dict[str, Any], other: dict[str, Any]) -> int:
    """Return 1 where a version of a worksheet follows the one that is here, 0 where that one contains it, else -1."""
    from batlab.failure.worksheets import Worksheet

    held, came = (Worksheet.from_dict(json.loads(row["body"])) for row in (here, other))
    if came.follows(held):
        return 1
    return 0 if held.follows(came) else -1


def _held(connection: Any, table: str, kind: str, known: str) -> list[dict[str, Any]]:
    from batlab.failure import _rows

    rows = _rows.plain(connection, TABLES[table], known, kind or None)
    return sorted(rows, key=lambda row: row["version"])


OWN = ("version", "was_new", "person")


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Compare all but the number of the version and what a hub adds; evidence is named by its content."""
    if one.get("kind") == "evidence":
        return True
    return all(one.get(name) == other.get(name) for name in (*one, *other) if name not in OWN)


def _is_mine(first: dict[str, Any]) -> bool:
    """On a hub, later versions of what was here before come from its author only."""
    person = hub_user()
    return not person or "was_new" in first or first["author"] == person
