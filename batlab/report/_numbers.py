"""Numbers as people write them: as many digits as the uncertainty allows."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from batlab.figures.style import unit_sign

NOTHING = "–"


def with_sigma(value: float, sigma: float = math.nan, units: str = "1") -> str:
    """Return a value with its 1 σ in brackets, in units of the last digit, and its unit.

    The uncertainty has one digit, two where it begins with 1 (the rule of the Particle Data Group, rounded);
    six digits are shown where there is none.

    Examples
    --------
    >>> with_sigma(8.15823, 0.00041, "angstrom"), with_sigma(561.23, 1.31), with_sigma(1234.0, 56.0)
    ('8.1582(4) Å', '561.2(13)', '1230(60)')
    """
    sign = unit_sign(units)
    unit = sign if sign in ("", "°") else f" {sign}"
    if not math.isfinite(value):
        return NOTHING
    if not math.isfinite(sigma) or sigma <= 0:
        return f"{_plain(value)}{unit}"
    power = 0
    if value and not 1e-4 <= max(abs(value), sigma) < 1e7:
        power = math.floor(math.log10(max(abs(value), sigma)))
    text = _bracketed(value / 10.0**power, sigma / 10.0**power)
    return f"{text}{_times(power)}{unit}"


def between(value: float, low: float, high: float) -> str:
    """Return a value and its confidence limits, to a tenth of their distance.

    >>> between(46.875, 45.625, 48.0)
    '46.9 (45.6 to 48.0)'
    """
    if not all(map(math.isfinite, (value, low, high))):
        return _plain(value) if math.isfinite(value) else NOTHING
    if not low < high:
        return f"{_plain(value)} (limits not known)"
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _bracketed(value: float, sigma: float) -> str:
    place = math.floor(math.log10(sigma))
    first = sigma / 10.0**place
    digits = 2 if round(first, 1) < 2 else 1
    last = place - digits + 1
    rounded = round(sigma / 10.0**last)
    if last < 0:
        return f"{value:.{-last}f}({rounded})"
    return f"{round(value / 10.0**last) * 10**last:d}({rounded * 10**last:d})"


def _plain(value: float) -> str:
    if value and not 1e-4 <= abs(value) < 1e7:
        power = math.floor(math.log10(abs(value)))
        return f"{value / 10.0**power:.4g}{_times(power)}"
    return f"{value:.6g}"


def _times(power: int) -> str:
    return f"×10{str(power).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}" if power else ""


def column_text(table: xr.Dataset, name: str) -> list[str]:
    """Return a one-dimensional variable as text, each number with its σ, without its unit."""
    values = np.atleast_1d(table[name].values)
    if values.dtype.kind == "M":
        return [moment(value) for value in values]
    if values.dtype.kind not in "iufb":
        return [str(value) for value in values]
    sigma = np.full(values.shape, math.nan)
    if f"{name}_sigma" in table:
        sigma = np.atleast_1d(table[f"{name}_sigma"].values)
    return [with_sigma(float(value), float(one)) for value, one in zip(values, sigma, strict=True)]


def cell_text(table: xr.Dataset, name: str, **where: int) -> str:
    """Return one number of `table` with its σ, without its unit."""
    names = [one for one in (name, f"{name}_sigma") if one in table]
    return column_text(table[names].isel(where), name)[0]


def measure(table: xr.Dataset, name: str, **where: int) -> str:
    """Return one number of `table` with its σ and its unit."""
    unit = unit_sign(str(table[name].attrs.get("units", "1")))
    return f"{cell_text(table, name, **where)}{'' if unit in ('', '°') else ' '}{unit}"


def moment(time: Any) -> str:
    """Return a time (numpy or datetime, UTC) to the second."""
    if isinstance(time, datetime):
        time = np.datetime64(time.astimezone(UTC).replace(tzinfo=None))
    if np.isnat(time):
        return NOTHING
    return str(np.datetime_as_string(np.datetime64(time), unit="s")).replace("T", " ") + " UTC"


def duration(seconds: float) -> str:
    """Return a time span in its natural unit.

    >>> duration(29520.0), duration(95.0)
    ('8.20 h', '95 s')
    """
    for unit, length in (("d", 172800.0), ("h", 7200.0), ("min", 120.0)):
        if seconds >= length:
            return f"{seconds / {'d': 86400.0, 'h': 3600.0, 'min': 60.0}[unit]:.2f} {unit}"
    return f"{seconds:g} s"


def header(variable: xr.DataArray) -> str:
    """Return the name of a column with its unit."""
    from batlab.figures.style import axis_label

    return axis_label(variable)
