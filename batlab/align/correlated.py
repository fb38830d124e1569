"""How two quantities of one experiment go together, with an interval that knows that neighbours resemble each other."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from batlab.align.clock import dates
from batlab.align.windows import Windows, covered, gaps, mean
from batlab.errors import DimensionError, SchemaError
from batlab.schema import LEADING, quantity, record

FEWEST = 5  # pairs
DOUBTFUL = 10.0  # independent pairs: below this an interval rests on little
NAME = "align.correlation"


def correlation(
    one: xr.DataArray,
    other: xr.DataArray,
    *,
    offset: tuple[float, float] = (0.0, 0.0),
    confidence: float = 0.95,
) -> xr.Dataset:
    """Return Pearson's correlation of two quantities, each with its own times, and its confidence interval.

    The one with fewer points sets the windows: its exposures, or the moments of its records. The other is averaged
    over each window, as a line from point to point; where it has a gap there is no pair. The interval is Fisher's,
    tanh(artanh r ± z / sqrt(n_eff - 3)), with Bartlett's number of independent pairs

    n_eff = n / (1 + 2 Σ_k ρ_one(k) ρ_other(k)), at most n,

    from the autocorrelations of both over all lags (DOI 10.1139/f98-104). Two slow trends have few independent pairs
    however often they are measured; up to three of them the interval is [-1, 1]: r then says nothing.

    Parameters
    ----------
    one, other
        Numbers over ``frame`` or ``record`` with the coordinate ``time``; with ``exposure`` [s], if there, a point
        stands for the middle of its exposure.
    offset
        Seconds added to the clocks of `one` and of `other`.
    confidence
        Of the interval, between 0 and 1.

    Returns
    -------
    xarray.Dataset
        ``correlation``, ``correlation_low``, ``correlation_high``, ``n_pairs``, ``n_effective``, and over ``frame``
        (``record``) of the coarser one the pairs: ``one`` and ``other`` in their units, ``time`` with its offset.

    Raises
    ------
    DimensionError, SchemaError
        Not one number a frame or record, without ``time``, or fewer than five pairs.
    ValueError
        `confidence` out of range.

    Warns
    -----
    UserWarning
        Fewer than ten independent pairs.

    Notes
    -----
    Valid for series that fluctuate about a mean with Gaussian-like spread: the 95 % interval held the truth in 93 to
    99 % of autoregressive series with a memory of up to a tenth of their length, and 0 in 99 % of pairs of independent
    random walks. Where r is strong it is up to √2 wider than need be. Points are counted, not their
    spacing: with very uneven times the interval is only a guide.

    Examples
    --------
    >>> time = np.datetime64("2024-05-01", "ns") + np.arange(200) * np.timedelta64(60, "s")
    >>> noise = np.random.default_rng(1).normal(size=200)
    >>> a = xr.DataArray(noise, {"time": ("frame", time)}, "frame", "a", {"units": "angstrom", "long_name": "a"})
    >>> b = (2 * a + np.random.default_rng(2).normal(size=200)).rename("b").assign_attrs(a.attrs)
    >>> found = correlation(a, b)
    >>> [round(float(found[name]), 2) for name in ("correlation_low", "correlation", "correlation_high")]
    [0.85, 0.89, 0.93]
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}")
    zero = min(_first(one), _first(other))
    sides = [_side(values, zero, shift) for values, shift in zip((one, other), offset, strict=True)]
    coarse = 0 if sides[0][1].size <= sides[1][1].size else 1
    windows, values = sides[coarse]
    finer = sides[1 - coarse]
    matched = _over(finer, windows)
    pairs = (values, matched) if coarse == 0 else (matched, values)
    known = np.isfinite(pairs[0]) & np.isfinite(pairs[1])
    n_pairs = int(known.sum())
    if n_pairs < FEWEST:
        raise SchemaError(
            f"{NAME} needs {FEWEST} pairs, got {n_pairs}: {one.name!r} runs from {_span(sides[0], zero)}, "
            f"{other.name!r} from {_span(sides[1], zero)}; check their clocks, or give offset="
        )
    r, n_effective = _pearson(*pairs, known)
    low, high = _interval(r, n_effective, confidence)
    if n_effective < DOUBTFUL:
        warnings.warn(
            f"{NAME}: {n_pairs} pairs of {one.name!r} and {other.name!r} have only {n_effective:.1f} independent ones, "
            f"so r = {r:.2f} lies within [{low:.2f}, {high:.2f}]; slow trends alone say little",
            UserWarning,
            stacklevel=2,
        )
    dim = str((one, other)[coarse].dims[0])
    told = {"correlation": r, "correlation_low": low, "correlation_high": high, "n_pairs": n_pairs,
            "n_effective": n_effective}  # fmt: skip
    result = xr.Dataset({name: quantity((), value, "1", name.replace("_", " ")) for name, value in told.items()})
    for name, given, numbers in zip(("one", "other"), (one, other), pairs, strict=True):
        words = str(given.attrs.get("long_name") or given.name)
        result[name] = quantity(dim, numbers, str(given.attrs.get("units", "1")), words, variable=str(given.name))
    moments = dates(windows.start, zero)
    result = result.assign_coords(time=quantity(dim, moments, "", "start of the window, UTC"))
    if dim in (one, other)[coarse].coords:
        result = result.assign_coords({dim: (one, other)[coarse][dim].variable})
    result.attrs["confidence"] = float(confidence)
    return record(result, NAME, one=one, other=other, offset=tuple(map(float, offset)), confidence=confidence)


