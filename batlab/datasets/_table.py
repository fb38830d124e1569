"""The sets that batlab knows by name."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

from batlab.errors import did_you_mean


@dataclass(frozen=True)
class DataFile:
    """One file of a set: its path below the set's folder, its size in bytes and its SHA-256."""

    file: str
    size: int
    sha256: str


@dataclass(frozen=True)
class OpenData:
    """One set: what it is, where it lies below the data folder, who made it and under which licence.

    `sha256` is that of the manifest, one line ``"<sha256>  <file>"`` a file, as ``sha256sum`` writes it. `url` is the
    address under which the files can be fetched one by one, empty where there is none; `origin` says where to look.
    """

    name: str
    title: str
    path: str
    n_files: int
    size: int
    licence: str
    citation: str
    origin: str
    url: str
    sha256: str

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The files of the set."""
        return _files()[self.name]

    @property
    def is_file(self) -> bool:
        """Whether the set is one file in a folder that it shares with others."""
        return self.n_files == 1 and self.path.endswith(f"/{self.files[0].file}")

    @property
    def folder(self) -> str:
        """The folder that the paths of `files` start from."""
        return self.path.rpartition("/")[0] if self.is_file else self.path


class Table(tuple[OpenData, ...]):
    """The sets in a row; a set is also found by its name."""

    __slots__ = ()

    def __getitem__(self, key):  # type: ignore[no-untyped-def, override]
        """Return a set by name or by position."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        for row in self:
            if row.name == key:
                return row
        names = [row.name for row in self]
        hint = did_you_mean(key, names) or f"; it has {', '.join(names)}"
        raise ValueError(f"datasets has no set {key!r}{hint}")

    def __repr__(self) -> str:
        width = max(len(row.name) for row in self)
        return "\n".join(f"{row.name:{width}}  {row.size / 1e6:6.2f} MB  {row.title}" for row in self)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{word}</th>" for word in ("name", "MB", "what", "licence", "origin"))
        body = "".join(
            f"<tr><td><code>{escape(row.name)}</code></td><td>{row.size / 1e6:.2f}</td><td>{escape(row.title)}</td>"
            f"<td>{escape(row.licence)}</td><td>{escape(row.citation)}</td></tr>"
            for row in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@cache
def table() -> Table:
    """Return every set with its licence, citation, size, SHA-256 and public origin.

    Examples
    --------
    >>> row = table()["ceo2_pilatus1m"]
    >>> row.n_files, row.licence
    (3, 'GPL-3.0')
    """
    return Table(
        OpenData(**{**row, "n_files": int(row["n_files"]), "size": int(row["size"])})  # type: ignore[arg-type]
        for row in _rows("table.csv")
    )


@cache
def _files() -> dict[str, tuple[DataFile, ...]]:
    grouped: dict[str, list[DataFile]] = defaultdict(list)
    for row in _rows("files.csv"):
        grouped[row["name"]].append(DataFile(row["file"], int(row["size"]), row["sha256"]))
    return {name: tuple(members) for name, members in grouped.items()}


def _rows(name: str) -> list[dict[str, str]]:
    text = files("batlab.datasets").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
