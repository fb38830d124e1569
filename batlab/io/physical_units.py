"""Units as files spell them, brought to the data model's."""

from __future__ import annotations

import math
from typing import SupportsFloat

from batlab.errors import ReadError

_LENGTH = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "angstrom": 1e-10, "pm": 1e-12}
_SPELLINGS = {
    "meter": "m", "metre": "m", "meters": "m", "metres": "m", "centimeter": "cm", "millimeter": "mm",
    "millimetre": "mm", "millimeters": "mm", "micrometer": "um", "micrometre": "um", "micrometers": "um",
    "micron": "um", "microns": "um", "µm": "um", "μm": "um", "nanometer": "nm", "nanometre": "nm", "nanometers": "nm",
    "a": "angstrom", "å": "angstrom", "ang": "angstrom", "angstroms": "angstrom", "picometer": "pm",
    "second": "s", "seconds": "s", "sec": "s", "millisecond": "ms", "milliseconds": "ms", "msec": "ms",
    "microsecond": "us", "microseconds": "us", "µs": "us", "μs": "us", "nanosecond": "ns", "nanoseconds": "ns",
    "deg": "degree", "degrees": "degree", "°": "degree", "radian": "rad", "radians": "rad",
    "kiloelectronvolt": "kev", "electronvolt": "ev",
}  # fmt: skip
# Target unit -> factor from each unit to it.
_FACTORS = {
    "m": _LENGTH,
    "angstrom": {unit: size * 1e10 for unit, size in _LENGTH.items()},
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0},
    "eV": {"ev": 1.0, "kev": 1e3, "mev": 1e-3, "j": 1 / 1.602176634e-19},
    "degree": {"degree": 1.0, "rad": 57.29577951308232, "mrad": 0.05729577951308232},
    "1/angstrom": {unit: 1e-10 / size for unit, size in _LENGTH.items()},
}


def factor(units: object, to: str, where: str) -> float:
    """Return what a number in `units` is to be multiplied with to be in `to`.

    Parameters
    ----------
    units
        As the file has it: ``"nm^-1"``, ``"1/Å"``, ``"keV"``, ``"millimeter"``.
    to
        One of m, angstrom, s, eV, degree, 1/angstrom.
    where
        What carries the unit, for the error.

    Raises
    ------
    ReadError
        `units` is none of a length, a time, … as `to` is.

    Examples
    --------
    >>> factor("nm^-1", "1/angstrom", "q")
    0.1
    """
    text = str(units).strip()
    # 'MeV' is no milli-electronvolt; all else is spelt in any case.
    known = "megaelectronvolt" if text == "MeV" else text.lower()
    if to == "1/angstrom":
        stem = inverse(known)
        known = stem if stem is not None else "?"
    known = _SPELLINGS.get(known, known)
    value = _FACTORS[to].get(known)
    if value is None:
        raise ReadError(f"{where} is in {text!r}; expected a unit that can be turned into {to}")
    return float(f"{value:.15g}")


def positive(name: str, value: object) -> float:
    """Return the hint `name` as a number; refuse what is none, not finite or not above 0.

    >>> positive("wavelength", "short")
    Traceback (most recent call last):
        ...
    ValueError: wavelength must be a number above 0, got 'short'
    """
    is_number = isinstance(value, SupportsFloat) and not isinstance(value, bool)
    if not is_number or not math.isfinite(float(value)) or float(value) <= 0:  # type: ignore[arg-type]
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def inverse(text: str) -> str | None:
    """Return the unit of length of an inverse length (``"nm"`` of ``"nm^-1"``), or None if it is none."""
    text = text.strip().lower().replace(" ", "").replace("⁻¹", "^-1").replace("**-1", "^-1").replace("{-1}", "-1")
    if text.startswith("1/"):
        return text[2:]
    for ending in ("^-1", "^(-1)", "-1"):
        if text.endswith(ending):
            return text.removesuffix(ending)
    return None
