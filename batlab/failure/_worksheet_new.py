"""The first version of a worksheet: rows that an assessment gives, rated by its evidence, and rows by hand."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batlab.failure._mark import author_name, plain_text
from batlab.failure.worksheets import Worksheet, now

if TYPE_CHECKING:
    from batlab.failure._assess import Assessment
    from batlab.failure._knowledge import Knowledge


def worksheet(
    assessment: Assessment | None = None,
    *,
    title: str = "FMMEA",
    rows: Sequence[Mapping[str, Any]] = (),
    author: str | None = None,
    table: Knowledge | str | os.PathLike | None = None,
    scales: str | os.PathLike | None = None,
    at_least: float = 0.1,
) -> Worksheet:
    """Start a worksheet: a row for each likely mechanism of an assessment, rated by its evidence, or rows by hand.

    Severity is the level of the mechanism's worst effect. Occurrence is the level of an expected share: probability of
    the mechanism × share of the examined cycles in which it was seen × confidence of the best look. Detection is the
    level of the easiest technique that saw it, more where it cannot be told apart. The levels stand in
    ``failure/worksheet_scales.toml``; ``print(row.occurrence.explain())`` shows every term. The risk priority number is
    RPN = S · O · D.

    Parameters
    ----------
    assessment
        From `failure.assess`. Occurrence points at the evidence for its mechanism; severity and detection come from the
        tables of knowledge and scales, and so does occurrence where nothing was seen, or what was seen has not raised
        its probability: their basis is ``"table"``.
    title, author
        What it is about; who makes it (without it the name under which you are logged in).
    rows
        Further rows, as dicts of texts (``component`` and ``mechanism`` at least), numbers and ``evidence``.
    table
        The table of knowledge that the assessment was made with; batlab's own by default.
    scales
        A file like ``worksheet_scales.toml`` of one's own.
    at_least
        Smallest probability of a mechanism that gets a row, 0 to 1.

    Returns
    -------
    Worksheet
        Version 1, not signed.

    Raises
    ------
    TypeError, ValueError
        No assessment; a field of a row or a number is not what it should be.
    ReadError
        The scales are wrong.

    References
    ----------
    C. Hendricks, N. Williard, S. Mathew, M. Pecht, J. Power Sources 297, 113 (2015),
    doi:10.1016/j.jpowsour.2015.07.100; IEC 60812:2018.

    Examples
    --------
    >>> made = worksheet(title="cell 7", author="ada", rows=[{"component": "separator", "mode": "internal short",
    ...     "mechanism": "dendrite", "severity": 7, "occurrence": 4, "detection": 5}])
    >>> made.rows[0].rpn, made.rows[0].basis
    (140, 'judgement')
    >>> made = made.rate(made.rows[0], detection=6, reason="no pressure sensor", author="ada").sign(author="bob")
    >>> made
    Worksheet('cell 7', 1 rows, version 1, signed by bob)
    """
    from batlab.failure._knowledge import Knowledge, knowledge
    from batlab.failure._worksheet_rate import read_scales, rows_of

    if isinstance(at_least, bool) or not 0 <= at_least <= 1:
        raise ValueError(f"at_least must be a probability from 0 to 1, got {at_least!r}")
    made, who = Worksheet(str(uuid.uuid4()), plain_text("title", title, required=True)), author_name(author)
    if assessment is not None:
        if not hasattr(assessment, "candidates") or not hasattr(assessment, "evidence"):
            raise TypeError(f"worksheet needs an assessment from failure.assess, got {type(assessment).__name__}")
        known = table if isinstance(table, Knowledge) else knowledge(table)
        made = replace(made, evidence=tuple(dict.fromkeys(assessment.evidence)))
        for row in rows_of(assessment, known, read_scales(scales), at_least):
            made = made._with(row, who, now(), f"computed from evidence, knowledge {assessment.knowledge}", ())
    for values in rows:
        made = made.add(author=who, **values)
    return made
