"""Cell parameters from peak positions, frame by frame, in any crystal system."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from batlab import io
from batlab.curves import metric
from batlab.curves.lines import space_group_of
from batlab.errors import choose, did_you_mean
from batlab.schema import quantity, record, require
from batlab.xrd import correction as corrections
from batlab.xrd import least_squares
from batlab.xrd.correction import CORRECTIONS, Scale
from batlab.xrd.index import axis_of, index_peaks, labels

ROUNDS = 4  # of linearising a correction that the sample's own lines determine
# Of its width, beside what it counts: no profile is quite a pseudo-Voigt, backgrounds bend, strangers hide. Chosen on
# the virtual beamline (`simulate`), as what makes the planted cells lie within their σ.
PROFILE = 0.007


def refine_cell(
    peaks: xr.Dataset,
    structure: Any,
    *,
    phase: str | None = None,
    lines: list[str] | None = None,
    standard: Any = None,
    correction: str | None = None,
    radius: float | None = None,
    tolerance: float = 0.01,
) -> xr.Dataset:
    """Return the cell parameters of a phase in every frame, each with its σ.

    ``1/d²`` is linear in the reciprocal metric tensor, of which the space group leaves 1 (cubic) to 6 (triclinic)
    numbers free: one weighted linear least-squares fit a frame, without start values. σ are propagated to the direct
    cell with all covariances. Where lines disagree beyond their σ (χ² above dof by more than its own standard
    deviation), an extra scatter equal for all lines in position brings χ² to dof (Paule and Mandel,
    doi:10.6028/jres.087.022), so that the σ grow with the disagreement and one strong but wrong line cannot outvote
    the rest. To the counting σ of a place 0.7 % of the line's width is added in squares: no profile is quite a
    pseudo-Voigt. How much was chosen on simulations (the virtual beamline), not derived.
    With three or more spare lines, one that the others deny (Student's t, 5 % a frame, and more than 3 σ)
    is dropped, see ``used``; a line denied in more than a third of the frames that can judge it, and in five, is
    dropped in all, see ``attrs["dropped_lines"]``.

    Parameters
    ----------
    peaks
        Over (``frame``, ``peak``), from ``curves.fit_peaks``, in q or 2θ. Peaks of ``status`` 2 or more are not used.
        A table without any ``hkl`` is indexed first (``xrd.index_peaks``, within `tolerance`).
    structure
        CIF file or structure Dataset of the phase: its space group says what is free. Its cell only indexes.
    phase
        Name of the phase in the peak table; by default the structure's.
    lines
        Use only these reflections, e.g. ``["4 0 0"]``.
    standard
        Structure of an internal standard whose lines are in the table (aluminium foil, Si): its cell is held, its
        lines give the correction of each frame, and the σ of that enters the σ of the cell.
    correction
        ``"zero_shift"`` (default with a `standard`), ``"displacement"`` (Bragg-Brentano, ``Δ2θ = -2 (s/R) cos θ``),
        ``"distance"`` (flat detector). Without a `standard` it is refined from the phase's own lines. Default: none.
    radius
        Goniometer radius R in mm: the displacement is then given in mm, else as s/R.
    tolerance
        For indexing, see ``xrd.index_peaks``.

    Returns
    -------
    xarray.Dataset
        Over ``frame``: ``a b c`` [angstrom], ``alpha beta gamma`` [degree], ``volume`` [angstrom³], each with
        ``_sigma`` (0 where symmetry fixes it); ``chi2_reduced`` (without the extra scatter; NaN without spare lines),
        ``scatter`` (the extra 1 σ of position), ``n_lines``, the correction. Over (frame, peak): ``residual`` of
        position and ``used``; with a standard ``standard_check``: the relative error in d of each of its lines after
        correction by the others. NaN where the lines of a frame do not determine the cell.

    Raises
    ------
    ValueError
        No peak of the phase, unknown `lines` or `correction`, a `radius` without a displacement, or reflections
        that cannot determine the cell.
    DimensionError, SchemaError
        Not a peak table.

    Warns
    -----
    UserWarning
        Lines dropped in all frames that lie off by half their width or more, with how far; or no frame
        determines the cell.

    Examples
    --------
    >>> import batlab as bl
    >>> cells = bl.xrd.refine_cell(peaks, "nmc811.cif", standard="al.cif")  # doctest: +SKIP
    """
    require(peaks, "xrd.refine_cell", "frame", "peak", hint="make the table with curves.fit_peaks")
    crystal, reference = io.structure(structure), None if standard is None else io.structure(standard)
    if correction is None and reference is not None:
        correction = "zero_shift"
    choose("correction", correction, (*CORRECTIONS, None))
    if radius is not None and not (correction == "displacement" and radius > 0):
        raise ValueError(f"radius must be positive and goes with correction='displacement', got {radius!r}")
    table = _indexed(peaks, crystal, reference, tolerance)
    scale = Scale(*axis_of(table))
    hkl, owner = labels(table)
    name = str(crystal.attrs.get("phase", "")) if phase is None else phase
    chosen = _chosen(hkl, owner, name, lines)
    position, sigma = _observed(table)
    free = metric.free_parameters(space_group_of(crystal))
    factors = metric.terms(metric.miller(list(hkl[chosen]))) @ free
    _refuse_undetermined(factors, hkl[chosen], name)
    extra: dict[str, xr.Variable] = {}
    shift = np.zeros((2, len(position)))
    if reference is not None and correction is not None:
        held = np.flatnonzero((owner == _standard_name(reference, owner, name)) & (hkl != ""))
        shift, extra = _held_standard(position[:, held], sigma[:, held], hkl, held, reference, scale, correction)
    held_shift = None if reference is None else shift
    solved, wrong = _agreed(position[:, chosen], sigma[:, chosen], factors, scale, correction, held_shift)
    if correction is not None:
        value, error = shift if reference is not None else solved.shift
        extra |= corrections.describe(value, error, correction, scale, radius)
    _tell_dropped(hkl[chosen], solved, wrong, _widths(table)[:, chosen].max(axis=0, initial=0.0), name)
    values, errors = metric.direct_cell(solved.parameters, solved.covariance, free)
    result = _cells(table, values, errors, solved, chosen, scale).assign(extra)
    result.attrs.update(phase=name, crystal_system=str(crystal.attrs.get("crystal_system", "")))
    result.attrs.update(correction=correction or "none", dropped_lines=", ".join(hkl[chosen[wrong]]))
    return record(
        result,
        "xrd.refine_cell",
        structure=structure,
        phase=phase,
        lines=lines,
        standard=standard,
        correction=correction,
        radius=radius,
        tolerance=tolerance,
    )


def _tell_dropped(hkl: np.ndarray, solved: Solved, wrong: np.ndarray, width: np.ndarray, name: str) -> None:
    """Warn of lines dropped throughout that lie off by half their `width` (line,) or more; 0 if unknown."""
    off = [float(np.median(np.abs(known))) if bad and (known := column[np.isfinite(column)]).size else 0.0
           for column, bad in zip(solved.residual.T, wrong)]  # fmt: skip
    told = ", ".join(f"{line} (by {by:.3g})" for line, by, wide in zip(hkl, off, width) if by > 0.5 * wide)
    if told:
        warnings.warn(
            f"lines of {name} lie where its other lines do not put them and are not used: {told}, in units of the "
            "axis; something else may lie there: name it in curves.fit_peaks(near=…), or choose lines=…",
            UserWarning,
            stacklevel=3,
        )


def _widths(peaks: xr.Dataset) -> np.ndarray:
    """Return (frame, peak) the full widths, 0 where unknown."""
    if "fwhm" not in peaks:
        return np.zeros((peaks.sizes["frame"], peaks.sizes["peak"]))
    return np.nan_to_num(np.asarray(peaks["fwhm"].transpose("frame", "peak").values, dtype=float))


class Solved(NamedTuple):
    """The fit of all frames."""

    parameters: np.ndarray
    covariance: np.ndarray
    shift: np.ndarray  # (2, frame): value, sigma
    fit: least_squares.Fit
    residual: np.ndarray  # (frame, line), in position


def _indexed(peaks: xr.Dataset, crystal: xr.Dataset, reference: xr.Dataset | None, tolerance: float) -> xr.Dataset:
    if (labels(peaks)[0] != "").any():
        return peaks
    named = peaks if reference is None else index_peaks(peaks, reference, tolerance=tolerance)
    return index_peaks(named, crystal, tolerance=tolerance)


def _chosen(hkl: np.ndarray, owner: np.ndarray, name: str, lines: list[str] | None) -> np.ndarray:
    """Return the columns of the peak table that are lines of the phase."""
    mine = (hkl != "") & (owner == name)
    if not mine.any():
        known = sorted({str(text) for text in owner[hkl != ""]})
        listed = ", ".join(map(repr, known)) or "none"
        raise ValueError(f"no peak belongs to phase {name!r}; the table has {listed}: pass phase=…, or index the peaks")
    if lines is None:
        return np.flatnonzero(mine)
    wanted = [" ".join(str(line).replace(",", " ").split()) for line in lines]
    for line in wanted:
        if line not in hkl[mine]:
            hint = did_you_mean(line, hkl[mine]) or f"; it has {', '.join(hkl[mine])}"
            raise ValueError(f"lines must be reflections of {name!r} in the peak table, got {line!r}{hint}")
    return np.flatnonzero(mine & np.isin(hkl, wanted))


def _observed(peaks: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return position and σ (frame, peak), NaN where the fit gave none worth using."""
    position, sigma = (
        np.array(peaks[name].transpose("frame", "peak").values, dtype=float) for name in ("position", "position_sigma")
    )
    good = np.isfinite(position) & np.isfinite(sigma) & (sigma > 0)
    if "status" in peaks:
        good &= peaks["status"].transpose("frame", "peak").values <= 1
    sigma = np.hypot(sigma, PROFILE * _widths(peaks))
    return np.where(good, position, np.nan), np.where(good, sigma, np.nan)


def _refuse_undetermined(factors: np.ndarray, hkl: np.ndarray, name: str) -> None:
    if np.linalg.matrix_rank(factors) < factors.shape[1]:
        raise ValueError(
            f"{factors.shape[1]} free cell parameters of {name!r} cannot be had from the reflections "
            f"{', '.join(hkl)}; fit more lines"
        )


def _standard_name(reference: xr.Dataset, owner: np.ndarray, name: str) -> str:
    label = str(reference.attrs.get("phase", ""))
    if label == name or label not in owner:
        known = ", ".join(repr(text) for text in sorted({str(text) for text in owner}) if text != name)
        raise ValueError(f"standard is {label!r}, the peak table has beside {name!r} the phases {known or 'none'}")
    return label


def _held_standard(
    position: np.ndarray,
    sigma: np.ndarray,
    hkl: np.ndarray,
    held: np.ndarray,
    reference: xr.Dataset,
    scale: Scale,
    correction: str,
) -> tuple[np.ndarray, dict[str, xr.Variable]]:
    expected = corrections.expected_places(reference, list(hkl[held]), scale)
    value, error, check, check_sigma = corrections.from_standard(position, sigma, expected, scale, correction)
    wide = np.full((2, len(position), len(hkl)), np.nan)
    wide[0][:, held], wide[1][:, held] = check, check_sigma
    told = "relative error in d of a line of the standard, corrected by its other lines"
    return np.stack([value, error]), {
        "standard_check": quantity(("frame", "peak"), wide[0], "1", told),
        "standard_check_sigma": quantity(("frame", "peak"), wide[1], "1", "1 sigma of standard_check"),
    }


def _agreed(
    position: np.ndarray,
    sigma: np.ndarray,
    factors: np.ndarray,
    scale: Scale,
    correction: str | None,
    held: np.ndarray | None,
) -> tuple[Solved, np.ndarray]:
    """Solve, and once more without the lines that the others deny throughout; return which those are."""
    solved = _solve(position, sigma, factors, scale, correction, held)
    wrong = least_squares.denied(solved.fit, np.isfinite(sigma))
    if not wrong.any() or np.linalg.matrix_rank(factors[~wrong]) < factors.shape[1]:
        return solved, np.zeros_like(wrong)
    return _solve(position, np.where(wrong, np.nan, sigma), factors, scale, correction, held), wrong


def _solve(
    position: np.ndarray,
    sigma: np.ndarray,
    factors: np.ndarray,
    scale: Scale,
    correction: str | None,
    held: np.ndarray | None,
) -> Solved:
    """Fit the metric; with `held` (value, σ) the correction is applied, else refined where one is named."""
    n_frames, n_free = len(position), factors.shape[1]
    value, error = np.zeros((2, n_frames)) if held is None else held
    refined = held is None and correction is not None
    for _ in range(ROUNDS if refined else 1):
        moved = np.zeros_like(position) if correction is None else corrections.shape(position, scale, correction)
        true = position - value[:, None] * moved
        steep = corrections.lever(true, scale)
        design = np.broadcast_to(factors, (n_frames, *factors.shape))
        if refined:
            design = np.concatenate([design, (moved * steep)[..., None]], axis=2)
        fit = least_squares.fit(design, corrections.inverse_d2(true, scale), np.abs(steep) * sigma, np.abs(steep))
        if refined:
            value = value + fit.parameters[:, -1]
            error = np.sqrt(fit.covariance[:, -1, -1])
    parameters, covariance = fit.parameters[:, :n_free], fit.covariance[:, :n_free, :n_free]
    if held is not None:
        covariance = covariance + _common_error(fit, factors, moved, steep, sigma, error)
    model = np.einsum("np,fp->fn", factors, parameters)
    inverse = corrections.inverse_d2(true, scale)
    return Solved(parameters, covariance, np.stack([value, error]), fit, (inverse - model) / steep)


def _common_error(
    fit: least_squares.Fit,
    factors: np.ndarray,
    moved: np.ndarray,
    steep: np.ndarray,
    sigma: np.ndarray,
    error: np.ndarray,
) -> np.ndarray:
    """Return what the σ of the standard's correction, one error for all lines, adds to the covariance."""
    total = steep**2 * (sigma**2 + fit.scatter[:, None] ** 2)
    pull = np.where(fit.used, moved * steep / np.where(fit.used, total, 1.0), 0.0)
    along = np.einsum("fpq,nq,fn->fp", fit.covariance, factors, pull) * error[:, None]
    return along[:, :, None] * along[:, None, :]


def _cells(
    peaks: xr.Dataset, values: np.ndarray, errors: np.ndarray, solved: Solved, chosen: np.ndarray, scale: Scale
) -> xr.Dataset:
    units = (
        {"volume": "angstrom^3"} | dict.fromkeys(metric.LENGTHS, "angstrom") | dict.fromkeys(metric.ANGLES, "degree")
    )
    data = {}
    for column, name in enumerate(metric.CELL):
        told = "cell volume" if name == "volume" else f"cell parameter {name}"
        data[name] = quantity("frame", values[:, column], units[name], told)
        data[f"{name}_sigma"] = quantity("frame", errors[:, column], units[name], f"1 sigma of {told}")
    step = "degree" if scale.axis == "two_theta" else "1/angstrom"
    n_lines = solved.fit.used.sum(axis=1)
    wide = np.full((len(values), peaks.sizes["peak"]), np.nan)
    wide[:, chosen] = solved.residual
    used = np.zeros(wide.shape, dtype=bool)
    used[:, chosen] = solved.fit.used & np.isfinite(values[:, :1])
    data |= {
        "chi2_reduced": quantity("frame", solved.fit.chi2_reduced, "1", "reduced chi squared of the positions"),
        "scatter": quantity("frame", solved.fit.scatter, step, "scatter of the lines beyond counting statistics"),
        "n_lines": quantity("frame", n_lines, "1", "number of lines used"),
        "residual": quantity(("frame", "peak"), wide, step, "observed minus calculated position"),
        "used": quantity(("frame", "peak"), used, "1", "whether the line was used"),
    }
    if not np.isfinite(values[:, 0]).any():
        warnings.warn(
            f"no frame determines the cell: at most {int(n_lines.max(initial=0))} lines were fitted, in "
            f"{len(values)} frames; look at the status of the peaks",
            UserWarning,
            stacklevel=3,
        )
    attrs = {key: value for key, value in peaks.attrs.items() if key not in ("axis",)}
    return xr.Dataset(data, {name: c.variable for name, c in peaks.coords.items()}, attrs | {"axis": scale.axis})
