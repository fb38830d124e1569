"""From mu(E) to chi(k): the smooth absorption of the lone atom taken off, as AUTOBK does, for whole series."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.constants import ETOK
from batlab.errors import choose
from batlab.schema import quantity, record
from batlab.xas.background_frames import Background
from batlab.xas.background_spline import CLAMP, LEAST_KNOTS, Settings
from batlab.xas.fourier import check_kweight
from batlab.xas.grids import energies_of
from batlab.xas.rows import Rows, numbers_of, rows_of
from batlab.xas.windows import WINDOWS

NAME = "xas.remove_background"


def remove_background(
    series: xr.Dataset,
    *,
    rbkg: float = 1.0,
    kweight: float = 2,
    kmin: float = 0.0,
    kmax: float | None = None,
    dk: float = 0.1,
    window: str = "hanning",
    kstep: float = 0.05,
    clamp_lo: float = 0.0,
    clamp_hi: float = 1.0,
    nclamp: int = 3,
    e0: float | None = None,
) -> xr.Dataset:
    """Take the smooth background off absorption spectra and return chi(k) = (mu - background) / edge_step.

    AUTOBK: the background is a cubic spline in k whose Fourier transform below `rbkg` is that of the data. With E0
    fixed the problem is linear in the spline's coefficients, and is solved as such: spectra that share E0 pass through
    one matrix, others are brought onto the grid in k by a cubic spline each (0.01 to 0.05 ms a spectrum both ways).
    Points where mu is NaN are left out. Grids of their own stand in ``energy_measured``
    (frame, energy). Lazy series stay lazy; only ``e0`` is computed.

    Two choices differ from larch's `autobk`. Its clamp has a weight that grows with the residual, 0.1 + 10 × the mean
    square of the residual at low R, which makes it non-linear and dependent on the scale of mu; here the weight is
    fixed at 0.1 × clamp, larch's limit for a small residual. And the knots lie evenly in k, not at the nearest points
    of the data, so that they are the same for all spectra. On metals and oxides both together move chi by less than
    1 % (rms of k² chi, k 3-14). larch's own default is kweight 1; Athena's is 2, as here.

    Parameters
    ----------
    series
        ``mu`` (frame, energy) or (energy) [eV], ``e0`` [eV] and ``edge_step``; without these `normalize` is run with
        its defaults. ``mu_sigma`` gives ``chi_sigma``.
    rbkg
        Distance [angstrom] below which chi(R) is background. Half the shortest bond or less; 0.8 to 1.2 as a rule.
    kweight
        Power of k that weights chi in the transform.
    kmin, kmax
        Range [1/angstrom] of the spline. By default `kmax` is as far as every spectrum reaches; the grid in k ends
        there.
    dk, window
        Tapers [1/angstrom] of the transform and its window, see `ft_window`.
    kstep
        Step [1/angstrom] of the grid in k.
    clamp_lo, clamp_hi, nclamp
        How strongly the first and the last `nclamp` points of chi are held at 0.
    e0
        One E0 [eV] for k = 0 of all spectra, instead of ``e0``.

    Returns
    -------
    xarray.Dataset
        `series` with ``chi`` (frame, k), ``chi_sigma`` if mu has σ (independent points; E0, step and spline knots taken
        as known), and ``mu_background`` (frame, energy), mu itself before the edge.

    Raises
    ------
    SchemaError, DimensionError
        Without ``mu`` over ``energy``.
    ValueError
        E0 or `kmax` outside the energies, settings out of range, or ``chi`` that is there already.

    References
    ----------
    M. Newville, P. Livins, Y. Yacoby, J. J. Rehr, E. A. Stern, Phys. Rev. B 47, 14126 (1993),
    doi:10.1103/PhysRevB.47.14126.

    Examples
    --------
    >>> energy = np.concatenate([np.arange(8900.0, 9030, 1), np.arange(9030.0, 9900, 3)])
    >>> k = np.sqrt(np.clip(energy - 8980, 0, None) * 0.2625)
    >>> mu = 1 / (1 + np.exp(-(energy - 8980) / 2)) * (1 + 0.3 * np.exp(-0.01 * k**2) * np.sin(5 * k))
    >>> scan = xr.Dataset({"mu": quantity("energy", mu, "1", "absorption"), "e0": quantity((), 8980.0, "eV", "edge"),
    ...                    "edge_step": quantity((), 1.0, "1", "step")},
    ...                   {"energy": quantity("energy", energy, "eV", "energy")})
    >>> chi = remove_background(scan).chi.sel(k=slice(4, 12))
    >>> bool(abs(chi - 0.3 * np.exp(-0.01 * chi.k**2) * np.sin(5 * chi.k)).max() < 0.02)
    True
    """
    arguments = {key: value for key, value in locals().items() if key != "series"}
    choose("window", window, WINDOWS)
    energy = energies_of(series, NAME)
    rows = rows_of(series, "mu", "energy", NAME, "make it with xas.mu", energy[0])
    if "chi" in series:
        raise ValueError(f"{NAME}: the series holds 'chi' already; start from the normalised series")
    if "edge_step" not in series or ("e0" not in series and e0 is None):
        from batlab.xas import normalize

        series = normalize(series)
    edges = _edges(series, rows, energy, e0)
    settings = Settings(
        rbkg, kweight, kmin, _kmax(rows, energy, edges, kmax), dk, window, kstep, clamp_lo, clamp_hi, int(nclamp)
    )
    _check(settings)
    background = Background(settings, 1 if rows.is_lazy else threads.effective())
    _tell_short(background)
    step = numbers_of(series, "edge_step", rows, NAME)
    result = series.assign_coords(k=quantity("k", background.spline.k, "1/angstrom", "photoelectron wavenumber"))
    result = result.assign(_results(series, rows, energy, background, edges, step))
    result.attrs.update(rbkg=float(rbkg))
    return record(result, NAME, **arguments)


def _results(
    series: xr.Dataset, rows: Rows, energy: np.ndarray, background: Background, edges: np.ndarray, step: Any
) -> dict[str, Any]:
    n_k, s = len(background.spline.k), background.settings
    if rows.is_lazy:
        both = rows.mapped(
            lambda *block: np.concatenate(background.of(*block), axis=1), n_k + energy.shape[1], edges, step, energy
        )
        chi, smooth = both[:, :n_k], both[:, n_k:]
    else:
        chi, smooth = background.of(rows.values, edges[:, None], rows.column(step), energy)
    told = {
        "rbkg": float(s.rbkg), "kweight": float(s.kweight), "kmin": float(s.kmin), "kmax": float(s.kmax),
        "n_knots": background.spline.n_knots, "clamp": f"fixed weight {CLAMP:g} × ({s.clamp_lo:g}, {s.clamp_hi:g}) on "
        f"the first and last {s.nclamp} points",
    }  # fmt: skip
    units = str(series["mu"].attrs.get("units", "1"))
    made = {
        "chi": rows.curves("k", chi, "1", "EXAFS chi(k)", **told),
        "mu_background": rows.curves("energy", smooth, units, "smooth background of mu"),
    }
    if "mu_sigma" in series:
        sigma = rows_of(series, "mu_sigma", "energy", NAME, "", energy[0])
        spread = sigma.mapped(background.sigma, n_k, edges, step, energy)
        made["chi_sigma"] = rows.curves("k", spread, "1", "1 sigma of chi")
    return made


def _edges(series: xr.Dataset, rows: Rows, energy: np.ndarray, e0: float | None) -> np.ndarray:
    """Return E0 (frame,), each inside its energies or NaN."""
    edges = np.full(rows.values.shape[0], float(e0)) if e0 is not None else numbers_of(series, "e0", rows, NAME)
    edges = np.asarray(edges, dtype=float)
    low, high = np.nanmin(energy, axis=1), np.nanmax(energy, axis=1)
    outside = (edges < low) | (edges >= high)
    if outside.any() or (e0 is not None and not np.isfinite(e0)):
        wrong = edges[outside][0] if outside.any() else e0
        raise ValueError(
            f"{NAME}: E0 must lie within the energies, {low.min():g} to {high.max():g} eV, got {wrong:g}; pass e0=… or "
            "find it with xas.edge_energy"
        )
    return edges


def _kmax(rows: Rows, energy: np.ndarray, edges: np.ndarray, kmax: float | None) -> float:
    """Return how far in k every spectrum reaches, or `kmax` if the energies of any reach that far."""
    if not np.isfinite(edges).any():
        raise ValueError(f"{NAME}: no spectrum has an E0; pass e0=…, or look at what xas.normalize warned of")
    reach = np.sqrt(ETOK * (np.nanmax(energy, axis=1) - edges))
    farthest = float(np.nanmax(reach))
    if kmax is not None:
        if not 0 < kmax <= farthest * (1 + 1e-9):
            raise ValueError(f"{NAME}: kmax must be positive and at most {farthest:.4g} 1/angstrom, got {kmax:g}")
        return float(kmax)
    if not rows.is_lazy and not np.isfinite(rows.values[:, -1]).all():
        last = np.where(np.isfinite(rows.values), energy, -np.inf).max(axis=1)
        reach = np.sqrt(ETOK * np.where(last > edges, last - edges, np.nan))
        if not np.isfinite(reach).any():
            raise ValueError(f"{NAME}: no spectrum has points beyond its E0")
    worst = int(np.nanargmin(reach))
    if reach[worst] < 0.9 * np.nanmax(reach):
        warnings.warn(
            f"spectrum {worst} ends at k = {reach[worst]:.4g} 1/angstrom, others reach {np.nanmax(reach):.4g}: all end "
            "there; drop it, or pass kmax=…",
            UserWarning,
            stacklevel=3,
        )
    return float(reach[worst])


def _check(s: Settings) -> None:
    check_kweight(s.kweight, NAME)
    if not (s.rbkg > 0 and s.kstep > 0 and s.dk >= 0 and s.nclamp >= 0 and s.clamp_lo >= 0 and s.clamp_hi >= 0):
        raise ValueError(
            f"{NAME}: rbkg and kstep must be positive, dk, nclamp, clamp_lo and clamp_hi at least 0, got "
            f"{s.rbkg:g}, {s.kstep:g}, {s.dk:g}, {s.nclamp}, {s.clamp_lo:g}, {s.clamp_hi:g}"
        )
    if not 0 <= s.kmin < s.kmax or (s.kmax - s.kmin) / s.kstep < 10:
        raise ValueError(
            f"{NAME}: the range in k must begin at 0 or above and hold 10 steps of {s.kstep:g}, got "
            f"{s.kmin:g} to {s.kmax:.4g} 1/angstrom"
        )


def _tell_short(background: Background) -> None:
    independent, s = background.spline.n_independent, background.settings
    if independent < LEAST_KNOTS:
        warnings.warn(
            f"a range in k of {s.kmax - s.kmin:.3g} 1/angstrom holds {independent:.0f} independent points below rbkg = "
            f"{s.rbkg:g} angstrom, the spline needs {LEAST_KNOTS}: it takes signal from above rbkg too; measure "
            "farther, or raise rbkg",
            UserWarning,
            stacklevel=3,
        )
