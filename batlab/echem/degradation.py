"""What a cell has lost: lithium, and active material of each electrode, from slow curves and half-cell potentials."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.echem.electrode_fit import NARROWEST, Electrodes, fit_electrodes
from batlab.echem.half_cells import HalfCell, half_cell
from batlab.echem.halves import DIRECTIONS, Half, halves_of
from batlab.schema import quantity, record

LEAST_POINTS = 20
POOR_FIT = 0.010  # V: a larger misfit is no noise of a cycler
LONG_MEMORY = 5.0  # times the variance of white noise: the misfit has a shape
SMALL = 1e-4  # V: shapes below the resolution of a cycler are not told
MODES = ("lam_positive", "lam_negative", "lli")
SIZES = ("capacity_positive", "capacity_negative", "lithium_inventory")


def degradation_modes(
    cell: xr.Dataset,
    *,
    positive: Any,
    negative: Any,
    cycle: int | Sequence[int] | None = None,
    reference: int | None = None,
    half: str = "charge",
    window: tuple[float, float] | None = None,
    polarized: bool = False,
) -> xr.Dataset:
    """Return the loss of lithium inventory and of active material at each electrode, cycle by cycle.

    Every slow curve is fitted as ``V(Q) = U_p(y₀ - Q/Q_p) - U_n(x₀ + Q/Q_n)``: capacities Q_p and Q_n of the
    electrodes and the inventory of lithium ``Q_n x + Q_p y``, which does not change along the curve. Losses are their
    falls since the reference cycle, as parts of it: 0.05 for 5 %.

    Parameters
    ----------
    cell
        A cycler's record with cycles slow enough for equilibrium (C/20 and less); see `cycles`.
    positive, negative
        Potentials of the electrodes: what `half_cell` takes (``"chen2020_nmc811"``, a table ``(lithiation,
        potential)``, a function).
    cycle
        Labels of the slow cycles, all by default.
    reference
        Label of the cycle that losses count from; the first by default.
    half
        ``"charge"`` or ``"discharge"``.
    window
        (lowest, highest) voltage [V] that is fitted.
    polarized
        Whether a constant polarization is fitted too. It takes much of the certainty.

    Returns
    -------
    xarray.Dataset
        Over ``cycle``: ``lam_positive``, ``lam_negative``, ``lli`` [1] and ``capacity_positive``,
        ``capacity_negative``, ``lithium_inventory`` [Ah], all with σ; covariances of the losses
        ``covariance_lam_positive_lam_negative``, ``…_lam_positive_lli``, ``…_lam_negative_lli``; lithiations at the
        lowest and highest fitted voltage ``lithiation_positive_low``, ``…_high``, ``lithiation_negative_low``,
        ``…_high``; ``misfit`` [V] (root mean square), ``misfit_correlation`` (factor by which it raised the
        variances), ``capacity_used`` [Ah]; with `polarized` ``polarization`` [V, positive in charging] with σ.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No record; a word, cycle or window out of range; no cycle with 20 lines to fit.

    Warns
    -----
    UserWarning
        A misfit above 10 mV or with a shape; lithiation at the end of what a half cell knows; cycles that cannot be
        fitted (NaN).

    Notes
    -----
    σ knows the noise, also where the misfit is correlated from line to line; not the error of the half cells, which is
    the larger one where they come from another cell. Losses of an electrode count whether it was full or empty: the
    lithium in it is in ``lli`` only if it is gone from both. Method: Dahn et al., J. Electrochem. Soc. 159, A1405
    (2012), doi:10.1149/2.013209jes; Birkl et al., J. Power Sources 341, 373 (2017), doi:10.1016/j.jpowsour.2016.12.011.

    Examples
    --------
    >>> from batlab.simulate import full_cell
    >>> nmc, graphite = half_cell("chen2020_nmc811"), half_cell("chen2020_graphite_siox")
    >>> cell = full_cell(nmc, graphite, losses=[(0, 0, 0), (0.05, 0.08, 0.10)], interval=300)
    >>> lost = degradation_modes(cell, positive=nmc, negative=graphite)
    >>> [round(100 * float(lost[name][1]), 3) for name in ("lam_positive", "lam_negative", "lli")]
    [5.0, 8.0, 10.0]
    """
    plus, minus = half_cell(positive), half_cell(negative)
    low, high = _window(window)
    labels, found, passed = halves_of(cell, half, cycle, "echem.degradation_modes", charge=None, hold=False)
    fits = [_one(one, DIRECTIONS[half], plus, minus, (low, high), polarized) for one in found]
    known = [k for k, fit in enumerate(fits) if fit is not None]
    if not known:
        raise ValueError(
            f"echem.degradation_modes finds no {half} with {LEAST_POINTS} lines between {low:g} and {high:g} V among "
            f"{len(labels)} cycles"
        )
    start = _reference(reference, labels, known)
    _warn(labels, fits, plus, minus)
    result = xr.Dataset(
        _losses(fits, fits[start]) | _sizes(fits) | _facts(fits, found, polarized),
        {"cycle": quantity("cycle", labels, "1", "number of the cycle")},
        {
            **cell.attrs, "half": half, "reference": int(labels[start]), "charge_source": passed.source,
            "positive": f"{plus.name}: {plus.source}", "negative": f"{minus.name}: {minus.source}",
        },
    )  # fmt: skip
    return record(
        result, "echem.degradation_modes", positive=plus.name, negative=minus.name, cycle=cycle, reference=reference,
        half=half, window=window, polarized=polarized,
    )  # fmt: skip


def _window(window: tuple[float, float] | None) -> tuple[float, float]:
    if window is None:
        return -np.inf, np.inf
    low, high = (float(end) for end in window)
    if not low < high:
        raise ValueError(f"window must be (lowest, highest) voltage in V, got {window!r}")
    return low, high


def _one(
    half: Half, sign: int, positive: HalfCell, negative: HalfCell, window: tuple[float, float], polarized: bool
) -> Electrodes | None:
    """Fit one half, counted in the direction of charging; None where it has too few lines."""
    if not half.stretches:
        return None
    # The first line of a stretch stands there twice: at the charge before it, and at its own.
    voltage, charge = (np.concatenate([part[column][1:] for part in half.stretches]) for column in (0, 1))
    inside = (voltage >= window[0]) & (voltage <= window[1])
    voltage, charge = voltage[inside][::sign], sign * charge[inside][::sign]
    if len(voltage) < LEAST_POINTS or not charge[-1] > charge[0]:
        return None
    return fit_electrodes(charge, voltage, positive, negative, polarized=polarized)


def _reference(reference: int | None, labels: np.ndarray, known: list[int]) -> int:
    if reference is None:
        return known[0]
    fitted = [int(labels[k]) for k in known]
    if reference not in fitted:
        raise ValueError(f"reference must be a cycle that is fitted, {fitted[0]} to {fitted[-1]}, got {reference!r}")
    return known[fitted.index(reference)]


def _warn(labels: np.ndarray, fits: list[Electrodes | None], positive: HalfCell, negative: HalfCell) -> None:
    told = {
        f"have fewer than {LEAST_POINTS} lines to fit and are NaN": [fit is None for fit in fits],
        f"miss the curve by more than {1e3 * POOR_FIT:g} mV (root mean square); are these the right half cells, and is "
        "the cycle slow?": [fit is not None and fit.rms > POOR_FIT for fit in fits],
        "have a misfit with a shape, so that the half cells err by more than the noise; σ counts it as correlated "
        "noise only": [fit is not None and fit.rms > SMALL and fit.correlated > LONG_MEMORY for fit in fits],
        f"end where the half cells do ({positive.name}: {positive.limits}, {negative.name}: {negative.limits}) or fix "
        f"less than {NARROWEST:g} of an electrode; their numbers are not determined": [
            fit is not None and (fit.at_bound or min(fit.ends[1] - fit.ends[0], fit.ends[2] - fit.ends[3]) < NARROWEST)
            for fit in fits
        ],
    }
    for what, which in told.items():
        if any(which):
            names = labels[np.array(which)]
            listed = ", ".join(map(str, names[:5])) + (" …" if len(names) > 5 else "")
            warnings.warn(
                f"echem.degradation_modes: {len(names)} of {len(labels)} cycles ({listed}) {what}",
                UserWarning,
                stacklevel=3,
            )


def _losses(fits: list[Electrodes | None], first: Electrodes | None) -> dict[str, xr.Variable]:
    assert first is not None
    lost, covariance = np.full((len(fits), 3), np.nan), np.full((len(fits), 3, 3), np.nan)
    for k, fit in enumerate(fits):
        if fit is not None:
            lost[k] = 1 - fit.sizes / first.sizes
            now, then = np.diag(1 / first.sizes), np.diag(fit.sizes / first.sizes**2)
            covariance[k] = now @ fit.covariance @ now + then @ first.covariance @ then
            if fit is first:
                covariance[k] = 0.0
    words = ("loss of active material, positive electrode", "loss of active material, negative electrode",
             "loss of lithium inventory")  # fmt: skip
    variables = {}
    for i, (name, long_name) in enumerate(zip(MODES, words, strict=True)):
        variables[name] = quantity("cycle", lost[:, i], "1", long_name)
        variables[f"{name}_sigma"] = quantity("cycle", np.sqrt(covariance[:, i, i]), "1", f"σ of the {long_name}")
    for i, j in ((0, 1), (0, 2), (1, 2)):
        long_name = f"covariance of {MODES[i]} and {MODES[j]}"
        variables[f"covariance_{MODES[i]}_{MODES[j]}"] = quantity("cycle", covariance[:, i, j], "1", long_name)
    return variables


def _sizes(fits: list[Electrodes | None]) -> dict[str, xr.Variable]:
    words = ("capacity of the positive electrode", "capacity of the negative electrode", "inventory of lithium")
    variables = {}
    for i, (name, long_name) in enumerate(zip(SIZES, words, strict=True)):
        values = [np.nan if fit is None else fit.sizes[i] for fit in fits]
        sigma = [np.nan if fit is None else float(np.sqrt(fit.covariance[i, i])) for fit in fits]
        variables[name] = quantity("cycle", values, "Ah", long_name)
        variables[f"{name}_sigma"] = quantity("cycle", sigma, "Ah", f"σ of the {long_name}")
    return variables


def _facts(fits: list[Electrodes | None], found: list[Half], polarized: bool) -> dict[str, xr.Variable]:
    def over(pick: Any, units: str, long_name: str) -> xr.Variable:
        return quantity("cycle", [np.nan if fit is None else pick(fit) for fit in fits], units, long_name)

    facts = {
        f"lithiation_{electrode}_{end}": over(
            lambda fit, at=at: fit.ends[at], "1", f"lithiation of the {electrode} electrode at the {end}est voltage"
        )
        for at, (electrode, end) in enumerate(
            [("negative", "low"), ("negative", "high"), ("positive", "low"), ("positive", "high")]
        )
    }
    facts["misfit"] = over(lambda fit: fit.rms, "V", "root mean square of the misfit")
    facts["misfit_correlation"] = over(
        lambda fit: fit.correlated, "1", "factor by which correlation of the misfit raised the variances"
    )
    facts["capacity_used"] = quantity("cycle", [one.charge for one in found], "Ah", "charge of the half")
    if polarized:
        facts["polarization"] = over(lambda fit: fit.polarization, "V", "constant polarization, positive in charging")
        facts["polarization_sigma"] = over(lambda fit: fit.polarization_sigma, "V", "σ of the polarization")
    return facts
