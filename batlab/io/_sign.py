"""Which way a recorded current flows: positive charges the cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from batlab.errors import ReadError, choose

RULES = ("positive_charges", "positive_discharges", "voltage")
SAME_STEP = 0.02  # relative change of the current between two records within one step
LEAST_CHANGE = 0.002  # V; below it a step's voltage says nothing (a hold at constant voltage)


def signed(current: np.ndarray, voltage: np.ndarray, rule: str | Mapping[float, int], name: str) -> np.ndarray:
    """Return the current with the sign of the data model.

    Parameters
    ----------
    current, voltage
        As recorded, one value a record, in the file's units.
    rule
        "positive_charges"; "positive_discharges"; "voltage": the record is unsigned, and each constant-current step
        takes the sign of its voltage's change (a step without one takes the sign of the step before it); or a
        mapping of magnitude to sign, ``{39.0: 1, 19.0: -1}``.
    name
        The file's, for messages.

    Raises
    ------
    ReadError
        A magnitude that the mapping lacks, or a step whose voltage tells no sign.

    Examples
    --------
    >>> import numpy as np
    >>> signed(np.array([0, 2, 2, 2, 0, 2, 2.0]), np.array([3, 3.1, 3.2, 3.3, 3.2, 3.1, 3.0]), "voltage", "a.txt")
    array([ 0.,  2.,  2.,  2.,  0., -2., -2.])
    """
    if isinstance(rule, Mapping):
        return _by_magnitude(current, rule, name)
    choose("current_sign", rule, RULES)
    if rule == "positive_charges":
        return current
    if rule == "positive_discharges":
        return 0.0 - current
    if (current < 0).any():
        raise ReadError(f"{name}: the current has both signs; pass current_sign='positive_charges' or its opposite")
    return _by_voltage(current, voltage, name)


def _by_magnitude(current: np.ndarray, rule: Mapping[Any, Any], name: str) -> np.ndarray:
    result = np.where(current == 0, 0.0, np.nan)
    for magnitude, sign in rule.items():
        if sign not in (1, -1):
            raise ValueError(f"current_sign maps a magnitude to 1 or -1, got {magnitude}: {sign!r}")
        result[np.isclose(np.abs(current), float(magnitude), rtol=1e-3)] = sign
    missing = np.unique(np.abs(current[np.isnan(result) & ~np.isnan(current)]))
    if missing.size:
        told = ", ".join(f"{value:g}" for value in missing[:5])
        raise ReadError(f"{name}: current_sign names no sign for the magnitude {told}")
    return np.abs(current) * result


def _steps(current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first record and the one after the last of each run of one current, those at rest left out."""
    size = np.abs(np.nan_to_num(current))
    jumps = np.abs(np.diff(size)) > SAME_STEP * np.maximum(size[1:], size[:-1])
    jumps |= np.sign(current[1:]) != np.sign(current[:-1])
    first = np.concatenate([[0], np.flatnonzero(jumps) + 1])[: len(size)]
    end = np.append(first[1:], len(size))[: len(first)]
    return first[size[first] > 0], end[size[first] > 0]


def _by_voltage(current: np.ndarray, voltage: np.ndarray, name: str) -> np.ndarray:
    result = current.copy()
    before = (-1, 0)  # end and sign of the step before
    for first, end in zip(*(edges.tolist() for edges in _steps(current)), strict=True):
        change = voltage[end - 1] - voltage[first]
        sign = int(np.sign(change)) if abs(change) >= LEAST_CHANGE else 0
        if sign == 0 and before[0] == first:
            sign = before[1]
        if sign == 0:
            raise ReadError(
                f"{name}: records {first} to {end - 1}: the voltage hardly changes ({change:g}), so the sign of the "
                "current is not told; pass current_sign={magnitude: 1 or -1, …}"
            )
        result[first:end] *= sign
        before = (end, sign)
    return result


def agreement(current: np.ndarray, voltage: np.ndarray) -> float:
    """Return how far the voltage follows the current: 1 if it rises in every step of positive current and falls in
    every other, -1 for the opposite, near 0 where it says nothing. Steps count by their number of records.
    """
    first, end = _steps(current)
    change = voltage[end - 1] - voltage[first]
    told = (np.abs(change) >= LEAST_CHANGE) & (end - first > 2)
    weight = (end - first)[told]
    score = weight * np.sign(change[told]) * np.sign(current[first[told]])
    return float(score.sum() / weight.sum()) if weight.size else 0.0
