"""Looks at what electrochemistry found: cycles, resistances, losses, signs of plating."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import xarray as xr

from batlab.failure._looks import WHOLE, Look, relative, weighted

FEWEST = 10  # cycles of one kind below which nothing is said of their course
ENDS = 0.05  # share of the cycles that stand for the beginning and for the end, at least three
SAME_VOLTAGE, SAME_CURRENT = 0.1, 0.05  # V; relative: pulses that may be compared
# Loss -> what it is called, and its doubt for every millivolt of misfit above one: the shape of the curve is then not
# that of the half cells. How much was chosen on virtual cells whose graphite is unequally charged.
LOSSES = {"lli": ("echem.inventory_loss", 0.003), "lam_positive": ("echem.positive_loss", 0.006),
          "lam_negative": ("echem.negative_loss", 0.03)}  # fmt: skip


def cycles(table: xr.Dataset) -> Iterator[Look]:
    """Yield looks at a table of `echem.cycles`."""
    kind = table["kind"].values.astype(str) if "kind" in table else np.full(table.sizes["cycle"], "cycle")
    whole = (kind == "cycle") & _same_rate(table)
    label = table["cycle"].values[whole]
    if len(label) < FEWEST:
        return
    n = max(3, round(ENDS * len(label)))
    span = float(label[0]), float(label[-1])
    capacity = _column(table, "capacity_discharge")[whole]
    left = float(np.nanmean(capacity[-n:]) / np.nanmean(capacity[:n])) if np.isfinite(capacity).any() else 1.0
    told = f"mean of the last {n} cycles of equal rate against that of the first {n}; σ from their scatter"
    for name, observable, is_relative in (
        ("capacity_discharge", "echem.capacity", True),
        ("hysteresis", "echem.hysteresis", True),
        ("voltage_mean", "echem.voltage_fade", False),
    ):
        values = _column(table, name)[whole]
        ends = [_mean(part[np.isfinite(part)]) for part in (values[:n], values[-n:])]
        if any(math.isnan(end[0]) for end in ends) or (is_relative and not ends[0][0] > 0):
            continue
        (early, d_early), (late, d_late) = ends
        if observable == "echem.voltage_fade" and left < WHOLE:
            continue  # means over stretches of the curve so unlike tell of the stretch
        if is_relative:
            effect, sigma = (float(one) for one in relative(*(np.asarray(v) for v in (early, d_early, late, d_late))))
        else:
            effect, sigma = late - early, math.hypot(d_early, d_late)
        apart = values / early - 1 if is_relative else values - early
        course = label.astype(float), apart, np.full(len(values), np.nan)
        yield Look(observable, "change", effect, sigma, told, table, cycles=span, freedom=2 * n - 2, course=course)
    lost = 1 - _column(table, "coulombic_efficiency")[whole][2:]
    lost = lost[np.isfinite(lost)]
    if len(lost) >= FEWEST:
        spread = 1.2533 * 1.4826 * float(np.median(np.abs(lost - np.median(lost)))) / math.sqrt(len(lost))
        yield Look("echem.inefficiency", "up", float(np.median(lost)), spread, "median over the cycles", table,
                   cycles=span, freedom=len(lost) - 1)  # fmt: skip
    yield from _knee(table, span)


def _same_rate(table: xr.Dataset) -> np.ndarray:
    if "c_rate_discharge" not in table:
        return np.ones(table.sizes["cycle"], dtype=bool)
    rate = table["c_rate_discharge"].values
    kind = table["kind"].values.astype(str) if "kind" in table else np.full(len(rate), "cycle")
    usual = np.nanmedian(rate[kind == "cycle"]) if (kind == "cycle").any() else np.nan
    return np.abs(rate - usual) <= 0.1 * usual


def _column(table: xr.Dataset, name: str) -> np.ndarray:
    if name == "voltage_mean":
        return (table["voltage_charge"].values + table["voltage_discharge"].values) / 2
    return table[name].values.astype(float)


def _mean(values: np.ndarray) -> tuple[float, float]:
    if len(values) < 3:
        return math.nan, math.nan
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _knee(table: xr.Dataset, span: tuple[float, float]) -> Iterator[Look]:
    """A knee counts where two lines explain the fading best; else there is none, as good as the rates are known."""
    from batlab.echem import fade

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # gaps are the cycles' own warning; here only the rates count
        try:
            fits = fade(table, models=("linear", "sqrt", "exponential", "two_piece"))
        except ValueError:
            return
    if "two_piece_rate" not in fits:
        return
    before, d_before = float(fits["two_piece_rate"]), float(fits["two_piece_rate_sigma"])
    if not before > 3 * d_before > 0:
        return
    after = before + float(fits["two_piece_rate_change"])
    d_after = math.hypot(d_before, float(fits["two_piece_rate_change_sigma"]))
    sigma = math.hypot(d_after / before, after * d_before / before**2)
    is_knee = fits.attrs["best"] == "two_piece" and str(fits["knee_kind"].values) == "knee"
    effect = after / before - 1 if is_knee else 0.0
    yield Look("echem.knee", "appears", effect, sigma, "rates before and after a knee, if two lines fit best of four "
               "models (AICc)", table, cycles=span, freedom=max(2.0, float(fits.attrs["n_effective"]) - 4))  # fmt: skip


def resistances(table: xr.Dataset) -> Iterator[Look]:
    """Yield the look at a table of `echem.resistance`: pulses out of rest, at equal voltage and current."""
    if "cycle" not in table:
        return
    amps, volts, cycle = (table[name].values for name in ("current_after", "voltage_before", "cycle"))
    usable = (table["kind"].values.astype(str) == "begins") & (amps < 0)
    # The shortest delay at which most pulses were read: the longer, the more of the charge's own voltage is in it.
    n_read = np.isfinite(table["resistance"].values[usable]).sum(axis=0)
    if not n_read.size or not n_read.max():
        return
    delay = int(np.flatnonzero(n_read >= 0.8 * n_read.max())[0])
    value, sigma = (table[name].values[:, delay] for name in ("resistance", "resistance_sigma"))
    usable &= np.isfinite(value) & (value > 0)
    labels = np.unique(cycle[usable])
    every = [_to_oldest(label, cycle, volts, amps, value, sigma, usable) for label in labels]
    last = slice(None, -max(3, len(labels) // 20) - 1, -1)
    # Of the last cycles the one with most pulses.
    best, label = max(zip(every[last], labels[last], strict=True), key=lambda pair: len(pair[0]))
    if not len(best):
        return
    effect, doubt = weighted(*best[:, :2].T)
    told = (
        f"discharge out of rest, {table['delay'].values[delay]:g} s after, at equal voltage and current, last to first"
    )
    known = [(float(at), *weighted(*rows[:, :2].T)) for at, rows in zip(labels, every, strict=True) if len(rows)]
    course = np.array([(float(best[:, 2].min()), 0.0, doubt), *known]).T
    yield Look("echem.resistance", "change", effect, doubt, told, table, cycles=(float(best[:, 2].min()), float(label)),
               freedom=max(len(best) - 1, 1), course=tuple(course))  # fmt: skip


def _to_oldest(
    label: float, cycle: np.ndarray, volts: np.ndarray, amps: np.ndarray, value: np.ndarray, sigma: np.ndarray,
    usable: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return for each pulse of a cycle: its change to the oldest alike, the σ of that, and the cycle of the oldest."""
    rows = []
    for at in np.flatnonzero(usable & (cycle == label)):
        alike = usable & (cycle < label) & (np.abs(volts - volts[at]) < SAME_VOLTAGE)
        alike &= np.abs(amps - amps[at]) < SAME_CURRENT * np.abs(amps[at])
        if not alike.any():
            continue
        oldest = float(cycle[alike].min())
        first, d_first = weighted(value[alike & (cycle == oldest)], sigma[alike & (cycle == oldest)])
        ratio, spread = relative(*(np.asarray(v) for v in (first, d_first, value[at], sigma[at])))
        rows.append((float(ratio), float(spread), oldest))
    return np.array(rows).reshape(-1, 3)


