"""All that takes intensities on one grid to G(r), made once for a series."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab.errors import choose
from batlab.pdf.composition import Power
from batlab.pdf.polynomial import Polynomial, polynomial
from batlab.pdf.transform import SineTransform, sine_transform

WINDOWS = (None, "lorch", "soft")
NORMALIZATIONS = (None, "krogh-moe")


class Settings(NamedTuple):
    """Checked settings of a reduction."""

    qmin: float
    qmax: float
    qmaxinst: float
    rpoly: float | None
    window: str | None
    normalization: str | None
    density: float  # atoms/angstrom^3


class Operator(NamedTuple):
    """What is the same for all frames with the same points: `n_used` of them lie below qmax, the rest feed rpoly."""

    q: np.ndarray
    power: Power
    n_used: int
    weights: np.ndarray  # of F in G(r): trapezoid, window, 2/π; 0 beyond qmax
    poly: Polynomial | None
    transform: SineTransform
    r: np.ndarray
    norm_weights: np.ndarray | None  # of the intensity in ∫ Q² I / <f>² dQ
    norm_aim: float  # what that integral should be

    def scale(self, intensity: np.ndarray) -> np.ndarray:
        """Return the factor (frame, 1) that brings intensities into electron units."""
        if self.norm_weights is None:
            return np.ones((len(intensity), 1))
        with np.errstate(divide="ignore"):
            found = self.norm_aim / (intensity @ self.norm_weights)[:, None]
        return np.where(found > 0, found, np.nan)

    def f_of_q(self, intensity: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return F(Q) (frame, q) of intensities (frame, q)."""
        per = self.q / self.power.square_of_mean
        f_q = intensity * per
        f_q *= scale
        f_q -= per * self.power.mean_of_square
        return f_q if self.poly is None else self.poly.removed_from(f_q)

    def matrix(self, r: np.ndarray, sines: np.ndarray | None = None) -> np.ndarray:
        """Return ∂G(r)/∂F_m(Q), F_m being F before the polynomial is taken out, (r, q); `sines` are sin(Qr)."""
        sines = np.sin(np.multiply.outer(r, self.q)) if sines is None else sines
        whole = sines * self.weights
        if self.poly is None:
            return whole
        return whole - (whole @ self.poly.basis * self.poly.shares) @ self.poly.basis.T


def operator(q: np.ndarray, power: Power, r: np.ndarray, settings: Settings) -> Operator:
    """Return the operator for points `q`, all between qmin and qmaxinst."""
    n_used = int((q <= settings.qmax).sum())
    step = np.zeros(len(q))
    half = np.diff(q[:n_used]) / 2
    step[: n_used - 1] += half
    step[1:n_used] += half
    weights = 2 / np.pi * step * termination_window(q, settings.qmax, settings.window)
    poly = None if settings.rpoly is None else polynomial(q, settings.qmaxinst, settings.rpoly)
    transform = sine_transform(q[:n_used], r, weights[:n_used])
    norm_weights, aim = None, 1.0
    if settings.normalization is not None:
        norm_weights = step * q**2 / power.square_of_mean
        aim = float(norm_weights @ (power.mean_of_square + power.compton)) - 2 * np.pi**2 * settings.density
    return Operator(q, power, n_used, weights, poly, transform, r, norm_weights, aim)


def termination_window(q: np.ndarray, qmax: float, window: str | None) -> np.ndarray:
    """Return the factor of F(Q) that quiets termination ripples: 1 at Q = 0.

    ``"lorch"``: sin(x)/x with x = πQ/Qmax (Lorch, 10.1088/0022-3719/2/2/305), 0 at Qmax; ``"soft"``: 3 (sin x -
    x cos x)/x³ (Soper and Barney, 10.1107/S0021889811021455), the transform of a ball of radius π/Qmax.

    >>> termination_window(np.array([1e-9, 20.0]), 20.0, "lorch").round(6).tolist()
    [1.0, 0.0]
    """
    choose("window", window, WINDOWS)
    if window is None:
        return np.ones(len(q))
    x = np.maximum(np.pi * q / qmax, 1e-3)
    return np.sin(x) / x if window == "lorch" else 3 * (np.sin(x) - x * np.cos(x)) / x**3
