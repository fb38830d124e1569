"""Action priorities: a table that a site brings along, from three ratings to a word."""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from batlab.errors import ReadError
from batlab.failure._mark import plain_text

HEAD = ["severity", "occurrence", "detection", "priority"]
SPAN = re.compile(r"\s*(\d{1,2})(?:\s*[-–]\s*(\d{1,2}))?\s*")
Rule = tuple[tuple[int, int], tuple[int, int], tuple[int, int], str]


@dataclass(frozen=True, repr=False)
class ActionPriority:
    """Rules ``(severity, occurrence, detection, word)``; each of the three is ``(lowest, highest)``.

    `words` are the priorities in the order in which the table first names them: the most urgent first.

    Examples
    --------
    >>> table = ActionPriority((((9, 10), (4, 10), (1, 10), "high"), ((1, 8), (1, 10), (1, 10), "low")))
    >>> table.of(9, 5, 1), table.of(9, 1, 1), table.words
    ('high', None, ('high', 'low'))
    """

    rules: tuple[Rule, ...]
    name: str = ""

    def __repr__(self) -> str:
        return f"ActionPriority({self.name!r}, {len(self.rules)} rules, {', '.join(self.words)})"

    @property
    def words(self) -> tuple[str, ...]:
        """The priorities, the most urgent first."""
        return tuple(dict.fromkeys(rule[3] for rule in self.rules))

    def of(self, severity: int | None, occurrence: int | None, detection: int | None) -> str | None:
        """Return the priority; None where a rating is missing or the table is silent."""
        values = (severity, occurrence, detection)
        for *spans, word in self.rules:
            if all(
                value is not None and low <= value <= high for value, (low, high) in zip(values, spans, strict=True)
            ):
                return word
        return None


def checked(rules: Iterable[Rule], name: str) -> ActionPriority:
    """Return the rules as a table; refuse two that contradict each other, warn of what none of them says."""
    table = ActionPriority(tuple(rules), plain_text("name", name))
    if not table.rules:
        raise ReadError(f"{name} holds no rule")
    told: dict[tuple[int, ...], str] = {}
    for number, (*spans, word) in enumerate(table.rules, 1):
        for low, high in spans:
            if not 1 <= low <= high <= 10:
                raise ReadError(f"{name}: rule {number} must span levels from 1 to 10, got {low} to {high}")
        for cell in product(*(range(low, high + 1) for low, high in spans)):
            if told.setdefault(cell, word) != word:
                raise ReadError(
                    f"{name}: rule {number} says {word!r} for severity, occurrence, detection {cell}, an earlier one "
                    f"{told[cell]!r}"
                )
    if len(told) < 1000:
        warnings.warn(
            f"{name} says nothing of {1000 - len(told)} of the 1000 combinations of severity, occurrence and detection",
            stacklevel=3,
        )
    return table


def read_action_priority(path: str | os.PathLike) -> ActionPriority:
    """Read a table of action priorities, as a site or an association of one's trade has it.

    Parameters
    ----------
    path
        A CSV file with the columns ``severity, occurrence, detection, priority``; the first three hold a level
        (``7``) or a span (``9-10``), the last a word. The most urgent stands first. batlab brings none along: such
        tables are their publishers'.

    Returns
    -------
    ActionPriority
        For ``Worksheet.prioritize``.

    Raises
    ------
    ReadError
        The file cannot be read, a line is wrong, or two rules contradict each other.

    Warns
    -----
    UserWarning
        Some combinations have no rule.

    Examples
    --------
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/priorities.csv"
    >>> with open(path, "w") as file:
    ...     n = file.write("severity,occurrence,detection,priority\\n9-10,1-10,1-10,high\\n1-8,1-10,1-10,low\\n")
    >>> read_action_priority(path).of(9, 5, 1)
    'high'
    """
    source = Path(path).expanduser()
    try:
        with open(source, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReadError(f"{source} cannot be read as a table of action priorities: {error}") from error
    if not lines or [cell.strip().lower() for cell in lines[0]] != HEAD:
        raise ReadError(
            f"{source}: the first line must be {','.join(HEAD)}, got {','.join(lines[0]) if lines else ''!r}"
        )
    return checked((_rule(source, number, line) for number, line in enumerate(lines[1:], 2)), source.name)


def _rule(source: Path, number: int, line: list[str]) -> Rule:
    if len(line) != 4 or not line[3].strip():
        raise ReadError(f"{source}: line {number} must have three spans and a word, got {line!r:.80}")
    spans = []
    for name, cell in zip(HEAD, line[:3], strict=False):
        found = SPAN.fullmatch(cell)
        if found is None:
            raise ReadError(f"{source}: line {number}: {name} must be a level or a span such as 9-10, got {cell!r}")
        spans.append((int(found[1]), int(found[2] or found[1])))
    return spans[0], spans[1], spans[2], line[3].strip()
