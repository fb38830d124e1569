"""Which cycle each line of a record belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from batlab.echem.passage import Passage
from batlab.errors import SchemaError, choose

LEAST_HALF = 0.05  # of the charge of the largest half cycle: less begins no cycle


@dataclass(frozen=True)
class Numbers:
    """Each line's cycle from 0; the cycles' labels and the record's own numbers (NaN: none); what they go by."""

    index: np.ndarray
    labels: np.ndarray
    recorded: np.ndarray
    by: str


def number_cycles(cell: xr.Dataset, passed: Passage, by: str | None, function: str) -> Numbers:
    """Return the cycles of a record by its own numbers or by its current.

    Raises
    ------
    SchemaError
        The numbers are asked for and are not there, or the cell rests throughout.
    """
    choose("by", by, ("cycle", "current", None))
    if not passed.state.any():
        raise SchemaError(f"{function} finds no current above rest in {len(passed.state)} records")
    has = "cycle" in cell.variables and cell["cycle"].dims == ("record",)
    if by == "cycle" and not has:
        raise SchemaError(f"{function} needs a variable 'cycle' over 'record' for by='cycle'; use by='current'")
    if has and by != "current":
        recorded = np.asarray(cell["cycle"].values[passed.kept], dtype=float)
        if by == "cycle" or len(np.unique(recorded)) > 1 or len(np.unique(from_current(passed))) == 1:
            return _recorded(recorded, passed.file)
    index = from_current(passed)
    n = int(index[-1]) + 1
    return Numbers(index, np.arange(1, n + 1), np.full(n, np.nan), "current")


def _recorded(recorded: np.ndarray, file: np.ndarray) -> Numbers:
    recorded = np.where(np.isfinite(recorded), recorded, -1.0)
    new = (np.diff(recorded) != 0) | (np.diff(file) != 0)
    index = np.concatenate([[0], np.cumsum(new)])
    own = recorded[np.concatenate([[True], new])]
    rises = len(own) == 1 or bool((np.diff(own) > 0).all())
    labels = own.astype(np.int64) if rises and (own == np.round(own)).all() else np.arange(1, len(own) + 1)
    return Numbers(index, labels, own, "cycle")


def from_current(passed: Passage) -> np.ndarray:
    """Return the position of each line's cycle from 0: one begins where the sign of the first half comes back."""
    run = np.concatenate([[0], np.cumsum(np.diff(passed.state) != 0)])
    first = np.concatenate([[0], np.flatnonzero(np.diff(run)) + 1])
    sign = passed.state[first]
    # Rests and what carries little charge belong to the half they interrupt: runs of one sign are summed over them.
    charge = np.abs(np.bincount(run, weights=passed.charge))
    halves = _merged(sign, charge)
    begins = [start for start, half in halves if half == halves[0][1]][1:]
    starts = np.zeros(len(run), dtype=int)
    starts[first[begins]] = 1
    return np.cumsum(starts)


def _merged(sign: np.ndarray, charge: np.ndarray) -> list[tuple[int, int]]:
    """Return (run, sign) at which each half cycle begins."""
    active = np.flatnonzero(sign != 0)
    blocks: list[list] = []  # first run, sign, charge
    for run in active:
        if blocks and blocks[-1][1] == sign[run]:
            blocks[-1][2] += charge[run]
        else:
            blocks.append([int(run), int(sign[run]), float(charge[run])])
    least = LEAST_HALF * max(block[2] for block in blocks)
    halves: list[tuple[int, int]] = []
    for start, one, passed in blocks:
        if passed >= least and (not halves or halves[-1][1] != one):
            halves.append((start, one))
    return halves or [(blocks[0][0], blocks[0][1])]
