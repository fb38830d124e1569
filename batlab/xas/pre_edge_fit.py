"""Peaks before the edge: fitted on the tail of the edge, with the error that the tail brings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from batlab import curves, threads
from batlab.curves.fit import MEANINGS
from batlab.curves.follow import AT_BOUND, NO_DATA, NO_PEAK, NOT_CONVERGED, OK
from batlab.curves.groups import HEIGHT, Fits, Setting, fit_groups
from batlab.curves.noise import Noise
from batlab.errors import choose
from batlab.schema import quantity, record
from batlab.xas.pre_edge_baseline import FORMS, Baseline, baseline_of
from batlab.xas.pre_edge_errors import Peaks, areas_of, covariance_of, together
from batlab.xas.xanes_series import Spectra, spectra_of, table_of

FUNCTION = "xas.pre_edge_peaks"
BELOW, ABOVE = 20.0, 5.0  # eV beside the peaks, for the baseline
FEWEST = 6  # points beside the peaks, and within
PARAMETERS = ("position", "height", "fwhm", "eta")
SIGNIFICANCE = 5.0  # σ by which a peak stands out
STARTS = ((0.6, 0.0), (1.0, 0.3), (1.6, 0.0))  # widths in units of the typical one, Lorentzian part


def pre_edge_peaks(
    series: xr.Dataset,
    *,
    region: tuple[float, float],
    near: Sequence[float] | None = None,
    of: str = "mu_norm",
    baseline: str = "lorentzian",
    around: tuple[float, float] | None = None,
    width: float = 2.0,
) -> xr.Dataset:
    """Fit the peaks before the edge in every frame: position, height, area, and their centroid, each with its σ.

    First the baseline: ``"lorentzian"`` ``a + b E + c / (1 + ((E - E1) / w)²)``, E1 above the peaks, or
    ``"arctangent"`` ``a + b E + c (1/2 + arctan((E - E1) / w) / π)``, or ``"linear"``, ``"quadratic"``, ``"cubic"``;
    by least squares on the points of `around` outside `region`. What is left in `region` is fitted by one pseudo-Voigt
    a peak, all together, followed from frame to frame (`curves.fit_peaks`) and from several starts. The centroid is
    that of the fitted peaks, weighted by area; compare those of samples fitted alike (Wilke et al. [1]_).

    σ hold the noise (``<of>_sigma`` where known, else the scatter about the baseline; widened where the peaks fit worse
    than that), the correlations of peaks that overlap, and the covariance of the baseline; the choice of its form and
    of the windows is not in them.

    Parameters
    ----------
    series
        Normalized, over (``frame``, ``energy``) or ``energy``.
    region
        From, to [eV]: the peaks and nothing else.
    near
        Where peaks are expected [eV], to about `width`; None looks for them in the mean of all frames.
    of
        ``"mu_norm"``, ``"mu_flat"``.
    baseline
        Its form.
    around
        From, to [eV]: where the baseline is fitted; by default from 20 eV below to 5 eV above the region.
    width
        Typical full width of a peak at half its height [eV].

    Returns
    -------
    xarray.Dataset
        Over (``frame``, ``peak``): ``position`` [eV], ``height`` [1], ``fwhm`` [eV], ``eta`` [1], ``area`` [eV];
        over ``frame``: ``centroid`` [eV], ``total_area`` [eV]; each with ``_sigma``; ``status`` of `curves.fit_peaks`
        (NaN from 2 up); over (``frame``, ``energy``): ``baseline`` and ``pre_edge``, the spectrum above it.

    Raises
    ------
    ValueError
        Unknown forms; windows without enough points; no peak found.
    DimensionError, SchemaError
        Not normalized.

    Warns
    -----
    UserWarning
        If no peak stands out in any frame.

    References
    ----------
    .. [1] Wilke et al., Am. Mineral. 86, 714 (2001), doi:10.2138/am-2001-5-612.

    Examples
    --------
    >>> energy = np.arange(5440.0, 5500.0, 0.3)
    >>> edge = 1 / (1 + ((energy - 5490) / 8) ** 2)
    >>> mu = edge + 0.6 * np.exp(-2.77 * ((energy - 5469.5) / 2.4) ** 2)
    >>> scan = xr.Dataset({"mu_norm": quantity("energy", mu, "1", "normalized absorption")},
    ...                   {"energy": quantity("energy", energy, "eV", "energy")})
    >>> peaks = pre_edge_peaks(scan, region=(5464, 5474), near=[5469])
    >>> round(float(peaks.position[0]), 2), round(float(peaks.height[0]), 2)
    (5469.5, 0.6)
    """
    choose("baseline", baseline, FORMS)
    if not (np.isfinite(width) and width > 0):
        raise ValueError(f"width must be positive, in eV, got {width!r}")
    spectra = spectra_of(series, of, FUNCTION, "run xas.normalize first")
    cut, inside = _windows(spectra, region, around)
    under = baseline_of(cut.energy, cut.values, ~inside, baseline)
    left = cut.values - under.curve
    noise = _noise(cut, under)
    patterns = _patterns(cut.energy, left, noise)
    expected = _expected(patterns, near, region, width)
    peaks = _fitted(patterns.isel(q=np.flatnonzero(inside)), expected, width)
    result = table_of(series, _variables(cut, left, noise, under, inside, peaks))
    result = result.assign_coords(
        energy=quantity("energy", cut.energy, "eV", "energy"),
        peak=quantity("peak", np.arange(len(expected)), "1", "peak"),
    )
    result.attrs["baseline"] = baseline
    return record(
        result, FUNCTION, region=region, near=None if near is None else list(near), of=of, baseline=baseline,
        around=around, width=width,
    )  # fmt: skip


def _windows(
    spectra: Spectra, region: tuple[float, float], around: tuple[float, float] | None
) -> tuple[Spectra, np.ndarray]:
    """Return the spectra within the outer window, and which of its points are the peaks'."""
    low, high = region
    start, end = (low - BELOW, high + ABOVE) if around is None else around
    if not start < low < high < end:
        raise ValueError(
            f"around must enclose region, both rising, in eV; got around=({start}, {end}), region={region}"
        )
    wide = (spectra.energy >= start) & (spectra.energy <= end)
    energy = spectra.energy[wide]
    inside = (energy >= low) & (energy <= high)
    counts = int((energy < low).sum()), int(inside.sum()), int((energy > high).sum())
    if counts[1] < FEWEST or counts[0] + counts[2] < FEWEST or min(counts) == 0:
        raise ValueError(
            f"below, in and above region={region} lie {counts[0]}, {counts[1]} and {counts[2]} points of the spectra, "
            f"{spectra.energy[0]:.1f} to {spectra.energy[-1]:.1f} eV; {FEWEST} within and beside are needed: widen them"
        )
    sigma = None if spectra.sigma is None else spectra.sigma[:, wide]
    return Spectra(energy, spectra.values[:, wide], sigma, spectra.is_single), inside


