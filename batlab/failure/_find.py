"""From what the techniques found to evidence: which effects stand out, and what was looked for and not seen."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import xarray as xr

from batlab.errors import did_you_mean
from batlab.failure import _looks_absorption, _looks_cycling, _looks_scattering
from batlab.failure._knowledge import Knowledge, knowledge
from batlab.failure._looks import Look
from batlab.failure._onset import onset
from batlab.failure.evidence import Evidence
from batlab.schema import identity

X_RAYS = ("xrd", "xas", "saxs", "pdf", "rixs")
NOT_ASSESSED = "dose not assessed"


def _has(*names: str, over: str | None = None) -> Callable[[xr.Dataset], bool]:
    def is_it(table: xr.Dataset) -> bool:
        return all(name in table and (over is None or over in table[name].dims) for name in names)

    return is_it


# What a result is, and the looks at it. One result may be several things.
KINDS: tuple[tuple[Callable[[xr.Dataset], bool], Callable[[xr.Dataset], Iterator[Look]]], ...] = (
    (_has("capacity_discharge", "coulombic_efficiency", "hysteresis", over="cycle"), _looks_cycling.cycles),
    (_has("lam_positive", "lam_negative", "lli", "misfit", over="cycle"), _looks_cycling.losses),
    (_has("stripping_strength", "rest_plateau_strength", over="cycle"), _looks_cycling.plating),
    (_has("resistance", over="delay"), _looks_cycling.resistances),
    (_has("position", "fwhm", "area", "status", over="peak"), _looks_scattering.peaks),
    (_has("c", "volume", over="frame"), _looks_scattering.cells),
    (_has("stray", "lithium_metal", over="frame"), _looks_scattering.light),
    (lambda table: _has("e0", over="frame")(table) and "mu_norm" not in table, _looks_absorption.edges),
    (_has("edge_step", "mu_norm", over="frame"), _looks_absorption.steps),
    (_has("metal_on_anode", over="frame"), _looks_absorption.deposit),
)  # fmt: skip


def find(
    *results: xr.Dataset | xr.DataTree,
    false_alarm: float = 0.05,
    table: Knowledge | str | os.PathLike | None = None,
) -> list[Evidence]:
    """Return evidence from what the techniques found: what changed beyond doubt, and what was looked for and not seen.

    Looks compare the last visit to the cell with the first, in the same state of charge and direction of the current;
    without cycles, the end of a series with its beginning. The σ of each look holds what the technique states, the
    scatter, and the observable's `floor` in the table: what differs between measurements of a healthy cell anyhow.

    False alarms are held down over all looks of one call together (Bonferroni): an effect is told where noise gives
    one as large in any of the n looks with a probability below `false_alarm`, by Student's t where σ comes from
    scatter, both ways where an effect may go both ways. The `limit` of a look is the smallest effect that it would have
    told. Where a course over cycles or visits is there, what was seen has its onset (`curves.change_points` where there
    are cycles enough, else the gap between two visits) and its shift per cycle, the state of charge being the same:
    what does not come back. Shares of light are populations: material that parts from the rest.

    An energy scale that no reference holds may drift by 3e-5, which its σ then includes.

    Parameters
    ----------
    *results
        In any order, trees of them too: tables of `echem.cycles`, `resistance`, `degradation_modes`, `plating_signs`;
        `curves.fit_peaks`, `xrd.refine_cell`, `xrd.phase_changes`; `xas.edge_energy`, `normalize`;
        events of `curves.change_points`. Series over ``frame`` are compared by their coordinates ``cycle`` and
        ``state_of_charge`` (0 to 1), else ``capacity`` or ``charge_passed``.
    false_alarm
        Probability of any false alarm among the looks at noise, 0 to 1.
    table
        Of knowledge: its floors are used; batlab's own by default.

    Returns
    -------
    list of Evidence
        What was seen, surest first; then what was not, with ``direction`` "none". Results in which no look is possible
        (one visit, too few cycles) give nothing: that is no evidence of absence.

    Raises
    ------
    TypeError
        Something else than datasets.
    ValueError
        A dataset that no technique made; a probability out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from batlab.schema import quantity
    >>> frame = np.arange(4)
    >>> edges = xr.Dataset(
    ...     {"e0": quantity("frame", [8343.0, 8344.8, 8343.0, 8344.3], "eV", "edge energy"),
    ...      "e0_sigma": quantity("frame", [0.01] * 4, "eV", "σ")},
    ...     {"frame": quantity("frame", frame, "1", "frame"), "cycle": quantity("frame", [1, 1, 90, 90], "1", "cycle"),
    ...      "state_of_charge": quantity("frame", [0.0, 1.0, 0.0, 1.0], "1", "state of charge")},
    ...     {"energy_alignment": "by the foil"})
    >>> for item in find(edges):
    ...     print(item.observable, item.direction, round(item.effect, 2))
    xas.edge_charged down -0.5
    xas.edge_discharged none 0.0
    """
    if not 0 < false_alarm < 1:
        raise ValueError(f"false_alarm must lie between 0 and 1, got {false_alarm!r}")
    known = table if isinstance(table, Knowledge) else knowledge(table)
    looks: list[Look] = []
    events: list[xr.Dataset] = []
    for number, result in enumerate(_datasets(results), 1):
        matching = [look_at for is_it, look_at in KINDS if is_it(result)]
        if {"onset", "confidence", "what"} <= set(result.data_vars):
            events.append(result)
        elif not matching:
            held = ", ".join(map(str, result.data_vars)) or "nothing"
            raise ValueError(
                f"failure.find knows no look at result {number} with {held}; "
                "give it what a technique found (echem.cycles, curves.fit_peaks, xas.edge_energy, …), or measured data "
                "to failure.examine"
            )
        looks += [look for look_at in matching for look in look_at(result)]
    for look in looks:
        if look.observable not in known.observables:
            hint = did_you_mean(look.observable, known.observables)
            raise ValueError(f"the table of knowledge lacks the observable {look.observable!r}{hint}; add it")
    n_looks = len(looks) + len(events)
    found = [judged(look, known, false_alarm, n_looks) for look in looks]
    for one in events:
        found += _events(one, false_alarm, n_looks)
    return sorted(found, key=lambda item: (not item.is_seen, -item.confidence, item.observable))


def judged(look: Look, known: Knowledge, false_alarm: float, n_looks: int) -> Evidence:
    """Return the evidence of one of `n_looks` looks."""
    from scipy.special import stdtr, stdtrit

    observable = known.observables[look.observable]
    sides = 2 if look.kind == "change" else 1
    sigma = math.hypot(look.sigma, observable.floor)
    # The floor is known; only the part of the variance that is estimated has few degrees of freedom.
    freedom = look.freedom * (sigma / look.sigma) ** 4 if look.sigma > 0 and math.isfinite(look.freedom) else math.inf
    freedom = min(freedom, 1e6)
    limit = -float(stdtrit(freedom, false_alarm / (n_looks * sides))) * sigma
    size = abs(look.effect) if sides == 2 else look.effect
    chance = min(1.0, sides * float(stdtr(freedom, -size / sigma)) * n_looks)
    is_seen = chance < false_alarm
    way = "none" if not is_seen else look.kind if sides == 1 else ("up" if look.effect > 0 else "down")
    return Evidence(
        technique=observable.technique,
        quantity=look.observable.partition(".")[2],
        direction=way,
        effect=look.effect,
        effect_sigma=sigma,
        units=observable.units,
        limit=limit,
        confidence=1.0 - chance,
        test=f"{look.test}; floor {observable.floor:g}; {n_looks} looks, any false alarm below {false_alarm:g}",
        frames=look.frames,
        cycles=look.cycles,
        **_origin(look.source, observable.technique),
        **_course(look, sigma, observable.floor, false_alarm, is_seen),
    )


def _course(look: Look, sigma: float, floor: float, false_alarm: float, is_seen: bool) -> dict[str, Any]:
    """Return onset and shift per cycle, as far as the course tells them."""
    told: dict[str, Any] = {}
    if look.cycles is not None and look.cycles[1] > look.cycles[0] and look.kind == "change":
        length = look.cycles[1] - look.cycles[0]
        told.update(per_cycle=look.effect / length, per_cycle_sigma=sigma / length)
    begin = onset(look, floor, false_alarm) if is_seen else None
    if begin is not None:
        told.update(onset=begin.at, onset_range=begin.limits, onset_confidence=begin.confidence)
    return told


def _origin(source: xr.Dataset, technique: str) -> dict[str, Any]:
    dose = NOT_ASSESSED if technique in X_RAYS else ""
    return {
        "dataset": identity(source),
        "source": str(source.attrs.get("source", "")),
        "dose": str(source.attrs.get("dose_statement", dose)),
    }


def _events(events: xr.Dataset, false_alarm: float, n_looks: int) -> list[Evidence]:
    """Return events of `curves.change_points` and `xrd.phase_changes` that stand out among all looks too."""
    found = []
    is_phases = "change" in events
    limit = _least_share(events) if is_phases else math.nan
    if math.isfinite(limit) and "two_phase" not in events["kind"].values.astype(str):
        found.append(Evidence(
            "xrd", "two_phases", "none", math.nan, math.nan, "1", limit=limit,
            test=f"no stretch in which one phase grows and another shrinks; one of {n_looks} looks",
            **_origin(events, "xrd"),
        ))  # fmt: skip
    for k in range(events.sizes["event"]):
        row = events.isel(event=k)
        chance = min(1.0, (1.0 - float(row["confidence"])) * n_looks)
        if not chance < false_alarm:
            continue
        kind, what = str(row["kind"].values), str(row["what"].values)
        size = float(row["change"] if is_phases else row["strength"])
        technique, name = ("xrd", f"{kind} {what}") if is_phases else ("curves", f"{kind} of {what}")
        way = "appears" if kind == "two_phase" or not is_phases else ("up" if size > 0 else "down")
        if is_phases and kind == "two_phase":
            name = "two_phases"
        ends = [float(row[name_]) for name_ in ("onset_low", "end_high" if is_phases else "onset_high")]
        found.append(Evidence(
            technique=technique, quantity=name, direction=way, effect=size,
            effect_sigma=math.nan if is_phases else 1.0, units="1",
            limit=limit if name == "two_phases" else math.nan, confidence=1.0 - chance,
            test=f"{what}: {kind}, onset {float(row['onset']):.6g} ({ends[0]:.6g} to {float(row['onset_high']):.6g})"
            + ("" if is_phases else f", {size:.1f} σ") + f"; one of {n_looks} looks",
            frames=(min(ends), max(ends)), **_origin(events, technique),
        ))  # fmt: skip
    return found


def _least_share(events: xr.Dataset) -> float:
    """Return the smallest exchange that `xrd.phase_changes` would have told; NaN from cells: they show none."""
    history = str(events.attrs.get("history", ""))
    told = re.search(r"xrd\.phase_changes\(.*\bmin_amount=([\d.eE+-]+)", history)
    return float(told[1]) if told and "xrd.refine_cell(" not in history else math.nan


def _datasets(results: tuple[Any, ...]) -> Iterator[xr.Dataset]:
    for number, result in enumerate(results, 1):
        if isinstance(result, xr.DataTree):
            yield from (node.to_dataset() for node in result.subtree if node.data_vars)
        elif isinstance(result, xr.Dataset):
            yield result
        else:
            raise TypeError(f"failure.find needs datasets, got {type(result).__name__} as result {number}")
