"""The slit of a Bonse-Hart camera: what it does to a curve, and how it is undone."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr

from batlab.saxs.series import curves_of, sigma_or_scatter
from batlab.schema import quantity, record

NODES = 40
TAIL = 12  # points that the power law beyond the data is taken from


def slit_nodes(q: np.ndarray, slit_length: float, n: int = NODES) -> tuple[np.ndarray, np.ndarray]:
    """Return (q, n) places u and weights w with ``∑ w I(u)`` = the smeared ``1/l ∫ I(√(q² + x²)) dx``, x from 0 to l.

    With x = q sinh t a power law is smooth in t however steep it is; Gauss's nodes in t.

    >>> u, w = slit_nodes(np.array([0.01]), 0.03)
    >>> exact = (0.03 / (2 * 1e-4 * (1e-4 + 9e-4)) + np.arctan(3.0) / (2 * 1e-6)) / 0.03
    >>> bool(np.isclose(np.sum(w * u**-4.0), exact, rtol=1e-12))
    True
    """
    if not slit_length > 0:
        raise ValueError(f"slit_length must be above 0 in 1/angstrom, got {slit_length!r}")
    nodes, shares = np.polynomial.legendre.leggauss(n)
    end = np.arcsinh(slit_length / q)[:, None]
    u = q[:, None] * np.cosh(0.5 * end * (nodes + 1))
    return u, 0.5 * end * shares * u / slit_length


def smeared(function: Callable[[np.ndarray], np.ndarray], q: np.ndarray, slit_length: float | None) -> np.ndarray:
    """Return ``function(q)`` as a slit of that length would show it; as it is without one."""
    if not slit_length:
        return function(q)
    u, weights = slit_nodes(q, slit_length)
    return np.sum(weights * function(u.ravel()).reshape(u.shape), axis=1)


def smear(patterns: xr.Dataset, slit_length: float) -> xr.Dataset:
    """Return the curves as an ideal slit of half-length `slit_length` shows them.

    ``I_s(q) = 1/l ∫ I(√(q² + x²)) dx``, x from 0 to l: the slit reaches from -l to l, as Irena and Matilda count it.
    Between points log I runs straight over log q; beyond the last a power law (and constant) of the last 12 goes on.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q), not smeared yet, above 0.
    slit_length
        In 1/angstrom.

    Returns
    -------
    Dataset
        ``intensity``, without σ (neighbours would share it); attribute ``slit_length``.
    """
    if patterns.attrs.get("slit_length"):
        raise ValueError(f"saxs.smear: the curves are smeared already, by {patterns.attrs['slit_length']:g} 1/angstrom")
    q, values, _ = curves_of(patterns, "saxs.smear")
    u, weights = slit_nodes(q, slit_length)
    rows = np.stack([np.sum(weights * _between(u, q, row), axis=1) for row in values])
    done = patterns.drop_vars("intensity_sigma", errors="ignore").isel(q=np.asarray(patterns["q"].values) > 0)
    units = patterns["intensity"].attrs.get("units", "1")
    done["intensity"] = quantity(("frame", "q"), rows, units, "slit-smeared intensity")
    done.attrs["slit_length"] = float(slit_length)
    return record(done, "saxs.smear", slit_length=slit_length)


def desmear(
    patterns: xr.Dataset,
    slit_length: float | None = None,
    *,
    n_iterations: int = 30,
    n_replicates: int = 40,
    seed: int = 0,
) -> xr.Dataset:
    """Undo the slit by Lake's iteration, ``I ← I · measured / smeared(I)``, and say how sure the result is.

    It stops when the smeared result agrees with the data, a reduced χ² of 1 without the worst 3 % (the last points lean
    on what is assumed beyond them), or gets no closer by 1 %; going on would only make noise grow. σ is the scatter of
    the results of `n_replicates` noisy copies of the smeared result.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q) smeared, ``intensity_sigma``.
    slit_length
        In 1/angstrom; by default the attribute ``slit_length``.
    n_iterations
        At most.
    n_replicates
        At least 8.
    seed
        Of the noise.

    Returns
    -------
    Dataset
        ``intensity`` and its σ, NaN where the smeared one was not above 0; ``smearing_chi2`` (frame).

    Raises
    ------
    ValueError
        No slit length is known.

    References
    ----------
    J. A. Lake, Acta Cryst. 23, 191 (1967), doi:10.1107/S0365110X67002440.
    """
    length = slit_length or patterns.attrs.get("slit_length")
    if not length:
        raise ValueError("saxs.desmear needs slit_length= in 1/angstrom; the curves do not state it")
    if n_replicates < 8 or n_iterations < 1:
        raise ValueError(f"n_replicates must be at least 8 and n_iterations 1, got {n_replicates} and {n_iterations}")
    q, values, sigma = curves_of(patterns, "saxs.desmear")
    sigma = sigma_or_scatter(q, values, sigma, "saxs.desmear")
    result, spread, chi2 = np.full(values.shape, np.nan), np.full(values.shape, np.nan), np.full(len(values), np.nan)
    rng = np.random.default_rng(seed)
    for i, (y, s) in enumerate(zip(values, sigma)):
        good = np.isfinite(y) & np.isfinite(s) & (y > 0)
        if good.sum() < TAIL + 3:
            continue
        at, u_w = q[good], slit_nodes(q[good], length)
        result[i, good], chi2[i], used = _lake(at, y[good], s[good], u_w, n_iterations)
        again = np.sum(u_w[1] * _between(u_w[0], at, result[i, good]), axis=1)
        tried = []
        for _ in range(n_replicates):
            copy = np.maximum(again + s[good] * rng.normal(size=at.size), 0.01 * again)
            tried.append(_lake(at, copy, s[good], u_w, used, until_close=False)[0])
        spread[i, good] = np.std(tried, axis=0, ddof=1)
    if np.nanmax(chi2, initial=0.0) > 3:
        text = f"saxs.desmear: smeared again, the result misses the data by a reduced chi2 of {np.nanmax(chi2):.1f}"
        warnings.warn(f"{text}; is {length:g} 1/angstrom the slit?", stacklevel=2)
    done = patterns.isel(q=np.asarray(patterns["q"].values) > 0).copy()
    units = patterns["intensity"].attrs.get("units", "1")
    done["intensity"] = quantity(("frame", "q"), result, units, "desmeared intensity")
    done["intensity_sigma"] = quantity(("frame", "q"), spread, units, "1 sigma of the desmeared intensity")
    done["smearing_chi2"] = quantity(
        "frame", chi2, "1", "reduced chi squared, by the median, of the result smeared again"
    )
    done.attrs.pop("slit_length", None)
    return record(
        done, "saxs.desmear", slit_length=length, n_iterations=n_iterations, n_replicates=n_replicates, seed=seed
    )


def _lake(
    q: np.ndarray, y: np.ndarray, s: np.ndarray, u_w: tuple, n_iterations: int, until_close: bool = True
) -> tuple[np.ndarray, float, int]:
    """Return the desmeared curve, how well it agrees when smeared again, and how many steps that took."""
    current, last = y.copy(), np.inf
    u, weights = u_w
    for step in range(n_iterations + 1):
        again = np.sum(weights * _between(u, q, current), axis=1)
        # Without the worst 3 %: the last points lean on what is assumed beyond them, and may never agree.
        misfit = np.sort(((y - again) / s) ** 2)
        chi2 = float(np.mean(misfit[: max(1, int(0.97 * misfit.size))]))
        if step == n_iterations or (until_close and (chi2 <= 1 or chi2 > 0.99 * last)):
            break
        last = chi2
        current = current * np.clip(y / again, 0.1, 10.0)
    return current, chi2, max(step, 1)


def _between(u: np.ndarray, q: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return a curve at `u`, straight in log-log between its points, by the law of its last points beyond them."""
    good = np.isfinite(row) & (row > 0)
    x, y = np.log(q[good]), np.log(row[good])
    inside = np.exp(np.interp(np.log(u), x, y))
    beyond = u > q[good][-1]
    if beyond.any():
        amplitude, power, floor = _tail(q[good][-TAIL:], row[good][-TAIL:])
        inside[beyond] = amplitude * (u[beyond] / q[good][-1]) ** -power + floor
    return inside


def _tail(q: np.ndarray, row: np.ndarray) -> tuple[float, float, float]:
    """Return A, p, B of ``A (q/q_last)^-p + B``, p from 4 to 1, A and B not below 0, that fit the last points best."""
    from scipy.optimize import nnls

    best = (np.inf, 0.0, 0.0, float(row[-1]))
    for power in (4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0):
        design = np.stack([(q / q[-1]) ** -power, np.ones_like(q)], axis=1) / row[:, None]
        part, misfit = nnls(design, np.ones_like(q))
        if misfit < best[0]:
            best = (misfit, float(part[0]), power, float(part[1]))
    return best[1], best[2], best[3]
