"""Normalization against tabulated absorption (MBACK): the edge step that the element itself prescribes."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import erfc

from batlab.schema import record
from batlab.xas.xanes_series import Spectra, numbers_of, polynomial_basis, same_rows, spectra_of

FUNCTION = "xas.mback"
HIGHEST = 6  # order of the polynomial
FEWEST, BLOCKS = 4, 8  # points in a window; parts of the upper window that tell the σ
LINES = {"K": "Ka1", "L3": "La1", "L2": "Lb1", "L1": "Lb3"}
NEXT_EDGE = {"L3": "L2", "L2": "L1"}
SHORT = 100.0  # eV after the edge, below which the table's slope is hardly seen
LARGE = 0.2  # of the edge step from xas.normalize, by which the two may differ
# eV from the edge between which the table's own power laws are taken: nearer, its edge is broadened.
TABLE_NEAR, TABLE_FAR = 100.0, 500.0
CLEAR = 20.0  # eV before the next edge, where the upper window ends
WIDTHS = np.geomspace(10.0, 1000.0, 25)  # eV, tried for the complementary error function


def mback(
    series: xr.Dataset,
    *,
    element: str | None = None,
    edge: str | None = None,
    e0: float | None = None,
    pre: tuple[float, float] | None = None,
    post: tuple[float, float] | None = None,
    order: int = 1,
    emission: bool = False,
) -> xr.Dataset:
    """Normalize a series by matching it to tabulated f″ below and above the edge.

    ``mu(E) = scale · f″(E) + Σ cⱼ (E - E0)ʲ`` [+ ``A erfc((E - E_emission) / ξ)``]

    by linear least squares over both windows, each window with one and the same total weight whatever its number of
    points (Weng et al. [1]_). f″ is Chantler's [2]_ (xraydb), moved so that its edge lies at the series' E0. The edge
    step is `scale` times the jump of f″, each side extrapolated to E0 by the power law that it follows 100 to 500 eV
    away, so that it hangs neither on oscillations nor on a polynomial after the edge. With ``order=1`` this is the
    match that larch calls ``mback_norm``, whose step, from straight lines through f″, is 1 to 2 % lower; higher
    orders and the error function are for scattered light in fluorescence over long ranges.

    Parameters
    ----------
    series
        ``mu`` over (``frame``, ``energy``) or ``energy``; ``e0`` from `xas.normalize`, or as a keyword.
    element, edge
        By default those in ``attrs``, the edge else K.
    e0
        Edge energy [eV] for all frames. The table is moved to the median of ``e0`` otherwise.
    pre, post
        Windows (from, to) [eV] relative to E0; by default from the first energy to -50 (or half way to it), and from
        100 (or a quarter of the way) to the last energy. L3 and L2 end 20 eV before the next edge.
    order
        Of the polynomial, 0 to 6.
    emission
        Add the complementary error function at the energy of the main emission line, its width ξ one for the series,
        the best of 10 to 1000 eV.

    Returns
    -------
    xarray.Dataset
        A copy with ``mu_norm`` (unit step at E0, falling above as the table does), ``mu_flat`` (divided by that fall),
        ``edge_step`` with σ, ``mback_background`` (all but the edge itself) and ``mback_match`` [1]. σ of the edge step
        by jackknife over eighths of the upper window, so that oscillations and misfit are in it.

    Raises
    ------
    ValueError
        Unknown element or edge, windows out of range, order, or an edge that does not rise.
    DimensionError, SchemaError
        No ``mu``, no ``e0``.

    Warns
    -----
    UserWarning
        Less than 100 eV in the upper window, or a step 20 % off that of `xas.normalize`.

    References
    ----------
    .. [1] Weng, Waldo and Penner-Hahn, J. Synchrotron Rad. 12, 506 (2005), doi:10.1107/S0909049504034193.
    .. [2] Chantler, J. Phys. Chem. Ref. Data 29, 597 (2000), doi:10.1063/1.1321055.

    Examples
    --------
    >>> import batlab as bl
    >>> series = bl.xas.normalize(bl.xas.mu(bl.open("cu_metal_rt.xdi")))  # doctest: +SKIP
    >>> float(bl.xas.mback(series).edge_step)  # doctest: +SKIP
    2.73
    """
    if isinstance(order, bool) or not isinstance(order, int) or not 0 <= order <= HIGHEST:
        raise ValueError(f"order must be a whole number from 0 to {HIGHEST}, got {order!r}")
    spectra = spectra_of(series, "mu", FUNCTION, "make it with xas.mu")
    edges = numbers_of(series, "e0", len(spectra.values), FUNCTION, "run xas.normalize first") if e0 is None else None
    centre = float(np.nanmedian(edges)) if edges is not None else float(e0 or 0.0)
    element = str(series.attrs.get("element", "")) if element is None else element
    edge = str(series.attrs.get("edge", "K")) if edge is None else edge
    table = _table(spectra.energy, element, edge, centre)
    below, above = _windows(spectra.energy, element, edge, centre, pre, post)
    found = _matched(spectra, table, below, above, centre, order, table.emission if emission else None)
    if not (np.isnan(found.scale) | (found.scale > 0)).all():
        raise ValueError(
            f"the absorption of {int((found.scale <= 0).sum())} frames does not rise at the {element} {edge} edge, "
            f"{centre:.1f} eV; check element, edge and e0"
        )
    stale = [f"{name}_sigma" for name in ("mu_norm", "mu_flat") if f"{name}_sigma" in series]
    result = series.drop_vars(stale).assign(_variables(series, spectra, table, found, centre))
    _tell(series, spectra, result, above)
    result.attrs.update(
        mback_order=order, mback_pre=_span(spectra, below, centre), mback_post=_span(spectra, above, centre)
    )
    return record(
        result, FUNCTION, element=element, edge=edge, e0=e0, pre=pre, post=post, order=order, emission=emission
    )  # fmt: skip


class Table(NamedTuple):
    """f″ on the series' grid, split at the edge."""

    whole: np.ndarray
    rest: np.ndarray  # of the other shells, extrapolated above the edge
    jump: np.ndarray  # of the edge itself, extrapolated below it
    step: float  # jump at E0
    emission: float  # eV


