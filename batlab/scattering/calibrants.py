"""Calibrants: substances whose rings are known, by pyFAI's names or by their spacings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batlab.errors import did_you_mean

CLOSER = 1e-4  # relative; lines closer than this are one ring: a cubic 333 and 511, up to the rounding of a table


def calibrants() -> tuple[str, ...]:
    """Return the names that `ring_spacings` knows: pyFAI's.

    Examples
    --------
    >>> "LaB6" in calibrants()
    True
    """
    from pyFAI.calibrant import ALL_CALIBRANTS

    return tuple(sorted(ALL_CALIBRANTS.keys()))


def ring_spacings(calibrant: str | Sequence[float]) -> np.ndarray:
    """Return the spacings d of a calibrant's rings in angstrom, innermost ring (largest d) first.

    Parameters
    ----------
    calibrant
        A name of `calibrants`, such as ``"LaB6_SRM660c"`` (a = 4.156826 Å as certified, doi:10.18434/M32298; pyFAI's
        ``"LaB6"`` has the same), ``"CeO2"`` (a = 5.4116 Å) or ``"AgBh"`` (d = 58.38 Å); or the spacings themselves.

    Raises
    ------
    ValueError
        An unknown name, or spacings that are not positive and finite.

    Examples
    --------
    >>> ring_spacings("LaB6_SRM660c")[:2].round(6).tolist()
    [4.156826, 2.93932]
    """
    if isinstance(calibrant, str):
        names = calibrants()
        if calibrant not in names:
            near = did_you_mean(calibrant, names) or _same_letters(calibrant, names)
            raise ValueError(f"calibrant must be one of {', '.join(names)}, got {calibrant!r}{near}")
        from pyFAI.calibrant import get_calibrant

        spacings = np.array(get_calibrant(calibrant).dspacing, float)
    else:
        spacings = np.array(calibrant, float).ravel()
    if not spacings.size or not (np.isfinite(spacings) & (spacings > 0)).all():
        raise ValueError(f"spacings of a calibrant must be positive, in angstrom, got {spacings[:5]}")
    spacings = np.sort(spacings)[::-1]
    return spacings[np.r_[True, np.diff(spacings) < -CLOSER * spacings[1:]]]


def angles_of(wavelength: float | None, spacings: np.ndarray) -> np.ndarray:
    """Return 2θ in radian of rings of these spacings; those beyond 180° are left out.

    >>> np.degrees(angles_of(1.0, np.array([1.0, 0.4]))).round(6).tolist()
    [60.0]
    """
    sine = (wavelength or 0.0) / (2 * spacings)
    return 2 * np.arcsin(sine[sine < 1])


def _same_letters(word: str, names: Sequence[str]) -> str:
    near = [name for name in names if name.lower() == word.lower()]
    return f"; did you mean {near[0]!r}?" if near else ""
