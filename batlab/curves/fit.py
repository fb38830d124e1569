"""Peaks of a series: pseudo-Voigts fitted in every frame, and followed from one to the next."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.curves import first, follow
from batlab.curves.groups import Fits, Setting
from batlab.curves.near import Seeds, seeds
from batlab.curves.noise import inflation_of, noise_of
from batlab.curves.patterns import axis_of, values_of
from batlab.curves.scale import from_scale, to_scale
from batlab.curves.settle import settle
from batlab.errors import choose
from batlab.schema import quantity, record

BACKGROUNDS = {None: 0, "constant": 1, "linear": 2, "quadratic": 3, "cubic": 4}
MEANINGS = "ok at_bound not_converged no_peak no_data unresolved"
PARAMETERS = ("position", "height", "fwhm", "eta", "area")


def fit_peaks(
    patterns: xr.Dataset,
    *,
    near: Any,
    width: float | None = None,
    window: float | None = None,
    search: float | None = None,
    background: str | None = "linear",
    significance: float = 5.0,
    n_threads: int | None = None,
) -> xr.Dataset:
    """Fit a pseudo-Voigt to every expected peak in every frame, following each from frame to frame.

    The profile is ``height · (eta · L + (1 - eta) · G)``, L and G the Lorentzian and the Gaussian of one full width
    at half maximum ``fwhm`` and height 1. Peaks whose windows overlap are fitted together on one polynomial
    background. If the axis is ``two_theta`` and the patterns carry ``wavelength_alpha2`` and ``alpha2_ratio``, each
    peak is a Kα1 + Kα2 doublet: ``position``, ``height`` and ``area`` are those of Kα1, Kα2 follows from Bragg's law.

    Weights come from ``intensity_sigma`` as it stands, times ``sigma_inflation`` where pixels were split and
    neighbouring bins share them: the σ of every parameter grows by that factor, ``chi2_reduced`` does not change.
    Without ``intensity_sigma`` counts are Poisson, with variances taken from the model (maximum likelihood: weights
    1/N would pull fits of few counts down); intensities in other units have their variance per intensity estimated
    from the scatter of neighbouring points. Patterns from ``scattering.integrate`` state where the pixels of each bin
    lie on average (``q_mean``), and the curve is fitted there; where only ``n_pixels`` is known and pixels were not
    split, the σ of a position also holds what binning whole pixels does to it, step / √(12 N) with N pixels within the
    full width.

    A peak given by position is looked for where it was last seen, or, while lost, where the others of its phase moved.
    The lines of a structure are looked for where its cell puts them: the cell is followed from frame to frame with
    the freedom its space group leaves, and all frames are fitted once more from there. Light more than half a width
    from that place is another's (``unresolved``); a phase most of whose undisturbed light is missing is not there
    (``no_peak``). A peak counts as present if its height exceeds `significance` σ. Two lines closer than half their
    width are both ``unresolved``; lines that their cells carry past one another keep their names.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, two_theta | q); NaN points are left out.
    near
        Positions (axis unit), a structure (path or Dataset), a list or a mapping name → structure or
        positions, or a table of peaks (`find_peaks`, `fit_peaks`, `lines`). A structure's cell may be off by 0.8 %.
        Name the lines of everything in the beam: a stranger in a window bends its background, and a line that
        passes an unnamed one may stay with it.
    width
        Typical full width at half maximum, axis unit. By default the one whose matched filter sees the peaks best.
    window
        Half width of the window around a peak, axis unit; 4 widths by default.
    search
        How far from `near` a peak may lie in the first frame; by default 2 widths, and 0.8 % in d for structures.
    background
        ``"constant"``, ``"linear"``, ``"quadratic"``, ``"cubic"`` in each window, or None.
    significance
        Height over its σ above which a peak is there.
    n_threads
        `threads.effective` by default. The result is the same, bit for bit, for any number.

    Returns
    -------
    xarray.Dataset
        Over (frame, peak): ``position``, ``height``, ``fwhm``, ``eta``, ``area``, each with ``_sigma``,
        ``chi2_reduced`` of the window and ``status``: 0 ok, 1 at_bound, 2 not_converged, 3 no_peak, 4 no_data
        (nothing measured within half a width of its place), 5 unresolved.
        Parameters are NaN where the status is 2 or more. Coordinates ``hkl`` and ``phase``.

    Raises
    ------
    DimensionError
        If the patterns have neither ``two_theta`` nor ``q``, or more dimensions than ``frame`` and that.
    ValueError
        If nothing is expected in range, two structures have one name, or a keyword is out of its range.

    Warns
    -----
    UserWarning
        If no peak is seen in any frame, or a doublet is stated on ``q``.

    References
    ----------
    Wertheim et al., Rev. Sci. Instrum. 45, 1369 (1974), doi:10.1063/1.1686503 (pseudo-Voigt);
    Marquardt, J. SIAM 11, 431 (1963), doi:10.1137/0111030.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from batlab.schema import quantity
    >>> q = np.linspace(2, 3, 400)
    >>> counts = 50 + 900 * np.exp(-4 * np.log(2) * ((q - 2.51) / 0.03) ** 2)
    >>> pattern = xr.Dataset({"intensity": quantity(("frame", "q"), counts.round()[None], "count", "intensity")},
    ...                      {"q": quantity("q", q, "1/angstrom", "scattering vector")})
    >>> peaks = fit_peaks(pattern, near=[2.5])
    >>> round(float(peaks.position[0, 0]), 3)
    2.51
    """
    choose("background", background, BACKGROUNDS)
    _refuse_not_positive(width=width, window=window, search=search, significance=significance)
    axis = axis_of(patterns, "curves.fit_peaks")
    if "frame" not in patterns.dims:
        patterns = patterns.expand_dims("frame")
    x, intensity = values_of(patterns, axis, "curves.fit_peaks")
    x = _places(patterns, axis, x)
    noise = noise_of(patterns.transpose("frame", ...), intensity)
    expected = seeds(near, patterns, axis)
    second_ratio, second_scale = doublet(patterns, axis)
    mean = first.first_frames(intensity, noise)
    step = (x[-1] - x[0]) / (len(x) - 1)
    far = _search(expected, search, width or 10 * step, axis)
    guess = width
    if width is None and mean is not None:
        guess = first.typical_width(x, *mean, expected, far)
    setting = Setting(
        axis, guess or 10 * step, window or 4.0 * (guess or 10 * step), BACKGROUNDS[background], significance,
        second_ratio, second_scale, threads.effective(n_threads),
    )  # fmt: skip
    state = follow.Expected(expected, expected.position, far, setting)
    if mean is not None:
        far = _search(expected, search, setting.width, axis)
        setting, state = first.first_fit(x, *mean, expected, far, setting, refine=width is None)
        setting = replace(setting, window=window or setting.window)
    followed = follow.follow(x, intensity, noise, state, setting)
    fits, status = settle(x, intensity, noise, state, followed, setting)
    if not (status <= follow.AT_BOUND).any():
        warnings.warn(
            f"curves.fit_peaks: none of the {len(expected)} expected peaks exceeds {significance:g} sigma in any of "
            f"the {len(intensity)} frames", stacklevel=2,
        )  # fmt: skip
    if "sigma_inflation" in patterns and noise.kind == "intensity_sigma":
        # A bin scatters by its own sigma about the curve: residuals are not larger for being correlated.
        fits.chi2_reduced *= np.interp(np.nan_to_num(fits.values[:, :, 0]), x, inflation_of(patterns)) ** 2
    fits.sigmas[:, :, 0] = np.hypot(fits.sigmas[:, :, 0], _binning(patterns, x, axis, fits))
    result = _table(patterns, expected, fits, status, axis, noise.kind, setting)
    return record(
        result, "curves.fit_peaks", near=near, width=width, window=window, search=search, background=background,
        significance=significance,
    )  # fmt: skip


def _places(patterns: xr.Dataset, axis: str, x: np.ndarray) -> np.ndarray:
    """Return where the points of a pattern lie: at the mean of their pixels where that is known, else at `x`.

    Where rings thin out or end the two differ by up to a thousandth of a line's width, for all frames alike.
    """
    name = f"{axis}_mean"
    if name not in patterns or patterns[name].dims != (axis,):
        return x
    mean = np.asarray(patterns[name].values, dtype=float)
    places = np.where(np.isfinite(mean), mean, x)
    # Split pixels at the edge of a mask may put two means out of order: there the centres are taken.
    while (unordered := np.diff(places) <= 0).any():
        wrong = np.append(unordered, False) | np.insert(unordered, 0, False)
        wrong |= np.append(wrong[1:], False) | np.insert(wrong[:-1], 0, False)
        if (places[wrong] == x[wrong]).all():
            return x
        places = np.where(wrong, x, places)
    return np.ascontiguousarray(places)


def doublet(patterns: xr.Dataset, axis: str) -> tuple[float, float]:
    """Return intensity and wavelength of Kα2 over those of Kα1; (0, 1) where there is one wavelength."""
    if not {"wavelength", "wavelength_alpha2", "alpha2_ratio"} <= patterns.attrs.keys():
        return 0.0, 1.0
    if axis != "two_theta":
        warnings.warn(
            "patterns.attrs state a Kα1 + Kα2 doublet, which is fitted on two_theta only: on q each peak is one line "
            "and its position lies between both; fit on two_theta, or remove attrs['alpha2_ratio'] if Kα2 is stripped",
            stacklevel=3,
        )
        return 0.0, 1.0
    ratio = float(patterns.attrs["alpha2_ratio"])
    scale = float(patterns.attrs["wavelength_alpha2"]) / float(patterns.attrs["wavelength"])
    if not (0 <= ratio <= 1 and 1 <= scale < 1.1):
        raise ValueError(
            f"patterns.attrs state alpha2_ratio {ratio:g} and wavelength_alpha2 / wavelength {scale:g}; "
            "expected 0 to 1 and 1 to 1.1, wavelength being that of Kα1"
        )
    return ratio, scale


def _binning(patterns: xr.Dataset, x: np.ndarray, axis: str, fits: Fits) -> np.ndarray:
    """Return (frame, peak) what binning whole pixels does to a position.

    A pixel lies up to half a bin beside the middle of its bin: step / √12, averaged over the N pixels within the
    full width. A pixel that is split does not, nor does one whose place enters the mean of its bin.
    """
    is_split = patterns.attrs.get("split", "no") != "no"
    if is_split or f"{axis}_mean" in patterns or "n_pixels" not in patterns or axis not in patterns["n_pixels"].dims:
        return np.zeros(fits.state.shape)
    pixels = np.asarray(patterns["n_pixels"].transpose(..., axis).values, dtype=float)
    total = np.cumsum(np.broadcast_to(np.nan_to_num(pixels), (len(fits.state), len(x))), axis=1)
    step = (x[-1] - x[0]) / (len(x) - 1)
    place, half = np.nan_to_num(fits.values[:, :, 0]), 0.5 * np.nan_to_num(fits.values[:, :, 2])
    low, high = (np.clip((end - x[0]) / step, 0, len(x) - 1).astype(int) for end in (place - half, place + half))
    inside = np.take_along_axis(total, high, axis=1) - np.take_along_axis(total, low, axis=1)
    return step / np.sqrt(12.0 * np.maximum(inside, 1.0))


def _refuse_not_positive(**given: float | None) -> None:
    for name, value in given.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive, got {value!r}")


def _search(expected: Seeds, search: float | None, width: float, axis: str) -> np.ndarray:
    if search is not None:
        return np.full(len(expected), float(search))
    scale = to_scale(expected.position, axis) * (1.0 + first.CELL_TOLERANCE)
    if axis != "q":
        scale = np.minimum(scale, 1.0)
    of_cell = from_scale(scale, axis) - expected.position
    return np.where(expected.phase != "", np.maximum(of_cell, 2.0 * width), 2.0 * width)


def _table(
    patterns: xr.Dataset, expected: Seeds, fits: Fits, status: np.ndarray, axis: str, noise: str, setting: Setting
) -> xr.Dataset:
    unit = str(patterns[axis].attrs["units"])
    height = str(patterns["intensity"].attrs.get("units", "1"))
    units = (unit, height, unit, "1", unit if height == "1" else f"{height} {unit}")
    names = ("peak position", "peak height", "full width at half maximum", "Lorentzian part", "peak area")
    dims, lost = ("frame", "peak"), status > follow.AT_BOUND
    table: dict[str, Any] = {}
    for i, (name, told) in enumerate(zip(PARAMETERS, names)):
        table[name] = quantity(dims, np.where(lost, np.nan, fits.values[:, :, i]), units[i], told)
        sigma = np.where(lost, np.nan, fits.sigmas[:, :, i])
        table[f"{name}_sigma"] = quantity(dims, sigma, units[i], f"standard uncertainty of {told}")
    chi2 = np.where(lost, np.nan, fits.chi2_reduced)
    table["chi2_reduced"] = quantity(dims, chi2, "1", "reduced chi-squared of the window")
    flags = {"flag_values": list(range(6)), "flag_meanings": MEANINGS}
    table["status"] = quantity(dims, status, "1", "status of the fit", **flags)
    passed = {
        name: coord.variable
        for name, coord in patterns.coords.items()
        if coord.dims in (("frame",), ())
    }  # fmt: skip
    frames = np.arange(len(status), dtype=np.int64)
    coords = {
        "frame": quantity("frame", frames, "1", "frame"),
        **passed,
        "peak": quantity("peak", np.arange(len(expected), dtype=np.int64), "1", "peak"),
        "hkl": quantity("peak", expected.hkl.astype(str), "1", "reflection"),
        "phase": quantity("peak", expected.phase.astype(str), "1", "phase"),
    }
    for name in ("time", "exposure", "file"):
        if name in patterns.variables and name not in coords:
            coords[name] = patterns[name].variable
    attrs = {**patterns.attrs, "axis": axis, "noise": noise, "typical_fwhm": float(setting.width)}
    return xr.Dataset(table, coords, attrs)
