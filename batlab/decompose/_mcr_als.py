"""Multivariate curve resolution by alternating least squares."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from batlab.decompose import augment
from batlab.decompose.augment import Whole
from batlab.decompose.constraints import Constraints, Rules, rules
from batlab.decompose.mcr_result import MCRResult
from batlab.decompose.mcr_start import first_spectra
from batlab.schema import quantity, record

BOLDER, BOLDEST = 1.25, 8.0  # how fast, and how far, a step that pays is stretched


class Found(NamedTuple):
    """Where the alternation ended."""

    concentration: np.ndarray
    spectra: np.ndarray
    misfits: list[float]  # squared, after each iteration
    reason: str
    is_converged: bool


def mcr_als(
    series: xr.DataArray | xr.Dataset | Mapping[str, xr.DataArray | xr.Dataset],
    n_components: int,
    *,
    of: str | None = None,
    init: Any = "pca",
    constraints: Constraints | None = None,
    share: str | None = None,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> MCRResult:
    """Resolve a series into components: concentrations times spectra, ``D = C S + E``.

    Concentrations and spectra are found in turn, each as the constrained least squares of all rows at once. Steps that
    pay are stretched along the way they went; a stretched step that fits worse is taken back. The fit does not say
    that the components are right: any ``C T⁻¹, T S`` that keeps the constraints fits as well. How far they may lie
    apart is what ``decompose.bands`` computes.

    Parameters
    ----------
    series
        Numbers over (``frame``, axis): spectra, patterns, curves. Frames without data are left out (NaN in the result),
        points missing in any frame too. Or several of them by name, see `share`.
    n_components
        How many; see ``decompose.rank``.
    of
        Variable in a Dataset, such as ``"mu_norm"``.
    init
        ``"pca"`` (frames that differ most, by orthogonal projection), ``"simplisma"`` (purest frames),
        ``"efa"`` (evolving factors: for components that come and go in order); or spectra (component, axis), or
        concentrations (frame, component).
    constraints
        See ``decompose.Constraints``; by default neither side is negative.
    share
        Of several series: ``"spectra"`` (charge and discharge on one grid, one below the other) or
        ``"concentrations"`` (several techniques on the same frames, side by side, each divided by its noise).
    max_iterations
        Then it stops and warns.
    tolerance
        It stops when the lack of fit falls by less than this part of itself in each of three iterations.

    Returns
    -------
    MCRResult
        ``.dataset``, ``.to_table()``; ``print`` tells fit, constraints and bands.

    Raises
    ------
    DimensionError
        Not (frame, axis), or grids that should be equal are not.
    ValueError
        Unknown words; more components than frames or points; known profiles of the wrong length.

    Warns
    -----
    UserWarning
        Not converged; or constraints that cost more than the noise.

    References
    ----------
    Tauler, Chemom. Intell. Lab. Syst. 30, 133 (1995), doi:10.1016/0169-7439(95)00047-X; Jaumot et al., ibid. 140, 1
    (2015), doi:10.1016/j.chemolab.2014.10.003 (definitions of lack of fit).

    Examples
    --------
    >>> energy, share = np.linspace(0, 1, 40), np.linspace(0, 1, 9)[:, None]
    >>> series = xr.DataArray(share * energy + (1 - share) * (1 - energy), dims=("frame", "energy"))
    >>> found = mcr_als(series, 2, constraints=Constraints(closure=1))
    >>> bool(found.dataset.attrs["lack_of_fit"] < 1e-6)
    True
    """
    function = "decompose.mcr_als"
    constraints = Constraints() if constraints is None else constraints
    if not isinstance(constraints, Constraints):
        raise TypeError(f"constraints must be decompose.Constraints(...), got {type(constraints).__name__}")
    if not isinstance(n_components, (int, np.integer)) or n_components < 1:
        raise ValueError(f"n_components must be a whole number from 1 up, got {n_components!r}")
    whole = augment.whole(series, of, share, n_components, function)
    frames, points = whole.values.shape
    if n_components >= min(frames, points):
        raise ValueError(
            f"n_components must be less than {min(frames, points)} ({frames} frames, {points} points), got "
            f"{n_components}"
        )
    kept = _rules(whole, constraints, n_components)
    start = first_spectra(whole, init, n_components, kept)
    found = alternate(whole.values, start, kept, max_iterations, tolerance)
    if not found.is_converged:
        warnings.warn(
            f"{function} did not converge: {found.reason}; its lack of fit is "
            f"{_percent(found.misfits[-1], whole.values):.4g} %",
            UserWarning,
            stacklevel=2,
        )
    data = _dataset(whole, found, constraints)
    _warn_if_costly(data.attrs, whole, n_components)
    data = record(
        data, function, n_components=n_components, of=of, init=init if isinstance(init, str) else np.asarray(init),
        constraints=str(constraints), share=share, tolerance=tolerance,
    )  # fmt: skip
    return MCRResult(data, constraints, whole, kept)


def _rules(whole: Whole, constraints: Constraints, n_components: int) -> Rules:
    known = np.full((n_components, whole.values.shape[1]), np.nan)
    for number, given in constraints.known_spectra.items():
        if number in range(n_components):
            known[number] = augment.on_axis(whole, given, f"known spectrum {number}")
    kept = rules(constraints, n_components, len(_used(whole)), whole.sets, known)
    used = _used(whole)
    total = None if kept.total is None else kept.total[used]
    return Rules(kept.not_negative, total, kept.unimodal, kept.sets, kept.fixed_concentration[used], kept.fixed_spectra)


def _used(whole: Whole) -> np.ndarray:
    if whole.share == "spectra":
        return np.concatenate([block.rows for block in whole.blocks])
    return whole.blocks[0].rows


def alternate(values: np.ndarray, spectra: np.ndarray, kept: Rules, most: int, tolerance: float) -> Found:
    """Alternate from start spectra until the lack of fit rests."""
    squares = float(np.einsum("jx,jx->", values, values))
    floor = 1e-14 * squares  # below it the difference of sums is rounding
    before, stretch, calm, revived = spectra, 0.0, 0, 0
    concentration = kept.concentration(values, spectra)
    misfits: list[float] = []
    for _ in range(most):
        trial = spectra
        if stretch > 0:
            trial = kept.nearest_spectra((spectra + stretch * (spectra - before)).T[None])[0].T
        content = kept.concentration(values, trial)
        dead = np.flatnonzero(~content.any(axis=0))
        if dead.size and stretch > 0:
            stretch = 0.0
            continue
        if dead.size and revived < 3 * len(spectra):
            spectra, revived, stretch, misfits = (
                _revived(values, content, trial, kept, int(dead[0])),
                revived + 1,
                0.0,
                [],
            )
            before = spectra
            continue
        right = values.T @ content
        found = kept.spectra_from(right, content)
        misfit = _misfit(values, squares, right, content, found)
        if stretch > 0 and misfit > misfits[-1]:
            stretch, calm = 0.0, 0
            continue
        before, spectra, concentration = spectra, found, content
        fallen = misfits[-1] - misfit if misfits else np.inf
        misfits.append(misfit)
        stretch = min(stretch * BOLDER + 0.5, BOLDEST)
        calm = calm + 1 if fallen <= 2 * tolerance * misfit + floor else 0
        if calm < 3:
            continue
        if fallen < -1e-3 * misfit - floor:
            told = "the lack of fit rises: the constraints contradict each other"
            return Found(concentration, spectra, misfits, told, False)
        if dead.size:
            told = f"component {', '.join(map(str, dead))} vanished: fewer components do, or another init finds them"
            return Found(concentration, spectra, misfits, told, False)
        told = f"converged: the lack of fit fell by less than {tolerance:g} of itself three times"
        return Found(concentration, spectra, misfits, told, True)
    told = f"max_iterations={most} reached, the lack of fit still falls"
    return Found(concentration, spectra, misfits or [squares], told, False)


def _revived(values: np.ndarray, content: np.ndarray, spectra: np.ndarray, kept: Rules, dead: int) -> np.ndarray:
    """Return spectra whose dead component starts anew from the frame that is fitted worst."""
    rest = values - content @ spectra
    frame = int(np.argmax(np.einsum("jx,jx->j", rest, rest)))
    out = spectra.copy()
    out[dead] = values[frame]
    return kept.nearest_spectra(out.T[None])[0].T


def _misfit(
    values: np.ndarray, squares: float, right: np.ndarray, concentration: np.ndarray, spectra: np.ndarray
) -> float:
    gram = (concentration.T @ concentration) * (spectra @ spectra.T)
    quick = squares - 2 * float(np.einsum("xk,kx->", right, spectra)) + float(gram.sum())
    if quick > 1e-10 * squares:
        return quick
    rest = values - concentration @ spectra
    return float(np.einsum("jx,jx->", rest, rest))


def _percent(misfit: float, values: np.ndarray) -> float:
    return 100 * float(np.sqrt(max(misfit, 0.0) / np.einsum("jx,jx->", values, values)))


def _dataset(whole: Whole, found: Found, constraints: Constraints) -> xr.Dataset:
    values, k = whole.values, found.concentration.shape[1]
    fitted = found.concentration @ found.spectra
    rest = values - fitted
    scores, loadings, _ = augment.principal(values, k)
    clean = scores @ loadings.T
    squares = float((values**2).sum())
    told: dict[str, Any] = {
        "n_components": k,
        "lack_of_fit": 100 * float(np.linalg.norm(rest)) / np.sqrt(squares),
        "lack_of_fit_pca": 100 * float(np.linalg.norm(clean - fitted) / np.linalg.norm(clean)),
        "explained_variance": 100 * (1 - float((rest**2).sum()) / squares),
        "n_iterations": len(found.misfits),
        "convergence": [_percent(one, values) for one in found.misfits],
        "stop_reason": found.reason,
        "constraints": str(constraints),
    }
    if constraints.closure is not None:
        told["closure"] = float(np.max(np.asarray(constraints.closure, dtype=float)))
    data = {
        "concentration": whole.frames("concentration", found.concentration, "1", "concentration"),
        **whole.axis("spectra", found.spectra, "spectrum of the component"),
        "residual_rms": whole.frames(
            "residual_rms", np.sqrt((rest**2).mean(axis=1)), _unit(whole), "rms of the residual"
        ),
    }
    attributes = dict(whole.blocks[0].table.dataset.attrs)
    coords = {**whole.coords(), "component": quantity("component", np.arange(k), "1", "component")}
    used = {str(dim) for one in data.values() for dim in one.dims}
    fitting = {name: one for name, one in coords.items() if set(map(str, one.dims)) <= used}
    return xr.Dataset(data, fitting, {**attributes, **told})


def _unit(whole: Whole) -> str:
    return "1" if whole.share == "concentrations" else whole.blocks[0].table.units


def _warn_if_costly(told: Mapping[str, Any], whole: Whole, k: int) -> None:
    """Say so where the components miss what the same number of singular vectors catch."""
    frames, points = whole.values.shape
    floor = augment.noise(whole.values, k) * np.sqrt((frames - k) * (points - k) / (whole.values**2).sum()) * 100
    if told["lack_of_fit"] > 1.2 * floor + 1e-6:
        warnings.warn(
            f"decompose.mcr_als: lack of fit {told['lack_of_fit']:.4g} %, where {k} free components reach "
            f"{floor:.4g} %: the constraints contradict the data, or another init finds a better fit",
            UserWarning,
            stacklevel=3,
        )