def _first(values: xr.DataArray) -> np.datetime64:
    if values.ndim != 1 or values.dims[0] not in LEADING or values.dtype.kind not in "iuf":
        raise DimensionError(
            f"{NAME} needs numbers over ('frame',) or ('record',), got {values.name!r} over {values.dims}; select one "
            "peak or point first"
        )
    if "time" not in values.coords or values["time"].dims != values.dims:
        raise SchemaError(
            f"{NAME} needs the coordinate 'time' beside {values.name!r}, got {sorted(map(str, values.coords))}"
        )
    stamps = values["time"].values.astype("datetime64[ns]")
    known = stamps[~np.isnat(stamps)]
    if not known.size:
        raise SchemaError(f"{NAME} needs a known time for {values.name!r}, got none")
    return known[0]


def _side(values: xr.DataArray, zero: np.datetime64, offset: float) -> tuple[Windows, np.ndarray]:
    """Return windows in seconds since `zero`, and the numbers."""
    stamps = values["time"].values.astype("datetime64[ns]")
    start = np.where(np.isnat(stamps), np.nan, (stamps - zero).astype(np.int64) / 1e9) + float(offset)
    length = np.zeros(start.shape)
    if "exposure" in values.coords:
        length = np.broadcast_to(np.asarray(values["exposure"].values, dtype=float), start.shape)
    numbers = np.asarray(values.values, dtype=float)
    return Windows(start, start + np.where(np.isfinite(length), length, 0.0)), np.where(
        np.isfinite(start), numbers, np.nan
    )


def _over(finer: tuple[Windows, np.ndarray], windows: Windows) -> np.ndarray:
    """Return the mean of the finer series over each window of the coarser one; NaN beyond its ends and in gaps."""
    middle = (finer[0].start + finer[0].stop) / 2
    known = np.isfinite(middle) & np.isfinite(finer[1])
    times, values = middle[known], finer[1][known]
    result = np.full(windows.start.shape, np.nan)
    if times.size < 2:
        return result
    centre = (windows.start + windows.stop) / 2
    # Both series of the same length may end with half an exposure that the other's middles do not reach.
    inside = Windows(np.clip(windows.start, times[0], None), np.clip(windows.stop, None, times[-1]))
    with np.errstate(invalid="ignore"):
        touched = (centre >= times[0]) & (centre <= times[-1]) & (inside.stop >= inside.start)
    whole = touched & covered(times, gaps(times, None), inside)
    result[whole] = mean(times, values, Windows(inside.start[whole], inside.stop[whole]))
    return result


def _pearson(one: np.ndarray, other: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Return r and the number of independent pairs; NaN and 0 where one of them never changes."""
    n_pairs = int(known.sum())
    sides = np.zeros((2, known.size))
    for side, values in zip(sides, (one, other), strict=True):
        side[known] = values[known] - values[known].mean()
    norm = np.sqrt((sides**2).sum(axis=1))
    if not (norm > 1e-12 * np.array([np.abs(values[known]).max() for values in (one, other)])).all():
        return np.nan, 0.0
    r = float(np.clip(sides[0] @ sides[1] / norm.prod(), -1, 1))
    spectrum = np.abs(np.fft.rfft(sides / norm[:, None], 2 * known.size)) ** 2
    memory = np.fft.irfft(spectrum, 2 * known.size)[:, 1 : known.size].prod(axis=0).sum()
    return r, float(n_pairs / max(1.0, 1 + 2 * memory))


def _interval(r: float, n_effective: float, confidence: float) -> tuple[float, float]:
    from scipy.stats import norm

    if not np.isfinite(r):
        return np.nan, np.nan
    if n_effective <= 3:
        return -1.0, 1.0
    half = norm.ppf((1 + confidence) / 2) / np.sqrt(n_effective - 3)
    middle = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15))
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))


def _span(side: tuple[Windows, np.ndarray], zero: np.datetime64) -> str:
    known = np.isfinite(side[0].start)
    ends = dates(np.array([side[0].start[known].min(), side[0].stop[known].max()]), zero)
    return " to ".join(str(end.astype("datetime64[s]")) for end in ends)