def _noise(cut: Spectra, under: Baseline) -> np.ndarray:
    """Return σ (frame, point): as stated, else the scatter about the baseline."""
    if cut.sigma is not None:
        return cut.sigma
    least = 1e-9 * np.nanmax(np.abs(cut.values), initial=1.0)
    return np.broadcast_to(np.maximum(under.noise, least)[:, None], cut.values.shape)


def _patterns(energy: np.ndarray, left: np.ndarray, noise: np.ndarray) -> xr.Dataset:
    """Return the peaks as a family of curves; the machinery of `curves` calls its axis q, whatever its unit."""
    return xr.Dataset(
        {
            "intensity": quantity(("frame", "q"), left, "1", "absorption above the baseline"),
            "intensity_sigma": quantity(("frame", "q"), np.array(noise), "1", "1 sigma"),
        },
        {"q": quantity("q", energy, "eV", "energy")},
    )


def _expected(
    patterns: xr.Dataset, near: Sequence[float] | None, region: tuple[float, float], width: float
) -> np.ndarray:
    if near is None:
        seen = np.asarray(curves.find_peaks(patterns, width=width)["position"].values)
        near = seen[(seen >= region[0]) & (seen <= region[1])].tolist()
        if not near:
            raise ValueError(f"no peak stands out between {region[0]:g} and {region[1]:g} eV; say near=[…], or width=…")
    expected = np.sort(np.atleast_1d(np.asarray(near, dtype=float)))
    if not len(expected) or not ((expected >= region[0]) & (expected <= region[1])).all():
        raise ValueError(f"near must lie within region={region} eV, got {expected.tolist()}")
    return expected