def losses(table: xr.Dataset) -> Iterator[Look]:
    """Yield looks at a table of `echem.degradation_modes`: its last cycle that was fitted."""
    known = np.flatnonzero(np.isfinite(table["lli"].values) & np.isfinite(table["lli_sigma"].values))
    if len(known) < 2:
        return
    ends = known[[0, -1]]
    span = float(table["cycle"].values[ends[0]]), float(table["cycle"].values[ends[1]])
    misfit = table["misfit"].values[ends]
    told = f"slow curves fitted with both half cells, last to first; misfit {1e3 * misfit[1]:.1f} mV"
    excess = max(0.0, 1e3 * float(misfit[1]) - 1)
    for name, (observable, doubt) in LOSSES.items():
        sigma = math.hypot(float(table[f"{name}_sigma"].values[ends[1]]), doubt * excess)
        spread = np.hypot(table[f"{name}_sigma"].values[known], doubt * excess)
        course = table["cycle"].values[known].astype(float), table[name].values[known], spread
        yield Look(observable, "change", float(table[name].values[ends[1]]), sigma, told, table, cycles=span,
                   course=course)  # fmt: skip
    every = table["misfit"].values[known]
    course = table["cycle"].values[known].astype(float), every - every[0], 0.1 * np.maximum(every, every[0])
    yield Look(
        "echem.curve_misfit",
        "up",
        float(misfit[1] - misfit[0]),
        0.1 * float(misfit.max()),
        "misfit of the slow curve to the half cells, last less first",
        table,
        cycles=span,
        course=course,
    )


def plating(table: xr.Dataset) -> Iterator[Look]:
    """Yield looks at a table of `echem.plating_signs`: how many of the later cycles show signs that the first lack."""
    n = table.sizes["cycle"]
    if n < FEWEST:
        return
    label = table["cycle"].values
    part = max(3, n // 10)
    span = float(label[0]), float(label[-1])
    plateau = np.nan_to_num(table["rest_plateau_time"].values)
    rested = np.isfinite(table["rest_plateau_strength"].values)
    shoulder = np.isfinite(table["stripping_capacity"].values) & (table["is_new"].values > 0)
    for seen, usable, observable, told in (
        (plateau > 0, rested, "echem.rest_plateau", "share of rests after charging with a plateau"),
        (shoulder, np.ones(n, dtype=bool), "echem.stripping", "share of discharges with a new maximum of dV/dQ"),
    ):
        ends = [seen[usable][:part], seen[usable][-part:]]
        if min(map(len, ends)) < 3:
            continue
        shares = [(end.sum() + 0.5) / (len(end) + 1) for end in ends]
        sigma = math.sqrt(sum(s * (1 - s) / (len(end) + 1) for s, end in zip(shares, ends, strict=True)))
        effect = float(ends[1].mean() - ends[0].mean())
        yield Look(observable, "appears", effect, sigma, f"{told}, last {part} cycles less first {part}", table,
                   cycles=span)  # fmt: skip
