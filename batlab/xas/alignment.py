"""One energy scale for a whole series, from the reference foil behind the sample."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from batlab.errors import SchemaError, choose
from batlab.schema import record
from batlab.xas import edge_matching
from batlab.xas.edge_matching import Match, drift_of, inflection, steepest
from batlab.xas.energy_moving import curves_at, grid_moved, interpolated
from batlab.xas.xanes_series import Spectra, spectra_of

DRIFTS = {"per_frame": None, "constant": 0, "linear": 1, "quadratic": 2}
MATCHES = ("spectrum", "derivative")
STALE = ("mu_norm", "mu_flat", "mu_background", "chi")
HINT = "make it with xas.mu(ds, mode='reference'), or name another channel with reference=…"
WINDOW = (-30.0, 70.0)  # eV about the reference's edge: the edge and its first oscillations
LARGE_SCATTER = 3.0  # times the σ of a shift


def align_energy(
    series: xr.Dataset,
    *,
    reference: str = "mu_reference",
    to: Any = None,
    drift: str = "per_frame",
    match: str = "spectrum",
    window: tuple[float, float] | None = None,
    max_shift: float = 5.0,
) -> xr.Dataset:
    """Bring all frames onto one energy scale, by the spectrum of a reference that was measured with each.

    The reference of frame *i* is fitted as ``a + b E + c T(E + energy_shift)``, T the mean of the aligned references
    (or the spectrum given as `to`), which finds shifts far below the grid's step. ``energy_shift`` is what was added
    to the energies of a frame. With a drift model the shifts are those of the model, fitted to all frames with
    their σ and with an equal extra scatter where they scatter more; then frames without a usable reference are
    shifted too.

    The series keeps its one energy grid: with shifts that differ, every curve over (``frame``, ``energy``) is
    interpolated back onto it (cubic through the four nearest points; σ carried through the same weights, without the
    correlation that interpolation makes between neighbours), and points at the ends that some frame does not reach
    are left out for all. A shift common to all frames (``drift="constant"``, or a single scan) moves the grid itself
    and touches no spectrum.

    Parameters
    ----------
    series
        Over (``frame``, ``energy``) or ``energy`` (a single scan), with the reference's absorption.
    reference
        Variable that holds the absorption of the reference [1].
    to
        None: the first frame's scale. A number: tabulated edge energy of the reference [eV], where its slope is
        largest (Ni 8333, Fe 7112). A spectrum of the reference on the true scale: DataArray over ``energy``, or a
        single scan with that variable, or else with ``mu``.
    drift
        ``"per_frame"``: each frame its own shift. ``"constant"``, ``"linear"``, ``"quadratic"``: a polynomial in
        ``time``, or in the frame's number where the series has no times.
    match
        ``"spectrum"`` (smallest σ) or ``"derivative"`` (blind to slow changes of the background).
    window
        From, to [eV] about the reference's edge; (-30, 70) by default.
    max_shift
        Largest shift that is believed [eV]; a frame beyond it counts as one without reference.

    Returns
    -------
    xarray.Dataset
        Aligned, with ``energy_shift`` and ``energy_shift_sigma`` (frame) [eV]; with a drift model also
        ``energy_shift_measured`` with σ and the attribute ``drift_scatter`` [eV]. The attribute ``energy_alignment``
        says what was done. An ``energy_shift`` that a file brought (what ROCK has applied, what Athena would apply) is
        kept as ``energy_shift_in_file``.

    Raises
    ------
    ValueError
        If the series was aligned before or normalized; for unknown words; if nothing can be matched.
    DimensionError, SchemaError
        No ``energy``, or no such reference.

    Warns
    -----
    UserWarning
        Frames without a usable reference; shifts that scatter about the drift model by more than three times their σ.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> energy = np.arange(8300.0, 8420.0, 0.5)
    >>> foil = [np.arctan((energy - 8333.0 + s) / 1.5) + np.exp(-((energy - 8352 + s) / 8) ** 2) for s in (0, 0.2, 0.4)]
    >>> series = xr.Dataset({name: quantity(("frame", "energy"), np.array(foil), "1", name)
    ...                      for name in ("mu", "mu_reference")},
    ...                     {"energy": quantity("energy", energy, "eV", "energy")})
    >>> align_energy(series).energy_shift.values.round(3).tolist()
    [0.0, 0.2, 0.4]
    """
    choose("drift", drift, DRIFTS)
    choose("match", match, MATCHES)
    _refuse_done(series)
    if "energy_shift" in series.variables:
        series = series.rename(energy_shift="energy_shift_in_file")
    if not (np.isfinite(max_shift) and max_shift > 0):
        raise ValueError(f"max_shift must be positive, in eV, got {max_shift!r}")
    spectra = spectra_of(series, reference, "xas.align_energy", HINT)
    if to is None and (drift == "constant" or spectra.is_single):
        raise ValueError(
            "to must be an edge energy or a spectrum for a single scan or drift='constant', got None: a common shift "
            "against the first frame is 0"
        )
    found = _against(spectra, to, reference, window, max_shift, match)
    if not np.isfinite(found.raw.shift).any():
        raise ValueError(
            f"{reference!r} of no frame can be matched within {max_shift:g} eV; check the channel, or raise max_shift"
        )
    shift, sigma, extra, scatter = _modelled(series, spectra, found, DRIFTS[drift], to is None)
    _tell(found, drift, scatter)
    common = spectra.is_single or drift == "constant"
    result = (grid_moved(series, float(shift[0])) if common else interpolated(series, shift)).assign(extra)
    result["energy_shift"] = spectra.per_frame(shift, "eV", "energy added to the scale of each frame")
    result["energy_shift_sigma"] = spectra.per_frame(sigma, "eV", "1 sigma of energy_shift")
    told = "first frame" if to is None else "spectrum" if _is_labelled(to) else f"{float(to):g} eV"
    how = "grid moved" if common else "interpolated onto the common grid"
    result.attrs["energy_alignment"] = f"reference={reference}; to={told}; drift={drift}; match={match}; {how}"
    if drift != "per_frame":
        result.attrs["drift_scatter"] = float(scatter)
    return record(
        result, "xas.align_energy", reference=reference, to=to, drift=drift, match=match, window=window,
        max_shift=max_shift,
    )  # fmt: skip


class Found(NamedTuple):
    """Shifts against a template, and how the template lies on the scale asked for."""

    raw: Match
    offset: float  # eV, to be added to the shifts
    common: float  # its σ
    first: int  # the first frame with a reference


def _refuse_done(series: xr.Dataset) -> None:
    if "energy_alignment" in series.attrs:
        told = series.attrs["energy_alignment"]
        raise ValueError(f"the series is aligned already ({told}); start from the series as read")
    stale = [name for name in STALE if name in series]
    if stale:
        raise ValueError(f"xas.align_energy comes before normalization, got a series with {', '.join(stale)}")


def _is_labelled(to: Any) -> bool:
    return isinstance(to, (xr.Dataset, xr.DataArray))


def _against(
    spectra: Spectra, to: Any, reference: str, window: tuple[float, float] | None, reach: float, kind: str
) -> Found:
    """Return the shifts against the template that `to` asks for."""
    energy, rows = spectra.energy, spectra.values
    usable = np.flatnonzero(np.isfinite(rows).sum(axis=1) > 0.5 * len(energy))
    if not len(usable):
        raise ValueError(f"{reference!r} is NaN in more than half of the points of every frame; check the channel")
    first = int(usable[0])
    edge = steepest(energy, rows[first])
    if _is_labelled(to):
        template = _given(to, reference)
        span = _span(energy, template.x, edge, window, reach)
        return Found(edge_matching.match(energy, rows, template, span, reach, kind), 0.0, 0.0, first)
    span = _span(energy, energy, edge, window, reach)
    template = edge_matching.spline(energy, rows[first])
    for _ in range(2 if len(usable) > 1 else 0):  # from the first frame to the mean of all
        template = _mean(energy, rows, edge_matching.match(energy, rows, template, span, reach, kind), template)
    raw = edge_matching.match(energy, rows, template, span, reach, kind)
    if to is None:
        return Found(raw, -float(raw.shift[first]), float(raw.sigma[first]), first)
    curve = template(energy)
    place, error = inflection(energy, curve, steepest(energy, curve))
    if not abs(float(to) - place) <= reach:
        raise ValueError(
            f"to is {float(to):g} eV, but the edge of {reference!r} lies at {place:.2f} eV, more than "
            f"max_shift={reach:g} away; check the element, or raise max_shift"
        )
    return Found(raw, float(to) - place, error, first)


def _given(to: xr.Dataset | xr.DataArray, reference: str) -> CubicSpline:
    """Return the curve of a reference spectrum that the user gives."""
    if isinstance(to, xr.Dataset):
        name = reference if reference in to else "mu"
        if name not in to:
            raise SchemaError(f"to must hold {reference!r} or 'mu', got {', '.join(map(str, to.data_vars))}")
        to = to[name]
    if to.dims != ("energy",):
        raise SchemaError(f"to must be one spectrum over ('energy',), got {tuple(map(str, to.dims))}; choose with isel")
    return edge_matching.spline(np.asarray(to["energy"].values, dtype=float), np.asarray(to.values, dtype=float))


def _span(
    energy: np.ndarray, known: np.ndarray, edge: float, window: tuple[float, float] | None, reach: float
) -> tuple[float, float]:
    """Return the window in eV, where the template is known whatever the shift."""
    low, high = WINDOW if window is None else window
    if not low < high:
        raise ValueError(f"window must be (from, to) in eV about the edge, from below to, got {window!r}")
    span = max(edge + low, known[0] + reach), min(edge + high, known[-1] - reach)
    n_points = int(((energy >= span[0]) & (energy <= span[1])).sum())
    if n_points < 12 or not span[0] < edge < span[1]:
        raise ValueError(
            f"the window holds {n_points} points from {span[0]:g} to {span[1]:g} eV about an edge at {edge:.1f} eV; "
            "12 and the edge are needed: widen window, or lower max_shift"
        )
    return span


def _mean(energy: np.ndarray, rows: np.ndarray, last: Match, template: CubicSpline) -> CubicSpline:
    """Return the mean of the aligned references, each scaled to the template by its own amplitude."""
    good = np.isfinite(last.shift)
    if good.sum() < 2:
        return template
    moved = curves_at(energy, rows[good], last.shift[good])
    gap = moved - template(energy) * last.terms[good, 2:]
    gap /= last.terms[good, 2:]
    known = np.isfinite(gap)
    centred = np.where(known, gap, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return edge_matching.spline(energy, template(energy) + centred)


def _modelled(
    series: xr.Dataset, spectra: Spectra, found: Found, degree: int | None, from_first: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, xr.Variable], float]:
    """Return shift and σ to apply, the measured ones where a model stands between, and the scatter about it."""
    measured, sigma = found.raw.shift + found.offset, np.hypot(found.raw.sigma, found.common)
    if from_first:
        sigma[found.first] = 0.0
    if degree is None:
        return measured, sigma, {}, 0.0
    extra = {
        "energy_shift_measured": spectra.per_frame(measured, "eV", "energy shift of each frame as measured"),
        "energy_shift_measured_sigma": spectra.per_frame(sigma, "eV", "1 sigma of energy_shift_measured"),
    }
    held = found.first if from_first else None
    drift, error, scatter = drift_of(_along(series, len(measured)), found.raw.shift, found.raw.sigma, degree, held)
    if from_first:
        return drift, error, extra, scatter
    return drift + found.offset, np.hypot(error, found.common), extra, scatter


def _along(series: xr.Dataset, n_frames: int) -> np.ndarray:
    """Return the seconds since the first frame, or the frame's number where not all times are known."""
    if "time" in series.variables and series["time"].dims == ("frame",):
        times = series["time"].values
        if times.dtype.kind == "M" and not np.isnat(times).any() and np.ptp(times) > np.timedelta64(0):
            return (times - times[0]) / np.timedelta64(1, "s")
    return np.arange(n_frames, dtype=float)


def _tell(found: Found, drift: str, scatter: float) -> None:
    lost = int((~np.isfinite(found.raw.shift)).sum())
    if lost:
        then = "their spectra become NaN; use drift='linear'" if drift == "per_frame" else "they follow the drift model"
        warnings.warn(
            f"xas.align_energy: {lost} of {len(found.raw.shift)} frames have no usable reference: {then}",
            UserWarning,
            stacklevel=3,
        )
    typical = float(np.nanmedian(found.raw.sigma))
    if scatter > LARGE_SCATTER * typical:
        warnings.warn(
            f"xas.align_energy: shifts scatter by {scatter:.3g} eV about the {drift} drift, their own sigma is "
            f"{typical:.2g} eV; drift='per_frame' follows them",
            UserWarning,
            stacklevel=3,
        )
