"""What was done, told by the results themselves, with the literature of each method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Any

import xarray as xr

from batlab.report._numbers import NOTHING
from batlab.report._sections import Section, Table
from batlab.schema import version

# Where steps live. History is text from a file: no other name is ever imported.
HOMES = (
    *("io", "scattering", "curves", "xrd", "pdf", "saxs", "xas", "echem"),
    *("align", "decompose", "failure", "simulate"),
)
LINE = re.compile(r"\S+ batlab (\S+) ([A-Za-z_][\w.]*)\((.*)\)$", re.DOTALL)
DOI = re.compile(r"10\.\d{4,9}/[^\s;,\]]+")
UNDERLINE = re.compile(r"^-{3,}$", re.MULTILINE)


def methods(results: Sequence[tuple[str, xr.Dataset]], more: Iterable[tuple[str, str]] = ()) -> Section:
    """Return the steps of all results, each once, with their references; `more` are (what, step) without history."""
    steps, versions = _steps(results)
    for what, step in more:
        steps.setdefault((step, ""), []).append(what)
    cited: dict[str, str] = {}
    rows = []
    for (step, arguments), names in steps.items():
        told = _documentation(step)
        for doi, words in references(told):
            cited[doi] = cited.get(doi) or words
        numbers = ", ".join(str(list(cited).index(doi) + 1) for doi, _ in references(told))
        first = told.partition("\n\n")[0].replace("\n", " ")
        rows.append([step, first or NOTHING, arguments, ", ".join(dict.fromkeys(names)), numbers])
    written = [version()] if not versions else sorted(versions)
    lead = (
        f"Every result tells the steps that made it; these were done with batlab {', '.join(written)}. Numbers in the "
        "last column are those of the literature below, as the documentation of each step names it."
    )
    section = Section("Methods", lead, is_wide=True)
    section.tables.append(Table("Steps", ["step", "what it does", "arguments", "results", "literature"], rows))
    books = [[str(number), words or NOTHING, doi] for number, (doi, words) in enumerate(cited.items(), 1)]
    books.append([str(len(books) + 1), f"batlab {version()}, which made this page", NOTHING])
    section.tables.append(Table("Literature", ["", "reference", "DOI"], books))
    return section


def _steps(results: Sequence[tuple[str, xr.Dataset]]) -> tuple[dict[tuple[str, str], list[str]], set[str]]:
    steps: dict[tuple[str, str], list[str]] = {}
    versions = set()
    for name, table in results:
        for line in str(table.attrs.get("history", "")).splitlines():
            found = LINE.match(line)
            if found:
                versions.add(found[1])
                steps.setdefault((found[2], found[3]), []).append(name)
    return steps, versions


def _documentation(step: str) -> str:
    """Return what the function says of itself; nothing where it is none of batlab's."""
    home, _, rest = step.partition(".")
    if home not in HOMES or not rest:
        return ""
    thing: Any = import_module(f"batlab.{home}")
    for name in rest.split("."):
        thing = None if name.startswith("_") else getattr(thing, name, None)
    return cleandoc(thing.__doc__) if callable(thing) and thing.__doc__ else ""


def references(documentation: str) -> list[tuple[str, str]]:
    """Return DOI and words of what a docstring cites; no words where it stands in a sentence.

    >>> references("Do it.\\n\\nReferences\\n----------\\nA. Bee, J. Hive 1, 2 (2003), doi:10.1234/abc.5.")
    [('10.1234/abc.5', 'A. Bee, J. Hive 1, 2 (2003)')]
    """
    head, _, rest = documentation.partition("References\n----------\n")
    under = UNDERLINE.search(rest)
    own = rest[: under.start()].rpartition("\n")[0].rpartition("\n")[0] if under else rest
    flat, at = " ".join(own.split()), 0
    found: dict[str, str] = {}
    for one in DOI.finditer(flat):
        doi = _whole(one[0])
        # What stands before it, without a number, and without a remark on the entry before.
        words = re.sub(r"^\W*\([^)]*\)|\.\. \[\d+\]|\(?doi:\s*$", "", flat[at : one.start()])
        found.setdefault(doi, words.strip(" ;.,:"))
        at = one.start() + len(doi)
    for one in DOI.finditer(" ".join(head.split())):
        found.setdefault(_whole(one[0]), "")
    return list(found.items())


def _whole(doi: str) -> str:
    """Return a DOI without the point, the bracket or the quote that follows it in a sentence."""
    doi = doi.rstrip(".`'\":")
    while doi.endswith(")") and doi.count("(") < doi.count(")"):
        doi = doi[:-1].rstrip(".")
    return doi
