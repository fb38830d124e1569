"""Spectra from which alternating least squares starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.decompose import augment
from batlab.decompose._efa import efa
from batlab.decompose._simplisma import simplisma
from batlab.decompose.augment import Whole
from batlab.decompose.constraints import Rules
from batlab.errors import choose

INITS = ("simplisma", "efa", "pca")


def first_spectra(whole: Whole, init: Any, k: int, kept: Rules) -> np.ndarray:
    """Return the spectra (component, axis) from which the alternation starts."""
    values = whole.values
    if isinstance(init, str):
        choose("init", init, INITS)
        spectra = _start_by_name(whole, init, k, kept)
    else:
        given = np.asarray(augment.starts(whole, init, k))
        spectra = given if given.shape[0] == k and given.shape[1] == values.shape[1] else kept.spectra(values, given)
    spectra = _matched(spectra, kept.fixed_spectra.T)
    if kept.not_negative[1]:
        spectra = np.maximum(spectra, 0.0)
    return np.where(np.isnan(kept.fixed_spectra.T), spectra, kept.fixed_spectra.T)


def _start_by_name(whole: Whole, init: str, k: int, kept: Rules) -> np.ndarray:
    values = whole.values
    series = xr.DataArray(values, dims=("frame", "energy"))
    if init == "pca":
        return values[dissimilar(values, k)]
    if init == "efa":
        shares = efa(series, k)["concentration"].values
        total = 1.0 if kept.total is None else kept.total[:, None]
        return kept.spectra(values, shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-300) * total)
    return simplisma(series, k, pure="frame")["spectra"].values


def _matched(spectra: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return start spectra in the order in which those that are known stand at their own places."""
    from scipy.optimize import linear_sum_assignment

    fixed = np.isfinite(known).sum(axis=1) > 0
    if not fixed.any():
        return spectra
    cost = np.zeros((len(known), len(spectra)))
    for row in np.flatnonzero(fixed):
        there = np.isfinite(known[row])
        cost[row] = ((spectra[:, there] - known[row, there]) ** 2).sum(axis=1) / (known[row, there] ** 2).sum()
    return spectra[linear_sum_assignment(cost)[1]]


def dissimilar(values: np.ndarray, k: int) -> np.ndarray:
    """Return k frames that differ most: each is farthest from the plane of those before it.

    Noise is kept out by looking in the space of the first k singular vectors.
    """
    rest = augment.principal(values, k)[0]
    chosen: list[int] = []
    for _ in range(k):
        chosen.append(int(np.argmax(np.einsum("jk,jk->j", rest, rest))))
        along = rest[chosen[-1]] / np.linalg.norm(rest[chosen[-1]])
        rest = rest - np.outer(rest @ along, along)
    return np.sort(chosen)