class Matched(NamedTuple):
    """Of each frame."""

    scale: np.ndarray
    scale_sigma: np.ndarray
    smooth: np.ndarray  # (frame, point): polynomial and error function


def _table(energy: np.ndarray, element: str, edge: str, e0: float) -> Table:
    import xraydb

    try:
        xraydb.atomic_number(element)
    except ValueError as error:
        raise ValueError(f"element must be a chemical symbol, got {element!r}; pass element=…") from error
    edges = xraydb.xray_edges(element)
    if edge not in edges:
        raise ValueError(f"edge must be one of {', '.join(edges)} of {element}, got {edge!r}")
    at = float(edges[edge].energy)
    if not abs(e0 - at) < 0.02 * at:
        raise ValueError(
            f"e0 is {e0:.1f} eV, the {element} {edge} edge lies at {at:.1f} eV; check element, edge and e0"
        )
    moved = energy + (at - e0)
    sides = []
    for sign in (-1.0, 1.0):
        nodes = at + sign * np.linspace(*_room(element, edge, at, sign), 40)
        sides.append(np.polynomial.Polynomial.fit(np.log(nodes / at), np.log(xraydb.f2_chantler(element, nodes)), 1))
    bent = [np.exp(side(np.log(np.append(moved, at) / at))) for side in sides]
    jump = bent[1] - bent[0]
    whole = xraydb.f2_chantler(element, moved)
    far = np.append(moved > at + _room(element, edge, at, 1.0)[0], False)
    jump[far] = (np.append(whole, 0.0) - bent[0])[far]  # where the table is its own best description
    emission = float(xraydb.xray_line(element, LINES.get(edge, "Ka1")).energy)
    return Table(whole, bent[0][:-1], jump[:-1], float(jump[-1]), emission + e0 - at)


def _room(element: str, edge: str, at: float, sign: float) -> tuple[float, float]:
    """Return how far from the edge, from and to, the table shows this edge's own side and no other edge."""
    import xraydb

    gaps = [sign * (float(one.energy) - at) for name, one in xraydb.xray_edges(element).items() if name != edge]
    nearest = min((gap for gap in gaps if gap > 0), default=at)
    return float(min(TABLE_NEAR, 0.25 * nearest)), float(min(TABLE_FAR, 0.9 * nearest))