def _fitted(patterns: xr.Dataset, expected: np.ndarray, width: float) -> Peaks:
    """Fit all peaks together in every frame, from several starts, of which the best counts.

    `curves.fit_peaks` follows the peaks through the series; overlapping ones it may leave in a poor minimum, so that
    each frame is tried again from there and from the named places, with narrow and with wide peaks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # whether peaks are there is said below
        span = float(np.ptp(patterns["q"].values))
        followed = curves.fit_peaks(
            patterns, near=list(expected), width=width, window=span, search=width, background=None
        )
    x, left = patterns["q"].values, patterns["intensity"].values
    noise = Noise(patterns["intensity_sigma"].values ** 2, np.zeros(len(left)), "intensity_sigma")
    setting = Setting("q", width, span, 0, SIGNIFICANCE, 0.0, 1.0, threads.effective())
    seen = followed["position"].values
    shape = seen.shape
    named = np.broadcast_to(expected, shape)
    places = [named, np.where(np.isfinite(seen).all(axis=1, keepdims=True), seen, named)]
    best = Fits.empty(*shape)
    for place in places:
        for wide, tails in STARTS:
            start = np.stack([place, np.full(shape, wide * width), np.full(shape, tails)], axis=2)
            found = fit_groups(x, left, noise, start, np.full(shape, width), np.ones(shape, bool), setting)
            fine = np.isfinite(found.chi2_reduced).all(axis=1) & (found.state == 0).all(axis=1)
            better = np.flatnonzero(fine & ~(found.chi2_reduced[:, 0] >= best.chi2_reduced[:, 0]))
            best.put(better, found, better)
    status = np.where(best.state < 0, NOT_CONVERGED, np.where(best.at_bound & ~HEIGHT > 0, AT_BOUND, OK))
    status = np.where((status <= AT_BOUND) & ~(best.strength > SIGNIFICANCE), NO_PEAK, status)
    enough = np.isfinite(left).sum(axis=1) > 4 * len(expected)
    status = np.where(enough[:, None], status, NO_DATA).astype(np.int8)
    if not (status <= AT_BOUND).any():
        warnings.warn(
            f"{FUNCTION}: none of {len(expected)} peaks exceeds {SIGNIFICANCE:g} sigma in any of {len(left)} frames",
            UserWarning,
            stacklevel=3,
        )
    absent = status > AT_BOUND
    return Peaks(np.where(absent[..., None], 0.0, best.values[:, :, :4]), absent, status)


def _variables(
    cut: Spectra, left: np.ndarray, noise: np.ndarray, under: Baseline, inside: np.ndarray, peaks: Peaks
) -> dict[str, xr.Variable]:
    part = Baseline(under.curve[:, inside], under.slopes[:, inside], under.covariance, under.noise)
    found = covariance_of(cut.energy[inside], noise[:, inside], left[:, inside], part, peaks)
    absent = peaks.absent
    shape = absent.shape
    data: dict[str, xr.Variable] = {}

    def put(name: str, values: np.ndarray, spread: np.ndarray, unit: str, told: str) -> None:
        dims = ("frame", "peak")[: values.ndim]
        for label, numbers, text in ((name, values, told), (f"{name}_sigma", spread, f"1 sigma of {name}")):
            data[label] = quantity(
                dims[1:] if cut.is_single else dims, numbers[0] if cut.is_single else numbers, unit, text
            )

    spread = np.sqrt(np.einsum("fpp->fp", found.matrix)).reshape(*shape, 4)
    units = ("eV", "1", "eV", "1")
    told = ("peak position", "peak height", "full width at half maximum", "Lorentzian part")
    for i, name in enumerate(PARAMETERS):
        values = np.where(absent, np.nan, found.values[:, :, i])
        put(name, values, np.where(absent, np.nan, spread[:, :, i]), units[i], told[i])
    area, slopes = areas_of(found.values)
    sigma = np.sqrt(np.einsum("fkp,fpq,fkq->fk", slopes, found.matrix, slopes))
    put("area", np.where(absent, np.nan, area), np.where(absent, np.nan, sigma), "eV", "peak area")
    none = absent.all(axis=1)
    total, centre, sums = together(found.values[:, :, 0], area, slopes)
    spreads = np.sqrt(np.einsum("fkp,fpq,fkq->fk", sums, found.matrix, sums))
    put("total_area", np.where(none, np.nan, total), np.where(none, np.nan, spreads[:, 0]), "eV", "area of all peaks")
    put(
        "centroid", np.where(none, np.nan, centre), np.where(none, np.nan, spreads[:, 1]), "eV", "centroid of all peaks"
    )
    flags = {"flag_values": list(range(6)), "flag_meanings": MEANINGS}
    status = peaks.status
    dims = ("peak",) if cut.is_single else ("frame", "peak")
    data["status"] = quantity(dims, status[0] if cut.is_single else status, "1", "status of the fit", **flags)
    data["baseline"] = cut.curves(under.curve, "1", "baseline under the pre-edge peaks")
    data["pre_edge"] = cut.curves(left, "1", "absorption above the baseline")
    return data
