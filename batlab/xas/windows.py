"""The windows of EXAFS Fourier transforms, as the field defines them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from batlab.errors import choose

WINDOWS = ("hanning", "kaiser", "parzen", "welch", "sine", "gaussian")


def ft_window(
    x: np.ndarray, *, low: float, high: float, dx: float = 1.0, dx2: float | None = None, window: str = "hanning"
) -> np.ndarray:
    """Return the window of a Fourier transform at the points `x`, between 0 and 1.

    The corners are x1 = low - dx/2, x2 = low + dx/2, x3 = high - dx2/2, x4 = high + dx2/2 (IFEFFIT's convention, which
    larch and Athena keep); a taper that would begin before the first point begins there, one that would end after the
    last ends there.

    - ``hanning``: sin²(π/2 (x-x1)/(x2-x1)) up to x2, 1, cos²(π/2 (x-x3)/(x4-x3)) from x3 to x4
    - ``parzen``: linear from x1 to x2 and from x3 to x4
    - ``welch``: 1 - ((x-x2)/(x2-x1))² up to x2, 1 - ((x-x3)/(x4-x3))² from x3
    - ``sine``: sin(π (x4-x)/(x4-x1))
    - ``kaiser``: (I0(dx √a) - 1) / (I0(dx) - 1), a = 1 - ((2x-x1-x4)/(x4-x1))²: Kaiser-Bessel that ends at 0
    - ``gaussian``: exp(-(x-(x1+x4)/2)² / (2 dx²)), everywhere

    Parameters
    ----------
    x
        Increasing points: k [1/angstrom] or r [angstrom].
    low, high
        Where the window has risen half way, and where it has fallen half way (``kmin`` and ``kmax``, or ``rmin`` and
        ``rmax``).
    dx, dx2
        Widths of the tapers, the second that of the upper end (`dx` if not given). For ``kaiser`` and ``gaussian`` `dx`
        is the shape or the standard deviation as well, and must be positive.
    window
        One of the names above.

    Raises
    ------
    ValueError
        An unknown name, `high` not above `low`, or negative widths.

    References
    ----------
    M. Newville, J. Synchrotron Rad. 8, 322 (2001), doi:10.1107/S0909049500016964 (IFEFFIT).

    Examples
    --------
    >>> ft_window(np.array([2.0, 3.0, 4.0, 9.0]), low=3, high=10, dx=2).round(3).tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    choose("window", window, WINDOWS)
    x, dx2 = np.asarray(x, dtype=float), dx if dx2 is None else dx2
    if not high > low:
        raise ValueError(f"the upper end of a window must exceed the lower, got {low:g} to {high:g}")
    if not (dx >= 0 and dx2 >= 0) or (window in ("kaiser", "gaussian") and dx == 0):
        least = "positive" if window in ("kaiser", "gaussian") else "at least 0"
        raise ValueError(f"the widths of a {window} window must be {least}, got dx={dx:g}, dx2={dx2:g}")
    if not len(x):
        return np.zeros(0)
    first, last = max(x[0], low - dx / 2), min(x[-1], high + dx2 / 2)
    if window in ("hanning", "parzen", "welch"):
        return _flat_topped(x, first, low + dx / 2, high - dx2 / 2, last, RAMPS[window])
    if window == "gaussian":
        return np.exp(-((x - (first + last) / 2) ** 2) / (2 * dx**2))
    span = max(last - first, np.finfo(float).tiny)
    inside = (x >= first) & (x <= last)
    if window == "sine":
        return np.where(inside, np.sin(np.pi * np.clip((last - x) / span, 0, 1)), 0.0)
    from scipy.special import i0, i0e

    root = np.sqrt(np.clip(1 - ((2 * x - first - last) / span) ** 2, 0, None))
    if dx > 50:  # where I0 - 1 is I0, and I0 itself may overflow
        return np.where(inside, i0e(dx * root) / i0e(dx) * np.exp(dx * (root - 1)), 0.0)
    return np.where(inside, (i0(dx * root) - 1) / (i0(dx) - 1), 0.0)


RAMPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hanning": lambda part: np.sin(np.pi / 2 * part) ** 2,
    "parzen": lambda part: part,
    "welch": lambda part: 1 - (1 - part) ** 2,
}


def _flat_topped(
    x: np.ndarray, x1: float, x2: float, x3: float, x4: float, ramp: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return 0, up from x1 to x2, 1, down from x3 to x4, 0; where the tapers overlap the lower one counts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(x >= x2, 1.0, ramp(np.clip((x - x1) / (x2 - x1), 0, 1)))
        down = np.where(x <= x3, 1.0, ramp(np.clip((x4 - x) / (x4 - x3), 0, 1)))
    return np.where((x < x1) | (x > x4), 0.0, np.minimum(up, down))
