"""Fits of FEFF's scattering paths to EXAFS: one spectrum, a series, or several spectra together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from batlab.schema import record
from batlab.xas.shells_parameters import Shell, Variable
from batlab.xas.shells_prepare import NAME, Work, prepare
from batlab.xas.shells_report import report
from batlab.xas.shells_result import assemble, tell
from batlab.xas.shells_solve import NO_DATA, NOT_CONVERGED, OK, Fit, solve
from batlab.xas.shells_transform import Settings, check_settings


@dataclass(frozen=True)
class ShellFit:
    """The result of `fit_shells`; ``print(fit)`` tells it.

    Attributes
    ----------
    dataset
        All numbers, with units and σ.
    variables
        The names of what was varied; a variable that each spectrum has of its own carries the spectrum's number.
    correlation
        (variable, variable) for one fit, (frame, variable, variable) for a series fitted frame by frame.
    report
        The text that ``str`` gives.
    """

    dataset: xr.Dataset
    variables: list[str]
    correlation: np.ndarray
    report: str

    def __str__(self) -> str:
        return self.report


def fit_shells(
    spectra: xr.Dataset | Sequence[xr.Dataset],
    paths: Shell | Sequence[Shell] | Sequence[Sequence[Shell]],
    parameters: Mapping[str, float | str | Variable],
    *,
    k_range: tuple[float, float],
    r_range: tuple[float, float],
    fit_space: str = "r",
    kweight: float | Sequence[float] = 2,
    dk: float = 4.0,
    window: str = "kaiser",
    dr: float = 0.0,
    r_window: str = "hanning",
    together: bool = False,
    epsilon: float | None = None,
) -> ShellFit:
    """Fit scattering paths to chi(k): what feffit, Artemis and larch do, for a spectrum, a series or several spectra.

    The sum of the `paths` (`path_chi`) is compared with the data after weighting by ``k**kweight``: in k over
    `k_range`; in R, real and imaginary parts of chi(R) over `r_range`; or in q, the real part of chi(R) filtered by the
    window in R and transformed back. All three are linear in chi, so that a step of the fit is one matrix product, and
    all slopes are exact.

    Noise: ε of chi(k) is had from chi(R) at 15-25 angstrom, by Parseval's theorem with the window itself, for each
    power of k (larch: 15-30 angstrom, and the window's mean), or is given. χ² is that of white noise ε over
    ``n_independent = 2 Δk ΔR / pi + 1`` points. As FEFF's tables are off by more than the noise, the σ are rescaled by
    the root of the reduced χ², as in IFEFFIT and larch: they do not depend on ε, only on the scatter of the fit.
    Where white noise is all that is wrong, the values scatter by 0.6 to 1.3 of these σ, depending on windows and
    parameter (simulated, in R and q).
    In k all other shells and the noise of all R stay in the residual while the independent points are those of
    `r_range`, so that σ come out several times too large; fit in R or q where that matters. R-factor: Σ (data - model)²
    / Σ data² of what is compared. The background is not refined together with the shells.

    Parameters
    ----------
    spectra
        ``chi`` over (``frame``, ``k``) or ``k``, on one even grid, from `remove_background`. Frames are fitted one
        after the other, each from the last one's result. A list of datasets is fitted together, as is a series with
        `together`: then variables are shared by all, unless they say ``Variable(…, shared=False)``.
    paths
        The shells; for a list of datasets also one list of shells for each.
    parameters
        Name -> start value, `Variable` (with bounds), or expression of the others as text (a constraint).
    k_range, r_range
        Windows [1/angstrom, angstrom]. R is not corrected for phase shifts: a bond of 2.5 angstrom shows at 2.2. Below
        ``rbkg`` of the background there is no signal.
    fit_space
        "r", "k" or "q".
    kweight
        Power of k; several, ``(1, 2, 3)``, are fitted together, each relative to its own noise. chi(R) of the result
        is that of the first.
    dk, window, dr, r_window
        Tapers and windows in k and (for "q") in R, see `ft_window`.
    together
        Fit all frames as one problem.
    epsilon
        Noise of chi(k), one number for all spectra, instead of that from high R.

    Returns
    -------
    ShellFit
        ``fit.dataset``: over ``frame`` (none for one spectrum) each parameter with ``_sigma``; over ``path`` too, with
        σ: ``path_distance`` (reff + delta_r) [angstrom], ``path_s02``, ``path_degen``, ``path_delta_e0`` [eV],
        ``path_delta_r``, ``path_sigma2`` [angstrom²], ``path_third``, ``path_fourth``, ``path_ei``; ``chi``,
        ``chi_model`` (k); ``chi_r_real``, ``chi_r_imag``, ``chi_r_mag`` and ``chi_r_model_real`` … (r);
        ``chi2``, ``chi2_reduced``, ``r_factor``, ``epsilon_k``, ``epsilon_r``, ``status`` (0 ok, 1 at a bound, 2 not
        converged, 3 no data; numbers are NaN from 2 up).

    Raises
    ------
    ValueError
        Names that are not known or not used, expressions that are none, ranges beyond data or paths' tables.
    SchemaError, DimensionError
        No ``chi`` over ``k``, an uneven grid, or datasets on different grids.

    Warns
    -----
    UserWarning
        More variables than independent points; variables at a bound, undetermined, or correlated beyond 0.95; frames
        without an answer; an `r_range` that begins below ``rbkg``.

    References
    ----------
    M. Newville, J. Synchrotron Rad. 8, 322 (2001), doi:10.1107/S0909049500016964; number of independent points:
    E. A. Stern, Phys. Rev. B 48, 9825 (1993), doi:10.1103/PhysRevB.48.9825.

    Examples
    --------
    >>> import batlab as bl
    >>> chi = bl.xas.remove_background(bl.xas.normalize(bl.xas.mu(bl.open("cu.xdi"))))  # doctest: +SKIP
    >>> shell = bl.xas.Shell("feff0001.dat", s02="amp", delta_e0="e0", delta_r="dr", sigma2="ss2")  # doctest: +SKIP
    >>> fit = bl.xas.fit_shells(chi, shell, {"amp": 1, "e0": 0, "dr": 0, "ss2": 0.005},
    ...                         k_range=(3, 17), r_range=(1.4, 3.0))  # doctest: +SKIP
    >>> print(fit)  # doctest: +SKIP
    """
    arguments = {name: value for name, value in locals().items() if name not in ("spectra", "paths", "parameters")}
    weights = tuple(map(float, np.atleast_1d(np.asarray(kweight, dtype=float))))
    settings = Settings(fit_space, _pair(k_range), _pair(r_range), weights, float(dk), window, float(dr), r_window)
    check_settings(settings)
    if epsilon is not None and not 0 < epsilon < np.inf:
        raise ValueError(f"epsilon must be positive, got {epsilon!r}")
    work = prepare(spectra, paths, parameters, settings, epsilon, together)
    n_points = settings.n_independent
    if work.is_joint:
        fits = [solve(work.problem, work.spectra, work.problem.start, n_points * len(work.spectra))]
    else:
        fits = _one_by_one(work, n_points)
    tell(work, fits)
    dataset = record(assemble(work, fits), NAME, paths=work.told_paths(), parameters=dict(parameters), **arguments)
    correlation = np.stack([fit.correlation for fit in fits])
    correlation = correlation if work.has_frames and not work.is_joint else correlation[0]
    return ShellFit(dataset, work.problem.labels, correlation, report(work, fits, dataset))


def _pair(given: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = map(float, given)
    except (TypeError, ValueError):
        raise ValueError(f"a range is two numbers, got {given!r}") from None
    return low, high


def _one_by_one(work: Work, n_independent: float) -> list[Fit]:
    """Fit frame after frame, each from the last answer; where that leads nowhere, from the start."""
    fits: list[Fit] = []
    start = work.problem.start
    for spectrum in work.spectra:
        fit = solve(work.problem, [spectrum], start, n_independent)
        if fit.status >= NOT_CONVERGED and fit.status != NO_DATA and start is not work.problem.start:
            fit = solve(work.problem, [spectrum], work.problem.start, n_independent)
        start = fit.x if fit.status == OK else work.problem.start
        fits.append(fit)
    return fits
