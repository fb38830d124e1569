"""Opening a store, or saying why it cannot be opened."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from batlab.errors import BatlabError, ReadError


class StoreError(BatlabError, OSError):
    """A database does not do what it was asked; the message says whether anything was kept."""


def open_file(path: Path) -> Any:
    """Return an engine on the SQLite file `path`, checked and with its table."""
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

    from batlab.failure import _migrate, _tables

    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} is not there; make it first")
    if path.exists() and path.stat().st_size and not _is_sqlite(path):
        raise ReadError(f"{path} is no store of marks (not an SQLite file); choose another name")
    network = _tables.network_file_system(path.parent)
    if network:
        warnings.warn(
            f"{path} lies on a network file system ({network}), where SQLite is safe for one computer at a time only; "
            "use a local folder, or a PostgreSQL server for a shared store",
            stacklevel=3,
        )
    engine = _tables.connect(URL.create("sqlite", database=str(path)), journal="DELETE" if network else "WAL")
    try:
        complaint = _tables.complaint(engine)
        if not complaint:
            _migrate.bring_up_to_date(engine, path)
            return engine
    except (ValueError, OSError) as error:
        complaint = str(error)
    except SQLAlchemyError as error:
        complaint = str(getattr(error, "orig", None) or error)
    engine.dispose()
    raise ReadError(f"{path} cannot be used as a store of marks: {complaint}")


def file_of(where: str) -> Path | None:
    """Return the file of a store given as a path or as a plain SQLite address, None for a database server.

    >>> file_of("sqlite:////data/cell.sqlite").as_posix(), file_of("postgresql://host/marks")
    ('/data/cell.sqlite', None)
    """
    if "://" not in where:
        return Path(where).expanduser().absolute()
    scheme, _, path = where.partition(":///")
    if scheme.partition("+")[0] == "sqlite" and path and path != ":memory:" and "?" not in path:
        return Path(path).expanduser().absolute()
    return None


def open_url(url: str) -> Any:
    """Return an engine on the database server at `url`, with its table."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    from batlab.failure import _migrate, _tables

    try:
        address = make_url(url)
    except ArgumentError as error:
        raise StoreError(f"{url.partition('://')[0]}://… is no address of a database") from error
    if address.get_backend_name() == "sqlite":
        raise StoreError(f"an SQLite store is one file, given as a path or as sqlite:///path, got {address}")
    shown = address.render_as_string(hide_password=True)
    engine = None
    try:
        engine = _tables.connect(address)
        _migrate.bring_up_to_date(engine)
        return engine
    except ModuleNotFoundError as error:
        hint = "; install batlab's extra for it: pip install 'batlab[postgres]'" * (error.name == "psycopg")
        raise StoreError(f"{shown} cannot be opened: {error}{hint}") from error
    except (SQLAlchemyError, ImportError, ValueError) as error:
        if engine is not None:
            engine.dispose()
        raise StoreError(f"{shown} cannot be opened: {error}") from error


def _is_sqlite(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"
