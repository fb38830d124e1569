"""Looks at absorption spectra: edges, their step, and metal on the other electrode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import xarray as xr

from batlab.failure._looks import CHARGED, DISCHARGED, Look, Pairs, change, course_of, pairs_of_visits, relative

# Of the energy: what a monochromator's scale drifts between visits and within hours where no reference tells; about a
# tenth of the bandwidth of Si (1 1 1), 1.3e-4.
DRIFT = 3e-5
FEWEST = 8  # frames without cycles from which on the end is compared with the beginning


def edges(table: xr.Dataset) -> Iterator[Look]:
    """Yield looks at ``e0`` (frame); less sure where the energies were not aligned by a reference."""
    is_aligned = "energy_alignment" in table.attrs or "energy_shift" in table.variables
    drift = 0.0 if is_aligned else DRIFT * float(np.nanmax(np.abs(table["e0"].values), initial=0.0))
    for look in _states(table, "e0", (("xas.edge_charged", CHARGED), ("xas.edge_discharged", DISCHARGED))):
        told = look.test if is_aligned else f"{look.test}; no reference, so that the scale may have drifted"
        yield replace(look, sigma=float(np.hypot(look.sigma, drift)), test=told)


def steps(table: xr.Dataset) -> Iterator[Look]:
    """Yield the look at ``edge_step`` (frame): all states, as the amount of metal does not hang on the charge."""
    every = pairs_of_visits(table)
    values, sigma = _numbers(table, "edge_step")
    if not every:
        yield from _ends(table, "xas.edge_step", values, sigma, is_relative=True)
        return

    def how(there: Pairs) -> tuple[float, float]:
        return change(values, sigma, there, relative)

    pairs, (effect, spread) = every[-1], how(every[-1])
    if np.isfinite(effect):
        told = f"{len(pairs.first)} frames of the last visit to those of the first in the same state"
        yield Look("xas.edge_step", "change", effect, spread, told, table, pairs.frames, pairs.cycles,
                   course=course_of(table, every, how))  # fmt: skip


def deposit(table: xr.Dataset) -> Iterator[Look]:
    """Yield the look at the metal on the negative electrode: all states."""
    every = pairs_of_visits(table)
    values, sigma = _numbers(table, "metal_on_anode")
    if not every:
        return

    def how(there: Pairs) -> tuple[float, float]:
        return change(values, sigma, there)

    pairs, (effect, spread) = every[-1], how(every[-1])
    if np.isfinite(effect):
        told = f"{len(pairs.first)} frames of the last visit less those of the first"
        yield Look("xas.metal_on_anode", "appears", effect, spread, told, table, pairs.frames, pairs.cycles,
                   course=course_of(table, every, how))  # fmt: skip


def _states(table: xr.Dataset, name: str, wanted: tuple) -> Iterator[Look]:
    every = pairs_of_visits(table)
    values, sigma = _numbers(table, name)
    if not every:
        yield from _ends(table, wanted[-1][0], values, sigma, is_relative=False)
        return

    def how(there: Pairs) -> tuple[float, float]:
        return change(values, sigma, there)

    for observable, limits in wanted:
        chosen = [pairs.within(limits) for pairs in every]
        there = chosen[-1]
        if not len(there.first):
            continue
        effect, spread = how(there)
        if np.isfinite(effect):
            told = f"{len(there.first)} frames of the last visit less those of the first in the same state"
            yield Look(observable, "change", effect, spread, told, table, there.frames, there.cycles,
                       course=course_of(table, chosen, how))  # fmt: skip


def _ends(
    table: xr.Dataset, observable: str, values: np.ndarray, sigma: np.ndarray, *, is_relative: bool
) -> Iterator[Look]:
    """Without cycles: the last quarter of the frames against the first, unless they are seen to be in another state."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < FEWEST or any(name in table.variables for name in ("voltage", "charge_passed", "capacity")):
        return
    n = len(known) // 4
    early, late = values[known[:n]], values[known[-n:]]
    scatter = np.hypot(*(part.std(ddof=1) / np.sqrt(n) for part in (early, late)))
    effect = float(late.mean() / early.mean() - 1) if is_relative else float(late.mean() - early.mean())
    scatter = float(scatter / abs(early.mean()) if is_relative else scatter)
    frame = table["frame"].values if "frame" in table.coords else np.arange(table.sizes["frame"])
    told = f"mean of the last {n} frames against that of the first {n}; σ from their scatter"
    yield Look(observable, "change", effect, scatter, told, table,
               frames=(float(frame[known[0]]), float(frame[known[-1]])), freedom=2 * n - 2)  # fmt: skip


def _numbers(table: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    values = table[name].values.astype(float)
    if f"{name}_sigma" in table:
        return values, table[f"{name}_sigma"].values.astype(float)
    steps = np.diff(values)
    return values, np.full(len(values), max(float(np.nanmedian(np.abs(steps))) if len(steps) else 0.0, 1e-12))
