"""From measured I(Q) to S(Q), F(Q) and G(r), for whole series and with σ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.pdf.blocks import Blocks
from batlab.pdf.composition import MODES, fractions
from batlab.pdf.curves_in import Curves, background_of, curves_of
from batlab.pdf.operator import NORMALIZATIONS, WINDOWS, Settings
from batlab.schema import quantity, record

# Full width at half maximum, times qmax, of what a distance becomes through each window.
WIDTHS = {None: 3.79, "lorch": 5.44, "soft": 4.51}
LENGTHS = {"xray": "1", "neutron": "fm^2"}


def g_of_r(
    patterns: xr.Dataset,
    composition: str | Mapping[str, float],
    *,
    background: xr.Dataset | None = None,
    bgscale: float = 1.0,
    qmin: float | None = None,
    qmax: float | None = None,
    qmaxinst: float | None = None,
    rpoly: float | None = 0.9,
    rmin: float = 0.0,
    rmax: float = 30.0,
    rstep: float = 0.01,
    mode: str = "xray",
    window: str | None = None,
    normalization: str | None = "krogh-moe",
    density: float | None = None,
    wavelength: float | None = None,
) -> xr.Dataset:
    """Return the reduced pair distribution function of every pattern, with S(Q), F(Q) and the corrected I(Q).

    S = (I - <f²> + <f>²) / <f>² and F = Q (S - 1), I being scale (intensity - bgscale background). What is smooth in
    F and cannot come from atoms, such as Compton scattering, fluorescence, absorption or an imperfect background, is
    taken out as Q times a polynomial in Q (Juhás et al. [1]_), together of degree rpoly qmaxinst / π: it follows
    nothing beyond r = rpoly, which must lie below the shortest bond. Then

        G(r) = 2/π ∫ from qmin to qmax of F(Q) W(Q) sin(Qr) dQ,

    by the trapezoid rule on the grid as it is, even or not. Everything is linear in the intensities but `scale`. With
    ``rpoly=None`` nothing is taken out: for intensities corrected one by one, see `pdf.correct`.

    A distance is seen as a peak of full width 3.79/qmax at half maximum without a window (attribute ``resolution_r``);
    what lies beyond r = π/ΔQ is folded back from the grid's own steps, and is warned of. The instrument's resolution
    in Q damps G(r) by exp(-(qdamp r)²/2); that is not corrected here but part of the model (`pdf.calculate`, `pdf.fit`,
    which measures it on a standard).

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q) or (q) and, if it is known, ``intensity_sigma``. NaN marks points to leave out.
    composition
        ``"Mg2SiO4"`` or ``{"Mg": 2, "Si": 1, "O": 4}``.
    background
        ``intensity`` on exactly the grid of `patterns`: one curve, or one a frame.
    bgscale
        Factor of the background.
    qmin, qmax
        Range of Q used [1/angstrom]; by default all. F(Q) below qmin is taken as 0.
    qmaxinst
        Last Q that the polynomial is fitted to [1/angstrom]; by default all.
    rpoly
        Where the polynomial's reach in r ends [angstrom]; 0.7 to 1.4 is usual.
    rmin, rmax, rstep
        Grid of r [angstrom].
    mode
        ``"xray"`` or ``"neutron"``.
    window
        None, ``"lorch"`` or ``"soft"`` (`pdf.termination_window`): quieter ripples, broader peaks.
    normalization
        ``"krogh-moe"``: `scale` from ∫Q²I/<f>² dQ = ∫Q²(<f²> + Compton)/<f>² dQ - 2π²ρ (Krogh-Moe [2]_, Norman [3]_).
        It is as right as the intensity is free of background; the polynomial does not see it. None: 1.
    density
        ρ in atoms/angstrom³; matters little (by default 0).
    wavelength
        Of the X-rays, in angstrom: with it, anomalous scattering enters f.

    Returns
    -------
    xarray.Dataset
        ``i_q`` (X-rays: electron units; neutrons: fm²), ``s_q`` [1], ``f_q`` [1/angstrom] (frame, q); ``g_r``
        (frame, r) [1/angstrom²]; ``scale`` (frame). With ``intensity_sigma`` each has its σ; that of `g_r` is
        propagated through the whole operator, polynomial included (`pdf.covariance` gives it between any two r), that
        of the others leaves out the polynomial's own error, and none holds that of `scale`. Other variables and
        coordinates of frames stay.

    Raises
    ------
    ValueError
        A composition that is none, ranges outside the data, unknown words.
    SchemaError, UnitError, DimensionError
        See `background`; another axis than q; other units.

    Warns
    -----
    UserWarning
        Negative intensities, a missing σ, an rpoly beyond the shortest bonds, an rmax beyond π/ΔQ.

    References
    ----------
    .. [1] P. Juhás, T. Davis, C. L. Farrow, S. J. L. Billinge, J. Appl. Cryst. 46, 560 (2013),
       doi:10.1107/S0021889813005190.
    .. [2] J. Krogh-Moe, Acta Cryst. 9, 951 (1956), doi:10.1107/S0365110X56002655.
    .. [3] N. Norman, Acta Cryst. 10, 370 (1957), doi:10.1107/S0365110X57001085.

    Examples
    --------
    >>> q = np.linspace(0.5, 24, 2400)
    >>> s = 1 + np.exp(-0.003 * q**2) * np.sin(2.5 * q) / (2.5 * q)
    >>> pattern = xr.Dataset({"intensity": quantity("q", s, "1", "I"), "intensity_sigma": quantity("q", 0.01 * s, "1",
    ...                      "sigma")}, {"q": quantity("q", q, "1/angstrom", "q")})
    >>> g = g_of_r(pattern, "Ni", mode="neutron").g_r
    >>> round(float(g.r[g.argmax("r")]), 2)
    2.5
    """
    arguments = {key: value for key, value in locals().items() if key != "patterns"}
    name = "pdf.g_of_r"
    for word, value, known in (("mode", mode, MODES), ("window", window, WINDOWS)):
        choose(word, value, known)
    choose("normalization", normalization, NORMALIZATIONS)
    shares = fractions(composition, name)
    curves = curves_of(patterns, "intensity", "q", name, units="1/angstrom")
    under = background_of(patterns, background, bgscale, name)
    settings = _settings(curves.x, qmin, qmax, qmaxinst, rpoly, window, normalization, density, name)
    r = _grid(rmin, rmax, rstep, name)
    if curves.sigma is None:
        warnings.warn(
            f"{name}: the patterns have no intensity_sigma, so g_r comes without sigma; counting statistics or the "
            "scatter of repeated frames would give it",
            UserWarning,
            stacklevel=2,
        )
    blocks = Blocks(curves, under, float(bgscale), shares, mode, wavelength, settings, r)
    _warn_fold(curves.x, settings, rmax, name)
    told = {**settings._asdict(), "mode": mode, "composition": _written(shares), "bgscale": float(bgscale)}
    told = {key: value for key, value in told.items() if value is not None}
    made = _variables(blocks, curves, r, {key: value for key, value in told.items() if key != "mode"}, mode)
    kept = patterns.drop_dims("q").drop_vars([*made, "r"], errors="ignore")
    axes = {
        "q": quantity("q", blocks.q_used, "1/angstrom", "scattering vector"),
        "r": quantity("r", r, "angstrom", "distance"),
    }
    result = kept.assign_coords(axes).assign(made)
    told["resolution_r"] = WIDTHS[window] / settings.qmax
    result.attrs.update({**told, **({} if wavelength is None else {"wavelength": float(wavelength)})})
    return record(result, name, **arguments)


def _variables(blocks: Blocks, curves: Curves, r: np.ndarray, told: dict[str, Any], mode: str) -> dict[str, Any]:
    parts = blocks.parts()
    made: dict[str, Any] = {}
    for key, axis, units, what in (
        ("i_q", "q", LENGTHS[mode], "corrected intensity per atom"),
        ("s_q", "q", "1", "total scattering structure function S(Q)"),
        ("f_q", "q", "1/angstrom", "reduced structure function Q(S(Q) - 1)"),
        ("g_r", "r", "1/angstrom^2", "reduced pair distribution function"),
    ):
        made[key] = curves.variable(axis, parts[key], units, what)
        if f"{key}_sigma" in parts:
            made[f"{key}_sigma"] = curves.variable(axis, parts[f"{key}_sigma"], units, f"1 sigma of the {what}")
    made["scale"] = curves.number(parts["scale"][:, 0], "1", "factor from intensity to intensity per atom")
    return made


def _written(shares: Mapping[str, float]) -> str:
    return " ".join(f"{element}{share:.6g}" for element, share in shares.items())


def _settings(
    q: np.ndarray,
    qmin: float | None,
    qmax: float | None,
    qmaxinst: float | None,
    rpoly: float | None,
    window: str | None,
    normalization: str | None,
    density: float | None,
    name: str,
) -> Settings:
    """Return the settings with their defaults, refused where they leave the data."""
    first = float(q[q > 0][0]) if (q > 0).any() else 0.0
    qmin = first if qmin is None else max(float(qmin), first)
    if qmaxinst is None:
        qmaxinst = float(q[-1]) if qmax is None else max(float(qmax), float(q[-1]))
    qmax = float(qmaxinst) if qmax is None else float(qmax)
    # A grid may end half a step before a round number.
    last = float(q[-1]) + 1.01 * float(q[-1] - q[-2])
    if not qmax <= qmaxinst <= last:
        raise ValueError(
            f"{name}: qmax {qmax:g} and qmaxinst {qmaxinst:g} must rise and end with the data, at "
            f"{q[-1]:.6g} 1/angstrom"
        )
    n_used = int(((q >= qmin) & (q <= qmax)).sum())
    if not 0 < qmin < qmax or n_used < 8:
        raise ValueError(
            f"{name}: {n_used} points lie between qmin {qmin:g} and qmax {qmax:g} 1/angstrom, 8 are needed; the data "
            f"go from {q[0]:g} to {q[-1]:g}"
        )
    if rpoly is not None and not (0 < rpoly <= 10 and rpoly * qmaxinst / np.pi + 2 < n_used / 4):
        raise ValueError(
            f"{name}: rpoly must lie above 0 and below 10 angstrom and leave F(Q) its waves, got {rpoly!r}"
        )
    if density is not None and not 0 <= density < 1:
        raise ValueError(f"{name}: density must be 0 to 1 atoms/angstrom^3, got {density!r}")
    if rpoly is not None and rpoly > 1.6:
        warnings.warn(
            f"{name}: rpoly {rpoly:g} angstrom is longer than many bonds; what lies below it in G(r) is flattened",
            UserWarning,
            stacklevel=3,
        )
    return Settings(qmin, qmax, float(qmaxinst), rpoly, window, normalization, float(density or 0.0))


def _warn_fold(q: np.ndarray, settings: Settings, rmax: float, name: str) -> None:
    used = q[(q >= settings.qmin) & (q <= settings.qmax)]
    farthest = np.pi / float(np.median(np.diff(used)))
    if rmax > farthest * (1 + 1e-6):
        warnings.warn(
            f"{name}: steps of {np.pi / farthest:.3g} 1/angstrom in q tell G(r) up to {farthest:.3g} angstrom, rmax is "
            f"{rmax:g}; lower rmax or integrate with finer steps",
            UserWarning,
            stacklevel=3,
        )


def _grid(rmin: float, rmax: float, rstep: float, name: str) -> np.ndarray:
    if not (0 <= rmin < rmax and 0 < rstep <= rmax - rmin and np.isfinite(rmax)):
        raise ValueError(f"{name}: needs 0 <= rmin < rmax and a positive rstep, got {rmin!r}, {rmax!r}, {rstep!r}")
    count = (rmax - rmin) / rstep
    if count > 1e6:
        raise ValueError(f"{name}: {count:.3g} points of r are more than 1e6; make rstep larger")
    return rmin + rstep * np.arange(int(count + 1.000001))