def _windows(
    energy: np.ndarray, element: str, edge: str, e0: float, pre: tuple[float, float] | None,
    post: tuple[float, float] | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    import xraydb

    x = energy - e0
    end = x[-1]
    if edge in NEXT_EDGE and NEXT_EDGE[edge] in xraydb.xray_edges(element):
        end = min(end, float(xraydb.xray_edge(element, NEXT_EDGE[edge]).energy) - e0 - CLEAR)
    pre = (x[0], max(-50.0, 0.5 * x[0])) if pre is None else pre
    post = (min(100.0, 0.25 * end), end) if post is None else post
    masks = []
    for name, (low, high), told in (("pre", pre, "below"), ("post", post, "above")):
        inside = (x >= low) & (x <= high)
        if not low < high or (high >= 0 if name == "pre" else low <= 0) or inside.sum() < FEWEST:
            raise ValueError(
                f"{name} must be (from, to) in eV {told} the edge with at least {FEWEST} points, got "
                f"({low:g}, {high:g}) with {int(inside.sum())}; the energies reach from {x[0]:.1f} to {x[-1]:.1f} eV"
            )
        masks.append(inside)
    return masks[0], masks[1]


def _matched(
    spectra: Spectra, table: Table, below: np.ndarray, above: np.ndarray, e0: float, order: int, emission: float | None
) -> Matched:
    """Fit all frames that have the same points with one matrix."""
    energy = spectra.energy
    plain = [table.whole, *polynomial_basis((energy - e0) / np.ptp(energy), order).T]
    design = np.stack(plain, axis=1)
    if emission is not None:
        tried = [np.stack([*plain, erfc((energy - emission) / width)], axis=1) for width in WIDTHS]
        typical = np.nanmean(spectra.values[np.isfinite(spectra.values).any(axis=1)], axis=0)
        known = np.isfinite(typical)
        misfits = [_misfit(one, typical, below & known, above & known) for one in tried]
        design = tried[int(np.argmin(misfits))]
    scale, spread = np.full((2, len(spectra.values)), np.nan)
    smooth = np.full(spectra.values.shape, np.nan)
    for known, frames in same_rows(np.isfinite(spectra.values)):
        low, high = below & known, above & known
        if min(low.sum(), high.sum()) < FEWEST:
            continue
        inverse = _inverse(design, low, high)
        y = np.where(known, spectra.values[frames], 0.0)
        terms = y @ inverse.T
        scale[frames], smooth[frames] = terms[:, 0], terms[:, 1:] @ design[:, 1:].T
        spread[frames] = _jackknife(design, low, high, energy, y)
    return Matched(scale, spread, smooth)


def _inverse(design: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the matrix (term, point) of the weighted fit: both windows count the same."""
    weight = np.where(low, 1 / np.sqrt(max(low.sum(), 1)), 0.0) + np.where(high, 1 / np.sqrt(max(high.sum(), 1)), 0.0)
    return np.linalg.pinv(design * weight[:, None]) * weight


def _misfit(design: np.ndarray, curve: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    filled = np.where(low | high, curve, 0.0)
    square = (filled - design @ (_inverse(design, low, high) @ filled)) ** 2
    return float(square[low].mean() + square[high].mean())


def _jackknife(design: np.ndarray, low: np.ndarray, high: np.ndarray, energy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the σ of the scale by leaving out an eighth of the upper window at a time, as residuals run together."""
    block = np.clip(((energy - energy[high][0]) / np.ptp(energy[high]) * BLOCKS).astype(int), 0, BLOCKS - 1)
    left = []
    for i in range(BLOCKS):
        kept = high & (block != i)
        if FEWEST <= kept.sum() < high.sum():
            left.append(y @ _inverse(design, low, kept)[0])
    if len(left) < 2:
        return np.full(len(y), np.nan)
    return np.sqrt((len(left) - 1) / len(left) * ((left - np.mean(left, axis=0)) ** 2).sum(axis=0))


def _variables(series: xr.Dataset, spectra: Spectra, table: Table, found: Matched, e0: float) -> dict[str, xr.Variable]:
    step = found.scale * table.step
    rest = found.smooth + found.scale[:, None] * table.rest
    norm = (spectra.values - rest) / step[:, None]
    fall = np.where(spectra.energy < e0, 1.0, table.step / table.jump)
    told = "matched to tabulated f2"
    data = {
        "mu_norm": spectra.curves(norm, "1", f"normalized absorption, {told}"),
        "mu_flat": spectra.curves(norm * fall, "1", f"flattened absorption, {told}"),
        "edge_step": spectra.per_frame(step, "1", f"edge step, {told}"),
        "edge_step_sigma": spectra.per_frame(found.scale_sigma * table.step, "1", "1 sigma of edge_step"),
        "mback_background": spectra.curves(rest, "1", "absorption without the edge"),
        "mback_match": spectra.curves(found.smooth + found.scale[:, None] * table.whole, "1", f"absorption {told}"),
    }
    if spectra.sigma is not None:
        sigma = spectra.sigma / step[:, None]
        data["mu_norm_sigma"] = spectra.curves(sigma, "1", "1 sigma of mu_norm")
        data["mu_flat_sigma"] = spectra.curves(sigma * fall, "1", "1 sigma of mu_flat")
    if "e0" not in series:
        data["e0"] = spectra.per_frame(np.full(len(step), e0), "eV", "edge energy")
    return data


def _span(spectra: Spectra, inside: np.ndarray, e0: float) -> list[float]:
    energy = spectra.energy[inside] - e0
    return [float(energy[0]), float(energy[-1])]


def _tell(series: xr.Dataset, spectra: Spectra, result: xr.Dataset, above: np.ndarray) -> None:
    length = float(np.ptp(spectra.energy[above]))
    if length < SHORT:
        warnings.warn(
            f"{FUNCTION}: {length:.0f} eV above the edge hardly show the table's fall; {SHORT:.0f} eV and more are "
            "needed for a step to be trusted",
            UserWarning,
            stacklevel=3,
        )
    if "edge_step" in series:
        ratio = np.asarray(result["edge_step"] / series["edge_step"], dtype=float)
        far = np.abs(ratio - 1) > LARGE
        if far.any():
            warnings.warn(
                f"{FUNCTION}: the edge step of {int(far.sum())} of {ratio.size} frames is more than {LARGE:.0%} off "
                f"that of xas.normalize (ratio {np.nanmin(ratio):.3f} to {np.nanmax(ratio):.3f})",
                UserWarning,
                stacklevel=3,
            )
