"""Fluorescence spectra as they would be without over-absorption (self-absorption)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import did_you_mean
from batlab.schema import quantity, record
from batlab.xas.grids import curves_of, energies_of

LINES = {"K": "Ka", "L3": "La", "L2": "Lb1", "L1": "Lb3"}
BESIDE = 10.0  # eV below and above the edge, where the tables are read
STALE = ("mu_background", "chi")
STRONG = 10.0  # slope of the correction above which noise rules


def over_absorption(
    series: xr.Dataset,
    *,
    formula: str,
    element: str | None = None,
    edge: str | None = None,
    line: str | None = None,
    angle_in: float = 45.0,
    angle_out: float = 45.0,
) -> xr.Dataset:
    """Correct fluorescence XANES of a thick, flat, uniform sample for over-absorption.

    Where the absorber itself takes most of the beam, the fluorescence saturates and the white line is too low. In a
    sample that lets no beam through, with N the true and M the measured normalized absorption [1]_ [2]_ [3]_,

    ``M = N (α + 1) / (α + N)``, hence ``N = M α / (α + 1 - M)``,
    ``α = (μ_rest(E0) + μ(E_f) sin(angle_in) / sin(angle_out)) / μ_edge(E0)``,

    μ_edge the absorber's jump at the edge, μ_rest all other absorption 10 eV below it, μ(E_f) that of the emitted line,
    from the tables of Elam et al. (xraydb). A level of 0 or 1 stays, what lies above 1 grows. α is a constant: the
    formula holds for XANES, up to some 200 eV above the edge; for EXAFS and for thin samples see [2]_.

    ``mu_norm`` and ``mu_flat`` are corrected. ``mu`` follows where ``edge_step`` is known, by the edge step times the
    change of ``mu_norm``, so that later steps start from the corrected spectrum. σ are carried by the slope
    ``α (α + 1) / (α + 1 - M)²``; that of composition and angles is not in them.

    Parameters
    ----------
    series
        From `xas.normalize`: ``mu_norm`` over (``frame``, ``energy``) or ``energy``, on one grid or on each frame's
        own (``energy_measured``).
    formula
        The whole sample, with binder and carbon if they are mixed in: ``"LiNiO2"``, ``"(LiNiO2)0.8(C)1.6"``.
    element, edge
        Absorber and edge; by default those in ``attrs``, the edge else K.
    line
        Emitted line as in xraydb (``"Ka"``, ``"Ka1"``, ``"La"``); by default the strongest of the edge.
    angle_in, angle_out
        Of the beam and of the detector, to the sample's surface, in degrees above 0 and up to 90.

    Returns
    -------
    xarray.Dataset
        A copy with the corrected spectra and the attribute ``over_absorption_alpha``.

    Raises
    ------
    ValueError
        Corrected before; background removed before; unknown element, edge, line; element not in the formula; angles.
    DimensionError, SchemaError
        Not normalized.

    Warns
    -----
    UserWarning
        Points that no absorption can explain (M ≥ α + 1, become NaN), or a correction that multiplies noise by more
        than 10: composition, angles or thickness are not those of the sample.

    References
    ----------
    .. [1] D. Haskel, FLUO: correcting XANES for self-absorption in fluorescence measurements (1999).
    .. [2] Booth and Bridges, Phys. Scr. T115, 202 (2005), doi:10.1238/Physica.Topical.115a00202.
    .. [3] Tröger et al., Phys. Rev. B 46, 3283 (1992), doi:10.1103/PhysRevB.46.3283.

    Examples
    --------
    >>> scan = xr.Dataset({"mu_norm": quantity("energy", [0.0, 0.5, 1.3, 1.1, 1.0], "1", "normalized absorption")},
    ...                   {"energy": quantity("energy", [8300.0, 8343, 8350, 8370, 8390], "eV", "energy")})
    >>> true = over_absorption(scan, formula="NiO", element="Ni", angle_in=80, angle_out=10)
    >>> true.mu_norm.values.round(2).tolist()
    [0.0, 0.37, 1.64, 1.18, 1.0]
    """
    if "over_absorption_alpha" in series.attrs:
        raise ValueError(
            f"the series is corrected already (alpha {series.attrs['over_absorption_alpha']:.4g}); "
            "start from what xas.normalize gave"
        )
    stale = [name for name in STALE if name in series]
    if stale:
        raise ValueError(f"xas.over_absorption comes before remove_background, got a series with {', '.join(stale)}")
    measured = curves_of(series, "mu_norm", "xas.over_absorption", "run xas.normalize first")
    energies_of(series, "xas.over_absorption")
    element = str(series.attrs.get("element", "")) if element is None else element
    edge = str(series.attrs.get("edge", "K")) if edge is None else edge
    alpha = _alpha(formula, element, edge, LINES.get(edge, "Ka") if line is None else line, angle_in, angle_out)
    result = series.copy()
    for name in ("mu_norm", "mu_flat"):
        if name in series:
            result.update(_corrected(series, name, alpha))
    if {"mu", "edge_step"} <= set(series.variables):
        gained = (result["mu_norm"] - series["mu_norm"]) * series["edge_step"]
        result["mu"] = series["mu"].copy(data=(series["mu"] + gained).transpose(*series["mu"].dims).data)
        if "mu_sigma" in series:
            grown = series["mu_sigma"] * np.abs(_slope(series["mu_norm"], alpha))
            result["mu_sigma"] = series["mu_sigma"].copy(data=grown.transpose(*series["mu_sigma"].dims).data)
    _tell(measured.values, alpha)
    result.attrs["over_absorption_alpha"] = float(alpha)
    return record(
        result, "xas.over_absorption", formula=formula, element=element, edge=edge, line=line, angle_in=angle_in,
        angle_out=angle_out,
    )  # fmt: skip


def _alpha(formula: str, element: str, edge: str, line: str, angle_in: float, angle_out: float) -> float:
    import xraydb

    for name, angle in (("angle_in", angle_in), ("angle_out", angle_out)):
        if not 0 < angle <= 90:
            raise ValueError(f"{name} must be above 0 and up to 90 degrees to the sample's surface, got {angle!r}")
    try:
        parts = xraydb.chemparse(formula)
    except ValueError as error:
        raise ValueError(f"formula must be a chemical formula like 'LiNiO2', got {formula!r}: {error}") from error
    if not parts.get(element, 0) > 0:
        told = (
            f"element must be one of {', '.join(sorted(parts))} in {formula!r}, with an amount above 0, got {element!r}"
        )
        raise ValueError(told + (did_you_mean(element, parts) or "; pass element=…"))
    edges, lines = xraydb.xray_edges(element), xraydb.xray_lines(element)
    if edge not in edges:
        raise ValueError(f"edge must be one of {', '.join(edges)} of {element}, got {edge!r}")
    families = {name[:2] for name in lines} - {name for name in lines if len(name) == 2}
    if line not in lines and line not in families:
        hint = did_you_mean(line, lines) or f"; it has {', '.join(lines)}"
        raise ValueError(f"line must be a line of {element}, got {line!r}{hint}")
    at = float(edges[edge].energy)
    emitted = float(xraydb.xray_line(element, line).energy)
    leaving, below, above = xraydb.material_mu(formula, np.array([emitted, at - BESIDE, at + BESIDE]), density=1.0)
    geometry = np.sin(np.deg2rad(angle_in)) / np.sin(np.deg2rad(angle_out))
    return float((below + leaving * geometry) / (above - below))


def _slope(measured: Any, alpha: float) -> Any:
    """Return dN/dM, NaN where no absorption gives M."""
    left = alpha + 1.0 - measured
    return alpha * (alpha + 1.0) / xr.where(left > 0, left, np.nan) ** 2


def _corrected(series: xr.Dataset, name: str, alpha: float) -> dict[str, xr.Variable]:
    measured = series[name]
    dims = [str(dim) for dim in measured.dims]
    left = alpha + 1.0 - measured
    true = measured * alpha / xr.where(left > 0, left, np.nan)
    told = f"{measured.attrs.get('long_name', name)}, over-absorption corrected"
    found = {name: quantity(dims, true.transpose(*dims).data, "1", told)}
    if f"{name}_sigma" in series:
        sigma = series[f"{name}_sigma"]
        found[f"{name}_sigma"] = quantity(
            dims, (sigma * np.abs(_slope(measured, alpha))).transpose(*dims).data, "1", f"1 sigma of {name}"
        )
    return found


def _tell(measured: np.ndarray, alpha: float) -> None:
    lost = int((measured >= alpha + 1.0).sum())
    most = float(np.nanmax(np.where(measured < alpha + 1.0, measured, np.nan), initial=0.0))
    slope = alpha * (alpha + 1.0) / (alpha + 1.0 - most) ** 2
    if lost or slope > STRONG:
        found = f"{lost} points exceed alpha + 1 = {alpha + 1:.3f} and become NaN" if lost else (
            f"noise grows up to {slope:.0f} times (alpha {alpha:.3f}, measured up to {most:.2f})"
        )  # fmt: skip
        warnings.warn(
            f"xas.over_absorption: {found}; the sample is thinner, more dilute or mounted otherwise than stated",
            UserWarning,
            stacklevel=3,
        )
